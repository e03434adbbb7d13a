"""A plain ASGI application that shows what it gets, a page a fact; as WSGI, for the real servers."""

import asyncio
import json
import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from asgiadapt import ClientDisconnected
from tests.servers.asgi_common import Gate
from tests.validated import AsgiToWsgi

TOGETHER = 4
FILE = Path(tempfile.gettempdir()) / f"asgiadapt-rows-{os.getuid()}.bin"
FILE_SIZE = 256_000
USED_A_THREAD = b"the application has used a thread\n"

meeting: list[asyncio.Future[None]] = []


class Call:
    """One request, with the little that the pages need."""

    def __init__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send

    @property
    def gate(self) -> str:
        return parse_qs(self.scope["query_string"].decode())["gate"][0]

    async def start(self, status: int = 200, length: int | None = None) -> None:
        headers = [(b"content-type", b"text/plain")]
        if length is not None:
            headers.append((b"content-length", b"%d" % length))
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def part(self, body: bytes, more: bool = True) -> None:
        await self.send({"type": "http.response.body", "body": body, "more_body": more})

    async def answer(self, body: bytes, status: int = 200) -> None:
        await self.start(status, len(body))
        await self.part(body, more=False)


async def show(call: Call) -> None:
    """The scope, in JSON: bytes as latin-1."""
    shown = {key: value for key, value in call.scope.items() if key != "extensions"}
    shown["extensions"] = sorted(call.scope["extensions"])
    await call.answer(json.dumps(shown, default=lambda value: value.decode("latin-1")).encode())


async def echo(call: Call) -> None:
    body = b""
    more = True
    while more:
        event = await call.receive()
        body += event["body"]
        more = event["more_body"]
    await call.answer(body)


async def no_content(call: Call) -> None:
    await call.start(204)
    await call.part(b"", more=False)


async def not_modified(call: Call) -> None:
    await call.start(304)
    await call.part(b"", more=False)


async def meet(call: Call) -> None:
    """Answers when all are here."""
    future = asyncio.get_running_loop().create_future()
    meeting.append(future)
    if len(meeting) == TOGETHER:
        for each in meeting:
            each.set_result(None)
        meeting.clear()
    async with asyncio.timeout(20):
        await future
    await call.answer(b"together")


async def endless(call: Call) -> None:
    """Sends until that raises, and tells the test what it has met."""
    async with Gate(call.gate) as test:
        await call.start()
        try:
            while True:
                await call.part(b"x" * 10_000)
        except ClientDisconnected as error:
            await test.tell(type(error).__name__.encode())
        await call.receive()  # there was no body
        await test.tell((await call.receive())["type"].encode())


async def stuck(call: Call) -> None:
    """Takes no notice of the client that has left; its task is to be cancelled."""
    async with Gate(call.gate) as test:
        await call.start()
        await call.part(b"begun")
        try:
            while True:
                try:
                    await call.part(b"x" * 10_000)
                except OSError:
                    break
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            await test.tell(b"cancelled")
            raise


async def half(call: Call) -> None:
    """Reads on after the first part, and tells the test what comes at last."""
    async with Gate(call.gate) as test:
        await call.receive()
        await test.tell(b"begun")
        while (event := await call.receive())["type"] == "http.request" and event["more_body"]:
            pass
        await test.tell(event["type"].encode())


async def breaks(call: Call) -> None:
    await call.start(length=5000)
    await call.part(b"x" * 1000)
    raise RuntimeError("provoked after the first part")


async def breaks_in_chunks(call: Call) -> None:
    await call.start()
    await call.part(b"x" * 1000)
    raise RuntimeError("provoked after the first part")


async def short(call: Call) -> None:
    await call.start(length=5000)
    await call.part(b"x" * 1000)
    await call.part(b"x" * 1000, more=False)


async def silent(call: Call) -> None:
    """Returns without an answer."""


async def early(call: Call) -> None:
    await call.send({"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload"]})
    await call.answer(b"late")


async def file(call: Call) -> None:
    FILE.write_bytes(bytes(range(256)) * (FILE_SIZE // 256))
    await call.start(length=FILE_SIZE)
    await call.send({"type": "http.response.pathsend", "path": str(FILE)})


async def process(call: Call) -> None:
    """Whether the lifespan has begun in the process that serves."""
    own = call.scope["state"]["process"] == os.getpid()
    await call.answer(b"own" if own else b"another's")


PAGES: dict[str, Callable[[Call], Awaitable[None]]] = {
    "/echo": echo,
    "/no_content": no_content,
    "/not_modified": not_modified,
    "/meet": meet,
    "/endless": endless,
    "/stuck": stuck,
    "/half": half,
    "/breaks": breaks,
    "/breaks_in_chunks": breaks_in_chunks,
    "/short": short,
    "/silent": silent,
    "/early": early,
    "/file": file,
    "/process": process,
}


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
        return
    await PAGES.get(scope["path"], show)(Call(scope, receive, send))


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    scope["state"]["process"] = os.getpid()
    await asyncio.to_thread(os.getpid)  # from now on there is a thread for the shutdown
    await send({"type": "lifespan.startup.complete"})
    await receive()
    os.write(2, b"the application shuts down\n")  # sys.stderr may be somebody else's by now
    await asyncio.to_thread(os.write, 2, USED_A_THREAD)
    await send({"type": "lifespan.shutdown.complete"})


rows = AsgiToWsgi(app)
