"""The soak run of the bridges, short."""

import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import uvloop

from tests.soak import bridges

CALLS = 120
# What measures the coverage keeps some objects for each thread that was started.
ALLOWED = bridges.GROWTH_OBJECTS + (5 * CALLS if sys.gettrace() is not None else 0)


@pytest.fixture(scope="module", autouse=True)
def _nothing_stays() -> Iterator[None]:
    yield
    bridges.executor.shutdown()
    assert bridges.pool.close(timeout=10)
    assert bridges.loop_thread.close(timeout=10)


@pytest.mark.parametrize("loop_factory", [None, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_calls_of_every_kind_leave_nothing_behind(loop_factory: Any) -> None:
    """No thread, task or file, nor much memory, which takes more calls than these to come to rest."""
    outcome = bridges.soak(600, loop_factory=loop_factory, growth_kib=16 * 1024)
    assert outcome.wrong == []


@pytest.mark.parametrize("kind", bridges.FROM_ASYNC, ids=lambda kind: kind.__name__)
def test_a_call_from_async_code_leaves_no_cycle_behind(kind: Callable[[], Awaitable[None]]) -> None:
    """What it has made is gone with it, without the garbage collector."""
    assert bridges.growth_from_async(kind, CALLS) < ALLOWED


@pytest.mark.parametrize("kind", bridges.FROM_THREADS, ids=lambda kind: kind.__name__)
def test_a_call_from_a_thread_leaves_no_cycle_behind(kind: Callable[[], None]) -> None:
    """What it has made is gone with it, without the garbage collector."""
    assert bridges.growth_from_thread(kind, CALLS) < ALLOWED
