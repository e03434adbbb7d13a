"""The site in plain ASGI, on asyncio or trio: what a server can do by itself is seen with it."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl

import anyio

from tests.servers import asgi_common, files


class Call:
    """One request."""

    def __init__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.path: str = scope["path"].removeprefix(scope["root_path"])
        self.query = dict(parse_qsl(scope["query_string"].decode()))

    def field(self, name: bytes) -> str | None:
        return next((value.decode() for key, value in self.scope["headers"] if key == name), None)

    async def start(self, status: int = 200, headers: Any = ()) -> None:
        pairs = [(name.lower().encode(), value.encode()) for name, value in headers]
        await self.send({"type": "http.response.start", "status": status, "headers": pairs})

    async def part(self, body: bytes, more: bool = True) -> None:
        await self.send({"type": "http.response.body", "body": body, "more_body": more})

    async def answer(self, body: bytes, status: int = 200, headers: Any = ()) -> None:
        length = {} if status == 304 else {"Content-Length": str(len(body))}
        await self.start(status, [*headers, *(length.items() - dict(headers).items())])
        await self.part(b"" if self.scope["method"] == "HEAD" else body, more=False)

    async def body(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            event = await self.receive()
            if event["type"] == "http.disconnect":
                raise ConnectionResetError
            more = event.get("more_body", False)
            if event.get("body"):
                yield event["body"]

    async def until_left(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass

    @asynccontextmanager
    async def gate(self) -> AsyncIterator[Any]:
        async with await anyio.connect_tcp("127.0.0.1", int(self.query["gate"])) as gate:
            yield gate


async def index(call: Call) -> None:
    await call.answer(b"index", headers=[("Content-Type", "text/plain")])


async def raw(call: Call) -> None:
    await call.answer(json.dumps(await asgi_common.read_in_pieces(call.body())).encode())


async def cookies(call: Call) -> None:
    given = dict(pair.split("=") for pair in (call.field(b"cookie") or "").split("; "))
    visits = int(given["visits"]) + 1
    set_ = [("Set-Cookie", f"visits={visits}"), ("Set-Cookie", "other=1")]
    await call.answer(f"{visits} {given['other']}".encode(), headers=set_)


async def stream(call: Call) -> None:
    await call.start(headers=[("Content-Type", "text/plain")])
    async for line in asgi_common.lines():
        await call.part(line)
    await call.part(b"", more=False)


async def events(call: Call) -> None:
    await call.start(headers=[("Content-Type", "text/event-stream")])
    await call.part(b"data: one\n\n")
    async with call.gate() as test:
        await test.receive(1)
    await call.part(b"data: two\n\n", more=False)


async def endless(call: Call) -> None:
    """Goes on until the client leaves, or it is clear that nobody will tell."""
    async with call.gate() as test, anyio.create_task_group() as tasks:

        async def send() -> None:
            await call.start()
            for _ in range(asgi_common.ENDLESS):
                await call.part(b"x" * 10_000)
                await anyio.sleep(0)  # some servers take all, and never wait, when the client has left
            await test.send(b"whole\n")
            tasks.cancel_scope.cancel()

        tasks.start_soon(send)
        await call.until_left()
        tasks.cancel_scope.cancel()


async def wait(call: Call) -> None:
    """Answers when the test says so, or has left; leaves with the client."""
    async with call.gate() as test, anyio.create_task_group() as tasks:
        await test.send(b"begun\n")

        async def watch() -> None:
            await call.until_left()
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        try:
            await test.receive(1)
        except anyio.EndOfStream:
            pass
        await call.answer(b"waited")
        tasks.cancel_scope.cancel()


async def half(call: Call) -> None:
    async with call.gate() as test:
        begun = False
        async for _ in call.body():
            if not begun:
                await test.send(b"begun\n")
                begun = True
        await test.send(b"whole\n")
    await call.answer(b"whole")


async def text(call: Call) -> None:
    status, headers, content = files.text(call.field(b"accept-encoding"))
    await call.answer(content, status, headers.items())


async def file(call: Call) -> None:
    status, headers, content = files.file(call.field(b"range"), call.field(b"if-none-match"))
    await call.answer(content, status, headers.items())


async def redirect(call: Call) -> None:
    await call.answer(b"", 303, [("Location", call.scope["root_path"] + "/")])


async def cafe(call: Call) -> None:
    await call.answer(f"{call.path.rpartition('/')[2]} {call.query['q']}".encode())


async def nowhere(call: Call) -> None:
    await call.answer(b"not found", 404)


PAGES: dict[str, Callable[[Call], Awaitable[None]]] = {
    "/": index,
    "/raw": raw,
    "/cookies": cookies,
    "/stream": stream,
    "/events": events,
    "/endless": endless,
    "/wait": wait,
    "/half": half,
    "/text": text,
    "/files/file.bin": file,
    "/redirect": redirect,
    "/caf\u00e9/\u00fc": cafe,
}


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        for phase in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{phase}.complete"})
        return
    call = Call(scope, receive, send)
    try:
        await PAGES.get(call.path, nowhere)(call)
    except OSError:
        pass  # the client has left
