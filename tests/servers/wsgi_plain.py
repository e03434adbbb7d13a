"""The site in plain WSGI: what a server can do by itself is seen with it."""

import http
import json
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from werkzeug.wsgi import get_input_stream

from tests.servers import files, wsgi_common

Page = tuple[int, Iterable[tuple[str, str]], Iterable[bytes]]
Environ = dict[str, Any]


def gate(environ: Environ) -> str:
    return parse_qs(environ["QUERY_STRING"])["gate"][0]


def answer(body: str | bytes, status: int = 200, headers: Iterable[tuple[str, str]] = ()) -> Page:
    content = body.encode() if isinstance(body, str) else body
    length = {} if status == 304 else {"Content-Length": str(len(content))}
    return status, [*headers, *(length.items() - dict(headers).items())], [content]


def index(environ: Environ) -> Page:
    return answer("index", headers=[("Content-Type", "text/plain")])


def raw(environ: Environ) -> Page:
    return answer(json.dumps(wsgi_common.read_in_pieces(get_input_stream(environ))))


def cookies(environ: Environ) -> Page:
    given = dict(pair.split("=") for pair in environ["HTTP_COOKIE"].split("; "))
    visits = int(given["visits"]) + 1
    set_ = [("Set-Cookie", f"visits={visits}"), ("Set-Cookie", "other=1")]
    return answer(f"{visits} {given['other']}", headers=set_)


def stream(environ: Environ) -> Page:
    return 200, [("Content-Type", "text/plain")], iter(wsgi_common.LINES)


def events(environ: Environ) -> Page:
    return 200, [("Content-Type", "text/event-stream")], wsgi_common.events(gate(environ))


def endless(environ: Environ) -> Page:
    return 200, [("Content-Type", "text/plain")], wsgi_common.endless(gate(environ))


def wait(environ: Environ) -> Page:
    return answer(wsgi_common.wait(environ, gate(environ)))


def half(environ: Environ) -> Page:
    return answer(wsgi_common.half(get_input_stream(environ), gate(environ)))


def text(environ: Environ) -> Page:
    status, headers, content = files.text(environ.get("HTTP_ACCEPT_ENCODING"))
    return answer(content, status, headers.items())


def file(environ: Environ) -> Page:
    status, headers, content = files.file(environ.get("HTTP_RANGE"), environ.get("HTTP_IF_NONE_MATCH"))
    return answer(content, status, headers.items())


def redirect(environ: Environ) -> Page:
    return answer("", 303, [("Location", environ["SCRIPT_NAME"] + "/")])


def cafe(environ: Environ) -> Page:
    name = environ["PATH_INFO"].encode("latin-1").decode().rpartition("/")[2]
    return answer(f"{name} {parse_qs(environ['QUERY_STRING'])['q'][0]}")


def nowhere(environ: Environ) -> Page:
    return answer("not found", 404)


PAGES: dict[str, Callable[[Environ], Page]] = {
    "/": index,
    "/raw": raw,
    "/cookies": cookies,
    "/stream": stream,
    "/events": events,
    "/endless": endless,
    "/wait": wait,
    "/half": half,
    "/text": text,
    "/files/file.bin": file,
    "/redirect": redirect,
    "/caf\u00e9/\u00fc": cafe,
}


def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
    status, headers, body = PAGES.get(environ["PATH_INFO"].encode("latin-1").decode(), nowhere)(environ)
    start_response(f"{status} {http.HTTPStatus(status).phrase}", list(headers))
    return [] if environ["REQUEST_METHOD"] == "HEAD" else body
