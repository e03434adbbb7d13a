"""A thread for calls that all have to run on the same one: leased from a pool at the first call.

Guarantees
    `submit` may be called from any thread and does not block. Calls run one at a time, in the order of
    arrival, all on one thread, until `leave_thread` is called; those that come later run on another.
    `close` gives the thread back to the pool once what was taken has run, and waits for nobody.
    A call that only the thread that sends it could run is refused with `DeadlockError`.
"""

import os
import sys
import weakref
from _thread import LockType
from collections.abc import Callable
from os import getpid
from typing import Final

from asgiadapt._errors import DeadlockError
from asgiadapt._threads.calling_thread import OWN_THREAD, Runnable, withdraw
from asgiadapt._threads.calls import Wakeable, here
from asgiadapt._threads.primitives import Lock, SimpleQueue, get_ident
from asgiadapt._threads.workers import WorkerPool

# Leases last as long as a request or longer, and one may wait for another; a limit would make them hang.
leases: Final = WorkerPool(sys.maxsize // 2, max_waiting=sys.maxsize // 2)


class Strand:
    def __init__(self) -> None:
        self._start_afresh()
        _STRANDS.add(self)

    def _start_afresh(self) -> None:
        self._mutex = Lock()
        self._closed = False
        self._lease: _Lease | None = None

    def submit(self, call: Runnable) -> bool:
        with self._mutex:
            if self._closed:
                return False
            lease = self._lease
            if lease is None:
                lease = self._lease = _Lease.begun(self._mutex)
            elif lease.thread == get_ident():
                raise DeadlockError(OWN_THREAD)
            lease.calls.put(call)
        if (inner := lease.inner) is not None:
            inner.wake()
        return True

    def leave_thread(self, call: Runnable) -> None:
        """*call* has been abandoned: where the thread runs it, let those after it have another thread."""
        with self._mutex:
            left = self._lease
            if left is None or left.running is not call:
                return
            # The thread itself takes no more of them; it sees that its call was abandoned.
            self._lease = None
            if not left.calls.empty():
                self._lease = _Lease.begun(self._mutex)
                while not left.calls.empty():
                    self._lease.calls.put(left.calls.get_nowait())

    def close(self) -> None:
        with self._mutex:
            # Whoever leaves the thread later on needs the lease, for the calls that are still to be run.
            if self._lease is not None and not self._closed:
                self._lease.calls.put(None)
            self._closed = True

    def __del__(self) -> None:
        # Nobody can submit anything, or hold the mutex.
        if not self._closed and self._lease is not None:
            self._lease.calls.put(None)


class _Lease:
    """The job by which a thread of the pool works for a strand, whose mutex is all it knows of it."""

    def __init__(self, mutex: LockType) -> None:
        self._mutex = mutex
        self.calls: SimpleQueue[Runnable | None] = SimpleQueue()
        self.thread: int | None = None
        self.running: Runnable | None = None
        self.inner: Wakeable | None = None  # see `Waiting`
        self._dropped = False

    @classmethod
    def begun(cls, mutex: LockType) -> "_Lease":
        lease = cls(mutex)
        leases.submit(lease)
        if lease._dropped:
            raise RuntimeError(
                "no thread can be started for a thread-sensitive call: the system has no more of them, or "
                "the interpreter is shutting down."
            )
        return lease

    def run(self) -> None:
        self.thread = get_ident()
        here.places = (self,)
        get, process = self.calls.get, getpid()
        try:
            while (call := get()) is not None:
                self.running = call
                if not call.run():
                    break  # it was abandoned, and the strand has another thread by now
                if getpid() != process:
                    break  # the call has forked, and this is the child, where nobody sends any more
                self.running = call = None  # this thread may now wait for long
        finally:
            here.places = ()

    def drop(self) -> None:
        self._dropped = True

    def has_calls(self) -> bool:
        return not self.calls.empty()

    def withdraw(self, chosen: Callable[[Runnable], bool]) -> list[Runnable]:
        with self._mutex:
            return withdraw(self.calls, chosen)


_STRANDS: "weakref.WeakSet[Strand]" = weakref.WeakSet()
# For all sensitive calls that belong nowhere else. It keeps its thread for as long as the process lives.
shared: Final = Strand()


def _after_fork_in_child() -> None:
    for strand in list(_STRANDS):
        strand._start_afresh()


os.register_at_fork(after_in_child=_after_fork_in_child)
