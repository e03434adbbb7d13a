"""Rows that a client can tell from outside: they run against the fake and against every real server.

`REQUESTS` says what the environ has for a request, `RESPONSES` what a client gets from an application.
"""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

ABSENT = None


@dataclass(frozen=True)
class Request:
    """A request, and the entries that the environ has for it."""

    rule: str
    expected: dict[str, str | None]
    method: str = "GET"
    target: bytes = b"/environ"
    headers: tuple[tuple[bytes, bytes], ...] = ()


REQUESTS = [
    Request("W2A-ENV-09", {"REQUEST_METHOD": "PROPFIND"}, method="PROPFIND"),
    Request("W2A-ENV-12", {"QUERY_STRING": "a=%20&b=c"}, target=b"/environ?a=%20&b=c"),
    Request("W2A-ENV-12-none", {"QUERY_STRING": ""}),
    Request("W2A-ENV-15", {"SCRIPT_NAME": "", "PATH_INFO": "/environ"}),
    Request("W2A-ENV-18", {"PATH_INFO": "/environ/caf\u00c3\u00a9"}, target=b"/environ/caf%C3%A9"),
    Request("W2A-ENV-23", {"PATH_INFO": "/environ/a%25"}, target=b"/environ/a%2525"),
    Request("W2A-ENV-23-slash", {"PATH_INFO": "/environ/a/b"}, target=b"/environ/a%2Fb"),
    Request("W2A-ENV-27", {"REQUEST_URI": "/environ/a%2Fb?c=d"}, target=b"/environ/a%2Fb?c=d"),
    Request("W2A-ENV-28", {"HTTP_X_A_B": "value"}, headers=((b"x-a-b", b"value"),)),
    Request("W2A-ENV-28-empty", {"HTTP_X_EMPTY": ""}, headers=((b"x-empty", b""),)),
    Request(
        "W2A-ENV-30",
        {"CONTENT_TYPE": "a/b", "HTTP_CONTENT_TYPE": ABSENT},
        headers=((b"content-type", b"a/b"),),
    ),
    Request("W2A-ENV-31", {"CONTENT_TYPE": ABSENT, "CONTENT_LENGTH": ABSENT}),
    Request("W2A-ENV-34", {"HTTP_COOKIE": "a=1; b=2"}, headers=((b"cookie", b"a=1"), (b"cookie", b"b=2"))),
    Request("W2A-ENV-36", {"HTTP_X_EVIL": ABSENT}, headers=((b"x_evil", b"1"),)),
    Request("W2A-ENV-43", {"HTTP_PROXY": ABSENT}, headers=((b"proxy", b"http://evil"),)),
    Request("W2A-ENV-44", {"HTTP_AUTHORIZATION": "Basic x"}, headers=((b"authorization", b"Basic x"),)),
    Request("W2A-ENV-51", {"REMOTE_ADDR": "127.0.0.1"}),
    Request("W2A-ENV-13", {"wsgi.url_scheme": "http", "HTTPS": ABSENT}),
]


def shows_environ(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    texts = {key: value for key, value in environ.items() if isinstance(value, str)}
    body = json.dumps(texts).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


@dataclass(frozen=True)
class Response:
    """An application, and what a client gets from it; *status* None where nothing whole may come."""

    rule: str
    app: Callable[[dict[str, Any], Any], Any]
    status: int | None = 200
    body: bytes = b""
    headers: dict[str, str | None] = field(default_factory=dict)
    method: str = "GET"


class Provoked(Exception):
    """Raised by applications below; servers log it."""


def gives(*chunks: bytes, status: str = "200 OK", headers: tuple[tuple[str, str], ...] = ()) -> Any:
    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response(status, list(headers))
        return iter(chunks)

    return app


def starts_late(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    yield b""
    start_response("202 Later", [])
    yield b"late"


def writes_and_returns(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    write = start_response("200 OK", [])
    write(b"a")
    write(b"b")
    return [b"c", b"d"]


def changes_its_mind(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("X-First", "1")])
    yield b""
    try:
        raise Provoked
    except Provoked:
        start_response("503 Sorry", [("X-Second", "2")], sys.exc_info())
    yield b"error page"


def fails_at_once(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    raise Provoked


def fails_before_a_chunk(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [])
    yield b""
    raise Provoked


def fails_after_a_chunk(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [])
    yield b"x" * 100
    raise Provoked


def never_starts(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    return [b"x"]


def gives_text(environ: dict[str, Any], start_response: Any) -> list[Any]:
    start_response("200 OK", [])
    return ["text"]


LENGTH_5 = (("Content-Length", "5"),)
RESPONSES = [
    Response("W2A-RESP-09", gives(b"x", status="404 Nobody Here"), status=404, body=b"x"),
    Response("W2A-RESP-11", gives(b"x", status="200"), body=b"x"),
    Response("W2A-RESP-13", gives(b"x", headers=(("X-N", "\u00e9"),)), body=b"x", headers={"x-n": "\u00e9"}),
    Response(
        "W2A-RESP-17",
        gives(b"x", headers=(("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"))),
        body=b"x",
        headers={"set-cookie": "a=1, b=2"},
    ),
    Response(
        "W2A-RESP-19",
        gives(b"x", headers=(("Keep-Alive", "timeout=5"), ("Upgrade", "h2c"))),
        body=b"x",
        headers={"keep-alive": ABSENT, "upgrade": ABSENT},
    ),
    Response("W2A-RESP-24", changes_its_mind, 503, b"error page", {"x-first": ABSENT, "x-second": "2"}),
    Response("W2A-RESP-32", writes_and_returns, body=b"abcd"),
    Response("W2A-RESP-35", starts_late, status=202, body=b"late"),
    Response("W2A-RESP-36", never_starts, status=500),
    Response(
        "W2A-RESP-40", gives(*[b"%d," % n for n in range(500)]), body=b"".join(b"%d," % n for n in range(500))
    ),
    Response(
        "W2A-RESP-42", gives(status="302 Found", headers=(("Location", "/x"),)), 302, b"", {"location": "/x"}
    ),
    Response("W2A-RESP-43", lambda e, s: (s("200 OK", []), [b"one"])[1], body=b"one"),
    Response("W2A-RESP-45", gives_text, status=500),
    Response("W2A-RESP-50", gives(b"abc", b"def", headers=LENGTH_5), 200, b"abcde", {"content-length": "5"}),
    Response("W2A-RESP-51", gives(b"abc", headers=LENGTH_5), status=None),
    Response(
        "W2A-RESP-52", gives(b"abcde", headers=LENGTH_5), 200, b"", {"content-length": "5"}, method="HEAD"
    ),
    Response("W2A-RESP-53", gives(b"abc", status="204 No Content"), 204, b"", {"content-length": ABSENT}),
    Response("W2A-RESP-53-304", gives(b"abc", status="304 Not Modified", headers=(("ETag", '"x"'),)), 304),
    Response("W2A-RESP-62", fails_at_once, status=500),
    Response("W2A-RESP-62-started", fails_before_a_chunk, status=500),
    Response("W2A-RESP-63", fails_after_a_chunk, status=None),
]

_APPS = {f"/{row.rule}": row.app for row in RESPONSES}


def site(environ: dict[str, Any], start_response: Any) -> Any:
    """The application of each row under its id, and the environ everywhere else."""
    return _APPS.get(environ["PATH_INFO"], shows_environ)(environ, start_response)
