"""Events between threads and event loops: a test opens a gate, or waits until an application has done so."""

import asyncio
import threading
from typing import Any

# Nothing that a test waits for takes as long as this.
PATIENCE = 20.0


class Gate:
    """Opened once, from any thread; `wait` is for threads, `passed` for async code on any loop."""

    def __init__(self, what: str = "the gate") -> None:
        self._what = what
        self._mutex = threading.Lock()
        self._opened = threading.Event()
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    @property
    def is_open(self) -> bool:
        return self._opened.is_set()

    def open(self) -> None:
        with self._mutex:
            self._opened.set()
            waiters, self._waiters = self._waiters, []
        for loop, future in waiters:
            try:
                loop.call_soon_threadsafe(_resolve, future)
            except RuntimeError:
                pass  # the loop has closed, and its tasks with it

    def wait(self) -> None:
        """Block until the gate is open."""
        assert self._opened.wait(PATIENCE), f"{self._what} was not opened in time"

    async def passed(self) -> None:
        """Await the opening of the gate."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        with self._mutex:
            if self._opened.is_set():
                return
            self._waiters.append((loop, future))
        await asyncio.wait_for(future, PATIENCE)


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def on_thread(function: Any, *args: Any) -> "Outcome":
    """Run *function* on a thread of its own; the outcome waits for it."""
    return Outcome(function, *args)


class Outcome:
    """What comes of a function on a thread of its own."""

    def __init__(self, function: Any, *args: Any) -> None:
        self._call: Any = (function, args)
        self._result: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="test", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        function, args = self._call
        try:
            self._result = function(*args)
        except BaseException as error:
            self._error = error
        finally:
            self._call = None

    @property
    def over(self) -> bool:
        return not self._thread.is_alive()

    def result(self) -> Any:
        self._thread.join(PATIENCE)
        assert self.over, "the thread hangs"
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None
        return self._result
