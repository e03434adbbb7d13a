"""Overload: what waits, what is refused, and that requests do run at the same time."""

import asyncio
import threading
from typing import Any

import pytest

from asgiadapt import PoolClosed, WorkerPool
from tests.apps import says_hello
from tests.fakes import connection, request
from tests.validated import WsgiToAsgi


class Holds:
    """An application that holds its worker until ``release`` is set."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.calls = 0

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.calls += 1
        self.release.wait(20)
        return says_hello(environ, start_response)


async def until_waiting(pool: WorkerPool, count: int) -> None:
    while pool.stats().waiting < count or pool.stats().busy < pool.max_workers:
        await asyncio.sleep(0)


async def test_a_request_over_the_queue_limit_gets_503() -> None:
    """At once, with Retry-After, while those that wait are served in the end."""
    app = Holds()
    adapter = WsgiToAsgi(app, max_workers=1, max_waiting=2, retry_after=7)
    waiting = [asyncio.create_task(request(adapter)) for _ in range(3)]
    await until_waiting(adapter.pool, 2)
    refused = await request(adapter)
    assert refused.status == 503
    assert (b"retry-after", b"7") in refused.headers
    assert b"busy" in refused.body
    app.release.set()
    assert [answer.body for answer in await asyncio.gather(*waiting)] == [b"hello"] * 3
    assert app.calls == 3


@pytest.mark.parametrize("limit", [0.01, 0.6])
async def test_a_request_that_waits_too_long_gets_503(limit: float) -> None:
    """After queue_timeout, and the application is never called for it."""
    app = Holds()
    adapter = WsgiToAsgi(app, max_workers=1, queue_timeout=limit)
    first = asyncio.create_task(request(adapter))
    await until_waiting(adapter.pool, 0)
    refused = await request(adapter)
    assert refused.status == 503
    assert adapter.pool.stats().waiting == 0
    app.release.set()
    assert (await first).body == b"hello"
    assert app.calls == 1


async def test_head_gets_a_refusal_without_a_body() -> None:
    """As HTTP has it."""
    app = Holds()
    adapter = WsgiToAsgi(app, max_workers=1, max_waiting=0)
    first = asyncio.create_task(request(adapter))
    await until_waiting(adapter.pool, 0)
    refused = await request(adapter, method="HEAD")
    assert (refused.status, refused.body) == (503, b"")
    app.release.set()
    await first


async def test_a_request_whose_client_left_in_the_queue_is_never_run() -> None:
    """Its place is free again as soon as the disconnect is seen."""
    app = Holds()
    adapter = WsgiToAsgi(app, max_workers=1)
    first = asyncio.create_task(request(adapter))
    await until_waiting(adapter.pool, 0)
    async with connection(adapter) as opened:
        await until_waiting(adapter.pool, 1)
        opened.disconnect()
        await opened.result()
        assert opened.answer.events == []
        assert adapter.pool.stats().waiting == 0
        app.release.set()
        await first
    assert app.calls == 1


async def test_a_pool_that_is_closed_refuses_what_waits() -> None:
    """503 for the waiting, PoolClosed for the next."""
    app = Holds()
    adapter = WsgiToAsgi(app, max_workers=1)
    first, second = (asyncio.create_task(request(adapter)) for _ in range(2))
    await until_waiting(adapter.pool, 1)
    assert adapter.pool.close() is False
    assert (await second).status == 503
    with pytest.raises(PoolClosed, match="closed"):
        await request(adapter)
    app.release.set()
    assert (await first).body == b"hello"


@pytest.mark.parametrize("count", [6, 40, 100])
async def test_requests_overlap_up_to_the_number_of_workers(count: int) -> None:
    """All of them meet inside the application."""
    barrier = threading.Barrier(count)

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        barrier.wait(20)
        return says_hello(environ, start_response)

    adapter = WsgiToAsgi(app, max_workers=count)
    answers = await asyncio.gather(*[request(adapter) for _ in range(count)])
    assert [answer.body for answer in answers] == [b"hello"] * count


async def test_two_adapters_share_one_pool() -> None:
    """They count against one limit, and neither closes it."""
    with WorkerPool(2) as pool:
        barrier = threading.Barrier(2)

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            barrier.wait(20)
            return says_hello(environ, start_response)

        one, two = WsgiToAsgi(app, pool=pool), WsgiToAsgi(app, pool=pool)
        assert one.pool is pool
        answers = await asyncio.gather(request(one), request(two))
        assert [answer.body for answer in answers] == [b"hello"] * 2
        assert pool.stats().threads == 2


async def test_the_loops_default_executor_is_not_used() -> None:
    """The adapter answers although every thread of the executor is taken."""
    loop = asyncio.get_running_loop()
    release = threading.Event()
    blocked = [loop.run_in_executor(None, release.wait, 20) for _ in range(100)]
    assert (await request(WsgiToAsgi(says_hello))).body == b"hello"
    release.set()
    await asyncio.gather(*blocked)


async def test_a_stream_does_not_starve_short_requests() -> None:
    """A thread is started whenever none is idle."""
    release = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] != "/stream":
            return says_hello(environ, start_response)
        start_response("200 OK", [])
        return (b"x" if n == 0 else b"y" * release.wait(20) for n in range(2))

    adapter = WsgiToAsgi(app)
    async with connection(adapter, path="/stream") as stream:
        await stream.chunks(1)
        assert (await request(adapter)).body == b"hello"
        release.set()
        assert (await stream.result()).body == b"xy"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        pytest.param({"app": None}, "cannot be called", id="no-callable"),
        pytest.param({"pool": WorkerPool(1), "max_workers": 2}, "pool's affair", id="pool-and-max"),
        pytest.param({"max_workers": 0}, "at least 1", id="no-worker"),
        pytest.param({"max_waiting": -1}, "0 or more", id="negative-queue"),
        pytest.param({"window": -1}, "window is -1; give 0 or more", id="negative-window"),
        pytest.param({"send_timeout": -0.5}, "send_timeout is -0.5", id="negative-time"),
    ],
)
def test_wrong_arguments_are_told(arguments: dict[str, Any], text: str) -> None:
    """At the call, not at the first request."""
    with pytest.raises((TypeError, ValueError), match=text):
        WsgiToAsgi(**{"app": says_hello, **arguments})
