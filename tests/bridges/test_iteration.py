"""Generators, iterators and context managers, used from the other side."""

import asyncio
import contextlib
import functools
import gc
import threading
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, aclosing, asynccontextmanager, closing, contextmanager
from contextvars import ContextVar, copy_context
from types import TracebackType
from typing import Any

import pytest

from asgiadapt import (
    DeadlockError,
    LoopStopped,
    LoopThread,
    ThreadSensitiveContext,
    async_to_sync,
    cancelled,
    sync_to_async,
)
from asgiadapt._threads.strand import leases
from tests.bridges import Bridge
from tests.bridges.scenarios import Gate, Run, cancel, everywhere, in_order, seen, some_rounds

here = threading.get_ident
variable: ContextVar[str] = ContextVar("variable", default="nothing")


class Refused(Exception):
    """What functions of these tests raise."""


class Steps:
    """A generator function that tells what it does, and where."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.threads: set[int] = set()

    def __call__(self, count: int, *, end: str = "closed") -> Generator[int, Any, None]:
        try:
            for number in range(count):
                self.threads.add(here())
                self.done.append(f"makes {number}")
                yield number
            self.done.append("has no more")
        finally:
            self.threads.add(here())
            self.done.append(end)


def manages(steps: list[Any], value: object = "value") -> AbstractContextManager[Any]:
    @contextmanager
    def manager() -> Iterator[object]:
        steps.append(("enters", here()))
        try:
            yield value
        except BaseException as error:
            steps.append(("error", error))
            raise
        finally:
            steps.append(("leaves", here()))

    return manager()


def names(steps: list[Any]) -> list[str]:
    return [step[0] for step in steps]


def threads(steps: list[Any]) -> set[int]:
    return {step[1] for step in steps if step[0] != "error"}


# Generators in async code.


@everywhere
def test_a_generator_gives_its_items(run: Run) -> None:
    """In order, all on one thread, which is not that of the loop."""
    steps = Steps()

    async def scenario(bridge: Bridge) -> None:
        assert [number async for number in bridge(steps)(5)] == [0, 1, 2, 3, 4]
        assert [number async for number in bridge(steps)(0)] == []
        if not isinstance(bridge, functools.partial):
            assert steps.threads == {await bridge(here)()}

    run(scenario)
    end = ["has no more", "closed"]
    assert steps.done == [*(f"makes {number}" for number in range(5)), *end, *end]


async def test_each_generator_that_may_run_anywhere_keeps_to_one_thread() -> None:
    """While others run beside it."""
    both = threading.Barrier(2)

    @sync_to_async(thread_sensitive=False)
    def numbers() -> Iterator[int]:
        for _ in range(10):
            both.wait(20)
            yield here()

    async def used() -> set[int]:
        return {thread async for thread in numbers()}

    first, second = await asyncio.gather(used(), used())
    assert len(first) == len(second) == 1
    assert first != second


@everywhere
def test_a_generator_runs_no_step_ahead(run: Run) -> None:
    """It does as much as has been asked for."""

    async def scenario(bridge: Bridge) -> None:
        steps = Steps()
        numbers = bridge(steps)(3)
        await some_rounds()
        assert steps.done == []
        for number in range(3):
            assert await anext(numbers) == number
            await bridge(str)()
            assert steps.done == [f"makes {made}" for made in range(number + 1)]
        with pytest.raises(StopAsyncIteration):
            await anext(numbers)
        assert steps.done[3:] == ["has no more", "closed"]

    run(scenario)


@everywhere
def test_a_generator_that_is_left_early_is_closed_on_its_thread(run: Run) -> None:
    """By aclose(), as any async generator."""

    async def scenario(bridge: Bridge) -> None:
        steps = Steps()
        async with aclosing(bridge(steps)(3)) as numbers:
            async for number in numbers:
                assert number == 0
                break
        assert steps.done == ["makes 0", "closed"]
        assert len(steps.threads) == 1
        await numbers.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(numbers)
        assert steps.done == ["makes 0", "closed"]

    run(scenario)


@everywhere
def test_a_generator_that_is_left_by_an_error_is_closed_on_its_thread(run: Run) -> None:
    """The error is the body's, so the generator does not get it."""

    async def scenario(bridge: Bridge) -> None:
        steps = Steps()
        with pytest.raises(Refused, match="in the body"):
            async with aclosing(bridge(steps)(3)) as numbers:
                async for _ in numbers:
                    raise Refused("in the body")
        assert steps.done == ["makes 0", "closed"]
        assert len(steps.threads) == 1

    run(scenario)


async def test_a_generator_that_is_never_begun_is_never_called() -> None:
    """Neither its body nor its end."""
    steps = Steps()
    numbers = sync_to_async(steps)(3)
    await numbers.aclose()
    assert [number async for number in numbers] == []
    assert steps.done == []


@everywhere
def test_a_generator_is_sent_values(run: Run) -> None:
    """On its thread."""

    def doubles() -> Generator[Any, Any, None]:
        answer = yield "ready"
        while True:
            answer = yield (answer, answer * 2)

    async def scenario(bridge: Bridge) -> None:
        numbers = bridge(doubles)()
        assert await numbers.asend(None) == "ready"
        assert await numbers.asend(3) == (3, 6)
        assert await numbers.asend("ab") == ("ab", "abab")
        await numbers.aclose()

    run(scenario)


@everywhere
def test_an_error_is_thrown_into_a_generator(run: Run) -> None:
    """It may handle it and go on, or let it out."""
    error = Refused("thrown in")
    caught: list[BaseException] = []

    def handles_one() -> Iterator[str]:
        try:
            yield "first"
        except Refused as thrown:
            caught.append(thrown)
        yield "second"

    async def scenario(bridge: Bridge) -> None:
        items = bridge(handles_one)()
        assert await anext(items) == "first"
        assert await items.athrow(error) == "second"
        with pytest.raises(Refused) as out:
            await items.athrow(error)
        assert out.value is error
        with pytest.raises(StopAsyncIteration):
            await anext(items)

    run(scenario)
    assert caught == [error]


@everywhere
def test_an_error_of_a_generator_comes_out_of_the_step(run: Run) -> None:
    """The very object, and the generator is at its end."""
    error = Refused("no")

    def fails() -> Iterator[int]:
        yield 1
        raise error

    async def scenario(bridge: Bridge) -> None:
        items = bridge(fails)()
        assert await anext(items) == 1
        with pytest.raises(Refused) as caught:
            await anext(items)
        assert caught.value is error
        assert [item async for item in items] == []

    run(scenario)


async def test_a_generator_that_yields_when_it_is_closed_is_told_so() -> None:
    """By the error that Python has for it."""

    def stays() -> Iterator[int]:
        while True:
            try:
                yield 1
            except GeneratorExit:
                pass

    iterator = stays()
    numbers = sync_to_async(iterator)
    await anext(numbers)
    with pytest.raises(RuntimeError, match="generator ignored GeneratorExit"):
        await numbers.aclose()
    # It cannot be got rid of, but by its own end.
    with pytest.raises(Refused):
        iterator.throw(Refused)


@everywhere
def test_variables_are_carried_at_each_step(run: Run) -> None:
    """Both ways, also at the last one."""

    def tells() -> Iterator[str]:
        for number in range(3):
            was = variable.get()
            variable.set(f"of step {number}")
            yield was
        variable.set("of the end")

    async def scenario(bridge: Bridge) -> None:
        variable.set("at first")
        found = []
        async for was in bridge(tells)():
            found.append((was, variable.get()))
            variable.set(f"{variable.get()}, then the caller's")
        assert found == [
            ("at first", "of step 0"),
            ("of step 0, then the caller's", "of step 1"),
            ("of step 1, then the caller's", "of step 2"),
        ]
        assert variable.get() == "of the end"

    run(scenario)


class Numbers:
    """Things that make numbers, by a method, and when they are called."""

    def __init__(self, count: int = 3) -> None:
        self._count = count

    @sync_to_async
    def wrapped(self) -> Iterator[int]:
        yield from range(self._count)

    def plain(self) -> Iterator[int]:
        yield from range(self._count)

    __call__ = plain

    @sync_to_async
    @classmethod
    def of_class(cls, count: int) -> Iterator[int]:
        yield from cls(count).plain()

    @sync_to_async
    @staticmethod
    def of_nobody(count: int) -> Iterator[int]:
        yield from range(count)


@pytest.mark.parametrize(
    "numbers",
    [
        lambda: Numbers(3).wrapped(),
        lambda: sync_to_async(Numbers(3).plain)(),
        lambda: sync_to_async(Numbers(3))(),
        lambda: Numbers.of_class(3),
        lambda: Numbers.of_nobody(3),
        lambda: sync_to_async(functools.partial(Numbers.plain, Numbers(3)))(),
        lambda: sync_to_async(Numbers(3).plain()),
        lambda: sync_to_async(iter([0, 1, 2])),
        lambda: sync_to_async(map(int, "012")),
    ],
    ids=[
        "decorated method",
        "bound method",
        "object",
        "class method",
        "static method",
        "partial",
        "generator",
        "iterator",
        "map",
    ],
)
async def test_every_kind_of_iteration_is_taken(numbers: Callable[[], AsyncIterator[int]]) -> None:
    """By whatever it is made."""
    assert [number async for number in numbers()] == [0, 1, 2]


def test_what_wraps_a_generator_function_is_an_async_generator_function() -> None:
    """With its name and text."""
    import inspect

    wrapper = sync_to_async(Numbers.plain)
    assert inspect.isasyncgenfunction(wrapper)
    assert wrapper.__name__ == "plain"
    assert wrapper.__wrapped__ is Numbers.plain


class Closeable:
    """An iterator that nothing can be thrown into, but that can be closed."""

    def __init__(self) -> None:
        self.closed_on: list[int] = []
        self.made_on: list[int] = []

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        self.made_on.append(here())
        return len(self.made_on)

    def close(self) -> None:
        self.closed_on.append(here())


async def test_an_iterator_is_closed_on_its_thread() -> None:
    """Where it can be."""
    iterator = Closeable()
    async with aclosing(sync_to_async(iterator, thread_sensitive=False)) as numbers:
        assert [await anext(numbers), await anext(numbers)] == [1, 2]
    assert len(set(iterator.made_on)) == 1
    assert iterator.closed_on == iterator.made_on[:1]


async def test_an_error_for_an_iterator_that_takes_none_comes_out() -> None:
    """And it is closed."""
    iterator = Closeable()
    numbers = sync_to_async(iterator)
    await anext(numbers)
    with pytest.raises(Refused, match="thrown in"):
        await numbers.athrow(Refused("thrown in"))
    assert len(iterator.closed_on) == 1


def test_generators_are_closed_where_they_were_begun() -> None:
    """Below a thread that waits, that is the thread."""
    steps = Steps()

    async def main() -> None:
        async with aclosing(sync_to_async(steps)(3)) as numbers:
            await anext(numbers)

    async_to_sync(main)()
    assert steps.done == ["makes 0", "closed"]
    assert steps.threads == {here()}


async def test_sensitive_steps_take_turns_with_sensitive_calls() -> None:
    """Between two steps the thread is free."""
    steps = Steps()
    numbers = sync_to_async(steps)(2)
    await anext(numbers)
    thread = await sync_to_async(here)()
    await anext(numbers)
    await numbers.aclose()
    assert steps.threads == {thread}


@pytest.mark.parametrize("thread_sensitive", [True, False])
async def test_a_generator_that_may_not_be_abandoned_says_so(thread_sensitive: bool) -> None:
    """When it is wrapped."""
    for thing in (Steps().__call__, iter([])):
        with pytest.raises(TypeError, match="abandon_on_cancel cannot be used for a generator"):
            sync_to_async(thing, thread_sensitive=thread_sensitive, abandon_on_cancel=True)


# Generators and cancellation.


@everywhere
def test_a_step_that_is_cancelled_is_waited_for_and_the_generator_closed_on_its_thread(run: Run) -> None:
    """Before the cancellation is raised, also where the step has an item."""
    gate = Gate()
    steps: list[Any] = []

    def waits() -> Iterator[str]:
        try:
            steps.append(("first", here()))
            yield "first"
            gate()
            steps.append(("second", here(), cancelled()))
            yield "second"
        finally:
            steps.append(("closed", here(), cancelled()))

    async def scenario(bridge: Bridge) -> None:
        async def uses() -> None:
            async for _ in items:
                pass

        items = bridge(waits)()
        task = asyncio.create_task(uses())
        await seen(gate.entered)
        await cancel(task)
        assert not task.done()
        gate.open.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert names(steps) == ["first", "second", "closed"]
        assert len(threads(steps)) == 1
        assert steps[1][2] is True
        with pytest.raises(StopAsyncIteration):
            await anext(items)

    run(scenario)


@in_order
def test_a_step_that_is_cancelled_before_it_begins_leaves_a_closed_generator(run: Run) -> None:
    """The step does not run, and the generator is closed on its thread."""
    gate = Gate()
    steps = Steps()

    async def scenario(bridge: Bridge) -> None:
        numbers = bridge(steps)(3)
        assert await anext(numbers) == 0
        busy = asyncio.create_task(bridge(gate)())
        await seen(gate.entered)
        step = asyncio.create_task(anext(numbers))
        await cancel(step)
        gate.open.set()
        await busy
        with pytest.raises(asyncio.CancelledError):
            await step
        assert steps.done == ["makes 0", "closed"]
        assert len(steps.threads) == 1

    run(scenario)


@everywhere
def test_a_body_that_is_cancelled_closes_the_generator_on_its_thread(run: Run) -> None:
    """As it would an async generator."""
    steps = Steps()

    async def scenario(bridge: Bridge) -> None:
        waiting = asyncio.Event()

        async def uses() -> None:
            async with aclosing(bridge(steps)(3)) as numbers:
                async for _ in numbers:
                    waiting.set()
                    await asyncio.get_running_loop().create_future()

        task = asyncio.create_task(uses())
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert steps.done == ["makes 0", "closed"]
        assert len(steps.threads) == 1

    run(scenario)


@in_order
def test_a_cancellation_does_not_keep_a_generator_from_being_closed(run: Run) -> None:
    """Its end is certain, although it has to wait for its turn."""
    gate = Gate()
    steps = Steps()

    async def scenario(bridge: Bridge) -> None:
        numbers = bridge(steps)(3)
        await anext(numbers)
        busy = asyncio.create_task(bridge(gate)())
        await seen(gate.entered)
        closes = asyncio.create_task(numbers.aclose())
        await some_rounds()
        await cancel(closes)
        gate.open.set()
        with pytest.raises(asyncio.CancelledError):
            await closes
        await busy
        assert steps.done == ["makes 0", "closed"]
        assert len(steps.threads) == 1

    run(scenario)


# Generators that are dropped.


@everywhere
def test_a_generator_that_is_dropped_half_way_is_closed_on_its_thread(run: Run) -> None:
    """The loop sees to it, as to every async generator."""
    steps = Steps()
    closed = threading.Event()

    def tells() -> Iterator[int]:
        try:
            yield from steps(3)
        finally:
            closed.set()

    async def scenario(bridge: Bridge) -> None:
        numbers = bridge(tells)()
        await anext(numbers)
        del numbers
        gc.collect()
        await seen(closed)
        await bridge(str)()
        assert steps.done == ["makes 0", "closed"]
        assert len(steps.threads) == 1

    run(scenario)


def test_a_generator_that_is_left_half_way_is_closed_with_its_loop() -> None:
    """When asyncio.run() ends."""
    steps = Steps()

    async def main() -> None:
        numbers = sync_to_async(steps, thread_sensitive=False)(3)
        await anext(numbers)
        kept.append(numbers)

    kept: list[Any] = []
    asyncio.run(main(), debug=True)
    assert steps.done == ["makes 0", "closed"]
    assert len(steps.threads) == 1


def test_a_generator_that_outlives_its_loop_keeps_no_thread() -> None:
    """The loop was closed before anyone could close the generator."""
    asyncio.run(sync_to_async(int)())  # from now on the shared thread is busy
    before = leases.stats().busy
    steps = Steps()
    loop = asyncio.new_event_loop()

    async def begins() -> Any:
        numbers = sync_to_async(steps, thread_sensitive=False)(3)
        assert await anext(numbers) == 0
        return numbers

    numbers = loop.run_until_complete(begins())
    assert leases.stats().busy == before + 1
    loop.close()
    reference = weakref.ref(numbers)
    del numbers
    gc.collect()
    assert reference() is None
    # That its thread is given back is seen to by the fixture that looks for busy ones.


# Context managers in async code.


@everywhere
def test_a_manager_is_entered_and_left_on_one_thread(run: Run) -> None:
    """Its value is that of the block."""
    steps: list[Any] = []

    async def scenario(bridge: Bridge) -> None:
        async with bridge(manages(steps)) as value:
            assert value == "value"
            assert names(steps) == ["enters"]
            await bridge(str)()
        assert names(steps) == ["enters", "leaves"]
        assert len(threads(steps)) == 1

    run(scenario)


@everywhere
def test_a_manager_function_gives_managers(run: Run) -> None:
    """One for each call, with its arguments."""
    left: list[str] = []

    @contextmanager
    def opens(name: str, *, mode: str = "r") -> Iterator[str]:
        yield f"{name}, {mode}"
        left.append(name)

    async def scenario(bridge: Bridge) -> None:
        wrapper = bridge(opens)
        assert wrapper.__name__ == "opens"
        async with wrapper("a") as first, wrapper("b", mode="w") as second:
            assert (first, second) == ("a, r", "b, w")
        with pytest.raises(TypeError, match="missing 1 required positional argument"):
            async with wrapper():
                pass

    run(scenario)
    assert left == ["b", "a"]


class Opens:
    """Whose method gives a manager."""

    @sync_to_async
    @contextmanager
    def decorated(self, value: str) -> Iterator[tuple[object, str]]:
        yield self, value

    @sync_to_async
    @classmethod
    @contextmanager
    def of_class(cls, value: str) -> Iterator[tuple[object, str]]:
        yield cls, value


async def test_a_manager_method_binds() -> None:
    """To the object, or to the class."""
    thing = Opens()
    async with thing.decorated("x") as found:
        assert found == (thing, "x")
    async with Opens.of_class("y") as found:
        assert found == (Opens, "y")


class Manager:
    """A manager of a class of its own, which takes the first error of the right kind."""

    def __init__(self, answer: object = None) -> None:
        self.answer = answer
        self.calls: list[Any] = []

    def __enter__(self) -> "Manager":
        self.calls.append("enter")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Any:
        self.calls.append((kind, error, traceback is not None))
        return self.answer


@everywhere
def test_an_object_that_is_a_manager_is_taken(run: Run) -> None:
    """It is told of the block's end, with or without an error."""
    error = Refused("in the block")

    async def scenario(bridge: Bridge) -> None:
        manager = Manager()
        async with bridge(manager) as value:
            assert value is manager
        manager_of_error = Manager()
        with pytest.raises(Refused) as caught:
            async with bridge(manager_of_error):
                raise error
        assert caught.value is error
        assert manager.calls == ["enter", (None, None, False)]
        assert manager_of_error.calls == ["enter", (Refused, error, True)]

    run(scenario)


@everywhere
def test_a_manager_may_swallow_the_error_of_the_block(run: Run) -> None:
    """A class by what it gives back, a generator by going on; whatever is true does."""

    @contextmanager
    def swallows() -> Iterator[None]:
        with contextlib.suppress(Refused):
            yield

    async def scenario(bridge: Bridge) -> None:
        async with bridge(swallows)():
            raise Refused("in the block")
        async with bridge(contextlib.suppress(Refused)):
            raise Refused("in the block")
        async with bridge(Manager(answer="yes")):
            raise Refused("in the block")
        with pytest.raises(KeyError, match="another"):
            async with bridge(swallows)():
                raise KeyError("another")

    run(scenario)


@everywhere
def test_a_manager_may_raise_another_error(run: Run) -> None:
    """With that of the block as its cause or context."""

    @contextmanager
    def translates() -> Iterator[None]:
        try:
            yield
        except KeyError as error:
            raise Refused("translated") from error

    async def scenario(bridge: Bridge) -> None:
        error = KeyError("in the block")
        with pytest.raises(Refused, match="translated") as caught:
            async with bridge(translates)():
                raise error
        assert caught.value.__cause__ is error

    run(scenario)


@everywhere
def test_a_manager_that_cannot_be_entered_says_so(run: Run) -> None:
    """The block does not run, and the manager is not left."""

    class Fails(Manager):
        def __enter__(self) -> Any:
            raise Refused("cannot be entered")

    async def scenario(bridge: Bridge) -> None:
        manager = Fails()
        with pytest.raises(Refused, match="cannot be entered"):
            async with bridge(manager):
                pytest.fail("the block has run")
        assert manager.calls == []
        assert await bridge(str)("next") == "next"

    run(scenario)


async def test_a_manager_that_was_not_entered_cannot_be_left() -> None:
    """The error says so."""
    manager = sync_to_async(Manager())
    with pytest.raises(RuntimeError, match="the context manager was not entered"):
        await manager.__aexit__(None, None, None)


@everywhere
def test_a_manager_that_can_be_used_again_can_be_used_again(run: Run) -> None:
    """By the same wrapper."""

    async def scenario(bridge: Bridge) -> None:
        lock = threading.RLock()
        manager = bridge(lock)
        for _ in range(3):
            async with asyncio.timeout(5):
                async with manager:
                    pass
        other = Manager()
        wrapper = bridge(other)
        for _ in range(3):
            async with asyncio.timeout(5):
                async with wrapper as value:
                    assert value is other
        assert other.calls == ["enter", (None, None, False)] * 3

    run(scenario)


async def test_locks_that_belong_to_a_thread_can_be_used() -> None:
    """They are released on the thread that took them."""
    lock = threading.RLock()
    async with sync_to_async(lock, thread_sensitive=False):
        assert not lock._is_owned()
        assert not await sync_to_async(functools.partial(lock.acquire, blocking=False))()
    assert lock.acquire(blocking=False)
    lock.release()


def test_a_manager_that_may_not_be_abandoned_says_so() -> None:
    """When it is wrapped."""
    with pytest.raises(TypeError, match="abandon_on_cancel cannot be used for a generator or a context man"):
        sync_to_async(Opens.decorated.__wrapped__, abandon_on_cancel=True)
    with pytest.raises(TypeError, match="abandon_on_cancel cannot be used for a generator or a context man"):
        sync_to_async(Manager(), abandon_on_cancel=True)


@everywhere
def test_variables_set_by_a_manager_are_seen_in_the_block(run: Run) -> None:
    """And those of the block when it is left."""
    found: list[str] = []

    @contextmanager
    def sets() -> Iterator[None]:
        token = variable.set("by the manager")
        yield
        found.append(variable.get())
        variable.set("at the end")
        del token

    async def scenario(bridge: Bridge) -> None:
        async with bridge(sets)():
            assert variable.get() == "by the manager"
            variable.set("by the block")
        assert variable.get() == "at the end"

    run(scenario)
    assert found == ["by the block"]


# Context managers and cancellation.


@everywhere
def test_a_block_that_is_cancelled_is_left(run: Run) -> None:
    """The manager is told, on its thread."""
    steps: list[Any] = []

    async def scenario(bridge: Bridge) -> None:
        waiting = asyncio.Event()

        async def uses() -> None:
            async with bridge(manages(steps)):
                waiting.set()
                await asyncio.get_running_loop().create_future()

        task = asyncio.create_task(uses())
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(scenario)
    assert names(steps) == ["enters", "error", "leaves"]
    assert isinstance(steps[1][1], asyncio.CancelledError)
    assert len(threads(steps)) == 1


@everywhere
def test_a_manager_that_is_cancelled_while_it_is_entered_is_left_again(run: Run) -> None:
    """The block does not run, so nobody else would."""
    gate = Gate()
    steps: list[Any] = []

    class Slow(Manager):
        def __enter__(self) -> Any:
            gate()
            steps.append(("enters", here()))
            return self

        def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
            steps.append(("leaves", here(), kind))

    async def scenario(bridge: Bridge) -> None:
        async def uses() -> None:
            async with bridge(Slow()):
                pytest.fail("the block has run")

        task = asyncio.create_task(uses())
        await seen(gate.entered)
        await cancel(task)
        gate.open.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(scenario)
    assert names(steps) == ["enters", "leaves"]
    assert len(threads(steps)) == 1
    assert steps[1][2] is asyncio.CancelledError


@everywhere
def test_a_manager_that_swallows_the_cancellation_while_it_is_entered(run: Run) -> None:
    """The cancellation is raised all the same: there is no block to go on after."""
    gate = Gate()

    class Slow(Manager):
        def __enter__(self) -> Any:
            gate()
            return super().__enter__()

    async def scenario(bridge: Bridge) -> None:
        manager = Slow(answer=True)
        task = asyncio.create_task(bridge(manager).__aenter__())
        await seen(gate.entered)
        await cancel(task)
        gate.open.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(manager.calls) == 2

    run(scenario)


@in_order
def test_a_manager_that_is_cancelled_before_it_is_entered_never_is(run: Run) -> None:
    """Nor left."""
    gate = Gate()

    async def scenario(bridge: Bridge) -> None:
        manager = Manager()
        busy = asyncio.create_task(bridge(gate)())
        await seen(gate.entered)
        task = asyncio.create_task(bridge(manager).__aenter__())
        await some_rounds()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.open.set()
        await busy
        assert manager.calls == []

    run(scenario)


@in_order
def test_a_cancellation_does_not_keep_a_manager_from_being_left(run: Run) -> None:
    """Its end is certain, although it has to wait for its turn."""
    gate = Gate()
    steps: list[Any] = []

    async def scenario(bridge: Bridge) -> None:
        manager = bridge(manages(steps))
        await manager.__aenter__()
        busy = asyncio.create_task(bridge(gate)())
        await seen(gate.entered)
        leaves = asyncio.create_task(manager.__aexit__(None, None, None))
        await some_rounds()
        await cancel(leaves)
        assert not leaves.done()
        gate.open.set()
        with pytest.raises(asyncio.CancelledError):
            await leaves
        await busy

    run(scenario)
    assert names(steps) == ["enters", "leaves"]
    assert len(threads(steps)) == 1


@everywhere
def test_a_manager_whose_coroutine_is_closed_while_it_is_entered_leaves_the_thread_usable(run: Run) -> None:
    """Nothing can be awaited then."""
    gate = Gate()

    class Slow(Manager):
        def __enter__(self) -> Any:
            gate()
            return super().__enter__()

    async def scenario(bridge: Bridge) -> None:
        entering = bridge(Slow()).__aenter__()
        entering.send(None)
        await seen(gate.entered)
        entering.close()
        gate.open.set()
        async with asyncio.timeout(5):
            assert await bridge(str)("next") == "next"

    run(scenario)


# Async generators in plain code.


class AsyncSteps:
    """An async generator function that tells what it does, and where."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.tasks: set[Any] = set()
        self.loops: set[Any] = set()

    def _here(self) -> None:
        self.tasks.add(asyncio.current_task())
        self.loops.add(asyncio.get_running_loop())

    async def __call__(self, count: int) -> AsyncGenerator[int, Any]:
        try:
            for number in range(count):
                await asyncio.sleep(0)
                self._here()
                self.done.append(f"makes {number}")
                yield number
            self.done.append("has no more")
        finally:
            await asyncio.sleep(0)
            self._here()
            self.done.append("closed")


def _on_own_loop(test: Callable[[Bridge], None]) -> None:
    test(async_to_sync)


def _on_new_loop(test: Callable[[Bridge], None]) -> None:
    test(functools.partial(async_to_sync, force_new_loop=True))


def _on_loop_thread(test: Callable[[Bridge], None]) -> None:
    with LoopThread() as loop:
        test(functools.partial(async_to_sync, loop=loop))


def _on_loop_above(test: Callable[[Bridge], None]) -> None:
    asyncio.run(sync_to_async(test)(async_to_sync), debug=True)


def _on_loop_above_that_waits(test: Callable[[Bridge], None]) -> None:
    async def main() -> None:
        await sync_to_async(test)(async_to_sync)

    async_to_sync(main)()


def _on_new_loop_below_another(test: Callable[[Bridge], None]) -> None:
    asyncio.run(sync_to_async(test)(functools.partial(async_to_sync, force_new_loop=True)), debug=True)


LOOPS: dict[str, Callable[[Callable[[Bridge], None]], None]] = {
    "own loop": _on_own_loop,
    "new loop": _on_new_loop,
    "loop thread": _on_loop_thread,
    "loop above": _on_loop_above,
    "loop above that is waited for": _on_loop_above_that_waits,
    "new loop below another": _on_new_loop_below_another,
}
on_each_loop = pytest.mark.parametrize("on_loop", LOOPS.values(), ids=LOOPS)
OnLoop = Callable[[Callable[[Bridge], None]], None]


@on_each_loop
def test_an_async_generator_gives_its_items(on_loop: OnLoop) -> None:
    """All steps are taken by one task on one loop, and the loop has nothing of it left."""
    steps = AsyncSteps()

    def test(bridge: Bridge) -> None:
        assert list(bridge(steps)(5)) == [0, 1, 2, 3, 4]

    on_loop(test)
    assert steps.done == [*(f"makes {number}" for number in range(5)), "has no more", "closed"]
    assert len(steps.tasks) == len(steps.loops) == 1
    assert "asgiadapt-loop" not in {thread.name for thread in threading.enumerate()}


@on_each_loop
def test_an_async_generator_runs_no_step_ahead(on_loop: OnLoop) -> None:
    """It does as much as has been asked for."""

    def test(bridge: Bridge) -> None:
        steps = AsyncSteps()
        numbers = bridge(steps)(3)
        assert steps.done == []
        for number in range(3):
            assert next(numbers) == number
            bridge(some_rounds)()
            assert steps.done == [f"makes {made}" for made in range(number + 1)]
        with pytest.raises(StopIteration):
            next(numbers)
        assert steps.done[3:] == ["has no more", "closed"]

    on_loop(test)


@on_each_loop
def test_an_async_generator_that_is_left_early_is_closed_by_its_task(on_loop: OnLoop) -> None:
    """By close(), or when the last reference to it goes."""

    def test(bridge: Bridge) -> None:
        for leave in ("by close", "by reference"):
            steps = AsyncSteps()
            numbers = bridge(steps)(3)
            assert next(numbers) == 0
            if leave == "by close":
                numbers.close()
                assert list(numbers) == []
            else:
                del numbers
                gc.collect()
            assert steps.done == ["makes 0", "closed"]
            assert len(steps.tasks) == len(steps.loops) == 1

    on_loop(test)
    assert "asgiadapt-loop" not in {thread.name for thread in threading.enumerate()}


def test_an_async_generator_that_is_never_begun_needs_no_loop() -> None:
    """Neither its body nor its end is run."""
    steps = AsyncSteps()
    numbers = async_to_sync(steps)(3)
    del numbers
    async_to_sync(steps)(3).close()
    assert steps.done == []


@on_each_loop
def test_an_async_generator_is_sent_values(on_loop: OnLoop) -> None:
    """On its loop."""

    async def doubles() -> AsyncGenerator[Any, Any]:
        answer = yield "ready"
        while True:
            await asyncio.sleep(0)
            answer = yield (answer, answer * 2)

    def test(bridge: Bridge) -> None:
        with closing(bridge(doubles)()) as numbers:
            assert next(numbers) == "ready"
            assert numbers.send(3) == (3, 6)
            assert numbers.send("ab") == ("ab", "abab")

    on_loop(test)


@on_each_loop
def test_an_error_is_thrown_into_an_async_generator(on_loop: OnLoop) -> None:
    """It may handle it and go on, or let it out."""
    error = Refused("thrown in")
    caught: list[BaseException] = []

    async def handles_one() -> AsyncIterator[str]:
        try:
            yield "first"
        except Refused as thrown:
            await asyncio.sleep(0)
            caught.append(thrown)
        yield "second"

    def test(bridge: Bridge) -> None:
        items = bridge(handles_one)()
        assert next(items) == "first"
        assert items.throw(error) == "second"
        with pytest.raises(Refused) as out:
            items.throw(error)
        assert out.value is error
        assert list(items) == []

    on_loop(test)
    assert caught == [error]


@on_each_loop
def test_an_error_of_an_async_generator_comes_out_of_the_step(on_loop: OnLoop) -> None:
    """The very object, and the generator is at its end."""
    error = Refused("no")

    async def fails() -> AsyncIterator[int]:
        yield 1
        raise error

    def test(bridge: Bridge) -> None:
        items = bridge(fails)()
        assert next(items) == 1
        with pytest.raises(Refused) as caught:
            next(items)
        assert caught.value is error
        assert list(items) == []

    on_loop(test)


@on_each_loop
def test_variables_are_carried_at_each_step_of_an_async_generator(on_loop: OnLoop) -> None:
    """Both ways, also at the last one."""

    async def tells() -> AsyncIterator[str]:
        for number in range(3):
            found = variable.get()
            await asyncio.sleep(0)
            variable.set(f"of step {number}")
            yield found
        variable.set("of the end")

    def test(bridge: Bridge) -> None:
        variable.set("at first")
        found = []
        for was in bridge(tells)():
            found.append((was, variable.get()))
            variable.set(f"{variable.get()}, then the caller's")
        assert found == [
            ("at first", "of step 0"),
            ("of step 0, then the caller's", "of step 1"),
            ("of step 1, then the caller's", "of step 2"),
        ]
        assert variable.get() == "of the end"

    copy_context().run(on_loop, test)


class AsyncNumbers:
    """Things that make numbers, by a method, and when they are called."""

    def __init__(self, count: int = 3) -> None:
        self._count = count

    @async_to_sync
    async def wrapped(self) -> AsyncIterator[int]:
        for number in range(self._count):
            yield number

    async def plain(self) -> AsyncIterator[int]:
        for number in range(self._count):
            yield number

    __call__ = plain

    @async_to_sync
    @classmethod
    async def of_class(cls, count: int) -> AsyncIterator[int]:
        async for number in cls(count).plain():
            yield number


class Counts:
    """An async iterator that has nothing but its steps."""

    def __init__(self, count: int) -> None:
        self._numbers = iter(range(count))

    def __aiter__(self) -> "Counts":
        return self

    async def __anext__(self) -> int:
        for number in self._numbers:
            return number
        raise StopAsyncIteration


@pytest.mark.parametrize(
    "numbers",
    [
        lambda: AsyncNumbers(3).wrapped(),
        lambda: async_to_sync(AsyncNumbers(3).plain)(),
        lambda: async_to_sync(AsyncNumbers(3))(),
        lambda: AsyncNumbers.of_class(3),
        lambda: async_to_sync(functools.partial(AsyncNumbers.plain, AsyncNumbers(3)))(),
        lambda: async_to_sync(AsyncNumbers(3).plain()),
        lambda: async_to_sync(Counts(3)),
    ],
    ids=["decorated method", "bound method", "object", "class method", "partial", "generator", "iterator"],
)
def test_every_kind_of_async_iteration_is_taken(numbers: Callable[[], Iterator[int]]) -> None:
    """By whatever it is made."""
    assert list(numbers()) == [0, 1, 2]


def test_an_error_for_an_async_iterator_that_takes_none_comes_out() -> None:
    """And the iteration is over."""
    numbers = async_to_sync(Counts(3))
    assert next(numbers) == 0
    with pytest.raises(Refused, match="thrown in"):
        numbers.throw(Refused("thrown in"))
    assert list(numbers) == []


async def test_an_async_generator_cannot_be_used_on_the_thread_of_a_running_loop() -> None:
    """Neither be begun there, nor go on there; elsewhere it goes on."""
    with pytest.raises(DeadlockError, match="You cannot use async_to_sync in the same thread as an async"):
        list(async_to_sync(AsyncSteps())(3))
    steps = AsyncSteps()

    def begins() -> Iterator[int]:
        numbers = async_to_sync(steps)(3)
        next(numbers)
        return numbers

    numbers = await sync_to_async(begins)()
    assert steps.done == ["makes 0"]
    with pytest.raises(DeadlockError, match="You cannot use async_to_sync in the same thread as an async"):
        next(numbers)


@on_each_loop
def test_sensitive_calls_of_an_async_generator_run_on_the_thread_that_uses_it(on_loop: OnLoop) -> None:
    """At each step, and when it is closed."""
    found: list[int] = []

    async def asks() -> AsyncIterator[int]:
        try:
            while True:
                yield await sync_to_async(here)()
        finally:
            found.append(await sync_to_async(here)())

    def test(bridge: Bridge) -> None:
        with closing(bridge(asks)()) as items:
            found.extend([next(items), next(items)])
        assert found == [here()] * 3

    on_loop(test)


@on_each_loop
def test_each_step_may_be_asked_for_by_another_thread(on_loop: OnLoop) -> None:
    """The task is the same."""
    steps = AsyncSteps()

    def test(bridge: Bridge) -> None:
        numbers = bridge(steps)(3)
        found = [next(numbers)]
        with ThreadPoolExecutor(1) as pool:
            found.append(pool.submit(next, numbers).result(20))
        found.append(next(numbers))
        assert found == [0, 1, 2]
        numbers.close()

    on_loop(test)
    assert len(steps.tasks) == 1


@on_each_loop
def test_async_generators_may_take_turns(on_loop: OnLoop) -> None:
    """Each with a task of its own."""
    first, second = AsyncSteps(), AsyncSteps()

    def test(bridge: Bridge) -> None:
        assert list(zip(bridge(first)(3), bridge(second)(4), strict=False)) == [(0, 0), (1, 1), (2, 2)]

    on_loop(test)
    assert first.done[-1] == second.done[-1] == "closed"
    assert first.tasks.isdisjoint(second.tasks)


@on_each_loop
def test_what_an_async_generator_starts_goes_on_between_the_steps(on_loop: OnLoop) -> None:
    """The loop runs while the body does something else."""
    ran = threading.Event()

    async def starts() -> AsyncIterator[str]:
        async def runs() -> None:
            await asyncio.sleep(0)
            ran.set()

        task = asyncio.create_task(runs())
        yield "first"
        await task

    def test(bridge: Bridge) -> None:
        for item in bridge(starts)():
            assert item == "first"
            assert ran.wait(20)

    on_loop(test)


@on_each_loop
def test_a_task_group_may_be_open_across_the_steps(on_loop: OnLoop) -> None:
    """Its tasks run in the meantime, and are waited for at the end."""
    ended: list[int] = []

    async def works(number: int) -> int:
        await asyncio.sleep(0)
        ended.append(number)
        return number

    async def starts() -> AsyncIterator[int]:
        async with asyncio.TaskGroup() as group:
            for number in range(3):
                task = group.create_task(works(number))
                yield await task
            group.create_task(works(3))

    def test(bridge: Bridge) -> None:
        assert list(bridge(starts)()) == [0, 1, 2]
        assert ended == [0, 1, 2, 3]

    on_loop(test)


@on_each_loop
def test_a_time_limit_may_be_open_across_the_steps(on_loop: OnLoop) -> None:
    """It is over in the midst of one, and the step says so."""

    async def waits() -> AsyncIterator[str]:
        async with asyncio.timeout(None) as limit:
            yield "first"
            limit.reschedule(0)
            await asyncio.get_running_loop().create_future()

    def test(bridge: Bridge) -> None:
        items = bridge(waits)()
        assert next(items) == "first"
        with pytest.raises(TimeoutError):
            next(items)
        assert list(items) == []

    on_loop(test)


@on_each_loop
def test_a_time_limit_that_is_over_between_two_steps_ends_the_next_one(on_loop: OnLoop) -> None:
    """The body is not interrupted; what comes after it is."""
    over = threading.Event()
    steps: list[str] = []

    async def waits() -> AsyncIterator[str]:
        try:
            async with asyncio.timeout(None) as limit:
                limit.reschedule(0)
                asyncio.get_running_loop().call_later(0.001, over.set)
                yield "first"
                await asyncio.get_running_loop().create_future()
        finally:
            steps.append("closed")

    def test(bridge: Bridge) -> None:
        items = bridge(waits)()
        assert next(items) == "first"
        assert over.wait(20)
        with pytest.raises(TimeoutError):
            next(items)
        assert steps == ["closed"]

    on_loop(test)


@on_each_loop
def test_a_task_that_fails_between_two_steps_ends_the_next_one(on_loop: OnLoop) -> None:
    """By the group that it belongs to."""
    failed = threading.Event()

    async def fails() -> None:
        asyncio.get_running_loop().call_later(0.001, failed.set)
        raise Refused("between two steps")

    async def starts() -> AsyncIterator[str]:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
            yield "first"
            await asyncio.get_running_loop().create_future()

    def test(bridge: Bridge) -> None:
        items = bridge(starts)()
        assert next(items) == "first"
        assert failed.wait(20)
        with pytest.raises(ExceptionGroup) as caught:
            next(items)
        assert [str(error) for error in caught.value.exceptions] == ["between two steps"]

    on_loop(test)


def test_a_loop_that_is_closed_between_two_steps_says_so() -> None:
    """And the generator was closed with it."""
    steps = AsyncSteps()
    loop = LoopThread()
    numbers = async_to_sync(steps, loop=loop)(3)
    assert next(numbers) == 0
    loop.close()
    with pytest.raises(LoopStopped, match="closed"):
        next(numbers)
    assert steps.done == ["makes 0", "closed"]


# Async generators and cancellation.


async def test_a_step_of_an_async_generator_is_cancelled_inside() -> None:
    """The generator may clean up, then the sync code gets the cancellation."""
    steps: list[str] = []
    waiting = threading.Event()

    async def waits() -> AsyncIterator[str]:
        try:
            yield "first"
            waiting.set()
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            steps.append("generator")
            raise

    def uses() -> None:
        try:
            steps.extend(async_to_sync(waits)())
        except asyncio.CancelledError:
            steps.append("sync code")
            raise

    task = asyncio.create_task(sync_to_async(uses)())
    await seen(waiting)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == ["first", "generator", "sync code"]


async def test_an_async_generator_that_goes_on_after_its_cancellation_is_closed() -> None:
    """By its own task, before the sync code gets the cancellation."""
    steps: list[Any] = []
    waiting = threading.Event()

    async def goes_on() -> AsyncIterator[str]:
        try:
            steps.append(asyncio.current_task())
            try:
                waiting.set()
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                pass
            yield "an item"
        finally:
            steps.append(asyncio.current_task())

    def uses() -> None:
        try:
            for _ in async_to_sync(goes_on)():
                pytest.fail("the item has come")
        finally:
            steps.append("sync code")

    task = asyncio.create_task(sync_to_async(uses)())
    await seen(waiting)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps[0] is steps[1]
    assert steps[2:] == ["sync code"]


async def test_a_step_that_begins_after_the_cancellation_is_not_taken() -> None:
    """And the generator is closed by its own task."""
    gate = Gate()
    steps = AsyncSteps()
    errors: list[BaseException] = []

    def uses() -> None:
        numbers = async_to_sync(steps)(3)
        next(numbers)
        gate()
        try:
            next(numbers)
        except asyncio.CancelledError as error:
            errors.append(error)
            assert steps.done == ["makes 0", "closed"]
            assert list(numbers) == []
            raise

    task = asyncio.create_task(sync_to_async(uses)())
    await seen(gate.entered)
    await cancel(task)
    gate.open.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(errors) == 1
    assert steps.done == ["makes 0", "closed"]
    assert len(steps.tasks) == 1


async def test_a_generator_that_is_left_by_a_cancellation_is_closed() -> None:
    """The cancellation was of another call in its body."""
    steps = AsyncSteps()
    waiting = threading.Event()

    async def for_ever() -> None:
        waiting.set()
        await asyncio.get_running_loop().create_future()

    def uses() -> None:
        with closing(async_to_sync(steps)(3)) as numbers:
            for _ in numbers:
                async_to_sync(for_ever)()

    task = asyncio.create_task(sync_to_async(uses)())
    await seen(waiting)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps.done == ["makes 0", "closed"]
    assert len(steps.tasks) == 1


# Async context managers in plain code.


def manages_later(steps: list[Any], value: object = "value") -> Any:
    @asynccontextmanager
    async def manager() -> AsyncIterator[object]:
        await asyncio.sleep(0)
        steps.append(("enters", asyncio.current_task()))
        try:
            yield value
        except BaseException as error:
            steps.append(("error", error))
            raise
        finally:
            await asyncio.sleep(0)
            steps.append(("leaves", asyncio.current_task()))

    return manager()


@on_each_loop
def test_an_async_manager_is_entered_and_left_by_one_task(on_loop: OnLoop) -> None:
    """Its value is that of the block, and nothing of it is left."""
    steps: list[Any] = []

    def test(bridge: Bridge) -> None:
        with bridge(manages_later(steps)) as value:
            assert value == "value"
            assert names(steps) == ["enters"]
            bridge(some_rounds)()

    on_loop(test)
    assert names(steps) == ["enters", "leaves"]
    assert steps[0][1] is steps[1][1]
    assert "asgiadapt-loop" not in {thread.name for thread in threading.enumerate()}


@on_each_loop
def test_an_async_manager_function_gives_managers(on_loop: OnLoop) -> None:
    """One for each call, with its arguments."""
    left: list[str] = []

    @asynccontextmanager
    async def opens(name: str, *, mode: str = "r") -> AsyncIterator[str]:
        yield f"{name}, {mode}"
        left.append(name)

    def test(bridge: Bridge) -> None:
        wrapper = bridge(opens)
        assert wrapper.__name__ == "opens"
        with wrapper("a") as first, wrapper("b", mode="w") as second:
            assert (first, second) == ("a, r", "b, w")
        with pytest.raises(TypeError, match="missing 1 required positional argument"):
            with wrapper():
                pass

    on_loop(test)
    assert left == ["b", "a"]


class AsyncManager:
    """A manager of a class of its own."""

    def __init__(self, answer: object = None) -> None:
        self.answer = answer
        self.calls: list[Any] = []

    async def __aenter__(self) -> "AsyncManager":
        self.calls.append("enter")
        return self

    async def __aexit__(self, kind: Any, error: Any, traceback: Any) -> Any:
        self.calls.append((kind, error, traceback is not None))
        return self.answer


@on_each_loop
def test_an_object_that_is_an_async_manager_is_taken(on_loop: OnLoop) -> None:
    """Again and again; it is told of the block's end, with or without an error."""
    error = Refused("in the block")

    def test(bridge: Bridge) -> None:
        manager = AsyncManager()
        wrapper = bridge(manager)
        with wrapper as value:
            assert value is manager
        with pytest.raises(Refused) as caught:
            with wrapper:
                raise error
        assert caught.value is error
        assert manager.calls == ["enter", (None, None, False), "enter", (Refused, error, True)]

    on_loop(test)


@on_each_loop
def test_an_async_manager_may_swallow_the_error_of_the_block(on_loop: OnLoop) -> None:
    """A class by what it gives back, a generator by going on."""

    @asynccontextmanager
    async def swallows() -> AsyncIterator[None]:
        with contextlib.suppress(Refused):
            yield

    def test(bridge: Bridge) -> None:
        with bridge(swallows)():
            raise Refused("in the block")
        with bridge(AsyncManager(answer="yes")):
            raise Refused("in the block")
        with pytest.raises(KeyError, match="another"):
            with bridge(swallows)():
                raise KeyError("another")

    on_loop(test)


@on_each_loop
def test_an_async_manager_may_raise_another_error(on_loop: OnLoop) -> None:
    """With that of the block as its cause."""

    @asynccontextmanager
    async def translates() -> AsyncIterator[None]:
        try:
            yield
        except KeyError as error:
            await asyncio.sleep(0)
            raise Refused("translated") from error

    def test(bridge: Bridge) -> None:
        error = KeyError("in the block")
        with pytest.raises(Refused, match="translated") as caught:
            with bridge(translates)():
                raise error
        assert caught.value.__cause__ is error

    on_loop(test)


@on_each_loop
def test_an_async_manager_that_cannot_be_entered_says_so(on_loop: OnLoop) -> None:
    """The block does not run, and the manager is not left."""

    class Fails(AsyncManager):
        async def __aenter__(self) -> Any:
            raise Refused("cannot be entered")

    def test(bridge: Bridge) -> None:
        manager = Fails()
        with pytest.raises(Refused, match="cannot be entered"):
            with bridge(manager):
                pytest.fail("the block has run")
        assert manager.calls == []

    on_loop(test)
    assert "asgiadapt-loop" not in {thread.name for thread in threading.enumerate()}


def test_an_async_manager_that_was_not_entered_cannot_be_left() -> None:
    """The error says so."""
    manager = async_to_sync(AsyncManager())
    with pytest.raises(RuntimeError, match="the context manager was not entered"):
        manager.__exit__(None, None, None)


async def test_an_async_manager_cannot_be_entered_on_the_thread_of_a_running_loop() -> None:
    """Nothing of it is run."""
    manager = AsyncManager()
    with pytest.raises(DeadlockError, match="You cannot use async_to_sync in the same thread as an async"):
        with async_to_sync(manager):
            pytest.fail("the block has run")
    assert manager.calls == []


class AsyncOpens:
    """Whose method gives a manager."""

    @async_to_sync
    @asynccontextmanager
    async def decorated(self, value: str) -> AsyncIterator[tuple[object, str]]:
        yield self, value


def test_an_async_manager_method_binds() -> None:
    """To the object."""
    thing = AsyncOpens()
    with thing.decorated("x") as found:
        assert found == (thing, "x")


@on_each_loop
def test_variables_set_by_an_async_manager_are_seen_in_the_block(on_loop: OnLoop) -> None:
    """And those of the block when it is left."""
    found: list[str] = []

    @asynccontextmanager
    async def sets() -> AsyncIterator[None]:
        variable.set("by the manager")
        yield
        found.append(variable.get())
        variable.set("at the end")

    def test(bridge: Bridge) -> None:
        with bridge(sets)():
            assert variable.get() == "by the manager"
            variable.set("by the block")
        assert variable.get() == "at the end"

    copy_context().run(on_loop, test)
    assert found == ["by the block"]


@on_each_loop
def test_a_task_group_may_be_open_for_the_block(on_loop: OnLoop) -> None:
    """Its tasks run in the meantime, and are waited for at the end."""
    ran = threading.Event()
    steps: list[str] = []

    async def works() -> None:
        ran.set()
        await asyncio.sleep(0)
        steps.append("waited for")

    @asynccontextmanager
    async def with_tasks() -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            group.create_task(works())
            yield
            group.create_task(works())

    def test(bridge: Bridge) -> None:
        with bridge(with_tasks)():
            assert ran.wait(20)

    on_loop(test)
    assert steps == ["waited for"] * 2


@on_each_loop
def test_a_task_that_fails_within_the_block_shows_at_its_end(on_loop: OnLoop) -> None:
    """The block itself is not interrupted."""
    failed = threading.Event()

    async def fails() -> None:
        asyncio.get_running_loop().call_later(0.001, failed.set)
        raise Refused("within the block")

    @asynccontextmanager
    async def with_task() -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
            yield

    def test(bridge: Bridge) -> None:
        with pytest.raises(ExceptionGroup) as caught:
            with bridge(with_task)():
                assert failed.wait(20)
        assert [str(error) for error in caught.value.exceptions] == ["within the block"]

    on_loop(test)


@on_each_loop
def test_a_time_limit_that_is_over_within_the_block_shows_at_its_end(on_loop: OnLoop) -> None:
    """Where the manager waits for something, as in async code."""
    over = threading.Event()

    @asynccontextmanager
    async def within_limit() -> AsyncIterator[None]:
        async with asyncio.timeout(None) as limit:
            limit.reschedule(0)
            asyncio.get_running_loop().call_later(0.001, over.set)
            yield
            await asyncio.get_running_loop().create_future()

    def test(bridge: Bridge) -> None:
        with pytest.raises(TimeoutError):
            with bridge(within_limit)():
                assert over.wait(20)

    on_loop(test)


async def test_an_async_manager_that_is_cancelled_while_it_is_entered_is_not_left() -> None:
    """Its own code has seen the cancellation."""
    steps: list[str] = []
    waiting = threading.Event()

    @asynccontextmanager
    async def slow() -> AsyncIterator[None]:
        try:
            waiting.set()
            await asyncio.get_running_loop().create_future()
            yield
        finally:
            steps.append("cleaned up")

    def uses() -> None:
        with async_to_sync(slow)():
            pytest.fail("the block has run")

    task = asyncio.create_task(sync_to_async(uses)())
    await seen(waiting)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == ["cleaned up"]


async def test_an_async_manager_that_is_entered_in_spite_of_its_cancellation_is_left_again() -> None:
    """The block does not run, so nobody else would."""
    waiting = threading.Event()

    class Stubborn(AsyncManager):
        async def __aenter__(self) -> Any:
            try:
                waiting.set()
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                pass
            return await super().__aenter__()

    manager = Stubborn()

    def uses() -> None:
        with async_to_sync(manager):
            pytest.fail("the block has run")

    task = asyncio.create_task(sync_to_async(uses)())
    await seen(waiting)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [manager.calls[0], manager.calls[1][0]] == ["enter", asyncio.CancelledError]


async def test_an_async_manager_is_left_although_its_block_was_cancelled() -> None:
    """It learns of it from the block, once."""
    steps: list[Any] = []
    waiting = threading.Event()

    async def for_ever() -> None:
        waiting.set()
        await asyncio.get_running_loop().create_future()

    def uses() -> None:
        with async_to_sync(manages_later(steps)):
            async_to_sync(for_ever)()

    task = asyncio.create_task(sync_to_async(uses)())
    await seen(waiting)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert names(steps) == ["enters", "error", "leaves"]
    assert steps[0][1] is steps[2][1]


# Through one another.


def test_generators_within_each_other() -> None:
    """Each step goes down to the lowest, and up again, and so does the end."""
    steps: list[str] = []

    def lowest() -> Iterator[int]:
        try:
            for number in range(10):
                steps.append(f"makes {number}")
                yield number
        finally:
            steps.append("lowest closed")

    async def middle() -> AsyncIterator[int]:
        async with aclosing(sync_to_async(lowest)()) as numbers:
            async for number in numbers:
                yield number
        steps.append("not reached")

    with closing(async_to_sync(middle)()) as numbers:
        assert [next(numbers), next(numbers)] == [0, 1]
    assert steps == ["makes 0", "makes 1", "lowest closed"]


async def test_one_wrapper_of_a_generator_around_the_other() -> None:
    """Gives what the generator gives."""
    doubly = sync_to_async(async_to_sync(AsyncSteps()))
    assert [number async for number in doubly(3)] == [0, 1, 2]


def test_one_wrapper_of_an_async_generator_around_the_other() -> None:
    """Gives what the generator gives."""
    doubly = async_to_sync(sync_to_async(Steps()))
    assert list(doubly(3)) == [0, 1, 2]


def test_managers_within_each_other() -> None:
    """Left in reverse order, on the thread and by the task that entered them."""
    steps: list[Any] = []

    @asynccontextmanager
    async def outer() -> AsyncIterator[str]:
        async with sync_to_async(manages(steps)) as value:
            yield f"outer of {value}"

    with async_to_sync(outer)() as value:
        assert value == "outer of value"
    assert steps == [("enters", here()), ("leaves", here())]


async def test_a_sensitive_generator_begun_in_a_block_is_closed_on_the_thread_of_the_block() -> None:
    """As long as the block lasts."""
    steps = Steps()
    async with ThreadSensitiveContext():
        thread = await sync_to_async(here)()
        numbers = sync_to_async(steps)(3)
        await anext(numbers)
        await numbers.aclose()
    assert steps.threads == {thread}


reset_later: ContextVar[str] = ContextVar("reset_later", default="before")


@contextmanager
def sets_for_a_while(value: str) -> Iterator[str]:
    token = reset_later.set(value)
    try:
        yield reset_later.get()
    finally:
        reset_later.reset(token)


def sets_while_it_goes_on() -> Iterator[str]:
    with sets_for_a_while("within") as value:
        yield value
        yield reset_later.get()


@everywhere
def test_a_variable_that_one_step_sets_can_be_reset_by_another(run: Run) -> None:
    """The steps share a context, which the caller's changes come to, and from which its own come back."""

    async def scenario(bridge: Bridge) -> None:
        async with bridge(sets_for_a_while)("within") as value:
            assert (value, reset_later.get()) == ("within", "within")
        steps = bridge(sets_while_it_goes_on)()
        assert await anext(steps) == "within"
        reset_later.set("by the caller")
        assert [value async for value in steps] == ["by the caller"]

    run(scenario)
