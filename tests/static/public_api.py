"""Read by the type checkers, never run. A wrong call has an ignore that must be needed."""
# pyright: reportUnnecessaryTypeIgnoreComment=true
# Applications without annotations are what most people have:
# mypy: allow-untyped-defs, allow-incomplete-defs

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, assert_type
from wsgiref import types as stdlib
from wsgiref.types import StartResponse, WSGIEnvironment

import uvicorn
from django.core.handlers.wsgi import WSGIHandler
from django.core.wsgi import get_wsgi_application
from fastapi import FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Mount, Router
from starlette.types import ASGIApp

from asgiadapt import (
    ApplicationError,
    ApplicationOrderError,
    ClientDisconnected,
    ClientTimeout,
    PoolFull,
    PoolStats,
    RequestTooLarge,
    WorkerPool,
    WsgiToAsgi,
    __version__,
)
from asgiadapt import typing as ours
from asgiadapt.typing import (
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    Scope,
    WSGIApplication,
)

flask = Flask(__name__)
django = get_wsgi_application()


def annotated(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b""]


def annotated_loosely(
    environ: dict[str, Any], start_response: Callable[..., Callable[[bytes], object]]
) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])(b"")
    return []


def generator(environ: WSGIEnvironment, start_response: ours.StartResponse) -> Iterator[bytes]:
    start_response("200 OK", [])
    yield b""


def bare(environ, start_response):
    return [b""]


class Class:
    def __init__(self, environ: WSGIEnvironment, start_response: StartResponse) -> None: ...
    def __iter__(self) -> Iterator[bytes]:
        return iter([b""])


class Instance:
    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        return [b""]

    def method(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        return [b""]


def from_a_library(app: stdlib.WSGIApplication) -> WsgiToAsgi:
    return WsgiToAsgi(app)


# Applications of every kind are taken as they are.
of_flask = WsgiToAsgi(flask)
of_flask_wsgi = WsgiToAsgi(flask.wsgi_app)
of_django = WsgiToAsgi(django)
of_function = WsgiToAsgi(annotated)
of_loose_function = WsgiToAsgi(annotated_loosely)
of_generator = WsgiToAsgi(generator)
of_bare = WsgiToAsgi(bare)
of_lambda = WsgiToAsgi(lambda environ, start_response: [b""])
of_class = WsgiToAsgi(Class)
of_instance = WsgiToAsgi(Instance())
of_method = WsgiToAsgi(Instance().method)
assert_type(django, WSGIHandler)
assert_type(of_flask, WsgiToAsgi)
assert_type(of_bare, WsgiToAsgi)

# They also fit where our own name for them stands.
applications: list[WSGIApplication] = [
    flask,
    django,
    annotated,
    annotated_loosely,
    generator,
    bare,
    Instance(),
]

# And the adapter is taken by frameworks and servers.
starlette = Starlette(routes=[Mount("/legacy", of_flask), Mount("/app", app=of_django)])
starlette.mount("/other", of_django)
router = Router(default=of_flask)
fastapi = FastAPI()
fastapi.mount("/legacy", of_flask)
wrapped = CORSMiddleware(of_flask, allow_origins=["*"])
asgi: ASGIApp = of_flask
config = uvicorn.Config(of_flask)


async def called_by_hand(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    assert_type(await receive(), ASGIReceiveEvent)
    assert_type(await of_flask(scope, receive, send), None)


async def called_with_plain_dicts() -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(event: Any) -> None: ...

    scope: dict[str, Any] = {"type": "http"}
    await of_flask(scope, receive, send)


# Pools.
pool = WorkerPool(10, max_waiting=5)
assert_type(WsgiToAsgi(flask, pool=pool).pool, WorkerPool)
assert_type(pool.max_workers, int)
assert_type(pool.max_waiting, int)
assert_type(pool.stats(), PoolStats)
assert_type(pool.stats().threads, int)
assert_type(pool.stats().busy, int)
assert_type(pool.stats().waiting, int)
assert_type(pool.stats().longest_wait, float)
assert_type(pool.close(timeout=1.5), bool)
assert_type(pool.close(None), bool)
assert_type(pool.release_threads(), None)
with WorkerPool() as entered:
    assert_type(entered, WorkerPool)
version: str = __version__


def around(environ: dict[str, Any]) -> AbstractContextManager[None]:
    return nullcontext()


@contextmanager
def around_as_generator(environ: WSGIEnvironment) -> Iterator[int]:
    yield 1


async def on_startup() -> None: ...


hooked = WsgiToAsgi(flask, around=around, on_startup=on_startup, on_shutdown=lambda: None)
traced = WsgiToAsgi(flask, around=around_as_generator)
limited = WsgiToAsgi(
    flask,
    max_workers=1,
    max_waiting=0,
    queue_timeout=None,
    receive_timeout=1,
    send_timeout=0.5,
    max_body_size=None,
    allowed_headers={"X_User"},
    environ={"DEPLOYED": "yes"},
)


# Errors are what people catch already.
connection_errors: list[type[ConnectionError]] = [ClientDisconnected]
os_errors: list[type[OSError]] = [ClientDisconnected, ClientTimeout, RequestTooLarge]
runtime_errors: list[type[RuntimeError]] = [PoolFull, ApplicationOrderError]
application_errors: list[type[ApplicationError]] = [ApplicationOrderError]


def wrong_types(environ: int, start_response: StartResponse) -> list[bytes]:
    return []


def of_text(environ: WSGIEnvironment, start_response: StartResponse) -> list[str]:
    return []


async def asynchronous(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None: ...


# Wrong calls.
WsgiToAsgi()  # type: ignore[call-arg]
WsgiToAsgi(5)  # type: ignore[arg-type]
WsgiToAsgi("module:app")  # type: ignore[arg-type]
WsgiToAsgi(wrong_types)  # type: ignore[arg-type]
WsgiToAsgi(of_text)  # type: ignore[arg-type]
WsgiToAsgi(asynchronous)  # type: ignore[arg-type]
WsgiToAsgi(of_flask)  # type: ignore[arg-type]
WsgiToAsgi(flask, 10)  # type: ignore[call-arg]
WsgiToAsgi(flask, workers=10)  # type: ignore[call-arg]
WsgiToAsgi(flask, max_workers="10")  # type: ignore[arg-type]
WsgiToAsgi(flask, pool=10)  # type: ignore[arg-type]
WsgiToAsgi(flask, around=nullcontext())  # type: ignore[arg-type]
WsgiToAsgi(flask, on_startup=on_startup())  # type: ignore[arg-type]
of_flask.pool = pool  # type: ignore[misc]
pool.max_workers = 5  # type: ignore[misc]
pool.stats().busy = 5  # type: ignore[misc]
WorkerPool("10")  # type: ignore[arg-type]
WorkerPool(10, 5)  # type: ignore[call-arg]
pool.submit(print)  # type: ignore[arg-type]
