"""The event loop that a thread keeps for its calls of async functions, one after the other.

To start a loop costs 80 us, and to hand a call to another thread and back costs 50; a kept loop, run by the
thread that calls, does a small call in 10. But while that thread runs sync code that the async side has sent
back to it, the loop has to go on: somebody else runs it then.

Guarantees
    One call at a time. The loop runs on the calling thread, until a sync call is sent to that thread; from
    then on it may run on another, to the end of the call.
    A call finds nothing of the one before: its tasks are cancelled and its async generators closed before it
    ends, and a loop that then still has timers or sockets, or does not show whether it has, is replaced.
    The loop is closed when its thread ends, and at exit.

Changing hands
    An event loop may be stopped and run on by another thread. The calling thread stops it, asks for a helper,
    and runs the sync call. If the helper has not begun when that is done, the loop stays: many sync calls
    are over before another thread wakes up (sync -> async -> sync: N us with a helper, M us without).
"""

import asyncio
import atexit
import os
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextvars import Context
from functools import partial
from typing import Any

from asgiadapt._threads.async_calls import AsyncCall
from asgiadapt._threads.calling_thread import LoopOwner
from asgiadapt._threads.loops import AsyncioLoop
from asgiadapt._threads.primitives import local
from asgiadapt._threads.strand import leases

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
# Tasks may start others while they are cancelled; but not for ever.
_ROUNDS_OF_CLEANING = 100


class KeptLoop:
    def __init__(self, factory: LoopFactory | None) -> None:
        self.factory = factory
        self._in_use = False
        self._process = os.getpid()
        self._open()
        _ALL.add(self)

    def _open(self) -> None:
        self._loop = loop = (self.factory or asyncio.new_event_loop)()
        self._ours = AsyncioLoop(loop)
        self._owner = LoopOwner(loop)
        self._tasks: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        self._make_task = _task_factory(self._tasks)
        loop.set_task_factory(self._make_task)
        # Whether it shows its async generators, timers and sockets, as those of asyncio do (uvloop's do not).
        self._is_open_to_view = hasattr(loop, "_asyncgens") and hasattr(loop, "_scheduled")

    def is_closed(self) -> bool:
        return self._loop.is_closed()

    def close(self) -> None:
        """Unless somebody runs it; who does closes it."""
        if os.getpid() != self._process:
            # In a child, where threads that have stayed with the parent seem to end.
            _inherited.append(self)
        elif not self._loop.is_running():
            self._loop.close()

    def call(self, call: AsyncCall) -> None:
        """Run *call* until it is over."""
        self._in_use = True
        self._owner.thread = call.caller
        call.run(self._ours, lambda: self._run(call))

    def _run(self, call: AsyncCall) -> None:
        loop = self._loop
        if not call.cancelled:
            # It is the first that this loop does, so nobody can cancel it before it has begun.
            self._drive(call, call.run_on_loop(loop.stop), call.context)
            call.task = None
        if self._has_work_left():
            self._drive(call, self._clean_up(), Context())
        if loop.get_exception_handler() is not None:
            loop.set_exception_handler(None)
        if not self._is_at_rest():
            loop.close()
            self._open()
        self._owner.thread = None
        self._in_use = False

    def _drive(self, call: AsyncCall, work: Coroutine[Any, Any, None], context: Context) -> None:
        """Run the loop until *work* is done, which stops it, and meanwhile what is sent to this thread."""
        call.over = False
        call.task = task = asyncio.Task(work, loop=self._loop, context=context)
        while not task.done():
            call.caller.run_loop(partial(self._run_loop, call), self._stop_loop)
            if task.done():
                break
            if not call.caller.has_calls():
                continue  # somebody else has stopped the loop; it has to go on
            handover = _Handover(self, call, task)
            leases.submit(handover)
            call.run_what_was_sent()
            # After a fork the loop is the parent's, even where nobody has taken it; serve() tells the caller.
            if call.caller.is_inherited() or not handover.taken():
                call.serve()
        call.over = True

    def _stop_loop(self, from_its_thread: bool) -> None:
        if from_its_thread:
            self._loop.stop()
            return
        try:
            self._loop.call_soon_threadsafe(self._loop.stop)
        except RuntimeError:
            pass  # it has closed: the thread has gone on, and looks for calls by itself

    def _run_loop(self, call: AsyncCall) -> None:
        try:
            self._loop.run_forever()
        except BaseException as error:
            # A task's KeyboardInterrupt or SystemExit, or a signal handler's.
            if not call.interrupted_by(error):
                raise

    def run_for(self, call: AsyncCall, task: "asyncio.Task[None]") -> None:
        """Run the loop until *task* is done, while the calling thread does something else."""
        while not task.done():
            try:
                self._loop.run_forever()
            except BaseException as error:
                call.interrupted_by(error)
        if call.given_up:
            self._loop.close()
        call.over = True
        call.caller.wake()

    def _has_work_left(self) -> bool:
        """Whether there may be tasks and generators to end."""
        loop: Any = self._loop
        if not self._is_open_to_view:
            return True
        return bool(
            self._tasks or loop._asyncgens or loop._ready or loop.get_task_factory() is not self._make_task
        )

    def _is_at_rest(self) -> bool:
        """Whether nothing is left that would run in a later call."""
        loop: Any = self._loop
        if not self._is_open_to_view or loop._ready or getattr(loop, "_signal_handlers", ()):
            return False
        selector = getattr(loop, "_selector", None)
        if selector is not None and len(selector.get_map()) > 1:  # more than the loop's own pipe
            return False
        return all(handle.cancelled() for handle in loop._scheduled)

    async def _clean_up(self) -> None:
        """What asyncio.run() does at its end, except that the loop lives on."""
        try:
            # What is scheduled may make tasks, such as those that close dropped async generators; they begin.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            for _ in range(_ROUNDS_OF_CLEANING):
                if not await self._cancel_what_is_left():
                    break
        finally:
            self._loop.set_task_factory(self._make_task)
            self._loop.stop()

    async def _cancel_what_is_left(self) -> bool:
        """False where nothing was."""
        loop: Any = self._loop
        known = self._tasks if loop.get_task_factory() is self._make_task else asyncio.all_tasks(loop)
        tasks = [task for task in known if not task.done() and task is not asyncio.current_task()]
        generators: list[AsyncGenerator[Any, Any]] = []
        if self._is_open_to_view:
            generators += loop._asyncgens
        else:
            await loop.shutdown_asyncgens()  # it ends with the call anyway
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                _report(loop, "a task failed after async_to_sync() had cancelled it", error)
        for generator in generators:
            loop._asyncgens.discard(generator)
            try:
                await generator.aclose()
            except Exception as error:
                _report(loop, "an async generator failed after async_to_sync() had closed it", error)
        await asyncio.sleep(0)
        return bool(tasks or generators)


class _Handover:
    """The loop, offered to another thread while the calling thread is busy. Whoever takes it first has it."""

    def __init__(self, kept: KeptLoop, call: AsyncCall, task: "asyncio.Task[None]") -> None:
        self._kept = kept
        self._call = call
        self._task = task
        self._token = [True]

    def taken(self) -> bool:
        try:
            self._token.pop()
        except IndexError:
            return False
        return True

    def run(self) -> None:
        if self.taken():
            self._kept.run_for(self._call, self._task)

    def drop(self) -> None:
        """No thread can be started; so the calling thread takes it back."""


def _task_factory(tasks: "weakref.WeakSet[asyncio.Task[Any]]") -> Any:
    # Not a method: it would keep the loop's owner alive, which closes the loop when it dies.
    def make_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(coroutine, loop=loop, **options)
        tasks.add(task)
        return task

    return make_task


def _report(loop: asyncio.AbstractEventLoop, message: str, error: BaseException) -> None:
    loop.call_exception_handler({"message": message, "exception": error})


class _Keeper:
    """Closes the loop of a thread when that ends. Nobody else refers to it, no traceback either."""

    def __init__(self, kept: KeptLoop) -> None:
        self.kept = kept

    def __del__(self) -> None:
        self.kept.close()


class _Kept(local):
    keeper: _Keeper | None = None


class _Settings:
    def __init__(self) -> None:
        self.factory: LoopFactory | None = None


_ALL: "weakref.WeakSet[KeptLoop]" = weakref.WeakSet()
_kept = _Kept()
_settings = _Settings()
_inherited: list[Any] = []


def set_loop_factory(factory: LoopFactory | None) -> None:
    """Have `async_to_sync` make its event loops by *factory*, such as ``uvloop.new_event_loop``.

    None stands for what `asyncio.new_event_loop` gives. It holds for the whole process from the next call on;
    a `LoopThread` has a factory of its own.
    """
    _settings.factory = factory


def call_on_kept_loop(call: AsyncCall) -> None:
    """Run *call* on the loop that this thread keeps; where that is in use, on a new one."""
    # No frame of a traceback holds the keeper.
    kept = _kept.keeper.kept if _kept.keeper is not None else None
    if kept is not None and kept._in_use:
        call_on_new_loop(call)
        return
    if kept is None or kept.factory is not _settings.factory or kept.is_closed():
        kept = KeptLoop(_settings.factory)
        _kept.keeper = _Keeper(kept)
    kept.call(call)


def call_on_new_loop(call: AsyncCall) -> None:
    """Run *call* on a loop that is closed afterwards."""
    kept = KeptLoop(_settings.factory)
    try:
        kept.call(call)
    finally:
        kept.close()


def _close_all() -> None:
    for kept in list(_ALL):
        if not kept._in_use:
            kept.close()


def _after_fork_in_child() -> None:
    global _kept
    # Never to be closed here: the parent's loops wait for the same sockets.
    _inherited.extend([_kept, *_ALL])
    _ALL.clear()
    _kept = _Kept()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_after_fork_in_child)
