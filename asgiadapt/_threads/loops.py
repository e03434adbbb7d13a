"""The event loop that a request came from: the little that the adapter asks of asyncio, or of trio.

This is the whole seam between the two. `AsyncioLoop` also serves every loop that has asyncio's interface,
such as uvloop's. Of each loop there is one object for as long as its thread runs it, so that everything
that worker threads report in the meantime costs the loop one wake-up; in trio the object belongs to one
request, since only a nursery can start tasks.

Guarantees
    `post` may be called from any thread, and never raises or blocks. Callbacks run on the loop's thread in
    the order of the calls. A loop that has closed drops them: whoever waited there went down with it.
    Everything else is called on the loop's thread.
"""

import asyncio
import os
import sys
import time
import types
from _thread import LockType
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, Final, Protocol, TypeAlias, TypeVar, cast

from asgiadapt._threads.primitives import Lock, local

T = TypeVar("T")
Steps: TypeAlias = Generator[Any, Any, T]

# A worker that waits for its loop looks this often whether there still is one,
_LOOK_SECONDS: Final = 1.0
# and gives up on one that was stopped, and has not run again for so long.
_GIVE_UP_SECONDS: Final = 5.0


Cancelled: Final = asyncio.CancelledError


class TimeIsUp(Exception):
    """What was waited for took longer than it may."""


class Waiter(Protocol):
    """The part of an asyncio future that is needed here."""

    def __await__(self) -> Generator[Any, None, None]: ...
    def done(self) -> bool: ...
    def set_result(self, result: None, /) -> None: ...


class Cancellable(Protocol):
    def cancel(self) -> Any: ...


class Spawned(Cancellable, Protocol):
    """A task."""

    def cancelling(self) -> int: ...
    def done(self) -> bool: ...


class Outcome(Protocol):
    """What will be over at some time; the waiter is then told."""

    over: bool
    waiter: Waiter


class Bell(Protocol):
    """A lock that is held until it is rung."""

    def acquire(self, *, timeout: float) -> bool: ...
    def release(self) -> None: ...


class Loop(Protocol):
    # Guards what is passed between this loop and workers. One for the whole loop and not one for each
    # request: a lock is held for moments, and costs more to make than to take.
    mutex: LockType

    def post(self, callback: Callable[[], None]) -> None:
        """Run *callback* on the loop soon. Any thread."""
        ...

    def post_from_signal(self, callback: Callable[[], None]) -> None:
        """As `post`, also where the thread is interrupted by a signal in the midst of it."""
        ...

    def waiter(self) -> Waiter:
        """Something to await until its ``set_result(None)`` is called on the loop."""
        ...

    def start(self, function: Callable[[], Coroutine[Any, Any, None]], context: Context) -> Any:
        """Run *function* as a task of its own, which raises nothing; gives something to stop it by."""
        ...

    async def stop(self, task: Any) -> None:
        """Cancel what `start` gave, and wait until it has ended."""
        ...

    async def rest_within(self, seconds: float | None, steps: Steps[T], pause: Any) -> T:
        """Await the rest of *steps*, of which *pause* is the first; `TimeIsUp` after *seconds*."""
        ...

    async def linger(self, seconds: float, awaitable: Awaitable[None]) -> None:
        """Wait for *awaitable* although the task has been cancelled, up to *seconds*."""
        ...

    async def outlast(self, call: Outcome) -> None:
        """Wait until *call* is over, although the task has been cancelled."""
        ...

    def spawn(
        self,
        function: Callable[[], Coroutine[Any, Any, None]],
        context: Context,
        ended: Callable[[Any], object] | None = None,
    ) -> Spawned:
        """Run *function* as a task that belongs to nobody, then call *ended*."""
        ...

    def is_ending(self) -> bool:
        """Whether the loop cancels all of its tasks. On the loop."""
        ...

    async def breathe(self) -> None:
        """Let others run for once."""
        ...

    def forget_cancellation(self) -> None:
        """The running task was cancelled, and goes on: time limits that it sets now are not to mind."""
        ...

    def later(self, seconds: float, callback: Callable[[], None]) -> Cancellable:
        """Run *callback* on the loop in *seconds*."""
        ...

    def is_closed(self) -> bool:
        """Whether the loop has ended for good. Any thread."""
        ...

    def is_running(self) -> bool:
        """Whether the loop runs at this moment. Any thread."""
        ...


class _Waker:
    """A file that wakes a loop. Closed when nobody is about to write to it any more."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def __del__(self) -> None:
        os.close(self.fd)


class AsyncioLoop:
    """The running loop of asyncio, uvloop or the like."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop: Final = loop
        self.mutex = Lock()
        self._posted: deque[Callable[[], None]] = deque()
        self._woken = False  # a drain is scheduled and has not begun
        self._waker: _Waker | None = None
        # Whether it is to end, where whoever runs it says so: it may have a single task, which is cancelled
        # for reasons of its own.
        self.ends: bool | None = None
        # The drain runs nobody's code but ours; with a context of its own, none has to be copied for it.
        self._context = Context()
        self.waiter: Final = cast(Callable[[], Waiter], loop.create_future)

    def post(self, callback: Callable[[], None]) -> None:
        try:
            with self.mutex:
                self._posted.append(callback)
                if self._woken:
                    return
                self._woken = True
            self._wake()
        except BaseException:
            # The handler of a signal has raised, perhaps before the loop was woken.
            self._woken = False
            self._wake()
            raise

    def _wake(self) -> None:
        if (waker := self._waker) is not None:
            os.eventfd_write(waker.fd, 1)
            return
        try:
            self.loop.call_soon_threadsafe(self._drain, context=self._context)
        except RuntimeError:
            # The loop has closed. Nobody is left to tell.
            with self.mutex:
                self._posted.clear()
                self._woken = False

    def wake_faster(self) -> None:
        """Be woken through a file of our own, until `wake_as_usual`: 7 us less than asyncio's own way."""
        if not hasattr(os, "eventfd"):
            return
        waker = _Waker()
        try:
            self.loop.add_reader(waker.fd, self._drain_woken, waker.fd)
        except NotImplementedError:
            return
        self._waker = waker

    def wake_as_usual(self) -> None:
        """The loop has closed."""
        self._waker = None

    def _drain_woken(self, fd: int) -> None:
        os.eventfd_read(fd)
        self._drain()

    def post_from_signal(self, callback: Callable[[], None]) -> None:
        try:
            self.loop.call_soon_threadsafe(callback, context=self._context)
        except RuntimeError:
            pass  # as above

    def _drain(self) -> None:
        with self.mutex:
            self._woken = False
            posted, self._posted = self._posted, deque()
        for callback in posted:
            callback()

    def start(
        self, function: Callable[[], Coroutine[Any, Any, None]], context: Context
    ) -> asyncio.Task[None]:
        return self.loop.create_task(function(), context=context)

    async def stop(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        await asyncio.wait([task])

    async def rest_within(self, seconds: float | None, steps: Steps[T], pause: Any) -> T:
        if seconds is None:
            return await _go_on(steps, pause)
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await _go_on(steps, pause)
        except TimeoutError:
            if limit.expired():
                raise TimeIsUp from None
            raise  # the awaitable's own

    async def linger(self, seconds: float | None, awaitable: Awaitable[Any]) -> None:
        try:
            async with asyncio.timeout(seconds):
                await awaitable
        except TimeoutError:
            pass

    async def outlast(self, call: Outcome) -> None:
        while not call.over:
            call.waiter = self.waiter()
            try:
                await call.waiter
            except asyncio.CancelledError:
                pass  # the task will hear of it once, as if it had been cancelled once

    def spawn(
        self,
        function: Callable[[], Coroutine[Any, Any, None]],
        context: Context,
        ended: Callable[[Any], object] | None = None,
    ) -> asyncio.Task[None]:
        task = self.loop.create_task(function(), context=context)
        if ended is not None:
            task.add_done_callback(ended, context=self._context)
        return task

    def is_ending(self) -> bool:
        if self.ends is not None:
            return self.ends
        # As asyncio.run() does: nobody else would cancel all.
        return all(task.cancelling() for task in asyncio.all_tasks(self.loop))

    async def breathe(self) -> None:
        await asyncio.sleep(0)

    def forget_cancellation(self) -> None:
        task = asyncio.current_task()
        while task is not None and task.cancelling():
            task.uncancel()

    def later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        return self.loop.call_later(seconds, callback)

    def is_closed(self) -> bool:
        return self.loop.is_closed()

    def is_running(self) -> bool:
        return self.loop.is_running()


@types.coroutine
def _go_on(steps: Steps[T], pause: Any) -> Generator[Any, Any, T]:
    """``yield from steps``, where the first *pause* has been taken out of it already.

    As in PEP 380, *steps* may be a plain iterator: some servers' awaitables have neither ``send`` nor
    ``throw``.
    """
    try:
        while True:
            try:
                answer = yield pause
            except BaseException as error:
                throw = getattr(steps, "throw", None)
                if throw is None:
                    raise
                pause = throw(error)
            else:
                pause = next(steps) if answer is None else steps.send(answer)
    except StopIteration as end:
        return cast(T, end.value)


async def within(loop: Loop, seconds: float | None, awaitable: Awaitable[T]) -> T:
    """The result of *awaitable*; `TimeIsUp` where it takes longer than *seconds*.

    Most calls of ``send()`` and ``receive()`` end without waiting, and a timer costs as much as they do
    (3.2 us, where this costs 0.3). So they are begun without one, and only what waits gets it.
    """
    steps = awaitable.__await__()
    try:
        pause = next(steps)
    except StopIteration as end:
        return cast(T, end.value)
    return await loop.rest_within(seconds, steps, pause)


class TrioLoop:
    """The running loop of trio, for one request, with the nursery of that request where tasks are started."""

    def __init__(self, trio: Any, nursery: Any) -> None:
        self.mutex = Lock()
        self._trio = trio
        self._nursery = nursery
        self._token = trio.lowlevel.current_trio_token()

    def post(self, callback: Callable[[], None]) -> None:
        try:
            self._token.run_sync_soon(callback)
        except self._trio.RunFinishedError:
            pass  # as in AsyncioLoop

    post_from_signal = post

    def waiter(self) -> Waiter:
        return _TrioWaiter(self._trio.Event())

    def start(self, function: Callable[[], Coroutine[Any, Any, None]], context: Context) -> Any:
        scope = self._trio.CancelScope()
        ended = self._trio.Event()

        async def run() -> None:
            try:
                with scope:
                    await function()
            finally:
                ended.set()

        context.run(self._nursery.start_soon, run)
        return scope, ended

    async def stop(self, task: Any) -> None:
        scope, ended = task
        scope.cancel()
        await ended.wait()

    async def rest_within(self, seconds: float | None, steps: Steps[T], pause: Any) -> T:
        if seconds is None:
            return await _go_on(steps, pause)
        with self._trio.move_on_after(seconds):
            return await _go_on(steps, pause)
        raise TimeIsUp

    async def linger(self, seconds: float, awaitable: Awaitable[None]) -> None:
        with self._trio.move_on_after(seconds, shield=True):
            await awaitable

    async def outlast(self, call: Outcome) -> None:
        with self._trio.CancelScope(shield=True):
            while not call.over:
                call.waiter = self.waiter()
                await call.waiter

    def spawn(
        self,
        function: Callable[[], Coroutine[Any, Any, None]],
        context: Context,
        ended: Callable[[Any], object] | None = None,
    ) -> Spawned:
        scope = _TrioScope(self._trio.CancelScope())

        async def run() -> None:
            try:
                with scope.scope:
                    await function()
            finally:
                scope.over = True
                if ended is not None:
                    ended(None)

        self._trio.lowlevel.spawn_system_task(run, context=context)
        return scope

    def is_ending(self) -> bool:
        # Its tasks are cancelled level by level, and cannot go on.
        return True

    async def breathe(self) -> None:
        await self._trio.lowlevel.checkpoint()

    def forget_cancellation(self) -> None:
        """Trio's scopes stay cancelled."""

    def later(self, seconds: float, callback: Callable[[], None]) -> Cancellable:
        scope = self._trio.CancelScope()

        async def run() -> None:
            with scope:
                await self._trio.sleep(seconds)
                callback()

        self._nursery.start_soon(run)
        return cast(Cancellable, scope)

    def is_closed(self) -> bool:
        try:
            self._token.run_sync_soon(_nothing, idempotent=True)
        except self._trio.RunFinishedError:
            return True
        return False

    def is_running(self) -> bool:
        return not self.is_closed()


def _nothing() -> None:
    """What a loop can do only while it runs."""


class _TrioScope:
    """A task, by the scope around it."""

    def __init__(self, scope: Any) -> None:
        self.scope = scope
        self.over = False

    def cancel(self) -> None:
        self.scope.cancel()

    def cancelling(self) -> int:
        return int(self.scope.cancel_called)

    def done(self) -> bool:
        return self.over


class _TrioWaiter:
    def __init__(self, event: Any) -> None:
        self._event = event

    def __await__(self) -> Generator[Any, None, None]:
        return cast(Generator[Any, None, None], self._event.wait().__await__())

    def done(self) -> bool:
        return cast(bool, self._event.is_set())

    def set_result(self, result: None, /) -> None:
        self._event.set()


class _Running(local):
    """The loop that this thread runs, or ran last."""

    loop: AsyncioLoop | None = None


_running = _Running()


def running_asyncio_loop() -> AsyncioLoop | None:
    """The asyncio loop that runs the calling task; None where trio runs it.

    RuntimeError without either.
    """
    if "trio" in sys.modules and sys.modules["trio"].lowlevel.in_trio_task():
        return None
    loop = asyncio.get_running_loop()
    known = _running.loop
    if known is None or known.loop is not loop:
        known = _running.loop = AsyncioLoop(loop)
    return known


def in_trio() -> bool:
    """Whether trio runs on this thread."""
    return "trio" in sys.modules and sys.modules["trio"].lowlevel.in_trio_run()


def running_loop() -> Loop:
    """The loop that runs the calling task. RuntimeError without one."""
    loop = running_asyncio_loop()
    return loop if loop is not None else TrioLoop(sys.modules["trio"], None)


async def on_trio(function: Callable[[TrioLoop], Awaitable[T]]) -> T:
    """Run *function* on the running trio loop, with a nursery that ends with it."""
    import trio

    result: list[T] = []
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        try:
            result.append(await function(TrioLoop(trio, nursery)))
        except trio.Cancelled:
            raise
        except BaseException as error:
            # Kept out of the nursery, which would wrap it in a group: callers except what was raised.
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        try:
            raise failure
        finally:
            del failure
    return result[0]


class StandStill:
    """Tells a thread that waits for *loop* when to give it up. Asked every `look_seconds`."""

    look_seconds: Final = _LOOK_SECONDS

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._since: float | None = None

    def is_lasting(self) -> bool:
        if self._loop.is_closed():
            return True
        if self._loop.is_running():
            self._since = None
            return False
        now = time.monotonic()
        if self._since is None:
            self._since = now
        return now - self._since >= _GIVE_UP_SECONDS


def wait_for_loop(bell: Bell, loop: Loop, seconds: float | None = None) -> bool:
    """Wait, on a thread, until *bell* is released; false where nobody is left who could do it.

    Or where it has taken more than *seconds*.
    """
    look = _LOOK_SECONDS if seconds is None else min(seconds, _LOOK_SECONDS)
    if bell.acquire(timeout=look):
        return True
    stand_still = StandStill(loop)
    end = None if seconds is None else time.monotonic() + seconds - look
    while not stand_still.is_lasting():
        if end is not None:
            look = min(end - time.monotonic(), _LOOK_SECONDS)
            if look <= 0:
                return False
        if bell.acquire(timeout=look):
            return True
    return False


def _after_fork_in_child() -> None:
    global _running
    _running = _Running()  # the old objects' locks may be held by threads that are gone


os.register_at_fork(after_in_child=_after_fork_in_child)
