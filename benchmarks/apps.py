"""The applications that are measured, and the adapters that are compared."""

import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from flask import Flask, Response

CHUNK = b"x" * 65536
BIG = 32 << 20  # bytes of a download and of an upload
PAGE = 4 << 20  # bytes of the page that is streamed behind real servers
NAP = 0.02


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"hello"]


def sleeps(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    time.sleep(NAP)
    return hello(environ, start_response)


def posted(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    size = len(environ["wsgi.input"].read())
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % size]


def download(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    for _ in range(BIG // len(CHUNK)):
        yield CHUNK


def upload(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    read, size = environ["wsgi.input"].read, 0
    while piece := read(len(CHUNK)):
        size += len(piece)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % size]


flask_app = Flask(__name__)


@flask_app.get("/")
def index() -> str:
    return "hello"


@flask_app.get("/sleep")
def sleep() -> str:
    time.sleep(NAP)
    return "hello"


@flask_app.get("/stream")
def stream() -> Response:
    return Response(CHUNK for _ in range(PAGE // len(CHUNK)))


def adapters() -> dict[str, Callable[[Any], Any]]:
    from a2wsgi import WSGIMiddleware
    from asgiref.wsgi import WsgiToAsgi as Asgiref

    from asgiadapt import WsgiToAsgi
    from benchmarks.limit import Limit

    found: dict[str, Callable[[Any], Any]] = {
        "asgiadapt": WsgiToAsgi,
        "a2wsgi": WSGIMiddleware,
        "asgiref": Asgiref,
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is deprecated
            from starlette.middleware.wsgi import WSGIMiddleware as Starlette
        found["starlette"] = Starlette
    except ImportError:
        pass  # it has been removed from this version
    found["limit"] = Limit
    return found


def __getattr__(name: str) -> Any:
    """``uvicorn benchmarks.apps:asgi_a2wsgi`` serves the Flask application through that adapter."""
    if name.startswith("asgi_"):
        return adapters()[name.removeprefix("asgi_")](flask_app)
    raise AttributeError(name)
