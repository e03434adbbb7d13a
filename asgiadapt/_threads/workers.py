"""Worker threads, kept for the next job.

Guarantees
    `WorkerPool.submit` may be called from any thread, and does not block.
    A job starts at once while fewer than *max_workers* run, otherwise in the order of arrival.
    Each job is either run once or dropped once, and told so; a full or closed pool says so in ``submit``.
    A thread is started only where none is idle. The thread that went idle last is used first, so that
    surplus threads grow old and leave.
    Threads are daemons and start from an empty context. No exit of the interpreter waits for them.
    After a fork the child has the pool, empty: the jobs and threads stay with the parent.

Calling up threads
    At most one thread is *on its way* at any time: woken or started, but not yet running. It takes a job,
    and if more are waiting it calls up the next thread before it begins. A job never waits longer for a
    thread than it takes threads to wake one after the other, and many short jobs that come together are
    done by few threads, each warm, instead of all threads fighting over the interpreter lock
    (64 hello-world requests in flight: 28 us each with a thread woken for each job, 11 us like this).
"""

import logging
import os
import threading
import time
import weakref
from _thread import LockType
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self

from asgiadapt._errors import PoolClosed, PoolFull
from asgiadapt._threads.primitives import Lock, start_thread

DEFAULT_MAX_WORKERS: Final = 40
DEFAULT_MAX_WAITING: Final = 1000
_IDLE_SECONDS: Final = 10.0
_log = logging.getLogger("asgiadapt")


class Job(Protocol):
    """What a pool runs."""

    def run(self) -> object:
        """Do the work, on a thread of the pool. Nothing is raised, and what is returned means nothing."""

    def drop(self) -> None:
        """Take note that the pool was closed before the job began. Any thread; nothing is raised."""


@dataclass(frozen=True, slots=True)
class PoolStats:
    """A pool at one moment.

    *threads* are alive, *busy* of them run a job, *waiting* jobs have no thread yet, and the one that waits
    longest does so for *longest_wait* seconds.
    """

    threads: int
    busy: int
    waiting: int
    longest_wait: float


class WorkerPool:
    """Threads for synchronous code, at most *max_workers* of them at a time.

    Up to *max_waiting* jobs wait while all threads are busy; `PoolFull` is raised for more. One pool can
    serve any number of adapters, and any number of event loops in any threads of the process.

    40 threads are the default because that many blocking calls at a time is what asynchronous frameworks
    grant to synchronous code, so an application finds the concurrency that it knows; fewer starve one that
    waits for a database, and more make a busy interpreter slower. A waiting job holds little memory, but
    somebody waits for it: 1000 of them are some seconds of work for most applications.

    As a context manager the pool is closed at the end of the block.
    """

    def __init__(
        self, max_workers: int = DEFAULT_MAX_WORKERS, *, max_waiting: int = DEFAULT_MAX_WAITING
    ) -> None:
        if max_workers < 1:
            raise ValueError(f"max_workers is {max_workers}; give at least 1.")
        if max_waiting < 0:
            raise ValueError(f"max_waiting is {max_waiting}; give 0 or more.")
        self.max_workers: Final = max_workers
        self.max_waiting: Final = max_waiting
        self._closed = False
        self._start_afresh()
        _POOLS.add(self)

    def _start_afresh(self) -> None:
        self._mutex = Lock()
        self._waiting: deque[tuple[Job, float]] = deque()
        self._idle: list[LockType] = []  # the bells that idle threads wait for, last idle last
        self._threads = 0
        self._busy = 0
        self._lent = 0  # by jobs that wait for something which may need a thread itself
        self._on_its_way = False
        self._leaving = False  # no thread stays idle until the next job comes
        self._all_left = threading.Condition(self._mutex)

    def submit(self, job: Job) -> bool:
        """Have *job* run on a thread; false where all threads are busy and it has to wait.

        Raises `PoolFull` or `PoolClosed`; the job is then neither run nor dropped.
        """
        with self._mutex:
            if self._closed:
                raise PoolClosed("the worker pool is closed and takes no more jobs; make a new one.")
            ahead = len(self._waiting) + self._busy
            if ahead >= self.max_workers + self._lent + self.max_waiting:
                raise PoolFull(
                    f"all {self.max_workers} threads are busy and {len(self._waiting)} jobs are waiting, "
                    f"which is all that max_waiting allows; try again later."
                )
            self._leaving = False
            self._waiting.append((job, time.monotonic()))
            bell = self._call_up()
        if bell is not None:
            self._ring(bell)
        return ahead < self.max_workers + self._lent

    def withdraw(self, job: Job) -> bool:
        """Take *job* back; false where it is no longer waiting. It is then neither run nor dropped."""
        with self._mutex:
            for entry in self._waiting:
                if entry[0] is job:
                    self._waiting.remove(entry)
                    return True
        return False

    def lend_thread(self) -> None:
        """The job on this thread waits for what may need a thread of the pool: let another one run meanwhile.

        Without it, as many such jobs as there are threads would wait for ever.
        """
        with self._mutex:
            self._lent += 1
            bell = self._call_up()
        if bell is not None:
            self._ring(bell)

    def take_thread_back(self) -> None:
        """The job goes on; for a moment there may be more threads than *max_workers*."""
        with self._mutex:
            self._lent -= 1

    def stats(self) -> PoolStats:
        """Live figures, cheap enough to be asked for every second."""
        with self._mutex:
            # Some waiting jobs may have an idle thread that is being called up; they wait all the same.
            longest = time.monotonic() - self._waiting[0][1] if self._waiting else 0.0
            return PoolStats(self._threads, self._busy, len(self._waiting), longest)

    def release_threads(self) -> None:
        """Send the threads away, each when it has nothing left to do. A later job starts new ones."""
        with self._mutex:
            self._leaving = True
            idle, self._idle = self._idle, []
            for bell in idle:
                bell.release()

    def close(self, timeout: float | None = 0.0) -> bool:
        """Take no more jobs, drop those that wait, and send the threads away.

        Running jobs run to their end. Waits up to *timeout* seconds for that (None: as long as it takes;
        do not wait on a thread that a job needs, such as that of its event loop), and returns whether all
        threads have left. May be called again.
        """
        with self._mutex:
            self._closed = True
            dropped, self._waiting = self._waiting, deque()
        for job, _ in dropped:
            job.drop()
        self.release_threads()
        with self._all_left:
            return self._all_left.wait_for(lambda: self._threads == 0, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close(timeout=None)

    def _call_up(self) -> LockType | None:
        """The bell to ring, or none. With the mutex held."""
        if self._on_its_way or not self._waiting or self._busy - self._lent >= self.max_workers:
            return None
        if self._idle:
            self._on_its_way = True
            return self._idle.pop()
        if self._threads < self.max_workers + self._lent:  # idle ones are none
            self._on_its_way = True
            self._threads += 1
            return _NEW_THREAD
        return None

    def _ring(self, bell: LockType) -> None:
        """Wake the thread of *bell*, or start one. Without the mutex: starting takes 100 us."""
        if bell is not _NEW_THREAD:
            bell.release()
            return
        try:
            start_thread(self._work, "asgiadapt-worker")
        except RuntimeError:
            # The system has no more threads for us. Those that run will get to the job; without any,
            # it would wait for ever.
            with self._mutex:
                self._threads -= 1
                self._on_its_way = False
                if self._threads > 0:
                    return
                stranded, self._waiting = self._waiting, deque()
            for job, _ in stranded:
                job.drop()

    def _work(self) -> None:
        """The life of a thread."""
        mutex = self._mutex
        bell = Lock()
        bell.acquire()
        arriving = True
        busy = False
        while True:
            next_bell = job = None
            if mutex is not self._mutex:
                return  # the job has forked, and this is the child: the pool is no longer this thread's
            with mutex:
                if arriving:
                    self._on_its_way = arriving = False
                if busy:
                    self._busy -= 1
                    busy = False
                if self._waiting and self._busy - self._lent < self.max_workers:
                    job, _ = self._waiting.popleft()
                    self._busy += 1
                    busy = True
                    next_bell = self._call_up()
                elif self._leaving or self._closed:
                    self._leave()
                    return
                else:
                    self._idle.append(bell)
            if job is not None:
                if next_bell is not None:
                    self._ring(next_bell)
                try:
                    job.run()
                except BaseException:
                    _log.exception("a job of the worker pool raised; jobs have to keep their errors")
                # This thread may now idle for seconds. Let go of the job before it does, or a request
                # and all it refers to live for as long as the thread sleeps.
                job = None
                continue
            if not bell.acquire(timeout=_IDLE_SECONDS):
                with mutex:
                    if bell in self._idle:
                        self._idle.remove(bell)
                        self._leave()
                        return
                bell.acquire()  # somebody has taken the bell in this moment, and rings it now
            # Woken by release_threads() nobody is on the way, and the flag may be another thread's; to
            # clear it then costs at most one thread that is called up in vain.
            arriving = True

    def _leave(self) -> None:
        """With the mutex held."""
        self._threads -= 1
        if self._threads == 0:
            self._all_left.notify_all()


_NEW_THREAD: Final = Lock()  # stands for the bell of a thread that has yet to be started
_POOLS: "weakref.WeakSet[WorkerPool]" = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for pool in list(_POOLS):
        # Only the forking thread lives on. Locks may be held by threads that are gone, so all is new.
        pool._start_afresh()


os.register_at_fork(after_in_child=_after_fork_in_child)
