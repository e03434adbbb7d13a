"""One event loop on a thread of its own, started at first need.

Guarantees
    Nothing is started at import. The loop is started by the first call that needs it, and a process that was
    forked starts one of its own.
    The thread never keeps the process alive. At exit, or with `LoopThread.close`, tasks are cancelled, async
    generators closed, and the loop with them.
"""

import asyncio
import atexit
import os
import sys
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

from asgiadapt._errors import DeadlockError, LoopStopped
from asgiadapt._threads.greenlets import bell_maker
from asgiadapt._threads.kept_loop import LoopFactory
from asgiadapt._threads.loops import AsyncioLoop, running_asyncio_loop
from asgiadapt._threads.primitives import Lock, get_ident, start_thread
from asgiadapt._threads.workers import WorkerPool

T = TypeVar("T")
_START_SECONDS: Final = 10.0
_EXIT_SECONDS: Final = 5.0


class LoopThread:
    """An event loop on a thread of its own, on which calls of `async_to_sync` can run.

    A loop of its own goes on between the calls. What is bound to a loop, such as an HTTP client or a pool of
    database connections, can be made in one call and used in the next, and tasks that a call leaves behind
    run on. Give it to ``async_to_sync(..., loop=...)``, or to `set_default_loop` for all calls.

    *loop_factory* makes the loop (``uvloop.new_event_loop``); without one `asyncio.new_event_loop` does.

    The thread starts with the first call, after a fork anew in the child, and is a daemon. `close` ends it;
    so do the end of the block where the object is a context manager, the last reference to the object,
    and the exit of the interpreter. May be used from any thread.
    """

    def __init__(self, loop_factory: LoopFactory | None = None) -> None:
        self._factory = loop_factory
        self._closed = False
        self._start_afresh()
        _ALL.add(self)

    def _start_afresh(self) -> None:
        self._mutex = Lock()
        self._running: _RunningLoop | None = None

    def close(self, timeout: float | None = None) -> bool:
        """Cancel the tasks, close the loop and end the thread. Calls that wait get `asyncio.CancelledError`.

        Waits up to *timeout* seconds for that (None: as long as it takes; 0: not at all), and returns
        whether all has ended. On the loop's own thread it does not wait. May be called again.
        """
        with self._mutex:
            self._closed = True
            running = self._running
        return running is None or running.stop(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if "_running" in vars(self) and self._running is not None:
            self._running.stop(0)

    def _running_loop(self) -> AsyncioLoop:
        with self._mutex:
            if self._closed:
                raise LoopStopped("the LoopThread is closed and runs nothing any more; make a new one.")
            if self._running is None or not self._running.is_alive():
                self._running = _RunningLoop(self._factory)
            return self._running.loop


class _RunningLoop:
    """The thread. It knows nothing of the `LoopThread`, and so does not keep it alive."""

    loop: AsyncioLoop

    def __init__(self, factory: LoopFactory | None) -> None:
        self._factory = factory
        self._failure: BaseException | None = None
        self._thread: int | None = None
        self._stopping = False
        self._started, self._ended = Lock(), Lock()  # held until that has happened
        self._started.acquire()
        self._ended.acquire()
        self._real = start_thread(self._run, "asgiadapt-loop")
        if not self._started.acquire(timeout=_START_SECONDS):
            raise RuntimeError(
                f"the thread of the event loop has not begun to run within {_START_SECONDS:g} seconds; the "
                f"host may have threads disabled (uWSGI needs --enable-threads)."
            )
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        self._thread = get_ident()
        try:
            loop = (self._factory or asyncio.new_event_loop)()
            try:
                asyncio.set_event_loop(loop)
                loop.set_default_executor(_Executor())
                loop.call_soon(self._begin_on_loop)
                self._run_forever(loop)
            finally:
                _end(loop)
        except BaseException as error:
            self._failure = error
        finally:
            if self._failure is None:
                self.loop.wake_as_usual()
            self._ended.release()
            if self._started.locked():
                self._started.release()

    def _begin_on_loop(self) -> None:
        loop = running_asyncio_loop()
        assert loop is not None
        self.loop = loop
        loop.ends = False
        loop.wake_faster()
        self._started.release()

    def _run_forever(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._stopping:
            try:
                loop.run_forever()
            except (KeyboardInterrupt, SystemExit) as error:
                # Out of a task that nobody awaits; the other calls' loop goes on.
                loop.call_exception_handler({"message": "a task has raised", "exception": error})

    def _stop_on_loop(self) -> None:
        if not self._stopping:
            self._stopping = self.loop.ends = True
            self.loop.loop.stop()

    def is_alive(self) -> bool:
        return self._ended.locked()

    def stop(self, timeout: float | None) -> bool:
        # While the loop ends, a second stop would cut its tasks' clean-up short. And this may be called while
        # the collector has interrupted anything.
        self.loop.post_from_signal(self._stop_on_loop)
        if self._thread == get_ident():
            return False
        if not self._ended.acquire(timeout=-1 if timeout is None else timeout):
            return False
        self._ended.release()
        if self._real is not None:
            self._real.join()  # it has nothing left to do
        return True


def _end(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel the tasks of *loop*, and close it, as `asyncio.run` does; but start no thread to that end.

    At the exit of the interpreter none can be started any more.
    """
    try:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                message = "a task has raised while its loop was closed"
                loop.call_exception_handler({"message": message, "exception": error, "task": task})
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


class _Executor(ThreadPoolExecutor):
    """The default executor of our loops, for `asyncio.to_thread` and the like.

    Python's own is closed before the exit of the interpreter begins, and could not be used by the tasks that
    end then; and where gevent has patched the threads, its threads are greenlets, which wait for another
    thread's hub in vain.
    """

    def __init__(self) -> None:
        super().__init__(1)  # which it never starts

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> "Future[T]":
        work: _Work[T] = _Work(partial(fn, *args, **kwargs))
        _workers.submit(work)
        return work.future


class _Work(Generic[T]):
    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self.future: Future[T] = Future()

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self._function()
        except BaseException as error:
            self.future.set_exception(error)
            del self  # the error's traceback holds this frame, and the future the error
        else:
            self.future.set_result(result)

    def drop(self) -> None:
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(
                RuntimeError(
                    "no thread can be started for this call: the system has no more of them, or the "
                    "interpreter is shutting down."
                )
            )


# As many as asyncio grants to a loop at most; for all of our loops together.
_workers: Final = WorkerPool(32, max_waiting=sys.maxsize // 2)


class _Settings:
    default: LoopThread | None = None
    shared: LoopThread | None = None


_ALL: "weakref.WeakSet[LoopThread]" = weakref.WeakSet()
_inherited: list[Any] = []
_shared_mutex = Lock()


def set_default_loop(loop: LoopThread | None) -> None:
    """Run all calls of `async_to_sync` on *loop* that have no loop above them and name none themselves.

    It holds for the whole process from the next call on. None takes it back: each thread then keeps a loop
    for its own calls.
    """
    _Settings.default = loop


def default_loop() -> LoopThread | None:
    return _Settings.default


def shared_loop() -> LoopThread:
    """The one of `set_default_loop`, or else one that is there for all who have none of their own."""
    if _Settings.default is not None:
        return _Settings.default
    with _shared_mutex:
        if _Settings.shared is None:
            _Settings.shared = LoopThread()
        return _Settings.shared


def running_loop_of(loop: LoopThread | asyncio.AbstractEventLoop) -> AsyncioLoop:
    """*loop*, started where it is ours, for a thread that will wait for it.

    `LoopStopped` where it is closed or does not run, `DeadlockError` on its own thread.
    """
    if isinstance(loop, LoopThread):
        running = loop._running_loop()
        refuse_own_thread(running)
        return running
    _refuse_own_thread(loop)
    found: list[AsyncioLoop] = []
    bell = bell_maker()()

    def look() -> None:
        known = running_asyncio_loop()
        assert known is not None
        found.append(known)
        bell.release()

    try:
        loop.call_soon_threadsafe(look)
    except RuntimeError as error:
        raise LoopStopped("the event loop is closed; give one that runs, or a LoopThread.") from error
    if not bell.acquire(timeout=_START_SECONDS):
        raise LoopStopped(
            f"the event loop has run nothing within {_START_SECONDS:g} seconds; give one that runs on "
            f"another thread, or a LoopThread."
        )
    return found[0]


def refuse_own_thread(loop: AsyncioLoop) -> None:
    """`DeadlockError` on the thread that runs *loop* at this moment."""
    _refuse_own_thread(loop.loop)


def _refuse_own_thread(loop: asyncio.AbstractEventLoop) -> None:
    if asyncio._get_running_loop() is loop:
        raise DeadlockError(
            "this would make the thread of an event loop wait for that loop; call it from another thread, "
            "for instance through sync_to_async."
        )


def _close_all() -> None:
    for loop_thread in list(_ALL):
        loop_thread.close(_EXIT_SECONDS)


def _after_fork_in_child() -> None:
    global _shared_mutex
    _shared_mutex = Lock()  # the old one may be held by a thread that is gone
    for loop_thread in list(_ALL):
        # The parent's loop is not to be closed here; it waits for the same sockets.
        _inherited.append(loop_thread._running)
        loop_thread._start_afresh()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_after_fork_in_child)
