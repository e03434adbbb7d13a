"""Fuzz target ``asgi_exchange``: whole requests through `AsgiToWsgi`, in a `Simulation`.

The bytes choose the application, the WSGI server with its stream, and the schedule. What the server is to get
is said by `PlainAsgiResponse`; where the server gives the response up, what it got is the beginning of that.
"""

import asyncio
from contextvars import copy_context
from typing import Any

from asgiadapt import (
    ApplicationError,
    ApplicationOrderError,
    AsgiToWsgi,
    ClientDisconnected,
    ServerError,
    _asgi_exchange,
    _asgi_site,
)
from asgiadapt._asgi_exchange import Settings
from asgiadapt._asgi_site import Site
from asgiadapt._sansio.validation import conversation_for
from tests.fuzz.choices import Choices
from tests.fuzz.plain_responses import PlainAsgiResponse, Wrong
from tests.fuzz.simulation import Hang, Simulation, replaced

CHUNKS = [b"a", b"", b"bc", b"x" * 40, b"y" * 300]
LONGEST = 300
STATUSES = [200, 204, 404, 205, 304, 99]
LENGTHS = [None, None, b"0", b"3", b"41", b"300", b"x"]
STEPS = ["body", "start", "body", "last", "receive", "breathe", "sleep", "fail", "hint", "trailers", "both"]


class Failure(Exception):
    pass


class Fatal(BaseException):
    pass


FAILURES: list[type[BaseException]] = [
    Failure,
    asyncio.CancelledError,
    StopAsyncIteration,
    Fatal,
    SystemExit,
    ClientDisconnected,
]


class Stream:
    """``wsgi.input``: *whole* bytes, a few at a time; then ``b""``, an error, or what no stream should give.

    ``broken`` is what it gave in place of bytes that were due.
    """

    def __init__(self, c: Choices, server: "Server", declared: int | None) -> None:
        self._c = c
        self._server = server
        self._declared = declared
        self.whole = c.pick([3, 0, 100, 70_000, declared or 0, declared or 0])
        self._left = self.whole
        self._reads = 0
        self._end = c.pick([b"", b"", OSError("reset"), Failure("of read()"), Fatal("of read()"), "text"])
        self.broken: Any = None

    def read(self, size: int) -> Any:
        server = self._server
        with server.simulation.watch:
            assert type(size) is int
            assert size > 0  # A2W-RECV-23
            assert server.app.has_asked, "wsgi.input is read before it is asked for"  # A2W-RECV-07
            assert not server.closed, "wsgi.input is read after the end"  # A2W-RECV-14
            assert self._reads <= server.app.events, "wsgi.input is read ahead"
            if self._declared is not None:
                assert size <= self._declared - (self.whole - self._left)  # A2W-RECV-02
        self._reads += 1
        server.simulation.interrupt()
        if not self._left:
            if self._end != b"" or self._declared:
                self.broken = self._end
            if isinstance(self._end, BaseException):
                raise self._end
            return self._end
        taken = min(size, self._left, self._c.pick([size, 1, 50]))
        self._left -= taken
        return b"b" * taken


class Application:
    """Does what is chosen, and compares what it is told with what ASGI says.

    ``expected`` has the parts that its messages are to bring, ``wrong`` is the class of the error that the
    response itself ends with, and ``raised`` what the application has raised.
    """

    def __init__(self, c: Choices, server: "Server", plain: PlainAsgiResponse) -> None:
        self.server = server
        self.simulation = server.simulation
        self.plain = plain
        self.steps = c.several(lambda: self._step(c), 8)
        if not c.seldom():
            self.steps.insert(c.byte() // 100, ("start", (c.pick(STATUSES), c.pick(LENGTHS))))
        if c.flag():
            self.steps.append(("last", c.pick(CHUNKS)))
        self.catches = c.flag()
        self.waits_at_end = c.flag()
        self.expected: list[Any] = []
        self.raised: BaseException | None = None
        self.wrong: type[Exception] | None = None
        self.called = 0
        self.has_asked = False  # for the body
        self.has_all = False  # of the body
        self.received = 0
        self.events = 0  # that it was given
        self.is_refused = False  # send() has said that nobody is there
        self.is_alone = False  # receive() has

    def _step(self, c: Choices) -> tuple[str, Any]:
        what = c.pick(STEPS)
        if what == "start":
            return what, (c.pick(STATUSES), c.pick(LENGTHS))
        options: dict[str, list[Any]] = {"body": CHUNKS, "last": CHUNKS, "both": CHUNKS, "fail": FAILURES}
        return what, c.pick(options.get(what, [None]))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.called += 1
        self.conversation = conversation_for(scope)
        self.receive, self.send = receive, send
        try:
            with self.simulation.watch:
                await self._run()
        except BaseException as error:
            self.raised = error
            raise

    async def _run(self) -> None:
        for what, value in self.steps:
            if what == "fail":
                raise value("on purpose")
            try:
                await getattr(self, f"_{what}")(value)
            except (ApplicationError, ServerError, ClientDisconnected, Failure):
                if not self.catches:
                    raise
        while self.waits_at_end and self.plain.complete and not self.is_alone:
            await self._receive(None)

    async def _send(self, message: dict[str, Any]) -> None:
        server, complete = self.server, self.plain.complete
        unheard = self.is_refused or (server.closed and not complete)
        wrong = None
        try:
            parts = self.plain.send(message)
            if parts and isinstance(parts[-1], type):
                self.wrong = parts.pop()
            self.expected += parts
        except Wrong as error:
            wrong = error.kind
        try:
            await self.send(message)
        except ApplicationError as error:
            assert type(error) is wrong
            raise
        except asyncio.CancelledError:
            self._check_cancellation()
            raise
        except (OSError, Failure, Fatal) as error:
            assert server.has_given_up(), error
            assert not complete or self.is_refused, "send() after the end raises nothing"  # A2W-SEND-34
            self.is_refused = True
            raise
        assert wrong is None or unheard
        if not server.closed and not self.plain.complete:
            produced = sum(len(part) for part in self.expected if isinstance(part, bytes))
            assert produced - sum(map(len, server.chunks)) <= server.window + 2 * LONGEST

    def _check_cancellation(self) -> None:
        """Where there is time, it is told that nobody is there, and cancelled later."""
        assert self.plain.complete or not self.server.grace or self.simulation.hurried

    async def _start(self, value: tuple[int, bytes | None]) -> None:
        status, length = value
        headers = [] if length is None else [(b"content-length", length)]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def _body(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def _last(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data})

    async def _hint(self, _: None) -> None:
        await self._send({"type": "http.response.early_hint", "links": [b"a"]})

    async def _trailers(self, _: None) -> None:
        await self._send({"type": "http.response.trailers", "headers": []})

    async def _receive(self, _: None, *, beside: bool = False) -> None:
        if self.has_all and not self.plain.complete:
            return  # it would wait for the client to leave, of which WSGI tells nothing
        self.has_asked = True
        try:
            event = await self.receive()
        except asyncio.CancelledError:
            if not beside:
                self._check_cancellation()
            raise
        self.events += 1
        faults = [fault.rule for fault in self.conversation.event(event)]
        assert not faults, (faults, event)
        stream = self.server.stream
        if event["type"] == "http.disconnect":
            self.is_alone = True
            # A2W-RECV-15: not before the end, unless the client has gone.
            assert self.plain.complete or self.server.has_given_up() or stream.broken is not None
            return
        assert not self.is_alone  # A2W-RECV-16
        self.received += len(event["body"])
        assert self.received <= stream.whole
        self.has_all = not event["more_body"]
        if self.has_all and self.server.declared is not None:
            assert self.received == self.server.declared

    async def _both(self, data: bytes) -> None:
        """Send while another task receives (A2W-RECV-17)."""
        errors: list[BaseException] = []

        async def listen() -> None:
            try:
                with self.simulation.watch:
                    await self._receive(None, beside=True)
            except BaseException as error:
                errors.append(error.with_traceback(None))  # no cycle

        other = self.simulation.start(listen, copy_context())
        if data:  # it asks before
            await self.simulation.breathe()
        try:
            await self._body(data)
        finally:
            await self.simulation.stop(other)
        if errors and not isinstance(errors[0], asyncio.CancelledError):
            raise errors[0]

    async def _breathe(self, _: None) -> None:
        await self.simulation.breathe()

    async def _sleep(self, _: None) -> None:
        waiter = self.simulation.waiter()
        timer = self.simulation.later(0.5, waiter.ring)
        try:
            await waiter
        finally:
            timer.cancel()
        server = self.server
        if server.closed and not self.plain.complete and not self.simulation.hurried:
            assert self.simulation.time <= server.closed_at + server.grace, "it is not cancelled in time"

    async def come_late(self) -> None:
        """What is called after the application has ended."""
        with self.simulation.watch:
            try:
                await self.send({"type": "http.response.body", "body": b"late", "more_body": True})
            except OSError:
                assert not self.plain.complete or self.is_refused
            else:
                assert self.plain.complete  # A2W-SEND-34
                assert await self.receive() == {"type": "http.disconnect"}  # A2W-RECV-15


class Server:
    """Calls the adapter, takes chunks, and closes, when and as often as it is chosen."""

    def __init__(self, c: Choices, simulation: Simulation) -> None:
        self.simulation = simulation
        self.window = c.pick([100_000, 0, 2, 100])
        self.takes = c.pick([1000, 1000, 0, 1, 2])  # chunks
        self.drops = c.flag()  # the iterable, instead of closing it
        self.refusal = c.pick([None, None, None, None, Failure("of the server"), OSError("of the server")])
        self.hints_fail = c.seldom()
        self.grace = c.pick([1.0, 0.0, 0.2])
        has_length, terminated, has_hints = c.flag(), c.flag(), c.flag()
        length = c.pick([0, 3, 100, 70_000])
        self.declared = length if has_length else None if terminated else 0  # None: to the end of the stream
        self.stream = Stream(c, self, self.declared)
        self.app: Application
        self.environ: dict[str, Any] = {
            "REQUEST_METHOD": c.pick(["GET", "HEAD"]),
            "SCRIPT_NAME": "",
            "PATH_INFO": "/",
            "wsgi.url_scheme": "http",
            "wsgi.input": self.stream,
        }
        if has_length:
            self.environ["CONTENT_LENGTH"] = str(length)
        if terminated:
            self.environ["wsgi.input_terminated"] = True
        if has_hints:
            self.environ["wsgi.early_hints"] = self._early_hints
        self.heads: list[Any] = []
        self.hints: list[Any] = []
        self.chunks: list[bytes] = []
        self.error: BaseException | None = None
        self.has_returned = False
        self.has_all = False
        self.closed = False
        self.closed_at = 0.0

    def has_refused(self) -> bool:
        return self.refusal is not None and bool(self.heads or (self.hints and self.hints_fail))

    def has_given_up(self) -> bool:
        """Whether the application may be told that nobody takes its response."""
        return self.closed or self.has_refused() or isinstance(self.stream.broken, BaseException)

    def _early_hints(self, links: Any) -> None:
        self.hints.append(links)
        if self.hints_fail and self.refusal is not None:
            raise self.refusal

    def _start_response(self, line: str, headers: Any) -> None:
        with self.simulation.watch:
            assert not self.heads, "start_response() is called twice"
            assert not self.has_returned
            assert type(headers) is list
        self.heads.append((line, headers))
        if self.refusal is not None:
            raise self.refusal

    def _close(self) -> None:
        self.closed = True
        self.closed_at = self.simulation.time

    def run(self) -> None:
        try:
            iterable: Any = adapter(self.environ, self._start_response)
        except Hang:
            raise
        except BaseException as error:
            self.error = error
            self._close()
            return
        self.has_returned = True
        with self.simulation.watch:
            assert self.heads, "the call has returned without start_response()"  # A2W-SEND-03
        try:
            while len(self.chunks) < self.takes:
                self.chunks.append(next(iterable))
                self.simulation.interrupt()
        except StopIteration:
            self.has_all = True
        except Hang:
            raise
        except BaseException as error:
            self.error = error
        self._close()
        # An error of the stream's that waits for the application keeps the frames of this thread, by its
        # traceback, and these the iterable, so that it is not collected.
        if not self.drops or isinstance(self.stream.broken, BaseException):
            iterable.close()
            with self.simulation.watch:
                assert list(iterable) == []  # A2W-LIFE-01
            iterable.close()
        # In the simulation so do the errors of the loop, which runs on top of this thread.
        for kept in (*self.simulation.log.errors, self.app.raised):
            if kept is not None:
                kept.__traceback__ = None
        del iterable


class Below:
    """The application of the one adapter, which looks at its application once."""

    app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


below = Below()
adapter: Any = AsgiToWsgi(below, lifespan="off")  # parts of it are replaced for each request


def asgi_exchange(data: bytes) -> None:
    """One request: its response is what ASGI says, or the beginning of it where it was given up."""
    c = Choices(data)
    simulation = Simulation(Choices(data[::-1]))
    server = Server(c, simulation)
    adapter._settings = Settings(
        ahead=server.window // 2,
        disconnect_grace=server.grace,
        background_wait=c.pick([0.0, None, 0.3]),
        add_content_length=c.flag(),
    )
    offered = ["http.response.early_hint"] if "wsgi.early_hints" in server.environ else []
    method = server.environ["REQUEST_METHOD"]
    plain = PlainAsgiResponse(method, offered, adapter._settings.add_content_length)
    app = server.app = below.app = Application(c, server, plain)
    loop: Any = simulation
    site: Any = Site(below, loop, None, "off")
    site.make_bell = simulation.make_bell
    adapter._site = site
    with replaced(
        (_asgi_exchange, "monotonic", lambda: simulation.time),
        (_asgi_exchange, "_log", simulation.log),
        (_asgi_site, "_log", simulation.log),
    ):
        try:
            simulation.run_thread(server.run)
            while simulation.turn():
                pass
            simulation.start(app.come_late, copy_context())
            while simulation.turn():
                pass
        except Hang:
            raise AssertionError("the thread waits for ever") from None
        finally:
            simulation.drop()
            adapter._site = below.app = None
    simulation.check_that_nothing_is_left()
    assert not site.running, "a request is still running"
    check_outcome(server, app)


def check_outcome(server: Server, app: Application) -> None:
    error, raised, stream = server.error, app.raised, server.stream
    own = (*FAILURES, ApplicationError, ServerError, OSError)
    assert raised is None or isinstance(raised, own), raised
    assert app.called == 1
    if raised is not None and not isinstance(raised, asyncio.CancelledError | ClientDisconnected):
        # Neither lost nor told twice.
        told = [*app.simulation.log.errors, error].count(raised)
        assert told == 1 or raised in (server.refusal, stream.broken)
    if raised is None and app.plain.done and app.wrong is None:
        assert not any(isinstance(told, ApplicationOrderError) for told in app.simulation.log.errors)
    heads = [part[1:] for part in app.expected if part[:1] == ("head",)]
    hints = [part[2] for part in app.expected if part[:1] == ("call",)]
    chunks = [part for part in app.expected if isinstance(part, bytes)]
    assert server.heads == heads[: len(server.heads)]
    assert server.hints == hints[: len(server.hints)]
    assert server.chunks == chunks[: len(server.chunks)]
    if error is None:
        if server.has_all:
            # It looks whole to the server, so it is.
            assert app.plain.complete
            assert app.wrong is None
            assert server.chunks == chunks
        return
    if server.has_refused():
        assert error is server.refusal  # A2W-ERR-12
    elif isinstance(stream.broken, Fatal) and error is stream.broken:
        pass
    elif app.wrong is not None:
        assert isinstance(error, app.wrong)
        assert server.chunks == chunks
    else:
        assert not app.plain.complete, error
        if raised is None:
            assert isinstance(error, ApplicationOrderError) or stream.broken is not None  # A2W-ERR-05, -06
            assert isinstance(error, ApplicationOrderError | ClientDisconnected)
        elif isinstance(raised, asyncio.CancelledError):
            assert isinstance(error, ApplicationOrderError)  # A2W-ERR-09
        else:
            assert error is raised  # A2W-ERR-01, -03
