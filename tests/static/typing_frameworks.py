"""What the type checkers make of the adapters together with real frameworks and servers. Never run.

Nothing here needs an ignore, but for what is wrong; such an ignore must be needed, by both of them.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true
# Applications without annotations are what most people have:
# mypy: allow-untyped-defs, allow-incomplete-defs

import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, assert_type
from wsgiref import simple_server
from wsgiref import types as stdlib
from wsgiref.validate import validator

import asgiref.typing as asgiref
import bottle
import httpx
import hypercorn.asyncio
import hypercorn.middleware
import hypercorn.trio
import hypercorn.typing
import litestar.types
import starlette.types
import uvicorn
import waitress
from django.core.asgi import get_asgi_application
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.wsgi import get_wsgi_application
from fastapi import FastAPI
from flask import Flask
from litestar import Litestar, asgi
from quart import Quart
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Host, Mount, Router
from starlette.testclient import TestClient
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.serving import run_simple
from werkzeug.test import Client

from asgiadapt import AsgiToWsgi, WsgiToAsgi
from asgiadapt import typing as ours

flask_app = Flask(__name__)
bottle_app = bottle.Bottle()
django_wsgi: WSGIHandler = get_wsgi_application()
django_asgi: ASGIHandler = get_asgi_application()
starlette_app = Starlette()
fastapi_app = FastAPI()
quart_app = Quart(__name__)
litestar_app = Litestar([])

# WSGI applications, adapted.

of_flask = WsgiToAsgi(flask_app)
of_flask_wsgi = WsgiToAsgi(flask_app.wsgi_app)
of_django = WsgiToAsgi(django_wsgi)
of_bottle = WsgiToAsgi(bottle_app)
of_bottle_wsgi = WsgiToAsgi(bottle_app.wsgi)
of_proxy_fix = WsgiToAsgi(ProxyFix(flask_app))
of_dispatcher = WsgiToAsgi(DispatcherMiddleware(flask_app, {"/admin": django_wsgi}))
of_validator = WsgiToAsgi(validator(flask_app))


def wsgi_of_the_standard_library(
    environ: stdlib.WSGIEnvironment, start_response: stdlib.StartResponse
) -> Iterable[bytes]:
    return [b""]


def wsgi_of_ours(environ: ours.WSGIEnvironment, start_response: ours.StartResponse) -> Iterator[bytes]:
    yield b""


def wsgi_of_a_mutable_mapping(environ: MutableMapping[str, Any], start_response: Any) -> list[bytes]:
    return []


def wsgi_of_a_mapping(
    environ: Mapping[str, object], start_response: Callable[..., Callable[[bytes], object]]
) -> tuple[bytes, ...]:
    return ()


def wsgi_of_two(
    environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], Any]
) -> Iterable[bytes]:
    return [b""]


def wsgi_of_nothing(environ, start_response):
    return [b""]


WsgiToAsgi(wsgi_of_the_standard_library)
WsgiToAsgi(wsgi_of_ours)
WsgiToAsgi(wsgi_of_a_mutable_mapping)
WsgiToAsgi(wsgi_of_a_mapping)
WsgiToAsgi(wsgi_of_two)
WsgiToAsgi(wsgi_of_nothing)
WsgiToAsgi(functools.partial(wsgi_of_ours))


def any_wsgi(app: stdlib.WSGIApplication, our: ours.WSGIApplication, plain: Callable[..., Any]) -> None:
    WsgiToAsgi(app)
    WsgiToAsgi(our)
    WsgiToAsgi(plain)


# ASGI applications, adapted.

of_starlette = AsgiToWsgi(starlette_app)
of_fastapi = AsgiToWsgi(fastapi_app)
of_quart = AsgiToWsgi(quart_app)
of_litestar = AsgiToWsgi(litestar_app)
of_django_asgi = AsgiToWsgi(django_asgi)
of_middleware = AsgiToWsgi(CORSMiddleware(starlette_app, allow_origins=["*"]))
of_mounts = AsgiToWsgi(Router([Mount("/", fastapi_app)]))


async def asgi_of_asgiref(
    scope: asgiref.Scope, receive: asgiref.ASGIReceiveCallable, send: asgiref.ASGISendCallable
) -> None: ...


async def asgi_of_ours(
    scope: ours.Scope, receive: ours.ASGIReceiveCallable, send: ours.ASGISendCallable
) -> None: ...


async def asgi_of_http_only(
    scope: ours.HTTPScope, receive: ours.ASGIReceiveCallable, send: ours.ASGISendCallable
) -> None: ...


async def asgi_of_starlette(
    scope: starlette.types.Scope, receive: starlette.types.Receive, send: starlette.types.Send
) -> None: ...


async def asgi_of_litestar(
    scope: litestar.types.Scope, receive: litestar.types.Receive, send: litestar.types.Send
) -> None: ...


async def asgi_of_hypercorn(
    scope: hypercorn.typing.Scope,
    receive: hypercorn.typing.ASGIReceiveCallable,
    send: hypercorn.typing.ASGISendCallable,
) -> None: ...


async def asgi_of_dicts(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None: ...


async def asgi_of_mappings(
    scope: Mapping[str, Any],
    receive: Callable[[], Coroutine[Any, Any, Mapping[str, Any]]],
    send: Callable[[Mapping[str, Any]], Coroutine[Any, Any, None]],
) -> None: ...


async def asgi_of_nothing(scope, receive, send): ...


class Double:
    def __init__(self, scope: asgiref.Scope) -> None: ...

    async def __call__(
        self, receive: asgiref.ASGIReceiveCallable, send: asgiref.ASGISendCallable
    ) -> None: ...


def double(scope: dict[str, Any]) -> Callable[[Any, Any], Coroutine[Any, Any, None]]:
    async def inner(receive: Any, send: Any) -> None: ...

    return inner


def double_of_nothing(scope):
    async def inner(receive, send): ...

    return inner


AsgiToWsgi(asgi_of_asgiref)
AsgiToWsgi(asgi_of_ours)
AsgiToWsgi(asgi_of_http_only)
AsgiToWsgi(asgi_of_starlette)
AsgiToWsgi(asgi_of_litestar)
AsgiToWsgi(asgi_of_hypercorn)
AsgiToWsgi(asgi_of_dicts)
AsgiToWsgi(asgi_of_mappings)
AsgiToWsgi(asgi_of_nothing)
AsgiToWsgi(lambda scope, receive, send: asgi_of_ours(scope, receive, send))
AsgiToWsgi(functools.partial(asgi_of_ours))
AsgiToWsgi(Double)
AsgiToWsgi(double)
AsgiToWsgi(double_of_nothing)


def any_asgi(
    asgiref3: asgiref.ASGI3Application,
    asgiref2: asgiref.ASGI2Application,
    asgiref_either: asgiref.ASGIApplication,
    ours3: ours.ASGI3Application,
    ours2: ours.ASGI2Application,
    ours_either: ours.ASGIApplication,
    of_a_framework: starlette.types.ASGIApp | litestar.types.ASGIApp,
    plain: Callable[..., Any],
) -> None:
    AsgiToWsgi(asgiref3)
    AsgiToWsgi(asgiref2)
    AsgiToWsgi(asgiref_either)
    AsgiToWsgi(ours3)
    AsgiToWsgi(ours2)
    AsgiToWsgi(ours_either)
    AsgiToWsgi(of_a_framework)
    AsgiToWsgi(plain)


# One within the other.

there_and_back = AsgiToWsgi(of_flask)
back_and_there = WsgiToAsgi(of_fastapi)

# `WsgiToAsgi` is an ASGI application to everybody.

its_asgiref3: asgiref.ASGI3Application = of_flask
its_asgiref: asgiref.ASGIApplication = of_flask
its_asgi3: ours.ASGI3Application = of_flask
its_asgi: ours.ASGIApplication = of_flask
its_starlette: starlette.types.ASGIApp = of_flask
its_litestar: litestar.types.ASGIApp = of_flask
its_hypercorn: hypercorn.typing.ASGIFramework = of_flask

starlette_with_mounts = Starlette(routes=[Mount("/flask", of_flask), Mount("/django", app=of_django)])
starlette_app.mount("/flask", of_flask)
starlette_app.host("old.example.org", of_flask)
host = Host("old.example.org", of_flask)
router = Router(default=of_flask)
fastapi_app.mount("/flask", of_flask)
cors = CORSMiddleware(of_flask, allow_origins=["*"])
litestar_with_mount = Litestar([asgi("/flask", is_mount=True, copy_scope=True)(of_flask)])
beside_quart = hypercorn.middleware.DispatcherMiddleware({"/flask": of_flask, "/": quart_app})
beside_django = Router([Mount("/api", fastapi_app), Mount("/", of_django)])
test_client = TestClient(of_flask)
transport = httpx.ASGITransport(of_flask)
config = uvicorn.Config(of_flask)


async def serve_asgi() -> None:
    await hypercorn.asyncio.serve(of_flask, hypercorn.Config())
    await hypercorn.trio.serve(of_flask, hypercorn.Config())


uvicorn.run(of_flask)

# `AsgiToWsgi` is a WSGI application to everybody.

its_wsgi: ours.WSGIApplication = of_fastapi
its_stdlib: stdlib.WSGIApplication = of_fastapi
its_hypercorn_wsgi: hypercorn.typing.WSGIFramework = of_fastapi

in_flask = DispatcherMiddleware(flask_app, {"/api": of_fastapi, "/other": of_litestar})
in_django = DispatcherMiddleware(get_wsgi_application(), {"/api": of_starlette})
bottle_app.mount("/api", of_fastapi)
proxy_fix = ProxyFix(of_fastapi)
validated = validator(of_fastapi)
client = Client(of_fastapi)
wsgi_transport = httpx.WSGITransport(of_fastapi)
server = simple_server.make_server("127.0.0.1", 8000, of_fastapi)
waitress.serve(of_fastapi)
run_simple("127.0.0.1", 8000, of_fastapi)


async def serve_wsgi() -> None:
    await hypercorn.asyncio.serve(of_fastapi, hypercorn.Config(), mode="wsgi")


# Called by hand.


async def call(
    scope: ours.Scope,
    receive: ours.ASGIReceiveCallable,
    send: ours.ASGISendCallable,
    their_scope: asgiref.Scope,
    their_receive: asgiref.ASGIReceiveCallable,
    their_send: asgiref.ASGISendCallable,
) -> None:
    assert_type(await of_flask(scope, receive, send), None)
    await of_flask(their_scope, their_receive, their_send)


def call_back(environ: ours.WSGIEnvironment, start_response: ours.StartResponse) -> None:
    assert_type(of_fastapi(environ, start_response), Iterable[bytes])


# What is confused.


async def wrong_way_round(receive: ours.ASGIReceiveCallable, send: ours.ASGISendCallable) -> None: ...


def without_await(scope: Any, receive: Any, send: Any) -> None: ...


def wsgi_of_one(environ: ours.WSGIEnvironment) -> list[bytes]:
    return []


AsgiToWsgi(flask_app)  # type: ignore[arg-type]
AsgiToWsgi(django_wsgi)  # type: ignore[arg-type]
AsgiToWsgi(of_fastapi)  # type: ignore[arg-type]
AsgiToWsgi(wsgi_of_ours)  # type: ignore[arg-type]
AsgiToWsgi(wrong_way_round)  # type: ignore[arg-type]
AsgiToWsgi(without_await)  # type: ignore[arg-type]
AsgiToWsgi("module:app")  # type: ignore[arg-type]
WsgiToAsgi(fastapi_app)  # type: ignore[arg-type]
WsgiToAsgi(django_asgi)  # type: ignore[arg-type]
WsgiToAsgi(of_flask)  # type: ignore[arg-type]
WsgiToAsgi(asgi_of_ours)  # type: ignore[arg-type]
WsgiToAsgi(wsgi_of_one)  # type: ignore[arg-type]
its_wrong_way: ours.WSGIApplication = of_flask  # type: ignore[assignment]
its_wrong_way_back: ours.ASGI3Application = of_fastapi  # type: ignore[assignment]
