"""The bridges on trio. What holds on every loop is told briefly; the rest is trio's own."""

import contextlib
import functools
import gc
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, contextmanager
from contextvars import Context, ContextVar
from typing import Any, TypeAlias

import pytest
import trio

from asgiadapt import (
    DeadlockError,
    LoopThread,
    ThreadSensitiveContext,
    WorkerPool,
    async_to_sync,
    cancelled,
    sync_to_async,
)
from tests.bridges import Bridge
from tests.bridges.scenarios import Gate, Log

here = threading.get_ident
variable: ContextVar[str] = ContextVar("variable", default="nothing")
Scenario: TypeAlias = Callable[[Bridge], Awaitable[None]]
Run: TypeAlias = Callable[[Scenario], None]


class Refused(Exception):
    """What functions of these tests raise."""


def on_trio(main: Callable[[], Awaitable[Any]]) -> Any:
    async def limited() -> Any:
        with trio.fail_after(20):
            return await main()

    return trio.run(limited)


async def seen(event: threading.Event) -> None:
    assert await trio.to_thread.run_sync(event.wait, 20)


async def some_rounds() -> None:
    for _ in range(20):
        await trio.lowlevel.checkpoint()


# Places where sensitive calls, or those given to `executor`, run one after the other.


@asynccontextmanager
async def _shared() -> AsyncIterator[Bridge]:
    yield sync_to_async


@asynccontextmanager
async def _block() -> AsyncIterator[Bridge]:
    async with ThreadSensitiveContext():
        yield sync_to_async


@asynccontextmanager
async def _executor() -> AsyncIterator[Bridge]:
    with ThreadPoolExecutor(1) as executor:
        yield functools.partial(sync_to_async, thread_sensitive=False, executor=executor)


@asynccontextmanager
async def _worker_pool() -> AsyncIterator[Bridge]:
    with WorkerPool(1) as pool:
        yield functools.partial(sync_to_async, thread_sensitive=False, executor=pool)


@asynccontextmanager
async def _anywhere() -> AsyncIterator[Bridge]:
    yield functools.partial(sync_to_async, thread_sensitive=False)


def _on(place: Callable[[], AbstractAsyncContextManager[Bridge]]) -> Run:
    def run(scenario: Scenario) -> None:
        async def main() -> None:
            async with place() as bridge:
                await scenario(bridge)

        on_trio(main)

    return run


ONE_AT_A_TIME: dict[str, Run] = {
    "the shared thread": _on(_shared),
    "the thread of a block": _on(_block),
    "an executor": _on(_executor),
    "a worker pool": _on(_worker_pool),
}
ALL: dict[str, Run] = {**ONE_AT_A_TIME, "any thread": _on(_anywhere)}
in_order = pytest.mark.parametrize("run", ONE_AT_A_TIME.values(), ids=ONE_AT_A_TIME)
everywhere = pytest.mark.parametrize("run", ALL.values(), ids=ALL)


# Calls.


@everywhere
def test_results_and_errors_come_back(run: Run) -> None:
    """From another thread, the very objects."""
    error = Refused("no")

    def call(outcome: Any) -> Any:
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    async def scenario(bridge: Bridge) -> None:
        thing = object()
        assert await bridge(call)(thing) is thing
        assert await bridge(here)() != here()
        with pytest.raises(Refused) as caught:
            await bridge(call)(error)
        assert caught.value is error
        with pytest.raises(RuntimeError) as stopped:
            await bridge(call)(StopIteration("stop"))
        assert isinstance(stopped.value.__cause__, StopIteration)

    run(scenario)


@everywhere
def test_the_loop_goes_on_during_a_call(run: Run) -> None:
    """Other tasks run."""

    async def scenario(bridge: Bridge) -> None:
        gate = Gate()

        async def opens() -> None:
            await seen(gate.entered)
            gate.open.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(opens)
            assert await bridge(gate)("result") == "result"

    run(scenario)


@everywhere
def test_variables_go_along_and_come_back(run: Run) -> None:
    """As on asyncio, also after an error."""

    def sets(value: str) -> str:
        before = variable.get()
        variable.set(value)
        if value == "before the error":
            raise Refused
        return before

    async def scenario(bridge: Bridge) -> None:
        variable.set("the caller's")
        assert await bridge(sets)("the call's") == "the caller's"
        assert variable.get() == "the call's"
        with pytest.raises(Refused):
            await bridge(sets)("before the error")
        assert variable.get() == "before the error"
        context = Context()
        assert await bridge(sets, context=context)("of the context") == "nothing"
        assert variable.get() == "before the error"
        assert context[variable] == "of the context"

    run(scenario)


def test_many_calls_at_a_time() -> None:
    """Those that may run anywhere overlap, and each gets its own result."""
    together = threading.Barrier(10)
    results: list[int] = []

    @sync_to_async(thread_sensitive=False)
    def meets(number: int) -> int:
        together.wait(20)
        return number

    async def call(number: int) -> None:
        results.append(await meets(number))

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(call, number)

    on_trio(main)
    assert sorted(results) == list(range(10))


@in_order
def test_calls_run_in_order_on_one_thread(run: Run) -> None:
    """Whichever tasks they are from."""
    threads: list[int] = []

    async def scenario(bridge: Bridge) -> None:
        async def call() -> None:
            threads.append(await bridge(here)())

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(call)

    run(scenario)
    assert len(threads) == 20
    assert len(set(threads)) == 1


def test_a_hook_is_entered_around_a_call() -> None:
    """On its thread."""
    steps: list[Any] = []

    @contextmanager
    def hook() -> Iterator[None]:
        steps.append(here())
        yield
        steps.append(here())

    async def main() -> None:
        thread = await sync_to_async(here, hook=hook)()
        assert steps == [thread, thread]

    on_trio(main)


# Cancellation.


@everywhere
def test_a_call_that_runs_is_waited_for(run: Run) -> None:
    """Then its scope is left by the cancellation, although the call has a result."""

    async def scenario(bridge: Bridge) -> None:
        gate = Gate()
        left: list[bool] = []

        async def caller() -> None:
            with scope:
                await bridge(gate)("result")
                pytest.fail("the caller has gone on")
            left.append(gate.ended.is_set())

        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller)
            await seen(gate.entered)
            scope.cancel()
            await some_rounds()
            assert left == []
            gate.open.set()
        assert left == [True]
        assert scope.cancelled_caught
        assert await bridge(str)("next") == "next"

    run(scenario)


@everywhere
def test_a_time_limit_waits_for_the_call(run: Run) -> None:
    """Which learns of it."""

    async def scenario(bridge: Bridge) -> None:
        gate = Gate()

        def call() -> None:
            gate.entered.set()
            while not cancelled():
                pass
            gate.ended.set()

        async def caller() -> None:
            with scope:
                await bridge(call)()
            assert gate.ended.is_set()

        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller)
            await seen(gate.entered)
            scope.deadline = trio.current_time()
        assert scope.cancelled_caught

    run(scenario)


@everywhere
def test_the_error_of_a_cancelled_call_is_kept_as_context(run: Run) -> None:
    """The cancellation goes on all the same."""
    error = Refused("no")

    async def scenario(bridge: Bridge) -> None:
        gate = Gate()
        contexts: list[BaseException | None] = []

        async def caller() -> None:
            with scope:
                try:
                    await bridge(gate)(error)
                except trio.Cancelled as cancellation:
                    contexts.append(cancellation.__context__)
                    raise

        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller)
            await seen(gate.entered)
            scope.cancel()
            await some_rounds()
            gate.open.set()
        assert contexts == [error]

    run(scenario)


@in_order
def test_a_call_that_has_not_begun_never_runs(run: Run) -> None:
    """Its scope is left at once."""
    ran: list[str] = []

    async def scenario(bridge: Bridge) -> None:
        gate = Gate()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bridge(gate))
            await seen(gate.entered)
            with trio.move_on_after(0) as scope:
                await bridge(ran.append)("withdrawn")
            assert scope.cancelled_caught
            assert not gate.ended.is_set()
            gate.open.set()
        await bridge(str)()

    run(scenario)
    assert ran == []


@everywhere
def test_a_shielded_call_is_not_cancelled(run: Run) -> None:
    """It gives its result, and is told nothing."""

    async def scenario(bridge: Bridge) -> None:
        answers: list[bool] = []
        with trio.CancelScope() as outer:
            outer.cancel()
            with trio.CancelScope(shield=True):
                answers.append(await bridge(cancelled)())
            await trio.lowlevel.checkpoint()
        assert answers == [False]

    run(scenario)


@everywhere
def test_a_cancelled_call_is_told_so(run: Run) -> None:
    """And one after it on the same thread is not."""
    answers: list[bool] = []

    async def scenario(bridge: Bridge) -> None:
        gate = Gate()

        def call() -> None:
            gate()
            answers.append(cancelled())

        async def caller() -> None:
            with scope:
                await bridge(call)()

        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller)
            await seen(gate.entered)
            scope.cancel()
            await some_rounds()
            gate.open.set()
        answers.append(await bridge(cancelled)())

    run(scenario)
    assert answers == [True, False]


def test_a_nursery_that_fails_waits_for_its_calls() -> None:
    """The error of the other task comes out."""
    gate = Gate()

    def call() -> None:
        gate.entered.set()
        while not cancelled():
            pass
        gate.ended.set()

    async def fails() -> None:
        await seen(gate.entered)
        raise Refused("no")

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sync_to_async(call))
            nursery.start_soon(fails)

    with pytest.raises(ExceptionGroup) as caught:
        on_trio(main)
    assert [type(error) for error in caught.value.exceptions] == [Refused]
    assert gate.ended.is_set()


def test_a_system_exit_of_the_main_task_waits_for_its_calls() -> None:
    """What trio cancels at its end, it waits for."""
    gate = Gate()

    async def main() -> None:
        trio.lowlevel.spawn_system_task(sync_to_async(gate))
        await seen(gate.entered)
        trio.lowlevel.current_trio_token().run_sync_soon(gate.open.set)

    on_trio(main)
    assert gate.ended.is_set()


# Abandoned calls.


@everywhere
def test_an_abandoned_call_is_not_waited_for(run: Run) -> None:
    """It is told so, and sensitive calls after it have a fresh thread."""
    answers: list[bool] = []
    gate = Gate()
    over = threading.Event()

    def call() -> None:
        try:
            gate()
            answers.append(cancelled())
        finally:
            over.set()

    async def scenario(bridge: Bridge) -> None:
        async def caller() -> None:
            with scope:
                await bridge(call, abandon_on_cancel=True)()

        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller)
            await seen(gate.entered)
            scope.cancel()
        assert scope.cancelled_caught
        assert not gate.ended.is_set()
        if bridge is sync_to_async:
            assert await bridge(str)("next") == "next"
        gate.open.set()
        await seen(over)

    run(scenario)
    assert answers == [True]


def test_the_error_of_an_abandoned_call_is_logged() -> None:
    """As on asyncio."""
    error = Refused("no")
    gate = Gate()

    async def main() -> None:
        async def caller() -> None:
            with scope:
                await sync_to_async(gate, abandon_on_cancel=True)(error)

        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller)
            await seen(gate.entered)
            scope.cancel()
        gate.open.set()
        await seen(log.written)

    with Log() as log:
        on_trio(main)
    (record,) = log.records
    assert "after its caller had abandoned it" in record.getMessage()


def test_the_loop_may_end_while_an_abandoned_call_runs() -> None:
    """What the call then asks of async code runs on a loop of its thread's own."""
    gate = Gate()
    results: list[Any] = []
    over = threading.Event()

    async def lower() -> str:
        return "result"

    def call() -> None:
        gate()
        for _ in range(2):
            try:
                results.append(async_to_sync(lower)())
            except BaseException as error:
                results.append(type(error).__name__)
        over.set()

    async def main() -> None:
        async def caller() -> None:
            with scope:
                await sync_to_async(call, abandon_on_cancel=True)()

        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller)
            await seen(gate.entered)
            scope.cancel()

    on_trio(main)
    gate.open.set()
    assert over.wait(10)
    assert results == ["CancelledError", "result"]


# Async code below sync code.


async def loop_and_thread() -> tuple[object, int]:
    return trio.lowlevel.current_trio_token(), here()


@everywhere
def test_async_code_below_a_call_runs_on_the_same_loop(run: Run) -> None:
    """In a task of its own, on the thread of the loop."""

    async def scenario(bridge: Bridge) -> None:
        assert await bridge(async_to_sync(loop_and_thread))() == await loop_and_thread()

    run(scenario)


@pytest.mark.parametrize("depth", range(4))
def test_every_nesting_comes_back_to_the_loop(depth: int) -> None:
    """And to the one sensitive thread."""
    found: list[Any] = []

    def sync_level(level: int) -> None:
        found.append(here())
        if level:
            async_to_sync(async_level)(level - 1)

    async def async_level(level: int) -> None:
        found.append(trio.lowlevel.current_trio_token())
        await trio.lowlevel.checkpoint()
        await sync_to_async(sync_level)(level)

    async def main() -> None:
        await async_level(depth)
        assert found[::2] == [trio.lowlevel.current_trio_token()] * (depth + 1)
        assert len(set(found[1::2])) == 1

    on_trio(main)


@everywhere
def test_results_errors_and_variables_of_async_code_come_back(run: Run) -> None:
    """As on asyncio."""
    error = Refused("no")

    async def sets(value: Any) -> str:
        await trio.sleep(0)
        before = variable.get()
        variable.set(str(value))
        if isinstance(value, BaseException):
            raise value
        return before

    def upper() -> tuple[str, str, str]:
        variable.set("the sync code's")
        before = async_to_sync(sets)("the async code's")
        after = variable.get()
        with pytest.raises(Refused) as caught:
            async_to_sync(sets)(error)
        assert caught.value is error
        return before, after, variable.get()

    async def scenario(bridge: Bridge) -> None:
        assert await bridge(upper)() == ("the sync code's", "the async code's", "no")
        assert variable.get() == "no"

    run(scenario)


@everywhere
def test_async_code_may_use_all_of_trio(run: Run) -> None:
    """Nurseries, time limits, channels."""

    async def lower() -> list[int]:
        found: list[int] = []
        to, from_ = trio.open_memory_channel[int](0)

        async def sends() -> None:
            async with to:
                for number in range(3):
                    await to.send(number)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(sends)
            found.extend([number async for number in from_])
        with trio.move_on_after(0):
            await trio.sleep_forever()
        return found

    async def scenario(bridge: Bridge) -> None:
        assert await bridge(async_to_sync(lower))() == [0, 1, 2]

    run(scenario)


@everywhere
def test_async_code_below_a_cancelled_call_is_cancelled(run: Run) -> None:
    """It may clean up; the sync code may too."""
    steps: list[str] = []
    waiting = threading.Event()

    async def lower() -> None:
        try:
            waiting.set()
            await trio.sleep_forever()
        except trio.Cancelled:
            steps.append("lower")
            raise

    async def cleans_up() -> None:
        await trio.lowlevel.checkpoint()
        steps.append("cleaned up")

    def upper() -> None:
        try:
            async_to_sync(lower)()
        except BaseException:
            steps.append("upper")
            async_to_sync(cleans_up)()
            raise

    async def scenario(bridge: Bridge) -> None:
        async def caller() -> None:
            with scope:
                await bridge(upper)()

        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller)
            await seen(waiting)
            scope.cancel()
        assert scope.cancelled_caught

    run(scenario)
    assert steps == ["lower", "upper", "cleaned up"]


@everywhere
def test_async_code_that_begins_after_the_cancellation_is_cancelled(run: Run) -> None:
    """At its first checkpoint at the latest; the sync code gets an error."""
    gate = Gate()
    steps: list[str] = []

    async def lower() -> None:
        await trio.lowlevel.checkpoint()
        steps.append("went on")

    def upper() -> None:
        gate()
        try:
            async_to_sync(lower)()
        finally:
            steps.append("upper")

    async def scenario(bridge: Bridge) -> None:
        async def caller() -> None:
            with scope:
                await bridge(upper)()

        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller)
            await seen(gate.entered)
            scope.cancel()
            await some_rounds()
            gate.open.set()
        assert scope.cancelled_caught

    run(scenario)
    assert steps == ["upper"]


def test_the_end_of_the_loop_cancels_what_a_call_waits_for() -> None:
    """The loop does not end before its sync code has."""
    steps: list[str] = []
    waiting = threading.Event()

    async def lower() -> None:
        try:
            waiting.set()
            await trio.sleep_forever()
        finally:
            steps.append("lower")

    def upper() -> None:
        try:
            async_to_sync(lower)()
        finally:
            steps.append("upper")

    async def main() -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sync_to_async(upper))
                await seen(waiting)
                scope.cancel()

    on_trio(main)
    assert steps == ["lower", "upper"]


def test_a_new_loop_below_trio_is_one_of_asyncio() -> None:
    """Asked for by name, or as a thread of its own; a loop above comes before that."""
    import asyncio

    async def kind() -> bool:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return False
        return True

    def upper() -> tuple[bool, bool]:
        with LoopThread() as loop:
            return async_to_sync(kind, force_new_loop=True)(), async_to_sync(kind, loop=loop)()

    async def main() -> None:
        assert await sync_to_async(upper)() == (True, False)

    on_trio(main)


def test_async_code_cannot_be_called_on_the_thread_of_the_loop() -> None:
    """In no form; the error says what to do."""
    match = "You cannot use async_to_sync in the same thread as an async event loop"

    async def numbers() -> AsyncIterator[int]:
        yield 1

    @asynccontextmanager
    async def manager() -> AsyncIterator[None]:
        yield

    async def main() -> None:
        with pytest.raises(DeadlockError, match=match):
            async_to_sync(loop_and_thread)()
        with pytest.raises(DeadlockError, match=match):
            async_to_sync(loop_and_thread, force_new_loop=True)()
        with pytest.raises(DeadlockError, match=match):
            list(async_to_sync(numbers)())
        with pytest.raises(DeadlockError, match=match):
            with async_to_sync(manager)():
                pytest.fail("the block has run")
        assert await sync_to_async(async_to_sync(loop_and_thread))() == await loop_and_thread()

    on_trio(main)


def test_nor_in_a_callback_of_the_loop() -> None:
    """No task runs there, but the loop does."""
    errors: list[BaseException] = []

    def calls() -> None:
        try:
            async_to_sync(loop_and_thread)()
        except DeadlockError as error:
            errors.append(error)
        done.set()

    async def main() -> None:
        trio.lowlevel.current_trio_token().run_sync_soon(calls)
        await done.wait()

    done = trio.Event()
    on_trio(main)
    assert len(errors) == 1


def test_a_trio_loop_on_the_sensitive_thread_cannot_await_sensitive_calls() -> None:
    """They would wait for each other."""

    def runs_a_loop() -> None:
        with pytest.raises(DeadlockError, match="a thread-sensitive call was made from an event loop that"):
            trio.run(sync_to_async(here))
        assert trio.run(sync_to_async(here, thread_sensitive=False)) != here()

    async def main() -> None:
        await sync_to_async(runs_a_loop)()

    on_trio(main)


# Sensitivity.


def test_a_block_has_a_thread_of_its_own() -> None:
    """One for all tasks in it, and another for another block."""
    threads: dict[str, set[int]] = {"a": set(), "b": set(), "outside": set()}

    async def call(name: str) -> None:
        threads[name].add(await sync_to_async(here)())

    async def block(name: str) -> None:
        async with ThreadSensitiveContext():
            await call(name)
            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(call, name)
            entered.append(name)
            while len(entered) < 2:
                await trio.lowlevel.checkpoint()

    async def main() -> None:
        await call("outside")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(block, "a")
            nursery.start_soon(block, "b")

    entered: list[str] = []
    on_trio(main)
    assert [len(found) for found in threads.values()] == [1, 1, 1]
    assert len(set.union(*threads.values())) == 3


def test_a_slow_call_in_one_block_does_not_hold_up_another() -> None:
    """Each has its own thread."""
    gate = Gate()

    async def slow() -> None:
        async with ThreadSensitiveContext():
            await sync_to_async(gate)()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(slow)
            await seen(gate.entered)
            async with ThreadSensitiveContext():
                assert await sync_to_async(str)("next") == "next"
            gate.open.set()

    on_trio(main)


# Generators and context managers.


@everywhere
def test_a_generator_gives_its_items(run: Run) -> None:
    """All on one thread, where it is closed too."""
    steps: list[Any] = []

    def numbers(count: int) -> Iterator[int]:
        try:
            for number in range(count):
                steps.append(here())
                yield number
        finally:
            steps.append(here())

    async def scenario(bridge: Bridge) -> None:
        assert [number async for number in bridge(numbers)(3)] == [0, 1, 2]
        assert len(steps) == 4
        assert len(set(steps)) == 1
        steps.clear()
        async with aclosing(bridge(numbers)(3)) as left_early:
            assert await anext(left_early) == 0
        assert len(steps) == 2
        assert len(set(steps)) == 1

    run(scenario)


@everywhere
def test_a_generator_that_is_cancelled_is_closed_on_its_thread(run: Run) -> None:
    """In the midst of a step, or of the body; its end is certain."""
    steps: list[Any] = []

    def waits(gate: Gate) -> Iterator[str]:
        try:
            steps.append(here())
            yield "first"
            gate()
            yield "second"
        finally:
            steps.append(here())

    async def scenario(bridge: Bridge) -> None:
        gate = Gate()

        async def in_a_step() -> None:
            with scope:
                async with aclosing(bridge(waits)(gate)) as items:
                    async for _ in items:
                        pass

        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_a_step)
            await seen(gate.entered)
            scope.cancel()
            await some_rounds()
            gate.open.set()
        assert scope.cancelled_caught
        assert len(steps) == 2
        assert len(set(steps)) == 1
        steps.clear()
        with trio.CancelScope() as of_body:
            async with aclosing(bridge(waits)(gate)) as items:
                async for _ in items:
                    of_body.cancel()
                    await trio.lowlevel.checkpoint()
        assert of_body.cancelled_caught
        assert len(steps) == 2
        assert len(set(steps)) == 1

    run(scenario)


@everywhere
def test_a_manager_is_entered_and_left_on_one_thread(run: Run) -> None:
    """Also where the block is cancelled; it may swallow errors."""
    steps: list[Any] = []

    @contextmanager
    def manager() -> Iterator[str]:
        steps.append(here())
        try:
            yield "value"
        finally:
            steps.append(here())

    async def scenario(bridge: Bridge) -> None:
        async with bridge(manager)() as value:
            assert value == "value"
        with trio.CancelScope() as scope:
            async with bridge(manager)():
                scope.cancel()
                await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        assert len(steps) == 4
        assert len(set(steps[:2])) == len(set(steps[2:])) == 1
        async with bridge(contextlib.suppress(Refused)):
            raise Refused("in the block")

    run(scenario)


@everywhere
def test_a_manager_that_is_cancelled_while_it_is_entered_is_left_again(run: Run) -> None:
    """The block does not run."""
    steps: list[str] = []
    gate = Gate()

    class Slow:
        def __enter__(self) -> None:
            gate()
            steps.append("enters")

        def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
            steps.append(f"leaves by {kind.__name__}")

    async def scenario(bridge: Bridge) -> None:
        async def caller() -> None:
            with scope:
                async with bridge(Slow()):
                    pytest.fail("the block has run")

        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller)
            await seen(gate.entered)
            scope.cancel()
            await some_rounds()
            gate.open.set()
        assert scope.cancelled_caught

    run(scenario)
    assert steps == ["enters", "leaves by Cancelled"]


def test_a_generator_that_is_left_half_way_is_closed_with_its_loop() -> None:
    """On its thread."""
    steps: list[Any] = []

    def numbers() -> Iterator[int]:
        try:
            steps.append(here())
            yield 1
        finally:
            steps.append(here())

    async def main() -> None:
        items = sync_to_async(numbers, thread_sensitive=False)()
        await anext(items)
        kept.append(items)

    kept: list[Any] = []
    on_trio(main)
    gc.collect()
    assert len(steps) == 2
    assert len(set(steps)) == 1


@everywhere
def test_an_async_generator_is_run_by_one_task_of_the_loop(run: Run) -> None:
    """So that nurseries and scopes may be open across its steps."""
    tasks: list[Any] = []
    ran = threading.Event()

    async def works() -> None:
        ran.set()

    async def numbers() -> AsyncIterator[int]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(works)
            with trio.move_on_after(20):
                for number in range(3):
                    tasks.append(trio.lowlevel.current_task())
                    yield number
                    await trio.lowlevel.checkpoint()
        tasks.append(trio.lowlevel.current_task())

    def uses() -> list[int]:
        items = async_to_sync(numbers)()
        found = [next(items)]
        assert ran.wait(20)
        return found + list(items)

    async def scenario(bridge: Bridge) -> None:
        assert await bridge(uses)() == [0, 1, 2]

    run(scenario)
    assert len(tasks) == 4
    assert len(set(tasks)) == 1


@everywhere
def test_an_async_generator_that_is_left_early_is_closed_by_its_task(run: Run) -> None:
    """Before the sync code goes on."""
    steps: list[Any] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            steps.append(trio.lowlevel.current_task())
            yield 1
        finally:
            await trio.lowlevel.checkpoint()
            steps.append(trio.lowlevel.current_task())

    def uses() -> None:
        items = async_to_sync(numbers)()
        assert next(items) == 1
        items.close()
        assert len(steps) == 2

    async def scenario(bridge: Bridge) -> None:
        await bridge(uses)()

    run(scenario)
    assert steps[0] is steps[1]


@everywhere
def test_a_step_of_an_async_generator_is_cancelled_inside(run: Run) -> None:
    """The generator sees it, then the sync code."""
    steps: list[str] = []
    waiting = threading.Event()

    async def waits() -> AsyncIterator[str]:
        try:
            yield "first"
            waiting.set()
            await trio.sleep_forever()
        except trio.Cancelled:
            steps.append("generator")
            raise

    def uses() -> None:
        try:
            steps.extend(async_to_sync(waits)())
        finally:
            steps.append("sync code")

    async def scenario(bridge: Bridge) -> None:
        async def caller() -> None:
            with scope:
                await bridge(uses)()

        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller)
            await seen(waiting)
            scope.cancel()
        assert scope.cancelled_caught

    run(scenario)
    assert steps == ["first", "generator", "sync code"]


@everywhere
def test_an_async_manager_is_entered_and_left_by_one_task(run: Run) -> None:
    """With a nursery open in between; errors of the block reach it."""
    steps: list[Any] = []
    ran = threading.Event()

    async def works() -> None:
        ran.set()

    @asynccontextmanager
    async def manager() -> AsyncIterator[str]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(works)
            steps.append(trio.lowlevel.current_task())
            try:
                yield "value"
            except Refused:
                steps.append("swallowed")
            steps.append(trio.lowlevel.current_task())

    def uses() -> None:
        with async_to_sync(manager)() as value:
            assert value == "value"
            assert ran.wait(20)
            raise Refused("in the block")

    async def scenario(bridge: Bridge) -> None:
        await bridge(uses)()

    run(scenario)
    assert steps[0] is steps[2]
    assert steps[1] == "swallowed"


@everywhere
def test_an_async_manager_is_left_although_its_block_was_cancelled(run: Run) -> None:
    """By its own task, which may wait for something then."""
    steps: list[str] = []
    waiting = threading.Event()

    async def for_ever() -> None:
        waiting.set()
        await trio.sleep_forever()

    @asynccontextmanager
    async def manager() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await trio.lowlevel.checkpoint()
            steps.append("left")

    def uses() -> None:
        with async_to_sync(manager)():
            async_to_sync(for_ever)()

    async def scenario(bridge: Bridge) -> None:
        async def caller() -> None:
            with scope:
                await bridge(uses)()

        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller)
            await seen(waiting)
            scope.cancel()
        assert scope.cancelled_caught

    run(scenario)
    assert steps == ["left"]
