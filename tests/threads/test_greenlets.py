"""Bells, locks and threads where gevent or eventlet have patched them: each row in a process of its own."""

import os
import subprocess
import sys
import threading
from typing import Any

import pytest

from asgiadapt._threads.greenlets import LIBRARIES, _EscapedBell, bell_maker, escape
from asgiadapt._threads.handoff import locked
from asgiadapt._threads.primitives import Lock, cooperative_lock, get_ident, local, start_thread
from tests.gates import on_thread
from tests.processes import ROOT

# Both have the same words for what is done to greenlets here.
GEVENT = """
from gevent import monkey
monkey.patch_all()
import gevent

spawn, kill, Killed = gevent.spawn, gevent.kill, gevent.GreenletExit
result = lambda greenlet: greenlet.get(timeout=30)
"""
EVENTLET = """
import eventlet
eventlet.monkey_patch()

spawn, kill = eventlet.spawn, eventlet.kill
from greenlet import GreenletExit as Killed
result = lambda greenlet: greenlet.wait()
"""
COMMON = """
import sys, threading, time
from asgiadapt._threads.greenlets import bell_maker, escape
from asgiadapt._threads.primitives import Lock, cooperative_lock, get_ident, local, start_thread

make_bell = bell_maker()
pause = lambda: time.sleep(0)  # the other greenlets' turn
"""

WAITS = """
bell, ticks = make_bell(), []

def ticker():
    while len(ticks) < 100:
        ticks.append(get_ident())
        pause()
    start_thread(bell.release, "rings")

greenlet = spawn(ticker)
assert bell.acquire(timeout={timeout})
result(greenlet)
assert ticks == [get_ident()] * 100
"""
IS_RUNG_BEFORE = """
bell = make_bell()
bell.release()
assert bell.acquire(timeout=30)
rung, bell = threading.Event(), make_bell()

def ring():
    bell.release()
    rung_for_real.release()

rung_for_real = Lock()
rung_for_real.acquire()
start_thread(ring, "rings")
rung_for_real.acquire()
assert bell.acquire(timeout=30)
"""
TIMES_OUT = """
bell = make_bell()
for timeout in (0, 0.001, 0.01):
    assert bell.acquire(timeout=timeout) is False
start_thread(bell.release, "rings")
assert bell.acquire(timeout=30) is True
"""
MANY = """
bells = [make_bell() for _ in range(100)]
seen = []

def waits(number):
    assert bells[number].acquire(timeout=30)
    seen.append(number)

greenlets = [spawn(waits, number) for number in range(100)]
pause()

def ring_all():
    for bell in reversed(bells):
        bell.release()

start_thread(ring_all, "rings")
for greenlet in greenlets:
    result(greenlet)
assert sorted(seen) == list(range(100))
"""
IS_KILLED = """
bell, begun = make_bell(), []

def waits():
    begun.append(1)
    try:
        bell.acquire(timeout=30)
    except Killed:
        begun.append("killed")
        raise

greenlet = spawn(waits)
while not begun:
    pause()
pause()
kill(greenlet)
try:
    result(greenlet)
except Killed:
    pass
assert begun == [1, "killed"], begun
bell.release()  # nobody comes back for it
other = make_bell()
start_thread(other.release, "rings")
assert other.acquire(timeout=30)
"""
IS_FORGOTTEN = """
import gc

def forget():
    bell = make_bell()
    assert bell.acquire(timeout=0.001) is False
    return bell.release

forget()()  # whoever rings keeps it
for _ in range(100):
    forget()
gc.collect()
bell = make_bell()
start_thread(bell.release, "rings")
assert bell.acquire(timeout=30)
"""
ESCAPES = """
here, run = get_ident(), escape()
assert run(get_ident) != here
ticks, over = [], []

def ticker():
    while not over:
        ticks.append(1)
        pause()

greenlet = spawn(ticker)
mutex = Lock()
mutex.acquire()

def hold():
    mutex.acquire()
    return len(ticks)

def free():
    while len(ticks) < 100:
        pause()
    mutex.release()

other = spawn(free)
assert run(hold) >= 100
over.append(1)
result(greenlet)
result(other)
"""
PRIMITIVES = """
assert type(Lock()).__module__ == "_thread", Lock
assert local.__module__ == "_thread", local
seen, idents = [], []

def greenlet():
    idents.append(get_ident())

result(spawn(greenlet))
assert idents == [get_ident()]  # of the thread, and not of the greenlet
over = Lock()
over.acquire()

def on_thread():
    idents.append(get_ident())
    over.release()

assert start_thread(on_thread, "real") is None
over.acquire()
assert idents[1] != idents[0]

# A greenlet that waits for this one lets the others run.
mutex = cooperative_lock()
mutex.acquire()

def waits():
    with mutex:
        seen.append("had it")

greenlet = spawn(waits)
while not mutex.locked():
    pause()
pause()
assert seen == []
mutex.release()
result(greenlet)
assert seen == ["had it"]
"""
IS_DROPPED_ELSEWHERE = """
class Recorder:
    def __init__(self, watcher):
        self.send, self.stop, self._close = watcher.send, watcher.stop, watcher.close

    def close(self):
        closed.append(get_ident())
        self._close()

closed, here, bell = [], get_ident(), make_bell()
assert bell.acquire(timeout=0.001) is False
bell._watcher = Recorder(bell._watcher)
held, over = [bell], Lock()
del bell
over.acquire()

def drop():
    held.clear()
    over.release()

start_thread(drop, "drops")
over.acquire()
while not closed:
    pause()
assert closed == [here]
"""
ROWS = {
    "waits": WAITS.format(timeout=30),
    "waits-without-limit": WAITS.format(timeout=-1),
    "is-rung-before": IS_RUNG_BEFORE,
    "times-out": TIMES_OUT,
    "many": MANY,
    "is-killed": IS_KILLED,
    "is-forgotten": IS_FORGOTTEN,
    "escapes": ESCAPES,
    "primitives": PRIMITIVES,
}


def run(program: str) -> None:
    done = subprocess.run(
        # Both libraries warn of what is to come in Python, and eventlet of its own end.
        [sys.executable, "-W", "ignore", "-c", program + "\nprint('done')"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


# On one Python, like the real servers.
@pytest.mark.server
@pytest.mark.parametrize("row", list(ROWS))
@pytest.mark.parametrize("library", [GEVENT, EVENTLET], ids=["gevent", "eventlet"])
def test_where_threads_are_greenlets(library: str, row: str) -> None:
    """A greenlet waits for a real thread while its hub goes on; locks and threads of ours are real."""
    run(library + COMMON + ROWS[row])


@pytest.mark.server
def test_gevents_watchers_are_closed_on_the_thread_of_their_hub() -> None:
    """Whoever lets go of the bell last: libuv and libev may be touched by no other thread."""
    run(GEVENT + COMMON + IS_DROPPED_ELSEWHERE)


@pytest.mark.server
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("library", [GEVENT, EVENTLET], ids=["gevent", "eventlet"])
def test_the_patch_may_come_before_or_after_us(library: str, late: bool) -> None:
    """What is asked at need sees it either way, and the locks are real in both."""
    first = "import asgiadapt\n" if late else ""
    run(first + library + COMMON + WAITS.format(timeout=30) + "assert type(Lock()).__module__ == '_thread'")


@pytest.mark.server
@pytest.mark.parametrize(
    "patch",
    [
        "import gevent.monkey, gevent.event",
        "import gevent.monkey; gevent.monkey.patch_all(thread=False)",
        "import eventlet.patcher",
        "import eventlet; eventlet.monkey_patch(thread=False)",
    ],
)
def test_threads_that_are_not_patched_are_real(patch: str) -> None:
    """Although one of the libraries is there."""
    run(
        f"{patch}\n{COMMON}\n"
        "import _thread\n"
        "assert escape() is None\n"
        "assert type(make_bell()) is _thread.LockType\n"
        "assert Lock is _thread.allocate_lock\n"
        "assert isinstance(start_thread(lambda: None, 'x'), threading.Thread)\n"
    )


def test_without_a_patch_everything_is_as_it_always_is() -> None:
    """Bells are locks that are held, and nothing escapes."""
    assert escape() is None
    assert bell_maker() is locked
    bell = bell_maker()()
    assert bell.acquire(timeout=0) is False
    bell.release()
    assert bell.acquire(timeout=0) is True
    assert {"gevent.monkey", "eventlet.patcher"} == LIBRARIES
    assert Lock is threading.Lock
    assert local is threading.local
    assert get_ident is threading.get_ident
    assert type(cooperative_lock()) is type(threading.Lock())


def test_a_thread_of_ours_is_a_daemon_with_a_name_and_an_empty_context() -> None:
    """And `threading` knows it."""
    seen: list[Any] = []
    thread = start_thread(lambda: seen.append(threading.current_thread()), "of ours")
    assert thread is not None
    thread.join()
    assert seen == [thread]
    assert (thread.name, thread.daemon) == ("of ours", True)


def test_an_escaped_bell_is_waited_for_elsewhere() -> None:
    """The wait itself is what escapes, with its limit."""
    waits: list[float] = []

    def elsewhere(wait: Any) -> bool:
        waits.append(wait.keywords["timeout"])
        return bool(on_thread(wait).result())

    bell = _EscapedBell(elsewhere)
    assert bell.acquire(timeout=0.001) is False
    bell.release()
    assert bell.acquire(timeout=20) is True
    assert waits == [0.001, 20]
