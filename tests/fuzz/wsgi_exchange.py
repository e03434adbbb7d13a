"""Fuzz target ``wsgi_exchange``: whole requests through `WsgiToAsgi`, in a `Simulation`.

The bytes choose the application, the client, the server and the schedule. What the application is to read and
what the client is to get are said by `PlainFile` and `PlainWsgiResponse`; where the client leaves, the server
fails or time is up, what was sent is the beginning of that.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextvars import copy_context
from typing import Any

from asgiadapt import (
    ApplicationError,
    ClientDisconnected,
    ClientTimeout,
    PoolFull,
    RequestTooLarge,
    ServerError,
    WsgiToAsgi,
    _dropped_fields,
    _wsgi_exchange,
    _wsgi_to_asgi,
)
from asgiadapt._sansio.validation import conversation_for
from asgiadapt._threads import handoff
from tests.fuzz.bodies import PlainFile, is_enough, perform
from tests.fuzz.choices import Choices
from tests.fuzz.plain_responses import PlainWsgiResponse, Wrong
from tests.fuzz.simulation import Hang, Simulation, Task, Waiter, replaced

PIECES = [b"a", b"", b"bc\n", b"x" * 9, b"\n", b"y" * 30]
CHUNKS: list[Any] = [b"a", b"", b"bc", b"x" * 40, b"y" * 9]
LINES = ["200 OK", "204 No Content", "404 Not Found", "205 Reset", "304 Not Modified", "99", "413 X"]
LENGTHS = [None, None, "0", "3", "9", "40", "x"]
READS = [
    ("read", None), ("read", 1), ("readline", None), ("read", 7), ("next", None), ("readlines", None),
    ("read", 0),
]  # fmt: skip
STEPS = ["yield", "start", "write", "read", "yield", "restart", "fail", "gone", "hint", "wrong"]
# What an application may be told by its reads and writes besides its own mistakes.
BROKEN = (ClientDisconnected, ClientTimeout, RequestTooLarge, ServerError)
# Answers of the adapter's own.
REFUSALS = (408, 413, 503)


class Failure(Exception):
    pass


class Fatal(BaseException):
    pass


class SendFailed(OSError):
    pass


class Pool:
    """Has one thread; whether and when that takes the job is chosen."""

    max_workers = 2

    def __init__(self, c: Choices, simulation: Simulation) -> None:
        self._simulation = simulation
        self._at_once = not c.flag()
        self.full = c.byte() == 255
        self.is_dropped = c.byte() == 255
        self.job: Any = None

    def outside(self) -> list[Callable[[], object]]:
        if self.job is None:
            return []
        return [self._start, self._drop] if self.is_dropped else [self._start]

    def submit(self, job: Any) -> bool:
        if self.full:
            raise PoolFull("the pool is full")
        self.job = job
        return self._at_once

    def withdraw(self, job: Any) -> bool:
        withdrawn, self.job = self.job is job, None
        return withdrawn

    def _start(self) -> None:
        job, self.job = self.job, None
        self._simulation.run_thread(job.run)

    def _drop(self) -> None:
        job, self.job = self.job, None
        job.drop()


class Server:
    """Gives the events of the client and takes those of the application, each when it is chosen.

    ``disturbed`` has what the adapter was shown of mishaps.
    """

    def __init__(self, c: Choices, simulation: Simulation, scope: dict[str, Any]) -> None:
        self.simulation = simulation
        self.conversation = conversation_for(scope)
        self.pieces = c.several(lambda: c.pick(PIECES), 5) or [b""]
        self.end = c.pick(["whole", "whole", "whole", "disconnect", "silence", "nonsense", "error"])
        self.leaves_early = c.seldom()
        self.pauses = c.pick([0, 0, 1, 2, 3])  # how often send() waits
        self.fails_at = c.pick([None, None, None, 0, 1, 2])  # which send() fails
        self.may_cancel = c.seldom()
        self.disturbed: set[str] = set()
        self.come = 0  # pieces given to the adapter
        self.sent: list[dict[str, Any]] = []
        self.bytes_sent = 0
        self.returned = False  # the call has
        self.receiving = self.sending = False
        self.gone = False
        self._ready = 0  # events that have arrived
        self._awaited: Waiter | None = None
        self._blocked: Waiter | None = None
        self.task: Task
        self.before_receive: Callable[[], None]

    # What can happen

    def outside(self) -> list[Callable[[], object]]:
        options: list[Callable[[], object]] = []
        if self._blocked is not None:
            options.append(self._unblock)
        if self._ready < len(self.pieces) + (self.end != "silence") and not self.gone:
            options.append(self._arrive)
        if self.leaves_early and not self.gone:
            options.append(self.leave)
        if self.may_cancel:
            options.append(self._cancel)
        return options

    def at_last(self) -> Callable[[], object] | None:
        return self.leave if self.receiving and not self.gone else None

    def _unblock(self) -> None:
        if self._blocked is not None:
            self._blocked.ring()
        self._blocked = None

    def _arrive(self) -> None:
        self._ready += 1
        if self._awaited is not None:
            self._awaited.ring()

    def leave(self) -> None:
        self.gone = True
        if self._awaited is not None:
            self._awaited.ring()

    def _cancel(self) -> None:
        self.may_cancel = False
        if self.task.cancel():
            self.disturbed.add("cancelled")

    # What the adapter calls

    async def receive(self) -> dict[str, Any]:
        with self.simulation.watch:
            assert not self.receiving, "two receive() at a time"
            assert not self.returned, "receive() after the call has returned"
            self.before_receive()
        self.receiving = True
        try:
            while (event := self._next_event()) is None:
                self._awaited = Waiter()
                await self._awaited
        finally:
            self.receiving = False
            self._awaited = None
        faults = [fault.rule for fault in self.conversation.event(event)]
        assert not faults or self.end == "nonsense", faults
        return event

    def _next_event(self) -> dict[str, Any] | None:
        if self.gone:
            self.disturbed.add("disconnect")
            return {"type": "http.disconnect"}
        if self.come == self._ready:
            return None
        if self.come < len(self.pieces):
            piece = self.pieces[self.come]
            self.come += 1
            more = self.come < len(self.pieces) or self.end != "whole"
            return {"type": "http.request", "body": piece, "more_body": more}
        if self.end == "whole":
            return None
        self.disturbed.add(self.end)
        if self.end == "error":
            raise Failure("of receive()")
        return {"type": "http.disconnect" if self.end == "disconnect" else "http.response.body"}

    async def send(self, event: dict[str, Any]) -> None:
        with self.simulation.watch:
            assert not self.sending, "two send() at a time"
            assert not self.returned, "send() after the call has returned"
        self.sending = True
        try:
            if self.fails_at is not None and self.fails_at <= len(self.sent):
                self.disturbed.add("send failed")
                raise SendFailed("the client is gone")
            if self.pauses:
                self.pauses -= 1
                self._blocked = Waiter()
                await self._blocked
            self.sent.append(event)
            with self.simulation.watch:
                faults = [fault.rule for fault in self.conversation.message(event)]
                assert not faults, (faults, event)
            self.bytes_sent += len(event.get("body", b""))
        finally:
            self.sending = False
            self._blocked = None


class Application:
    """Does what is chosen, and compares what it is told with what the specifications say.

    ``expected`` has the events that its calls are to bring, ``failure`` what it fails with, an error or the
    class of one, and ``broken`` what a read or write has told it of the other side.
    """

    def __init__(self, c: Choices, simulation: Simulation, server: Server, plain: PlainWsgiResponse) -> None:
        self.simulation = simulation
        self.server = server
        self.plain = plain
        self.steps = c.several(lambda: self._step(c), 8)
        if not c.seldom():
            self.steps.insert(c.byte() // 100, ("start", (c.pick(LINES), c.pick(LENGTHS))))
        self.style = c.pick(["iterable", "list", "generator", "none", "bytes"])
        self.at_call = c.byte() % 4  # steps that are done before the iterable is returned
        self.catches = c.flag()
        self.has_close = self.style == "iterable" and c.flag()
        self.close_fails = c.seldom()
        self.window = c.pick([100_000, 0, 1, 10, 45])
        self.expected: list[dict[str, Any]] = []
        self.failure: Any = None
        self.broken: BaseException | None = None
        self.called = self.closed = self.to_close = 0
        self.has_read = False
        self.bytes_read = 0  # or that it waits for
        self.file = PlainFile(b"".join(server.pieces))
        self.write: Any = None

    def _step(self, c: Choices) -> tuple[str, Any]:
        what = c.pick(STEPS)
        options: dict[str, list[Any]] = {
            "yield": CHUNKS,
            "write": CHUNKS,
            "read": READS,
            "fail": [Failure, StopIteration, Fatal, SystemExit, ClientDisconnected],
            "wrong": ["text"],
        }
        if what in ("start", "restart"):
            return what, (c.pick(LINES), c.pick(LENGTHS))
        return what, c.pick(options.get(what, [None]))

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        with self.simulation.watch:
            self.called += 1
            self.environ, self.start_response = environ, start_response
            if self.style in ("none", "bytes"):
                self.failure = TypeError
                return None if self.style == "none" else b"body"
            if self.style == "list":
                chunks = list(self._run(self.steps))
                self._expect(chunks)
                return chunks
            for _ in self._run(self.steps[: self.at_call]):
                pass
            if self.style == "generator":
                return self.iterate()
            self.to_close = int(self.has_close)
            return Closing(self) if self.has_close else Iterating(self)

    def _expect(self, chunks: list[Any]) -> None:
        """What comes of a list."""
        try:
            for chunk in chunks:
                if not self.plain.done:
                    only = len(chunks) == 1 and not self.plain.committed
                    self.expected += self.plain.chunk(chunk, only)
            self.expected += self.plain.end()
        except Wrong as wrong:
            self.failure = wrong.kind

    def iterate(self) -> Iterator[Any]:
        with self.simulation.watch:
            assert not self.closed
            assert not self.plain.done, "next() although the response is complete"
            for chunk in self._run(self.steps[self.at_call :]):
                wrong = None
                try:
                    self.expected += self.plain.chunk(chunk, False)
                except Wrong as error:
                    wrong = self.failure = error.kind
                yield chunk
                assert wrong is None, "next() after a wrong chunk"
                assert not self.plain.done, "next() although the response is complete"
                self._check_window()
            try:
                self.expected += self.plain.end()
            except Wrong as error:
                self.failure = error.kind

    def close(self) -> None:
        self.closed += 1
        if self.close_fails:
            raise Failure("of close()")

    def _run(self, steps: list[tuple[str, Any]]) -> Iterator[Any]:
        """Do *steps*; gives the chunks."""
        for what, value in steps:
            if what in ("yield", "wrong"):
                yield value
            elif what == "fail":
                self.failure = error = value("on purpose")
                raise error
            else:
                try:
                    getattr(self, f"_{what}")(value)
                except BROKEN as error:
                    self.broken = error
                    if not self.catches:
                        raise
                except (ApplicationError, Failure) as error:
                    if not self.catches:
                        self.failure = error
                        raise

    def _start(self, value: tuple[str, str | None], exc_info: Any = None) -> None:
        line, length = value
        headers = [("Content-Type", "text/plain")] + ([] if length is None else [("Content-Length", length)])
        wrong = None
        try:
            self.plain.start(line, headers, exc_info)
        except Wrong as error:
            wrong = error.kind
        try:
            self.write = self.start_response(line, headers, *([exc_info] if exc_info else []))
        except (ApplicationError, Failure) as error:
            assert type(error) is wrong
            raise
        assert wrong is None

    def _restart(self, value: tuple[str, str | None]) -> None:
        self._start(value, (Failure, Failure("before"), None))

    def _write(self, data: bytes) -> None:
        if self.write is None:
            return
        self.expected += self.plain.write(data)
        past = self.plain.past
        try:
            self.write(data)
        except ApplicationError as error:
            assert type(error) is past
            raise
        assert past is None
        self._check_window()

    def _check_window(self) -> None:
        """No more waits for the client than the window has room for; what was refused does not wait."""
        if not self.server.disturbed and self.broken is None:
            produced = sum(len(event.get("body", b"")) for event in self.expected)
            assert produced - self.server.bytes_sent <= self.window

    def _read(self, value: tuple[str, Any]) -> None:
        self.has_read = True
        name, size = value
        at = self.file.at
        expected = getattr(self.file, name)(size)
        self.bytes_read = self.file.at
        try:
            got = perform(self.environ["wsgi.input"], name, size)
        except (*BROKEN, Failure) as error:
            self.file.at = self.bytes_read = len(self.file.whole)
            self.broken = error
            raise
        assert got == expected, (name, size, got, expected)
        # A body that broke off is not at its end.
        assert self.server.end == "whole" or is_enough(name, size, self.file.whole[at:])

    def _gone(self, _: None) -> None:
        if self.environ["asgiadapt.disconnected"].is_set():
            assert self.server.disturbed or self.simulation.fired

    def _hint(self, _: None) -> None:
        links = [("Link", "a"), ("X-A", "b")]
        if "wsgi.early_hints" in self.environ:
            self.expected += self.plain.early_hint(links)
            self.environ["wsgi.early_hints"](links)


class Iterating:
    def __init__(self, app: Application) -> None:
        self.app = app

    def __iter__(self) -> Iterator[Any]:
        return self.app.iterate()


class Closing(Iterating):
    def close(self) -> None:
        self.app.close()


def wsgi_exchange(data: bytes) -> None:
    """One request: its response is what PEP 3333 says, or the beginning of it where it was broken off."""
    c = Choices(data)
    simulation = Simulation(Choices(data[::-1]))
    framing = c.pick(["chunked", "chunked", "none", "continue"])
    headers = [] if framing == "none" else [(b"transfer-encoding", b"chunked")]
    if framing == "continue":
        headers.append((b"expect", b"100-continue"))
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": c.pick(["POST", "HEAD"]),
        "path": "/",
        "query_string": b"",
        "headers": headers,
        "extensions": {"http.response.early_hint": {}} if c.flag() else {},
    }
    options: dict[str, Any] = {
        "first_window": c.pick([65536, 0, 1, 10]),
        "lazy_body": c.flag(),
        "add_content_length": c.flag(),
        "max_body_size": c.pick([None, None, 0, 10]),
        "receive_timeout": c.pick([None, 3.0, 1.0]),
        "send_timeout": c.pick([None, 3.0, 1.0]),
        "queue_timeout": c.pick([None, 3.0, 0.25, 0]),
        "cancel_grace": c.pick([1.0, 0.0]),
    }
    server = Server(c, simulation, scope)
    pool: Any = Pool(c, simulation)
    plain = PlainWsgiResponse(str(scope["method"]), False, options["add_content_length"], False)
    app = Application(c, simulation, server, plain)
    lazy = framing == "continue" or (options["lazy_body"] and framing != "none")

    def before_receive() -> None:
        assert app.has_read or not lazy, "receive() before the application has read"
        if server.disturbed or simulation.fired:
            return  # what is broken off is fetched and dropped
        fetched = sum(map(len, server.pieces[: server.come]))
        assert fetched - app.bytes_read <= max(options["first_window"], 30) + 2 * (app.window + 30)

    server.before_receive = before_receive
    simulation.outside = lambda: pool.outside() + server.outside()
    simulation.at_last = server.at_last
    adapter = WsgiToAsgi(app, pool=pool, window=app.window, **options)

    async def call() -> Any:
        try:
            return await adapter(scope, server.receive, server.send)
        finally:
            server.returned = True

    with replaced(
        (handoff, "Lock", simulation.make_lock),
        (_wsgi_to_asgi, "running_asyncio_loop", lambda: simulation),
        (_wsgi_to_asgi, "_log", simulation.log),
        (_wsgi_exchange, "log", simulation.log),
        (_dropped_fields, "_log", simulation.log),
    ):
        server.task = Task(simulation, call(), copy_context())
        try:
            while simulation.turn():
                pass
        except Hang:
            raise AssertionError("the thread waits for ever") from None
        finally:
            simulation.drop()
    simulation.check_that_nothing_is_left()
    assert server.task.done(), "the call does not end"
    assert pool.job is None
    too_large = options["max_body_size"] is not None and len(app.file.whole) > options["max_body_size"]
    check_outcome(server, app, too_large=too_large, busy=pool.full or pool.is_dropped)


def check_outcome(server: Server, app: Application, *, too_large: bool, busy: bool) -> None:
    error = server.task.error
    assert not isinstance(error, AssertionError), error
    assert server.task.returned is None  # W2A-RESP-69
    assert app.called <= 1  # W2A-RESP-01
    assert app.closed == app.to_close  # W2A-RESP-60
    if isinstance(app.failure, BaseException) and not isinstance(
        app.failure, StopIteration | ClientDisconnected
    ):
        # Neither lost nor told twice.
        assert [*app.simulation.log.errors, error].count(app.failure) == 1
    disturbed = server.disturbed or app.simulation.fired
    assert app.broken is None or disturbed or (too_large and isinstance(app.broken, RequestTooLarge))
    sent, expected = server.sent, app.expected
    head = next((event for event in sent if event["type"] == "http.response.start"), None)
    complete = any(event["type"] == "http.response.body" and not event["more_body"] for event in sent)
    if head is not None and head not in expected:
        assert head["status"] in REFUSALS
        assert disturbed or (head["status"] == 413 and too_large) or (head["status"] == 503 and busy)
        assert complete or error is not None
        assert not app.called or head["status"] in (408, 413)
        return
    assert sent == expected[: len(sent)], (sent, expected)
    if not disturbed and not too_large and not busy:
        assert len(sent) == len(expected)
        check_error(error, app)
    elif error is None:
        # It looks whole to the server, so it is; or nobody is there to look, or so the application says.
        assert complete or "disconnect" in server.disturbed or isinstance(app.failure, ClientDisconnected)
    elif isinstance(error, asyncio.CancelledError):
        assert "cancelled" in server.disturbed
    elif isinstance(error, SendFailed):
        assert "send failed" in server.disturbed
    elif isinstance(error, RequestTooLarge):
        assert error is app.broken  # or else the answer is a 413
    elif isinstance(error, BROKEN):
        assert disturbed or too_large or error is app.failure
    else:
        check_error(error, app)


def check_error(error: BaseException | None, app: Application) -> None:
    """The call has raised what the application did (W2A-RESP-62 to -64)."""
    if isinstance(app.failure, StopIteration):
        assert isinstance(error, RuntimeError)
    elif isinstance(app.failure, BaseException):
        assert error is app.failure
    elif app.failure is not None:
        assert isinstance(error, app.failure)
        assert isinstance(error, ApplicationError)
    elif app.close_fails and app.closed:
        assert isinstance(error, Failure)
    else:
        assert error is None, error
