"""Read by the type checkers, never run. A wrong call has an ignore that must be needed."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, assert_type
from wsgiref.types import StartResponse, WSGIEnvironment

from django.core.wsgi import get_wsgi_application
from fastapi import FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.routing import Mount

from asgiadapt import ClientDisconnected, PoolStats, WorkerPool, WsgiToAsgi

flask = Flask(__name__)


def annotated(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b""]


def bare(environ, start_response):  # type: ignore[no-untyped-def]
    return [b""]


# Applications of every kind are taken as they are.
of_flask = WsgiToAsgi(flask)
of_flask_wsgi = WsgiToAsgi(flask.wsgi_app)
of_django = WsgiToAsgi(get_wsgi_application())
of_function = WsgiToAsgi(annotated)
of_bare = WsgiToAsgi(bare)
assert_type(of_flask, WsgiToAsgi)

# And the adapter is taken by the frameworks.
starlette = Starlette(routes=[Mount("/legacy", of_flask)])
starlette.mount("/other", of_django)
fastapi = FastAPI()
fastapi.mount("/legacy", of_flask)

# Pools.
pool = WorkerPool(10, max_waiting=5)
assert_type(WsgiToAsgi(flask, pool=pool).pool, WorkerPool)
assert_type(pool.stats(), PoolStats)
assert_type(pool.stats().longest_wait, float)
assert_type(pool.close(timeout=1.5), bool)
with WorkerPool() as entered:
    assert_type(entered, WorkerPool)


def around(environ: dict[str, Any]) -> AbstractContextManager[None]:
    return nullcontext()


async def on_startup() -> None: ...


hooked = WsgiToAsgi(flask, around=around, on_startup=on_startup, on_shutdown=lambda: None)


def catches() -> None:
    try:
        raise ClientDisconnected
    except ConnectionError:
        pass


# Wrong calls.
WsgiToAsgi(5)  # type: ignore[arg-type]
WsgiToAsgi(flask, 10)  # type: ignore[call-arg]
WsgiToAsgi(flask, max_workers="10")  # type: ignore[arg-type]
WorkerPool("10")  # type: ignore[arg-type]
