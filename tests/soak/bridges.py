"""A million calls each way through the bridges: ``python -m tests.soak.bridges [--calls N]``.

Tasks on one event loop make calls of every kind through `sync_to_async`, and plain threads make calls of
every kind through `async_to_sync`, all at the same time. In between everything comes to rest, and threads,
tasks, open files and memory are looked at. Afterwards each kind is called many times with the garbage
collector off: what is left over then is a cycle of references, or held by somebody.
"""

import argparse
import asyncio
import functools
import gc
import itertools
import os
import random
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager, closing, contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path
from typing import Any

from asgiadapt import (
    AsyncSingleThreadContext,
    Local,
    LoopThread,
    ThreadSensitiveContext,
    WorkerPool,
    async_to_sync,
    cancelled,
    set_loop_factory,
    sync_to_async,
)
from asgiadapt._threads import strand, workers

TASKS = 8
THREADS = 4
# A plain thread lives for so many calls, and another one follows it; half of the threads live on.
CALLS_OF_A_THREAD = 250
GROWTH_KIB = 5 * 1024
SETTLE_SECONDS = 60.0
# The garbage collector is off for so many calls of each kind, and no more objects than these may be more
# afterwards. A few are: what one thread or another has not let go of yet.
REFERENCE_CALLS = 10_000
GROWTH_OBJECTS = 100

variable: ContextVar[int] = ContextVar("variable", default=0)
local = Local()
executor = ThreadPoolExecutor(2, thread_name_prefix="executor")
pool = WorkerPool(2)
loop_thread = LoopThread()


class OnPurposeError(Exception):
    """What functions of this module raise."""


# What is called.


def plain(number: int, *, more: int = 0) -> int:
    return number + more


def fails(number: int) -> int:
    raise OnPurposeError(number)


def sets_variables(number: int) -> None:
    variable.set(number)
    local.number = number


def counts(limit: int) -> Generator[int, Any, None]:
    yield from range(limit)


def counts_and_fails(limit: int) -> Iterator[int]:
    yield from range(limit)
    raise OnPurposeError(limit)


@contextmanager
def held(number: int) -> Iterator[int]:
    variable.set(number)
    try:
        yield number
    finally:
        variable.set(0)


async def later(number: int, *, more: int = 0) -> int:
    return number + more


async def later_still(number: int) -> int:
    for _ in range(3):
        await asyncio.sleep(0)
    return number


async def fails_later(number: int) -> int:
    await asyncio.sleep(0)
    raise OnPurposeError(number)


async def sets_variables_later(number: int) -> None:
    await asyncio.sleep(0)
    variable.set(number)
    local.number = number


async def counts_later(limit: int) -> AsyncIterator[int]:
    for number in range(limit):
        await asyncio.sleep(0)
        yield number


async def counts_later_and_fails(limit: int) -> AsyncIterator[int]:
    for number in range(limit):
        yield number
    raise OnPurposeError(limit)


@asynccontextmanager
async def held_later(number: int) -> AsyncIterator[int]:
    token = variable.set(number)
    try:
        yield number
    finally:
        variable.reset(token)


sensitive = sync_to_async(plain)
anywhere = sync_to_async(plain, thread_sensitive=False)
on_executor = sync_to_async(plain, thread_sensitive=False, executor=executor)
on_pool = sync_to_async(plain, thread_sensitive=False, executor=pool)
within_hook = sync_to_async(plain, hook=functools.partial(held, 3))
called = async_to_sync(later)
called_later = async_to_sync(later_still)
called_on_thread = async_to_sync(later_still, loop=loop_thread)
called_on_new_loop = async_to_sync(later_still, force_new_loop=True)


@async_to_sync
async def to_sync_to_async(number: int) -> int:
    return await sensitive(number)


@async_to_sync
async def deep(depth: int) -> int:
    """Async, sync, async, and so on, and sync in the end."""
    if depth:
        return await sync_to_async(deep)(depth - 1)
    return await anywhere(1)


# The kinds of calls from async code.


async def call_sensitive() -> None:
    assert await sensitive(1, more=2) == 3


async def call_anywhere() -> None:
    assert await anywhere(1, more=2) == 3


async def call_of_a_new_wrapper() -> None:
    assert await sync_to_async(plain)(1) == 1


async def call_on_executor() -> None:
    assert await on_executor(1) == 1


async def call_on_worker_pool() -> None:
    assert await on_pool(1) == 1


async def call_within_a_hook() -> None:
    assert await within_hook(1) == 1


async def call_in_a_context() -> None:
    context = copy_context()
    await sync_to_async(sets_variables, context=context)(7)
    assert context[variable] == 7


async def call_that_sets_variables() -> None:
    await sync_to_async(sets_variables)(8)
    assert variable.get() == local.number == 8


async def call_that_fails() -> None:
    try:
        await sync_to_async(fails)(1)
    except OnPurposeError as error:
        assert error.args == (1,)
    else:
        raise AssertionError


async def call_anywhere_that_fails() -> None:
    try:
        await sync_to_async(fails, thread_sensitive=False)(1)
    except OnPurposeError as error:
        assert error.args == (1,)
    else:
        raise AssertionError


async def call_on_executor_that_fails() -> None:
    try:
        await sync_to_async(fails, thread_sensitive=False, executor=executor)(1)
    except OnPurposeError as error:
        assert error.args == (1,)
    else:
        raise AssertionError


async def call_while_an_error_is_handled() -> None:
    try:
        raise OnPurposeError(2)
    except OnPurposeError as error:
        assert await sync_to_async(sys.exception)() is error
        try:
            await sync_to_async(fails)(3)
        except OnPurposeError as second:
            assert second.__context__ is error


async def many_calls_at_once() -> None:
    results = await asyncio.gather(*(anywhere(number) for number in range(10)))
    assert results == list(range(10))


async def generator() -> None:
    assert [number async for number in sync_to_async(counts)(2)] == [0, 1]


async def generator_anywhere() -> None:
    assert [number async for number in sync_to_async(counts, thread_sensitive=False)(2)] == [0, 1]


async def generator_left_early() -> None:
    async with aclosing(sync_to_async(counts)(5)) as numbers:
        async for number in numbers:
            assert number == 0
            break


async def generator_that_fails() -> None:
    try:
        async for number in sync_to_async(counts_and_fails)(1):
            assert number == 0
    except OnPurposeError:
        pass


async def manager() -> None:
    async with sync_to_async(held)(4) as number:
        assert number == variable.get() == 4


async def manager_anywhere_that_is_left_by_an_error() -> None:
    try:
        async with sync_to_async(held, thread_sensitive=False)(5):
            raise OnPurposeError(5)
    except OnPurposeError:
        pass


async def in_a_sensitive_context() -> None:
    async with ThreadSensitiveContext():
        first = await sync_to_async(threading.get_ident)()
        assert await sync_to_async(threading.get_ident)() == first
        await call_that_fails()


class Job:
    """Sync code that runs until it may leave, and what its task sees of it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._running = asyncio.Event()
        self._may_leave = threading.Event()
        self.was_cancelled = False

    def run(self) -> None:
        self._loop.call_soon_threadsafe(self._running.set)
        self._may_leave.wait()
        self.was_cancelled = cancelled()

    async def cancel(self, call: Callable[[], Awaitable[None]], *, first_let_it_leave: bool) -> None:
        task = asyncio.ensure_future(call())
        await self._running.wait()
        task.cancel()
        await asyncio.sleep(0)  # the task learns of it
        if first_let_it_leave:
            self._may_leave.set()
        try:
            await task
        except asyncio.CancelledError:
            pass
        else:
            raise AssertionError
        self._may_leave.set()


async def cancelled_while_it_runs() -> None:
    job = Job()
    await job.cancel(sync_to_async(job.run, thread_sensitive=False), first_let_it_leave=True)
    assert job.was_cancelled


async def cancelled_while_it_runs_in_a_sensitive_context() -> None:
    async with ThreadSensitiveContext():
        job = Job()
        await job.cancel(sync_to_async(job.run), first_let_it_leave=True)
        assert job.was_cancelled


async def cancelled_and_abandoned() -> None:
    job = Job()
    call = sync_to_async(job.run, thread_sensitive=False, abandon_on_cancel=True)
    await job.cancel(call, first_let_it_leave=False)


async def cancelled_and_abandoned_in_a_sensitive_context() -> None:
    async with ThreadSensitiveContext():
        job = Job()
        await job.cancel(sync_to_async(job.run, abandon_on_cancel=True), first_let_it_leave=False)
        await sensitive(1)


async def cancelled_at_once() -> None:
    """Before or after it has begun; that depends."""
    task = asyncio.ensure_future(sensitive(1))
    await asyncio.sleep(0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass


async def cancelled_through_async_code() -> None:
    running = asyncio.Event()

    async def wait() -> None:
        running.set()
        await asyncio.Event().wait()

    task = asyncio.ensure_future(sync_to_async(async_to_sync(wait), thread_sensitive=False)())
    await running.wait()
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
    else:
        raise AssertionError


async def sandwich() -> None:
    assert await sync_to_async(to_sync_to_async)(6) == 6


async def sandwich_anywhere() -> None:
    assert await sync_to_async(deep, thread_sensitive=False)(2) == 1


FROM_ASYNC: list[Callable[[], Awaitable[None]]] = [
    call_sensitive,
    call_anywhere,
    call_of_a_new_wrapper,
    call_on_executor,
    call_on_worker_pool,
    call_within_a_hook,
    call_in_a_context,
    call_that_sets_variables,
    call_that_fails,
    call_anywhere_that_fails,
    call_on_executor_that_fails,
    call_while_an_error_is_handled,
    many_calls_at_once,
    generator,
    generator_anywhere,
    generator_left_early,
    generator_that_fails,
    manager,
    manager_anywhere_that_is_left_by_an_error,
    in_a_sensitive_context,
    cancelled_while_it_runs,
    cancelled_while_it_runs_in_a_sensitive_context,
    cancelled_and_abandoned,
    cancelled_and_abandoned_in_a_sensitive_context,
    cancelled_at_once,
    cancelled_through_async_code,
    sandwich,
    sandwich_anywhere,
]


# The kinds of calls from plain threads.


def call() -> None:
    assert called(1, more=2) == 3


def call_that_waits() -> None:
    assert called_later(1) == 1


def call_of_a_new_sync_wrapper() -> None:
    assert async_to_sync(later)(1) == 1


def call_on_a_loop_thread() -> None:
    assert called_on_thread(1) == 1


def call_on_a_new_loop() -> None:
    assert called_on_new_loop(1) == 1


def call_that_sets_variables_later() -> None:
    async_to_sync(sets_variables_later)(9)
    assert variable.get() == local.number == 9


def call_that_fails_later() -> None:
    try:
        async_to_sync(fails_later)(1)
    except OnPurposeError as error:
        assert error.args == (1,)
    else:
        raise AssertionError


def call_on_a_loop_thread_that_fails() -> None:
    try:
        async_to_sync(fails_later, loop=loop_thread)(1)
    except OnPurposeError as error:
        assert error.args == (1,)
    else:
        raise AssertionError


def call_while_an_error_is_handled_here() -> None:
    @async_to_sync
    async def handled() -> Any:
        return sys.exception()

    try:
        raise OnPurposeError(2)
    except OnPurposeError as error:
        assert handled() is error


def call_that_runs_into_a_time_limit() -> None:
    @async_to_sync
    async def wait() -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    try:
        wait()
    except TimeoutError:
        pass
    else:
        raise AssertionError


def call_that_is_cancelled() -> None:
    @async_to_sync
    async def cancels_itself() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    try:
        cancels_itself()
    except asyncio.CancelledError:
        pass
    else:
        raise AssertionError


def call_that_leaves_a_task_behind() -> None:
    @async_to_sync
    async def leaves() -> "asyncio.Task[bool]":
        task = asyncio.ensure_future(asyncio.Event().wait())
        await asyncio.sleep(0)
        return task

    assert leaves().cancelled()


def call_that_leaves_a_generator_behind() -> None:
    closed = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            closed.append(True)

    @async_to_sync
    async def leaves() -> Any:
        left = numbers()
        assert await anext(left) == 1
        return left

    leaves()
    assert closed


def async_generator() -> None:
    assert list(async_to_sync(counts_later)(2)) == [0, 1]


def async_generator_on_a_loop_thread() -> None:
    assert list(async_to_sync(counts_later, loop=loop_thread)(2)) == [0, 1]


def async_generator_left_early() -> None:
    with closing(async_to_sync(counts_later, loop=loop_thread)(5)) as numbers:
        assert next(numbers) == 0


def async_generator_that_fails() -> None:
    try:
        list(async_to_sync(counts_later_and_fails, loop=loop_thread)(1))
    except OnPurposeError:
        pass


def async_manager() -> None:
    with async_to_sync(held_later, loop=loop_thread)(4) as number:
        assert number == variable.get() == 4


def async_manager_that_is_left_by_an_error() -> None:
    try:
        with async_to_sync(held_later, loop=loop_thread)(5):
            raise OnPurposeError(5)
    except OnPurposeError:
        pass


def in_a_single_thread_context() -> None:
    @async_to_sync
    async def thread() -> int:
        return threading.get_ident()

    with AsyncSingleThreadContext():
        assert thread() == thread() != threading.get_ident()


def sandwich_below_a_thread() -> None:
    assert to_sync_to_async(6) == 6


def deep_sandwich() -> None:
    assert deep(2) == 1


def calls_of_several_tasks() -> None:
    @async_to_sync
    async def gathered() -> list[int]:
        return await asyncio.gather(*(sensitive(number) for number in range(5)))

    assert gathered() == list(range(5))


def on_a_loop_that_this_thread_runs() -> None:
    """As a program does that knows nothing of the bridges above it."""
    assert asyncio.run(anywhere(1)) == 1


FROM_THREADS: list[Callable[[], None]] = [
    call,
    call_that_waits,
    call_of_a_new_sync_wrapper,
    call_on_a_loop_thread,
    call_on_a_new_loop,
    call_that_sets_variables_later,
    call_that_fails_later,
    call_on_a_loop_thread_that_fails,
    call_while_an_error_is_handled_here,
    call_that_runs_into_a_time_limit,
    call_that_is_cancelled,
    call_that_leaves_a_task_behind,
    call_that_leaves_a_generator_behind,
    async_generator,
    async_generator_on_a_loop_thread,
    async_generator_left_early,
    async_generator_that_fails,
    async_manager,
    async_manager_that_is_left_by_an_error,
    in_a_single_thread_context,
    sandwich_below_a_thread,
    deep_sandwich,
    calls_of_several_tasks,
    on_a_loop_that_this_thread_runs,
]
# Of ten calls, so many are of the simple kinds, that programs make most.
SIMPLE = 6


def kinds(chance: random.Random, simple: list[Any], every: list[Any]) -> Iterator[Any]:
    """Every kind again and again, among many calls of the simple ones."""
    for kind in itertools.cycle(every):
        yield kind
        for _ in range(chance.randrange(2 * SIMPLE // (10 - SIMPLE) + 1)):
            yield chance.choice(simple)


# The long run.


@dataclass(frozen=True)
class Figures:
    """The process at rest."""

    threads: int
    tasks: int
    files: int
    rss_kib: int


@dataclass
class Outcome:
    """``wrong`` is empty when all is well."""

    figures: dict[str, Figures] = field(default_factory=dict)
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)


def at_rest() -> bool:
    """Whether no call is under way. Sends away the threads that are idle, for they would be counted."""
    for each in list(workers._POOLS):
        each.release_threads()
    alive = {each: each.stats().threads for each in list(workers._POOLS)}
    # The shared thread of thread-sensitive calls is leased for good.
    return alive.pop(strand.leases) <= 1 and not any(alive.values())


async def settle() -> None:
    """Wait for that, or for a while."""
    await sensitive(0)  # and so the shared thread has done with all calls before
    deadline = time.monotonic() + SETTLE_SECONDS
    # Threads that have been abandoned, or are on their way out, cannot tell us.
    while not (at_rest() and len(asyncio.all_tasks()) == 1) and time.monotonic() < deadline:
        await asyncio.sleep(0.001)


async def settled() -> Figures:
    await settle()
    gc.collect()
    memory = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return Figures(
        threads=threading.active_count(),
        tasks=len(asyncio.all_tasks()),
        files=len(os.listdir("/proc/self/fd")),
        rss_kib=int(memory["VmRSS"].split()[0]),
    )


class Soak:
    """Calls in both directions at the same time. The threads that live on keep their loops."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._living_on = ThreadPoolExecutor(THREADS // 2, thread_name_prefix="lives-on")
        self._mutex = threading.Lock()
        self._errors: list[BaseException] = []

    def close(self) -> None:
        self._living_on.shutdown()

    async def run(self, calls: int) -> None:
        """So many calls each way, and raise what has failed."""
        loop = asyncio.get_running_loop()
        numbers = iter(range(calls))
        from_async = kinds(self._chance, FROM_ASYNC[:4], FROM_ASYNC)
        from_threads = kinds(random.Random(self._chance.random()), FROM_THREADS[:4], FROM_THREADS)

        def next_kinds(count: int) -> list[Callable[[], None]]:
            with self._mutex:
                return [next(from_threads) for _ in range(count)]

        def many(count: int) -> None:
            while count > 0:
                for kind in next_kinds(min(count, CALLS_OF_A_THREAD)):
                    kind()
                count -= CALLS_OF_A_THREAD

        def many_on_new_threads(count: int) -> None:
            while count > 0:
                some = min(count, CALLS_OF_A_THREAD)
                thread = threading.Thread(target=self._noting_errors, args=(many, some))
                thread.start()
                thread.join()
                count -= CALLS_OF_A_THREAD

        async def task() -> None:
            for _ in numbers:
                await next(from_async)()

        share = calls // THREADS + 1
        threads = [loop.run_in_executor(self._living_on, many, share) for _ in range(THREADS // 2)]
        starters = ThreadPoolExecutor(THREADS // 2)
        threads += [loop.run_in_executor(starters, many_on_new_threads, share) for _ in range(THREADS // 2)]
        await asyncio.gather(*(task() for _ in range(TASKS)), *threads)
        starters.shutdown()
        if self._errors:
            raise self._errors[0]

    def _noting_errors(self, function: Callable[..., None], *args: Any) -> None:
        try:
            function(*args)
        except BaseException as error:
            self._errors.append(error)


async def _soak(calls: int, seed: int, outcome: Outcome) -> None:
    running = Soak(seed)
    try:
        await running.run(max(2_000, calls // 20))  # warms up
        outcome.figures["start"] = await settled()
        await running.run(calls // 4)
        outcome.figures["quarter"] = await settled()
        await running.run(calls // 4)
        outcome.figures["half"] = await settled()
        await running.run(calls // 2)
        outcome.figures["end"] = await settled()
    finally:
        running.close()


def soak(calls: int, *, seed: int = 1, loop_factory: Any = None, growth_kib: int = GROWTH_KIB) -> Outcome:
    """*calls* each way, and whether anything has grown meanwhile."""
    outcome = Outcome()
    begun = time.perf_counter()
    set_loop_factory(loop_factory)
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(_soak(calls, seed, outcome))
    finally:
        set_loop_factory(None)
    outcome.seconds = time.perf_counter() - begun
    start, quarter, end = (outcome.figures[when] for when in ("start", "quarter", "end"))
    for what in ("threads", "tasks", "files"):
        if getattr(end, what) > getattr(start, what):
            outcome.wrong.append(f"{getattr(end, what)} {what}, {getattr(start, what)} at the start")
    if end.rss_kib - quarter.rss_kib >= growth_kib:
        outcome.wrong.append(
            f"memory grew from {quarter.rss_kib} KiB after the first quarter to {end.rss_kib} KiB"
        )
    return outcome


# Without the garbage collector.


async def _growth(kind: Callable[[], Awaitable[None]], calls: int) -> int:
    """How many objects are more after so many calls of *kind*, with the garbage collector off."""

    async def many(count: int) -> None:
        for _ in range(count):
            await kind()

    await many(10)
    await settle()
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        await many(calls)
        await settle()
        return len(gc.get_objects()) - before
    finally:
        gc.enable()


def growth_from_async(kind: Callable[[], Awaitable[None]], calls: int) -> int:
    return asyncio.run(_growth(kind, calls))


def growth_from_thread(kind: Callable[[], None], calls: int) -> int:
    async def on_thread() -> None:
        await asyncio.get_running_loop().run_in_executor(thread, kind)

    with ThreadPoolExecutor(1) as thread:
        return asyncio.run(_growth(on_thread, calls))


def growths(calls: int) -> Iterator[tuple[str, int]]:
    """The growth by each kind, as it is found out."""
    for kind in FROM_ASYNC:
        yield kind.__name__, growth_from_async(kind, calls)
    for kind in FROM_THREADS:
        yield kind.__name__, growth_from_thread(kind, calls)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.bridges")
    parser.add_argument("--calls", type=int, default=1_000_000, help="each way")
    parser.add_argument("--uvloop", action="store_true", help="its loops instead of those of asyncio")
    options = parser.parse_args()
    loop_factory = None
    if options.uvloop:
        import uvloop

        loop_factory = uvloop.new_event_loop
    outcome = soak(options.calls, loop_factory=loop_factory)
    print(f"{options.calls} calls each way in {outcome.seconds:.0f} seconds, besides those to warm up")
    print(" " * 10, *(f"{each.name:>10}" for each in fields(Figures)))
    for when, figures in outcome.figures.items():
        print(f"  {when:8}", *(f"{figure:10}" for figure in astuple(figures)))
    failed = bool(outcome.wrong)
    for text in outcome.wrong:
        print(f"  WRONG: {text}")
    begun = time.perf_counter()
    print(f"Objects left by {REFERENCE_CALLS} calls of each kind, without the garbage collector")
    for name, growth in growths(REFERENCE_CALLS):
        failed |= growth > GROWTH_OBJECTS
        print(f"  {name:50} {growth:8}{'  WRONG' if growth > GROWTH_OBJECTS else ''}", flush=True)
    print(f"in {time.perf_counter() - begun:.0f} seconds")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
