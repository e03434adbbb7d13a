"""The applications that are measured, and the adapters that are compared."""

import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from flask import Flask, Response, request

CHUNK = b"x" * 65536


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"hello"]


def posted(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    size = len(environ["wsgi.input"].read())
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % size]


def download(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    for _ in range(512):
        yield CHUNK


def upload(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    read, size = environ["wsgi.input"].read, 0
    while piece := read(65536):
        size += len(piece)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % size]


def sleeps(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    time.sleep(0.02)
    return hello(environ, start_response)


flask_app = Flask(__name__)


@flask_app.get("/")
def index() -> str:
    return "hello"


@flask_app.get("/sleep")
def sleep() -> str:
    time.sleep(0.02)
    return "hello"


@flask_app.get("/stream")
def stream() -> Response:
    return Response(CHUNK for _ in range(64))


@flask_app.post("/post")
def post() -> str:
    return str(len(request.get_data()))


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
        pass
    found["limit"] = Limit
    return found


def __getattr__(name: str) -> Any:
    """``uvicorn benchmarks.apps:asgi_a2wsgi`` serves the Flask application through that adapter."""
    if name.startswith("asgi_"):
        return adapters()[name.removeprefix("asgi_")](flask_app)
    raise AttributeError(name)
