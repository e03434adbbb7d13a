"""The bare limits of the bridges: the least that anybody has to do, without a single check.

No errors, no cancellation, no variables brought back. `KeptLoop` is for the main thread, the others cross
between two threads.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any


class Workers:
    """Calls on worker threads, awaited: a queue to them, and one wake-up of the loop for all that is done."""

    def __init__(self, threads: int) -> None:
        self.jobs: SimpleQueue[Any] = SimpleQueue()
        self.done: deque[Any] = deque()
        self.wake_up_pending = False
        self.threads = threads
        for _ in range(threads):
            threading.Thread(target=self.work, daemon=True).start()

    def __call__(self, function: Callable[[int], int]) -> Callable[[int], Coroutine[Any, Any, int]]:
        async def call(number: int) -> int:
            loop = asyncio.get_running_loop()
            future = loop.create_future()
            self.jobs.put((loop, future, copy_context(), function, number))
            result: int = await future
            return result

        return call

    def work(self) -> None:
        while (job := self.jobs.get()) is not None:
            loop, future, context, function, number = job
            self.done.append((future, context.run(function, number)))
            if not self.wake_up_pending:
                self.wake_up_pending = True
                loop.call_soon_threadsafe(self.drain)

    def drain(self) -> None:
        self.wake_up_pending = False
        while self.done:
            future, result = self.done.popleft()
            future.set_result(result)

    def close(self) -> None:
        for _ in range(self.threads):
            self.jobs.put(None)


class KeptLoop:
    """An event loop of this thread, kept from call to call."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()

    def __call__(self, function: Callable[[int], Coroutine[Any, Any, int]]) -> Callable[[int], int]:
        run = self.loop.run_until_complete
        return lambda number: run(function(number))

    def close(self) -> None:
        self.loop.close()


class LoopElsewhere:
    """A coroutine on the loop of another thread, waited for with a lock."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop

    def __call__(self, function: Callable[[int], Coroutine[Any, Any, int]]) -> Callable[[int], int]:
        def call(number: int) -> int:
            bell = threading.Lock()
            bell.acquire()
            result = 0

            async def run() -> None:
                nonlocal result
                result = await function(number)
                bell.release()

            # It runs in a copy of this thread's context, as the task takes it.
            self.loop.call_soon_threadsafe(lambda: self.loop.create_task(run()), context=copy_context())
            bell.acquire()
            return result

        return call


class ThereAndBack:
    """A coroutine on a loop elsewhere, and its sync call back on the thread that waits for the coroutine."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.jobs: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()

    def __call__(self, function: Callable[[int], int]) -> Callable[[int], int]:
        def call(number: int) -> int:
            result = 0

            async def run() -> None:
                nonlocal result
                future = self.loop.create_future()
                context = copy_context()

                def back() -> None:
                    self.loop.call_soon_threadsafe(future.set_result, context.run(function, number))

                self.jobs.put(back)
                result = await future
                self.jobs.put(None)

            self.loop.call_soon_threadsafe(lambda: self.loop.create_task(run()), context=copy_context())
            while (job := self.jobs.get()) is not None:
                job()
            return result

        return call

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
