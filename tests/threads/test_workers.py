"""Worker threads: who runs when, who waits, who leaves."""

import gc
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextvars import ContextVar

import pytest

from asgiadapt import PoolClosed, PoolFull, WorkerPool
from asgiadapt._threads import workers


class Job:
    """Runs *function*; ``ran`` and ``dropped`` count what became of it."""

    def __init__(self, function: Callable[[], object] = lambda: None) -> None:
        self.function = function
        self.ran = self.dropped = 0
        self.thread: threading.Thread | None = None
        self.done = threading.Event()

    def run(self) -> None:
        self.thread = threading.current_thread()
        try:
            self.function()
        finally:
            self.ran += 1
            self.done.set()

    def drop(self) -> None:
        self.dropped += 1
        self.done.set()

    def wait(self) -> None:
        assert self.done.wait(20)


def eventually(condition: Callable[[], bool]) -> None:
    """Polls for what no event tells: the state of threads that have nothing more to say."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def held(pool: WorkerPool, count: int) -> tuple[list[Job], threading.Event]:
    """*count* jobs that run until the event is set."""
    release = threading.Event()
    jobs = [Job(lambda: release.wait(20)) for _ in range(count)]
    for job in jobs:
        pool.submit(job)
    eventually(lambda: pool.stats().busy == min(count, pool.max_workers))
    return jobs, release


def test_a_job_starts_at_once_while_a_thread_may_be_had() -> None:
    """As many jobs as threads meet at a barrier."""
    barrier = threading.Barrier(10)
    with WorkerPool(10) as pool:
        jobs = [Job(lambda: barrier.wait(20)) for _ in range(10)]
        assert [pool.submit(job) for job in jobs] == [True] * 10
        for job in jobs:
            job.wait()
        assert not barrier.broken


def test_further_jobs_wait_in_the_order_of_arrival() -> None:
    """And submit() says that they do."""
    order: list[int] = []
    with WorkerPool(1) as pool:
        _, release = held(pool, 1)
        jobs = [Job(lambda n=n: order.append(n)) for n in range(20)]  # type: ignore[misc]
        assert [pool.submit(job) for job in jobs] == [False] * 20
        release.set()
        jobs[-1].wait()
    assert order == list(range(20))


def test_one_thread_is_enough_for_one_job_after_the_other() -> None:
    """No thread is started while one is idle."""
    with WorkerPool(10) as pool:
        threads = set()
        for _ in range(50):
            job = Job()
            eventually(lambda: not pool._on_its_way and len(pool._idle) == pool.stats().threads)
            pool.submit(job)
            job.wait()
            threads.add(job.thread)
        assert len(threads) == 1
        assert pool.stats().threads == 1


def test_the_thread_that_went_idle_last_is_used_first() -> None:
    """So that the others grow old."""
    with WorkerPool(2) as pool:
        first, first_may_end = held(pool, 1)
        second = Job()
        pool.submit(second)
        second.wait()
        first_may_end.set()
        first[0].wait()
        eventually(lambda: len(pool._idle) == 2)
        third = Job()
        pool.submit(third)
        third.wait()
        assert third.thread is first[0].thread


def test_idle_threads_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    """And later jobs start new ones."""
    monkeypatch.setattr(workers, "_IDLE_SECONDS", 0.01)
    with WorkerPool(2) as pool:
        for _ in range(3):
            job = Job()
            pool.submit(job)
            job.wait()
            eventually(lambda: pool.stats().threads == 0)


def test_a_job_that_meets_a_leaving_thread_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no time to be idle, every job meets the moment in which a thread gives up waiting."""
    monkeypatch.setattr(workers, "_IDLE_SECONDS", 0.0)
    with WorkerPool(2) as pool:
        jobs = [Job() for _ in range(2000)]
        for job in jobs:
            pool.submit(job)
            if jobs.index(job) % 7 == 0:
                job.wait()
        for job in jobs:
            job.wait()
        assert {job.ran for job in jobs} == {1}


def test_a_full_pool_says_so() -> None:
    """Busy threads and waiting jobs are counted together."""
    with WorkerPool(2, max_waiting=3) as pool:
        jobs, release = held(pool, 5)
        refused = Job()
        with pytest.raises(PoolFull, match="all 2 threads are busy and 3 jobs are waiting"):
            pool.submit(refused)
        release.set()
        for job in jobs:
            job.wait()
        assert (refused.ran, refused.dropped) == (0, 0)


def test_a_waiting_job_can_be_withdrawn() -> None:
    """A running one cannot."""
    with WorkerPool(1) as pool:
        running, release = held(pool, 1)
        one, two = Job(), Job()
        pool.submit(one)
        pool.submit(two)
        assert pool.withdraw(two)
        assert not pool.withdraw(two)
        assert not pool.withdraw(running[0])
        release.set()
        one.wait()
        assert (two.ran, two.dropped) == (0, 0)


def test_stats_tell_what_is_going_on() -> None:
    """Threads, busy ones, waiting jobs and the longest wait."""
    with WorkerPool(2) as pool:
        assert pool.stats() == (stats := workers.PoolStats(0, 0, 0, 0.0))
        assert stats.longest_wait == 0.0
        jobs, release = held(pool, 3)
        now = pool.stats()
        assert (now.threads, now.busy, now.waiting) == (2, 2, 1)
        assert now.longest_wait > 0
        assert pool.stats().longest_wait > now.longest_wait
        release.set()
        for job in jobs:
            job.wait()
        eventually(lambda: pool.stats().busy == 0)
        assert pool.stats().threads == 2


def test_released_threads_leave_and_come_back() -> None:
    """Idle ones at once, busy ones after their job."""
    with WorkerPool(2) as pool:
        idle = Job()
        pool.submit(idle)
        idle.wait()
        _, release = held(pool, 2)
        pool.release_threads()
        release.set()
        eventually(lambda: pool.stats().threads == 0)
        again = Job()
        pool.submit(again)
        again.wait()
        pool.release_threads()
        eventually(lambda: pool.stats().threads == 0)


def test_close_drops_what_waits_and_lets_the_rest_end() -> None:
    """Once each; it may be called again, and says whether all threads have left."""
    pool = WorkerPool(1)
    running, release = held(pool, 1)
    waiting = [Job() for _ in range(3)]
    for job in waiting:
        pool.submit(job)
    assert pool.close() is False
    assert pool.close(timeout=0.001) is False
    assert [(job.ran, job.dropped) for job in waiting] == [(0, 1)] * 3
    with pytest.raises(PoolClosed, match="closed"):
        pool.submit(Job())
    release.set()
    assert pool.close(timeout=None) is True
    assert (running[0].ran, running[0].dropped) == (1, 0)


def test_a_pool_that_was_never_used_closes() -> None:
    """There is nobody to wait for."""
    with WorkerPool() as pool:
        assert pool.max_workers == 40
    assert pool.close(timeout=None)


def test_a_job_that_raises_leaves_the_thread_usable(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged as the mistake that it is."""

    def fails() -> None:
        raise SystemExit("not allowed")

    with WorkerPool(1) as pool:
        bad, good = Job(fails), Job()
        pool.submit(bad)
        pool.submit(good)
        good.wait()
        assert good.thread is bad.thread
        eventually(lambda: pool.stats().busy == 0)
    assert any("jobs have to keep their errors" in record.getMessage() for record in caplog.records)


VARIABLE: ContextVar[str] = ContextVar("VARIABLE", default="unset")


def test_threads_start_from_an_empty_context() -> None:
    """Nothing of whoever submitted the first job is seen; threads are daemons and have a name."""
    VARIABLE.set("the submitter's")
    seen: list[object] = []
    with WorkerPool(1) as pool:
        job = Job(lambda: seen.append(VARIABLE.get()))
        pool.submit(job)
        job.wait()
        assert job.thread is not None
        assert job.thread.daemon
        assert job.thread.name == "asgiadapt-worker"
    assert seen == ["unset"]


def test_an_idle_thread_keeps_no_job() -> None:
    """With the garbage collector off, a job is gone when it is done."""
    with WorkerPool(1) as pool:
        gc.disable()
        try:
            job = Job()
            kept = weakref.ref(job)
            pool.submit(job)
            job.wait()
            del job
            eventually(lambda: kept() is None)
        finally:
            gc.enable()


def test_a_system_without_threads_drops_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would wait for ever otherwise; where a thread runs, that one gets to it."""

    def refuses(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with WorkerPool(2) as pool:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuses)
            stranded = Job()
            pool.submit(stranded)
            assert (stranded.ran, stranded.dropped) == (0, 1)
            assert pool.stats().threads == 0
        _, release = held(pool, 1)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuses)
            patient = Job()
            pool.submit(patient)
            assert pool.stats().waiting == 1
        release.set()
        patient.wait()
        assert patient.ran == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [({"max_workers": 0}, "at least 1"), ({"max_workers": 1, "max_waiting": -1}, "0 or more")],
)
def test_wrong_sizes_are_told(arguments: dict[str, int], text: str) -> None:
    """At the call."""
    with pytest.raises(ValueError, match=text):
        WorkerPool(**arguments)


def test_every_job_of_many_threads_is_run_once() -> None:
    """Eight threads submit two thousand each."""
    with WorkerPool(4, max_waiting=20_000) as pool:
        jobs = [[Job() for _ in range(2000)] for _ in range(8)]
        threads = [
            threading.Thread(target=lambda part=part: [pool.submit(job) for job in part])  # type: ignore[misc]
            for part in jobs
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for part in jobs:
            for job in part:
                job.wait()
        assert {job.ran for part in jobs for job in part} == {1}
        assert pool.stats().threads <= 4


def test_pools_come_and_go() -> None:
    """Two hundred of them leave no thread."""
    before = set(threading.enumerate())
    for _ in range(200):
        with WorkerPool(3) as pool:
            jobs = [Job() for _ in range(5)]
            for job in jobs:
                pool.submit(job)
            for job in jobs:
                job.wait()
    eventually(lambda: set(threading.enumerate()) <= before)


def run(program: str) -> str:
    """Run *program* in an interpreter of its own; it has to end by itself."""
    prelude = (
        "import os, sys, threading, time\n"
        "from asgiadapt import WorkerPool\n"
        "class Job:\n"
        "    def __init__(self, function): self.function, self.done = function, threading.Event()\n"
        "    def run(self): self.function(); self.done.set()\n"
        "    def drop(self): self.done.set()\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", prelude + program],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def test_the_child_of_a_fork_starts_afresh() -> None:
    """Busy threads, waiting jobs and a held lock stay with the parent."""
    output = run(
        "pool = WorkerPool(1)\n"
        "release = threading.Event()\n"
        "job, waiting = Job(release.wait), Job(lambda: print('parent'))\n"
        "pool.submit(job); pool.submit(waiting)\n"
        "pool._mutex.acquire()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    mine = Job(lambda: print('child', pool.stats().threads, pool.stats().waiting, flush=True))\n"
        "    pool.submit(mine); assert mine.done.wait(10)\n"
        "    os._exit(0)\n"
        "pool._mutex.release()\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "release.set(); assert waiting.done.wait(10)\n"
    )
    assert output.split("\n") == ["child 1 0", "parent", ""]


def test_a_job_may_fork() -> None:
    """The thread goes on in the child as its only one, and is no worker there any more."""
    output = run(
        "pool = WorkerPool(1)\n"
        "children = []\n"
        "def fork():\n"
        "    child = os.fork()\n"
        "    if child: children.append(child)\n"
        "job = Job(fork); parent = os.getpid()\n"
        "pool.submit(job)\n"
        "job.done.wait(10)\n"
        "assert os.waitpid(children[0], 0)[1] == 0\n"
        "after = Job(lambda: print('still there'))\n"
        "pool.submit(after); assert after.done.wait(10)\n"
    )
    assert output == "still there\n"


@pytest.mark.parametrize(
    "state",
    [
        "time.sleep(1000)",
        "threading.Event().wait()",
        "while True: pass",
    ],
)
def test_the_interpreter_ends_whatever_the_workers_do(state: str) -> None:
    """Asleep, waiting or busy for ever."""
    run(
        "pool = WorkerPool(2)\n"
        "entered = threading.Event()\n"
        f"def work():\n  entered.set()\n  {state}\n"
        "for _ in range(3): pool.submit(Job(work))\n"
        "entered.wait(10)\n"
    )
