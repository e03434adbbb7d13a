"""One thread for many calls, leased at the first and given back at the end."""

import asyncio
import gc
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from asgiadapt import DeadlockError
from asgiadapt._threads import calls as calls_module
from asgiadapt._threads import strand as strand_module
from asgiadapt._threads.strand import Strand, leases, shared

here = threading.get_ident


class Call:
    """A call that tells where it ran, and may be held up."""

    waiter: Any = None

    def __init__(self, *, held_up: bool = False, answer: bool = True) -> None:
        self.began, self.ended, self.may_end = threading.Event(), threading.Event(), threading.Event()
        self.thread: int | None = None
        self._answer = answer
        if not held_up:
            self.may_end.set()

    def run(self) -> bool:
        self.thread = here()
        self.began.set()
        assert self.may_end.wait(20)
        self.ended.set()
        return self._answer

    def done(self) -> "Call":
        assert self.ended.wait(20)
        return self


class _Before:
    """How many threads are leased by others."""

    busy = 0


@pytest.fixture(autouse=True)
def _others_are_counted() -> None:
    """With the shared thread, which is there from now on."""
    call = Call()
    assert shared.submit(call)
    call.done()
    _Before.busy = leased()


@pytest.fixture
def strand() -> Iterator[Strand]:
    strand = Strand()
    yield strand
    strand.close()


def leased() -> int:
    stats = leases.stats()
    return stats.busy + stats.waiting


def busy() -> int:
    """How many threads are leased by this test."""
    return leased() - _Before.busy


async def given_back() -> None:
    while busy() > 0:
        await asyncio.sleep(0)


def test_calls_run_in_order_on_one_thread(strand: Strand) -> None:
    """From whatever thread they come."""
    order: list[Call] = []

    class Tells(Call):
        def run(self) -> bool:
            order.append(self)
            return super().run()

    calls = [Tells() for _ in range(20)]
    for call in calls:
        sender = threading.Thread(target=strand.submit, args=(call,))
        sender.start()
        sender.join()
    assert len({call.done().thread for call in calls}) == 1
    assert order == calls
    assert calls[0].thread != here()


def test_a_thread_is_leased_at_the_first_call() -> None:
    """And given back when it is closed."""
    strand = Strand()
    assert busy() == 0
    strand.submit(Call())
    strand.submit(Call())
    assert busy() == 1
    strand.close()
    asyncio.run(asyncio.wait_for(given_back(), 20))


def test_one_call_runs_at_a_time(strand: Strand) -> None:
    """Those after it wait."""
    first, second = Call(held_up=True), Call()
    assert strand.submit(first)
    assert strand.submit(second)
    assert first.began.wait(20)
    assert not second.began.is_set()
    first.may_end.set()
    second.done()


def test_strands_do_not_hold_each_other_up(strand: Strand) -> None:
    """Each has its own thread."""
    first, second = Call(held_up=True), Call()
    other = Strand()
    strand.submit(first)
    assert first.began.wait(20)
    other.submit(second)
    assert second.done().thread != first.thread
    other.close()
    first.may_end.set()
    first.done()


def test_a_closed_strand_takes_no_calls() -> None:
    """It runs those that it has taken, and then gives its thread back."""
    strand = Strand()
    first, second = Call(held_up=True), Call()
    strand.submit(first)
    strand.submit(second)
    strand.close()
    strand.close()
    assert strand.submit(Call()) is False
    first.may_end.set()
    second.done()
    assert second.thread == first.thread
    asyncio.run(asyncio.wait_for(given_back(), 20))


def test_a_strand_that_was_never_used_needs_no_thread() -> None:
    """To be closed neither."""
    strand = Strand()
    strand.close()
    assert busy() == 0
    assert strand.submit(Call()) is False


def test_a_strand_that_is_dropped_gives_its_thread_back() -> None:
    """When it has run what it has taken."""
    strand = Strand()
    call = Call(held_up=True)
    strand.submit(call)
    del strand
    gc.collect()
    assert busy() == 1
    call.may_end.set()
    call.done()
    asyncio.run(asyncio.wait_for(given_back(), 20))


def test_a_call_from_the_thread_itself_is_refused(strand: Strand) -> None:
    """It would wait for itself; that of another strand would not."""
    other = Strand()
    found: list[Any] = []

    class Sends(Call):
        def run(self) -> bool:
            try:
                strand.submit(Call())
            except DeadlockError as error:
                found.append(str(error))
            call = Call()
            other.submit(call)
            found.append(call.done().thread)
            return super().run()

    sends = Sends()
    strand.submit(sends)
    sends.done()
    assert "on the very thread which has to run the call" in found[0]
    assert found[1] != sends.thread
    other.close()


# Calls that are abandoned.


def test_calls_after_an_abandoned_one_have_a_fresh_thread(strand: Strand) -> None:
    """Those that waited, in their order, and those that come."""
    abandoned = Call(held_up=True, answer=False)
    strand.submit(abandoned)
    waiting = [Call() for _ in range(5)]
    for call in waiting:
        strand.submit(call)
    assert abandoned.began.wait(20)
    strand.leave_thread(abandoned)
    threads = {call.done().thread for call in waiting}
    later = Call()
    strand.submit(later)
    assert threads == {later.done().thread}
    assert abandoned.thread not in threads
    abandoned.may_end.set()
    abandoned.done()


def test_without_a_later_call_no_fresh_thread_is_leased() -> None:
    """And that which was left goes back when it is free."""
    strand = Strand()
    abandoned = Call(held_up=True, answer=False)
    strand.submit(abandoned)
    assert abandoned.began.wait(20)
    strand.leave_thread(abandoned)
    assert busy() == 1
    abandoned.may_end.set()
    asyncio.run(asyncio.wait_for(given_back(), 20))
    strand.close()


def test_a_thread_that_has_seen_its_call_abandoned_takes_no_other() -> None:
    """Although it may be free before it is left."""
    strand = Strand()
    abandoned, behind = Call(answer=False), Call()
    strand.submit(abandoned)
    abandoned.done()
    strand.submit(behind)
    strand.leave_thread(abandoned)
    assert behind.done().ended.is_set()
    strand.close()
    asyncio.run(asyncio.wait_for(given_back(), 20))


def test_a_thread_is_not_left_because_of_another_call(strand: Strand) -> None:
    """One that has ended, waits, or runs within the one that the thread runs."""
    ended, runs, waits = Call(), Call(held_up=True), Call()
    strand.submit(ended)
    ended.done()
    strand.submit(runs)
    strand.submit(waits)
    assert runs.began.wait(20)
    for call in (ended, waits, Call()):
        strand.leave_thread(call)
    assert busy() == 1
    assert not waits.began.is_set()
    runs.may_end.set()
    assert {call.done().thread for call in (ended, runs, waits)} == {runs.thread}


def test_a_closed_strand_can_be_left() -> None:
    """What it has taken runs on a fresh thread, which is then given back."""
    strand = Strand()
    abandoned, behind = Call(held_up=True, answer=False), Call()
    strand.submit(abandoned)
    strand.submit(behind)
    assert abandoned.began.wait(20)
    strand.close()
    strand.leave_thread(abandoned)
    assert behind.done().thread != abandoned.thread
    abandoned.may_end.set()
    asyncio.run(asyncio.wait_for(given_back(), 20))


def test_a_strand_without_a_thread_can_be_left(strand: Strand) -> None:
    """There is nothing to do."""
    strand.leave_thread(Call())
    assert busy() == 0
    call = Call()
    assert strand.submit(call)
    call.done()


# While the thread waits for something else, in the midst of a call.


class _Bell:
    def __init__(self) -> None:
        self.rung = threading.Event()

    def wake(self) -> None:
        self.rung.set()


def test_what_the_thread_waits_for_is_woken_when_a_call_comes(strand: Strand) -> None:
    """And may take the call back, to run it there; the others stay in order."""
    bell = _Bell()
    calls = [Call() for _ in range(3)]
    found: list[Any] = []

    class Waits(Call):
        def run(self) -> bool:
            (place,) = calls_module.here.places
            found.append(place.has_calls())
            place.inner = bell
            self.began.set()
            assert bell.rung.wait(20)
            assert self.may_end.wait(20)
            found.append(place.has_calls())
            found.append(place.withdraw(lambda call: call is calls[1]))
            place.inner = None
            return super().run()

    waits = Waits(held_up=True)
    strand.submit(waits)
    assert waits.began.wait(20)
    for call in calls:
        assert strand.submit(call)
    waits.may_end.set()
    calls[2].done()
    assert calls[0].ended.is_set()
    assert not calls[1].began.is_set()
    assert found == [False, True, [calls[1]]]
    assert strand.submit(calls[1])
    calls[1].done()


# Where there are no threads.


class _NoThreads:
    def submit(self, job: Any) -> None:
        job.drop()


def test_a_call_for_which_no_thread_can_be_started_says_so(
    strand: Strand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one may be luckier."""
    with monkeypatch.context() as without_threads:
        without_threads.setattr(strand_module, "leases", _NoThreads())
        with pytest.raises(RuntimeError, match="no thread can be started for a thread-sensitive call"):
            strand.submit(Call())
    call = Call()
    assert strand.submit(call)
    call.done()


def test_a_fork_leaves_the_threads_to_the_parent(strand: Strand, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child has the strand, unused, although it was in use or closed."""
    monkeypatch.setattr(strand_module, "_STRANDS", {strand})
    call = Call(held_up=True)
    strand.submit(call)
    lease = strand._lease
    assert lease is not None
    strand_module._after_fork_in_child()
    later = Call()
    assert strand.submit(later)
    later.done()
    call.may_end.set()
    call.done()
    lease.calls.put(None)
    strand.close()
    strand_module._after_fork_in_child()
    again = Call()
    assert strand.submit(again)
    again.done()
