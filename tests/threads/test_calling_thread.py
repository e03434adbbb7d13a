"""A thread that waits, and the calls that are sent back to it."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from typing import Any

import pytest

from asgiadapt import DeadlockError
from asgiadapt._threads import calling_thread
from asgiadapt._threads.calling_thread import (
    CallingThread,
    LoopOwner,
    nearest_waiting_thread,
    outermost_waiting_thread,
    thread_that_waits_for,
    waiting_thread,
)


class Call:
    waiter: Any = None

    def __init__(self, name: object = "") -> None:
        self.name = name

    def run(self) -> bool:
        return True


def on_thread(function: Callable[..., Any], *args: Any) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *args).result(20)


def taken_from(thread: CallingThread) -> list[Any]:
    taken = []
    while thread.has_calls():
        taken.append(thread.next_call())
    return taken


def test_calls_are_taken_in_the_order_in_which_they_came() -> None:
    """From any thread but its own."""
    thread = CallingThread(None)
    calls = [Call() for _ in range(5)]
    assert not thread.has_calls()
    for call in calls:
        assert on_thread(thread.submit, call) is True
    assert taken_from(thread) == calls


def test_a_thread_that_waits_is_woken_by_a_call() -> None:
    """It need not have come before."""
    thread = CallingThread(None)
    call = Call()
    with ThreadPoolExecutor(1) as pool:
        submitted = pool.submit(thread.submit, call)
        assert thread.next_call(20) is call
        assert submitted.result(20) is True


def test_a_thread_that_waits_is_woken_without_a_call() -> None:
    """Also where nobody waits yet; after the calls that came before."""
    thread = CallingThread(None)
    call = Call()
    on_thread(thread.submit, call)
    thread.wake()
    assert thread.has_calls()
    assert thread.next_call(20) is call
    assert thread.next_call(20) is None
    assert not thread.has_calls()


def test_a_wait_has_a_time_limit() -> None:
    """Then there is no call."""
    assert CallingThread(None).next_call(0.001) is None


def test_a_thread_that_has_gone_on_takes_no_more_calls() -> None:
    """It says so; those that it has taken are still there."""
    thread = CallingThread(None)
    call = Call()
    on_thread(thread.submit, call)
    assert thread.is_open()
    thread.close()
    assert not thread.is_open()
    assert on_thread(thread.submit, Call()) is False
    assert thread.submit(Call()) is False
    assert taken_from(thread) == [call]


def test_each_call_is_taken_or_refused_while_the_thread_goes_on() -> None:
    """None is lost between the two."""
    for _ in range(50):
        thread = CallingThread(None)
        together = threading.Barrier(4)
        answers: list[tuple[bool, Call]] = []

        def submits(thread: CallingThread = thread, together: Any = together, answers: Any = answers) -> None:
            together.wait(20)
            for _ in range(10):
                call = Call()
                answers.append((thread.submit(call), call))

        with ThreadPoolExecutor(3) as pool:
            done = [pool.submit(submits) for _ in range(3)]
            together.wait(20)
            taken = [call for call in (thread.next_call(0.0001) for _ in range(5)) if call is not None]
            thread.close()
            for future in done:
                future.result(20)
        taken += taken_from(thread)
        assert set(taken) == {call for answer, call in answers if answer}


def test_a_call_from_the_thread_itself_is_refused() -> None:
    """It would wait for itself."""
    thread = CallingThread(None)
    with pytest.raises(DeadlockError, match="on the very thread which has to run the call"):
        thread.submit(Call())
    assert not thread.has_calls()


# While the thread runs the loop itself.


def test_a_call_stops_the_loop_that_the_thread_runs() -> None:
    """From that thread or another, which is told."""
    thread = CallingThread(None)
    own, other = Call("own"), Call("other")
    stops: list[bool] = []

    def run() -> None:
        assert thread.submit(own) is True
        assert on_thread(thread.submit, other) is True

    thread.run_loop(run, stops.append)
    assert stops == [True, False]
    assert taken_from(thread) == [own, other]


def test_the_loop_is_not_run_while_calls_wait() -> None:
    """They come first; a wake counts as one."""
    thread = CallingThread(None)
    runs: list[int] = []
    on_thread(thread.submit, Call())
    thread.run_loop(lambda: runs.append(1), lambda own: None)
    assert runs == []
    taken_from(thread)
    thread.wake()
    thread.run_loop(lambda: runs.append(2), lambda own: None)
    assert runs == []
    taken_from(thread)
    thread.run_loop(lambda: runs.append(3), lambda own: None)
    assert runs == [3]


def test_a_loop_that_is_no_longer_run_is_not_stopped() -> None:
    """Even if it ended by an error."""
    thread = CallingThread(None)
    stops: list[bool] = []

    def fails() -> None:
        raise KeyError("in the loop")

    with pytest.raises(KeyError, match="in the loop"):
        thread.run_loop(fails, stops.append)
    assert on_thread(thread.submit, Call()) is True
    with pytest.raises(DeadlockError):
        thread.submit(Call())
    assert stops == []


# While the thread waits for something else, further in.


def test_what_the_thread_waits_for_meanwhile_is_woken_by_a_call() -> None:
    """Each time, and not by a call that was refused."""
    outer, inner = CallingThread(None), CallingThread(None)
    outer.inner = inner
    call = Call()
    assert on_thread(outer.submit, call) is True
    assert taken_from(inner) == [None]
    outer.close()
    assert on_thread(outer.submit, Call()) is False
    assert not inner.has_calls()
    assert taken_from(outer) == [call]


def test_calls_are_withdrawn_as_chosen() -> None:
    """The others stay in order, and so do the wakes."""
    thread = CallingThread(None)
    calls = [Call(number) for number in range(6)]
    for call in calls:
        on_thread(thread.submit, call)
    thread.wake()
    assert thread.withdraw(lambda call: False) == []
    assert thread.withdraw(lambda call: getattr(call, "name", 0) % 2 == 1) == calls[1::2]
    assert taken_from(thread) == [*calls[::2], None]


# Which thread waits.


def waits_for(*threads: CallingThread) -> Context:
    """A context in which the last of them waits, which is the innermost."""
    context = Context()
    context.run(waiting_thread.set, threads[-1])
    return context


def test_without_a_wait_no_thread_waits() -> None:
    """Whatever else the variable may hold."""
    context = Context()
    assert context.run(nearest_waiting_thread) is None
    assert context.run(outermost_waiting_thread) is None
    context.run(waiting_thread.set, "not ours")
    assert context.run(nearest_waiting_thread) is None
    assert context.run(outermost_waiting_thread) is None


def test_of_waits_on_different_threads_the_outermost_is_found() -> None:
    """The nearest is the one that began last."""
    with ThreadPoolExecutor(1) as pool, ThreadPoolExecutor(1) as other_pool:
        outer = pool.submit(CallingThread, None).result(20)
        middle = CallingThread(outer)
        inner = other_pool.submit(CallingThread, middle).result(20)
    context = waits_for(outer, middle, inner)
    assert context.run(nearest_waiting_thread) is inner
    assert context.run(outermost_waiting_thread) is outer
    outer.close()
    assert context.run(outermost_waiting_thread) is middle
    middle.close()
    assert context.run(outermost_waiting_thread) is inner
    inner.close()
    assert context.run(outermost_waiting_thread) is None
    assert context.run(nearest_waiting_thread) is inner


def test_of_waits_on_one_thread_the_one_that_began_last_is_found() -> None:
    """Only that wait runs calls now, also where another thread lies between."""
    outer = CallingThread(None)
    between = on_thread(CallingThread, outer)
    inner = CallingThread(between)
    context = waits_for(outer, between, inner)
    assert context.run(outermost_waiting_thread) is inner
    inner.close()
    assert context.run(outermost_waiting_thread) is outer
    outer.close()
    assert context.run(outermost_waiting_thread) is between


def test_a_wait_that_a_fork_has_left_behind_takes_no_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread has stayed with the parent."""
    monkeypatch.setattr(calling_thread, "_process", calling_thread._Process())
    left = CallingThread(None)
    assert left.is_open()
    assert not left.is_inherited()
    calling_thread._after_fork_in_child()
    assert left.is_inherited()
    assert not left.is_open()
    assert on_thread(left.submit, Call()) is False
    assert waits_for(left).run(outermost_waiting_thread) is None
    own = CallingThread(left)
    assert own.is_open()
    assert waits_for(left, own).run(outermost_waiting_thread) is own


def test_the_owner_of_a_loop_says_who_waits_for_it() -> None:
    """For as long as it lives; of other loops nothing is known."""
    loop = asyncio.new_event_loop()
    try:
        owner = LoopOwner(loop)
        assert thread_that_waits_for(loop) is None
        owner.thread = thread = CallingThread(None)
        assert thread_that_waits_for(loop) is thread
        assert thread_that_waits_for(None) is None
        assert thread_that_waits_for(Call()) is None
    finally:
        loop.close()
    gone = weakref.ref(loop)
    del loop, owner
    gc.collect()
    assert gone() is None
