"""Calls across a bridge, in one process: sync code awaited, async code called, and what is local to both.

Each contender has as many threads as it has by default. What is called doubles a number, and its answer is
checked each time; after each turn it is checked that it ran where it had to.
"""

import asyncio
import contextlib
import gc
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import anyio
import anyio.from_thread
import anyio.to_thread
import asgiref.local
import asgiref.sync

import asgiadapt
from benchmarks.bridges_limit import KeptLoop, LoopElsewhere, ThereAndBack, Workers
from benchmarks.limit import THREADS
from benchmarks.results import Result

FEW = 200  # calls to begin with
MAIN = threading.get_ident()

Awaited: TypeAlias = Callable[[int], Coroutine[Any, Any, int]]
Called: TypeAlias = Callable[[int], int]
Turn: TypeAlias = Callable[[int], float]  # makes about that many calls, and gives the seconds a call

# What is called.

ran_on: set[int] = set()  # the threads that what is called has run on, in this turn
VARIABLES = [ContextVar[int](f"variable_{number}") for number in range(10)]


def double(number: int) -> int:
    ran_on.add(threading.get_ident())
    return number * 2


def times_variable(number: int) -> int:
    ran_on.add(threading.get_ident())
    return number * VARIABLES[-1].get()


async def double_async(number: int) -> int:
    ran_on.add(threading.get_ident())
    return number * 2


# Where it has to run.


def anywhere(threads: set[int]) -> bool:
    return bool(threads)


def elsewhere(threads: set[int]) -> bool:
    return bool(threads) and MAIN not in threads


def on_one_thread(threads: set[int]) -> bool:
    return len(threads) == 1 and MAIN not in threads


def on_main(threads: set[int]) -> bool:
    return threads == {MAIN}


# How the calls are made.


def called(call: Called, count: int) -> float:
    started = time.perf_counter()
    for number in range(count):
        result = call(number)
        assert result == number * 2
    return (time.perf_counter() - started) / count


async def awaited(call: Awaited, count: int) -> float:
    started = time.perf_counter()
    for number in range(count):
        result = await call(number)
        assert result == number * 2
    return (time.perf_counter() - started) / count


async def hundred(call: Awaited, count: int) -> float:
    """A hundred at a time, each a task of its own."""
    count -= count % 100
    started = time.perf_counter()
    for first in range(0, count, 100):
        numbers = range(first, first + 100)
        results = await asyncio.gather(*map(call, numbers))
        assert results == [number * 2 for number in numbers]
    return (time.perf_counter() - started) / count


async def hundred_with_variables(call: Awaited, count: int) -> float:
    for variable in VARIABLES:
        variable.set(2)
    return await hundred(call, count)


def got(local: Any, count: int) -> float:
    local.user = value = object()
    started = time.perf_counter()
    for _ in range(count):
        found = local.user
        assert found is value
    return (time.perf_counter() - started) / count


def variable_got(variable: ContextVar[Any], count: int) -> float:
    variable.set(value := object())
    started = time.perf_counter()
    for _ in range(count):
        found = variable.get()
        assert found is value
    return (time.perf_counter() - started) / count


def was_set(local: Any, count: int) -> float:
    started = time.perf_counter()
    for number in range(count):
        local.user = number
    seconds = time.perf_counter() - started
    assert local.user == count - 1
    return seconds / count


def variable_set(variable: ContextVar[Any], count: int) -> float:
    started = time.perf_counter()
    for number in range(count):
        variable.set(number)
    seconds = time.perf_counter() - started
    assert variable.get() == count - 1
    return seconds / count


# The contenders.

Contenders: TypeAlias = AbstractContextManager[dict[str, Turn]]
Awaiting: TypeAlias = Callable[[Awaited, int], Coroutine[Any, Any, float]]


@contextlib.contextmanager
def sync_to_async(awaiting: Awaiting, function: Called = double) -> Iterator[dict[str, Turn]]:
    """*function* on any thread, awaited on a loop of the main thread."""
    with asyncio.Runner() as runner, closing(Workers(THREADS)) as limit:
        calls: dict[str, Any] = {
            "asgiadapt": asgiadapt.sync_to_async(function, thread_sensitive=False),
            "asgiref": asgiref.sync.sync_to_async(function, thread_sensitive=False),
            "asyncio.to_thread": partial(asyncio.to_thread, function),
            "anyio": partial(anyio.to_thread.run_sync, function),
            "limit": limit(function),
        }
        yield {name: _on(runner, awaiting, call) for name, call in calls.items()}


@contextlib.contextmanager
def sensitive(awaiting: Awaiting) -> Iterator[dict[str, Turn]]:
    """The same on the one thread for sensitive calls."""
    with asyncio.Runner() as runner, closing(Workers(1)) as limit:
        calls: dict[str, Any] = {
            "asgiadapt": asgiadapt.sync_to_async(double),
            "asgiref": asgiref.sync.sync_to_async(double),
            "limit": limit(double),
        }
        yield {name: _on(runner, awaiting, call) for name, call in calls.items()}


def _on(
    runner: asyncio.Runner, awaiting: Callable[[Any, int], Coroutine[Any, Any, float]], call: Any
) -> Turn:
    return lambda count: runner.run(awaiting(call, count))


@contextlib.contextmanager
def async_to_sync() -> Iterator[dict[str, Turn]]:
    """A coroutine function, called on the main thread where no loop runs."""
    with closing(KeptLoop()) as limit, anyio.from_thread.start_blocking_portal() as portal:
        calls: dict[str, Called] = {
            "asgiadapt": asgiadapt.async_to_sync(double_async),
            "asgiref": asgiref.sync.async_to_sync(double_async),
            "asyncio.run": lambda number: asyncio.run(double_async(number)),
            "anyio.run": partial(anyio.run, double_async),
            "anyio portal": partial(portal.call, double_async),
            "limit": limit(double_async),
        }
        yield {name: partial(called, call) for name, call in calls.items()}


@contextlib.contextmanager
def nested(workers: int) -> Iterator[dict[str, Turn]]:
    """The same on worker threads below a loop of the main thread, many calls in one call of the worker."""
    with asyncio.Runner() as runner, ThreadPoolExecutor(workers) as executor:
        loop = runner.get_loop()
        loop.set_default_executor(executor)
        anyio_worker: Any = anyio.to_thread.run_sync
        from_thread: Any = anyio.from_thread.run
        sensitive = workers == 1

        def scheduled(number: int) -> int:
            return asyncio.run_coroutine_threadsafe(double_async(number), loop).result()

        async def below(to_worker: Any, call: Called, count: int) -> float:
            each = count // workers
            started = time.perf_counter()
            await asyncio.gather(*(to_worker(call, each) for _ in range(workers)))
            return (time.perf_counter() - started) / (each * workers)

        in_thread: Any = partial(asyncio.to_thread, called)
        # How a worker is called, and what it calls.
        calls: dict[str, tuple[Any, Called]] = {
            "asgiadapt": (
                asgiadapt.sync_to_async(called, thread_sensitive=sensitive),
                asgiadapt.async_to_sync(double_async),
            ),
            "asgiref": (
                asgiref.sync.sync_to_async(called, thread_sensitive=sensitive),
                asgiref.sync.async_to_sync(double_async),
            ),
            "anyio": (partial(anyio_worker, called), partial(from_thread, double_async)),
            "asyncio": (in_thread, scheduled),
            "limit": (in_thread, LoopElsewhere(loop)(double_async)),
        }
        yield {name: _on(runner, partial(below, worker), call) for name, (worker, call) in calls.items()}


@contextlib.contextmanager
def sandwich() -> Iterator[dict[str, Turn]]:
    """A coroutine function called on the main thread, and a sync function that it sends back to it."""

    def filling(bridge: Any) -> Called:
        double_below = bridge.sync_to_async(double)

        async def middle(number: int) -> int:
            result: int = await double_below(number)
            return result

        call: Called = bridge.async_to_sync(middle)
        return call

    with closing(ThereAndBack()) as limit:
        calls = {
            "asgiadapt": filling(asgiadapt),
            "asgiref": filling(asgiref.sync),
            "limit": limit(double),
        }
        yield {name: partial(called, call) for name, call in calls.items()}


def _locals(
    use: Callable[[Any, int], float], use_variable: Callable[[ContextVar[Any], int], float]
) -> dict[str, Turn]:
    ours, theirs = asgiadapt.Local(), asgiref.local.Local()
    return {
        "asgiadapt": partial(use, ours),
        "asgiref": partial(use, theirs),
        "limit": partial(use_variable, ContextVar[Any]("user")),
    }


@contextlib.contextmanager
def local_in_task(*use: Any) -> Iterator[dict[str, Turn]]:
    """An attribute of a Local, used in a task."""
    with asyncio.Runner() as runner:

        async def in_task(turn: Turn, count: int) -> float:
            return turn(count)

        def on_loop(turn: Turn) -> Turn:
            return lambda count: runner.run(in_task(turn, count))

        yield {name: on_loop(turn) for name, turn in _locals(*use).items()}


@contextlib.contextmanager
def local_in_thread(*use: Any) -> Iterator[dict[str, Turn]]:
    """An attribute of a Local, used on a thread without a loop."""
    with ThreadPoolExecutor(1) as executor:

        def on_thread(turn: Turn) -> Turn:
            return lambda count: executor.submit(turn, count).result()

        yield {name: on_thread(turn) for name, turn in _locals(*use).items()}


@dataclass(frozen=True)
class Workload:
    name: str
    title: str
    contenders: Callable[[], Contenders]
    allowed: Callable[[set[int]], bool] | None = None  # whether it may have run on these threads
    unit: str = "us"  # or "ns", for one call


GET, SET = (got, variable_got), (was_set, variable_set)
WORKLOADS = [
    Workload("bridge.s2a.seq", "sync_to_async, one at a time", partial(sync_to_async, awaited), elsewhere),
    Workload("bridge.s2a.100", "sync_to_async, 100 at a time", partial(sync_to_async, hundred), elsewhere),
    Workload(
        "bridge.s2a.100.vars",
        "sync_to_async, 100 at a time, with 10 context variables",
        partial(sync_to_async, hundred_with_variables, times_variable),
        elsewhere,
    ),
    Workload(
        "bridge.s2a.sensitive.seq",
        "sync_to_async on the sensitive thread, one at a time",
        partial(sensitive, awaited),
        on_one_thread,
    ),
    Workload(
        "bridge.s2a.sensitive.100",
        "sync_to_async on the sensitive thread, 100 at a time",
        partial(sensitive, hundred),
        on_one_thread,
    ),
    Workload("bridge.a2s.plain", "async_to_sync from plain sync code", async_to_sync, anywhere),
    Workload("bridge.a2s.nested", "async_to_sync on a worker below a loop", partial(nested, 1), on_main),
    Workload("bridge.a2s.nested.16", "the same on 16 workers at a time", partial(nested, 16), on_main),
    Workload("bridge.sandwich", "async_to_sync, and sync_to_async back to its thread", sandwich, on_main),
    Workload("bridge.local.get.task", "Local, get in a task", partial(local_in_task, *GET), unit="ns"),
    Workload("bridge.local.get.thread", "Local, get on a thread", partial(local_in_thread, *GET), unit="ns"),
    Workload("bridge.local.set.task", "Local, set in a task", partial(local_in_task, *SET), unit="ns"),
    Workload("bridge.local.set.thread", "Local, set on a thread", partial(local_in_thread, *SET), unit="ns"),
]


def _turn(work: Workload, name: str, turn: Turn, count: int) -> float:
    gc.collect()  # nobody pays for what the one before has left
    ran_on.clear()
    seconds = turn(count)
    if work.allowed is not None and not work.allowed(ran_on):
        raise RuntimeError(f"{name} in {work.name} runs what it calls on the wrong thread")
    return seconds


def measure(work: Workload, rounds: int, slice_seconds: float) -> Result:
    """About *slice_seconds* for each contender in each round."""
    with work.contenders() as turns:
        counts: dict[str, int] = {}
        for name, turn in turns.items():
            _turn(work, name, turn, FEW)  # threads are started, caches filled
            counts[name] = max(FEW, round(slice_seconds / _turn(work, name, turn, FEW)))
        values: dict[str, list[float]] = {name: [] for name in turns}
        for number in range(rounds):
            # They take turns within a round, and there and back from round to round.
            for name in list(turns)[:: -1 if number % 2 else 1]:
                seconds = _turn(work, name, turns[name], counts[name])
                values[name].append(seconds * (1e9 if work.unit == "ns" else 1e6))
    return Result(work.name, work.title, work.unit, values)
