"""RT: what goes through both gateways comes out as it went in.

``R`` is an ASGI application below both of them, ``S`` a WSGI application; ``S`` has the standard library's
validator on both sides.
"""

import asyncio
import gc
import threading
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote_from_bytes
from wsgiref.validate import validator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from asgiadapt import ClientDisconnected
from tests import apps, fakes
from tests.asgi_apps import Flag, body, for_http, read_body, start
from tests.conformance.rules import rule
from tests.validated import AsgiToWsgi, WsgiToAsgi
from tests.wsgi_fakes import PATIENCE, Answer, Input, Request, call

many = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Below:
    """An application that is exchanged from example to example, and the gateways above it: ``through``."""

    app: Any = None
    through: Any = None

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)

    def wsgi(self, environ: Any, start_response: Any) -> Any:
        return validator(self.app)(environ, start_response)


@pytest.fixture
def r() -> Below:
    """``WsgiToAsgi(AsgiToWsgi(app))``."""
    below = Below()
    gateway = AsgiToWsgi(below.asgi, lifespan="off")
    below.through = WsgiToAsgi(
        gateway, ignore={"scope-header-names"}
    )  # the case of names is one of the tests
    return below


@pytest.fixture
def s() -> Below:
    """``AsgiToWsgi(WsgiToAsgi(validator(app)))``."""
    below = Below()
    below.through = AsgiToWsgi(WsgiToAsgi(below.wsgi), lifespan="off")
    return below


def answer_of_r(r: Below, *pieces: bytes, **scope: Any) -> fakes.Answer:
    """What the client of an ASGI server gets."""
    return asyncio.run(fakes.request(r.through, *pieces, **scope))


def scope_below_r(r: Below, **scope: Any) -> dict[str, Any]:
    """The scope of the application."""
    seen: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)
        await send(start())
        await send(body(b"x"))

    r.app = app
    assert answer_of_r(r, **scope).status == 200
    return seen.pop()


def environ_below_s(s: Below, **environ: Any) -> dict[str, Any]:
    """The environ of the application."""
    app = apps.Keeps(apps.returns([b"x"], headers=[("Content-Type", "text/plain")]))
    s.app = app
    assert call(s.through, **environ).status == 200
    return app.environ


# Request lines

segments = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/"), max_size=6)
segments |= st.sampled_from(["", "a", "caf\u00e9", "%2F", "%", "\ufffd", "..", ".", "a b", "\U0001f355", "?"])
paths = st.lists(segments, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
roots = st.just("") | paths.map(lambda path: path.rstrip("/"))
queries = st.binary(max_size=12) | st.sampled_from([b"q=%20&a=b", b"q=\xc3\xa9", b"?", b"\xff"])
methods = st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "DELETE", "PROPFIND", "M-SEARCH"])


@many
@example(root="", rest="/%FF", query=b"", method="GET", scheme="http", version="1.1", raw=True)
@example(root="/a", rest="", query=b"", method="GET", scheme="http", version="1.1", raw=False)
@given(
    root=roots,
    rest=st.just("") | paths,
    query=queries,
    method=methods,
    scheme=st.sampled_from(["http", "https"]),
    version=st.sampled_from(["1.0", "1.1", "2"]),
    raw=st.booleans(),
)
@rule("RT-01")
def test_a_request_line_survives_both_gateways(
    r: Below,
    root: str,
    rest: str,
    query: bytes,
    method: str,
    scheme: str,
    version: str,
    raw: bool,
    _rule: None,
) -> None:
    """Whatever text the path has, with or without the bytes that the client has sent."""
    path = root + rest or "/"
    raw_path = quote_from_bytes(path.encode()).encode() if raw else None
    given = {
        "path": path,
        "root_path": root,
        "query_string": query,
        "method": method,
        "scheme": scheme,
        "http_version": version,
        "raw_path": raw_path,
    }
    scope = scope_below_r(r, **given)
    assert {key: scope.get(key) for key in given} == given


def wire(text: str) -> str:
    return text.encode().decode("latin-1")


@many
@example(script_name="/a", path_info="", query=b"")
@given(script_name=roots.map(wire), path_info=st.just("") | paths.map(wire), query=queries)
@rule("RT-02")
def test_names_of_scripts_and_paths_survive_both_gateways(
    s: Below, script_name: str, path_info: str, query: bytes, _rule: None
) -> None:
    """Each of the two, not only what they are together."""
    given = {
        "SCRIPT_NAME": script_name,
        "PATH_INFO": path_info if script_name else path_info or "/",
        "QUERY_STRING": query.decode("latin-1"),
    }
    environ = environ_below_s(s, **given)
    assert {key: environ.get(key) for key in given} == given


@many
@example(script_name="", path=b"\xff\xfe", query="", variable="REQUEST_URI")
@example(script_name="/caf\u00c3\u00a9", path=b"\xe9", query="a=b", variable="RAW_URI")
@given(
    script_name=st.sampled_from(["", "/api", "/caf\u00c3\u00a9", "/a/b"]),
    path=st.binary(max_size=8),
    query=st.sampled_from(["", "a=b"]),
    variable=st.sampled_from(["REQUEST_URI", "RAW_URI"]),
)
@rule("RT-03")
def test_paths_that_are_no_text_survive_where_the_target_is_known(
    s: Below, script_name: str, path: bytes, query: str, variable: str, _rule: None
) -> None:
    """The raw path says what the decoded one cannot; and the target comes through as well."""
    path_info = "/" + path.decode("latin-1")
    target = quote_from_bytes((script_name + path_info).encode("latin-1")) + ("?" + query if query else "")
    environ = environ_below_s(
        s,
        **{"SCRIPT_NAME": script_name, "PATH_INFO": path_info, "QUERY_STRING": query, variable: target},
    )
    assert environ["SCRIPT_NAME"] == script_name
    assert environ["PATH_INFO"] == path_info
    assert environ["QUERY_STRING"] == query
    assert environ["REQUEST_URI"] == environ["RAW_URI"] == target


# Headers

TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
PRINTABLE = [char for char in range(256) if char not in (*range(0x20), 0x7F)]
names = st.lists(st.sampled_from(TOKEN), min_size=1, max_size=6).map(bytes)
names |= st.sampled_from(
    [b"cookie", b"Cookie", b"accept", b"Accept", b"x-a", b"X-A", b"x_a", b"te", b"upgrade"]
)
values = st.lists(st.sampled_from(PRINTABLE), max_size=8).map(bytes)
values = values.map(lambda value: value.strip(b" ")) | st.sampled_from([b"", b"a, b", b"a=1; b=2", b"a\tb"])
SPECIAL = {b"host", b"content-length", b"content-type", b"transfer-encoding", b"proxy", b"expect"}
request_headers = st.lists(
    st.tuples(names, values).filter(lambda pair: pair[0].lower() not in SPECIAL), max_size=8
)


def joined(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The documented changes: lower case, fields of one name joined, none that have an underscore."""
    together: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        if b"_" not in name:
            together.setdefault(name.lower(), []).append(value)
    return [(name, (b"; " if name == b"cookie" else b",").join(items)) for name, items in together.items()]


@many
@example(headers=[(b"Cookie", b"a=1"), (b"cookie", b"b=2")])
@example(headers=[(b"x-a", b"1"), (b"x_a", b"2"), (b"X-A", b"3")])
@given(headers=request_headers)
@rule("RT-04")
def test_request_headers_survive_both_gateways(
    r: Below, headers: list[tuple[bytes, bytes]], _rule: None
) -> None:
    """But for what environ cannot tell: case, repetition, and names that collide there."""
    scope = scope_below_r(r, headers=[*headers, (b"content-type", b"a/b"), (b"content-length", b"0")])
    expected = [
        (b"host", b"testserver"),
        *joined(headers),
        (b"content-type", b"a/b"),
        (b"content-length", b"0"),
    ]
    assert sorted(scope["headers"]) == sorted(expected)
    assert scope["headers"][0] == (b"host", b"testserver")


# Responses

DROPPED = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te",
    "trailer", "trailers", "transfer-encoding", "upgrade", "content-length", "content-type", "status",
}  # fmt: skip
letters = st.sampled_from("abcxyz")
response_names = st.lists(st.sampled_from("abcxyz0-"), max_size=5).map("".join)
response_names = st.tuples(letters, response_names, letters).map("".join)
response_names |= st.sampled_from(["set-cookie", "vary", "x-a", "etag", "location"])
response_headers = st.lists(
    st.tuples(response_names.filter(lambda name: name not in DROPPED), values), max_size=8
)
statuses = st.integers(200, 599) | st.sampled_from([200, 204, 304, 404, 418, 599, 999])
chunk_lists = st.lists(st.binary(min_size=1, max_size=9) | st.just(b"x" * 70_000), max_size=5)
BODILESS = (204, 205, 304)


@many
@example(status=200, headers=[("set-cookie", b"a=1"), ("vary", b"x"), ("set-cookie", b"b=2")], chunks=[b"\0"])
@given(status=statuses, headers=response_headers, chunks=chunk_lists)
@rule("RT-05-06-R")
def test_responses_survive_both_gateways_above_an_asgi_application(
    r: Below, status: int, headers: list[tuple[str, bytes]], chunks: list[bytes], _rule: None
) -> None:
    """Status, headers in their order, chunks as they were sent."""
    pairs = [(name.encode(), value) for name, value in headers]
    if status not in BODILESS:
        pairs.append((b"content-type", b"a/b"))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start(status, pairs))
        for chunk in chunks:
            await send(body(chunk, more=True))
        await send(body())

    r.app = app
    answer = answer_of_r(r)
    assert answer.status == status
    assert [tuple(pair) for pair in answer.headers] == pairs
    assert answer.chunks == ([] if status in BODILESS else chunks)
    assert answer.complete


@many
@example(status=200, headers=[("set-cookie", b"a=1"), ("vary", b"x"), ("set-cookie", b"b=2")], chunks=[b"\0"])
@given(status=statuses, headers=response_headers, chunks=chunk_lists)
@rule("RT-05-06-08-S")
def test_responses_survive_both_gateways_above_a_wsgi_application(
    s: Below, status: int, headers: list[tuple[str, bytes]], chunks: list[bytes], _rule: None
) -> None:
    """Status, headers in their order, chunks as they were yielded; both validators are content."""
    pairs = [(name, value.decode("latin-1")) for name, value in headers if b"\t" not in value]
    if status not in BODILESS:
        pairs.append(("content-type", "a/b"))

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response(f"{status} Phrase", list(pairs))
        yield from chunks

    s.app = app
    answer = call(s.through)
    assert answer.status == status
    assert without_length(answer) == pairs
    assert [chunk for chunk in answer.chunks if chunk] == ([] if status in BODILESS else chunks)


def without_length(answer: Answer) -> list[tuple[str, str]]:
    """The headers but for the length, which a gateway may know and add."""
    return [pair for pair in answer.headers if pair[0] != "content-length"]


@many
@given(pieces=st.lists(st.binary(min_size=1, max_size=9) | st.just(b"x" * 70_000), max_size=4))
@rule("RT-05-request-body")
def test_request_bodies_survive_both_gateways(r: Below, s: Below, pieces: list[bytes], _rule: None) -> None:
    """Of known length and of unknown, however they are cut up."""
    content = b"".join(pieces)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        whole = b"".join(await read_body(receive))
        await send(start())
        await send(body(whole))

    r.app = app
    length = (b"content-length", str(len(content)).encode())
    assert answer_of_r(r, *pieces).body == content
    assert answer_of_r(r, *pieces, headers=[length], method="POST").body == content

    def echoes(environ: Any, start_response: Any) -> list[bytes]:
        whole = b""
        while piece := environ["wsgi.input"].read(1000):
            whole += piece
        start_response("200 OK", [("Content-Type", "a/b")])
        return [whole]

    s.app = echoes
    assert call(s.through, content).body == content
    chunked = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True, "REQUEST_METHOD": "POST"}
    assert call(s.through, Input(*pieces), **chunked).body == content


# Streams


@rule("RT-06-R-streamed")
async def test_chunks_of_an_asgi_application_are_not_gathered(r: Below, _rule: None) -> None:
    """Each is at the client before the next is made."""
    arrived = [Flag() for _ in range(5)]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        for index, flag in enumerate(arrived):
            await send(body(b"%d" % index, more=True))
            await flag
        await send(body())

    r.app = app
    async with fakes.connection(r.through) as opened:
        for count, flag in enumerate(arrived, start=1):
            chunks = await opened.chunks(count)
            assert chunks == [b"%d" % index for index in range(count)]
            flag.set()
        assert (await opened.result()).complete


@rule("RT-06-S-streamed")
def test_chunks_of_a_wsgi_application_are_not_gathered(s: Below, _rule: None) -> None:
    """Each is at the server before the next is made."""
    arrived = [threading.Event() for _ in range(5)]

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "a/b")])
        for index, event in enumerate(arrived):
            yield b"%d" % index
            assert event.wait(PATIENCE)

    s.app = app
    with Request(s.through, threaded=True) as request:
        request.begin()
        for index, event in enumerate(arrived):
            assert request.next() == b"%d" % index
            event.set()
        assert not any(request.read_to_end().chunks[len(arrived) :])


# Clients that go away


@rule("RT-07-R")
async def test_an_asgi_application_below_both_learns_that_the_client_has_gone(r: Below, _rule: None) -> None:
    """With the chunk that comes after: `send()` raises, and `receive()` says so."""
    seen: list[Any] = []
    is_gone, over = Flag(), Flag()

    @for_http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await read_body(receive)
            listener = asyncio.create_task(receive())
            await send(start())
            await send(body(b"x", more=True))
            await is_gone
            seen.append(listener.done())
            while not listener.done():
                await send(body(b"x", more=True))
                await asyncio.sleep(0)
            seen.append(await listener)
            await send(body(b"x", more=True))
        except OSError as error:
            seen.append(error)
            seen.append(await listener)
            raise
        finally:
            over.set()

    r.app = app
    async with fakes.connection(r.through) as opened:
        await opened.chunks(1)
        opened.disconnect()
        while opened.receives < 2:
            await asyncio.sleep(0)
        is_gone.set()
        await over
        await asyncio.wait([opened.task])
    assert seen[0] is False
    assert {"type": "http.disconnect"} in seen
    assert any(isinstance(error, ClientDisconnected) for error in seen)


@rule("RT-07-R-body")
async def test_an_asgi_application_below_both_sees_a_body_that_breaks_off(r: Below, _rule: None) -> None:
    """It gets what has come, and then the disconnect."""
    seen: list[Any] = []
    over = Flag()

    @for_http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            while not seen or seen[-1]["type"] != "http.disconnect":
                seen.append(await receive())
        finally:
            over.set()

    r.app = app
    headers = [(b"host", b"testserver"), (b"content-length", b"9")]
    async with fakes.connection(r.through, body=None, method="POST", headers=headers) as opened:
        opened.feed({"type": "http.request", "body": b"abc", "more_body": True})
        opened.disconnect()
        await over
        await asyncio.wait([opened.task])
    assert b"".join(event.get("body", b"") for event in seen) in (b"", b"abc")
    assert all(event["more_body"] for event in seen[:-1])
    assert seen[-1] == {"type": "http.disconnect"}


@rule("RT-07-S")
def test_a_wsgi_application_below_both_is_closed_when_the_client_has_gone(s: Below, _rule: None) -> None:
    """The server closes the iterable; that reaches the inner one, once."""
    closed = threading.Event()
    calls: list[int] = []

    def chunks() -> Iterator[bytes]:
        try:
            while True:
                yield b"x"
        finally:
            calls.append(threading.get_ident())
            closed.set()

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "a/b")])
        return chunks()

    s.app = app
    with Request(s.through, threaded=True) as request:
        request.begin()
        assert request.next() == b"x"
        request.close()
    assert closed.wait(PATIENCE)
    assert len(calls) == 1


@rule("RT-07-S-body")
def test_a_wsgi_application_below_both_sees_a_body_that_breaks_off(s: Below, _rule: None) -> None:
    """Reading raises; a part of the body does not look like the whole."""
    seen: list[Any] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        try:
            seen.append(environ["wsgi.input"].read(9))
        except OSError as error:
            seen.append(error)
            raise
        start_response("200 OK", [("Content-Type", "a/b")])
        return [b"x"]

    s.app = app
    request = Request(s.through, Input(b"abc"), threaded=True, CONTENT_LENGTH="9", REQUEST_METHOD="POST")
    with request:
        with pytest.raises((ClientDisconnected, RuntimeError)):
            request.begin()
            request.read_to_end()
        assert not request.answer.started
    assert len(seen) == 1
    assert isinstance(seen[0], ClientDisconnected)


# The validator


class Writes:
    """Calls ``write()`` and returns nothing more."""

    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        write(b"hel")
        write(b"lo")
        return []


def replaces(environ: Any, start_response: Any) -> list[bytes]:
    """Calls ``start_response`` again, with an error."""
    start_response("500 Oh", [("Content-Type", "text/plain")])
    try:
        raise ValueError("replaced")
    except ValueError as error:
        start_response("200 OK", [("Content-Type", "text/plain")], (ValueError, error, None))
    return [b"hello"]


def yields_empty(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b""
    yield b"hello"
    yield b""


def reads_lines(environ: Any, start_response: Any) -> list[bytes]:
    first = environ["wsgi.input"].readline()
    lines = [first, *environ["wsgi.input"].readlines()] if first else []
    environ["wsgi.errors"].write("")
    environ["wsgi.errors"].flush()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return lines or [b"hello"]


@pytest.mark.parametrize(
    "app",
    [
        pytest.param(apps.says_hello, id="RT-08"),
        pytest.param(Writes(), id="RT-08-write"),
        pytest.param(replaces, id="RT-08-exc_info"),
        pytest.param(yields_empty, id="RT-08-empty-chunks"),
        pytest.param(reads_lines, id="RT-08-lines"),
    ],
)
def test_the_validators_on_both_sides_have_nothing_to_say(
    s: Below, app: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither at the time nor when what they have wrapped is collected."""
    s.app = app
    with_root = {"SCRIPT_NAME": "/api", "PATH_INFO": "/x", "wsgi.url_scheme": "https"}
    for environ in ({}, with_root, {"CONTENT_TYPE": "a/b", "CONTENT_LENGTH": "0"}):
        answer = call(s.through, **environ)
        assert (answer.status, answer.body) == (200, b"hello")
    gc.collect()
    assert capfd.readouterr() == ("", "")


@rule("RT-08-body")
def test_the_validators_on_both_sides_let_a_body_through(s: Below, _rule: None) -> None:
    """Line by line, as the inner application reads it."""
    s.app = reads_lines
    assert call(s.through, b"a\nbc\nd").body == b"a\nbc\nd"
