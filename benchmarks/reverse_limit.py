"""The bare limit of the other direction: the least that an ASGI application needs to answer a WSGI server.

A complete scope, the context copied, a task, the loop woken where no wake-up is pending, a lock that the
request's thread waits for, once for a small answer. A body of a request passes in pieces as it is asked for,
that of a response through a window of bytes. No check, no error, no lifespan, no client that leaves.
"""

import asyncio
import threading
from _thread import allocate_lock
from collections import deque
from collections.abc import Iterator
from contextvars import Context, copy_context
from http import HTTPStatus
from typing import Any

WINDOW = 512 << 10
PIECE = 64 << 10

STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


class Names(dict[str, bytes]):
    """The header name of an environ key, worked out once for each key; empty where the key is none."""

    def __missing__(self, key: str) -> bytes:
        name = key[5:].lower().replace("_", "-").encode("latin-1") if key.startswith("HTTP_") else b""
        self[key] = name
        return name


class ReverseLimit:
    def __init__(self, app: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.app = app
        self.loop = loop
        self.names = Names({"CONTENT_TYPE": b"content-type", "CONTENT_LENGTH": b"content-length"})
        self.starts: deque[tuple[Call, Context]] = deque()
        self.wake_up_pending = False
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes] | Iterator[bytes]:
        names = self.names
        root = environ["SCRIPT_NAME"].encode("latin-1").decode()
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.5"},
            "http_version": environ["SERVER_PROTOCOL"][5:],
            "method": environ["REQUEST_METHOD"],
            "scheme": environ["wsgi.url_scheme"],
            "path": root + environ["PATH_INFO"].encode("latin-1").decode(),
            "query_string": environ["QUERY_STRING"].encode("latin-1"),
            "root_path": root,
            "headers": [(names[key], environ[key].encode("latin-1")) for key in environ if names[key]],
            "server": (environ["SERVER_NAME"], int(environ["SERVER_PORT"])),
            "client": (environ["REMOTE_ADDR"], int(environ["REMOTE_PORT"])),
            "extensions": {},
        }
        call = Call(self, scope, environ["wsgi.input"], int(environ.get("CONTENT_LENGTH") or 0))
        self.starts.append((call, copy_context()))
        if not self.wake_up_pending:
            self.wake_up_pending = True
            self.loop.call_soon_threadsafe(self.start_on_loop)
        return call.answer(start_response)

    def start_on_loop(self) -> None:
        self.wake_up_pending = False
        while self.starts:
            call, context = self.starts.popleft()
            call.task = self.loop.create_task(self.app(call.scope, call.receive, call.send), context=context)


class Call:
    __slots__ = (
        "bell",
        "done",
        "left",
        "loop",
        "out",
        "pieces",
        "rung",
        "scope",
        "sent",
        "start",
        "stream",
        "taken",
        "task",
        "waiting_receive",
        "waiting_send",
        "waits_for_input",
    )

    def __init__(self, limit: ReverseLimit, scope: dict[str, Any], stream: Any, length: int) -> None:
        self.loop = limit.loop
        self.scope = scope
        self.stream = stream
        self.left = length  # bytes of the request's body that have not been read
        self.pieces: deque[dict[str, Any]] = deque()
        self.out: deque[bytes] = deque()
        self.sent = self.taken = 0  # bytes of the response's body
        self.rung = self.done = False
        self.waiting_send: asyncio.Future[None] | None = None
        self.waiting_receive: asyncio.Future[None] | None = None
        if not length:
            self.pieces.append({"type": "http.request", "body": b"", "more_body": False})
        self.bell = allocate_lock()
        self.bell.acquire()

    # On the loop.

    def ring(self) -> None:
        if not self.rung:
            self.rung = True
            self.bell.release()

    async def receive(self) -> dict[str, Any]:
        if not self.pieces:
            self.waiting_receive = future = self.loop.create_future()
            self.ring()
            await future
        return self.pieces.popleft()

    async def send(self, event: dict[str, Any]) -> None:
        if event["type"] == "http.response.start":
            self.start = event
            return
        body = event.get("body", b"")
        self.out.append(body)
        self.sent += len(body)
        if not event.get("more_body", False):
            self.done = True
            self.ring()
            return
        if self.sent - self.taken > WINDOW:
            future = self.loop.create_future()
            self.waiting_send = future
            self.ring()
            await future
        else:
            self.ring()

    # On the request's thread.

    def answer(self, start_response: Any) -> list[bytes] | Iterator[bytes]:
        while not self.out:
            self.wait()
        start = self.start
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"]]
        start_response(STATUS_LINES[start["status"]], headers)
        if self.done and len(self.out) == 1:
            return [self.out.popleft()]
        return self.stream_out()

    def wait(self) -> None:
        """Wait until there is a body to hand out, and read what the application asks for meanwhile."""
        self.bell.acquire()
        self.rung = False
        if (future := self.waiting_receive) is not None:
            self.waiting_receive = None
            if self.left:
                # One piece, and none in advance: that might block while there is something to be sent.
                piece = self.stream.read(min(PIECE, self.left))
                self.left -= len(piece)
                self.pieces.append({"type": "http.request", "body": piece, "more_body": self.left > 0})
            self.loop.call_soon_threadsafe(future.set_result, None)

    def stream_out(self) -> Iterator[bytes]:
        while True:
            while self.out:
                piece = self.out.popleft()
                self.taken += len(piece)
                self.let_send_go_on()
                yield piece
            if self.done and not self.out:
                return
            self.wait()
            self.let_send_go_on()  # it may have begun to wait when all had been taken

    def let_send_go_on(self) -> None:
        if (future := self.waiting_send) is not None and self.sent - self.taken < WINDOW // 2:
            self.waiting_send = None
            self.loop.call_soon_threadsafe(future.set_result, None)
