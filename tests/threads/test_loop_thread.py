"""Event loops on threads of their own; calls on them are tested in ``bridges/test_loops.py``."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import uvloop

from asgiadapt import DeadlockError, LoopStopped, LoopThread, set_default_loop
from asgiadapt._threads import loop_thread as module
from asgiadapt._threads.loop_thread import (
    default_loop,
    refuse_own_thread,
    running_loop_of,
    shared_loop,
)
from asgiadapt._threads.loops import AsyncioLoop, running_asyncio_loop
from tests.gates import PATIENCE, Gate, on_thread
from tests.processes import ROOT

FACTORIES: list[Any] = [None, uvloop.new_event_loop]
both = pytest.mark.parametrize("factory", FACTORIES, ids=["asyncio", "uvloop"])


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    with LoopThread() as made:
        yield made


def on_loop(loop: AsyncioLoop, function: Callable[[], Any]) -> Any:
    """What *function* gives or raises on the thread of *loop*."""
    over = Gate("the callback")
    result: list[Any] = []

    def call() -> None:
        try:
            result.append(function())
        except BaseException as error:
            result.append(error)
        over.open()

    loop.post(call)
    over.wait()
    if isinstance(result[0], BaseException):
        raise result[0]
    return result[0]


class OnThread:
    """An asyncio loop that a thread of the test's own runs."""

    def __init__(self, factory: Any = None) -> None:
        self.loop: asyncio.AbstractEventLoop = (factory or asyncio.new_event_loop)()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self) -> asyncio.AbstractEventLoop:
        self._thread.start()
        return self.loop

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)
        self.loop.close()


# Which loop


def test_the_shared_loop_is_the_default_one_where_there_is_one(thread: LoopThread) -> None:
    """And one and the same object otherwise, which none of this starts."""
    shared = shared_loop()
    assert default_loop() is None
    assert shared_loop() is shared
    assert shared is not thread
    set_default_loop(thread)
    try:
        assert default_loop() is thread
        assert shared_loop() is thread
    finally:
        set_default_loop(None)
    assert shared_loop() is shared
    assert thread._running is None


def test_threads_that_ask_first_at_the_same_time_share_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody gets another one."""
    monkeypatch.setattr(module._Settings, "shared", None)
    together = threading.Barrier(8)

    def ask() -> LoopThread:
        together.wait(PATIENCE)
        return shared_loop()

    asked = [on_thread(ask) for _ in range(8)]
    assert len({id(outcome.result()) for outcome in asked}) == 1


@both
def test_a_loop_thread_is_started_by_whoever_needs_it(factory: Any) -> None:
    """The loop runs on a thread of ours, is the same each time, and says that it does not end."""
    with LoopThread(factory) as thread:
        loop = running_loop_of(thread)
        assert running_loop_of(thread) is loop
        assert on_loop(loop, lambda: threading.current_thread().name) == "asgiadapt-loop"
        assert on_loop(loop, running_asyncio_loop) is loop
        assert on_loop(loop, loop.is_ending) is False
        assert loop.is_running()
    assert loop.is_closed()
    assert loop.ends is True


@both
def test_a_loop_that_somebody_else_runs_is_found(factory: Any) -> None:
    """Of each there is one object; whether it ends is not for us to say."""
    with OnThread(factory) as running:
        loop = running_loop_of(running)
        assert loop.loop is running
        assert running_loop_of(running) is loop
        assert on_loop(loop, running_asyncio_loop) is loop
        assert loop.ends is None


def test_a_loop_that_is_closed_is_refused(thread: LoopThread) -> None:
    """The text says what to give."""
    loop = asyncio.new_event_loop()
    loop.close()
    with pytest.raises(LoopStopped, match="the event loop is closed; give one that runs, or a LoopThread"):
        running_loop_of(loop)
    thread.close()
    with pytest.raises(LoopStopped, match="the LoopThread is closed and runs nothing any more"):
        running_loop_of(thread)


def test_a_loop_that_nobody_runs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while; once it runs, what was asked of it then does no harm."""
    monkeypatch.setattr(module, "_START_SECONDS", 0.01)
    resting = OnThread()
    with pytest.raises(LoopStopped, match=r"has run nothing within 0\.01 seconds"):
        running_loop_of(resting.loop)
    monkeypatch.setattr(module, "_START_SECONDS", PATIENCE)
    with resting as loop:
        assert running_loop_of(loop).loop is loop


# Its own thread


def test_the_thread_of_the_loop_is_refused(thread: LoopThread) -> None:
    """However it asks, and whosever loop it is."""
    loop = running_loop_of(thread)
    with OnThread() as running:
        ours = running_loop_of(running)
        refused: list[tuple[AsyncioLoop, Callable[[], Any]]] = [
            (loop, lambda: refuse_own_thread(loop)),
            (loop, lambda: running_loop_of(thread)),
            (loop, lambda: running_loop_of(loop.loop)),
            (ours, lambda: refuse_own_thread(ours)),
            (ours, lambda: running_loop_of(running)),
        ]
        for place, ask in refused:
            with pytest.raises(DeadlockError, match="make the thread of an event loop wait for that loop"):
                on_loop(place, ask)


async def test_other_threads_are_not_refused(thread: LoopThread) -> None:
    """Neither one without a loop nor one that runs another."""
    loop = running_loop_of(thread)
    refuse_own_thread(loop)
    assert running_loop_of(thread) is loop
    on_thread(refuse_own_thread, loop).result()


async def test_in_a_loop_that_was_handed_on_its_old_thread_is_not_refused() -> None:
    """Who runs it at this moment counts."""
    first = asyncio.new_event_loop()

    async def known() -> AsyncioLoop | None:
        return running_asyncio_loop()

    loop = on_thread(first.run_until_complete, known()).result()
    refuse_own_thread(loop)
    first.close()


# Being woken


@both
def test_what_many_threads_post_comes_in_order(factory: Any) -> None:
    """That of each; all of it on the thread of the loop."""
    with LoopThread(factory) as thread:
        loop = running_loop_of(thread)
        got: list[tuple[int, int]] = []
        together = threading.Barrier(4)

        def post(part: int) -> None:
            together.wait(PATIENCE)
            for number in range(2000):
                loop.post(partial(got.append, (part, number)))

        for outcome in [on_thread(post, part) for part in range(4)]:
            outcome.result()
        on_loop(loop, lambda: None)
        for part in range(4):
            assert [number for of, number in got if of == part] == list(range(2000))


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@both
def test_nothing_stays_open_of_a_loop_that_has_ended(factory: Any) -> None:
    """The file that it was woken by goes with it."""

    def one() -> None:
        with LoopThread(factory) as thread:
            loop = running_loop_of(thread)
            assert (loop._waker is not None) is hasattr(os, "eventfd")
            on_loop(loop, lambda: None)
        assert loop._waker is None

    one()
    gc.collect()
    before = descriptors()
    for _ in range(10):
        one()
    gc.collect()
    assert descriptors() == before


@both
def test_to_post_to_a_loop_that_closes_never_fails(factory: Any) -> None:
    """At no moment of its end, and never afterwards."""
    for _ in range(20):
        thread = LoopThread(factory)
        loop = running_loop_of(thread)
        begun = Gate("the first post")

        def post(loop: AsyncioLoop = loop, begun: Gate = begun) -> None:
            for _ in range(1000):
                loop.post(begun.open)
                loop.post_from_signal(begun.open)

        outcome = on_thread(post)
        begun.wait()
        assert thread.close(PATIENCE)
        outcome.result()
        post()


# Its end


def test_a_task_that_exits_leaves_the_loop_running(thread: LoopThread) -> None:
    """It is told to the handler of the loop, and the others go on."""
    loop = running_loop_of(thread)
    told: list[Any] = []
    news = threading.Semaphore(0)

    def handler(_: object, context: dict[str, Any]) -> None:
        told.append(context.get("exception"))
        news.release()

    on_loop(loop, lambda: loop.loop.set_exception_handler(handler))
    for error in (SystemExit(3), KeyboardInterrupt()):

        def raises(error: BaseException = error) -> None:
            raise error

        on_loop(loop, lambda raises=raises: loop.loop.call_soon(raises))
        assert news.acquire(timeout=PATIENCE)
        assert told.pop() is error
        assert on_loop(loop, lambda: 1) == 1


def test_the_end_cancels_tasks_and_closes_generators() -> None:
    """In this order; an error that comes of it is told to the handler."""
    seen: list[Any] = []
    begun = Gate("all of the tasks")

    async def numbers() -> Any:
        try:
            yield 1
        finally:
            seen.append("generator closed")

    async def iterates() -> None:
        generator = numbers()
        kept.append(generator)
        await anext(generator)
        begun.open()  # the others have begun before

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            seen.append("task cancelled")

    async def fails() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise KeyError("at its end")

    def handler(_: object, context: dict[str, Any]) -> None:
        seen.append((context["message"], context["exception"].args))

    kept: list[Any] = []
    thread = LoopThread()
    loop = running_loop_of(thread)

    def begin() -> None:
        loop.loop.set_exception_handler(handler)
        kept.extend(loop.loop.create_task(function()) for function in (waits, fails, iterates))

    on_loop(loop, begin)
    begun.wait()
    assert thread.close(PATIENCE)
    assert seen == [
        "task cancelled",
        ("a task has raised while its loop was closed", ("at its end",)),
        "generator closed",
    ]
    assert thread.close(0)


def test_a_close_that_does_not_wait_is_told_from_one_that_has() -> None:
    """0 seconds are none, and the thread ends all the same."""
    held, may_end = Gate(), Gate()
    thread = LoopThread()
    loop = running_loop_of(thread)

    def hold() -> None:
        held.open()
        may_end.wait()

    loop.post(hold)
    held.wait()
    assert thread.close(0) is False
    assert thread.close(0.001) is False
    may_end.open()
    assert thread.close(PATIENCE) is True


def test_a_close_on_its_own_thread_does_not_wait(thread: LoopThread) -> None:
    """The thread ends once it has come out of there."""
    loop = running_loop_of(thread)
    assert on_loop(loop, thread.close) is False
    assert thread.close(PATIENCE) is True
    assert loop.is_closed()


def test_a_loop_thread_that_was_never_used_closes_at_once() -> None:
    """Nothing was started."""
    before = set(threading.enumerate())
    thread = LoopThread()
    assert thread.close() is True
    assert set(threading.enumerate()) <= before


# Its executor


def test_blocking_work_of_the_loop_runs_on_threads_of_ours(thread: LoopThread) -> None:
    """Results, errors and context come as they always do."""
    loop = running_loop_of(thread)
    results: list[Any] = []
    over = Gate()

    async def work() -> None:
        results.append(await asyncio.to_thread(lambda: threading.current_thread().name))
        try:
            await asyncio.to_thread(int, "x")
        except ValueError as error:
            results.append(str(error))
        over.open()

    on_loop(loop, lambda: results.append(loop.loop.create_task(work())))
    over.wait()
    assert results[1:] == ["asgiadapt-worker", "invalid literal for int() with base 10: 'x'"]


def test_work_that_was_cancelled_before_it_began_is_not_done() -> None:
    """Nobody would have its result."""
    done: list[int] = []
    for end in ("run", "drop"):
        work = module._Work(lambda: done.append(1))
        assert work.future.cancel()
        getattr(work, end)()
        assert work.future.cancelled()
    assert done == []


def test_work_for_which_there_is_no_thread_says_so() -> None:
    """Whoever awaits it is told."""
    work = module._Work(lambda: None)
    work.drop()
    with pytest.raises(RuntimeError, match="no thread can be started for this call"):
        work.future.result(0)


# Processes


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "ignore:This process", "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


HEAD = """
import asyncio, os, threading
from asgiadapt import LoopThread
from asgiadapt._threads import loop_thread
from asgiadapt._threads.loop_thread import running_loop_of, shared_loop

def on_loop(loop, function):
    result, over = [], threading.Event()
    loop.post(lambda: (result.append(function()), over.set()))
    assert over.wait(20)
    return result[0]

def in_child(function):
    child = os.fork()
    if child == 0:
        try:
            function()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
"""
PROGRAMS = {
    "has-loops-of-its-own": """
own = LoopThread()
before = {thread: running_loop_of(thread) for thread in (own, shared_loop())}

def child():
    for thread, loop in before.items():
        assert running_loop_of(thread) is not loop
        assert on_loop(running_loop_of(thread), os.getpid) == os.getpid()
        assert thread.close(20)

in_child(child)
for thread, loop in before.items():
    assert running_loop_of(thread) is loop
    assert on_loop(loop, os.getpid) == os.getpid()
""",
    "is-not-held-up-by-a-lock-of-its-parent": """
held, may_go = threading.Event(), threading.Event()

def hold():
    with loop_thread._shared_mutex:
        held.set()
        may_go.wait()

threading.Thread(target=hold).start()
held.wait()
in_child(lambda: on_loop(running_loop_of(shared_loop()), lambda: None))
may_go.set()
""",
    "of-a-child": """
thread = LoopThread()
on_loop(running_loop_of(thread), lambda: None)

def child():
    on_loop(running_loop_of(thread), lambda: None)
    in_child(lambda: on_loop(running_loop_of(thread), lambda: None))

in_child(child)
""",
    "may-be-forked-off-by-the-loop": """
thread = LoopThread()
loop = running_loop_of(thread)
on_loop(loop, lambda: in_child(lambda: None))
on_loop(loop, lambda: None)
""",
}


@pytest.mark.parametrize("program", list(PROGRAMS.values()), ids=list(PROGRAMS))
def test_a_child_process(program: str) -> None:
    """It starts its own loops, and leaves those of its parent alone."""
    assert run(HEAD + program) == ""


def test_the_exit_of_the_interpreter_ends_the_loops() -> None:
    """Tasks are cancelled, and may still call blocking functions to clean up where a thread is idle."""
    assert run(
        HEAD
        + """
async def waits():
    await asyncio.to_thread(int)  # from Python 3.12 on, none is started any more
    try:
        begun.set()
        await asyncio.Event().wait()
    finally:
        print(await asyncio.to_thread(lambda: "cleaned up"))

begun, tasks = threading.Event(), []
threads = [LoopThread(), shared_loop()]
for thread in threads:
    loop = running_loop_of(thread)
    on_loop(loop, lambda: tasks.append(loop.loop.create_task(waits())))
    begun.wait()
    begun.clear()
"""
    ) == ("cleaned up\n" * 2)


def test_a_loop_thread_that_is_lost_in_a_cycle_ends() -> None:
    """The collector may find it at any time, on any thread."""
    thread = LoopThread()
    loop = running_loop_of(thread)
    cycle: list[Any] = [thread]
    cycle.append(cycle)
    del thread, cycle
    gc.collect()
    deadline = time.monotonic() + PATIENCE
    while not loop.is_closed():  # its thread has nothing left to tell us by
        assert time.monotonic() < deadline
        time.sleep(0.001)
