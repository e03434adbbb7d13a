"""The context manager that is entered around each call, on its thread."""

import asyncio
import contextlib
import functools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, aclosing, contextmanager
from contextvars import Context, ContextVar
from typing import Any

import pytest

from asgiadapt import Local, async_to_sync, cancelled, sync_to_async
from tests.bridges import Bridge
from tests.bridges.scenarios import Gate, Run, cancel, everywhere, in_order, seen, some_rounds

here = threading.get_ident
variable: ContextVar[str] = ContextVar("variable", default="nothing")


class Refused(Exception):
    """What functions of these tests raise."""


class Hook:
    """Tells when it is entered and left, and where."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.threads: list[int] = []
        self.left = threading.Event()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        self.steps.append("enters")
        self.threads.append(here())
        try:
            yield
        except BaseException as error:
            self.steps.append(repr(error))
            raise
        finally:
            self.steps.append("leaves")
            self.threads.append(here())
            self.left.set()


@everywhere
def test_a_hook_is_entered_around_each_call(run: Run) -> None:
    """On the thread of the call, anew for each."""
    hook = Hook()

    def call(number: int) -> int:
        hook.steps.append(f"call {number}")
        hook.threads.append(here())
        return number

    async def scenario(bridge: Bridge) -> None:
        wrapper = bridge(call, hook=hook)
        assert await wrapper(1) == 1
        assert await wrapper(number=2) == 2

    run(scenario)
    assert hook.steps == ["enters", "call 1", "leaves", "enters", "call 2", "leaves"]
    for threads in (hook.threads[:3], hook.threads[3:]):
        assert len(set(threads)) == 1


async def test_a_hook_is_not_called_for_a_call_that_is_not_awaited() -> None:
    """Nor on the thread of the loop."""
    hook = Hook()
    wrapper = sync_to_async(here, hook=hook)
    coroutine = wrapper()
    assert hook.steps == []
    thread = await coroutine
    assert hook.threads == [thread, thread]
    assert thread != here()


async def test_a_hook_is_left_before_the_caller_goes_on() -> None:
    """What it does last is done by then."""
    done: list[str] = []

    @contextmanager
    def hook() -> Iterator[None]:
        yield
        done.append("left")

    await sync_to_async(str, hook=hook)()
    assert done == ["left"]


@pytest.mark.parametrize(
    "hook",
    [
        lambda: contextlib.nullcontext(),
        functools.partial(contextlib.nullcontext, 1),
        contextlib.ExitStack,
        threading.Lock,
        functools.partial(contextlib.suppress, KeyError),
    ],
    ids=["function", "partial", "class", "lock", "suppress"],
)
async def test_a_hook_is_whatever_gives_a_manager(hook: Callable[[], AbstractContextManager[Any]]) -> None:
    """When it is called without arguments."""
    assert await sync_to_async(str, hook=hook)("x") == "x"


async def test_a_decorator_takes_a_hook() -> None:
    """For methods too."""
    hook = Hook()

    class Shelf:
        @sync_to_async(hook=hook)
        def put(self, book: str) -> str:
            return f"{book} on a {type(self).__name__}"

    assert await Shelf().put("novel") == "novel on a Shelf"
    assert hook.steps == ["enters", "leaves"]


# The context of the call.


@everywhere
def test_a_hook_sees_the_variables_of_the_caller_and_sets_those_of_the_call(run: Run) -> None:
    """What it sets is brought back with the rest."""
    found: list[str] = []

    @contextmanager
    def hook() -> Iterator[None]:
        found.append(variable.get())
        variable.set("by the hook")
        yield
        found.append(variable.get())
        variable.set("at the end")

    def call() -> None:
        found.append(variable.get())
        variable.set("by the call")

    async def scenario(bridge: Bridge) -> None:
        variable.set("by the caller")
        await bridge(call, hook=hook)()
        assert variable.get() == "at the end"

    run(scenario)
    assert found == ["by the caller", "by the hook", "by the call"]


async def test_a_hook_runs_in_the_context_that_was_given() -> None:
    """As the call does."""
    context = Context()
    context.run(variable.set, "of the context")
    found: list[str] = []

    @contextmanager
    def hook() -> Iterator[None]:
        found.append(variable.get())
        variable.set("by the hook")
        yield

    assert await sync_to_async(variable.get, hook=hook, context=context)() == "by the hook"
    assert found == ["of the context"]
    assert variable.get() == "nothing"
    assert context[variable] == "by the hook"


async def test_a_hook_may_reset_what_it_has_set() -> None:
    """Token and variable are those of one context."""

    @contextmanager
    def hook() -> Iterator[None]:
        token = variable.set("by the hook")
        yield
        variable.reset(token)

    assert await sync_to_async(variable.get, hook=hook)() == "by the hook"
    assert variable.get() == "nothing"


async def test_a_hook_sees_the_locals_of_the_caller() -> None:
    """They go along to the thread, before the hook is entered."""
    local = Local()
    local.x = "of the caller"
    found: list[str] = []

    @contextmanager
    def hook() -> Iterator[None]:
        found.append(local.x)
        local.x = "by the hook"
        yield

    assert await sync_to_async(lambda: local.x, hook=hook)() == "by the hook"
    assert found == ["of the caller"]
    assert local.x == "by the hook"


async def test_the_call_sees_the_exception_that_its_caller_handles_through_the_hook() -> None:
    """It is not taken for one of the call."""
    hook = Hook()
    error = Refused("handled")
    try:
        raise error
    except Refused:
        assert await sync_to_async(sys.exception, hook=hook)() is error
    assert hook.steps == ["enters", "leaves"]


async def test_a_hook_may_call_async_code() -> None:
    """On the loop of the caller, before and after the call."""
    loops: list[Any] = []

    async def tells() -> None:
        loops.append(asyncio.get_running_loop())

    @contextmanager
    def hook() -> Iterator[None]:
        async_to_sync(tells)()
        yield
        async_to_sync(tells)()

    await sync_to_async(str, hook=hook)()
    assert loops == [asyncio.get_running_loop()] * 2


async def test_a_hook_is_entered_for_nested_calls_by_their_own_wrappers() -> None:
    """Each has the one that it was given."""
    outer_hook, inner_hook = Hook(), Hook()

    async def middle() -> None:
        await sync_to_async(str, hook=inner_hook)()
        await sync_to_async(str)()

    await sync_to_async(async_to_sync(middle), hook=outer_hook)()
    assert outer_hook.steps == inner_hook.steps == ["enters", "leaves"]
    assert set(outer_hook.threads) == set(inner_hook.threads)


# Errors.


@everywhere
def test_a_hook_is_left_after_an_error(run: Run) -> None:
    """It is told of it, and the caller gets it unchanged."""
    hook = Hook()
    error = Refused("no")

    def call() -> None:
        raise error

    async def scenario(bridge: Bridge) -> None:
        with pytest.raises(Refused) as caught:
            await bridge(call, hook=hook)()
        assert caught.value is error

    run(scenario)
    assert hook.steps == ["enters", "Refused('no')", "leaves"]


async def test_a_hook_may_swallow_an_error() -> None:
    """The call then gives None."""
    calls = []

    def call() -> str:
        calls.append(1)
        raise Refused("no")

    assert await sync_to_async(call, hook=functools.partial(contextlib.suppress, Refused))() is None
    assert calls == [1]


async def test_a_hook_may_raise_another_error() -> None:
    """The caller gets that."""

    @contextmanager
    def hook() -> Iterator[None]:
        try:
            yield
        except Refused as error:
            raise KeyError("instead") from error

    def call() -> None:
        raise Refused("no")

    with pytest.raises(KeyError, match="instead") as caught:
        await sync_to_async(call, hook=hook)()
    assert isinstance(caught.value.__cause__, Refused)


@everywhere
def test_a_call_whose_hook_fails_at_first_is_not_made(run: Run) -> None:
    """The error is raised to the caller, and the thread takes the next call."""
    calls: list[int] = []

    class Fails:
        def __enter__(self) -> None:
            raise Refused("by the hook")

        def __exit__(self, *error: object) -> None:
            calls.append(0)

    def refuses() -> AbstractContextManager[None]:
        raise Refused("by the hook itself")

    async def scenario(bridge: Bridge) -> None:
        with pytest.raises(Refused, match="by the hook"):
            await bridge(calls.append, hook=Fails)(1)
        with pytest.raises(Refused, match="by the hook itself"):
            await bridge(calls.append, hook=refuses)(1)
        assert await bridge(str)("next") == "next"

    run(scenario)
    assert calls == []


async def test_a_result_is_lost_where_the_hook_fails_at_last() -> None:
    """The error is raised to the caller."""
    calls: list[int] = []

    @contextmanager
    def hook() -> Iterator[None]:
        yield
        raise Refused("when it was left")

    with pytest.raises(Refused, match="when it was left"):
        await sync_to_async(calls.append, hook=hook)(1)
    assert calls == [1]


async def test_a_hook_that_gives_no_manager_is_refused() -> None:
    """By the error that Python has for it, when the call is made."""
    calls: list[int] = []
    with pytest.raises(TypeError, match="does not support the context manager protocol"):
        await sync_to_async(calls.append, hook=lambda: 5)(1)
    assert calls == []


# Cancellation.


@everywhere
def test_a_hook_is_left_when_a_cancelled_call_ends(run: Run) -> None:
    """Before the cancellation is raised, and without an error."""
    hook = Hook()
    gate = Gate()
    answers: list[bool] = []

    @contextmanager
    def asks() -> Iterator[None]:
        with hook():
            yield
            answers.append(cancelled())

    async def scenario(bridge: Bridge) -> None:
        task = asyncio.create_task(bridge(gate, hook=asks)())
        await seen(gate.entered)
        await cancel(task)
        assert hook.steps == ["enters"]
        gate.open.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert hook.steps == ["enters", "leaves"]

    run(scenario)
    assert len(set(hook.threads)) == 1
    assert answers == [True]


@everywhere
def test_a_call_that_is_cancelled_within_its_hook_is_still_made(run: Run) -> None:
    """It has begun with the hook."""
    gate = Gate()
    calls: list[bool] = []

    @contextmanager
    def slow() -> Iterator[None]:
        gate()
        yield

    async def scenario(bridge: Bridge) -> None:
        task = asyncio.create_task(bridge(lambda: calls.append(cancelled()), hook=slow)())
        await seen(gate.entered)
        await cancel(task)
        gate.open.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(scenario)
    assert calls == [True]


@in_order
def test_a_hook_is_not_entered_for_a_call_that_was_withdrawn(run: Run) -> None:
    """Nothing of the call is done."""
    hook = Hook()
    gate = Gate()

    async def scenario(bridge: Bridge) -> None:
        busy = asyncio.create_task(bridge(gate)())
        await seen(gate.entered)
        withdrawn = asyncio.create_task(bridge(str, hook=hook)())
        await some_rounds()
        withdrawn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await withdrawn
        gate.open.set()
        await busy
        await bridge(str)()

    run(scenario)
    assert hook.steps == []


@everywhere
def test_a_hook_is_left_when_an_abandoned_call_ends(run: Run) -> None:
    """On its thread, long after the caller has gone on."""
    hook = Hook()
    gate = Gate()

    async def scenario(bridge: Bridge) -> None:
        task = asyncio.create_task(bridge(gate, hook=hook, abandon_on_cancel=True)())
        await seen(gate.entered)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert hook.steps == ["enters"]
        gate.open.set()
        await seen(hook.left)

    run(scenario)
    assert hook.steps == ["enters", "leaves"]
    assert len(set(hook.threads)) == 1


# Generators and context managers.


@everywhere
def test_a_hook_is_entered_around_each_step_of_a_generator(run: Run) -> None:
    """And around its end, which is a step too; not while the caller does something else."""
    hook = Hook()

    def numbers() -> Iterator[int]:
        try:
            for number in range(3):
                hook.steps.append(f"makes {number}")
                yield number
        finally:
            hook.steps.append("closed")

    async def scenario(bridge: Bridge) -> None:
        async for number in bridge(numbers, hook=hook)():
            hook.steps.append(f"has {number}")
        hook.steps.append("left early")
        async with aclosing(bridge(numbers, hook=hook)()) as left_early:
            await anext(left_early)

    run(scenario)
    steps = [step for n in range(3) for step in ("enters", f"makes {n}", "leaves", f"has {n}")]
    assert hook.steps == [
        *steps,
        *("enters", "closed", "leaves", "left early"),
        *("enters", "makes 0", "leaves", "enters", "closed", "leaves"),
    ]


async def test_the_hook_of_a_generator_is_on_its_thread() -> None:
    """All the time."""
    hook = Hook()

    def numbers() -> Iterator[int]:
        for _ in range(3):
            yield here()

    threads = {thread async for thread in sync_to_async(numbers, hook=hook, thread_sensitive=False)()}
    assert set(hook.threads) == threads
    assert len(threads) == 1


async def test_the_hook_of_a_generator_is_told_of_its_error_and_not_of_its_end() -> None:
    """That there are no more items is nothing to report."""
    hook = Hook()

    def fails() -> Iterator[int]:
        yield 1
        raise Refused("no")

    numbers = sync_to_async(fails, hook=hook)()
    assert await anext(numbers) == 1
    with pytest.raises(Refused, match="no"):
        await anext(numbers)
    assert hook.steps[:5] == ["enters", "leaves", "enters", "Refused('no')", "leaves"]
    # To close it may be one more step.
    assert set(hook.steps[5:]) <= {"enters", "leaves"}
    hook.steps.clear()
    assert [number async for number in sync_to_async(iter([]), hook=hook)] == []
    assert hook.steps == ["enters", "leaves"]


@everywhere
def test_a_hook_is_entered_around_both_ends_of_a_manager(run: Run) -> None:
    """And not around the block."""
    hook = Hook()

    @contextmanager
    def manager() -> Iterator[None]:
        hook.steps.append("begins")
        yield
        hook.steps.append("ends")

    async def scenario(bridge: Bridge) -> None:
        async with bridge(manager, hook=hook)():
            hook.steps.append("block")

    run(scenario)
    assert hook.steps == ["enters", "begins", "leaves", "block", "enters", "ends", "leaves"]
    assert len(set(hook.threads)) == 1


async def test_the_hook_of_a_manager_is_not_told_of_the_error_of_the_block() -> None:
    """Unless the manager raises it; to swallow it is up to the manager."""
    hook = Hook()
    with pytest.raises(Refused):
        async with sync_to_async(contextlib.nullcontext(), hook=hook):
            raise Refused("in the block")
    assert hook.steps == ["enters", "leaves", "enters", "leaves"]
