"""A WSGI server in process, for one request at a time or many, which plays the client too.

It is as strict as a server may be: `start_response` called twice, by keyword, from another thread or after
the call, a wrong type, a chunk in spite of a length, a read that a socket would not come back from, all of
these fail the test, even where the adapter swallows the error. Where it differs from real servers, the tests
in ``servers`` show it.
"""

import io
import queue
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from wsgiref.util import is_hop_by_hop
from wsgiref.validate import validator

# No part of the interface between the server and the adapter can take as long as this.
PATIENCE = 20.0

ABSENT: Any = object()
"""As the value of a change, it takes the key away."""


def environ_for(**changes: Any) -> dict[str, Any]:
    """An environ like those of real servers; *changes* replace its entries, `ABSENT` removes them."""
    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "fake/1.0",
        "GATEWAY_INTERFACE": "CGI/1.1",
        "REMOTE_ADDR": "192.0.2.1",
        "REMOTE_PORT": "50000",
        "HTTP_HOST": "testserver",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": Input(ends=False),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **changes,
    }
    return {key: value for key, value in environ.items() if value is not ABSENT}


class Stream:
    """What the streams have in common: only ``read(n)`` with a positive n is allowed.

    ``sizes`` has what each read asked for, ``threads`` the threads that read, ``given`` counts the bytes
    handed out, and ``faults`` has what the adapter did wrong.
    """

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.threads: set[int] = set()
        self.given = 0
        self.faults: list[str] = []

    @property
    def reads(self) -> int:
        return len(self.sizes)

    def fault(self, what: str) -> AssertionError:
        self.faults.append(what)
        return AssertionError(what)

    def read(self, *args: Any, **kwargs: Any) -> bytes:
        if kwargs or len(args) != 1 or type(args[0]) is not int or args[0] <= 0:
            raise self.fault(f"read() called with {args} {kwargs}, not with one positive size")
        self.sizes.append(args[0])
        self.threads.add(threading.get_ident())
        chunk = self.give(args[0])
        assert len(chunk) <= args[0]
        self.given += len(chunk)
        return chunk

    def give(self, size: int) -> bytes:
        raise NotImplementedError

    # The validator looks whether these are there.

    def readline(self, *args: Any) -> bytes:
        raise self.fault("readline() called")

    def readlines(self, *args: Any) -> list[bytes]:
        raise self.fault("readlines() called")

    def __iter__(self) -> Any:
        raise self.fault("the stream was iterated over")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise self.fault(f"{name} of the stream was looked up")


class Input(Stream):
    """A body in *pieces*: a read gives no more than the rest of one. An exception among them is raised.

    With *ends*, a read behind the last piece gives ``b""``. Without, it fails, and so does one that asks for
    more than is left: on a connection that is kept open, either would wait for ever.
    """

    def __init__(self, *pieces: bytes | BaseException, ends: bool = True) -> None:
        super().__init__()
        self.pieces = list(pieces)
        self.ends = ends

    def give(self, size: int) -> bytes:
        left = sum(len(piece) for piece in self.pieces if isinstance(piece, bytes))
        if not self.ends and size > left:
            raise self.fault(f"{size} bytes were asked for where {left} are left")
        if not self.pieces:
            return b""
        piece = self.pieces[0]
        if isinstance(piece, BaseException):
            raise piece
        given, rest = piece[:size], piece[size:]
        if rest:
            self.pieces[0] = rest
        else:
            del self.pieces[0]
        return given


class FedInput(Stream):
    """A body that arrives when the test says so, by `feed`, `end` and `fail`; reads wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = threading.Event()  # a read is waiting for data
        self._news = threading.Condition()
        self._pieces: list[bytes | BaseException] = []

    def _add(self, piece: bytes | BaseException) -> None:
        with self._news:
            self._pieces.append(piece)
            self.waiting.clear()
            self._news.notify_all()

    def feed(self, *pieces: bytes) -> None:
        for piece in pieces:
            self._add(piece)

    def end(self) -> None:
        self._add(b"")

    def fail(self, error: BaseException) -> None:
        self._add(error)

    def wait_for_read(self) -> None:
        """Wait until the adapter waits in a read."""
        assert self.waiting.wait(PATIENCE), "no read has come"

    def give(self, size: int) -> bytes:
        with self._news:
            if not self._pieces:
                self.waiting.set()
            if not self._news.wait_for(lambda: self._pieces, PATIENCE):
                raise self.fault("the test has fed nothing to a waiting read")
            piece = self._pieces[0]
            if isinstance(piece, BaseException):
                raise piece
            if not piece:
                return b""  # the end stays the end
            given, rest = piece[:size], piece[size:]
            self._pieces[:1] = [rest] if rest else []
            return given


@dataclass
class Answer:
    """What the client has got, so far."""

    line: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)

    @property
    def status(self) -> int:
        return int(self.line[:3])

    @property
    def started(self) -> bool:
        return bool(self.line)

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    def header(self, name: str) -> str | None:
        """The only value of header *name*; None where there is no such header."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) <= 1, values
        return values[0] if values else None


class Step:
    """Something that the request's thread does; `result` waits for it."""

    def __init__(self, job: Callable[[], Any]) -> None:
        self._job = job
        self._over = threading.Event()
        self._result: Any = None
        self._error: BaseException | None = None

    @property
    def over(self) -> bool:
        return self._over.is_set()

    def run(self) -> None:
        try:
            self._result = self._job()
        except BaseException as error:
            self._error = error
        finally:
            self._over.set()

    def wait(self) -> None:
        """Wait for the end, whatever comes of it."""
        assert self._over.wait(PATIENCE), f"the request's thread is still in {self._job.__qualname__}"

    def result(self) -> Any:
        self.wait()
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None
        return self._result


class Request:
    """One request, step by step: `begin` calls the application, `next` takes a chunk, `close` ends it.

    The steps run in the thread that asks for them or, with *threaded*, all in one thread of the request's
    own; then `begin_later`, `next_later` and `close_later` give a `Step` and don't wait for it. As a context
    manager, it closes what was not closed.

    A *body* of bytes has a ``CONTENT_LENGTH``, one that is a stream has what *environ* says.
    """

    def __init__(
        self,
        app: Any,
        body: bytes | Stream = b"",
        /,
        *,
        validated: bool = True,
        threaded: bool = False,
        **environ: Any,
    ) -> None:
        if isinstance(body, bytes):
            if body:
                environ = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": str(len(body)), **environ}
            body = Input(body, ends=False) if body else Input(ends=False)
        self.environ = environ_for(**{"wsgi.input": body, **environ})
        self.input = self.environ.get("wsgi.input")
        self.errors = self.environ.get("wsgi.errors")
        self.method = self.environ.get("REQUEST_METHOD")
        self.answer = Answer()
        self.returned: Any = None
        self.called = False  # the call has returned
        self.ended = False  # the iterable has ended by itself
        self.closed = False
        self.faults: list[str] = []
        self._app = validator(app) if validated else app
        self._iterator: Any = None
        self._thread: int | None = None
        self._steps: queue.SimpleQueue[Step | None] | None = None
        if threaded:
            self._steps = queue.SimpleQueue()
            self._own = threading.Thread(target=self._run_steps, name="fake-request", daemon=True)
            self._own.start()

    # What the server does.

    def _fault(self, what: str) -> AssertionError:
        self.faults.append(what)
        return AssertionError(what)

    def _start_response(self, *args: Any, **kwargs: Any) -> Callable[[bytes], Any]:
        if kwargs or len(args) not in (2, 3):
            raise self._fault(f"start_response() called with {len(args)} arguments and {kwargs}")
        if threading.get_ident() != self._thread:
            raise self._fault(f"start_response() called in {threading.current_thread().name}")
        if self.called:
            raise self._fault("start_response() called after the call has returned")
        if self.answer.started:
            raise self._fault("start_response() called twice")
        line, headers = args[:2]
        if type(line) is not str or not line[:3].isdigit() or line[3:4] != " ":
            raise self._fault(f"no status line: {line!r}")
        if type(headers) is not list:
            raise self._fault(f"the headers are no list: {headers!r}")
        for pair in [("status", line), *headers]:
            if type(pair) is not tuple or [type(part) for part in pair] != [str, str]:
                raise self._fault(f"no pair of str: {pair!r}")
            if any(ord(char) > 0xFF or char in "\r\n\0" for part in pair for char in part):
                raise self._fault(f"not for the wire: {pair!r}")
            if is_hop_by_hop(pair[0]):
                raise self._fault(f"hop-by-hop: {pair!r}")
        self.answer.line, self.answer.headers = line, list(headers)
        return self._write

    def _write(self, chunk: bytes) -> None:
        raise self._fault("write() is for applications that cannot do otherwise")

    def _begin(self) -> None:
        self._thread = threading.get_ident()
        self.returned = self._app(self.environ, self._start_response)
        self.called = True
        if not self.answer.started:
            raise self._fault("the call has returned without start_response()")
        self._iterator = iter(self.returned)

    def _next(self) -> bytes | None:
        assert threading.get_ident() == self._thread, "the test goes on in another thread"
        try:
            chunk = next(self._iterator)
        except StopIteration:
            self.ended = True
            return None
        if type(chunk) is not bytes:
            raise self._fault(f"no bytes: {chunk!r}")
        if chunk and (self.method == "HEAD" or self.answer.status in (204, 205, 304)):
            raise self._fault(f"a body where there is none: {chunk!r}")
        self.answer.chunks.append(chunk)
        return chunk

    def _close(self) -> None:
        if self.closed:
            return
        self.closed = True
        if hasattr(self.returned, "close"):
            self.returned.close()

    # What the test asks for.

    def _run_steps(self) -> None:
        assert self._steps is not None
        while (step := self._steps.get()) is not None:
            step.run()
            del step

    def _later(self, job: Callable[[], Any]) -> Step:
        assert self._steps is not None, "only a threaded request can do this later"
        step = Step(job)
        self._steps.put(step)
        return step

    def _now(self, job: Callable[[], Any]) -> Any:
        return job() if self._steps is None else self._later(job).result()

    def begin(self) -> Answer:
        """Call the application."""
        self._now(self._begin)
        return self.answer

    def next(self) -> bytes | None:
        """Take the next chunk; None: the response is over."""
        chunk: bytes | None = self._now(self._next)
        return chunk

    def close(self) -> None:
        """Close the iterable, unless this was done before."""
        self._now(self._close)

    def begin_later(self) -> Step:
        return self._later(self._begin)

    def next_later(self) -> Step:
        return self._later(self._next)

    def close_later(self) -> Step:
        return self._later(self._close)

    def read_to_end(self) -> Answer:
        """Take all chunks that are left."""
        while self.next() is not None:
            pass
        return self.answer

    def check(self) -> None:
        """Fail if the adapter did what it may not do."""
        faults = [*self.faults, *getattr(self.input, "faults", [])]
        assert not faults, faults
        length = self.answer.header("content-length")
        if self.ended and length is not None and self.method != "HEAD" and self.answer.status != 304:
            assert int(length) == len(self.answer.body), "the length is another one than was announced"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        try:
            self.close()
        finally:
            if self._steps is not None:
                self._steps.put(None)
                self._own.join(PATIENCE)
                assert not self._own.is_alive(), "the request's thread is still busy"
        if error is None:
            self.check()


def call(app: Any, body: bytes | Stream = b"", /, *, validated: bool = True, **environ: Any) -> Answer:
    """One whole request in this thread; raises what the call, the iterable or its close() raised."""
    request = Request(app, body, validated=validated, **environ)
    try:
        with request:
            request.begin()
            return request.read_to_end()
    finally:
        if sys.exception() is not None and request.faults:
            # What the server did not like comes first; the rest may well come of it.
            raise AssertionError(request.faults)


def call_together(requests: Iterable[Request]) -> list[Answer]:
    """Begin all of *requests*, which are threaded, at the same time, and take them to their ends."""
    opened = list(requests)
    begun = [request.begin_later() for request in opened]
    answers = []
    for request, step in zip(opened, begun, strict=True):
        with request:
            step.result()
            answers.append(request.read_to_end())
    return answers
