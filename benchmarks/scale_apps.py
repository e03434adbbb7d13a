"""What the servers of `benchmarks.scale` serve: pages that cost nothing, that compute, and that wait."""

import asyncio
import contextlib
import multiprocessing
import os
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from typing import Any

from flask import Flask, request
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from asgiadapt import AsgiToWsgi, WsgiToAsgi, sync_to_async

ROUNDS = 200_000  # some 6 ms of one core
NAP = 0.05
HEAVY_CALLS = 4  # at a time


def compute(rounds: int = ROUNDS) -> int:
    total = 0
    for number in range(rounds):
        total += number & 3
    return total


flask_app = Flask(__name__)


@flask_app.route("/", methods=["GET", "POST"])
def index() -> str:
    return "hello"


@flask_app.get("/compute")
def computed() -> str:
    compute()
    return "hello"


@flask_app.route("/wait", methods=["GET", "POST"])
def waited() -> str:
    request.get_data()
    time.sleep(NAP)
    return "hello"


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


async def computed_on_loop(request: Request) -> PlainTextResponse:
    compute()
    return PlainTextResponse("hello")


async def waited_on_loop(request: Request) -> PlainTextResponse:
    await asyncio.sleep(NAP)
    return PlainTextResponse("hello")


starlette_app = Starlette(
    routes=[Route("/", hello), Route("/compute", computed_on_loop), Route("/wait", waited_on_loop)]
)


async def keep_busy(executor: Executor | None, done: list[int]) -> None:
    """Heavy calls without a pause, as clients of a heavy page would make them."""
    heavy = sync_to_async(compute, thread_sensitive=False, executor=executor)
    while True:
        await heavy(ROUNDS * 10)
        done[0] += 1


@contextlib.asynccontextmanager
async def heavy_calls(app: Starlette) -> AsyncIterator[None]:
    """Keeps heavy calls going where the variable HEAVY says, for as long as the server runs."""
    makers: dict[str, Callable[[], Any]] = {
        "threads": lambda: None,
        "processes": lambda: ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")),
        "dask": dask_executor,
    }
    where = os.environ.get("HEAVY", "nowhere")
    app.state.done = [0]
    callers: list[asyncio.Task[None]] = []
    if where in makers:
        executor = await asyncio.to_thread(makers[where])
        callers = [asyncio.create_task(keep_busy(executor, app.state.done)) for _ in range(HEAVY_CALLS)]
    yield
    for caller in callers:
        caller.cancel()


def dask_executor() -> Executor:
    from dask.distributed import Client

    executor: Executor = Client(os.environ["SCHEDULER"]).get_executor(pure=False)
    return executor


async def done(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(request.app.state.done[0]))


heavy_app = Starlette(routes=[Route("/", hello), Route("/done", done)], lifespan=heavy_calls)


def __getattr__(name: str) -> Any:
    if name == "asgi":
        return WsgiToAsgi(flask_app)
    if name == "wsgi":
        return AsgiToWsgi(starlette_app)
    raise AttributeError(name)
