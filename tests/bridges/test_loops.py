"""The loops that async code is called on: the one that a thread keeps, those of their own, those above."""

import asyncio
import contextlib
import functools
import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from typing import Any

import pytest
import uvloop

from asgiadapt import (
    LoopStopped,
    LoopThread,
    WorkerPool,
    async_to_sync,
    set_default_loop,
    set_loop_factory,
    sync_to_async,
)
from asgiadapt._threads import loop_thread, loops
from tests.bridges import ON_LOOP, Bridge

here = threading.get_ident


async def current_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


async def nothing() -> None:
    """A call that leaves nothing behind."""


async def for_ever() -> None:
    await asyncio.Event().wait()


async def move() -> None:
    """Have a kept loop leave the calling thread: that is kept busy until the loop has run elsewhere."""
    loop, has_run = asyncio.get_running_loop(), threading.Event()

    def wait_for_loop() -> None:
        loop.call_soon_threadsafe(has_run.set)
        assert has_run.wait(30)

    await sync_to_async(wait_for_loop)()


def on_new_thread(function: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


# The loops whose left-over tasks are cancelled at the end of each call.
SWEPT = ["kept loop", "kept loop that has moved", "new loop"]


@pytest.fixture(params=SWEPT)
def on_swept(request: pytest.FixtureRequest) -> Iterator[Bridge]:
    with ON_LOOP[request.param]() as bridge:
        yield bridge


@pytest.fixture(params=ON_LOOP.values(), ids=ON_LOOP)
def on_loop(request: pytest.FixtureRequest) -> Iterator[Bridge]:
    with request.param() as bridge:
        yield bridge


@pytest.fixture
def uvloops() -> Iterator[None]:
    """Kept loops are uvloop's."""
    set_loop_factory(uvloop.new_event_loop)
    yield
    set_loop_factory(None)
    async_to_sync(nothing)()  # replaces the loop of this thread


# The loop that a thread keeps.


def test_the_next_call_runs_on_the_same_loop() -> None:
    """On the same thread."""
    first = async_to_sync(current_loop)()
    assert async_to_sync(current_loop)() is first
    assert not first.is_closed()
    assert not first.is_running()


def test_a_call_that_raised_leaves_the_loop_to_the_next() -> None:
    """And so does one that was cancelled from inside."""

    async def fails(error: BaseException) -> None:
        raise error

    first = async_to_sync(current_loop)()
    with pytest.raises(ValueError, match="wrong"):
        async_to_sync(fails)(ValueError("wrong"))
    with pytest.raises(asyncio.CancelledError):
        async_to_sync(fails)(asyncio.CancelledError())
    assert async_to_sync(current_loop)() is first


def test_a_loop_that_has_moved_is_there_for_the_next_call() -> None:
    """It is the calling thread that runs it again."""

    async def moves() -> int:
        await move()
        return here()

    first = async_to_sync(current_loop)()
    assert async_to_sync(moves)() != here()

    async def where() -> tuple[Any, int]:
        return asyncio.get_running_loop(), here()

    assert async_to_sync(where)() == (first, here())


def test_each_thread_keeps_a_loop_of_its_own() -> None:
    """Two threads that exist at the same time have two."""
    barrier = threading.Barrier(2)

    def call() -> Any:
        loop = async_to_sync(current_loop)()
        barrier.wait(30)
        return loop

    with ThreadPoolExecutor(2) as pool:
        first, second = (future.result() for future in [pool.submit(call), pool.submit(call)])
    assert first is not second


def test_the_loop_is_run_by_the_calling_thread() -> None:
    """As long as no sync call needs that."""

    async def where() -> int:
        await asyncio.sleep(0)
        return here()

    assert async_to_sync(where)() == here()


def test_the_loop_goes_on_elsewhere_while_the_calling_thread_runs_a_sync_call() -> None:
    """A task of the loop makes progress on which the sync call depends."""
    ran_on: list[int] = []
    done = threading.Event()

    async def task() -> None:
        await asyncio.sleep(0)
        ran_on.append(here())
        done.set()

    async def main() -> bool:
        other = asyncio.create_task(task())
        in_time = await sync_to_async(done.wait)(30)
        await other
        return in_time

    assert async_to_sync(main)()
    assert ran_on != [here()]


def test_sync_calls_of_one_call_run_on_the_calling_thread_wherever_the_loop_is() -> None:
    """Before it has moved, and afterwards."""

    async def main() -> set[int]:
        ran_on = {await sync_to_async(here)()}
        await move()
        ran_on.update(await asyncio.gather(*(sync_to_async(here)() for _ in range(10))))
        return ran_on

    assert async_to_sync(main)() == {here()}


def test_many_sync_calls_of_one_call_are_all_run() -> None:
    """Whether the loop moves or stays at each of them."""

    async def main() -> list[int]:
        one_by_one = [await sync_to_async(int)(number) for number in range(300)]
        together = await asyncio.gather(*(sync_to_async(int)(number) for number in range(300)))
        return [*one_by_one, *together]

    for _ in range(3):
        assert async_to_sync(main)() == [*range(300), *range(300)]


def test_within_a_call_of_a_sync_call_the_same_loop_is_used() -> None:
    """It is the loop above."""

    async def main() -> bool:
        inner = await sync_to_async(async_to_sync(current_loop))()
        return inner is asyncio.get_running_loop()

    assert async_to_sync(main)()


def test_a_new_loop_within_a_call_leaves_the_kept_loop_alone() -> None:
    """The kept one is in use."""

    async def main() -> asyncio.AbstractEventLoop:
        return await sync_to_async(async_to_sync(current_loop, force_new_loop=True))()

    kept = async_to_sync(current_loop)()
    inner = async_to_sync(main)()
    assert inner is not kept
    assert inner.is_closed()
    assert async_to_sync(current_loop)() is kept


def test_what_a_signal_handler_calls_during_a_call_gets_a_loop_of_its_own() -> None:
    """Python runs the handler on the thread that waits, between two steps of the kept loop."""
    called: list[Any] = []

    def handler(number: int, frame: Any) -> None:
        # In the handler the loop of the thread is still the running one; another thread is the way out.
        called.append(on_new_thread(async_to_sync(current_loop)))

    async def main() -> asyncio.AbstractEventLoop:
        signal.raise_signal(signal.SIGUSR1)
        return asyncio.get_running_loop()

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        loop = async_to_sync(main)()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert called[0] is not loop


# What a call leaves behind.


def test_a_task_that_was_left_behind_is_cancelled_and_waited_for(on_swept: Bridge) -> None:
    """It has cleaned up when the call returns."""
    steps: list[str] = []

    async def task() -> None:
        try:
            await for_ever()
        finally:
            await asyncio.sleep(0)
            steps.append("cleaned up")

    async def leaves(tasks: list[Any]) -> str:
        tasks.append(asyncio.create_task(task()))
        await asyncio.sleep(0)
        return "result"

    tasks: list[Any] = []
    assert on_swept(leaves)(tasks) == "result"
    assert steps == ["cleaned up"]
    assert tasks[0].cancelled()


def test_tasks_that_are_started_by_cancelled_ones_are_cancelled_too(on_swept: Bridge) -> None:
    """Each starts the next one while it cleans up."""
    tasks: list[asyncio.Task[None]] = []

    async def task(number: int) -> None:
        try:
            await for_ever()
        finally:
            if number < 5:
                tasks.append(asyncio.create_task(task(number + 1)))
                await asyncio.sleep(0)

    async def leaves() -> None:
        tasks.append(asyncio.create_task(task(0)))
        await asyncio.sleep(0)

    on_swept(leaves)()
    assert len(tasks) == 6
    assert all(task.cancelled() for task in tasks)


def test_a_task_that_refuses_to_be_cancelled_runs_to_its_end(on_swept: Bridge) -> None:
    """And its result is nobody's."""

    async def task() -> str:
        try:
            await for_ever()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        return "stubborn"

    async def leaves() -> asyncio.Task[str]:
        left = asyncio.create_task(task())
        await asyncio.sleep(0)
        return left

    assert on_swept(leaves)().result() == "stubborn"


def test_tasks_started_through_every_door_are_cancelled(on_swept: Bridge) -> None:
    """By `asyncio.ensure_future`, by the loop's method, and with a context of their own."""

    async def leaves() -> list[asyncio.Future[None]]:
        loop = asyncio.get_running_loop()
        tasks: list[asyncio.Future[None]] = [
            asyncio.ensure_future(for_ever()),
            loop.create_task(for_ever()),
            loop.create_task(for_ever(), name="named", context=Context()),
        ]
        await asyncio.sleep(0)
        return tasks

    assert all(task.cancelled() for task in on_swept(leaves)())


def test_the_error_of_a_task_that_was_left_behind_is_reported(
    on_swept: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    """As the loop reports errors; the call gives its own result."""

    async def task() -> None:
        try:
            await for_ever()
        finally:
            raise ValueError("while it was cancelled")

    async def leaves() -> str:
        tasks.append(asyncio.create_task(task()))
        await asyncio.sleep(0)
        return "result"

    tasks: list[asyncio.Task[None]] = []
    assert on_swept(leaves)() == "result"
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "a task failed after async_to_sync() had cancelled it" in record.getMessage()
    assert record.exc_info is not None
    assert "while it was cancelled" in str(record.exc_info[1])


def test_left_over_tasks_are_cancelled_after_an_error_too(on_swept: Bridge) -> None:
    """And the error is what the call raises."""
    tasks: list[asyncio.Task[None]] = []

    async def leaves() -> None:
        tasks.append(asyncio.create_task(for_ever()))
        await asyncio.sleep(0)
        raise ValueError("of the call")

    with pytest.raises(ValueError, match="of the call"):
        on_swept(leaves)()
    assert tasks[0].cancelled()


async def endless(steps: list[str]) -> AsyncIterator[int]:
    try:
        while True:
            yield 1
    finally:
        await asyncio.sleep(0)
        steps.append("closed")


def test_an_async_generator_that_was_left_behind_is_closed(on_swept: Bridge) -> None:
    """On the loop, and before the call returns, although somebody still refers to it."""
    steps: list[str] = []

    async def leaves() -> AsyncIterator[int]:
        generator = endless(steps)
        assert await anext(generator) == 1
        return generator

    generator = on_swept(leaves)()
    assert steps == ["closed"]
    del generator


def test_an_async_generator_that_is_dropped_is_closed(on_swept: Bridge) -> None:
    """By the loop, in a task that nobody awaits."""
    steps: list[str] = []

    async def drops() -> None:
        async for _ in endless(steps):
            break

    on_swept(drops)()
    assert steps == ["closed"]


def test_the_error_of_an_async_generator_that_was_left_behind_is_reported(
    on_swept: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    """As the loop reports errors."""

    async def fails() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            raise ValueError("while it was closed")

    async def leaves() -> AsyncIterator[int]:
        generator = fails()
        await anext(generator)
        return generator

    on_swept(leaves)()
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "an async generator failed after async_to_sync() had closed it" in record.getMessage()
    assert record.exc_info is not None
    assert "while it was closed" in str(record.exc_info[1])


def test_a_callback_that_is_due_runs_before_the_call_returns(on_swept: Bridge) -> None:
    """It does not wait for the next call."""
    ran: list[str] = []

    async def leaves() -> None:
        asyncio.get_running_loop().call_soon(ran.append, "callback")

    on_swept(leaves)()
    assert ran == ["callback"]


def test_a_timer_that_was_left_behind_never_runs() -> None:
    """The next call has another loop."""

    async def leaves() -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        loop.call_later(1000, pytest.fail, "the timer of another call has run")
        return loop

    loop = async_to_sync(leaves)()
    assert async_to_sync(current_loop)() is not loop
    assert loop.is_closed()


def test_a_cancelled_timer_is_nothing_that_was_left_behind() -> None:
    """Time limits that were not reached do not cost the loop."""

    async def limits() -> asyncio.AbstractEventLoop:
        async with asyncio.timeout(1000):
            await asyncio.sleep(0)
        return asyncio.get_running_loop()

    loop = async_to_sync(limits)()
    assert async_to_sync(current_loop)() is loop


def test_a_socket_that_is_still_watched_costs_the_loop() -> None:
    """The next call has another, and nothing is reported to the old one."""
    near, far = socket.socketpair()
    with near, far:

        async def leaves() -> asyncio.AbstractEventLoop:
            loop = asyncio.get_running_loop()
            loop.add_reader(near, pytest.fail, "the socket of another call was read")
            return loop

        loop = async_to_sync(leaves)()
        far.send(b"x")
        assert async_to_sync(asyncio.sleep)(0.01, "next") == "next"
        assert async_to_sync(current_loop)() is not loop
    assert loop.is_closed()


def test_a_callback_that_comes_again_and_again_costs_the_loop() -> None:
    """The call returns all the same."""

    async def leaves() -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()

        def again() -> None:
            loop.call_soon(again)

        again()
        return loop

    loop = async_to_sync(leaves)()
    assert async_to_sync(current_loop)() is not loop
    assert loop.is_closed()


def test_the_next_call_finds_the_usual_task_factory() -> None:
    """Tasks made by another one are cancelled like all."""
    made: list[asyncio.Task[Any]] = []

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        made.append(asyncio.Task(coroutine, loop=loop, **options))
        return made[-1]

    async def replaces() -> None:
        asyncio.get_running_loop().set_task_factory(factory)
        asyncio.create_task(for_ever())  # noqa: RUF006 -- left behind on purpose
        await asyncio.sleep(0)

    async_to_sync(replaces)()
    assert made[0].cancelled()
    count = len(made)

    async def starts() -> None:
        await asyncio.create_task(nothing())

    async_to_sync(starts)()
    assert len(made) == count


def test_the_next_call_finds_the_usual_exception_handler() -> None:
    """What one call sets for its loop is not set for another call."""

    async def replaces() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)

    async def handler() -> Any:
        return asyncio.get_running_loop().get_exception_handler()

    async_to_sync(replaces)()
    assert async_to_sync(handler)() is None


def test_the_next_call_finds_no_signal_handler() -> None:
    """After a call, signals are handled as before it."""

    async def adds() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, lambda: None)

    before = signal.getsignal(signal.SIGUSR1)
    async_to_sync(adds)()
    try:
        assert signal.getsignal(signal.SIGUSR1) is before
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_call_keeps_nothing_alive() -> None:
    """Neither arguments, nor the result, nor a task that was left behind."""

    class Thing:
        """Can be weakly referenced."""

    async def task(thing: Thing) -> None:
        await for_ever()

    async def leaves(thing: Thing) -> Thing:
        asyncio.create_task(task(thing))  # noqa: RUF006 -- left behind on purpose
        await asyncio.sleep(0)
        return thing

    thing = Thing()
    known = weakref.ref(thing)
    async_to_sync(leaves)(thing)
    del thing
    gc.collect()
    assert known() is None


# The end of the loop.


def test_the_loop_is_closed_when_its_thread_ends() -> None:
    """Also where the last call has raised, and the error with its traceback lives on."""

    async def fails() -> None:
        raise ValueError(asyncio.get_running_loop())

    errors: list[ValueError] = []

    def call() -> None:
        try:
            async_to_sync(fails)()
        except ValueError as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert errors[0].args[0].is_closed()


def test_the_loop_of_a_thread_that_has_ended_is_closed_after_it_has_moved() -> None:
    """The thread that ran it meanwhile keeps nothing."""

    async def moves() -> asyncio.AbstractEventLoop:
        await move()
        return asyncio.get_running_loop()

    assert on_new_thread(async_to_sync(moves)).is_closed()


def run(program: str, *options: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run *program* in an interpreter of its own, which has to end by itself, and well."""
    done = subprocess.run(
        [sys.executable, *options, "-c", program],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done


AT_EXIT = """
import asyncio, sys, threading
from asgiadapt import LoopThread, async_to_sync, set_loop_factory, sync_to_async
{before}
async def main():
    await sync_to_async(int)()
    return asyncio.get_running_loop()
{call}
"""


@pytest.mark.parametrize(
    "call",
    [
        pytest.param("loop = async_to_sync(main)()", id="kept loop"),
        pytest.param("async_to_sync(main, force_new_loop=True)()", id="new loop"),
        pytest.param("t = LoopThread(); async_to_sync(main, loop=t)()", id="loop thread"),
        pytest.param(
            "t = threading.Thread(target=async_to_sync(main)); t.start(); t.join()",
            id="a thread that has ended",
        ),
        pytest.param(
            "begun = threading.Event()\n"
            "def work(): async_to_sync(main)(); begun.set(); threading.Event().wait()\n"
            "threading.Thread(target=work, daemon=True).start(); begun.wait()",
            id="a daemon thread that lives on",
        ),
    ],
)
@pytest.mark.parametrize(
    "before",
    [
        pytest.param("", id="asyncio"),
        pytest.param("import uvloop; set_loop_factory(uvloop.new_event_loop)", id="uvloop"),
    ],
)
def test_no_loop_is_left_open_at_exit(before: str, call: str) -> None:
    """Nothing is said about it, in development mode."""
    done = run(AT_EXIT.format(before=before, call=call), "-X", "dev", "-W", "error")
    assert (done.stdout, done.stderr) == ("", "")


# What the code does with its loop.


def test_a_stopped_loop_does_not_end_the_call(on_loop: Bridge) -> None:
    """It is run on until the function has ended."""

    async def stops() -> str:
        for _ in range(3):
            asyncio.get_running_loop().stop()
            await asyncio.sleep(0.001)
        return "done"

    assert on_loop(stops)() == "done"
    assert on_loop(stops)() == "done"


def test_a_loop_that_is_stopped_during_a_sync_call_goes_on(on_loop: Bridge) -> None:
    """Wherever it runs at that time."""

    async def stops() -> str:
        stopped = threading.Event()

        async def stop() -> None:
            asyncio.get_running_loop().stop()
            stopped.set()

        task = asyncio.create_task(stop())
        await sync_to_async(stopped.wait)(30)
        await task
        await asyncio.sleep(0)
        return "done"

    assert on_loop(stops)() == "done"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_exit_out_of_a_task_ends_the_call(on_swept: Bridge, kind: type[BaseException]) -> None:
    """The function is cancelled, and the error comes out of the call; the next call works."""
    steps: list[str] = []

    async def exits() -> None:
        raise kind("out of a task")

    async def main() -> None:
        task = asyncio.create_task(exits())
        try:
            await for_ever()
        except asyncio.CancelledError:
            steps.append("cancelled")
            assert isinstance(task.exception(), kind)
            raise

    with pytest.raises(kind, match="out of a task"):
        on_swept(main)()
    assert steps == ["cancelled"]
    assert on_swept(asyncio.sleep)(0, "next") == "next"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_exit_out_of_a_task_on_a_loop_thread_reaches_those_that_await_it(
    kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """The loop goes on for the calls of others, and reports it."""

    async def exits() -> None:
        raise kind("out of a task")

    async def awaits() -> None:
        await asyncio.create_task(exits())

    entered, leave = threading.Event(), asyncio.Event()

    async def other() -> str:
        entered.set()
        await leave.wait()
        return "other"

    async def release() -> None:
        leave.set()

    with LoopThread() as loop, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(async_to_sync(other, loop=loop))
        assert entered.wait(30)
        with pytest.raises(kind, match="out of a task"):
            async_to_sync(awaits, loop=loop)()
        async_to_sync(release, loop=loop)()
        assert waiting.result(30) == "other"
    assert "a task has raised" in caplog.text


# Loops of other makes.


@pytest.mark.usefixtures("uvloops")
def test_the_loop_is_made_by_the_factory() -> None:
    """Anew for each call, since it does not show what a call has left on it."""
    loop = async_to_sync(current_loop)()
    assert isinstance(loop, uvloop.Loop)
    assert loop.is_closed()
    assert async_to_sync(current_loop)() is not loop
    assert isinstance(on_new_thread(async_to_sync(current_loop)), uvloop.Loop)
    assert isinstance(async_to_sync(current_loop, force_new_loop=True)(), uvloop.Loop)


def test_another_factory_holds_from_the_next_call_on() -> None:
    """The loop of the one before is closed."""
    first = async_to_sync(current_loop)()
    set_loop_factory(uvloop.new_event_loop)
    try:
        second = async_to_sync(current_loop)()
    finally:
        set_loop_factory(None)
    third = async_to_sync(current_loop)()
    assert [isinstance(loop, uvloop.Loop) for loop in (first, second, third)] == [False, True, False]
    assert first.is_closed()
    assert second.is_closed()


@pytest.mark.usefixtures("uvloops")
def test_a_uvloop_changes_hands() -> None:
    """It is run on by another thread while the calling one runs a sync call, and comes back."""

    async def moves() -> tuple[int, int]:
        await move()
        return here(), await sync_to_async(here)()

    for _ in range(3):
        loops_thread, calls_thread = async_to_sync(moves)()
        assert loops_thread != here()
        assert calls_thread == here()


@pytest.mark.usefixtures("uvloops")
def test_tasks_and_generators_on_a_uvloop_are_cancelled_and_closed() -> None:
    """As on asyncio's loops."""
    steps: list[str] = []

    async def leaves() -> tuple[Any, Any]:
        generator = endless(steps)
        await anext(generator)
        task = asyncio.create_task(for_ever())
        await asyncio.sleep(0)
        return task, generator

    task, _generator = async_to_sync(leaves)()
    assert task.cancelled()
    assert steps == ["closed"]


@pytest.mark.usefixtures("uvloops")
def test_a_timer_on_a_uvloop_never_runs_in_a_later_call() -> None:
    """Although such a loop does not show its timers."""

    async def leaves() -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        loop.call_later(1000, pytest.fail, "the timer of another call has run")
        return loop

    loop = async_to_sync(leaves)()
    assert loop.is_closed()
    assert async_to_sync(current_loop)() is not loop


def test_an_error_of_the_factory_comes_out_of_the_call() -> None:
    """The next call asks it again."""

    def factory() -> asyncio.AbstractEventLoop:
        raise ValueError("no loop today")

    set_loop_factory(factory)
    try:
        with pytest.raises(ValueError, match="no loop today"):
            async_to_sync(nothing)()
        with pytest.raises(ValueError, match="no loop today"):
            async_to_sync(nothing, force_new_loop=True)()
    finally:
        set_loop_factory(None)
    assert async_to_sync(asyncio.sleep)(0, "works again") == "works again"


# A loop on a thread of its own.


async def where() -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
    return asyncio.get_running_loop(), threading.current_thread()


def test_the_thread_of_a_loop_starts_with_the_first_call() -> None:
    """Not before; and all calls run on it."""
    before = set(threading.enumerate())
    with LoopThread() as loop:
        assert set(threading.enumerate()) <= before
        first = async_to_sync(where, loop=loop)()
        assert set(threading.enumerate()) - before == {first[1]}
        assert async_to_sync(where, loop=loop)() == first
        assert on_new_thread(async_to_sync(where, loop=loop)) == first
    assert first[1].daemon
    assert first[1] is not threading.current_thread()


def test_threads_that_call_first_at_the_same_time_get_the_same_loop() -> None:
    """Only one thread is started."""
    barrier = threading.Barrier(8)
    with LoopThread() as loop, ThreadPoolExecutor(8) as pool:

        def call() -> Any:
            barrier.wait(30)
            return async_to_sync(where, loop=loop)()

        assert len({pool.submit(call) for _ in range(8)}) == 8
        futures = [pool.submit(call) for _ in range(8)]
        assert len({future.result(30) for future in futures}) == 1


def test_tasks_and_connections_outlive_the_call_that_made_them() -> None:
    """One call starts a server and a client, others talk through them."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def connect() -> tuple[asyncio.Server, asyncio.StreamReader, asyncio.StreamWriter]:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        return server, reader, writer

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, question: bytes) -> bytes:
        writer.write(question + b"\n")
        return await reader.readline()

    async def disconnect(server: asyncio.Server, writer: asyncio.StreamWriter) -> None:
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    with LoopThread() as loop:
        on = functools.partial(async_to_sync, loop=loop)
        server, reader, writer = on(connect)()
        assert on(ask)(reader, writer, b"one") == b"ONE\n"
        assert on_new_thread(lambda: on(ask)(reader, writer, b"two")) == b"TWO\n"
        on(disconnect)(server, writer)


def test_a_task_that_was_left_behind_on_a_loop_thread_runs_on() -> None:
    """Until the loop is closed; then it is cancelled and waited for."""
    steps: list[str] = []

    async def task() -> None:
        try:
            await for_ever()
        finally:
            await asyncio.sleep(0)
            steps.append("cleaned up")

    async def leaves() -> asyncio.Task[None]:
        left = asyncio.create_task(task())
        await asyncio.sleep(0)
        return left

    with LoopThread() as loop:
        left = async_to_sync(leaves, loop=loop)()
        async_to_sync(nothing, loop=loop)()
        assert not left.done()
        assert steps == []
    assert left.cancelled()
    assert steps == ["cleaned up"]


def test_an_async_generator_on_a_loop_thread_is_closed_with_the_loop() -> None:
    """And waited for."""
    steps: list[str] = []

    async def leaves() -> AsyncIterator[int]:
        generator = endless(steps)
        await anext(generator)
        return generator

    with LoopThread() as loop:
        generator = async_to_sync(leaves, loop=loop)()
        assert steps == []
    assert steps == ["closed"]
    del generator


def test_calls_that_wait_are_cancelled_when_the_loop_thread_is_closed() -> None:
    """Their code cleans up first."""
    entered, steps = threading.Semaphore(0), []

    async def waits() -> None:
        try:
            entered.release()
            await for_ever()
        finally:
            await asyncio.sleep(0)
            steps.append("cleaned up")

    loop = LoopThread()
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(async_to_sync(waits, loop=loop)) for _ in range(3)]
        for _ in waiting:
            assert entered.acquire(timeout=30)
        assert loop.close()
        for future in waiting:
            with pytest.raises(asyncio.CancelledError):
                future.result(30)
    assert steps == ["cleaned up"] * 3


def test_a_sync_call_that_runs_when_the_loop_thread_is_closed_is_waited_for() -> None:
    """Only then is its caller cancelled."""
    entered, leave, steps = threading.Event(), threading.Event(), []

    def sync() -> None:
        entered.set()
        assert leave.wait(30)
        steps.append("sync")

    async def calls() -> None:
        try:
            await sync_to_async(sync)()
        except asyncio.CancelledError:
            steps.append("cancelled")
            raise

    loop = LoopThread()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(async_to_sync(calls, loop=loop))
        assert entered.wait(30)
        assert not loop.close(timeout=0)
        leave.set()
        assert loop.close()
        with pytest.raises(asyncio.CancelledError):
            waiting.result(30)
    assert steps == ["sync", "cancelled"]


def test_closing_a_loop_thread_again_does_not_cut_the_clean_up_short() -> None:
    """Its tasks go on until they are through with it."""
    begun, cleaning, go_on, steps = threading.Event(), threading.Event(), threading.Event(), []

    async def calls() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaning.set()
            while not go_on.is_set():
                await asyncio.sleep(0)
            steps.append("cleaned up")

    loop = LoopThread()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(async_to_sync(calls, loop=loop))
        assert begun.wait(30)
        assert not loop.close(timeout=0)
        assert cleaning.wait(30)
        assert not loop.close(timeout=0)
        assert not loop.close(timeout=0.1)
        go_on.set()
        assert loop.close()
        with pytest.raises(asyncio.CancelledError):
            waiting.result(30)
    assert steps == ["cleaned up"]


def test_a_loop_thread_may_be_closed_from_its_own_thread() -> None:
    """It does not wait for itself; it ends when the code that closes it is done."""
    loop = LoopThread()

    async def closes() -> tuple[bool, threading.Thread]:
        return loop.close(), threading.current_thread()

    ended, thread = async_to_sync(closes, loop=loop)()
    assert not ended
    thread.join(30)
    assert not thread.is_alive()
    assert loop.close()


def test_a_closed_loop_thread_takes_no_calls() -> None:
    """Closed once or twice, used before or not."""
    for use in (True, False):
        loop = LoopThread()
        if use:
            async_to_sync(nothing, loop=loop)()
        assert loop.close()
        assert loop.close(timeout=0)
        with pytest.raises(LoopStopped, match="the LoopThread is closed and runs nothing any more"):
            async_to_sync(nothing, loop=loop)()


def test_a_loop_thread_is_its_own_context_manager() -> None:
    """The error of the block comes through."""
    loop = LoopThread()
    with pytest.raises(ValueError, match="of the block"):
        with loop as entered:
            assert entered is loop
            _, thread = async_to_sync(where, loop=loop)()
            raise ValueError("of the block")
    assert not thread.is_alive()


def test_a_loop_thread_that_nobody_refers_to_ends() -> None:
    """Its loop is closed, its thread ends."""
    loop: LoopThread | None = LoopThread()
    running, thread = async_to_sync(where, loop=loop)()
    loop = None
    gc.collect()
    thread.join(30)
    assert not thread.is_alive()
    assert running.is_closed()


def test_a_loop_thread_lives_as_long_as_its_call() -> None:
    """Although nobody else refers to it."""

    async def collects() -> str:
        gc.collect()
        await asyncio.sleep(0.001)
        return "done"

    assert async_to_sync(collects, loop=LoopThread())() == "done"
    gc.collect()


def test_a_loop_thread_has_the_loop_of_its_factory() -> None:
    """Whatever set_loop_factory() says."""
    with LoopThread(uvloop.new_event_loop) as loop:
        running, _ = async_to_sync(where, loop=loop)()
        assert isinstance(running, uvloop.Loop)
        assert async_to_sync(sync_to_async(here), loop=loop)() == here()


def test_an_error_of_the_factory_of_a_loop_thread_comes_out_of_the_call() -> None:
    """The next call starts another thread."""
    answers: list[Any] = [ValueError("no loop today"), asyncio.new_event_loop]

    def factory() -> asyncio.AbstractEventLoop:
        answer = answers.pop(0)
        if isinstance(answer, ValueError):
            raise answer
        loop: asyncio.AbstractEventLoop = answer()
        return loop

    with LoopThread(factory) as loop:
        with pytest.raises(ValueError, match="no loop today"):
            async_to_sync(nothing, loop=loop)()
        assert async_to_sync(asyncio.sleep, loop=loop)(0, "next") == "next"


def test_a_host_that_runs_no_threads_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread seems to start, and never runs; the call does not wait for ever."""
    monkeypatch.setattr(loop_thread, "_START_SECONDS", 0.01)
    monkeypatch.setattr(threading.Thread, "start", lambda thread: None)
    loop = LoopThread()
    with pytest.raises(RuntimeError, match=r"has not begun to run within 0\.01 seconds; .*--enable-threads"):
        async_to_sync(nothing, loop=loop)()
    monkeypatch.undo()
    with loop:
        assert async_to_sync(asyncio.sleep, loop=loop)(0, "next") == "next"


def test_a_system_without_further_threads_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system says comes out of the call; a later call tries again."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    loop = LoopThread()
    with pytest.raises(RuntimeError, match="can't start new thread"):
        async_to_sync(nothing, loop=loop)()
    monkeypatch.undo()
    with loop:
        assert async_to_sync(asyncio.sleep, loop=loop)(0, "next") == "next"


def test_on_a_system_without_further_threads_a_kept_loop_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """The calling thread does everything itself, one after the other."""
    thread = threading.Thread(target=on_a_thread_without_others, args=(monkeypatch, answers := []))
    thread.start()
    thread.join(50)
    assert answers == [["sync", "sync", "sync"]]


def on_a_thread_without_others(monkeypatch: pytest.MonkeyPatch, answers: list[Any]) -> None:
    async def main() -> list[str]:
        return [await sync_to_async(str)("sync") for _ in range(3)]

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        answers.append(async_to_sync(main)())


@pytest.mark.parametrize("wrong", [asyncio.new_event_loop, "loop", 1], ids=["factory", "text", "number"])
def test_what_is_no_loop_thread_is_refused(wrong: Any) -> None:
    """When the function is wrapped."""
    with pytest.raises(TypeError, match=r"give an asgiadapt\.LoopThread"):
        async_to_sync(nothing, loop=wrong)


def test_a_loop_is_not_named_where_a_new_one_is_wanted() -> None:
    """One of the two is meant."""
    with pytest.raises(TypeError, match="loop must not be set when force_new_loop is True"):
        async_to_sync(nothing, loop=LoopThread(), force_new_loop=True)


# The default for calls without a loop above.


@contextlib.contextmanager
def by_default(loop: LoopThread) -> Iterator[None]:
    set_default_loop(loop)
    try:
        yield
    finally:
        set_default_loop(None)


def test_the_default_loop_runs_the_calls_of_all_threads() -> None:
    """Until it is taken back."""
    with LoopThread() as loop:
        with by_default(loop):
            first = async_to_sync(where)()
            assert on_new_thread(async_to_sync(where)) == first
            assert async_to_sync(where, loop=loop)() == first
        assert async_to_sync(where)()[1] is threading.current_thread()


def test_a_wrapper_from_before_uses_the_default_loop() -> None:
    """It is looked for at each call."""
    ask = async_to_sync(where)
    with LoopThread() as loop, by_default(loop):
        assert ask()[1] is not threading.current_thread()


def test_a_loop_above_comes_before_a_loop_thread() -> None:
    """Before the default one, and one that is named; a named one comes before the default."""

    async def main() -> tuple[bool, bool]:
        running = asyncio.get_running_loop()
        plain = await sync_to_async(async_to_sync(current_loop))()
        named = await sync_to_async(async_to_sync(current_loop, loop=loop))()
        return plain is running, named is running

    with LoopThread() as loop, LoopThread() as default, by_default(default):
        assert asyncio.run(main()) == (True, True)
        assert async_to_sync(current_loop, loop=loop)() is not async_to_sync(current_loop)()


def test_a_new_loop_comes_before_the_default_loop() -> None:
    """It was asked for."""
    with LoopThread() as loop, by_default(loop):
        running = async_to_sync(current_loop, force_new_loop=True)()
        assert running is not async_to_sync(current_loop)()
    assert running.is_closed()


def test_a_closed_default_loop_is_told() -> None:
    """It is still the default."""
    loop = LoopThread()
    loop.close()
    with by_default(loop), pytest.raises(LoopStopped, match="make a new one"):
        async_to_sync(nothing)()


# A loop above that is stopped or closed.


class Parent:
    """A loop of somebody else, which calls sync code on a thread and is then left alone."""

    def __init__(self, function: Callable[[], Awaitable[Any]]) -> None:
        self.outcome: list[Any] = []
        self.entered = threading.Event()
        self.done = threading.Event()
        self.loop = asyncio.new_event_loop()
        self._function = function
        self.task = self.loop.create_task(sync_to_async(self._sync, thread_sensitive=False)())

    async def _inner(self) -> Any:
        self.entered.set()
        return await self._function()

    def _sync(self) -> None:
        try:
            self.outcome.append(async_to_sync(self._inner)())
        except BaseException as error:
            self.outcome.append(error)
        finally:
            self.done.set()

    def run_until_it_waits(self) -> None:
        async def wait() -> None:
            while not self.entered.is_set():
                await asyncio.sleep(0.001)

        self.loop.run_until_complete(wait())

    def forget(self) -> None:
        """Close the loop with what is on it, and say nothing about it."""
        for task in asyncio.all_tasks(self.loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        self.loop.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads look often after the loop that they wait for, and give it up soon."""
    monkeypatch.setattr(loops.StandStill, "look_seconds", 0.005)
    monkeypatch.setattr(loops, "_GIVE_UP_SECONDS", 0.05)


@pytest.mark.usefixtures("impatient")
def test_a_loop_above_that_is_closed_is_told_to_whoever_waits_for_it() -> None:
    """Its code can never go on."""
    parent = Parent(for_ever)
    parent.run_until_it_waits()
    parent.forget()
    assert parent.done.wait(30)
    assert isinstance(parent.outcome[0], LoopStopped)
    assert "was closed or stopped" in str(parent.outcome[0])


@pytest.mark.usefixtures("impatient")
def test_a_loop_above_that_stays_stopped_is_told_to_whoever_waits_for_it() -> None:
    """It could be run on, but nobody does."""
    parent = Parent(for_ever)
    parent.run_until_it_waits()
    assert parent.done.wait(30)
    assert isinstance(parent.outcome[0], LoopStopped)
    parent.forget()


def test_a_loop_above_that_is_run_on_gives_the_result() -> None:
    """A stop for a moment does no harm."""
    release: list[asyncio.Event] = []

    async def waits() -> str:
        release.append(asyncio.Event())
        await release[0].wait()
        return "went on"

    parent = Parent(waits)
    parent.run_until_it_waits()
    parent.loop.call_soon(release[0].set)
    parent.loop.run_until_complete(parent.task)
    assert parent.outcome == ["went on"]
    parent.loop.close()


@pytest.mark.usefixtures("impatient")
def test_a_loop_above_that_has_closed_before_the_call_is_not_asked() -> None:
    """The thread uses a loop of its own."""
    entered, go_on, done = threading.Event(), threading.Event(), threading.Event()
    found: list[asyncio.AbstractEventLoop] = []

    def sync() -> None:
        entered.set()
        assert go_on.wait(30)
        found.append(async_to_sync(current_loop)())
        done.set()

    parent = asyncio.new_event_loop()
    task = parent.create_task(sync_to_async(sync, thread_sensitive=False)())
    while not entered.is_set():
        parent.run_until_complete(asyncio.sleep(0.001))
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    parent.close()
    go_on.set()
    assert done.wait(30)
    assert found[0] is not parent


# Threads that wait are lent.


@pytest.mark.parametrize("depth", [1, 2, 3])
async def test_calls_that_wait_for_each_other_have_threads_enough(depth: int) -> None:
    """More of them than the pool has threads, all inside at the same time, at each depth."""
    together = 60
    inside = [0] * depth
    all_inside = [asyncio.Event() for _ in range(depth)]

    async def arrive(level: int) -> int:
        inside[level] += 1
        if inside[level] == together:
            all_inside[level].set()
        await all_inside[level].wait()
        return 1 + await go_down(level + 1) if level + 1 < depth else 1

    async def go_down(level: int) -> int:
        return await sync_to_async(async_to_sync(arrive), thread_sensitive=False)(level)

    async with asyncio.timeout(40):
        assert await asyncio.gather(*(go_down(0) for _ in range(together))) == [depth] * together


async def test_calls_of_a_small_pool_that_wait_for_each_other_have_threads_enough() -> None:
    """The pool's one thread is lent by each that waits."""
    together, inside = 10, 0
    all_inside = asyncio.Event()

    async def arrive() -> int:
        nonlocal inside
        inside += 1
        if inside == together:
            all_inside.set()
        await all_inside.wait()
        return await sync_to_async(int, thread_sensitive=False, executor=pool)(1)

    with WorkerPool(1) as pool:
        go_down = sync_to_async(async_to_sync(arrive), thread_sensitive=False, executor=pool)
        async with asyncio.timeout(40):
            assert await asyncio.gather(*(go_down() for _ in range(together))) == [1] * together
        assert pool.stats().busy <= 1


def test_calls_below_a_kept_loop_that_wait_for_each_other_have_threads_enough() -> None:
    """The same, where a thread waits above."""
    together, inside = 60, 0

    async def main() -> list[int]:
        all_inside = asyncio.Event()

        async def arrive() -> int:
            nonlocal inside
            inside += 1
            if inside == together:
                all_inside.set()
            await all_inside.wait()
            return await sync_to_async(here)()

        go_down = sync_to_async(async_to_sync(arrive), thread_sensitive=False)
        async with asyncio.timeout(40):
            return list(await asyncio.gather(*(go_down() for _ in range(together))))

    assert async_to_sync(main)() == [here()] * together
