"""A thread that waits in `async_to_sync`, and meanwhile runs the calls that are sent back to it.

Guarantees
    `submit` may be called from any thread. It says no once the thread has gone on, and the caller then asks
    the next one outward. What was taken is run: in the order of arrival, on this thread.
    A call is run by the wait that it was sent to and by no other, so that sync code which waits for async
    code is interrupted by nothing but what that async code itself calls, or waits for.
    A call that only the thread that sends it could run is refused with `DeadlockError`.
"""

import os
import weakref
from collections.abc import Callable
from typing import Any, Final, Protocol

from asgiadapt._errors import DeadlockError
from asgiadapt._threads.calls import Wakeable
from asgiadapt._threads.context import place_variable
from asgiadapt._threads.primitives import Empty, Lock, SimpleQueue, get_ident

OWN_THREAD: Final = (
    "a thread-sensitive call was made from an event loop that runs on the very thread which has to run the "
    "call, so that thread would wait for itself. Await the async code instead of starting another event loop "
    "for it, or use thread_sensitive=False."
)


class Runnable(Protocol):
    waiter: Any  # what is awaited for it

    def run(self) -> bool:
        """Do the work; nothing is raised. False where whoever waited for it has left meanwhile."""
        ...


class Place(Protocol):
    """Where thread-sensitive calls run."""

    def submit(self, call: Runnable) -> bool:
        """Have *call* run there; false where it cannot, because the place is no more. Any thread."""
        ...


class CallingThread:
    """One wait of one thread."""

    __slots__ = ("_calls", "_mutex", "_open", "_stop_loop", "inner", "is_inherited", "outer", "thread")

    def __init__(self, outer: "CallingThread | None") -> None:
        self.thread: Final = get_ident()
        self.inner: Wakeable | None = None  # see `Waiting`
        self.outer: Final = outer  # the next one outward that waits, on this thread or another
        self.is_inherited = _process.is_another
        self._calls: SimpleQueue[Runnable | None] = SimpleQueue()
        self._mutex = Lock()
        self._open = True
        # While the thread itself runs the loop: what makes the loop return to it. Guarded by the mutex.
        self._stop_loop: Callable[[bool], None] | None = None

    def is_open(self) -> bool:
        return self._open and not self.is_inherited()

    def submit(self, call: Runnable) -> bool:
        if self.is_inherited():
            return False
        is_own = get_ident() == self.thread
        with self._mutex:
            if not self._open:
                return False
            stop_loop = self._stop_loop
            if is_own and stop_loop is None:
                raise DeadlockError(OWN_THREAD)
            self._calls.put(call)
        if stop_loop is not None:
            stop_loop(is_own)
        if (inner := self.inner) is not None:
            inner.wake()
        return True

    def run_loop(self, run: Callable[[], None], stop: Callable[[bool], None]) -> None:
        """``run()``, until ``stop(from_this_thread)`` is called because a call has been sent."""
        with self._mutex:
            if not self._calls.empty():
                return
            self._stop_loop = stop
        try:
            run()
        finally:
            with self._mutex:
                self._stop_loop = None

    def has_calls(self) -> bool:
        """Whether `next_call` gives one, or None, without waiting."""
        return not self._calls.empty()

    def next_call(self, timeout: float | None = None) -> Runnable | None:
        """Wait for a call; None where `wake` was called instead, or *timeout* is over."""
        try:
            return self._calls.get(timeout=timeout)
        except Empty:
            return None

    def wake(self) -> None:
        """Let `next_call` return. Any thread."""
        self._calls.put(None)

    def withdraw(self, chosen: Callable[[Runnable], bool]) -> list[Runnable]:
        """Take back the calls that are *chosen* of those that wait."""
        with self._mutex:
            return withdraw(self._calls, chosen)

    def close(self) -> None:
        """Take no more calls. Those that were taken are still to be run."""
        with self._mutex:
            self._open = False


def withdraw(calls: "SimpleQueue[Runnable | None]", chosen: Callable[[Runnable], bool]) -> list[Runnable]:
    """Take those that are *chosen* out of *calls*; nobody else may put or get any meanwhile."""
    found = []
    for _ in range(calls.qsize()):
        call = calls.get_nowait()
        if call is not None and chosen(call):
            found.append(call)
        else:
            calls.put(call)
    return found


# The thread that waits for the running code, nearest first.
waiting_thread: Final = place_variable("asgiadapt.waiting_thread")


class _Process:
    """This process; a child of it is another."""

    def __init__(self) -> None:
        self.left = False

    def is_another(self) -> bool:
        return self.left


_process = _Process()


def _after_fork_in_child() -> None:
    global _process
    # The threads that wait have stayed with the parent, or wait for what has.
    _process.left = True
    _process = _Process()


os.register_at_fork(after_in_child=_after_fork_in_child)


class LoopOwner:
    """Whoever runs a loop, and the thread that waits for it: for tasks whose context does not say it."""

    __slots__ = ("__weakref__", "thread")

    def __init__(self, loop: Any) -> None:
        self.thread: CallingThread | None = None
        _owners[loop] = self


_owners: "weakref.WeakKeyDictionary[Any, LoopOwner]" = weakref.WeakKeyDictionary()


def thread_that_waits_for(loop: Any) -> CallingThread | None:
    """The thread that waits for what runs on the asyncio loop *loop*."""
    owner = _owners.get(loop) if loop is not None else None
    return None if owner is None else owner.thread


def nearest_waiting_thread() -> CallingThread | None:
    """The wait that began last, of those for the running code."""
    found: Any = waiting_thread.get()
    return found if isinstance(found, CallingThread) else None


def outermost_waiting_thread() -> CallingThread | None:
    """Of the outermost thread that waits for the running code, the wait that began last."""
    waits = []
    wait = nearest_waiting_thread()
    while wait is not None:
        if wait.is_open():
            waits.append(wait)
        wait = wait.outer
    for wait in waits:
        if wait.thread == waits[-1].thread:
            return wait
    return None
