"""What the type checkers make of `AsgiToWsgi`. Never run. A wrong call has an ignore that must be needed."""
# pyright: reportUnnecessaryTypeIgnoreComment=true
# Applications without annotations are what most people have:
# mypy: allow-untyped-defs, allow-incomplete-defs

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, assert_type
from wsgiref.handlers import CGIHandler
from wsgiref.simple_server import make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment
from wsgiref.validate import validator

import uvloop
import waitress
from django.core.asgi import get_asgi_application
from django.core.handlers.asgi import ASGIHandler
from fastapi import FastAPI
from flask import Flask
from litestar import Litestar
from quart import Quart
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount, Route
from starlette.types import ASGIApp
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

import asgiadapt.typing
from asgiadapt import (
    ApplicationError,
    ApplicationOrderError,
    AsgiToWsgi,
    ClientDisconnected,
    LoopStopped,
    LoopThread,
    ServerError,
    StartupFailed,
    WsgiToAsgi,
)
from asgiadapt.typing import ASGIReceiveCallable, ASGISendCallable, Scope

starlette = Starlette(routes=[Route("/", lambda request: None)])
fastapi = FastAPI()
quart = Quart(__name__)
django = get_asgi_application()
litestar = Litestar()


async def annotated(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    event = await receive()
    assert event["type"] == "http.request"
    data = event.get("body", b"")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": data})


async def annotated_loosely(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    await send({"type": "http.response.start", "status": 200})


async def annotated_widely(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None: ...


async def bare(scope, receive, send):
    await send({"type": "http.response.start", "status": 200})


def plain(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> Awaitable[None]:
    return annotated(scope, receive, send)


def old(scope: Scope) -> Callable[[ASGIReceiveCallable, ASGISendCallable], Awaitable[None]]:
    async def instance(receive: ASGIReceiveCallable, send: ASGISendCallable) -> None: ...

    return instance


class Old:
    def __init__(self, scope: Scope) -> None: ...
    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None: ...


class Instance:
    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None: ...
    async def method(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None: ...


def from_a_library(app: ASGIApp) -> AsgiToWsgi:
    return AsgiToWsgi(app)


# Applications of every kind are taken as they are.
of_starlette = AsgiToWsgi(starlette)
of_fastapi = AsgiToWsgi(fastapi)
of_quart = AsgiToWsgi(quart)
of_quart_asgi = AsgiToWsgi(quart.asgi_app)
of_django = AsgiToWsgi(django)
of_litestar = AsgiToWsgi(litestar)
of_middleware = AsgiToWsgi(GZipMiddleware(fastapi))
of_route = AsgiToWsgi(Mount("/", app=starlette))
of_function = AsgiToWsgi(annotated)
of_loose_function = AsgiToWsgi(annotated_loosely)
of_wide_function = AsgiToWsgi(annotated_widely)
of_bare = AsgiToWsgi(bare)
of_plain = AsgiToWsgi(plain)
of_lambda = AsgiToWsgi(lambda scope, receive, send: annotated(scope, receive, send))
of_old_function = AsgiToWsgi(old)
of_old_class = AsgiToWsgi(Old)
of_instance = AsgiToWsgi(Instance())
of_method = AsgiToWsgi(Instance().method)
of_its_reverse = AsgiToWsgi(WsgiToAsgi(Flask(__name__)))
assert_type(django, ASGIHandler)
assert_type(of_starlette, AsgiToWsgi)
assert_type(of_bare, AsgiToWsgi)

# And the adapter is taken by frameworks and servers.
flask = Flask(__name__)
setattr(flask, "wsgi_app", DispatcherMiddleware(flask.wsgi_app, {"/api": of_fastapi}))  # noqa: B010 - checkers refuse to assign to a method
dispatched = DispatcherMiddleware(of_starlette, {"/django": of_django, "/quart": of_quart})
fixed = ProxyFix(of_litestar, x_for=1)
wsgi: WSGIApplication = of_fastapi
ours: asgiadapt.typing.WSGIApplication = of_fastapi
applications: list[WSGIApplication] = [of_fastapi, of_django, flask.wsgi_app]
validated = validator(of_function)
WSGI_APPLICATION: Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]] = of_django
there_and_back = WsgiToAsgi(of_fastapi)
CGIHandler().run(of_function)
waitress.serve(of_fastapi, listen="127.0.0.1:8080", threads=8)
with make_server("127.0.0.1", 8000, of_starlette) as server:
    server.serve_forever()


def middleware(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    environ["wsgi.url_scheme"] = "https"
    return of_fastapi(environ, start_response)


def called_by_hand(
    environ: asgiadapt.typing.WSGIEnvironment, start_response: asgiadapt.typing.StartResponse
) -> Iterable[bytes]:
    response: Iterable[bytes] = of_fastapi(environ, start_response)
    return response


# Options.
loop_thread = LoopThread()
on_thread = AsgiToWsgi(fastapi, loop=loop_thread)
on_loop = AsgiToWsgi(fastapi, loop=asyncio.new_event_loop())
on_uvloop = AsgiToWsgi(fastapi, loop=uvloop.new_event_loop())
on_its_own = AsgiToWsgi(fastapi, loop_factory=uvloop.new_event_loop)
on_a_class = AsgiToWsgi(fastapi, loop_factory=asyncio.SelectorEventLoop)
all_options = AsgiToWsgi(
    fastapi,
    loop=None,
    loop_factory=None,
    lifespan="off",
    startup_timeout=None,
    shutdown_timeout=5,
    window=64 * 1024,
    disconnect_grace=0,
    background_wait=None,
    add_content_length=True,
)
for_lifespan = [AsgiToWsgi(fastapi, lifespan="auto"), AsgiToWsgi(fastapi, lifespan="on")]

# Its life.
assert_type(of_fastapi.start(), None)
assert_type(of_fastapi.close(), bool)
assert_type(of_fastapi.close(timeout=1.5), bool)
assert_type(of_fastapi.close(None), bool)
with AsgiToWsgi(fastapi) as entered:
    assert_type(entered, AsgiToWsgi)


def post_fork(server: object, worker: object) -> None:
    """A server's hook."""
    of_fastapi.start()


# Errors are what people catch already.
runtime_errors: list[type[RuntimeError]] = [StartupFailed, LoopStopped, ServerError, ApplicationOrderError]
os_errors: list[type[OSError]] = [ClientDisconnected]
application_errors: list[type[ApplicationError]] = [ApplicationOrderError]

# Wrong calls.
AsgiToWsgi()  # type: ignore[call-arg]
AsgiToWsgi(5)  # type: ignore[arg-type]
AsgiToWsgi(None)  # type: ignore[arg-type]
AsgiToWsgi("module:app")  # type: ignore[arg-type]
AsgiToWsgi(fastapi, loop_thread)  # type: ignore[call-arg]
AsgiToWsgi(fastapi, workers=10)  # type: ignore[call-arg]
AsgiToWsgi(fastapi, loop="auto")  # type: ignore[arg-type]
AsgiToWsgi(fastapi, loop=ThreadPoolExecutor())  # type: ignore[arg-type]
AsgiToWsgi(fastapi, loop=uvloop.new_event_loop)  # type: ignore[arg-type]
AsgiToWsgi(fastapi, loop_factory=uvloop.new_event_loop())  # type: ignore[arg-type]
AsgiToWsgi(fastapi, loop_factory=LoopThread)  # type: ignore[arg-type]
AsgiToWsgi(fastapi, lifespan="maybe")  # type: ignore[arg-type]
AsgiToWsgi(fastapi, lifespan=True)  # type: ignore[arg-type]
AsgiToWsgi(fastapi, startup_timeout="60")  # type: ignore[arg-type]
AsgiToWsgi(fastapi, window=None)  # type: ignore[arg-type]
AsgiToWsgi(fastapi, window=0.5)  # type: ignore[arg-type]
AsgiToWsgi(fastapi, disconnect_grace=None)  # type: ignore[arg-type]
AsgiToWsgi(fastapi, add_content_length="yes")  # type: ignore[arg-type]
of_fastapi.close("soon")  # type: ignore[arg-type]
of_fastapi.start(5)  # type: ignore[call-arg]
of_fastapi()  # type: ignore[call-arg]
of_fastapi({})  # type: ignore[call-arg]
of_fastapi([], print)  # type: ignore[arg-type]
of_fastapi({}, 5)  # type: ignore[arg-type]
