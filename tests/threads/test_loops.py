"""The seam between asyncio and trio: the same rows on both."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any

import pytest
import trio
import uvloop

from asgiadapt._threads import loops
from asgiadapt._threads.loops import (
    AsyncioLoop,
    Loop,
    TimeIsUp,
    in_trio,
    on_trio,
    running_asyncio_loop,
    running_loop,
    within,
)

Main = Callable[[Loop], Awaitable[None]]


def run_asyncio(main: Main) -> None:
    async def call() -> None:
        loop = running_asyncio_loop()
        assert loop is not None
        await main(loop)

    asyncio.run(call(), debug=True)


def run_uvloop(main: Main) -> None:
    async def call() -> None:
        loop = running_asyncio_loop()
        assert loop is not None
        await main(loop)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(call())


def run_trio(main: Main) -> None:
    async def call() -> None:
        assert running_asyncio_loop() is None
        await on_trio(main)

    trio.run(call)


every_loop = pytest.mark.parametrize("run", [run_asyncio, run_uvloop, run_trio])


@pytest.fixture(autouse=True)
def _time_limit() -> Iterator[None]:
    yield
    loops._running = loops._Running()  # it holds the last loop of this thread


async def checkpoints(loop: Loop, count: int = 3) -> None:
    """Let other callbacks and tasks of the loop run."""
    for _ in range(count):
        waiter = loop.waiter()
        loop.post(lambda waiter=waiter: waiter.set_result(None))  # type: ignore[misc]
        await waiter


@every_loop
def test_posted_callbacks_run_in_order_on_the_loops_thread(run: Callable[[Main], None]) -> None:
    """Those of each thread; none is lost."""

    async def main(loop: Loop) -> None:
        got: list[tuple[int, int]] = []
        places: set[int] = set()

        def note(entry: tuple[int, int]) -> None:
            got.append(entry)
            places.add(threading.get_ident())

        def post(part: int) -> None:
            for number in range(1000):
                loop.post(partial(note, (part, number)))

        threads = [threading.Thread(target=post, args=(part,)) for part in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        await checkpoints(loop)
        for part in range(4):
            assert [entry[1] for entry in got if entry[0] == part] == list(range(1000))
        assert places == {threading.get_ident()}

    run(main)


def test_many_posts_wake_the_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it has not come to them."""

    async def main(loop: Loop) -> None:
        assert isinstance(loop, AsyncioLoop)
        wakes = 0
        original = loop.loop.call_soon_threadsafe

        def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal wakes
            wakes += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(loop.loop, "call_soon_threadsafe", counted)
        done: list[int] = []
        for number in range(100):
            loop.post(lambda number=number: done.append(number))  # type: ignore[misc]
        assert wakes == 1
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert done == list(range(100))
        loop.post(lambda: None)
        assert wakes == 2

    run_asyncio(main)


def test_a_post_that_a_signal_interrupts_leaves_the_loop_awake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its handler may raise before the loop has been woken, and while that is made up for."""
    interruptions = [KeyboardInterrupt(), KeyboardInterrupt()]
    wake = AsyncioLoop._wake

    def interrupted(loop: AsyncioLoop) -> None:
        if interruptions:
            raise interruptions.pop()
        wake(loop)

    async def main() -> None:
        loop = running_asyncio_loop()
        assert loop is not None
        ran = asyncio.Event()
        with monkeypatch.context() as patched:
            patched.setattr(AsyncioLoop, "_wake", interrupted)
            with pytest.raises(KeyboardInterrupt):
                loop.post(int)
            loop.post(ran.set)
            await asyncio.wait_for(ran.wait(), 10)

    asyncio.run(main())
    assert interruptions == []


def test_a_closed_loop_drops_what_is_posted() -> None:
    """Nobody is left to tell; nothing is raised."""
    kept: list[Loop] = []

    async def main(loop: Loop) -> None:
        kept.append(loop)

    for run in (run_asyncio, run_uvloop, run_trio):
        run(main)
    for loop in kept:
        loop.post(lambda: None)
        loop.post(lambda: None)
        loop.post_from_signal(lambda: None)
    assert [loop.is_closed() for loop in kept] == [True, True, True]
    assert [loop.is_running() for loop in kept] == [False, False, False]


@every_loop
def test_within_gives_results_and_errors(run: Callable[[Main], None]) -> None:
    """At once or after waiting, with and without a limit; a TimeoutError of its own passes."""

    async def main(loop: Loop) -> None:
        async def at_once() -> int:
            return 1

        async def later() -> int:
            await checkpoints(loop, 2)
            return 2

        async def fails(error: Exception, wait: bool) -> None:
            if wait:
                await checkpoints(loop, 1)
            raise error

        for limit in (None, 20.0):
            assert await within(loop, limit, at_once()) == 1
            assert await within(loop, limit, later()) == 2
            for wait in (False, True):
                for error in (KeyError("x"), TimeoutError("its own")):
                    with pytest.raises(type(error)) as caught:
                        await within(loop, limit, fails(error, wait))
                    assert caught.value is error

    run(main)


class PlainIterator:
    """An awaitable whose iterator has neither send() nor throw(), as some servers give it."""

    def __init__(self, loop: Loop, pauses: int) -> None:
        self.loop, self.pauses = loop, pauses
        self.steps: Any = iter(())

    def __await__(self) -> "PlainIterator":
        return self

    def __iter__(self) -> "PlainIterator":
        return self

    def __next__(self) -> Any:
        for pause in self.steps:
            return pause
        if not self.pauses:
            raise StopIteration("done")
        self.pauses -= 1
        waiter = self.loop.waiter()
        self.loop.post(lambda: waiter.set_result(None))
        self.steps = waiter.__await__()
        return next(self.steps)


@pytest.mark.parametrize("run", [run_asyncio, run_uvloop])
@pytest.mark.parametrize("pauses", [0, 1, 3])
def test_within_takes_awaitables_that_are_plain_iterators(run: Callable[[Main], None], pauses: int) -> None:
    """They are stepped by next(), and an error that is thrown in comes out at once."""

    async def main(loop: Loop) -> None:
        assert await within(loop, 20, PlainIterator(loop, pauses)) == "done"
        waits = PlainIterator(loop, 1)
        task = asyncio.ensure_future(within(loop, 20, waits))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main)


@every_loop
def test_within_ends_what_takes_too_long(run: Callable[[Main], None]) -> None:
    """The awaitable is cancelled where it waits, and cleans up."""

    async def main(loop: Loop) -> None:
        ended: list[str] = []

        async def for_ever() -> None:
            try:
                await loop.waiter()
            finally:
                ended.append("cleaned up")

        with pytest.raises(TimeIsUp):
            await within(loop, 0.01, for_ever())
        assert ended == ["cleaned up"]

    run(main)


VARIABLE: ContextVar[str] = ContextVar("VARIABLE", default="unset")


@every_loop
def test_a_task_runs_in_its_context_and_can_be_stopped(run: Callable[[Main], None]) -> None:
    """stop() returns when it has ended."""

    async def main(loop: Loop) -> None:
        seen: list[str] = []
        begun = loop.waiter()

        async def work() -> None:
            seen.append(VARIABLE.get())
            begun.set_result(None)
            try:
                await loop.waiter()
            finally:
                seen.append("stopped")

        context = copy_context()
        context.run(VARIABLE.set, "given")
        task = loop.start(work, context)
        await begun
        await loop.stop(task)
        assert seen == ["given", "stopped"]
        assert VARIABLE.get() == "unset"

        async def ends() -> None:
            seen.append("ended")

        task = loop.start(ends, copy_context())
        await checkpoints(loop, 5)
        await loop.stop(task)
        assert seen[-1] == "ended"

    run(main)


@every_loop
def test_later_calls_once_or_not_at_all(run: Callable[[Main], None]) -> None:
    """Cancelled, it does not call."""

    async def main(loop: Loop) -> None:
        called: list[str] = []
        waiter = loop.waiter()
        loop.later(20, lambda: called.append("never")).cancel()
        loop.later(0.001, lambda: waiter.set_result(None))
        await waiter
        assert waiter.done()
        assert called == []

    run(main)


@every_loop
def test_linger_waits_up_to_its_limit(run: Callable[[Main], None]) -> None:
    """For what comes, and no longer than that."""

    async def main(loop: Loop) -> None:
        async def comes() -> None:
            await checkpoints(loop)

        async def never() -> None:
            await loop.waiter()

        await loop.linger(20, comes())
        await loop.linger(0.01, never())
        assert loop.is_running()
        assert not loop.is_closed()

    run(main)


def test_the_object_of_a_loop_is_kept_as_long_as_the_thread_runs_it() -> None:
    """Another loop, another object; no loop, an error."""
    seen: list[AsyncioLoop | None] = []

    async def main() -> None:
        seen.append(running_asyncio_loop())
        seen.append(running_asyncio_loop())

    asyncio.run(main())
    asyncio.run(main())
    assert seen[0] is seen[1] is not seen[2] is seen[3]
    with pytest.raises(RuntimeError, match="no running event loop"):
        running_asyncio_loop()


def test_results_errors_and_cancellation_pass_through_trios_nursery() -> None:
    """Unwrapped."""

    async def main() -> None:
        async def gives(loop: Loop) -> int:
            return 5

        async def fails(loop: Loop) -> None:
            raise KeyError("x")

        async def waits(loop: Loop) -> None:
            await loop.waiter()

        assert await on_trio(gives) == 5
        with pytest.raises(KeyError):
            await on_trio(fails)
        with trio.move_on_after(0.01) as scope:
            await on_trio(waits)
        assert scope.cancelled_caught

    trio.run(main)


def test_a_worker_waits_as_long_as_the_loop_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """And gives up on one that stands still, but not on one that goes on in time."""
    monkeypatch.setattr(loops, "_LOOK_SECONDS", 0.001)
    monkeypatch.setattr(loops, "_GIVE_UP_SECONDS", 0.02)

    class Told:
        def __init__(self, *running: bool) -> None:
            self.running = list(running)
            self.bell = threading.Lock()
            self.bell.acquire()

        def is_closed(self) -> bool:
            return False

        def is_running(self) -> bool:
            if len(self.running) > 1:
                return self.running.pop(0)
            if self.running[0]:
                self.bell.release()
            return self.running[0]

    goes_on = Told(True, False, True, True)
    assert loops.wait_for_loop(goes_on.bell, goes_on) is True  # type: ignore[arg-type]
    stands = Told(False)
    assert loops.wait_for_loop(stands.bell, stands) is False  # type: ignore[arg-type]


def test_the_child_of_a_fork_has_objects_of_its_own() -> None:
    """The parent's may be locked by threads that are gone."""
    program = (
        "import asyncio, os\n"
        "from asgiadapt._threads.loops import running_asyncio_loop\n"
        "async def main(): return running_asyncio_loop()\n"
        "loop = asyncio.new_event_loop()\n"
        "before = loop.run_until_complete(main())\n"
        "assert loop.run_until_complete(main()) is before\n"
        "child = os.fork()\n"
        "if child == 0: os._exit(0 if loop.run_until_complete(main()) is not before else 1)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "loop.close()\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, timeout=50)


class Stands:
    """A loop that may run without ever ringing."""

    def __init__(self, *, runs: bool, closed: bool = False) -> None:
        self.runs, self.closed = runs, closed
        self.looked = 0

    def is_closed(self) -> bool:
        self.looked += 1
        return self.closed

    def is_running(self) -> bool:
        return self.runs


def held() -> Any:
    bell = threading.Lock()
    bell.acquire()
    return bell


@pytest.mark.parametrize("seconds", [0, 0.01])
def test_a_limit_ends_the_wait_for_a_loop_that_runs(seconds: float) -> None:
    """And 0 is one, too."""
    loop: Any = Stands(runs=True)
    assert loops.wait_for_loop(held(), loop, seconds) is False
    assert loop.looked == 1


def test_a_limit_is_counted_over_all_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is asked, and the last wait is as long as what is left."""
    monkeypatch.setattr(loops, "_LOOK_SECONDS", 1.0)
    now = 100.0
    waits: list[float] = []

    class Clock:
        @staticmethod
        def monotonic() -> float:
            return now

    class Bell:
        def acquire(self, *, timeout: float) -> bool:
            nonlocal now
            waits.append(round(timeout, 3))
            now += timeout
            return False

    monkeypatch.setattr(loops, "time", Clock)
    loop: Any = Stands(runs=True)
    bell: Any = Bell()
    assert loops.wait_for_loop(bell, loop, 2.5) is False
    assert waits == [1.0, 1.0, 0.5]


def test_a_bell_that_was_rung_needs_no_loop() -> None:
    """Nor time."""
    loop: Any = Stands(runs=False, closed=True)
    assert loops.wait_for_loop(threading.Lock(), loop, 0) is True
    assert loop.looked == 0


def test_a_closed_loop_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """With or without a limit."""
    monkeypatch.setattr(loops, "_LOOK_SECONDS", 0.001)
    loop: Any = Stands(runs=False, closed=True)
    assert loops.wait_for_loop(held(), loop) is False
    assert loops.wait_for_loop(held(), loop, 20) is False
    assert loop.looked == 2


@every_loop
def test_callbacks_are_posted_from_signal_handlers(run: Callable[[Main], None]) -> None:
    """Also while the thread is in the midst of posting."""

    async def main(loop: Loop) -> None:
        waiter = loop.waiter()
        with loop.mutex:
            loop.post_from_signal(lambda: waiter.set_result(None))
        await waiter

    run(main)


@every_loop
def test_outlast_waits_although_the_task_is_cancelled(run: Callable[[Main], None]) -> None:
    """Until the call is over; the task hears of its cancellation later."""

    async def main(loop: Loop) -> None:
        class Call:
            over = False
            waiter: Any = None

        call = Call()
        seen: list[str] = []

        async def work() -> None:
            await loop.outlast(call)
            seen.append("outlasted")

        task = loop.spawn(work, copy_context())
        await checkpoints(loop)
        first = call.waiter
        task.cancel()
        task.cancel()
        await checkpoints(loop)
        assert task.cancelling()
        assert not task.done()
        assert seen == []
        if not first.done():
            first.set_result(None)  # a false alarm
        await checkpoints(loop)
        assert seen == []
        call.over = True
        call.waiter.set_result(None)
        await checkpoints(loop)
        assert seen == ["outlasted"]
        assert task.done()

    run(main)


@every_loop
def test_a_spawned_task_belongs_to_nobody(run: Callable[[Main], None]) -> None:
    """It runs in its context, tells its end, and can be cancelled."""

    async def main(loop: Loop) -> None:
        seen: list[str] = []
        over = loop.waiter()

        async def work() -> None:
            seen.append(VARIABLE.get())
            try:
                await loop.waiter()
            finally:
                seen.append("left")

        async def ends() -> None:
            seen.append("ended")

        context = copy_context()
        context.run(VARIABLE.set, "given")
        task = loop.spawn(work, context, lambda _: over.set_result(None))
        await checkpoints(loop)
        assert (task.done(), task.cancelling()) == (False, 0)
        task.cancel()
        assert task.cancelling() == 1
        await over
        await checkpoints(loop)
        assert task.done()
        quiet = loop.spawn(ends, copy_context())
        await checkpoints(loop)
        assert quiet.done()
        assert seen == ["given", "left", "ended"]

    run(main)


@every_loop
def test_to_breathe_lets_others_run(run: Callable[[Main], None]) -> None:
    """A task that breathes does not hold up the rest."""

    async def main(loop: Loop) -> None:
        seen: list[int] = []

        async def other() -> None:
            seen.append(1)

        loop.spawn(other, copy_context())
        while not seen:
            await loop.breathe()

    run(main)


@pytest.mark.parametrize("run", [run_asyncio, run_uvloop])
def test_a_forgotten_cancellation_does_not_mind_time_limits(run: Callable[[Main], None]) -> None:
    """However often the task was cancelled."""

    async def main(loop: Loop) -> None:
        begun = asyncio.Event()
        counts: list[int] = []

        async def work() -> None:
            try:
                begun.set()
                await loop.waiter()
            except asyncio.CancelledError:
                task = asyncio.current_task()
                assert task is not None
                counts.append(task.cancelling())
                loop.forget_cancellation()
                counts.append(task.cancelling())
                await loop.linger(0.001, loop.waiter())
                counts.append(3)

        task = asyncio.ensure_future(work())
        await begun.wait()
        task.cancel()
        task.cancel()
        await task
        assert counts == [2, 0, 3]

    run(main)


def test_trios_scopes_stay_cancelled() -> None:
    """There is nothing to forget, and each of them ends level by level."""

    async def main(loop: Loop) -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            loop.forget_cancellation()
            with pytest.raises(trio.Cancelled):
                await loop.breathe()
            assert loop.is_ending()
        assert scope.cancelled_caught is False  # the test has taken it

    run_trio(main)


@pytest.mark.parametrize("run", [run_asyncio, run_uvloop])
def test_a_loop_is_ending_when_all_of_its_tasks_are_cancelled(run: Callable[[Main], None]) -> None:
    """As asyncio.run() does it; unless whoever runs it says so."""

    async def main(loop: Loop) -> None:
        assert isinstance(loop, AsyncioLoop)
        this = asyncio.current_task()
        assert this is not None
        other = asyncio.ensure_future(checkpoints(loop))
        assert not loop.is_ending()
        this.cancel()
        assert not loop.is_ending()
        other.cancel()
        assert loop.is_ending()
        loop.ends = False
        assert not loop.is_ending()
        loop.ends = True
        this.uncancel()
        assert loop.is_ending()
        try:
            await other
        except asyncio.CancelledError:
            pass  # of both

    run(main)


@pytest.mark.parametrize("run", [run_asyncio, run_uvloop])
def test_a_loop_can_be_woken_through_a_file(run: Callable[[Main], None]) -> None:
    """In the order of the calls, from any thread; then in the usual way again."""

    async def main(loop: Loop) -> None:
        assert isinstance(loop, AsyncioLoop)
        loop.wake_faster()
        got: list[int] = []

        async def all_come(*parts: int) -> None:
            over = loop.waiter()

            def post() -> None:
                for number in parts:
                    loop.post(partial(got.append, number))
                loop.post(lambda: over.set_result(None))

            thread = threading.Thread(target=post)
            thread.start()
            await over
            thread.join()

        await all_come(*range(1000))
        await all_come(1000)
        waker = loop._waker
        assert (waker is not None) is hasattr(os, "eventfd")
        if waker is not None:
            loop.loop.remove_reader(waker.fd)
        loop.wake_as_usual()
        await all_come(1001)
        assert got == list(range(1002))

    run(main)


def test_a_loop_without_readers_is_woken_as_usual() -> None:
    """Nothing stays open of the attempt."""

    async def main(loop: Loop) -> None:
        assert isinstance(loop, AsyncioLoop)

        def refuses(fd: int, *args: Any) -> None:
            fds.append(fd)
            raise NotImplementedError

        fds: list[int] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop.loop, "add_reader", refuses)
            loop.wake_faster()
        assert loop._waker is None
        for fd in fds:
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(fd)
        await checkpoints(loop)

    run_asyncio(main)


def test_a_system_without_eventfd_wakes_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    """There, nothing is tried."""

    async def main(loop: Loop) -> None:
        assert isinstance(loop, AsyncioLoop)
        loop.wake_faster()
        assert loop._waker is None
        await checkpoints(loop)

    monkeypatch.delattr(os, "eventfd", raising=False)
    run_asyncio(main)


def test_the_running_loop_is_found_wherever_one_runs() -> None:
    """Asyncio's or trio's; without one, an error."""
    seen: list[Any] = []

    async def main(loop: Loop) -> None:
        found = running_loop()
        assert found.is_running()
        seen.append((type(found).__name__, in_trio()))

    for run in (run_asyncio, run_trio):
        run(main)
    assert seen == [("AsyncioLoop", False), ("TrioLoop", True)]
    assert not in_trio()
    with pytest.raises(RuntimeError, match="no running event loop"):
        running_loop()
