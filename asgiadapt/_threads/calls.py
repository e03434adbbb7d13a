"""A function called on a worker thread, and awaited on a loop."""

from collections.abc import Callable
from typing import Any

from asgiadapt._errors import PoolClosed
from asgiadapt._threads.loops import Loop
from asgiadapt._threads.workers import WorkerPool


class _Call:
    def __init__(self, loop: Loop, function: Callable[[], Any]) -> None:
        self._loop = loop
        self._function = function
        self.waiter = loop.waiter()
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result = self._function()
        except BaseException as error:
            self.error = error
        self._loop.post(self._resolve_on_loop)

    def drop(self) -> None:
        self.error = PoolClosed("the worker pool was closed before the call began.")
        self._loop.post(self._resolve_on_loop)

    def _resolve_on_loop(self) -> None:
        if not self.waiter.done():
            self.waiter.set_result(None)


async def call_on_worker(pool: WorkerPool, loop: Loop, function: Callable[[], Any]) -> Any:
    """What *function* returns or raises, called on a thread of *pool*."""
    call = _Call(loop, function)
    pool.submit(call)
    await call.waiter
    if call.error is not None:
        try:
            raise call.error
        finally:
            call.error = None  # the traceback of the error holds this frame
    return call.result
