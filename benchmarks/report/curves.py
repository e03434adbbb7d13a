"""What grows, in one process: requests in flight, threads, the size of chunks, bridges in bridges."""

import asyncio
import contextlib
import io
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import asgiref.sync

import asgiadapt
from benchmarks import apps, bridges, inprocess, reverse
from benchmarks.bridges_limit import KeptLoop, Workers
from benchmarks.limit import THREADS
from benchmarks.report.curve import Curve, Turn, turns_of

IN_FLIGHT = (1, 4, 16, 64, 256, 1000, 3000, 10_000)
ON_THREADS = (1, 2, 5, 10, 20, 50, 100, 200)
CHUNKS = tuple(1024 * 4**power for power in range(6))
NESTED = (1, 2, 5, 10, 20, 50)
NAP = 0.001
NO_WAIT = "a2wsgi, no wait"  # not in the curves: it is near a2wsgi
PUSH = 400  # requests in flight, for so many threads to share


def amount_in(chunk: int) -> int:
    """The bytes of a body that comes in pieces of *chunk*: 1000 of them, but 32 MiB at most."""
    return min(1000 * chunk, apps.BIG // chunk * chunk)


# A WSGI application behind an ASGI server.


def _all_may_wait(app: Any) -> asgiadapt.WsgiToAsgi:
    return asgiadapt.WsgiToAsgi(app, max_waiting=IN_FLIGHT[-1], queue_timeout=None)


@contextlib.contextmanager
def wsgi_in_flight() -> Iterator[dict[str, Turn]]:
    """Hello, as many requests at a time as the point says."""
    with asyncio.Runner() as runner:

        def turn(app: Any, x: int, count: int) -> float:
            make = partial(inprocess.request, app, inprocess.WORKLOADS[0])
            return runner.run(inprocess.seconds_for(count, x, make))

        found = {name: make(apps.hello) for name, make in apps.adapters().items()}
        found["asgiadapt"] = _all_may_wait(apps.hello)
        yield turns_of(found, turn)


def naps(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    time.sleep(NAP)
    return apps.hello(environ, start_response)


@contextlib.contextmanager
def wsgi_on_threads() -> Iterator[dict[str, Turn]]:
    """A short sleep, in as many threads as the point says."""
    from a2wsgi import WSGIMiddleware

    makers: dict[str, Callable[[int], Any]] = {
        "asgiadapt": lambda x: asgiadapt.WsgiToAsgi(naps, max_workers=x),
        "a2wsgi": lambda x: WSGIMiddleware(naps, workers=x),
    }
    if "starlette" in (adapters := apps.adapters()):
        makers["starlette"] = lambda x: adapters["starlette"](naps)
    made: dict[tuple[str, int], Any] = {}

    with asyncio.Runner() as runner, contextlib.ExitStack() as stack:

        async def in_loop(app: Any, x: int, count: int) -> float:
            anyio.to_thread.current_default_thread_limiter().total_tokens = x  # Starlette's threads
            make = partial(inprocess.request, app, inprocess.WORKLOADS[0])
            return await inprocess.seconds_for(count, PUSH, make)

        def turn(name: str, x: int, count: int) -> float:
            if (name, x) not in made:
                app = made[name, x] = makers[name](x)
                if name == "asgiadapt":
                    stack.callback(app.pool.close)
                elif name == "a2wsgi":
                    stack.callback(app.executor.shutdown)
            return runner.run(in_loop(made[name, x], x, count))

        yield turns_of({name: name for name in makers}, turn)


def _downloads(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    chunk = b"x" * int(environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    for _ in range(amount_in(len(chunk)) // len(chunk)):
        yield chunk


@contextlib.contextmanager
def wsgi_chunks(*, up: bool) -> Iterator[dict[str, Turn]]:
    """A body in chunks of as many bytes as the point says, of the server's or of the application's."""
    with asyncio.Runner() as runner:
        base = inprocess.WORKLOADS[0]

        def turn(app: Any, x: int, count: int) -> float:
            amount = amount_in(x)
            if up:
                work = replace(base, body=(b"x" * x,) * (amount // x), answer=b"%d" % amount)
            else:
                work = replace(base, answer=amount, query_string=b"%d" % x)
            return runner.run(inprocess.seconds_for(count, 1, lambda: inprocess.request(app, work)))

        adapters = {name: make for name, make in apps.adapters().items() if name != "limit"}
        yield turns_of(
            {name: make(apps.upload if up else _downloads) for name, make in adapters.items()}, turn
        )


# An ASGI application behind a WSGI server.


@contextlib.contextmanager
def asgi_on_threads() -> Iterator[dict[str, Turn]]:
    """Hello, from as many threads of the server as the point says."""

    def turn(app: Any, x: int, count: int) -> float:
        return reverse.seconds_for(count, app, replace(reverse.WORKLOADS[0], threads=x))

    with reverse.contenders(reverse.hello) as found:
        del found[NO_WAIT]
        yield turns_of(found, turn)


async def _downloads_async(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        raise RuntimeError("there is nothing to start")
    chunk = b"x" * int(scope["query_string"])
    await send({"type": "http.response.start", "status": 200, "headers": reverse.PLAIN_TEXT})
    for _ in range(amount_in(len(chunk)) // len(chunk)):
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


class Piecewise(io.BytesIO):
    """The input of a server that gives at most so many bytes a read, as a socket does."""

    at_most = 0

    def read(self, size: int | None = -1) -> bytes:
        return super().read(self.at_most if size is None or size < 0 else min(size, self.at_most))


@contextlib.contextmanager
def asgi_chunks(*, up: bool) -> Iterator[dict[str, Turn]]:
    """A body in chunks of as many bytes as the point says, of the server's or of the application's."""
    base = reverse.WORKLOADS[0]

    def turn(app: Any, x: int, count: int) -> float:
        amount = amount_in(x)
        if up:
            pieces = type("Pieces", (Piecewise,), {"at_most": x})
            work = replace(base, body=b"x" * amount, answer=b"%d" % amount, stream=pieces)
        else:
            work = replace(base, answer=amount, query_string=str(x))
        return reverse.seconds_for(count, app, work)

    with reverse.contenders(reverse.upload if up else _downloads_async, limit=False) as found:
        del found[NO_WAIT]
        yield turns_of(found, turn)


# The bridges.


@contextlib.contextmanager
def calls_in_flight() -> Iterator[dict[str, Turn]]:
    """sync_to_async, as many calls at a time as the point says."""
    with asyncio.Runner() as runner, contextlib.closing(Workers(THREADS)) as limit:

        async def gathered(call: bridges.Awaited, x: int, count: int) -> float:
            started = time.perf_counter()
            for _ in range(count // x):
                assert await asyncio.gather(*map(call, range(x))) == list(range(0, 2 * x, 2))
            return time.perf_counter() - started

        def turn(call: Any, x: int, count: int) -> float:
            return runner.run(gathered(call, x, count)) * count / (count // x * x)

        calls: dict[str, Any] = {
            "asgiadapt": asgiadapt.sync_to_async(bridges.double, thread_sensitive=False),
            "asgiref": asgiref.sync.sync_to_async(bridges.double, thread_sensitive=False),
            "asyncio.to_thread": partial(asyncio.to_thread, bridges.double),
            "anyio": partial(anyio.to_thread.run_sync, bridges.double),
            "limit": limit(bridges.double),
        }
        yield turns_of(calls, turn)


@contextlib.contextmanager
def calls_on_threads() -> Iterator[dict[str, Turn]]:
    """async_to_sync from plain sync code, on as many threads at a time as the point says."""
    kept = threading.local()

    def on_kept_loop(number: int) -> int:
        if not hasattr(kept, "call"):
            kept.loop = KeptLoop()
            kept.call = kept.loop(bridges.double_async)
        result: int = kept.call(number)
        return result

    def turn(call: bridges.Called, x: int, count: int) -> float:
        each = max(1, count // x)
        begun: list[float] = []
        barrier = threading.Barrier(x + 1, lambda: begun.append(time.perf_counter()))
        errors: list[BaseException] = []

        def work() -> None:
            try:
                call(1)  # a loop is made, where one is kept
                barrier.wait()
                bridges.called(call, each)
            except BaseException as error:  # raised again by whoever measures
                errors.append(error)
                barrier.abort()
            finally:
                if hasattr(kept, "loop"):
                    kept.loop.close()

        threads = [threading.Thread(target=work) for _ in range(x)]
        for thread in threads:
            thread.start()
        try:
            barrier.wait()
        except threading.BrokenBarrierError:
            pass  # the error tells why
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return (time.perf_counter() - begun[0]) * count / (each * x)

    with anyio.from_thread.start_blocking_portal() as portal:
        calls: dict[str, bridges.Called] = {
            "asgiadapt": asgiadapt.async_to_sync(bridges.double_async),
            "asgiref": asgiref.sync.async_to_sync(bridges.double_async),
            "asyncio.run": lambda number: asyncio.run(bridges.double_async(number)),
            "anyio portal": partial(portal.call, bridges.double_async),
            "limit": on_kept_loop,
        }
        yield turns_of(calls, turn)


def _tower(bridge: Any, levels: int) -> bridges.Called:
    """*levels* bridges, one in the other, from plain sync code: async_to_sync, sync_to_async, and so on."""

    def sync_level(left: int) -> bridges.Called:
        if not left:
            return bridges.double
        call: bridges.Called = bridge.async_to_sync(async_level(left - 1))
        return call

    def async_level(left: int) -> Callable[[int], Coroutine[Any, Any, int]]:
        if not left:
            return bridges.double_async
        below = bridge.sync_to_async(sync_level(left - 1))

        async def level(number: int) -> int:
            result: int = await below(number)
            return result

        return level

    return sync_level(levels)


@contextlib.contextmanager
def calls_nested() -> Iterator[dict[str, Turn]]:
    """As many bridges in each other as the point says, on the one thread for sensitive calls."""

    def turn(bridge: Any, x: int, count: int) -> float:
        return bridges.called(_tower(bridge, x), count) * count

    yield turns_of({"asgiadapt": asgiadapt, "asgiref": asgiref.sync}, turn)


CURVES = [
    Curve("wsgi-in-flight", IN_FLIGHT, wsgi_in_flight, least=lambda x: 2 * x),
    Curve("wsgi-threads", ON_THREADS, wsgi_on_threads, least=lambda x: PUSH),
    Curve("asgi-threads", ON_THREADS, asgi_on_threads, least=lambda x: 4 * x),
    Curve("sync-to-async-in-flight", IN_FLIGHT, calls_in_flight, least=lambda x: 2 * x),
    Curve("async-to-sync-threads", ON_THREADS, calls_on_threads, least=lambda x: 4 * x),
    Curve("nested", NESTED, calls_nested, amount=lambda x: x),
    *(
        Curve(f"{name}-chunks-{way}", CHUNKS, partial(chunks, up=way == "up"), amount=amount_in, is_rate=True)
        for name, chunks in (("wsgi", wsgi_chunks), ("asgi", asgi_chunks))
        for way in ("down", "up")
    ),
]
