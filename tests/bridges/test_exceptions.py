"""Errors on their way through the bridges, and what ``sys.exc_info()`` tells on the other side."""

import asyncio
import concurrent.futures
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest
import trio

from asgiadapt import (
    ThreadSensitiveContext,
    async_to_sync,
    sync_to_async,
)
from tests.bridges import ON_LOOP, ON_THREAD, Bridge


class Refused(Exception):
    """What functions of these tests raise."""


class Needs(Exception):
    """Cannot be made again from its ``args``."""

    def __init__(self, *, reason: str) -> None:
        super().__init__()
        self.reason = reason


class Halt(BaseException):
    """No ``Exception``."""


ERRORS: dict[str, Callable[[], BaseException]] = {
    "an error": lambda: Refused("no"),
    "an error that cannot be copied": lambda: Needs(reason="none"),
    "no Exception": lambda: Halt("stop"),
    "KeyError": lambda: KeyError("x"),
    "OSError": lambda: OSError(2, "gone"),
    "TimeoutError": lambda: TimeoutError("late"),
    "StopAsyncIteration": lambda: StopAsyncIteration(5),
    "GeneratorExit": lambda: GeneratorExit("over"),
    "KeyboardInterrupt": lambda: KeyboardInterrupt("Ctrl-C"),
    "SystemExit": lambda: SystemExit(3),
    "CancelledError": lambda: asyncio.CancelledError("by itself"),
    "InvalidStateError": lambda: asyncio.InvalidStateError("odd"),
    "a group": lambda: ExceptionGroup("both", [Refused("one"), KeyError("two")]),
    "a group of any kind": lambda: BaseExceptionGroup("both", [Refused("one"), Halt("two")]),
}


@pytest.fixture(params=ERRORS)
def error(request: pytest.FixtureRequest) -> BaseException:
    """One of each kind."""
    return ERRORS[request.param]()


@pytest.fixture(params=ON_THREAD.values(), ids=ON_THREAD)
def on_thread(request: pytest.FixtureRequest) -> Iterator[Bridge]:
    with request.param() as bridge:
        yield bridge


@pytest.fixture(params=ON_LOOP.values(), ids=ON_LOOP)
def on_loop(request: pytest.FixtureRequest) -> Iterator[Bridge]:
    with request.param() as bridge:
        yield bridge


def raises(error: BaseException) -> NoReturn:
    raise error


async def raises_later(error: BaseException) -> NoReturn:
    await asyncio.sleep(0)
    raise error


def functions_of(error: BaseException) -> list[str]:
    """The functions that the traceback of *error* goes through."""
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


# Every error comes through as it is.


async def test_an_error_of_sync_code_comes_through(on_thread: Bridge, error: BaseException) -> None:
    """The same object, and its traceback shows where it was raised."""
    with pytest.raises(type(error)) as caught:
        await on_thread(raises)(error)
    assert caught.value is error
    assert functions_of(error)[-1] == "raises"
    assert await on_thread(str)("next") == "next"


def test_an_error_of_async_code_comes_through(on_loop: Bridge, error: BaseException) -> None:
    """The same object, and its traceback shows where it was raised."""
    with pytest.raises(type(error)) as caught:
        on_loop(raises_later)(error)
    assert caught.value is error
    assert functions_of(error)[-1] == "raises_later"
    assert on_loop(asyncio.sleep)(0, "next") == "next"


async def test_an_error_of_async_code_below_a_running_loop_does_not_harm_that_loop(
    error: BaseException,
) -> None:
    """It is raised in the sync code, and nowhere else."""
    outcome: list[BaseException] = []

    def catches() -> None:
        try:
            async_to_sync(raises_later)(error)
        except BaseException as caught:
            outcome.append(caught)

    await sync_to_async(catches)()
    assert outcome[0] is error
    assert await sync_to_async(str)("next") == "next"


def test_an_error_comes_up_through_every_nesting(error: BaseException) -> None:
    """Through the thread that waits, and the loop below it."""

    def lower() -> None:
        async_to_sync(raises_later)(error)

    async def upper() -> None:
        await sync_to_async(lower)()

    with pytest.raises(type(error)) as caught:
        async_to_sync(upper)()
    assert caught.value is error


def test_the_traceback_goes_down_through_every_nesting() -> None:
    """Whoever reads it finds each function on the way."""

    def lower() -> None:
        async_to_sync(raises_later)(Refused("no"))

    async def upper() -> None:
        await sync_to_async(lower)()

    with pytest.raises(Refused) as caught:
        async_to_sync(upper)()
    names = functions_of(caught.value)
    assert [name for name in names if name in ("upper", "lower", "raises_later")] == [
        "upper",
        "lower",
        "raises_later",
    ]


async def test_an_error_within_a_sensitive_context_comes_through_it() -> None:
    """Out of the block too, and calls after it are served."""
    error = Refused("no")
    with pytest.raises(Refused) as caught:
        async with ThreadSensitiveContext():
            await sync_to_async(raises)(error)
    assert caught.value is error
    assert await sync_to_async(str)("next") == "next"


async def test_the_cancellation_of_an_executors_future_is_an_error_like_any_other() -> None:
    """It does not turn into a cancellation of the caller."""
    error = concurrent.futures.CancelledError("elsewhere")
    with pytest.raises(concurrent.futures.CancelledError) as caught:
        await sync_to_async(raises)(error)
    assert caught.value is error


async def test_cause_context_and_notes_of_an_error_are_kept(on_thread: Bridge) -> None:
    """All that hangs on it."""
    error, cause, context = Refused("no"), KeyError("cause"), ValueError("context")

    def raises_from() -> None:
        try:
            raise context
        except ValueError:
            error.add_note("seen in the thread")
            raise error from cause

    with pytest.raises(Refused):
        await on_thread(raises_from)()
    assert error.__cause__ is cause
    assert error.__context__ is context
    assert error.__notes__ == ["seen in the thread"]


def test_cause_context_and_notes_of_an_async_error_are_kept(on_loop: Bridge) -> None:
    """All that hangs on it."""
    error, cause, context = Refused("no"), KeyError("cause"), ValueError("context")

    async def raises_from() -> None:
        try:
            raise context
        except ValueError:
            await asyncio.sleep(0)
            error.add_note("seen on the loop")
            raise error from cause

    with pytest.raises(Refused):
        on_loop(raises_from)()
    assert error.__cause__ is cause
    assert error.__context__ is context
    assert error.__notes__ == ["seen on the loop"]


def test_the_group_of_a_task_group_comes_through(on_loop: Bridge) -> None:
    """As one error, with those of its tasks."""
    first, second = Refused("first"), KeyError("second")

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(raises_later(first))
            group.create_task(raises_later(second))

    with pytest.raises(ExceptionGroup) as caught:
        on_loop(main)()
    assert list(caught.value.exceptions) == [first, second]


async def test_errors_of_many_calls_reach_each_its_own_caller(on_thread: Bridge) -> None:
    """Successes between them."""

    def odd_raises(number: int) -> int:
        if number % 2:
            raise Refused(number)
        return number

    outcomes = await asyncio.gather(*(on_thread(odd_raises)(n) for n in range(40)), return_exceptions=True)
    for number, outcome in enumerate(outcomes):
        if number % 2:
            assert isinstance(outcome, Refused)
            assert outcome.args == (number,)
        else:
            assert outcome == number


# StopIteration, which no future and no coroutine can carry.


async def test_a_stop_iteration_comes_as_the_cause_of_a_runtime_error(on_thread: Bridge) -> None:
    """With its value, and without a hang."""
    error = StopIteration("value")
    with pytest.raises(RuntimeError, match="StopIteration") as caught:
        await on_thread(raises)(error)
    assert caught.value.__cause__ is error
    assert error.value == "value"


async def test_the_end_of_an_iterator_comes_as_a_runtime_error(on_thread: Bridge) -> None:
    """Its last value before, the error after it."""
    iterator = iter([1])
    assert await on_thread(next)(iterator) == 1
    with pytest.raises(RuntimeError, match="StopIteration") as caught:
        await on_thread(next)(iterator)
    assert isinstance(caught.value.__cause__, StopIteration)
    assert await on_thread(next)(iterator, "default") == "default"


def test_the_end_of_an_iterator_on_the_calling_thread_comes_as_a_runtime_error() -> None:
    """Where the outermost code is sync."""

    async def main() -> None:
        await sync_to_async(next)(iter(()))

    with pytest.raises(RuntimeError, match="StopIteration") as caught:
        async_to_sync(main)()
    assert isinstance(caught.value.__cause__, StopIteration)


async def test_the_end_of_an_iterator_in_a_sensitive_context_comes_as_a_runtime_error() -> None:
    """On the thread of the block."""
    async with ThreadSensitiveContext():
        with pytest.raises(RuntimeError, match="StopIteration"):
            await sync_to_async(next)(iter(()))


class StopsMore(StopIteration):
    """One of somebody's own."""


async def test_so_does_a_subclass_of_stop_iteration() -> None:
    """A future refuses it no less."""
    error = StopsMore()
    with pytest.raises(RuntimeError, match="Stop") as caught:
        await sync_to_async(raises)(error)
    assert caught.value.__cause__ is error


def test_a_stop_iteration_of_async_code_comes_as_a_runtime_error(on_loop: Bridge) -> None:
    """Which Python makes of it in every coroutine."""
    error = StopIteration("value")
    with pytest.raises(RuntimeError, match="StopIteration") as caught:
        on_loop(raises_later)(error)
    assert caught.value.__cause__ is error


def test_the_end_of_an_async_iterator_comes_through(on_loop: Bridge) -> None:
    """It is an error like any other."""

    async def nothing() -> Any:
        for never in ():
            yield never

    async def first() -> object:
        return await anext(nothing())

    with pytest.raises(StopAsyncIteration):
        on_loop(first)()


# A call from within an ``except`` block.


def exc_info() -> tuple[Any, Any, Any]:
    return sys.exc_info()


async def exc_info_later() -> tuple[Any, Any, Any]:
    await asyncio.sleep(0)
    return sys.exc_info()


async def test_sync_code_sees_the_exception_that_its_caller_handles(on_thread: Bridge) -> None:
    """As if it were called without a bridge."""
    error = Refused("no")
    try:
        raise error
    except Refused:
        kind, value, trace = await on_thread(exc_info)()
        assert sys.exc_info()[1] is error
    assert kind is Refused
    assert value is error
    assert trace is not None
    assert sys.exc_info() == (None, None, None)


def test_async_code_sees_the_exception_that_its_caller_handles(on_loop: Bridge) -> None:
    """Also after it has waited."""
    error = Refused("no")
    try:
        raise error
    except Refused:
        kind, value, trace = on_loop(exc_info_later)()
        assert sys.exc_info()[1] is error
    assert kind is Refused
    assert value is error
    assert trace is not None
    assert sys.exc_info() == (None, None, None)


async def test_outside_of_a_handler_there_is_nothing_to_see(on_thread: Bridge) -> None:
    """Nor does a thread keep what it was shown before."""
    assert await on_thread(exc_info)() == (None, None, None)
    try:
        raise Refused
    except Refused:
        await on_thread(exc_info)()
    assert await on_thread(exc_info)() == (None, None, None)


def test_outside_of_a_handler_async_code_has_nothing_to_see(on_loop: Bridge) -> None:
    """Nor does a loop keep what it was shown before."""
    assert on_loop(exc_info_later)() == (None, None, None)
    try:
        raise Refused
    except Refused:
        on_loop(exc_info_later)()
    assert on_loop(exc_info_later)() == (None, None, None)


def test_the_handled_exception_is_seen_through_every_nesting() -> None:
    """Down to the lowest level."""
    error = Refused("no")
    seen: list[BaseException | None] = []

    def sync_level(level: int) -> None:
        seen.append(sys.exc_info()[1])
        if level:
            async_to_sync(async_level)(level - 1)

    async def async_level(level: int) -> None:
        seen.append(sys.exc_info()[1])
        await sync_to_async(sync_level)(level)

    try:
        raise error
    except Refused:
        async_to_sync(async_level)(3)
    assert len(seen) == 8
    assert all(one is error for one in seen)


async def test_sync_code_may_raise_the_handled_exception_again(on_thread: Bridge) -> None:
    """With a bare ``raise``."""

    def raises_again() -> None:
        raise

    error = Refused("no")
    try:
        raise error
    except Refused:
        with pytest.raises(Refused) as caught:
            await on_thread(raises_again)()
    assert caught.value is error


def test_async_code_may_raise_the_handled_exception_again(on_loop: Bridge) -> None:
    """With a bare ``raise``."""

    async def raises_again() -> None:
        await asyncio.sleep(0)
        raise

    error = Refused("no")
    try:
        raise error
    except Refused:
        with pytest.raises(Refused) as caught:
            on_loop(raises_again)()
    assert caught.value is error


@pytest.mark.parametrize("handled", [Refused("handled"), Halt("handled"), StopIteration("handled")], ids=repr)
async def test_the_result_of_sync_code_is_not_mixed_up_with_the_handled_exception(
    on_thread: Bridge, handled: BaseException
) -> None:
    """What is returned is returned, and what is raised is raised."""
    error = KeyError("raised")
    try:
        raise handled
    except BaseException:
        assert await on_thread(str)("result") == "result"
        with pytest.raises(KeyError) as caught:
            await on_thread(raises)(error)
    assert caught.value is error
    assert error.__context__ is handled


@pytest.mark.parametrize("handled", [Refused("handled"), Halt("handled"), StopIteration("handled")], ids=repr)
def test_the_result_of_async_code_is_not_mixed_up_with_the_handled_exception(
    on_loop: Bridge, handled: BaseException
) -> None:
    """What is returned is returned, and what is raised is raised."""
    error = KeyError("raised")
    try:
        raise handled
    except BaseException:
        assert on_loop(asyncio.sleep)(0, "result") == "result"
        with pytest.raises(KeyError) as caught:
            on_loop(raises_later)(error)
    assert caught.value is error
    assert error.__context__ is handled


async def test_the_handled_exception_is_left_as_it_is(on_thread: Bridge) -> None:
    """A traceback that is printed later shows where it was raised, and not where it was seen."""
    error = Refused("no")
    try:
        raise error
    except Refused:
        trace = error.__traceback__
        await on_thread(exc_info)()
        with pytest.raises(KeyError):
            await on_thread(raises)(KeyError("x"))
        assert functions_of(error) == ["test_the_handled_exception_is_left_as_it_is"]
        assert error.__traceback__ is trace
        assert error.__context__ is None


def test_the_handled_exception_is_left_as_it_is_by_async_code(on_loop: Bridge) -> None:
    """A traceback that is printed later shows where it was raised, and not where it was seen."""
    error = Refused("no")
    try:
        raise error
    except Refused:
        trace = error.__traceback__
        on_loop(exc_info_later)()
        with pytest.raises(KeyError):
            on_loop(raises_later)(KeyError("x"))
        assert functions_of(error) == ["test_the_handled_exception_is_left_as_it_is_by_async_code"]
        assert error.__traceback__ is trace
        assert error.__context__ is None


async def test_an_error_handled_in_sync_code_does_not_come_out() -> None:
    """Neither does that of async code below it."""

    def handles() -> str:
        try:
            async_to_sync(raises_later)(Refused("no"))
        except Refused:
            return async_to_sync(asyncio.sleep)(0, "handled")
        return "not raised"

    assert await sync_to_async(handles)() == "handled"
    assert sys.exc_info() == (None, None, None)


# On trio.


def test_on_trio_an_error_of_sync_code_comes_through(error: BaseException) -> None:
    """The same object."""

    async def main() -> str:
        with pytest.raises(type(error)) as caught:
            await sync_to_async(raises)(error)
        assert caught.value is error
        return await sync_to_async(str)("next")

    assert trio.run(main) == "next"


def test_on_trio_a_stop_iteration_comes_as_the_cause_of_a_runtime_error() -> None:
    """As on asyncio."""
    error = StopIteration("value")

    async def main() -> None:
        with pytest.raises(RuntimeError, match="StopIteration") as caught:
            await sync_to_async(raises)(error)
        assert caught.value.__cause__ is error

    trio.run(main)


def test_on_trio_an_error_of_async_code_does_not_harm_the_loop(error: BaseException) -> None:
    """It is raised in the sync code that called it, and nowhere else."""
    outcome: list[BaseException] = []

    async def fails() -> None:
        await trio.lowlevel.checkpoint()
        raise error

    def catches() -> None:
        try:
            async_to_sync(fails)()
        except BaseException as caught:
            outcome.append(caught)

    async def main() -> str:
        await sync_to_async(catches)()
        return await sync_to_async(str)("next")

    assert trio.run(main) == "next"
    assert outcome[0] is error


# Ctrl-C, which Python raises on the main thread.


def test_an_interrupt_of_sync_code_on_the_main_thread_reaches_the_outermost_caller() -> None:
    """Through the async code that awaits it, which may clean up."""
    assert threading.current_thread() is threading.main_thread()
    steps: list[str] = []

    def interrupted() -> None:
        signal.raise_signal(signal.SIGINT)

    async def main() -> None:
        try:
            await sync_to_async(interrupted)()
        except KeyboardInterrupt:
            steps.append("seen")
            raise
        finally:
            await asyncio.sleep(0)
            steps.append("cleaned up")

    with pytest.raises(KeyboardInterrupt):
        async_to_sync(main)()
    assert steps == ["seen", "cleaned up"]
    assert async_to_sync(asyncio.sleep)(0, "next") == "next"


INTERRUPTED = """
import asyncio, os, signal, threading
from asgiadapt import LoopThread, async_to_sync, sync_to_async

async def waits_for_ever():
    {before}
    asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        print("cancelled", flush=True)
        raise
    finally:
        await asyncio.sleep(0)
        print("cleaned up", flush=True)

try:
    async_to_sync(waits_for_ever{options})()
except KeyboardInterrupt:
    print("interrupted", flush=True)
print(async_to_sync(asyncio.sleep)(0, "next"), flush=True)
"""


@pytest.mark.parametrize(
    ("before", "options"),
    [
        pytest.param("pass", "", id="kept loop"),
        pytest.param("await sync_to_async(print)('sync')", "", id="kept loop, after a sync call"),
        pytest.param("pass", ", force_new_loop=True", id="new loop"),
        pytest.param("await sync_to_async(print)('sync')", ", force_new_loop=True", id="new loop, sync call"),
        pytest.param("pass", ", loop=LoopThread()", id="loop thread"),
    ],
)
def test_an_interrupt_of_the_waiting_thread_cancels_what_it_waits_for(before: str, options: str) -> None:
    """The async code cleans up first; then the interrupt is raised, and the next call works."""
    program = INTERRUPTED.format(before=before, options=options)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line != "sync"]
    assert lines == ["cancelled", "cleaned up", "interrupted", "next"], done.stderr
    assert done.stderr == ""
    assert done.returncode == 0


def shown(error: BaseException) -> list[str]:
    """The functions in the traceback of *error*, without those that are marked to be hidden."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return [
        frame.f_code.co_name
        for frame in frames
        if not (frame.f_locals.get("__tracebackhide__") and frame.f_locals.get("__traceback_hide__"))
    ]


def refuses_plainly() -> None:
    raise Refused("shown")


async def refuses_later() -> None:
    raise Refused("shown")


@pytest.mark.parametrize("options", [{}, {"force_new_loop": True}])
def test_a_traceback_shows_no_frame_of_ours_below_async_code(options: dict[str, Any]) -> None:
    """Who called, and what has raised: what lies between is marked, or not there."""
    with pytest.raises(Refused) as caught:
        async_to_sync(refuses_later, **options)()
    name = "test_a_traceback_shows_no_frame_of_ours_below_async_code"
    assert shown(caught.value) == [name, "refuses_later"]


@pytest.mark.parametrize("options", [{}, {"thread_sensitive": False}])
async def test_a_traceback_shows_no_frame_of_ours_below_sync_code(options: dict[str, Any]) -> None:
    """Nor through several levels."""

    def through() -> None:
        async_to_sync(refuses_later)()

    name = "test_a_traceback_shows_no_frame_of_ours_below_sync_code"
    with pytest.raises(Refused) as caught:
        await sync_to_async(refuses_plainly, **options)()
    assert shown(caught.value) == [name, "refuses_plainly"]
    with pytest.raises(Refused) as caught:
        await sync_to_async(through, **options)()
    assert shown(caught.value) == [name, "through", "refuses_later"]
