"""What becomes of sync code, and of the async code that it waits for, when its caller is cancelled."""

import asyncio
import gc
import logging
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, ContextVar
from functools import partial
from typing import Any

import pytest

from asgiadapt import ThreadSensitiveContext, async_to_sync, cancelled, sync_to_async
from tests.bridges import Bridge
from tests.bridges.scenarios import ALL, Gate, Log, Run, cancel, everywhere, in_order, seen, some_rounds

variable: ContextVar[str] = ContextVar("variable", default="nothing")
here = threading.get_ident


class Refused(Exception):
    """What functions of these tests raise."""


# A call that runs is waited for.


@everywhere
def test_a_call_that_runs_is_waited_for(run: Run) -> None:
    """Then the cancellation is raised, although the call has a result."""

    async def scenario(bridge: Bridge) -> None:
        gate = Gate()
        task = asyncio.create_task(bridge(gate)("result"))
        await seen(gate.entered)
        await cancel(task)
        assert not task.done()
        gate.open.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()
        assert gate.ended.is_set()

    run(scenario)


@everywhere
def test_a_call_after_a_cancelled_one_is_served(run: Run) -> None:
    """The thread is free again."""

    async def scenario(bridge: Bridge) -> None:
        gate = Gate()
        task = asyncio.create_task(bridge(gate)())
        await seen(gate.entered)
        await cancel(task)
        gate.open.set()
        assert await bridge(str)("next") == "next"
        with pytest.raises(asyncio.CancelledError):
            await task

    run(scenario)


@everywhere
def test_the_error_of_a_cancelled_call_is_kept_as_context(run: Run) -> None:
    """The cancellation is raised all the same, and nothing is logged as lost."""
    error = Refused("no")

    async def scenario(bridge: Bridge) -> None:
        gate = Gate()
        task = asyncio.create_task(bridge(gate)(error))
        await seen(gate.entered)
        await cancel(task)
        gate.open.set()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert caught.value.__context__ is error
        assert error.__traceback__ is not None

    run(scenario)


@everywhere
def test_the_message_of_a_cancellation_is_kept(run: Run) -> None:
    """It is the very exception that the task was cancelled with."""

    async def scenario(bridge: Bridge) -> None:
        gate = Gate()

        async def caller() -> None:
            with pytest.raises(asyncio.CancelledError, match="for a reason"):
                await bridge(gate)()

        task = asyncio.create_task(caller())
        await seen(gate.entered)
        task.cancel("for a reason")
        await some_rounds()
        gate.open.set()
        await task

    run(scenario)


@everywhere
def test_a_cancellation_at_the_very_end_of_a_call_is_raised(run: Run) -> None:
    """Its outcome has arrived, and the caller has not yet been woken."""

    async def scenario(bridge: Bridge) -> None:
        gate = Gate()
        task = asyncio.create_task(bridge(gate)("result"))
        await seen(gate.entered)
        gate.open.set()
        assert gate.ended.wait(20)  # the loop stands still, and so does the caller
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await bridge(str)("next") == "next"

    run(scenario)


@everywhere
def test_what_a_cancelled_call_has_set_is_brought_back(run: Run) -> None:
    """It has run to its end, as any other."""

    async def scenario(bridge: Bridge) -> None:
        gate = Gate()

        def sets() -> None:
            gate()
            variable.set("set")

        async def caller() -> str:
            with pytest.raises(asyncio.CancelledError):
                await bridge(sets)()
            return variable.get()

        task = asyncio.create_task(caller())
        await seen(gate.entered)
        await cancel(task)
        gate.open.set()
        assert await task == "set"

    run(scenario)


@everywhere
def test_the_loop_goes_on_while_a_cancelled_call_is_waited_for(run: Run) -> None:
    """Other tasks are not held up."""

    async def scenario(bridge: Bridge) -> None:
        gate = Gate()
        task = asyncio.create_task(bridge(gate)())
        await seen(gate.entered)
        await cancel(task)
        other = asyncio.create_task(asyncio.to_thread(str, "other"))
        assert await other == "other"
        assert not task.done()
        gate.open.set()
        await asyncio.wait([task])

    run(scenario)


@everywhere
def test_a_task_that_is_cancelled_many_times_hears_of_it_once(run: Run) -> None:
    """None of the cancellations makes it leave the call, and none comes later."""

    async def scenario(bridge: Bridge) -> None:
        gate = Gate()

        async def caller() -> str:
            with pytest.raises(asyncio.CancelledError):
                await bridge(gate)()
            assert gate.ended.is_set()
            await asyncio.sleep(0)
            return str(await bridge(str)("went on"))

        task = asyncio.create_task(caller())
        await seen(gate.entered)
        for _ in range(5):
            await cancel(task)
            assert not task.done()
        assert task.cancelling() == 5
        gate.open.set()
        assert await task == "went on"

    run(scenario)


def test_a_call_on_the_loop_that_ends_meanwhile_is_waited_for() -> None:
    """What asyncio.run() cancels at its end, it waits for."""
    gate = Gate()

    async def main() -> None:
        task = asyncio.create_task(sync_to_async(gate)())
        await seen(gate.entered)
        loop.call_soon(gate.open.set)
        kept.append(task)

    kept: list[asyncio.Task[Any]] = []
    with asyncio.Runner(debug=True) as runner:
        loop = runner.get_loop()
        runner.run(main())
    assert gate.ended.is_set()
    assert kept[0].cancelled()


# A call that has not begun is withdrawn.


@in_order
def test_a_call_that_has_not_begun_never_runs(run: Run) -> None:
    """The cancellation is raised at once, and those behind it move up."""
    ran: list[str] = []

    async def scenario(bridge: Bridge) -> None:
        gate = Gate()
        first = asyncio.create_task(bridge(gate)("first"))
        await seen(gate.entered)
        withdrawn = asyncio.create_task(bridge(ran.append)("withdrawn"))
        last = asyncio.create_task(bridge(ran.append)("last"))
        await some_rounds()
        withdrawn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await withdrawn
        assert not first.done()
        gate.open.set()
        assert await first == "first"
        await last

    run(scenario)
    assert ran == ["last"]


@in_order
def test_what_a_withdrawn_call_was_given_is_let_go_of(run: Run) -> None:
    """Not only when its turn would have come."""

    class Argument:
        pass

    async def scenario(bridge: Bridge) -> None:
        gate = Gate()
        first = asyncio.create_task(bridge(gate)())
        await seen(gate.entered)
        argument = Argument()
        withdrawn = asyncio.create_task(bridge(id)(argument))
        await some_rounds()
        withdrawn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await withdrawn
        del withdrawn
        gc.collect()
        assert [thing for thing in gc.get_referrers(argument) if isinstance(thing, tuple)] == []
        gate.open.set()
        await first

    run(scenario)


@in_order
def test_many_calls_cancelled_in_any_state(run: Run) -> None:
    """Each one that is not cancelled runs once, and of those that are only the one that had begun."""
    ran: list[int] = []

    async def scenario(bridge: Bridge) -> None:
        gate = Gate()

        def call(number: int) -> None:
            if number == 0:
                gate()
            ran.append(number)

        tasks = [asyncio.create_task(bridge(call)(number)) for number in range(50)]
        await seen(gate.entered)
        for task in tasks[::2]:
            task.cancel()
        await some_rounds()
        gate.open.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(result, asyncio.CancelledError) for result in results] == [True, False] * 25

    run(scenario)
    assert ran == [0, *range(1, 50, 2)]


@everywhere
def test_a_task_that_was_cancelled_before_it_calls(run: Run) -> None:
    """The call is withdrawn or runs, and the cancellation is raised in any case."""

    async def scenario(bridge: Bridge) -> None:
        async def caller() -> None:
            current = asyncio.current_task()
            assert current is not None
            current.cancel()
            with pytest.raises(asyncio.CancelledError):
                await bridge(str)("result")
            assert await bridge(str)("next") == "next"

        await asyncio.create_task(caller())

    run(scenario)


# Time limits and groups around it.


async def _within_timeout(call: Awaitable[Any], expired: Callable[[], Awaitable[None]]) -> None:
    # The limit is over when the test says so.
    async with asyncio.timeout(None) as limit:

        async def expire() -> None:
            await expired()
            limit.reschedule(0)

        task = asyncio.create_task(expire())
        try:
            await call
        finally:
            await task


@everywhere
def test_a_time_limit_waits_for_the_call(run: Run) -> None:
    """And is then over, as the error says."""

    async def scenario(bridge: Bridge) -> None:
        gate = Gate()

        def call() -> str:
            gate.entered.set()
            while not cancelled():
                pass
            gate.ended.set()
            return "result"

        with pytest.raises(TimeoutError):
            await _within_timeout(bridge(call)(), partial(seen, gate.entered))
        assert gate.ended.is_set()
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    run(scenario)


@everywhere
def test_time_limits_within_each_other(run: Run) -> None:
    """Both are over while the call is waited for; the outer one says so."""

    async def scenario(bridge: Bridge) -> None:
        gate = Gate()
        async with asyncio.timeout(None) as untouched:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(None) as outer:
                    async with asyncio.timeout(None) as inner:
                        call = asyncio.create_task(seen(gate.entered))
                        call.add_done_callback(lambda _: inner.reschedule(0))
                        call.add_done_callback(lambda _: outer.reschedule(0))

                        def waits() -> None:
                            gate.entered.set()
                            while not (inner.expired() and outer.expired()):
                                pass

                        await bridge(waits)()
            assert inner.expired()
            assert outer.expired()
        assert not untouched.expired()
        await call

    run(scenario)


@everywhere
def test_wait_for_waits_for_the_call(run: Run) -> None:
    """And then raises TimeoutError, whatever the call has given."""

    async def scenario(bridge: Bridge) -> None:
        gate = Gate()

        def call() -> str:
            gate.entered.set()
            while not cancelled():
                pass
            gate.ended.set()
            return "result"

        task = asyncio.create_task(bridge(call)())
        await seen(gate.entered)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(task, 0.001)
        assert gate.ended.is_set()
        assert task.cancelled()

    run(scenario)


@everywhere
def test_a_task_group_waits_for_the_call(run: Run) -> None:
    """It was cancelled because of another task; the error of that comes out alone."""

    async def scenario(bridge: Bridge) -> None:
        gate = Gate()

        async def fails() -> None:
            await seen(gate.entered)
            raise Refused("no")

        def call() -> None:
            gate.entered.set()
            while not cancelled():
                pass
            gate.ended.set()

        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                group.create_task(bridge(call)())
                group.create_task(fails())
        assert [type(error) for error in caught.value.exceptions] == [Refused]
        assert gate.ended.is_set()

    run(scenario)


@everywhere
def test_a_shielded_call_goes_on(run: Run) -> None:
    """Its result is there for who keeps the task."""

    async def scenario(bridge: Bridge) -> None:
        gate = Gate()
        call = asyncio.create_task(bridge(gate)("result"))
        caller = asyncio.create_task(asyncio.wait_for(asyncio.shield(call), 20))
        await seen(gate.entered)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert not call.done()
        gate.open.set()
        assert await call == "result"

    run(scenario)


# What the sync code itself waits for is cancelled.

INNER = {
    "the same loop": async_to_sync,
    "a new loop": partial(async_to_sync, force_new_loop=True),
}
on_inner_loop = pytest.mark.parametrize("inner", INNER.values(), ids=INNER)


async def for_ever() -> None:
    await asyncio.get_running_loop().create_future()


@everywhere
@on_inner_loop
def test_async_code_below_a_cancelled_call_is_cancelled(run: Run, inner: Any) -> None:
    """It may clean up, and what it raises is raised in the sync code, which may clean up too."""
    steps: list[str] = []
    waiting = threading.Event()

    async def lower() -> None:
        try:
            waiting.set()
            await for_ever()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            steps.append("lower")
            raise

    def upper() -> None:
        try:
            inner(lower)()
        except asyncio.CancelledError:
            steps.append("upper")
            raise

    async def scenario(bridge: Bridge) -> None:
        task = asyncio.create_task(bridge(upper)())
        await seen(waiting)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(scenario)
    assert steps == ["lower", "upper"]


@everywhere
@on_inner_loop
def test_async_code_that_begins_after_the_cancellation_is_cancelled(run: Run, inner: Any) -> None:
    """It is not begun; what the sync code does next about it is."""
    steps: list[str] = []
    gate = Gate()

    async def lower(step: str) -> None:
        await asyncio.sleep(0)
        steps.append(step)

    def upper() -> None:
        gate()
        try:
            inner(lower)("the call")
        finally:
            steps.append("cleans up")
            inner(lower)("the cleaning up")

    async def scenario(bridge: Bridge) -> None:
        task = asyncio.create_task(bridge(upper)())
        await seen(gate.entered)
        await cancel(task)
        gate.open.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(scenario)
    assert steps == ["cleans up", "the cleaning up"]


@everywhere
def test_async_code_that_swallows_the_cancellation_changes_nothing_for_the_caller(
    run: Run,
) -> None:
    """The sync code gets its result, and the caller the cancellation."""
    results: list[str] = []
    waiting = threading.Event()

    async def lower() -> str:
        try:
            waiting.set()
            await for_ever()
        except asyncio.CancelledError:
            pass
        return "swallowed"

    def upper() -> None:
        results.append(async_to_sync(lower)())
        results.append("after it")

    async def scenario(bridge: Bridge) -> None:
        task = asyncio.create_task(bridge(upper)())
        await seen(waiting)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    run(scenario)
    assert results == ["swallowed", "after it"]


@everywhere
def test_an_error_instead_of_the_cancellation_is_kept_as_its_context(
    run: Run,
) -> None:
    """From the lowest level up to the caller."""
    waiting = threading.Event()

    async def lower() -> None:
        try:
            waiting.set()
            await for_ever()
        finally:
            raise Refused("while it is cleaned up")

    async def scenario(bridge: Bridge) -> None:
        task = asyncio.create_task(bridge(async_to_sync(lower))())
        await seen(waiting)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert isinstance(caught.value.__context__, Refused)

    run(scenario)


@everywhere
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_cancellation_reaches_the_lowest_level(run: Run, depth: int) -> None:
    """Through every nesting, and the errors come up in order."""
    steps: list[str] = []
    waiting = threading.Event()

    async def scenario(bridge: Bridge) -> None:
        def sync_level(level: int) -> None:
            try:
                async_to_sync(async_level)(level)
            finally:
                steps.append(f"sync {level} {cancelled()}")

        async def async_level(level: int) -> None:
            try:
                if level == 0:
                    waiting.set()
                    await for_ever()
                else:
                    # Such as can wait for one of its own kind.
                    await sync_to_async(sync_level)(level - 1)
            finally:
                steps.append(f"async {level}")

        task = asyncio.create_task(bridge(sync_level)(depth - 1))
        await seen(waiting)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(scenario)
    assert steps == [step for level in range(depth) for step in (f"async {level}", f"sync {level} True")]


def test_async_code_below_a_call_is_cancelled_once_when_the_loop_ends() -> None:
    """As every task of the loop is; so it can wait for something while it cleans up."""
    steps: list[str] = []
    waiting = threading.Event()

    async def lower() -> None:
        waiting.set()
        try:
            await for_ever()
        finally:
            await some_rounds()
            steps.append("cleaned up")

    async def main() -> None:
        kept.append(asyncio.create_task(sync_to_async(async_to_sync(lower))()))
        await seen(waiting)

    kept: list[asyncio.Task[Any]] = []
    asyncio.run(main(), debug=True)
    assert kept[0].cancelled()
    assert steps == ["cleaned up"]


async def test_a_time_limit_that_is_over_below_a_call_does_not_hide_its_cancellation() -> None:
    """The async code cleans up after its own limit when the cancellation comes."""
    cleaning, goes_on, hidden = threading.Event(), asyncio.Event(), asyncio.Event()
    steps: list[str] = []

    async def lower() -> None:
        try:
            async with asyncio.timeout(0):
                try:
                    await for_ever()
                finally:
                    cleaning.set()
                    await goes_on.wait()
        except TimeoutError:
            steps.append("over")
        await hidden.wait()
        steps.append("not cancelled")

    task = asyncio.create_task(sync_to_async(async_to_sync(lower))())
    await seen(cleaning)
    await cancel(task)
    goes_on.set()
    await asyncio.wait([task], timeout=2)
    hidden.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "not cancelled" not in steps


def test_a_task_below_a_thread_that_waits_is_cancelled_alone() -> None:
    """The calling thread goes on, and so does what else it waits for."""
    waiting = threading.Event()

    async def lower() -> None:
        waiting.set()
        await for_ever()

    async def main() -> int:
        task = asyncio.create_task(sync_to_async(async_to_sync(lower))())
        await seen(waiting)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        thread: int = await sync_to_async(here)()
        return thread

    assert async_to_sync(main)() == here()


async def test_async_code_that_cancels_itself_cancels_nobody_else() -> None:
    """The sync code may handle it."""

    async def lower() -> None:
        raise asyncio.CancelledError

    def upper() -> str:
        try:
            async_to_sync(lower)()
        except asyncio.CancelledError:
            return f"handled, {cancelled()}"
        return "not raised"

    assert await sync_to_async(upper)() == "handled, False"


async def test_a_cancellation_raised_by_sync_code_is_raised_at_the_await() -> None:
    """As it is by async code."""

    def raises() -> None:
        raise asyncio.CancelledError("by the function")

    with pytest.raises(asyncio.CancelledError, match="by the function"):
        await sync_to_async(raises)()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


# cancelled()


def test_outside_of_a_call_nothing_is_cancelled() -> None:
    """On any thread."""
    assert cancelled() is False
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(cancelled).result() is False


@everywhere
def test_a_call_that_is_not_cancelled_is_told_so(run: Run) -> None:
    """Also after another was cancelled on the same thread."""

    async def scenario(bridge: Bridge) -> None:
        assert await bridge(cancelled)() is False
        gate = Gate()
        task = asyncio.create_task(bridge(gate)())
        await seen(gate.entered)
        await cancel(task)
        gate.open.set()
        await asyncio.wait([task])
        assert await bridge(cancelled)() is False

    run(scenario)


@everywhere
def test_a_cancelled_call_is_told_so(run: Run) -> None:
    """Not before, and from then on to its end."""
    answers: list[bool] = []

    async def scenario(bridge: Bridge) -> None:
        gate = Gate()

        def call() -> None:
            answers.append(cancelled())
            gate()
            answers.extend([cancelled(), cancelled()])

        task = asyncio.create_task(bridge(call)())
        await seen(gate.entered)
        await cancel(task)
        gate.open.set()
        await asyncio.wait([task])

    run(scenario)
    assert answers == [False, True, True]


async def test_async_code_and_threads_of_ones_own_are_not_told() -> None:
    """It is the sync code of the call that asks."""
    gate = Gate()
    answers: list[bool] = []

    async def lower() -> None:
        answers.append(cancelled())

    def call() -> None:
        gate()
        with ThreadPoolExecutor(1) as pool:
            answers.append(pool.submit(cancelled).result())
        with pytest.raises(asyncio.CancelledError):
            async_to_sync(lower)()
        async_to_sync(lower)()
        answers.append(cancelled())

    task = asyncio.create_task(sync_to_async(call)())
    await seen(gate.entered)
    await cancel(task)
    gate.open.set()
    await asyncio.wait([task])
    assert answers == [False, False, True]


def test_a_call_within_another_on_one_thread_is_told_of_its_own_caller() -> None:
    """The inner one is cancelled, and the outer one is not."""
    answers: list[tuple[str, bool]] = []
    gate = Gate()

    def inner() -> None:
        gate()
        answers.append(("inner", cancelled()))

    async def middle() -> None:
        task = asyncio.create_task(sync_to_async(inner)())
        await seen(gate.entered)
        await cancel(task)
        gate.open.set()
        await asyncio.wait([task])

    def outer() -> None:
        async_to_sync(middle)()
        answers.append(("outer", cancelled()))

    async def main() -> None:
        await sync_to_async(outer)()

    asyncio.run(main(), debug=True)
    assert answers == [("inner", True), ("outer", False)]


async def test_a_given_context_changes_nothing_about_cancellation() -> None:
    """The call knows, and is waited for."""
    gate = Gate()
    answers: list[bool] = []

    def call() -> None:
        gate()
        answers.append(cancelled())

    task = asyncio.create_task(sync_to_async(call, context=Context())())
    await seen(gate.entered)
    await cancel(task)
    assert not task.done()
    gate.open.set()
    await asyncio.wait([task])
    assert answers == [True]


# Abandoned calls.

LEFT = {name: ALL[name] for name in ALL if name not in ("the calling thread",)}
where_it_can_be_left = pytest.mark.parametrize("run", LEFT.values(), ids=LEFT)
FRESH = {name: ALL[name] for name in ("the shared thread", "the thread of a block")}
with_fresh_threads = pytest.mark.parametrize("run", FRESH.values(), ids=FRESH)


@everywhere
def test_an_abandoned_call_is_not_waited_for(run: Run) -> None:
    """The cancellation is raised while it runs, and what it gives is lost without a word."""
    gate = Gate()

    async def scenario(bridge: Bridge) -> None:
        task = asyncio.create_task(bridge(gate, abandon_on_cancel=True)("result"))
        await seen(gate.entered)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not gate.ended.is_set()
        gate.open.set()
        await seen(gate.ended)

    run(scenario)


@everywhere
def test_a_call_that_may_be_abandoned_and_is_not_gives_its_result(run: Run) -> None:
    """Or its error."""

    async def scenario(bridge: Bridge) -> None:
        assert await bridge(str, abandon_on_cancel=True)("result") == "result"
        gate = Gate()
        gate.open.set()
        with pytest.raises(Refused, match="no"):
            await bridge(gate, abandon_on_cancel=True)(Refused("no"))

    run(scenario)


@in_order
def test_a_call_that_may_be_abandoned_and_has_not_begun_is_withdrawn(
    run: Run,
) -> None:
    """It never runs, and the call before it keeps its thread."""
    ran: list[str] = []

    async def scenario(bridge: Bridge) -> None:
        gate = Gate()
        threads: list[int] = []
        first = asyncio.create_task(bridge(lambda: (threads.append(here()), gate()))())
        await seen(gate.entered)
        withdrawn = asyncio.create_task(bridge(ran.append, abandon_on_cancel=True)("withdrawn"))
        last = asyncio.create_task(bridge(here)())
        await some_rounds()
        withdrawn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await withdrawn
        gate.open.set()
        await first
        assert await last == threads[0]

    run(scenario)
    assert ran == []


@with_fresh_threads
def test_later_sensitive_calls_get_a_fresh_thread(run: Run) -> None:
    """One for all of them, and it stays when the abandoned call has ended."""

    async def scenario(bridge: Bridge) -> None:
        gate = Gate()
        threads: list[int] = []

        def slow() -> None:
            threads.append(here())
            gate()

        task = asyncio.create_task(bridge(slow, abandon_on_cancel=True)())
        await seen(gate.entered)
        task.cancel()
        await asyncio.wait([task])
        later = [await bridge(here)(), *await asyncio.gather(*(bridge(here)() for _ in range(10)))]
        gate.open.set()
        await seen(gate.ended)
        later.append(await bridge(here)())
        assert len(set(later)) == 1
        assert later[0] != threads[0]

    run(scenario)


@with_fresh_threads
def test_calls_that_wait_behind_an_abandoned_one_get_a_fresh_thread(run: Run) -> None:
    """In their order, while it still runs."""
    ran: list[int] = []

    async def scenario(bridge: Bridge) -> None:
        gate = Gate()
        task = asyncio.create_task(bridge(gate, abandon_on_cancel=True)())
        await seen(gate.entered)
        waiting = [asyncio.create_task(bridge(ran.append)(number)) for number in range(10)]
        await some_rounds()
        task.cancel()
        await asyncio.gather(*waiting)
        assert not gate.ended.is_set()
        gate.open.set()
        await seen(gate.ended)

    run(scenario)
    assert ran == list(range(10))


@with_fresh_threads
def test_one_call_after_the_other_is_abandoned(run: Run) -> None:
    """Each leaves its own thread."""

    async def scenario(bridge: Bridge) -> None:
        gates = [Gate() for _ in range(5)]
        threads: list[int] = []

        def slow(gate: Gate) -> None:
            threads.append(here())
            gate()

        for gate in gates:
            task = asyncio.create_task(bridge(slow, abandon_on_cancel=True)(gate))
            await seen(gate.entered)
            task.cancel()
            await asyncio.wait([task])
        assert await bridge(here)() not in threads
        assert len(set(threads)) == 5
        for gate in gates:
            gate.open.set()
            await seen(gate.ended)

    run(scenario)


@everywhere
def test_a_call_that_is_abandoned_at_its_very_end_leaves_nothing_stuck(
    run: Run,
) -> None:
    """Whether the thread or the caller was first; the cancellation is raised, and the next call is served."""

    async def scenario(bridge: Bridge) -> None:
        for _ in range(50):
            gate = Gate()
            task = asyncio.create_task(bridge(gate, abandon_on_cancel=True)("result"))
            await seen(gate.entered)
            gate.open.set()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await bridge(str)("next") == "next"

    run(scenario)


@where_it_can_be_left
def test_the_error_of_an_abandoned_call_is_logged(run: Run) -> None:
    """By the logger of the library, with its traceback; the caller does not get it."""
    error = Refused("no")
    gate = Gate()

    async def scenario(bridge: Bridge) -> None:
        task = asyncio.create_task(bridge(gate, abandon_on_cancel=True)(error))
        await seen(gate.entered)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert caught.value.__context__ is None
        gate.open.set()
        await seen(log.written)

    with Log() as log:
        run(scenario)
    (record,) = log.records
    assert "after its caller had abandoned it" in record.getMessage()
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[1] is error


@where_it_can_be_left
def test_an_abandoned_call_is_told_so(run: Run) -> None:
    """So that it can stop."""
    answers: list[bool] = []

    async def scenario(bridge: Bridge) -> None:
        gate = Gate()

        def call() -> None:
            try:
                gate()
            finally:
                answers.append(cancelled())
                over.set()

        over = threading.Event()
        task = asyncio.create_task(bridge(call, abandon_on_cancel=True)())
        await seen(gate.entered)
        task.cancel()
        await asyncio.wait([task])
        gate.open.set()
        await seen(over)

    run(scenario)
    assert answers == [True]


@where_it_can_be_left
def test_async_code_below_an_abandoned_call_is_cancelled(run: Run) -> None:
    """That frees its thread."""
    steps: list[str] = []

    async def scenario(bridge: Bridge) -> None:
        waiting, over = threading.Event(), threading.Event()

        async def lower() -> None:
            try:
                waiting.set()
                await for_ever()
            finally:
                steps.append("lower")

        def upper() -> None:
            try:
                async_to_sync(lower)()
            except asyncio.CancelledError:
                steps.append("upper")
                raise
            finally:
                over.set()

        task = asyncio.create_task(bridge(upper, abandon_on_cancel=True)())
        await seen(waiting)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await seen(over)

    run(scenario)
    assert steps == ["lower", "upper"]


@where_it_can_be_left
def test_what_an_abandoned_call_sets_is_not_brought_back(run: Run) -> None:
    """Its caller has gone on with a context of its own."""

    async def scenario(bridge: Bridge) -> None:
        gate = Gate()
        over = threading.Event()

        def sets() -> None:
            variable.set("before")
            gate()
            variable.set("after")
            over.set()

        async def caller() -> None:
            with pytest.raises(asyncio.CancelledError):
                await bridge(sets, abandon_on_cancel=True)()
            assert variable.get() == "nothing"
            gate.open.set()
            await seen(over)
            assert variable.get() == "nothing"

        task = asyncio.create_task(caller())
        await seen(gate.entered)
        task.cancel()
        await task

    run(scenario)


def test_the_calling_thread_cannot_be_left() -> None:
    """The cancellation is raised at once all the same; sensitive calls wait until the thread is free."""
    steps: list[str] = []
    gate = Gate()

    async def main() -> None:
        task = asyncio.create_task(sync_to_async(gate, abandon_on_cancel=True)())
        await seen(gate.entered)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        steps.append("cancelled")
        later = asyncio.create_task(sync_to_async(here)())
        await some_rounds()
        assert not later.done()
        steps.append("goes on")
        gate.open.set()
        assert await later == thread

    thread = here()
    async_to_sync(main)()
    assert steps == ["cancelled", "goes on"]


def test_async_to_sync_ends_when_the_abandoned_call_on_its_thread_does() -> None:
    """There is no other thread to go on with."""
    gate = Gate()
    opened = threading.Event()

    async def main() -> str:
        task = asyncio.create_task(sync_to_async(gate, abandon_on_cancel=True)())
        await seen(gate.entered)
        task.cancel()
        await asyncio.wait([task])
        opened.set()
        return "result"

    def opens() -> None:
        opened.wait(20)
        gate.open.set()

    thread = threading.Thread(target=opens)
    thread.start()
    assert async_to_sync(main)() == "result"
    assert gate.ended.is_set()
    thread.join()


@pytest.mark.parametrize("outcome", ["result", Refused("no")], ids=repr)
def test_a_loop_may_close_while_an_abandoned_call_runs(outcome: Any) -> None:
    """The call ends on its own, and the next loop finds a free thread."""
    gate = Gate()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await _within_timeout(
                sync_to_async(gate, abandon_on_cancel=True)(outcome), partial(seen, gate.entered)
            )

    asyncio.run(main(), debug=True)
    assert not gate.ended.is_set()
    assert asyncio.run(sync_to_async(str)("next")) == "next"
    gate.open.set()
    assert gate.ended.wait(20)


def test_an_abandoned_call_may_call_async_code_when_its_loop_has_closed() -> None:
    """On a loop of its thread's own then."""
    gate = Gate()
    results: list[Any] = []
    over = threading.Event()

    async def lower(result: str) -> str:
        await asyncio.sleep(0)
        return result

    def call() -> None:
        gate()
        for _ in range(2):
            try:
                results.append(async_to_sync(lower)("result"))
            except asyncio.CancelledError:
                results.append("cancelled")
        over.set()

    async def main() -> None:
        task = asyncio.create_task(sync_to_async(call, abandon_on_cancel=True)())
        await seen(gate.entered)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(main(), debug=True)
    gate.open.set()
    assert over.wait(20)
    assert results == ["cancelled", "result"]


async def test_a_block_may_end_while_an_abandoned_call_runs_on_its_thread() -> None:
    """Nobody waits for it, and its thread goes when it has ended."""
    gate = Gate()
    async with ThreadSensitiveContext():
        task = asyncio.create_task(sync_to_async(gate, abandon_on_cancel=True)())
        await seen(gate.entered)
        task.cancel()
        await asyncio.wait([task])
    assert not gate.ended.is_set()
    gate.open.set()


async def test_calls_left_behind_by_a_block_are_served_after_an_abandoned_one() -> None:
    """The block has ended before its thread was left."""
    gate = Gate()
    async with ThreadSensitiveContext():
        task = asyncio.create_task(sync_to_async(gate, abandon_on_cancel=True)())
        await seen(gate.entered)
        behind = asyncio.create_task(sync_to_async(str)("behind"))
        await some_rounds()
    task.cancel()
    await asyncio.wait([task])
    gate.open.set()
    async with asyncio.timeout(5):
        assert await behind == "behind"


async def test_a_call_that_was_abandoned_within_another_leaves_no_thread_behind() -> None:
    """The thread that runs both is left; it goes when the outer one has ended."""
    gate = Gate()
    began = threading.Event()
    there_is_one = asyncio.Event()
    calls: list[asyncio.Task[Any]] = []

    async def lower() -> None:
        began.set()
        await there_is_one.wait()
        await asyncio.wait(calls)

    outer = asyncio.create_task(sync_to_async(async_to_sync(lower))())
    await seen(began)
    # It waits for the thread of the outer call, which waits for it.
    calls.append(asyncio.create_task(sync_to_async(gate, abandon_on_cancel=True)()))
    there_is_one.set()
    await seen(gate.entered)
    calls[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await calls[0]
    assert not gate.ended.is_set()
    gate.open.set()
    await outer
    assert await sync_to_async(str)("next") == "next"


# A coroutine that is closed while it is suspended.


@everywhere
def test_a_suspended_call_that_is_closed_leaves_the_thread_usable(run: Run) -> None:
    """Nothing can be awaited then: the call runs on alone, and those behind it have their turn."""

    async def scenario(bridge: Bridge) -> None:
        gate = Gate()
        suspended = bridge(gate)()
        suspended.send(None)
        await seen(gate.entered)
        suspended.close()
        assert not gate.ended.is_set()
        later = asyncio.create_task(bridge(str)("later"))
        await some_rounds()
        gate.open.set()
        async with asyncio.timeout(5):
            assert await later == "later"

    run(scenario)


@in_order
def test_a_suspended_call_that_is_closed_before_it_begins_never_runs(
    run: Run,
) -> None:
    """As if it had been cancelled."""
    ran: list[str] = []

    async def scenario(bridge: Bridge) -> None:
        gate = Gate()
        first = asyncio.create_task(bridge(gate)())
        await seen(gate.entered)
        suspended = bridge(ran.append)("closed")
        suspended.send(None)
        suspended.close()
        gate.open.set()
        await first
        assert await bridge(str)("later") == "later"

    run(scenario)
    assert ran == []


def test_a_loop_that_is_thrown_away_in_the_midst_of_a_call_leaves_the_thread_usable() -> None:
    """Its task was never cancelled; the call runs to its end, and the next loop is served."""
    gate = Gate()

    async def main() -> None:
        await sync_to_async(gate)()

    loop = asyncio.new_event_loop()
    coroutine = main()
    # A task would complain that it was destroyed; this one is not the loop's.
    loop.call_soon(coroutine.send, None)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert gate.entered.wait(20)
    loop.close()
    coroutine.close()
    gate.open.set()

    async def next_main() -> str:
        async with asyncio.timeout(5):
            return str(await sync_to_async(str)("next"))

    assert asyncio.run(next_main(), debug=True) == "next"


async def test_a_cancellation_may_cross_the_end_of_what_the_call_waits_for() -> None:
    """It comes too late for that, and nothing is lost that comes to the loop with it."""
    loop = asyncio.get_running_loop()
    failures: list[Any] = []
    loop.set_exception_handler(lambda _, details: failures.append(details))
    waits, goes_on, ended, may_end = (
        asyncio.Event(),
        loop.create_future(),
        threading.Event(),
        threading.Event(),
    )

    async def inner() -> None:
        waits.set()
        await goes_on

    def outer() -> None:
        async_to_sync(inner)()
        ended.set()
        may_end.wait(20)

    task = asyncio.create_task(sync_to_async(outer)())
    await waits.wait()
    # One after the other, before the loop looks at what is sent to it.
    task.cancel()
    goes_on.set_result(None)
    loop.call_soon(ended.wait, 20)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not failures
