"""Tiny ASGI applications, each named for what it does."""

import asyncio
import concurrent.futures
from collections.abc import Awaitable, Callable, Generator, Iterable
from functools import wraps
from typing import Any

from tests.wsgi_fakes import PATIENCE

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Pairs = Iterable[tuple[bytes, bytes]]

PLAIN = (b"content-type", b"text/plain")


def for_http(app: Any) -> Any:
    """The application *app* for requests; it refuses other scopes, as an application may."""

    @wraps(app)
    async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(f"no {scope['type']} here")
        await app(scope, receive, send)

    return refusing


def start(status: int = 200, headers: Pairs = (PLAIN,)) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(chunk: bytes = b"", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": chunk, "more_body": more}


async def read_body(receive: Receive) -> list[bytes]:
    """The pieces of the request body."""
    pieces = []
    while True:
        event = await receive()
        assert event["type"] == "http.request", event
        pieces.append(event["body"])
        if not event["more_body"]:
            return pieces


@for_http
async def says_hello(scope: Scope, receive: Receive, send: Send) -> None:
    await send(start(headers=[PLAIN, (b"content-length", b"5")]))
    await send(body(b"hello"))


@for_http
async def echoes(scope: Scope, receive: Receive, send: Send) -> None:
    pieces = await read_body(receive)
    await send(start(headers=[(b"content-type", b"application/octet-stream")]))
    await send(body(b"".join(pieces)))


@for_http
async def echoes_as_it_reads(scope: Scope, receive: Receive, send: Send) -> None:
    await send(start(headers=[(b"content-type", b"application/octet-stream")]))
    more = True
    while more:
        event = await receive()
        assert event["type"] == "http.request", event
        more = event["more_body"]
        await send(body(event["body"], more=more))


def answers(status: int = 200, headers: Pairs = (PLAIN,), content: bytes = b"") -> Any:
    """An application that sends its response in one event."""
    return sends(start(status, headers), body(content))


def streams(*chunks: bytes, status: int = 200, headers: Pairs = (PLAIN,)) -> Any:
    """An application that sends each of *chunks* as it is, and an empty last event."""
    return sends(start(status, headers), *[body(chunk, more=True) for chunk in chunks], body())


def sends(*events: dict[str, Any] | BaseException) -> Any:
    """An application that sends *events*, whatever they are; an exception among them is raised."""

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for event in events:
            if isinstance(event, BaseException):
                raise event
            await send(event)

    return app


@for_http
async def returns_nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Ends without a word."""


def raises(error: BaseException) -> Any:
    """An application that raises *error* at once."""
    return sends(error)


class Keeps:
    """Calls *app* and keeps the scope of the last request."""

    def __init__(self, app: Any = says_hello) -> None:
        self.app = app
        self.scope: dict[str, Any] = {}
        self.calls = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.calls += 1
            self.scope = scope
        await self.app(scope, receive, send)


class Receives:
    """Receives *count* events before it answers, and keeps them."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.events: list[dict[str, Any]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        for _ in range(self.count):
            self.events.append(await receive())
        await says_hello(scope, receive, send)


def with_lifespan(app: Any = says_hello, **state: Any) -> Any:
    """The application *app* with a lifespan that puts *state* into the state, where there is one."""

    async def app_with_lifespan(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        assert (await receive())["type"] == "lifespan.startup"
        scope.get("state", {}).update(state)
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        await send({"type": "lifespan.shutdown.complete"})

    return app_with_lifespan


class Flag:
    """Says that something has happened: threads `wait` for it, tasks await it; either side may `set` it."""

    def __init__(self) -> None:
        self._future: concurrent.futures.Future[None] = concurrent.futures.Future()

    def set(self) -> None:
        self._future.set_result(None)

    def is_set(self) -> bool:
        return self._future.done()

    def wait(self) -> None:
        concurrent.futures.wait([self._future], PATIENCE)
        assert self.is_set(), "it has not happened"

    async def _wait(self) -> None:
        async with asyncio.timeout(PATIENCE):
            # The shield: whoever is cancelled here must not cancel it for the others.
            await asyncio.shield(asyncio.wrap_future(self._future))

    def __await__(self) -> Generator[Any, None, None]:
        return self._wait().__await__()
