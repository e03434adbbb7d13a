"""What a thread and a loop pass to each other: nothing is lost, nobody waits for ever."""

import asyncio
from collections.abc import Callable

import pytest

from asgiadapt import ClientDisconnected, LoopStopped
from asgiadapt._threads import loops
from asgiadapt._threads.handoff import Flag, ToLoop, ToThread, locked
from asgiadapt._threads.loops import AsyncioLoop, Bell
from tests.gates import Gate


class Gone(Exception):
    pass


def on_worker(function: Callable[[], object]) -> asyncio.Future[object]:
    return asyncio.get_running_loop().run_in_executor(None, function)


def this_loop() -> AsyncioLoop:
    return AsyncioLoop(asyncio.get_running_loop())


def put(into: ToThread[bytes], chunk: bytes, *, last: bool = False) -> None:
    into.put([chunk] if chunk else [], len(chunk), last=last)


async def taken(out: ToLoop[str]) -> list[str]:
    """The next items, with their sizes reported."""
    while True:
        entries = out.take()
        assert entries is not None
        if entries:
            for _, size in entries:
                out.done_with(size)
            return [item for item, _ in entries]
        await out.news


async def test_what_waits_is_taken_together() -> None:
    """In the order in which it was put; the end comes after it."""
    out: ToLoop[str] = ToLoop(this_loop(), 100)
    for item in "abc":
        out.put(item, 1)
    out.end(("d", 0))
    out.end(("never", 0))
    assert await taken(out) == ["a", "b", "c", "d"]
    assert out.take() is None
    with pytest.raises(ClientDisconnected, match="has ended"):
        out.put("late", 1)


async def test_the_loop_is_woken_by_a_worker() -> None:
    """By an item, and by the end."""
    out: ToLoop[str] = ToLoop(this_loop(), 100)
    waiting = asyncio.create_task(taken(out))
    await asyncio.sleep(0)
    await on_worker(lambda: out.put("a", 1))
    assert await waiting == ["a"]
    ended = asyncio.create_task(out.ended())
    await asyncio.sleep(0)
    await on_worker(out.end)
    await ended


async def test_a_worker_waits_for_room_and_for_half_of_the_window() -> None:
    """It is freed when half of the window has gone, not by each item; the last item never waits."""
    out: ToLoop[str] = ToLoop(this_loop(), 10)
    out.put("a", 6)
    blocked = on_worker(lambda: out.put("b", 6))
    while out._bell is None:
        await asyncio.sleep(0)
    out.done_with(6)
    assert out._bell is not None
    out.done_with(6)
    await blocked
    out.put("c", 1000, last=True)


async def test_flush_waits_until_everything_has_gone() -> None:
    """Also where the window has room."""
    out: ToLoop[str] = ToLoop(this_loop(), 10)
    out.flush()
    out.put("a", 1)
    blocked = on_worker(out.flush)
    while out._bell is None:
        await asyncio.sleep(0)
    out.done_with(1)
    await blocked


async def test_break_off_frees_the_worker_and_drops_what_is_on_its_way() -> None:
    """A new error each time, of the first kind that was given."""
    out: ToLoop[str] = ToLoop(this_loop(), 0)
    blocked = on_worker(lambda: out.put("a", 1))
    while out._bell is None:
        await asyncio.sleep(0)
    out.break_off(Gone)
    out.break_off(ValueError)
    with pytest.raises(Gone) as first:
        await blocked
    for operation in (lambda: out.put("b", 1), out.check, out.flush):
        with pytest.raises(Gone) as again:
            operation()
        assert again.value is not first.value
    out.end(("c", 1))
    assert out.take() is None


def test_a_worker_gives_up_on_a_closed_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """In both directions, with an error that says what happened."""
    monkeypatch.setattr(loops, "_LOOK_SECONDS", 0.001)
    loop = asyncio.new_event_loop()
    loop.close()
    with pytest.raises(LoopStopped, match="closed or stopped"):
        ToLoop[str](AsyncioLoop(loop), 0).put("a", 1)
    with pytest.raises(LoopStopped, match="closed or stopped"):
        ToThread[bytes](AsyncioLoop(loop), 0).take()


async def test_chunks_are_taken_by_the_worker() -> None:
    """What has come at once, what comes later when it comes, nothing at the end."""
    into = ToThread[bytes](this_loop(), 10)
    put(into, b"a")
    put(into, b"")
    put(into, b"b")
    assert into.take() == [b"a", b"b"]
    blocked = on_worker(into.take)
    while into._bell is None:
        await asyncio.sleep(0)
    put(into, b"")  # brings nothing, and wakes nobody
    assert into._bell is not None
    put(into, b"c")
    assert await blocked == [b"c"]
    put(into, b"", last=True)
    assert into.take() == []
    into.break_off(Gone)  # too late to matter
    assert into.take() == []


@pytest.mark.parametrize("ahead", [0, 5])
async def test_room_is_what_may_be_fetched_ahead_or_what_is_waited_for(ahead: int) -> None:
    """With nothing ahead, only a waiting worker makes room."""
    into = ToThread[bytes](this_loop(), ahead)
    if ahead:
        await into.room()
        put(into, b"x" * ahead)
    waiting = asyncio.create_task(into.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    if ahead:
        assert await on_worker(into.take) == [b"x" * ahead]
        await waiting
    else:
        blocked = on_worker(into.take)
        await waiting
        put(into, b"y", last=True)
        assert await blocked == [b"y"]
        into.fetch_ahead(3)
        into.fetch_ahead(1)
        await into.room()


async def test_break_off_lets_the_worker_have_what_came_before() -> None:
    """Then the error, again and again."""
    into = ToThread[bytes](this_loop(), 10)
    put(into, b"a")
    into.break_off(Gone)
    into.break_off(ValueError)
    assert into.take() == [b"a"]
    for _ in range(2):
        with pytest.raises(Gone):
            into.take()


async def test_what_comes_after_break_off_is_dropped() -> None:
    """Nobody takes it, and it would pile up, since there is always room."""
    into = ToThread[bytes](this_loop(), 1)
    into.break_off(Gone)
    for _ in range(2):
        await into.room()
        put(into, b"ab")
    with pytest.raises(Gone):
        into.take()


async def test_break_off_frees_a_worker_that_waits_for_bytes() -> None:
    """With the error."""
    into = ToThread[bytes](this_loop(), 10)
    blocked = on_worker(into.take)
    while into._bell is None:
        await asyncio.sleep(0)
    into.break_off(Gone)
    with pytest.raises(Gone):
        await blocked


async def test_nothing_is_lost_between_a_busy_worker_and_a_busy_loop() -> None:
    """A hundred thousand items each way, through small windows."""
    loop = this_loop()
    out: ToLoop[int] = ToLoop(loop, 50)
    into = ToThread[bytes](loop, 50)
    count = 100_000

    def work() -> int:
        total = 0
        for number in range(count):
            out.put(number, 1)
        out.end()
        while chunks := into.take():
            total += sum(map(len, chunks))
        return total

    worker = on_worker(work)
    got: list[int] = []
    while (entries := out.take()) is not None:
        if not entries:
            await out.news
        for item, size in entries:
            got.append(item)
            out.done_with(size)
    assert got == list(range(count))
    for _ in range(count):
        await into.room()
        put(into, b"x")
    put(into, b"", last=True)
    assert await worker == count


class Watches:
    def __init__(self) -> None:
        self.asked = 0

    def watch_on_worker(self) -> None:
        self.asked += 1


async def test_a_flag_is_watched_for_from_the_first_question_on() -> None:
    """Once; nobody waits longer than asked, and set() frees whoever waits."""
    watcher = Watches()
    flag = Flag(watcher)
    assert watcher.asked == 0
    assert flag.is_set() is False
    assert flag.wait(0.001) is False
    assert watcher.asked == 1
    waiting = on_worker(lambda: flag.wait(20))
    flag.set()
    assert await waiting is True
    assert flag.is_set() is True
    quiet = Flag(watcher)
    quiet.set()
    assert quiet.wait() is True
    assert watcher.asked == 1


async def test_items_that_are_put_together_come_together() -> None:
    """And later ones behind them; what the loop does with its list is its own affair."""
    into: ToThread[str] = ToThread(this_loop(), 100)
    into.put(["a", "b"], 2)
    into.put([], 50)
    into.put(["c"], 1)
    assert into.take() == ["a", "b", "c"]
    into.put(["d"], 1, last=True)
    assert not into.is_drained()
    assert into.take() == ["d"]
    assert into.is_drained()
    assert into.take() == []


async def test_it_is_full_until_the_thread_takes_or_the_end_comes() -> None:
    """Only full bytes count, and nobody has to wait where nobody takes any more."""
    for ends in ("take", "last", "break"):
        into: ToThread[str] = ToThread(this_loop(), 10)
        into.put(["a"], 9)
        assert not into.is_full()
        into.put(["b"], 1)
        assert into.is_full()
        if ends == "take":
            into.take()
        elif ends == "last":
            into.put([], 0, last=True)
        else:
            into.break_off(Gone)
        assert not into.is_full()
        await into.room()


async def test_everybody_who_waits_for_room_looks_again() -> None:
    """Tasks that were cancelled meanwhile are passed over."""
    into: ToThread[str] = ToThread(this_loop(), 1)
    into.put(["a"], 1)
    waiting = [asyncio.create_task(into.room()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    await asyncio.sleep(0)
    into.resume_on_loop()
    await asyncio.sleep(0)
    assert [task.done() for task in waiting] == [False, True, False]
    assert into.take() == ["a"]
    await waiting[0]
    await waiting[2]


async def test_a_thread_waits_by_the_bell_that_it_is_given() -> None:
    """A new one each time that it waits, and none where there is no need."""
    made: list[Bell] = []

    def make_bell() -> Bell:
        made.append(locked())
        return made[-1]

    into: ToThread[str] = ToThread(this_loop(), 10, make_bell)
    into.put(["a"], 1)
    assert into.take() == ["a"]
    assert made == []
    for number in (1, 2):
        blocked = on_worker(into.take)
        while into._bell is None:
            await asyncio.sleep(0)
        into.put(["b"], 1)
        assert await blocked == ["b"]
        assert len(made) == number


async def test_whoever_waits_for_room_is_told_of_a_thread_that_was_slow_to_wake_up() -> None:
    """It takes what has woken it later, and there is room from then on, before it takes again."""
    may_wake = Gate("the thread")

    class SlowBell:
        def __init__(self) -> None:
            self._bell = locked()
            self.release = self._bell.release

        def acquire(self, *, timeout: float) -> bool:
            rung = self._bell.acquire(timeout=timeout)
            may_wake.wait()
            return rung

    into: ToThread[str] = ToThread(this_loop(), 1, SlowBell)
    blocked = on_worker(into.take)
    while into._bell is None:
        await asyncio.sleep(0)
    into.put(["a"], 1)
    waiting = asyncio.create_task(into.room())
    await asyncio.sleep(0)
    may_wake.open()
    assert await blocked == ["a"]
    async with asyncio.timeout(5):
        await waiting


async def test_the_end_frees_a_thread_that_waits() -> None:
    """With nothing in its hands."""
    into: ToThread[str] = ToThread(this_loop(), 10)
    blocked = on_worker(into.take)
    while into._bell is None:
        await asyncio.sleep(0)
    into.put([], 0, last=True)
    assert await blocked == []
