"""Which thread a sensitive call runs on, and which loop an async call."""

import asyncio
import functools
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack
from contextvars import Context, copy_context
from typing import Any

import pytest
import trio

from asgiadapt import (
    AsyncSingleThreadContext,
    DeadlockError,
    Local,
    LoopThread,
    ThreadSensitiveContext,
    async_to_sync,
    sync_to_async,
)
from tests.bridges import ON_LOOP, Bridge

here = threading.get_ident
sensitive = sync_to_async(here)
anywhere = sync_to_async(here, thread_sensitive=False)


class Refused(Exception):
    """What functions of these tests raise."""


async def loop_and_thread() -> tuple[asyncio.AbstractEventLoop, int]:
    return asyncio.get_running_loop(), here()


async def current_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def on_new_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """What *function* gives on a thread of its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *arguments).result()


def on_main_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    assert threading.current_thread() is threading.main_thread()
    return function(*arguments)


@pytest.fixture(params=ON_LOOP.values(), ids=ON_LOOP)
def on_loop(request: pytest.FixtureRequest) -> Iterator[Bridge]:
    with request.param() as bridge:
        yield bridge


on_each_kind_of_thread = pytest.mark.parametrize(
    "on_outermost",
    [pytest.param(on_main_thread, id="main thread"), pytest.param(on_new_thread, id="new thread")],
)


# Where the outermost code is async.


async def test_sensitive_calls_share_one_thread() -> None:
    """It is not that of the loop."""
    threads = {await sensitive() for _ in range(3)}
    threads |= set(await asyncio.gather(*(sensitive() for _ in range(10))))
    threads.add(await asyncio.create_task(sensitive()))
    assert len(threads) == 1
    assert here() not in threads


async def test_sensitive_calls_run_one_after_the_other() -> None:
    """In the order in which they were awaited."""
    steps: list[tuple[str, int]] = []

    def call(number: int) -> None:
        steps.append(("begins", number))
        steps.append(("ends", number))

    await asyncio.gather(*(sync_to_async(call)(number) for number in range(50)))
    assert steps == [(step, number) for number in range(50) for step in ("begins", "ends")]


def test_all_loops_share_the_sensitive_thread() -> None:
    """One after the other, and in two threads at the same time."""
    threads = {asyncio.run(sensitive()) for _ in range(2)}
    both = threading.Barrier(2)

    async def main() -> int:
        both.wait(20)
        return await sensitive()

    with ThreadPoolExecutor(2) as pool:
        threads |= set(pool.map(lambda _: asyncio.run(main()), range(2)))
    assert len(threads) == 1


async def test_other_calls_run_at_the_same_time() -> None:
    """Beside each other, and beside the sensitive ones."""
    both = threading.Barrier(6)
    waits = functools.partial(both.wait, 20)
    calls = [sync_to_async(waits, thread_sensitive=False)() for _ in range(5)]
    assert sorted(await asyncio.gather(*calls, sync_to_async(waits)())) == list(range(6))


async def test_no_call_runs_on_the_thread_of_the_loop() -> None:
    """Of either kind, and on an executor neither."""
    with ThreadPoolExecutor(1) as executor:
        on_executor = sync_to_async(here, thread_sensitive=False, executor=executor)
        assert here() not in {await sensitive(), await anywhere(), await on_executor()}


# Where the outermost code is sync.


@on_each_kind_of_thread
def test_sensitive_calls_run_on_the_calling_thread(on_outermost: Callable[..., Any]) -> None:
    """It waits anyway."""

    async def main() -> tuple[int, int]:
        return await sensitive(), await anywhere()

    def outermost() -> None:
        on_sensitive, on_any = async_to_sync(main)()
        assert on_sensitive == here() != on_any

    on_outermost(outermost)


def test_each_calling_thread_runs_its_own_sensitive_calls(on_loop: Bridge) -> None:
    """Two that wait at the same time, on the same loop or on two."""
    both = threading.Barrier(2)

    def call() -> int:
        both.wait(20)
        return here()

    def outermost(_: int) -> bool:
        return on_loop(sync_to_async(call))() == here()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(outermost, range(2))) == [True, True]


def test_sensitive_calls_run_on_the_calling_thread_of_every_loop(on_loop: Bridge) -> None:
    """Wherever the async code runs, and from the tasks that it starts."""

    async def main() -> list[int]:
        return [await sensitive(), await asyncio.create_task(sensitive())]

    assert on_loop(main)() == [here(), here()]


@pytest.mark.parametrize("force_new_loop", [False, True])
def test_a_task_with_a_context_of_its_own_finds_the_calling_thread(force_new_loop: bool) -> None:
    """The loop runs for that thread alone."""

    async def main() -> int:
        return await asyncio.get_running_loop().create_task(sensitive(), context=Context())

    assert async_to_sync(main, force_new_loop=force_new_loop)() == here()


def test_sensitive_calls_on_the_calling_thread_run_one_after_the_other() -> None:
    """In the order in which they were awaited."""
    steps: list[tuple[str, int]] = []

    def call(number: int) -> None:
        steps.append(("begins", number))
        steps.append(("ends", number))

    async def main() -> None:
        await asyncio.gather(*(sync_to_async(call)(number) for number in range(50)))

    async_to_sync(main)()
    assert steps == [(step, number) for number in range(50) for step in ("begins", "ends")]


def test_the_loop_goes_on_while_the_calling_thread_is_busy() -> None:
    """A sync call that waits for async code finds that it makes progress."""
    done = threading.Event()

    async def main() -> bool:
        async def sets() -> None:
            await asyncio.sleep(0)
            done.set()

        waiting = asyncio.create_task(sync_to_async(done.wait)(20))
        await asyncio.sleep(0)
        await sets()
        return await waiting

    assert async_to_sync(main)() is True


# There and back, through everything that starts or shields a task.


async def awaited(coroutine: Any) -> Any:
    return await coroutine


async def in_task_group(coroutine: Any) -> Any:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(coroutine)
    return task.result()


async def in_timeout(coroutine: Any) -> Any:
    async with asyncio.timeout(60):
        return await coroutine


async def in_wait(coroutine: Any) -> Any:
    (task,), _ = await asyncio.wait([asyncio.ensure_future(coroutine)])
    return task.result()


async def in_gather(coroutine: Any) -> Any:
    (result,) = await asyncio.gather(coroutine)
    return result


async def in_as_completed(coroutine: Any) -> Any:
    (task,) = asyncio.as_completed([coroutine])
    return await task


async def in_callback(coroutine: Any) -> Any:
    loop = asyncio.get_running_loop()
    started: asyncio.Future[asyncio.Task[Any]] = loop.create_future()
    loop.call_soon(lambda: started.set_result(loop.create_task(coroutine)))
    return await (await started)


async def in_wait_for(coroutine: Any) -> Any:
    return await asyncio.wait_for(coroutine, 60)


async def in_async_generator(coroutine: Any) -> Any:
    async def results() -> Any:
        yield await coroutine

    return await anext(results())


COMBINATORS: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "await": awaited,
    "gather": in_gather,
    "create_task": asyncio.ensure_future,
    "TaskGroup": in_task_group,
    "wait_for": in_wait_for,
    "shield": asyncio.shield,
    "timeout": in_timeout,
    "wait": in_wait,
    "as_completed": in_as_completed,
    "callback": in_callback,
    "async generator": in_async_generator,
}
through_each = pytest.mark.parametrize("through", COMBINATORS.values(), ids=COMBINATORS)
at_each_depth = pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])


class Nesting:
    """Sync and async levels in turn, *depth* of each; notes where they ran."""

    def __init__(self, *through: Callable[[Any], Awaitable[Any]], width: int = 1, **options: Any) -> None:
        self.through = through
        self.width = width
        self.options = options  # of sync_to_async
        self.force_new_loop = False
        self.threads: list[int] = []
        self.loops: list[asyncio.AbstractEventLoop] = []

    def sync_level(self, depth: int) -> int:
        self.threads.append(here())
        if depth == 1:
            return 1
        return async_to_sync(self.async_level, force_new_loop=self.force_new_loop)(depth - 1)

    async def async_level(self, depth: int) -> int:
        self.loops.append(asyncio.get_running_loop())
        through = self.through[depth % len(self.through)]
        below = [through(sync_to_async(self.sync_level, **self.options)(depth)) for _ in range(self.width)]
        return sum(await asyncio.gather(*below))


@through_each
@at_each_depth
@on_each_kind_of_thread
def test_sensitive_calls_come_back_to_the_outermost_thread(
    on_outermost: Callable[..., Any], through: Callable[[Any], Awaitable[Any]], depth: int
) -> None:
    """At every depth, through whatever lies between; all async code runs on one loop."""
    nesting = Nesting(through)

    def outermost() -> None:
        assert async_to_sync(nesting.async_level)(depth) == 1
        assert nesting.threads == [here()] * depth

    on_outermost(outermost)
    assert len(nesting.loops) == depth
    assert len(set(nesting.loops)) == 1


@through_each
@at_each_depth
async def test_sensitive_calls_come_back_to_the_sensitive_thread(
    through: Callable[[Any], Awaitable[Any]], depth: int
) -> None:
    """Where the outermost code is async; all async code runs on its loop."""
    nesting = Nesting(through)
    assert await nesting.async_level(depth) == 1
    assert nesting.threads == [await sensitive()] * depth
    assert nesting.loops == [asyncio.get_running_loop()] * depth


@through_each
@at_each_depth
async def test_sensitive_calls_come_back_to_the_thread_of_their_block(
    through: Callable[[Any], Awaitable[Any]], depth: int
) -> None:
    """Where the outermost code is async, within a sensitive context."""
    nesting = Nesting(through)
    async with ThreadSensitiveContext():
        assert await nesting.async_level(depth) == 1
        assert nesting.threads == [await sensitive()] * depth
    assert nesting.loops == [asyncio.get_running_loop()] * depth


@at_each_depth
def test_sensitive_calls_come_back_from_every_loop(on_loop: Bridge, depth: int) -> None:
    """Wherever the async code runs; all of it runs on one loop."""
    nesting = Nesting(asyncio.ensure_future)
    assert on_loop(nesting.async_level)(depth) == 1
    assert nesting.threads == [here()] * depth
    assert len(set(nesting.loops)) == 1


@through_each
@at_each_depth
def test_sensitive_calls_come_back_from_a_new_loop_at_each_depth(
    through: Callable[[Any], Awaitable[Any]], depth: int
) -> None:
    """To the outermost thread, from loops of which no two are the same."""
    nesting = Nesting(through)
    nesting.force_new_loop = True
    assert async_to_sync(nesting.async_level, force_new_loop=True)(depth) == 1
    assert nesting.threads == [here()] * depth
    assert len(set(nesting.loops)) == depth


@through_each
@at_each_depth
async def test_sensitive_calls_come_back_to_the_sensitive_thread_from_new_loops(
    through: Callable[[Any], Awaitable[Any]], depth: int
) -> None:
    """Where the outermost code is async."""
    nesting = Nesting(through)
    nesting.force_new_loop = True
    assert await nesting.async_level(depth) == 1
    assert nesting.threads == [await sensitive()] * depth
    assert len(set(nesting.loops)) == depth


@at_each_depth
async def test_a_given_context_makes_no_difference_to_the_sensitive_thread(depth: int) -> None:
    """Calls below it come back all the same."""
    nesting = Nesting(awaited)

    async def runs_in_contexts(coroutine: Any) -> Any:
        nesting.options["context"] = Context()
        return await coroutine

    nesting.through = (runs_in_contexts,)
    nesting.options["context"] = Context()
    assert await nesting.async_level(depth) == 1
    assert nesting.threads == [await sensitive()] * depth
    assert nesting.loops == [asyncio.get_running_loop()] * depth


@at_each_depth
def test_a_given_context_makes_no_difference_to_the_calling_thread(depth: int) -> None:
    """Calls below it come back all the same."""
    nesting = Nesting(awaited)

    async def runs_in_contexts(coroutine: Any) -> Any:
        nesting.options["context"] = Context()
        return await coroutine

    nesting.through = (runs_in_contexts,)
    nesting.options["context"] = Context()
    assert async_to_sync(nesting.async_level)(depth) == 1
    assert nesting.threads == [here()] * depth


@on_each_kind_of_thread
def test_sensitive_calls_come_back_through_one_of_each(on_outermost: Callable[..., Any]) -> None:
    """A different one at each depth."""
    nesting = Nesting(*COMBINATORS.values())

    def outermost() -> None:
        assert async_to_sync(nesting.async_level)(len(COMBINATORS)) == 1
        assert nesting.threads == [here()] * len(COMBINATORS)

    on_outermost(outermost)


@on_each_kind_of_thread
def test_a_tree_of_sensitive_calls_runs_on_the_outermost_thread(on_outermost: Callable[..., Any]) -> None:
    """Three at a time, each with three below it."""
    nesting = Nesting(asyncio.ensure_future, width=3)

    def outermost() -> None:
        assert async_to_sync(nesting.async_level)(4) == 3**4
        assert nesting.threads == [here()] * (3 + 9 + 27 + 81)

    on_outermost(outermost)


async def test_a_tree_of_sensitive_calls_runs_on_the_sensitive_thread() -> None:
    """Where the outermost code is async."""
    nesting = Nesting(asyncio.ensure_future, width=3)
    assert await nesting.async_level(4) == 3**4
    assert nesting.threads == [await sensitive()] * (3 + 9 + 27 + 81)


@through_each
def test_an_error_comes_up_from_the_depth(through: Callable[[Any], Awaitable[Any]]) -> None:
    """And the outermost thread is free again."""
    error = Refused("no")

    def sync_level(depth: int) -> None:
        if depth == 1:
            raise error
        async_to_sync(async_level)(depth - 1)

    async def async_level(depth: int) -> None:
        await through(sync_to_async(sync_level)(depth))

    with pytest.raises((Refused, ExceptionGroup)) as caught:
        async_to_sync(async_level)(4)
    found: BaseException = caught.value
    while isinstance(found, ExceptionGroup):
        (found,) = found.exceptions
    assert found is error
    assert async_to_sync(sensitive)() == here()


def test_a_sensitive_call_that_waits_is_not_interrupted_by_its_siblings() -> None:
    """Only what it waits for itself runs on its thread in the meantime."""
    steps: list[str] = []

    async def lets_others_go_first() -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        await sync_to_async(steps.append)("below the first")

    def first() -> None:
        steps.append("first begins")
        async_to_sync(lets_others_go_first)()
        steps.append("first ends")

    async def main() -> None:
        await asyncio.gather(sync_to_async(first)(), sync_to_async(steps.append)("second"))

    async_to_sync(main)()
    assert steps == ["first begins", "below the first", "first ends", "second"]


def test_a_call_on_any_thread_brings_sensitive_calls_back_to_the_outermost_one() -> None:
    """The outermost thread waits, too."""

    def below() -> tuple[int, int]:
        return here(), async_to_sync(sensitive)()

    async def main() -> tuple[int, int]:
        return await sync_to_async(below, thread_sensitive=False)()

    thread_below, thread_of_sensitive = async_to_sync(main)()
    assert thread_of_sensitive == here() != thread_below


async def test_a_task_that_outlives_the_waiting_call_goes_on() -> None:
    """Its sensitive calls run on the sensitive thread, now that nobody waits for them."""
    may_go_on = asyncio.Event()
    outliving: list[asyncio.Task[int]] = []

    async def goes_on() -> int:
        await may_go_on.wait()
        return await sensitive()

    async def starts() -> None:
        outliving.append(asyncio.create_task(goes_on()))

    def waits() -> None:
        async_to_sync(starts)()

    await sync_to_async(waits, thread_sensitive=False)()
    may_go_on.set()
    assert await outliving[0] == await sensitive()


async def test_a_thread_of_somebody_else_is_the_outermost_for_what_it_calls() -> None:
    """Asyncio's own threads, for one, also within a block, and although they copy the context."""

    def outermost() -> tuple[int, int]:
        return here(), async_to_sync(sensitive)()

    thread, thread_of_sensitive = await asyncio.to_thread(outermost)
    assert thread == thread_of_sensitive
    async with ThreadSensitiveContext():
        thread, thread_of_sensitive = await asyncio.to_thread(outermost)
        assert thread == thread_of_sensitive != await sensitive()


def test_a_context_that_outlives_the_waiting_call_does_not_lead_back_to_it() -> None:
    """The thread has gone on, and runs nobody's calls."""

    async def copies() -> Context:
        await sensitive()
        return copy_context()

    copied = async_to_sync(copies)()
    thread = on_new_thread(copied.run, asyncio.run, sensitive())
    assert thread == asyncio.run(sensitive()) != here()


def test_a_task_on_a_loop_that_stays_outlives_the_waiting_call() -> None:
    """Its sensitive calls run on the sensitive thread, now that nobody waits for them."""
    started: list[asyncio.Task[int]] = []

    async def goes_on(may_go_on: asyncio.Event) -> int:
        await may_go_on.wait()
        return await sensitive()

    async def starts() -> asyncio.Event:
        may_go_on = asyncio.Event()
        started.append(asyncio.create_task(goes_on(may_go_on)))
        await sensitive()
        return may_go_on

    async def lets_it(may_go_on: asyncio.Event) -> int:
        may_go_on.set()
        return await started[0]

    with LoopThread() as loop:
        may_go_on = async_to_sync(starts, loop=loop)()
        finished = async_to_sync(lets_it, loop=loop)(may_go_on)
    assert finished == asyncio.run(sensitive()) != here()


# Which loop.


async def test_async_code_runs_on_the_loop_that_its_thread_was_called_from() -> None:
    """On its thread, whichever kind of call lies between."""
    expected = (asyncio.get_running_loop(), here())
    calls = async_to_sync(loop_and_thread)
    assert await sync_to_async(calls)() == expected
    assert await sync_to_async(calls, thread_sensitive=False)() == expected
    with ThreadPoolExecutor(1) as executor:
        assert await sync_to_async(calls, thread_sensitive=False, executor=executor)() == expected


async def test_async_code_has_a_new_loop_where_that_is_wanted() -> None:
    """The one above goes on, and sensitive calls run on the thread that waits."""
    passed = asyncio.Event()

    async def below() -> tuple[asyncio.AbstractEventLoop, int]:
        outer.call_soon_threadsafe(passed.set)
        return asyncio.get_running_loop(), await sensitive()

    def calls() -> tuple[asyncio.AbstractEventLoop, int, int]:
        return *async_to_sync(below, force_new_loop=True)(), here()

    outer = asyncio.get_running_loop()
    call = asyncio.create_task(sync_to_async(calls)())
    await passed.wait()
    loop, thread_of_sensitive, thread_of_caller = await call
    assert loop is not outer
    assert thread_of_sensitive == thread_of_caller


def test_a_new_loop_is_closed_after_its_call() -> None:
    """Each call has another."""
    wrapped = async_to_sync(current_loop, force_new_loop=True)
    first, second = wrapped(), wrapped()
    assert first is not second
    assert first.is_closed()
    assert second.is_closed()


async def test_a_thread_of_somebody_else_does_not_know_the_loop_above() -> None:
    """Only a thread that was called from the loop does."""
    calls = async_to_sync(current_loop)
    assert await asyncio.to_thread(calls) is not asyncio.get_running_loop()
    assert await sync_to_async(on_new_thread)(calls) is not asyncio.get_running_loop()


async def test_a_thread_forgets_the_loop_above_when_its_call_ends() -> None:
    """What it does later has nothing to do with that loop."""
    with ThreadPoolExecutor(1) as executor:
        calls = async_to_sync(current_loop)
        on_executor = sync_to_async(calls, thread_sensitive=False, executor=executor)
        assert await on_executor() is asyncio.get_running_loop()
        later = await asyncio.wrap_future(executor.submit(calls))
        assert later is not asyncio.get_running_loop()


def test_a_loop_that_has_ended_is_not_called_for() -> None:
    """The thread that it called has outlived it."""
    loops: list[asyncio.AbstractEventLoop] = []

    async def main(executor: ThreadPoolExecutor) -> None:
        on_executor = sync_to_async(async_to_sync(current_loop), thread_sensitive=False, executor=executor)
        loops.append(await on_executor())

    with ThreadPoolExecutor(1) as executor:
        asyncio.run(main(executor))
        loops.append(executor.submit(async_to_sync(current_loop)).result())
    assert loops[0] is not loops[1]


# Calls that would wait for themselves.


async def refuses_sensitive_calls() -> int:
    """Await calls of both kinds; the sensitive one is refused."""
    with pytest.raises(DeadlockError, match="thread") as caught:
        await sensitive()
    assert isinstance(caught.value, RuntimeError)
    return await anywhere()


def runs_a_loop() -> tuple[int, int]:
    return here(), asyncio.run(refuses_sensitive_calls())


async def test_a_loop_on_the_sensitive_thread_cannot_await_sensitive_calls() -> None:
    """The thread runs the loop; calls that may run anywhere are served."""
    thread, other = await sync_to_async(runs_a_loop)()
    assert thread == await sensitive() != other


def test_a_loop_on_the_calling_thread_cannot_await_sensitive_calls() -> None:
    """The thread runs the loop; calls that may run anywhere are served."""
    thread, other = async_to_sync(sync_to_async(runs_a_loop))()
    assert thread == here() != other


async def test_a_loop_on_the_thread_of_a_block_cannot_await_sensitive_calls() -> None:
    """The thread runs the loop; calls that may run anywhere are served."""
    async with ThreadSensitiveContext():
        thread, other = await sync_to_async(runs_a_loop)()
        assert thread == await sensitive() != other


async def test_a_loop_on_the_sensitive_thread_may_have_a_block_with_a_thread_of_its_own() -> None:
    """Which is the way out."""

    async def main() -> int:
        async with ThreadSensitiveContext():
            return await sensitive()

    def runs() -> tuple[int, int]:
        return here(), asyncio.run(main())

    thread, other = await sync_to_async(runs)()
    assert thread != other


async def test_after_an_error_sensitive_calls_are_served() -> None:
    """In its handler, and after it."""

    def raises() -> None:
        raise Refused

    threads = []
    for _ in range(3):
        try:
            await sync_to_async(raises)()
        except Refused:
            threads.append(await sensitive())
        threads.append(await sensitive())
    assert len(set(threads)) == 1


async def test_a_sensitive_call_may_start_another_without_waiting_for_it() -> None:
    """It is served when the thread is free."""
    loop = asyncio.get_running_loop()

    def starts() -> "tuple[int, Future[int]]":
        return here(), asyncio.run_coroutine_threadsafe(sensitive(), loop)

    thread, started = await sync_to_async(starts)()
    assert await asyncio.wrap_future(started) == thread


async def test_tasks_started_while_the_sensitive_thread_is_busy_are_served() -> None:
    """They wait their turn, at whatever depth they were started."""

    def below() -> list[int]:
        return async_to_sync(in_gather)(gathers())

    async def gathers() -> list[int]:
        return await asyncio.gather(*(asyncio.create_task(sensitive()) for _ in range(5)))

    results = await asyncio.gather(*(sync_to_async(below)() for _ in range(20)), gathers())
    assert {thread for threads in results for thread in threads} == {await sensitive()}


# ThreadSensitiveContext.


async def test_a_block_has_a_thread_of_its_own() -> None:
    """For all of its sensitive calls, and for no other."""
    async with ThreadSensitiveContext():
        threads = {await sensitive(), await sensitive(), *await asyncio.gather(sensitive(), sensitive())}
        assert len(threads) == 1
    assert here() not in threads
    assert await sensitive() not in threads


async def test_a_block_gives_itself() -> None:
    """To the name after ``as``."""
    context = ThreadSensitiveContext()
    async with context as entered:
        assert entered is context


async def test_a_block_within_a_block_uses_the_same_thread() -> None:
    """Also after the inner one has ended."""
    async with ThreadSensitiveContext():
        outer = await sensitive()
        async with ThreadSensitiveContext():
            assert await sensitive() == outer
        assert await sensitive() == outer


async def test_blocks_at_the_same_time_have_different_threads() -> None:
    """Their calls run beside each other."""
    both = threading.Barrier(2)

    def meets() -> int:
        both.wait(20)
        return here()

    async def block() -> int:
        async with ThreadSensitiveContext():
            return await sync_to_async(meets)()

    first, second = await asyncio.gather(block(), block())
    assert first != second


async def test_a_block_is_left_with_its_error() -> None:
    """Calls after it run on the sensitive thread again."""
    shared = await sensitive()
    with pytest.raises(Refused):
        async with ThreadSensitiveContext():
            await sensitive()
            raise Refused
    assert await sensitive() == shared


async def test_a_block_may_do_without_sync_calls() -> None:
    """Then there is nothing to end."""
    async with ThreadSensitiveContext():
        await asyncio.sleep(0)


async def test_a_block_does_not_bind_calls_that_may_run_anywhere() -> None:
    """They run beside its sensitive one."""
    both = threading.Barrier(3)
    waits = functools.partial(both.wait, 20)
    async with ThreadSensitiveContext():
        await asyncio.gather(
            sync_to_async(waits)(),
            sync_to_async(waits, thread_sensitive=False)(),
            sync_to_async(waits, thread_sensitive=False)(),
        )


async def test_many_blocks_one_after_the_other() -> None:
    """Each keeps to one thread."""
    for _ in range(50):
        async with ThreadSensitiveContext():
            assert await sensitive() == await sensitive()


@on_each_kind_of_thread
def test_the_outermost_thread_comes_before_that_of_a_block(on_outermost: Callable[..., Any]) -> None:
    """It waits, and is the one that sensitive code knows."""

    async def main() -> int:
        async with ThreadSensitiveContext():
            return await sensitive()

    def outermost() -> tuple[int, int]:
        return here(), async_to_sync(main)()

    thread, thread_in_block = on_outermost(outermost)
    assert thread_in_block == thread


async def test_the_loop_goes_on_while_a_block_ends() -> None:
    """Although a call on its thread still waits for that loop."""
    entered, may_call_back = threading.Event(), threading.Event()

    def calls_back() -> str:
        entered.set()
        may_call_back.wait(20)
        return async_to_sync(asyncio.sleep)(0, "called back")

    async with ThreadSensitiveContext():
        task = asyncio.create_task(sync_to_async(calls_back)())
        await asyncio.to_thread(entered.wait, 20)
        asyncio.get_running_loop().call_soon(may_call_back.set)
    assert await task == "called back"


# ThreadSensitiveContext with an executor.


async def test_a_block_uses_the_thread_of_its_executor() -> None:
    """Within another block too; after it the parent's thread is used again."""
    with ThreadPoolExecutor(1) as worker:
        thread_of_worker = worker.submit(here).result()
        async with ThreadSensitiveContext():
            parent = await sensitive()
            async with ThreadSensitiveContext(executor=worker):
                assert await sensitive() == thread_of_worker
                assert await sensitive() == thread_of_worker
            assert await sensitive() == parent != thread_of_worker
        async with ThreadSensitiveContext(executor=worker):
            assert await sensitive() == thread_of_worker
        assert await sensitive() != thread_of_worker


@on_each_kind_of_thread
def test_the_executor_of_a_block_comes_before_the_outermost_thread(on_outermost: Callable[..., Any]) -> None:
    """Which is used again after the block."""

    def outermost() -> None:
        with ThreadPoolExecutor(1) as worker:

            async def main() -> list[int]:
                threads = [await sensitive()]
                async with ThreadSensitiveContext(executor=worker):
                    threads.append(await sensitive())
                threads.append(await sensitive())
                return threads

            assert async_to_sync(main)() == [here(), worker.submit(here).result(), here()]

    on_outermost(outermost)


async def test_a_block_without_executor_within_one_uses_it() -> None:
    """It has nothing to say."""
    with ThreadPoolExecutor(1) as worker:
        async with ThreadSensitiveContext(executor=worker):
            async with ThreadSensitiveContext():
                assert await sensitive() == worker.submit(here).result()
            assert await sensitive() == worker.submit(here).result()


async def test_blocks_with_executors_within_each_other() -> None:
    """Each has its own, and gives back what was before."""
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        expected = [first.submit(here).result(), second.submit(here).result()]
        async with ThreadSensitiveContext(executor=first):
            threads = [await sensitive()]
            async with ThreadSensitiveContext(executor=second):
                threads.append(await sensitive())
            threads.append(await sensitive())
    assert threads == [*expected, expected[0]]


@through_each
@at_each_depth
async def test_nested_calls_stay_with_the_executor_of_their_block(
    through: Callable[[Any], Awaitable[Any]], depth: int
) -> None:
    """There and back, at every depth."""
    nesting = Nesting(through)
    with ThreadPoolExecutor(1) as worker:
        async with ThreadSensitiveContext(executor=worker):
            assert await nesting.async_level(depth) == 1
        assert nesting.threads == [worker.submit(here).result()] * depth
    assert nesting.loops == [asyncio.get_running_loop()] * depth


@at_each_depth
def test_nested_calls_below_a_calling_thread_stay_with_the_executor_of_their_block(depth: int) -> None:
    """There and back, at every depth."""
    nesting = Nesting(awaited)
    with ThreadPoolExecutor(1) as worker:

        async def main() -> tuple[int, int]:
            async with ThreadSensitiveContext(executor=worker):
                result = await nesting.async_level(depth)
            return result, await sensitive()

        assert async_to_sync(main)() == (1, here())
        assert nesting.threads == [worker.submit(here).result()] * depth


async def test_tasks_within_a_block_use_its_executor() -> None:
    """They inherit it."""
    with ThreadPoolExecutor(1) as worker:
        async with ThreadSensitiveContext(executor=worker):
            threads = await asyncio.gather(sensitive(), asyncio.create_task(sensitive()))
        assert set(threads) == {worker.submit(here).result()}


async def test_concurrent_tasks_with_executors_of_their_own_are_apart() -> None:
    """Each enters its own block; the task around them keeps its thread."""
    both = threading.Barrier(2)

    def meets() -> int:
        both.wait(20)
        return here()

    async def block(worker: ThreadPoolExecutor) -> list[int]:
        async with ThreadSensitiveContext(executor=worker):
            return [await sync_to_async(meets)(), await sensitive()]

    shared = await sensitive()
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        expected = [[worker.submit(here).result()] * 2 for worker in (first, second)]
        assert await asyncio.gather(block(first), block(second)) == expected
    assert await sensitive() == shared


def test_concurrent_tasks_below_a_calling_thread_are_apart() -> None:
    """Each enters its own block; the calling thread serves the rest."""
    both = threading.Barrier(3)

    def meets() -> int:
        both.wait(20)
        return here()

    async def block(worker: ThreadPoolExecutor) -> int:
        async with ThreadSensitiveContext(executor=worker):
            return await sync_to_async(meets)()

    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:

        async def main() -> list[int]:
            return await asyncio.gather(block(first), block(second), sync_to_async(meets)())

        expected = [first.submit(here).result(), second.submit(here).result(), here()]
        assert async_to_sync(main)() == expected


async def test_the_executor_of_a_block_is_left_open() -> None:
    """Whoever made it closes it, and may use it for a later block."""
    with ThreadPoolExecutor(1) as worker:
        threads = []
        for _ in range(3):
            async with ThreadSensitiveContext(executor=worker):
                threads.append(await sensitive())
            threads.append(worker.submit(here).result())
    assert len(set(threads)) == 1


async def test_the_executor_of_a_block_that_raised_is_let_go() -> None:
    """The parent's thread is used again."""
    shared = await sensitive()
    with ThreadPoolExecutor(1) as worker:
        with pytest.raises(Refused):
            async with ThreadSensitiveContext(executor=worker):
                await sensitive()
                raise Refused
        assert await sensitive() == shared
        assert worker.submit(str, "open").result() == "open"


async def test_the_executor_of_a_block_does_not_bind_calls_that_may_run_anywhere() -> None:
    """They run beside its sensitive one, on other threads."""
    both = threading.Barrier(2)

    def meets() -> int:
        both.wait(20)
        return here()

    with ThreadPoolExecutor(1) as worker:
        async with ThreadSensitiveContext(executor=worker):
            in_block, beside = await asyncio.gather(
                sync_to_async(meets)(), sync_to_async(meets, thread_sensitive=False)()
            )
        assert in_block == worker.submit(here).result() != beside


async def test_a_context_with_an_executor_cannot_be_entered_twice() -> None:
    """Neither within itself nor again; the first block is not harmed."""
    with ThreadPoolExecutor(1) as worker:
        context = ThreadSensitiveContext(executor=worker)
        async with context:
            with pytest.raises(RuntimeError, match="already entered"):
                await context.__aenter__()
            assert await sensitive() == worker.submit(here).result()
        with pytest.raises(RuntimeError, match="cannot be entered again"):
            await context.__aenter__()
        assert await sensitive() != worker.submit(here).result()


async def test_a_task_that_outlives_the_executor_of_its_block_is_told_so() -> None:
    """Its sensitive calls would run on a thread that has nothing to do with it; others are served."""
    may_go_on = asyncio.Event()

    async def outlives() -> int:
        await may_go_on.wait()
        with pytest.raises(RuntimeError, match="ThreadSensitiveContext has exited"):
            await sensitive()
        return await anywhere()

    with ThreadPoolExecutor(1) as worker:
        async with ThreadSensitiveContext(executor=worker):
            task = asyncio.create_task(outlives())
            await sensitive()
        may_go_on.set()
        assert await task != worker.submit(here).result()
    await sensitive()


async def test_a_task_that_outlives_a_block_is_served() -> None:
    """On the sensitive thread, since that of the block has been given back."""
    may_go_on = asyncio.Event()

    async def outlives() -> int:
        await may_go_on.wait()
        return await sensitive()

    async with ThreadSensitiveContext():
        task = asyncio.create_task(outlives())
        await sensitive()
    may_go_on.set()
    assert await task == await sensitive()


async def test_a_block_whose_executor_was_shut_down_raises_what_the_executor_says() -> None:
    """Each time; calls that do not need it are served, and those after the block."""
    with ThreadPoolExecutor(1) as worker:
        pass
    async with ThreadSensitiveContext(executor=worker):
        for _ in range(2):
            with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
                await sensitive()
        assert await anywhere() != here()
    assert await sensitive() == await sensitive()


async def test_a_call_on_an_executor_that_was_shut_down_raises_what_the_executor_says() -> None:
    """Each time; other calls are served."""
    with ThreadPoolExecutor(1) as executor:
        pass
    on_executor = sync_to_async(here, thread_sensitive=False, executor=executor)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
            await on_executor()
        assert await sensitive() == await sensitive()


async def test_a_block_with_an_executor_may_be_left_in_reverse_order_of_entry() -> None:
    """As an exit stack does it."""
    shared = await sensitive()
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(ThreadSensitiveContext(executor=first))
            await stack.enter_async_context(ThreadSensitiveContext(executor=second))
            assert await sensitive() == second.submit(here).result()
        assert await sensitive() == shared


# On trio.


def test_on_trio_sensitive_calls_share_the_sensitive_thread() -> None:
    """It is the same as on asyncio."""

    async def main() -> list[int]:
        threads = [await sensitive(), await sensitive()]

        async def takes() -> None:
            threads.append(await sensitive())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(takes)
            nursery.start_soon(takes)
        assert await anywhere() not in threads
        return threads

    assert trio.run(main) == [asyncio.run(sensitive())] * 4


def test_on_trio_a_block_has_a_thread_of_its_own() -> None:
    """With an executor that one's."""

    async def main() -> None:
        shared = await sensitive()
        async with ThreadSensitiveContext():
            assert await sensitive() == await sensitive() != shared
        with ThreadPoolExecutor(1) as worker:
            async with ThreadSensitiveContext(executor=worker):
                assert await sensitive() == worker.submit(here).result()
        assert await sensitive() == shared

    trio.run(main)


@at_each_depth
def test_on_trio_sensitive_calls_come_back_to_the_sensitive_thread(depth: int) -> None:
    """At every depth; all async code runs on trio's thread."""
    threads: list[int] = []

    def sync_level(level: int) -> None:
        threads.append(here())
        if level > 1:
            async_to_sync(async_level)(level - 1)

    async def async_level(level: int) -> None:
        assert here() == thread_of_trio
        await trio.lowlevel.checkpoint()
        await sync_to_async(sync_level)(level)

    thread_of_trio = here()
    trio.run(async_level, depth)
    assert threads == [asyncio.run(sensitive())] * depth


def test_on_trio_async_code_cannot_be_called_on_the_thread_of_the_loop() -> None:
    """The error is the same as on asyncio."""

    async def main() -> None:
        with pytest.raises(DeadlockError, match="in the same thread as an async event loop"):
            async_to_sync(trio.lowlevel.checkpoint)()

    trio.run(main)


# AsyncSingleThreadContext.


def test_async_calls_within_a_single_thread_context_run_on_one_thread() -> None:
    """All of them."""
    with AsyncSingleThreadContext():
        threads = {async_to_sync(loop_and_thread)()[1] for _ in range(3)}
        threads |= copy_context().run(lambda: {async_to_sync(loop_and_thread)()[1] for _ in range(3)})
    assert len(threads) == 1


def test_a_new_loop_within_a_single_thread_context_runs_on_its_thread() -> None:
    """The option does not take the call to another."""
    with AsyncSingleThreadContext():
        threads = {async_to_sync(loop_and_thread)()[1]}
        threads |= {async_to_sync(loop_and_thread, force_new_loop=True)()[1] for _ in range(3)}
    assert len(threads) == 1


def test_a_single_thread_context_within_another_uses_the_same_thread() -> None:
    """Also after the inner one has ended."""
    with AsyncSingleThreadContext():
        threads = {async_to_sync(loop_and_thread)()[1]}
        with AsyncSingleThreadContext():
            threads.add(async_to_sync(loop_and_thread)()[1])
        threads.add(async_to_sync(loop_and_thread)()[1])
    assert len(threads) == 1


def test_a_single_thread_context_gives_itself() -> None:
    """To the name after ``as``."""
    context = AsyncSingleThreadContext()
    with context as entered:
        assert entered is context


def test_a_single_thread_context_keeps_thread_locals_of_libraries() -> None:
    """Which is what it is for."""
    local = threading.local()

    async def counts() -> int:
        local.count = getattr(local, "count", 0) + 1
        return local.count

    with AsyncSingleThreadContext():
        assert [async_to_sync(counts)() for _ in range(3)] == [1, 2, 3]


def test_sensitive_calls_within_a_single_thread_context_run_on_the_calling_thread() -> None:
    """As without it; the async code stays on its thread."""

    async def main() -> tuple[int, int]:
        before = here()
        assert await sensitive() == outermost
        return before, here()

    outermost = here()
    with AsyncSingleThreadContext():
        threads = {thread for _ in range(3) for thread in async_to_sync(main)()}
    assert len(threads) == 1


def test_a_single_thread_context_is_left_with_its_error() -> None:
    """Async calls work within it and after it."""
    with pytest.raises(Refused):
        with AsyncSingleThreadContext():
            async_to_sync(asyncio.sleep)(0)
            raise Refused
    assert async_to_sync(asyncio.sleep)(0, "after") == "after"


def test_single_thread_contexts_in_two_threads_are_apart() -> None:
    """Their async calls run beside each other."""
    both = threading.Barrier(2)

    async def meets() -> int:
        both.wait(20)
        return here()

    def outermost(_: int) -> int:
        with AsyncSingleThreadContext():
            return async_to_sync(meets)()

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(outermost, range(2))
    assert first != second


def test_a_context_copied_in_a_single_thread_context_outlives_it() -> None:
    """Calls in it are served after the block, too."""
    with AsyncSingleThreadContext():
        async_to_sync(asyncio.sleep)(0)
        copied = copy_context()
    assert copied.run(async_to_sync(asyncio.sleep), 0, "after") == "after"


async def test_a_single_thread_context_below_a_running_loop_changes_nothing() -> None:
    """The code runs on that loop."""

    def calls() -> tuple[asyncio.AbstractEventLoop, int]:
        with AsyncSingleThreadContext():
            return async_to_sync(loop_and_thread)()

    assert await sync_to_async(calls)() == (asyncio.get_running_loop(), here())


def test_values_go_along_into_a_single_thread_context() -> None:
    """There and back, as without it."""
    local = Local()
    local.x = 1

    async def doubles() -> None:
        local.x *= 2

    with AsyncSingleThreadContext():
        async_to_sync(doubles)()
        async_to_sync(doubles)()
    assert local.x == 4


# A sensitive call that waits for another one, which waits for the same thread.


async def gathered(task: Awaitable[Any]) -> None:
    await asyncio.gather(task, asyncio.sleep(0))


async def shielded(task: Awaitable[Any]) -> None:
    await asyncio.shield(task)


async def with_a_limit(task: Awaitable[Any]) -> None:
    await asyncio.wait_for(task, 30)


async def with_a_timeout(task: Awaitable[Any]) -> None:
    async with asyncio.timeout(30):
        await task


async def one_of_several(task: Any) -> None:
    await asyncio.wait([task])


async def as_completed(task: Any) -> None:
    for next_one in asyncio.as_completed([task]):
        await next_one


async def in_a_task(task: Awaitable[Any]) -> None:
    await asyncio.create_task(gathered(task))


WAYS_TO_WAIT = [gathered, shielded, with_a_limit, with_a_timeout, one_of_several, as_completed, in_a_task]


@pytest.mark.parametrize("begins", ["before", "after"])
@pytest.mark.parametrize("root", ["sync", "loop"])
@pytest.mark.parametrize("way", WAYS_TO_WAIT)
def test_a_sensitive_call_can_wait_for_a_task_of_an_outer_level(
    way: Callable[[Any], Awaitable[None]], root: str, begins: str
) -> None:
    """The thread runs what that task needs, although that is not below the call."""
    steps: list[str] = []
    threads: set[int] = set()

    async def main() -> None:
        below = asyncio.Event()

        def second() -> None:
            threads.add(here())
            steps.append("second")

        async def other() -> None:
            await below.wait()
            await sync_to_async(second)()

        task = asyncio.create_task(other())

        async def waits() -> None:
            below.set()
            if begins == "before":
                await asyncio.sleep(0)  # the other call waits for the thread by now
                await asyncio.sleep(0)
            await way(task)

        def first() -> None:
            threads.add(here())
            steps.append("first begins")
            async_to_sync(waits)()
            steps.append("first ends")

        await sync_to_async(first)()

    if root == "sync":
        async_to_sync(main)()
    else:
        asyncio.run(main())
    assert steps == ["first begins", "second", "first ends"]
    assert len(threads) == 1


def test_a_sensitive_call_with_an_empty_context_can_be_waited_for() -> None:
    """It knows nothing of the thread that waits, and that thread finds it all the same."""

    async def below() -> int:
        return await asyncio.get_running_loop().create_task(sync_to_async(here)(), context=Context())

    def first() -> tuple[int, int]:
        return here(), async_to_sync(below)()

    thread, of_the_call = asyncio.run(sync_to_async(first)())
    assert thread == of_the_call
