"""An event loop, a thread that waits for it, and time, all of them on one thread: `Simulation`.

Nothing happens by itself. While the thread waits for a bell, the loop runs; where the thread takes or leaves
a mutex, the loop may run for some steps; what the client does, and how time goes by, is chosen too. So the
schedule is a part of the input, and the same input always gives the same schedule.

The code on the loop is never interrupted by the thread: a step of a task is one piece, as seen from there.
"""

import asyncio
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import Context
from functools import partialmethod
from heapq import heappop, heappush
from typing import Any

from asgiadapt._threads.loops import TimeIsUp, _go_on
from tests.fuzz.choices import Choices

MOST_TURNS = 20_000


class Hang(BaseException):
    """The thread waits, and nothing is left that could happen; or things happen without end.

    The code under test may swallow it, but not what is kept in ``hangs`` of the simulation.
    """


class Watch:
    """Keeps the assertions that fail below it: the code under test may swallow them."""

    def __init__(self) -> None:
        self.faults: list[AssertionError] = []

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, AssertionError):
            self.faults.append(error)


class Log:
    """A logger: the errors that it was told, and nothing else."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []

    def log(self, level: int, text: str, *values: object, exc_info: Any = None) -> None:
        error = sys.exception() if exc_info is True else exc_info
        if error is not None:
            self.errors.append(error)

    debug = info = warning = error = partialmethod(log, 0)
    exception = partialmethod(log, 0, exc_info=True)


@contextmanager
def replaced(*places: tuple[Any, str, Any]) -> Iterator[None]:
    """Other values for names of modules, for as long as one input takes."""
    before = [getattr(module, name) for module, name, _ in places]
    for module, name, value in places:
        setattr(module, name, value)
    try:
        yield
    finally:
        for (module, name, _), value in zip(places, before, strict=True):
            setattr(module, name, value)


class Waiter:
    """What a future is to a task."""

    def __init__(self) -> None:
        self._done = False
        self.tasks: list[Task] = []

    def done(self) -> bool:
        return self._done

    def set_result(self, result: None, /) -> None:
        assert not self._done
        self._done = True
        for task in self.tasks:
            task.wake()

    def ring(self) -> None:
        """As often as anybody likes."""
        if not self._done:
            self.set_result(None)

    def cancel(self) -> None:
        self._done = True

    def __await__(self) -> Generator[Any, None, None]:
        if not self._done:
            yield self


class Timer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Task:
    """A coroutine on its way. ``error`` is what it raised."""

    def __init__(
        self, simulation: "Simulation", steps: Coroutine[Any, Any, Any], context: Context, ended: Any = None
    ) -> None:
        self._simulation = simulation
        self._steps = steps
        self._context = context
        self._waits_for: Waiter | None = None
        self._requests = 0
        self._must_cancel = False
        self.watchers: list[Callable[[Task], object]] = [] if ended is None else [ended]
        self._over = False
        self.error: BaseException | None = None
        self.returned: Any = None
        simulation.tasks.append(self)
        simulation.ready.append(self._step)

    def wake(self) -> None:
        self._waits_for = None
        self._simulation.ready.append(self._step)

    def cancel(self) -> bool:
        if self.done():
            return False
        self._requests += 1
        if self._waits_for is None:
            self._must_cancel = True
        else:
            self._waits_for.tasks.remove(self)
            self._waits_for.cancel()
            self._must_cancel = True
            self.wake()
        return True

    def cancelling(self) -> int:
        return self._requests

    def uncancel(self) -> int:
        self._requests -= 1
        return self._requests

    def done(self) -> bool:
        return self._over

    def drop(self) -> None:
        try:
            self._steps.close()
        except BaseException:
            pass  # there is a finding already

    def _step(self) -> None:
        simulation = self._simulation
        before, simulation.current = simulation.current, self
        try:
            if self._must_cancel:
                self._must_cancel = False
                pause = self._context.run(self._steps.throw, asyncio.CancelledError())
            else:
                pause = self._context.run(self._steps.send, None)
        except StopIteration as end:
            self.returned = end.value
        except BaseException as error:
            # The loop runs on top of the thread, whose frames hang on the traceback.
            self.error = error if isinstance(error, AssertionError) else error.with_traceback(None)
        else:
            assert isinstance(pause, Waiter), pause
            self._waits_for = pause
            pause.tasks.append(self)
            return
        finally:
            simulation.current = before
        simulation.tasks.remove(self)
        self._over = True
        for watcher in self.watchers:
            watcher(self)


class Mutex:
    """Held by the code that runs, or by none; before and after, the loop may come in between."""

    def __init__(self, simulation: "Simulation") -> None:
        self._simulation = simulation
        self._held = False

    def __enter__(self) -> None:
        self._simulation.interrupt()
        assert not self._held, "the mutex is taken twice"
        self._held = True

    def __exit__(self, *exc_info: object) -> None:
        self._held = False
        self._simulation.interrupt()


class Bell:
    """A lock. While the thread waits for it, the loop runs."""

    def __init__(self, simulation: "Simulation") -> None:
        self._simulation = simulation
        self.held = False
        self.idle = 0  # times that it was waited for in vain

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if self.held and not self._simulation.wait(self, timeout):
            return False
        self.held = True
        return True

    def release(self) -> None:
        assert self.held, "a bell is rung twice"
        self.held = False


class Simulation:
    """A loop as `asgiadapt._threads.loops.Loop` has it. *schedule* chooses what happens next.

    ``outside`` gives what can happen at this moment besides, ``at_last`` what happens where nothing else can.
    """

    def __init__(self, schedule: Choices) -> None:
        self._schedule = schedule
        self.mutex: Any = Mutex(self)
        self.ready: deque[Callable[[], object]] = deque()
        self.tasks: list[Task] = []
        self.current: Task | None = None
        self.time = 0.0
        self.outside: Callable[[], list[Callable[[], object]]] = list
        self.at_last: Callable[[], Callable[[], object] | None] = lambda: None
        self.fired = 0  # timers
        self.hurried = 0  # timers that fired although something else was due
        self.hangs = 0
        self.watch = Watch()
        self.log = Log()
        self._timers: list[tuple[float, int, Timer]] = []
        self._made = 0
        self._turns = 0
        self._on_loop = True
        self.loop = self  # which is not the running one, for those who ask

    # What happens

    def run_thread(self, job: Callable[[], None]) -> None:
        """Run *job* as the thread does: the loop may come in between."""
        before, self._on_loop = self._on_loop, False
        try:
            job()
        finally:
            self._on_loop = before

    def interrupt(self) -> None:
        """The thread may be interrupted here."""
        if self._on_loop:
            return
        for _ in range(max(0, self._schedule.byte() % 16 - 12)):
            if not self.turn(patient=False):
                return

    def wait(self, bell: Bell, timeout: float) -> bool:
        """Let things happen until *bell* is rung."""
        end = None if timeout < 0 else self.time + timeout
        while bell.held:
            if self.turn(end):
                bell.idle = 0
                continue
            bell.idle += not self.timers()
            if end is None or bell.idle > 3:
                raise self._hang()
            self.time = end
            return False
        return True

    def turn(self, end: float | None = None, *, patient: bool = True) -> bool:
        """Let one thing happen, and no time go by beyond *end*; false where nothing is left."""
        self._turns += 1
        if self._turns > MOST_TURNS:
            raise self._hang()
        before, self._on_loop = self._on_loop, True
        try:
            chance = self._schedule.byte() % 16
            if self.ready and chance < 12:
                self.ready.popleft()()
                return True
            due = bool(self.ready)
            if chance == 15 and self._fire(end):
                self.hurried += due
                return True
            options = self.outside()
            if options:
                self._schedule.pick(options)()
                return True
            if self.ready:
                self.ready.popleft()()
                return True
            if not patient:
                return False
            if self._fire(end):
                return True
            last = self.at_last() if not self.timers() else None
            if last is not None:
                last()
            return last is not None
        finally:
            self._on_loop = before
            with self.watch:
                assert self.tasks or not self.timers(), "a timer outlives the last task"

    def _hang(self) -> Hang:
        self.hangs += 1
        return Hang()

    def _fire(self, end: float | None) -> bool:
        """Let the time go by until the next timer."""
        while self._timers:
            when, _, timer = self._timers[0]
            if end is not None and when > end and timer.callback is not None:
                return False
            heappop(self._timers)
            if timer.callback is not None:
                self.time = max(self.time, when)
                self.fired += 1
                timer.callback()
                return True
        return False

    def timers(self) -> int:
        """How many are set."""
        return sum(timer.callback is not None for _, _, timer in self._timers)

    def drop(self) -> None:
        """End what hangs, while its logger is the one of the simulation."""
        for task in self.tasks:
            task.drop()

    def check_that_nothing_is_left(self) -> None:
        for fault in self.watch.faults:
            raise fault
        assert not self.hangs, "the thread waits for ever"
        assert not self.tasks, "a task was left behind"

    # What the code under test asks for

    def make_lock(self) -> Any:
        return Bell(self)

    def make_bell(self) -> Any:
        bell = Bell(self)
        bell.held = True
        return bell

    def post(self, callback: Callable[[], None]) -> None:
        self.ready.append(callback)
        self.interrupt()

    def post_from_signal(self, callback: Callable[[], None]) -> None:
        self.ready.append(callback)

    def waiter(self) -> Any:
        return Waiter()

    def start(self, function: Callable[[], Coroutine[Any, Any, None]], context: Context) -> Task:
        return Task(self, function(), context)

    async def stop(self, task: Task) -> None:
        task.cancel()
        if not task.done():
            waiter = Waiter()
            task.watchers.append(lambda _: waiter.ring())
            await waiter

    def spawn(
        self, function: Callable[[], Coroutine[Any, Any, None]], context: Context, ended: Any = None
    ) -> Any:
        return Task(self, function(), context, ended)

    async def rest_within(self, seconds: float | None, steps: Any, pause: Any) -> Any:
        if seconds is None:
            return await _go_on(steps, pause)
        return await self._limited(seconds, _go_on(steps, pause))

    async def _limited(self, seconds: float, awaitable: Any) -> Any:
        task = self.current
        assert task is not None
        before = task.cancelling()
        fired = False

        def fire() -> None:
            nonlocal fired
            fired = True
            task.cancel()

        timer = self.later(seconds, fire)
        try:
            return await awaitable
        except asyncio.CancelledError:
            if fired and task.uncancel() <= before:
                raise TimeIsUp from None
            raise
        finally:
            timer.cancel()

    async def linger(self, seconds: float, awaitable: Awaitable[None]) -> None:
        try:
            await self._limited(seconds, awaitable)
        except TimeIsUp:
            pass

    async def breathe(self) -> None:
        waiter = Waiter()
        self.ready.append(waiter.ring)
        await waiter

    def later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(callback)
        self._made += 1
        heappush(self._timers, (self.time + seconds, self._made, timer))
        return timer

    def is_ending(self) -> bool:
        return False

    def is_closed(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True
