"""Generated environs, bodies and ASGI applications through the adapter: no crash, no hang, no rule broken."""

import asyncio
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgiadapt import (
    ApplicationOrderError,
    ApplicationTypeError,
    ApplicationValueError,
    ClientDisconnected,
    LoopThread,
)
from asgiadapt._sansio.refusal import Refusal
from asgiadapt._sansio.request import scope_from_environ
from tests.validated import AsgiToWsgi
from tests.wsgi_fakes import PATIENCE, Input, Request, environ_for

# Environs

latin = st.text(st.characters(max_codepoint=0xFF), max_size=8)
texts = latin | st.text(max_size=6) | st.text(st.characters(categories=["Cs", "Cc"]), max_size=3)
paths = st.lists(
    texts | st.sampled_from(["", "api", "caf\u00c3\u00a9", "\u00ff", "..", "%2F", "%"]), max_size=4
)
joined = paths.map("/".join) | paths.map(lambda parts: "/" + "/".join(parts)) | st.just("*")
numbers = st.sampled_from(
    ["", "0", "5", "80", "65535", "65536", "-1", " 5", "5,5", "5,6", "\u00b2", "9" * 30, "x"]
)
ports = st.none() | numbers | texts | st.integers(-1, 70000)
lengths = st.none() | numbers | texts | st.integers(0, 70000)
names = (
    st.sampled_from(
        ["HOST", "COOKIE", "CONTENT_LENGTH", "CONTENT_TYPE", "TRANSFER_ENCODING", "X_A", "x_a", "", "A B"]
    )
    | texts
)
fields = st.dictionaries(names.map("HTTP_".__add__), texts, max_size=5)
environs = st.fixed_dictionaries(
    {},
    optional={
        "REQUEST_METHOD": st.sampled_from(["GET", "post", "PROPFIND", "x", "\u00dc", "\u00df"]),
        "SCRIPT_NAME": st.none() | joined,
        "PATH_INFO": st.none() | joined,
        "QUERY_STRING": st.none() | texts,
        "REQUEST_URI": st.none() | joined | joined.map("http://a.example".__add__) | texts,
        "RAW_URI": st.none() | joined,
        "SERVER_NAME": st.none() | st.sampled_from(["", "a.example", "::1", "[::1]", "/run/s", "["]) | texts,
        "SERVER_PORT": ports,
        "SERVER_PROTOCOL": st.none() | st.sampled_from(["HTTP/1.0", "HTTP/2", "http/3.0", ""]) | texts,
        "REMOTE_ADDR": st.none() | st.sampled_from(["", "192.0.2.1", "::1"]) | texts,
        "REMOTE_PORT": ports,
        "CONTENT_TYPE": st.none() | texts,
        "CONTENT_LENGTH": lengths,
        "wsgi.url_scheme": st.sampled_from(["", "http", "https", "ws"]),
        "wsgi.input_terminated": st.booleans(),
        "wsgi.early_hints": st.sampled_from([None, print]),
        "SSL_PROTOCOL": st.none() | st.just("TLSv1.3") | texts,
        "SSL_CLIENT_CERT": st.none() | texts,
        "SSL_CLIENT_S_DN": st.none() | texts,
    },
)
TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")


def check_scope(scope: dict[str, Any]) -> None:
    """What must hold of every scope (ASGI HTTP 2.5)."""
    assert scope["type"] == "http"
    assert scope["http_version"] in ("1.0", "1.1", "2", "3")
    assert scope["method"] == scope["method"].upper()
    assert scope["scheme"]
    assert scope["path"]
    assert scope["path"].startswith(scope["root_path"])
    for text in (scope["path"], scope["root_path"]):
        text.encode("utf-8")  # no lone surrogates
    assert type(scope["query_string"]) is bytes
    assert type(scope.get("raw_path", b"")) is bytes
    assert b"?" not in scope.get("raw_path", b"")
    seen = [name for name, _ in scope["headers"]]
    for name, value in scope["headers"]:
        assert TOKEN.fullmatch(name)
        assert type(value) is bytes
        assert not set(b"\r\n\0") & set(value)
    for name in (b"host", b"content-type", b"content-length"):
        assert seen.count(name) <= 1
    assert not {b"content-length", b"transfer-encoding"} <= set(seen)
    for end in (scope["client"], scope["server"]):
        if end is not None:
            host, port = end
            assert host
            assert type(host) is str
            assert port is None or 0 <= port <= 65535
    if scope["client"] is not None:
        assert type(scope["client"][1]) is int


@given(environ=environs, headers=fields)
def test_any_environ_gives_a_scope_or_a_400(environ: dict[str, Any], headers: dict[str, str]) -> None:
    """Nothing else is raised; the application is called or it is not."""
    given_environ = {**environ_for(), **environ, **headers}
    before = given_environ.copy()
    try:
        check_scope(scope_from_environ(given_environ))
        mapped = True
    except Refusal as refusal:
        assert refusal.status == 400
        mapped = False
    assert given_environ == before
    calls: list[dict[str, Any]] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        calls.append(scope)
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b""})

    # A server that lets control characters pass finds them passed on.
    adapter = adapter_for(app, ignore={"scope-header-values"})
    request = Request(adapter, validated=False)
    request.environ = given_environ
    with request:
        request.begin()
        request.read_to_end()
    assert request.answer.status == (200 if mapped else 400)
    assert len(calls) == mapped


# Bodies

pieces = st.lists(st.sampled_from([b"a", b"bc", b"\r\n", b"x" * 70_000, b"y" * 300]), max_size=8)
framings = st.sampled_from(["length", "terminated", "chunked", "both", "twice"])


def framed(framing: str, whole: int) -> dict[str, Any]:
    """The part of an environ that says where the body ends."""
    return {
        "length": {"CONTENT_LENGTH": str(whole)},
        "terminated": {"wsgi.input_terminated": True},
        "chunked": {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"},
        "both": {
            "wsgi.input_terminated": True,
            "HTTP_TRANSFER_ENCODING": "chunked",
            "CONTENT_LENGTH": str(whole + 5),
        },
        "twice": {"wsgi.input_terminated": True, "CONTENT_LENGTH": f"{whole},{whole}"},
    }[framing]


class Reads:
    """Receives until the body is over; *early* events later it starts to answer, with what it has got."""

    def __init__(self, early: int) -> None:
        self.early = early
        self.events: list[dict[str, Any]] = []

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        while True:
            if len(self.events) == self.early:
                await send({"type": "http.response.start", "status": 200})
                await send({"type": "http.response.body", "body": b"early", "more_body": True})
            event = await receive()
            self.events.append(event)
            if event["type"] == "http.disconnect" or not event["more_body"]:
                break
        if len(self.events) <= self.early:
            await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})
        assert await receive() == {"type": "http.disconnect"}

    @property
    def body(self) -> bytes:
        return b"".join(event["body"] for event in self.events if event["type"] == "http.request")


@given(
    sent=pieces,
    cuts=st.lists(st.integers(0, 300_000), max_size=6),
    framing=framings,
    early=st.sampled_from([0, 1, 2, 1000]),
    window=st.sampled_from([0, 1, 200_000]),
)
def test_a_body_arrives_whole_however_it_is_cut(
    sent: list[bytes], cuts: list[int], framing: str, early: int, window: int
) -> None:
    """Every byte once and in order; only the last event has no more, and no read is one too many."""
    whole = b"".join(sent)
    places = sorted({min(cut, len(whole)) for cut in cuts} | {0, len(whole)})
    stream = Input(*[whole[a:b] for a, b in pairwise(places)], ends=framing != "length")
    app = Reads(early)
    environ = {"REQUEST_METHOD": "POST", **framed(framing, len(whole))}
    with Request(adapter_for(app, window=window), stream, validated=False, **environ) as request:
        request.begin()
        request.read_to_end()
    assert app.body == whole
    assert [event["more_body"] for event in app.events] == [True] * (len(app.events) - 1) + [False]
    assert all(len(event["body"]) <= max(64 * 1024, window) for event in app.events)


@given(
    sent=pieces,
    missing=st.integers(1, 100_000),
    fails=st.booleans(),
    early=st.sampled_from([0, 1, 1000]),
)
def test_a_body_that_is_cut_off_never_looks_whole(
    sent: list[bytes], missing: int, fails: bool, early: int
) -> None:
    """What came arrives, and then the disconnect; whether the stream ended or failed."""
    whole = b"".join(sent)
    ending: list[Any] = [OSError("reset")] if fails else []
    stream = Input(*[piece for piece in sent if piece], *ending)
    app = Reads(early)
    environ = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": str(len(whole) + missing)}
    with Request(adapter_for(app), stream, validated=False, **environ) as request:
        request.begin()
        request.read_to_end()
    assert app.body == whole
    *before, last = app.events
    assert last == {"type": "http.disconnect"}
    assert all(event["more_body"] for event in before)


# Responses


class Failure(Exception):
    pass


class BadFailure(BaseException):
    pass


KINDS: list[type[BaseException]] = [
    Failure,
    BadFailure,
    asyncio.CancelledError,
    ClientDisconnected,
    GeneratorExit,
    SystemExit,
    KeyboardInterrupt,
    StopAsyncIteration,
]
chunks = st.sampled_from([b"", b"a", b"bc", b"x" * 40])
statuses = st.sampled_from([200, 204, 205, 304, 404, 599])
starts = st.tuples(st.just("start"), statuses, st.sampled_from([None, None, 0, 3, 5, 100]))
parts = st.tuples(st.just("body"), chunks, st.booleans())
steps = st.one_of(
    starts,
    parts,
    parts,
    parts,
    st.tuples(st.just("send"), st.sampled_from(["hint", "trailers", "none", "text", "status"]), st.none()),
    st.tuples(st.just("receive"), st.none(), st.none()),
    st.tuples(st.just("breathe"), st.none(), st.none()),
    st.tuples(st.just("raise"), st.sampled_from(KINDS), st.none()),
    st.tuples(st.just("return"), st.none(), st.none()),
)
# Whether the application goes on after an error of send().
programs = st.lists(st.tuples(steps, st.booleans()), max_size=8) | st.builds(
    lambda first, rest: [(first, True), *rest],
    starts,
    st.lists(st.tuples(parts | steps, st.booleans()), max_size=8),
)
MESSAGES: dict[str, tuple[Any, type[Exception]]] = {
    "hint": ({"type": "http.response.early_hint", "links": [b"x"]}, ApplicationOrderError),
    "trailers": ({"type": "http.response.trailers", "headers": []}, ApplicationOrderError),
    "none": (None, ApplicationTypeError),
    "text": ({"type": "http.response.body", "body": "text"}, ApplicationTypeError),
    "status": ({"type": "http.response.start", "status": 101}, ApplicationValueError),
}


class Model:
    """What ASGI and PEP 3333 make of a program, told in the plainest way.

    ``chunks`` is what the server gets, once it was ``started``, and ``error`` the class of what it gets at
    their end, if it is one. ``refused`` are the steps that raise in the application.
    """

    def __init__(self, program: list[Any], method: str) -> None:
        self.chunks: list[bytes] = []
        self.started = self.finished = False  # for the server
        self.error: type[BaseException] | None = None
        self.refused: dict[int, type[Exception]] = {}
        self._head = method == "HEAD"
        self._status: int | None = None
        self._length: int | None = None
        self._over = False  # for the application: nothing that it sends is looked at any more
        for number, ((what, first, second), caught) in enumerate(program):
            refused = getattr(self, f"_{what}")(first, second)
            if what == "return":
                break
            if what == "raise":
                self._fail(ApplicationOrderError if first is asyncio.CancelledError else first)
                break
            if refused is not None:
                self.refused[number] = refused
                if not caught:
                    self._fail(refused)
                    break
        self._fail(ApplicationOrderError)  # unless it is finished

    def _fail(self, kind: type[BaseException]) -> None:
        if not self.finished:
            self.finished = self._over = True
            self.error = kind

    def _start(self, status: int, length: int | None) -> type[Exception] | None:
        if self._over:
            return None
        if self._status is not None:
            return ApplicationOrderError
        self._status = status
        self._bodiless = self._head or status in (204, 205, 304)
        self._length = None if self._bodiless else length
        return None

    def _body(self, data: bytes, more: bool) -> type[Exception] | None:
        if self._over:
            return None
        if self._status is None:
            return ApplicationOrderError
        if self._length is not None:
            if len(data) > self._length:
                return ApplicationValueError
            self._length -= len(data)
            if self._length and not more:
                self._fail(ApplicationValueError)
                return None
        self.started = True
        if not self._bodiless and (data or more):
            self.chunks.append(data)
        if self._bodiless or not more:
            self.finished = True
        self._over = not more
        return None

    def _send(self, which: str, _: None) -> type[Exception] | None:
        if self._over:
            return None
        if which == "text" and self._status is None:
            return ApplicationOrderError
        if which == "text" and self._bodiless and self.started:
            return ApplicationTypeError
        if which == "status" and self._status is not None:
            return ApplicationOrderError
        return MESSAGES[which][1]

    def _receive(self, *_: None) -> None: ...
    def _breathe(self, *_: None) -> None: ...
    def _raise(self, *_: Any) -> None: ...
    def _return(self, *_: None) -> None: ...


class Program:
    """An application that does what *program* says."""

    def __init__(self, program: list[Any]) -> None:
        self.program = program
        self.refused: dict[int, type[BaseException]] = {}
        self.received = 0

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        for number, ((what, first, second), caught) in enumerate(self.program):
            if what == "return":
                return
            if what == "raise":
                raise first("on purpose")
            if what == "breathe":
                await asyncio.sleep(0)
                continue
            if what == "receive":
                if not self.received:  # the next would wait for the client to go
                    assert await receive() in (NO_BODY, GONE)
                self.received = 1
                continue
            try:
                await send(self.message(what, first, second))
            except (ApplicationOrderError, ApplicationTypeError, ApplicationValueError) as error:
                self.refused[number] = type(error)
                if not caught:
                    raise

    def message(self, what: str, first: Any, second: Any) -> Any:
        if what == "send":
            return MESSAGES[first][0]
        if what == "body":
            return {"type": "http.response.body", "body": first, "more_body": second}
        headers = [] if second is None else [(b"content-length", str(second).encode())]
        return {"type": "http.response.start", "status": first, "headers": headers}


NO_BODY = {"type": "http.request", "body": b"", "more_body": False}
GONE = {"type": "http.disconnect"}
methods = st.sampled_from(["GET", "HEAD"])
windows = st.sampled_from([0, 1, 200, 100_000])


@given(
    program=programs,
    method=methods,
    window=windows,
    add_length=st.booleans(),
    background_wait=st.sampled_from([0.0, None]),
)
def test_any_application_gets_the_response_that_the_model_gives_it(
    program: list[Any], method: str, window: int, add_length: bool, background_wait: float | None
) -> None:
    """Chunks, the error and where it comes out; what is not whole always ends with an error."""
    model = Model(program, method)
    app = Program(program)
    wsgi = adapter_for(app, window=window, add_content_length=add_length, background_wait=background_wait)
    error: BaseException | None = None
    with Request(wsgi, validated=False, REQUEST_METHOD=method) as request:
        try:
            request.begin()
            request.read_to_end()
        except BaseException as raised:
            error = raised
    assert wsgi.close(PATIENCE)
    answer = request.answer
    assert (None if error is None else type(error)) is model.error
    assert app.refused == model.refused
    assert answer.started == model.started
    assert answer.chunks == model.chunks
    assert request.called == model.started  # an error before the head comes out of the call
    length = answer.header("content-length")
    if error is None and length is not None and method == "GET" and answer.status not in (204, 205, 304):
        assert len(answer.body) == int(length)


@given(
    program=programs,
    method=methods,
    window=windows,
    taken=st.integers(0, 3),
    grace=st.sampled_from([0.0, 0.001, 20.0]),
    background_wait=st.sampled_from([0.0, None]),
    drops=st.booleans(),
)
def test_a_response_may_be_given_up_at_any_point(
    program: list[Any],
    method: str,
    window: int,
    taken: int,
    grace: float,
    background_wait: float | None,
    drops: bool,
) -> None:
    """What was taken is the beginning of the whole; close() raises nothing, and nothing runs on."""
    model = Model(program, method)
    wsgi = adapter_for(
        Program(program), window=window, disconnect_grace=grace, background_wait=background_wait
    )
    chunks: list[bytes] = []
    started: list[Any] = []
    error: BaseException | None = None
    response: Any = None
    try:
        response = wsgi(environ_for(REQUEST_METHOD=method), lambda *head: started.append(head))
        for _ in range(taken):
            chunks.append(next(response))  # noqa: PERF401 - what was taken before an error counts
    except StopIteration:
        pass
    except BaseException as raised:
        error = raised
    if response is not None and not drops:
        response.close()
        assert list(response) == []
    del response
    assert wsgi.close(PATIENCE)
    assert bool(started) == model.started
    assert chunks == model.chunks[: len(chunks)]
    assert error is None or type(error) is model.error
    if not model.started:
        assert error is not None
    elif len(chunks) < taken:
        assert chunks == model.chunks
        assert (None if error is None else type(error)) is model.error


# One loop for all examples.

LOOPS: list[LoopThread] = []


@pytest.fixture(autouse=True)
def _loop() -> Iterator[None]:
    with LoopThread() as loop:
        LOOPS.append(loop)
        yield
        LOOPS.clear()


def adapter_for(app: Any, **options: Any) -> AsgiToWsgi:
    return AsgiToWsgi(app, loop=LOOPS[0], lifespan="off", **options)
