"""Generated requests, bodies and applications through the adapter: no crash, no hang, no rule broken."""

import asyncio
import io
import warnings
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any
from wsgiref.validate import validator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgiadapt import ClientDisconnected
from tests.fakes import Answer, connection
from tests.validated import OF_SERVERS, WsgiToAsgi

# Scopes

segments = st.text(max_size=8) | st.sampled_from(["", "api", "caf\u00e9", "\ufffd", "..", "%2F"])
surrogates = st.text(st.characters(categories=["Cs", "Lu"]), max_size=4)
paths = st.lists(segments | surrogates, max_size=4).map(lambda parts: "/" + "/".join(parts))
names = st.binary(max_size=12) | st.sampled_from(
    [
        b"host", b"Cookie", b"content-length", b"Content-Type", b"transfer-encoding", b"proxy",
        b"x-a", b"X_A", b":authority", b":path", b"expect", b"\xb5",
    ]
)  # fmt: skip
values = st.binary(max_size=12) | st.sampled_from([b"", b"0", b"5", b"chunked", b"a, b", b"\xe9"])
pairs = st.tuples(names, values) | st.tuples(names, values).map(list)
ports = st.none() | st.integers(0, 65535) | st.sampled_from(["80", "8000"])
hosts = st.sampled_from(["", "::1", "[::1]", "a.example", "/run/socket", "\u00fc.example"])
ends = st.none() | st.tuples(hosts, ports) | st.tuples(hosts, ports).map(list)
scopes = st.fixed_dictionaries(
    {
        "path": paths,
        "root_path": st.none() | st.sampled_from(["", "/", "/api", "api", "/api/", "/caf\u00e9"]),
        "raw_path": st.none() | st.binary(max_size=8).map(lambda tail: b"/" + tail),
        "query_string": st.none() | st.binary(max_size=8),
        "method": st.sampled_from(["GET", "POST", "HEAD", "PROPFIND", "x", "\u00dc"]),
        "scheme": st.sampled_from([None, "", "http", "https"]),
        "http_version": st.sampled_from(["1.0", "1.1", "2", "3"]),
        "client": ends,
        "server": ends,
        "extensions": st.none() | st.just({}),
        "headers": st.lists(pairs, max_size=8),
        "once": st.booleans(),
    }
)


def checked(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Checks what must hold of every environ."""
    assert type(environ) is dict
    for key, value in environ.items():
        if "." not in key:
            assert type(value) is str
            value.encode("latin-1")
    assert not environ["SCRIPT_NAME"].endswith("/")
    assert environ["SCRIPT_NAME"] or environ["PATH_INFO"]
    assert environ["SERVER_NAME"]
    assert environ["SERVER_PORT"].isdigit()
    assert not {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH", "HTTP_PROXY"} & environ.keys()
    assert environ.get("CONTENT_LENGTH", "0").isdigit()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"x"]


def validated(environ: dict[str, Any], start_response: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of methods that it does not know
        return validator(checked)(environ, start_response)


@given(scope=scopes)
def test_any_request_is_answered(scope: dict[str, Any]) -> None:
    """By the application behind the validator, or with 400; nothing is raised."""
    adapter = ADAPTERS["validated"]
    if scope.pop("once"):
        scope["headers"] = iter(scope["headers"])
        adapter = ADAPTERS["alone"]

    async def main() -> Answer:
        async with connection(adapter, body=[b"ab", b"c"], **scope) as opened:
            return await opened.result()

    assert run(main()).status in (200, 400)


# Bodies

sizes = st.sampled_from([None, -2, -1, 0, 1, 2, 3, 7, 100])
operations = st.lists(
    st.tuples(st.sampled_from(["read", "readline", "readlines"]), sizes)
    | st.tuples(st.just("next"), st.none())
    | st.tuples(st.just("readinto"), st.sampled_from([0, 1, 5, 100])),
    max_size=6,
)
bodies = st.lists(st.sampled_from([b"a", b"\n", b"bc", b"\r\n", b"line\n", b"x" * 50]), max_size=12)
modes = st.sampled_from(
    [{}, {"first_window": 1, "window": 1}, {"first_window": 8, "window": 16}, {"lazy_body": True}]
)


def perform(stream: Any, program: list[tuple[str, Any]]) -> Iterator[Any]:
    for name, size in program:
        if name == "next":
            yield next(iter(stream), b"the end")
        elif name == "readinto":
            buffer = bytearray(size)
            yield stream.readinto(buffer), bytes(buffer)
        else:
            yield getattr(stream, name)(size)
    yield stream.read()


@given(pieces=bodies, cuts=st.lists(st.integers(0, 60)), program=operations, mode=modes)
def test_a_body_reads_like_a_file(
    pieces: list[bytes], cuts: list[int], program: list[tuple[str, Any]], mode: dict[str, Any]
) -> None:
    """However it is cut up, and whatever is read of it in whatever order."""
    whole = b"".join(pieces)
    places = sorted({min(cut, len(whole)) for cut in cuts} | {0, len(whole)})
    events = [whole[a:b] for a, b in pairwise(places)] or [b""]
    seen: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.extend(perform(environ["wsgi.input"], program))
        start_response("200 OK", [])
        return [b""]

    async def main() -> None:
        adapter = adapter_for(app, mode)
        headers = [(b"transfer-encoding", b"chunked")]
        async with connection(adapter, body=events, headers=headers, method="POST") as opened:
            await opened.result()

    run(main())
    assert seen == list(perform(io.BytesIO(whole), program))


@given(pieces=bodies, program=operations, mode=modes)
def test_a_truncated_body_never_looks_whole(
    pieces: list[bytes], program: list[tuple[str, Any]], mode: dict[str, Any]
) -> None:
    """Reading to the end raises, and goes on raising."""
    ended: list[bool] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        stream = environ["wsgi.input"]
        for _ in range(2):
            try:
                for _ in perform(stream, program):
                    pass
            except ClientDisconnected:
                ended.append(False)
            else:
                ended.append(True)
        start_response("200 OK", [])
        return [b""]

    async def main() -> None:
        headers = [(b"transfer-encoding", b"chunked")]
        adapter = adapter_for(app, mode)
        async with connection(adapter, body=None, headers=headers, method="POST") as opened:
            for piece in pieces:
                opened.feed({"type": "http.request", "body": piece, "more_body": True})
            opened.disconnect()
            await opened.result()

    run(main())
    assert ended == [False, False]


# Responses

chunks = st.sampled_from([b"", b"a", b"bc", b"x" * 40])
steps = st.one_of(
    st.tuples(st.just("start"), st.sampled_from([None, 0, 3, 5, 100])),
    st.tuples(st.just("restart"), st.sampled_from([None, 0, 4])),
    st.tuples(st.just("write"), chunks),
    st.tuples(st.just("yield"), chunks),
    st.tuples(st.just("fail"), st.none()),
)
statuses = st.sampled_from(["200 OK", "204 No Content", "205 Reset", "304 Not Modified", "404 No"])


class Failure(Exception):
    pass


class Model:
    """What PEP 3333 makes of a program, told in the plainest way: `sent`, `failed` and `whole`."""

    def __init__(self, program: list[tuple[str, Any]], bodiless: bool) -> None:
        self.sent = b""
        self.committed = self.failed = self.full = False
        self.length: int | None = None
        self.called = False
        self.bodiless = bodiless
        for what, value in program:
            getattr(self, what)(value)
            if self.failed or self.full:
                break
        if not (self.failed or self.full):
            if not self.called or (not bodiless and self.length is not None and len(self.sent) < self.length):
                self.failed = True
            else:
                self.committed = True
        self.whole = not self.failed or self.full

    def start(self, length: int | None) -> None:
        if self.called:
            self.failed = True
        else:
            self.called, self.length = True, length

    def restart(self, length: int | None) -> None:
        if self.committed:
            self.failed = True
        else:
            self.called, self.length = True, length

    def put(self, data: bytes) -> bool:
        """Whether it went past the length."""
        self.committed = True
        if self.bodiless:
            return False
        if self.length is None:
            self.sent += data
            return False
        past = len(self.sent) + len(data) > self.length
        self.sent = (self.sent + data)[: self.length]
        if data and len(self.sent) == self.length:
            self.full = True
        return past

    def write(self, data: bytes) -> None:
        if not self.called:
            return  # there is no write() yet, and the program leaves it out
        if self.put(data):
            self.failed = True

    def yield_(self, data: bytes) -> None:
        if data:
            if not self.called:
                self.failed = True
            else:
                self.put(data)

    def fail(self, _: None) -> None:
        self.failed = True

    def __getattribute__(self, name: str) -> Any:
        return object.__getattribute__(self, "yield_" if name == "yield" else name)


class Program:
    """A WSGI application that does what *steps* say, once it is iterated."""

    def __init__(self, program: list[tuple[str, Any]], status: str) -> None:
        self.program, self.status = program, status
        self.closed = 0
        self.start_response: Any = None

    def __call__(self, environ: dict[str, Any], start_response: Any) -> "Program":
        self.start_response = start_response
        return self

    def __iter__(self) -> Iterator[bytes]:
        write = None
        for what, value in self.program:
            headers = [] if value is None else [("Content-Length", str(value))]
            if what == "start":
                write = self.start_response(self.status, headers)
            elif what == "restart":
                try:
                    raise Failure
                except Failure as error:
                    exc_info = (Failure, error, error.__traceback__)
                    write = self.start_response(self.status, headers, exc_info)
            elif what == "write" and write is not None:
                write(value)
            elif what == "yield":
                yield value
            elif what == "fail":
                raise Failure

    def close(self) -> None:
        self.closed += 1


@given(
    program=st.lists(steps, max_size=7),
    method=st.sampled_from(["GET", "HEAD"]),
    status=statuses,
    window=st.sampled_from([1, 50, 100_000]),
)
def test_any_application_gets_the_response_that_pep_3333_gives_it(
    program: list[tuple[str, Any]], method: str, status: str, window: int
) -> None:
    """The validator checks the order of events; here are bytes, errors, the end, and close()."""
    bodiless = method == "HEAD" or status[:3] in ("204", "205", "304")
    model = Model(program, bodiless)
    app = Program(program, status)
    failed = False

    async def main() -> Answer:
        nonlocal failed
        adapter = adapter_for(app, {"window": window})
        async with connection(adapter, method=method) as opened:
            try:
                await opened.result()
            except Exception:
                failed = True
            return opened.answer

    answer = run(main())
    assert app.closed == 1
    assert answer.body == model.sent
    assert answer.started == model.committed
    assert answer.complete == (model.whole and model.committed)
    assert failed == model.failed
    assert ADAPTERS["free"].pool.stats().busy == 0 or settled()


# One loop and one pool for all examples; the pool is closed after each test by conftest.py.

ADAPTERS: dict[str, WsgiToAsgi] = {}
RUNNERS: list[asyncio.Runner] = []


@pytest.fixture(autouse=True)
def _adapters() -> Iterator[None]:
    ADAPTERS["free"] = WsgiToAsgi(checked)
    ADAPTERS["validated"] = adapter_for(validated, {"ignore": OF_SERVERS})
    ADAPTERS["alone"] = adapter_for(validated, {"validated": False})  # the validator makes lists of iterators
    with asyncio.Runner() as runner:
        RUNNERS.append(runner)
        yield
        RUNNERS.clear()


def adapter_for(app: Callable[..., Any], options: dict[str, Any]) -> WsgiToAsgi:
    return WsgiToAsgi(app, pool=ADAPTERS["free"].pool, **options)


def run(main: Any) -> Any:
    return RUNNERS[0].run(main)


def settled() -> bool:
    """The worker says that it is done before it has put down its job: wait for that."""
    while ADAPTERS["free"].pool.stats().busy:
        pass
    return True
