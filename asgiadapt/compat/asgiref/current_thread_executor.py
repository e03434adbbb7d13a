"""``asgiref.current_thread_executor``. Nothing here uses it; it is for those who did."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from threading import Lock, current_thread
from typing import Any, ParamSpec, TypeVar

__all__ = ["CurrentThreadExecutor"]

P = ParamSpec("P")
R = TypeVar("R")


class CurrentThreadExecutor(Executor):
    """Runs what other threads submit on the thread that made it, while that is in `run_until_future`.

    What comes when that is over goes to the next one outward, *old_executor*.
    """

    def __init__(self, old_executor: "CurrentThreadExecutor | None") -> None:
        self._thread = current_thread()
        self._outer = old_executor
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._mutex = Lock()
        self._over = False

    def run_until_future(self, future: "Future[Any]") -> None:
        """Run what is submitted until *future* is done and nothing is left. On the thread that made this."""
        if current_thread() is not self._thread:
            raise RuntimeError("You cannot run CurrentThreadExecutor from a different thread")
        future.add_done_callback(self._end)
        while (work := self._work.get()) is not None:
            work()

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> "Future[R]":
        """Have *fn* called on that thread. From any other thread."""
        if current_thread() is self._thread:
            raise RuntimeError("You cannot submit onto CurrentThreadExecutor from its own thread")
        future: Future[R] = Future()

        def work() -> None:
            __traceback_hide__ = __tracebackhide__ = True
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        executor: CurrentThreadExecutor | None = self
        while executor is not None:
            if executor._take(work):
                return future
            executor = executor._outer
        raise RuntimeError("CurrentThreadExecutor already quit or is broken")

    def _take(self, work: Callable[[], None]) -> bool:
        with self._mutex:
            if not self._over:
                self._work.put(work)
            return not self._over

    def _end(self, future: "Future[Any]") -> None:
        with self._mutex:
            self._over = True
            self._work.put(None)
