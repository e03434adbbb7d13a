"""`WsgiClient`: what the application gets, what the test gets, and when the iterable is closed."""

import io
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from asgiadapt import ApplicationOrderError
from asgiadapt.testing import Response, WsgiClient
from tests.apps import Closing, Keeps, echoes, returns, says_hello


class Broken(Exception):
    """Of the application."""


def test_a_request_gives_a_response() -> None:
    """Status, headers and the whole body."""
    headers = [("X-A", "1"), ("X-A", "\u00e9")]
    answer = WsgiClient(returns([b"caf", b"", b"\xc3\xa9"], status="201 Made", headers=headers)).request(
        "GET", "/"
    )
    assert answer == Response(201, headers, b"caf\xc3\xa9")
    assert (answer.text, answer.header("x-a"), answer.header("x-b")) == ("caf\u00e9", "1, \u00e9", None)


def test_the_environ_is_that_of_a_server() -> None:
    """Made of the request, and of what is given beside it."""
    app = Keeps()
    headers = {"Content-Type": "text/plain", "X-A": "b"}
    WsgiClient(app, validate=True).request(
        "PUT", "/a%20b/caf\u00e9?q=\u00e9", headers=headers, body=b"abc", REMOTE_USER="me"
    )
    expected = {
        "REQUEST_METHOD": "PUT",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a b/caf\u00c3\u00a9",
        "QUERY_STRING": "q=%C3%A9",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "3",
        "HTTP_X_A": "b",
        "HTTP_HOST": "testserver",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.version": (1, 0),
        "wsgi.multithread": False,
        "REMOTE_USER": "me",
        "wsgi.errors": sys.stderr,
    }
    assert {key: app.environ[key] for key in expected if key != "wsgi.errors"} == {
        key: value for key, value in expected.items() if key != "wsgi.errors"
    }
    assert not any(key.startswith("asgiadapt.") for key in app.environ)


@pytest.mark.parametrize("body", [b"", b"abcdef", [b"ab", b"", b"cdef"], iter([b"abcdef"])])
def test_a_body_can_be_read(body: Any) -> None:
    """In bytes, or in pieces."""
    expected = b"".join(body) if isinstance(body, list) else b"abcdef" if body != b"" else b""
    assert WsgiClient(echoes).request("POST", "/", body=body).body == expected


def test_a_streamed_body_is_taken_when_it_is_read() -> None:
    """And what it raises comes out of the read."""
    taken = []

    def body() -> Iterator[bytes]:
        for number in range(2):
            taken.append(number)
            yield b"%d\n" % number
        raise ConnectionResetError("the client has left")

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        stream = environ["wsgi.input"]
        assert taken == []
        first = stream.readline()
        assert taken == [0]
        with pytest.raises(ConnectionResetError, match="has left"):
            stream.read(10)
        start_response("200 OK", [])
        return [first]

    assert WsgiClient(app).request("POST", "/", body=body()).body == b"0\n"
    assert taken == [0, 1]


def test_errors_can_be_collected() -> None:
    """By giving a stream for them."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["wsgi.errors"].write("noted")
        return says_hello(environ, start_response)

    errors = io.StringIO()
    WsgiClient(app, validate=True).request("GET", "/", **{"wsgi.errors": errors})
    assert errors.getvalue() == "noted"


def test_the_application_goes_on_when_a_chunk_is_asked_for() -> None:
    """It is no further than the client, and is closed at the end."""
    chunks = Closing(b"a", b"", b"b", b"c")
    with WsgiClient(returns(chunks, status="202 Accepted")).stream("GET", "/") as exchange:
        assert (exchange.status, chunks.given) == (202, 0)
        assert (exchange.chunk(), chunks.given) == (b"a", 1)
        assert (exchange.chunk(), chunks.given) == (b"b", 3)
        assert list(exchange) == [b"c"]
        assert exchange.chunk() == b""
        assert chunks.closed == 0
    assert chunks.closed == 1


def test_the_client_goes_where_the_block_ends() -> None:
    """The iterable is closed, once, and nothing more comes of it."""
    chunks = Closing(b"a", b"b")
    with WsgiClient(returns(chunks)).stream("GET", "/") as exchange:
        assert exchange.chunk() == b"a"
        exchange.close()
        assert exchange.chunk() == b""
    assert (chunks.given, chunks.closed) == (1, 1)


def test_a_generator_starts_its_response_at_the_first_chunk() -> None:
    """Which is asked for, and kept."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"a"
        yield b"b"

    with WsgiClient(app, validate=True).stream("GET", "/") as exchange:
        assert (exchange.status, exchange.headers) == (200, [("Content-Type", "text/plain")])
        assert exchange.read() == b"ab"


def test_what_is_written_comes_first() -> None:
    """``write`` gives chunks too."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [])
        write(b"a")
        write(b"b")
        return [b"c"]

    with WsgiClient(app).stream("GET", "/") as exchange:
        assert list(exchange) == [b"a", b"b", b"c"]


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", "200 OK"), ("GET", "204 No Content"), ("GET", "304 Not")]
)
def test_where_there_is_no_body_it_is_dropped(method: str, status: str) -> None:
    """As a server does it."""
    chunks = Closing(b"abc")
    assert WsgiClient(returns(chunks, status=status)).request(method, "/").body == b""
    assert (chunks.given, chunks.closed) == (1, 1)


@pytest.mark.parametrize("where", ["call", "first", "second", "close"])
def test_an_error_reaches_the_test_unchanged(where: str) -> None:
    """Wherever the application raises it; what there is to close is closed."""
    error = Broken(where)
    chunks = Closing(
        *([error] if where == "first" else [b"a", error] if where == "second" else [b"a"]),
        close_error=error if where == "close" else None,
    )

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        if where == "call":
            raise error
        start_response("200 OK", [])
        return chunks

    with pytest.raises(Broken) as caught:
        WsgiClient(app).request("GET", "/")
    assert caught.value is error
    assert chunks.closed == (where != "call")


def test_an_error_before_the_response_is_raised_at_once() -> None:
    """By a generator that has not called start_response yet; it is closed."""
    chunks = Closing(Broken("early"))
    with pytest.raises(Broken, match="early"):
        WsgiClient(lambda environ, start_response: chunks).stream("GET", "/").__enter__()
    assert chunks.closed == 1


@pytest.mark.parametrize("given", [[], [b"a"]])
def test_a_response_that_was_not_started_is_reported(given: list[bytes]) -> None:
    """Where the iterable has ended, or begun."""
    chunks = Closing(*given)
    with pytest.raises(ApplicationOrderError, match="without a call of start_response"):
        WsgiClient(lambda environ, start_response: chunks).request("GET", "/")
    assert chunks.closed == 1


def test_a_response_is_started_once() -> None:
    """A second time only with exc_info."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        start_response("200 OK", [])
        return []

    with pytest.raises(ApplicationOrderError, match="a second time, without exc_info"):
        WsgiClient(app).request("GET", "/")


@pytest.mark.parametrize("chunks", [[], [b"sent"]])
def test_exc_info_replaces_a_head_that_has_not_left(chunks: list[bytes]) -> None:
    """And raises the error where it has."""
    error = Broken("in the middle")

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield from [b"", *chunks]
        try:
            raise error
        except Broken:
            start_response("500 Broken", [("X", "y")], sys.exc_info())
        yield b"sorry"

    client = WsgiClient(app)
    if chunks:
        with pytest.raises(Broken, match="in the middle"):
            client.request("GET", "/")
    else:
        assert client.request("GET", "/") == Response(500, [("X", "y")], b"sorry")


def test_the_validator_stands_between_where_it_is_asked_for() -> None:
    """That of the standard library."""
    app = returns([b"a"], headers=[("X-A", "b\r\nc")])
    with pytest.raises(AssertionError, match="Bad header value"):
        WsgiClient(app, validate=True).request("GET", "/")
    assert WsgiClient(app).request("GET", "/").body == b"a"


def test_a_response_that_was_not_asked_for_has_no_head() -> None:
    """The application is called where the block begins."""
    exchange = WsgiClient(says_hello).stream("GET", "/")
    with pytest.raises(RuntimeError, match="enter the block of 'with' first"):
        _ = exchange.headers
    assert exchange.environ["PATH_INFO"] == "/"
