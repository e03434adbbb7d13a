"""A function called on a worker, and awaited."""

import asyncio
import threading

import pytest

from asgiadapt import PoolClosed, WorkerPool
from asgiadapt._threads.calls import Origin, call_on_worker
from asgiadapt._threads.loops import AsyncioLoop


def this_loop() -> AsyncioLoop:
    return AsyncioLoop(asyncio.get_running_loop())


async def test_results_and_errors_come_back() -> None:
    """From another thread, the very objects."""
    with WorkerPool(1) as pool:
        assert await call_on_worker(pool, this_loop(), threading.get_ident) != threading.get_ident()
        error = KeyError("x")

        def fails() -> None:
            raise error

        with pytest.raises(KeyError) as caught:
            await call_on_worker(pool, this_loop(), fails)
        assert caught.value is error


async def test_a_pool_that_is_closed_before_the_call_begins_says_so() -> None:
    """The call is dropped, and its caller told."""
    release = threading.Event()
    pool = WorkerPool(1)
    first = asyncio.create_task(call_on_worker(pool, this_loop(), lambda: release.wait(20)))
    second = asyncio.create_task(call_on_worker(pool, this_loop(), lambda: None))
    while not pool.stats().waiting or not pool.stats().busy:
        await asyncio.sleep(0)
    pool.close()
    with pytest.raises(PoolClosed, match="before the call began"):
        await second
    release.set()
    assert await first is True


async def test_a_caller_that_is_cancelled_leaves_the_worker_usable() -> None:
    """The function runs to its end, and the thread takes the next."""
    entered, release = threading.Event(), threading.Event()

    def function() -> None:
        entered.set()
        release.wait(20)

    with WorkerPool(1) as pool:
        caller = asyncio.create_task(call_on_worker(pool, this_loop(), function))
        await asyncio.to_thread(entered.wait, 20)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        release.set()
        assert await call_on_worker(pool, this_loop(), lambda: "next") == "next"
        await asyncio.sleep(0)


async def test_an_origin_knows_whether_its_sync_code_waits() -> None:
    """From the moment when it begins to wait, to the end of that."""

    class Inner:
        def cancel(self) -> None:
            """Nothing cancels it."""

    origin = Origin(this_loop())
    assert not origin.waits_inside()
    origin.begin_to_wait(Inner())
    assert origin.waits_inside()
    origin.end_to_wait()
    assert not origin.waits_inside()
