"""An ASGI server in process, for one request at a time or many, which plays the client too.

Unlike `asgiadapt.testing.AsgiClient`, it gives whatever events the test feeds, holds ``send()`` back and lets
it fail, and looks for tasks that are left. What the application sends is for the validator to judge; see
``validated``. Where it differs from real servers, the tests in ``servers`` show it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

# No part of the interface between the adapter and the application can take as long as this.
PATIENCE = 20.0


def scope_for(**changes: Any) -> dict[str, Any]:
    """An ``http`` scope like those of real servers; *changes* replace its entries."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": None,
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"testserver")],
        "client": ("192.0.2.1", 50000),
        "server": ("testserver", 80),
        **changes,
    }


@dataclass
class Answer:
    """What the client has got, so far."""

    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def status(self) -> int:
        return next(e["status"] for e in self.events if e["type"] == "http.response.start")

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return next(e["headers"] for e in self.events if e["type"] == "http.response.start")

    @property
    def chunks(self) -> list[bytes]:
        bodies = [e for e in self.events if e["type"] == "http.response.body"]
        return [e["body"] for e in bodies if e.get("body")]

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def started(self) -> bool:
        return any(e["type"] == "http.response.start" for e in self.events)

    @property
    def complete(self) -> bool:
        return any(_is_last(e) for e in self.events)


def _is_last(event: dict[str, Any]) -> bool:
    if event["type"] == "http.response.pathsend":
        return True
    bodies = ("http.response.body", "http.response.zerocopysend")
    return event["type"] in bodies and not event.get("more_body", False)


class Connection:
    """One request: events go in by `feed`, what the application sends is in ``answer``.

    ``receives`` counts how often ``receive()`` was awaited, ``gate`` holds ``send()`` back while it is
    cleared, and ``send_error``, once set, is raised by ``send()``.
    """

    def __init__(self, scope: dict[str, Any]) -> None:
        self.scope = scope
        self.answer = Answer()
        self.receives = 0
        self.receiving = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.send_error: BaseException | None = None
        self.task: asyncio.Task[Any]
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._news = asyncio.Condition()

    def feed(self, *events: dict[str, Any]) -> None:
        for event in events:
            self._incoming.put_nowait(event)

    def feed_body(self, *chunks: bytes) -> None:
        """The whole body, cut as given."""
        for index, chunk in enumerate(chunks):
            more = index + 1 < len(chunks)
            self.feed({"type": "http.request", "body": chunk, "more_body": more})
        if not chunks:
            self.feed({"type": "http.request", "body": b"", "more_body": False})

    def disconnect(self) -> None:
        self.feed({"type": "http.disconnect"})

    async def receive(self) -> dict[str, Any]:
        self.receives += 1
        self.receiving = True
        try:
            event = await self._incoming.get()
        finally:
            self.receiving = False
        if event["type"] == "http.disconnect":
            self._incoming.put_nowait(event)
        if "raises" in event:
            raise event["raises"]
        return event

    async def send(self, event: dict[str, Any]) -> None:
        await self.gate.wait()
        if self.send_error is not None:
            raise self.send_error
        self.answer.events.append(event)
        async with self._news:
            self._news.notify_all()

    async def until(self, condition: Callable[[Answer], bool]) -> Answer:
        """Wait until the client has got so much that *condition* holds."""
        async with self._news:
            await self._news.wait_for(lambda: condition(self.answer))
        return self.answer

    async def chunks(self, count: int) -> list[bytes]:
        """Wait for *count* chunks."""
        return (await self.until(lambda answer: len(answer.chunks) >= count)).chunks

    async def result(self) -> Answer:
        """Wait for the end of the call; raises what the call raised."""
        async with asyncio.timeout(PATIENCE):
            returned = await self.task
        assert returned is None
        return self.answer


_open = 0  # connections at this moment
_before: set[Any] = set()  # the tasks that were there when the first of them was opened


@asynccontextmanager
async def connection(
    app: Any, *, body: Iterable[bytes] | None = (), **scope: Any
) -> AsyncIterator[Connection]:
    """Open a request; *body* None leaves it to the test to feed events.

    At the end the call must be over and have left no task behind.
    """
    global _open
    if not _open:
        _before.clear()
        _before.update(asyncio.all_tasks())
    _open += 1
    opened = Connection(scope_for(**scope))
    if body is not None:
        opened.feed_body(*body)
    opened.task = asyncio.create_task(app(opened.scope, opened.receive, opened.send))
    try:
        async with asyncio.timeout(PATIENCE):
            yield opened
    finally:
        _open -= 1
        opened.gate.set()
        if not opened.task.done():
            opened.task.cancel()
            await asyncio.wait([opened.task])
        if not opened.task.cancelled():
            opened.task.exception()  # whoever wants it has asked for result()
    # Only the last one open can tell: the tasks of requests at the same time are no leak.
    left = asyncio.all_tasks() - _before if not _open else set()
    assert not left, f"tasks left behind: {left}"


def drop_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Close *loop* in spite of the tasks on it, which end where they are, as collected ones do."""
    loop.set_exception_handler(lambda loop, context: None)  # it complains of them
    for task in asyncio.all_tasks(loop):
        task.get_coro().close()
        task._log_destroy_pending = False
    loop.close()


async def request(
    app: Any, *body: bytes, headers: Iterable[tuple[bytes, bytes]] = (), **scope: Any
) -> Answer:
    """One whole request; raises what the call raised. A *body* is sent with chunked framing."""
    fields = [(b"host", b"testserver"), *headers]
    if body and not any(name.lower() == b"content-length" for name, _ in fields):
        fields.append((b"transfer-encoding", b"chunked"))
        scope.setdefault("method", "POST")
    async with connection(app, body=body, headers=fields, **scope) as opened:
        return await opened.result()


class Protocol:
    """Plays the server for a scope of another type than ``http``: `feed` gives events by their type."""

    def __init__(self, app: Any, scope: dict[str, Any]) -> None:
        self.sent: list[dict[str, Any]] = []
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._awaited = False
        self.task = asyncio.create_task(app(scope, self.receive, self.send))

    def feed(self, kind: str, **fields: Any) -> None:
        self._incoming.put_nowait({"type": kind, **fields})

    async def receive(self) -> dict[str, Any]:
        self._awaited = True
        try:
            return await self._incoming.get()
        finally:
            self._awaited = False

    async def send(self, event: dict[str, Any]) -> None:
        self.sent.append(event)

    async def settled(self) -> list[str]:
        """The types of what was sent, once the application waits for the next event, or has ended."""
        while not self.task.done() and not (self._awaited and self._incoming.empty()):
            await asyncio.sleep(0)
        return [event["type"] for event in self.sent]
