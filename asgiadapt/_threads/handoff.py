"""What a thread and an event loop pass to each other, bounded in bytes both ways.

`ToLoop` carries items from a worker to the loop, `ToThread` from the loop to a thread. Each has one end on a
thread and one on the loop.

Guarantees
    Whatever waits is taken together: one crossing for all.
    A thread that waits is always freed: by the other end, by `break_off`, or because the loop stands still.
    After `break_off` nothing more is passed on, and the thread's end raises the error that it was given.
"""

import threading
from _thread import LockType
from collections.abc import Callable
from typing import Generic, Protocol, TypeAlias, TypeVar

from asgiadapt._errors import ClientDisconnected, LoopStopped
from asgiadapt._threads.loops import Bell, Loop, Waiter, wait_for_loop
from asgiadapt._threads.primitives import Lock

Item = TypeVar("Item")

# Makes the error to raise: a new one each time, since one object raised in several places would collect
# the frames of all of them.
MakeError: TypeAlias = Callable[[], BaseException]


def _stands_still() -> LoopStopped:
    return LoopStopped(
        "the event loop that serves this request was closed or stopped before the request had ended; run "
        "it until the server has shut down."
    )


def locked() -> LockType:
    """A bell for threads that are real."""
    bell = Lock()
    bell.acquire()
    return bell


class ToLoop(Generic[Item]):
    """Items, each with its size, on their way from a worker to the loop.

    Up to *window* bytes and one item are on their way before the worker has to wait.
    """

    __slots__ = (
        "_bell",
        "_ended",
        "_held",
        "_items",
        "_loop",
        "_mutex",
        "_waits",
        "_window",
        "broken",
        "news",
    )

    def __init__(self, loop: Loop, window: int) -> None:
        self._loop = loop
        self._window = window
        self._mutex = loop.mutex
        self._items: list[tuple[Item, int]] = []
        self._held = 0  # bytes put, and not reported by done_with() yet
        self._ended = False
        self._waits = False  # the loop awaits news, and its resumption has not been posted
        self._bell: LockType | None = None
        self.broken: MakeError | None = None
        self.news: Waiter

    def put(self, item: Item, size: int, *, last: bool = False) -> None:
        """Pass *item* on. Worker.

        Returns once there is room for more, or at once where this was the *last* that takes room.
        """
        bell = None
        with self._mutex:
            self.check()
            self._items.append((item, size))
            self._held += size
            wake = self._has_to_wake()
            if self._held > self._window and not last:
                bell = self._bell = locked()
        if wake:
            self._loop.post(self._resume_on_loop)
        if bell is not None:
            self._wait(bell)

    def check(self) -> None:
        """Raise the error of `break_off`, if there was one. Worker."""
        if self.broken is not None:
            raise self.broken()
        if self._ended:
            raise ClientDisconnected(
                "the request has ended, and nothing can be written any more. Write before the application's "
                "iterable ends."
            )

    def flush(self) -> None:
        """Wait until the loop is done with all items. Worker."""
        with self._mutex:
            self.check()
            if self._held == 0:
                return
            self._window = 0
            bell = self._bell = locked()
        self._wait(bell)

    def _wait(self, bell: LockType) -> None:
        if not wait_for_loop(bell, self._loop):
            self.break_off(_stands_still)
        self.check()

    def end(self, *item: tuple[Item, int]) -> None:
        """Nothing comes any more, but perhaps a last *item* with its size.

        Worker, or whoever knows that no worker will say it.
        """
        with self._mutex:
            if self._ended:
                return
            if self.broken is None:
                self._items += item
            self._ended = True
            wake = self._has_to_wake()
        if wake:
            self._loop.post(self._resume_on_loop)

    def break_off(self, make_error: MakeError) -> None:
        """Drop what is on its way; the worker's end raises an error from now on. Any thread."""
        with self._mutex:
            if self.broken is None:
                self.broken = make_error
            self._items.clear()
            bell, self._bell = self._bell, None
        if bell is not None:
            bell.release()

    def _has_to_wake(self) -> bool:
        """With the mutex held."""
        waits, self._waits = self._waits, False
        return waits

    def take(self) -> list[tuple[Item, int]] | None:
        """All items that wait, None after the end. Loop.

        Where there are none yet, ``news`` is to be awaited before the next call.
        """
        with self._mutex:
            if self._items:
                items, self._items = self._items, []
                return items
            if self._ended:
                return None
            self.news = self._loop.waiter()
            self._waits = True
            return []

    async def ended(self) -> None:
        """Wait for the end; items are dropped. Loop."""
        while (items := self.take()) is not None:
            if not items:
                await self.news

    def done_with(self, size: int) -> None:
        """Make room: *size* bytes have gone. Loop."""
        with self._mutex:
            self._held -= size
            # Half of the window at a time, so that the threads do not change over for each item.
            if self._bell is None or self._held > self._window // 2:
                return
            bell, self._bell = self._bell, None
        bell.release()

    def _resume_on_loop(self) -> None:
        if not self.news.done():
            self.news.set_result(None)


class ToThread(Generic[Item]):
    """Items on their way from the loop to a thread that waits for them.

    The loop puts them whether there is room or not, and awaits `room` before it makes more: until less than
    *ahead* bytes wait, or nothing does and the thread wants some. With *ahead* 0 nothing is made in advance.
    *make_bell* makes what the thread waits by.
    """

    __slots__ = (
        "_ahead",
        "_bell",
        "_held",
        "_items",
        "_loop",
        "_make_bell",
        "_make_error",
        "_mutex",
        "_waiters",
        "ended",
    )

    def __init__(self, loop: Loop, ahead: int, make_bell: Callable[[], Bell] = locked) -> None:
        self._loop = loop
        self._ahead = ahead
        self._mutex = loop.mutex
        self._make_bell = make_bell
        self._items: list[Item] | None = None  # made for the first
        self._held = 0
        self.ended = False
        self._make_error: MakeError | None = None
        self._waiters: list[Waiter] | None = None  # made for the first
        self._bell: Bell | None = None

    def put(self, items: list[Item], size: int, *, last: bool = False) -> None:
        """Pass *items* on, perhaps none, which together count for *size* bytes. Loop."""
        with self._mutex:
            if self._make_error is not None:
                return  # there is always room, and nobody who takes them
            if items:
                if self._items is None:
                    self._items = items
                else:
                    self._items += items
                self._held += size
            self.ended = last
            if self._bell is None or not (items or last):
                return
            bell, self._bell = self._bell, None
        bell.release()

    def break_off(self, make_error: MakeError) -> None:
        """The thread's end raises an error once it has what came already. Any thread.

        From then on there is always room.
        """
        with self._mutex:
            if self._make_error is None and not self.ended:
                self._make_error = make_error
            bell, self._bell = self._bell, None
        if bell is not None:
            bell.release()

    def fetch_ahead(self, size: int) -> None:
        """Let the loop put up to *size* bytes in advance from now on, if it could not before. Loop."""
        self._ahead = max(self._ahead, size)

    def is_drained(self) -> bool:
        """Whether the thread has taken all that will ever be put. Thread."""
        with self._mutex:
            return self.ended and not self._items

    def is_full(self) -> bool:
        """Whether `room` would wait. Loop."""
        return (
            self._held >= self._ahead and self._bell is None and not self.ended and self._make_error is None
        )

    async def room(self) -> None:
        """Wait until more may be put. Loop."""
        while True:
            with self._mutex:
                if not self.is_full():
                    return
                waiter = self._loop.waiter()
                if self._waiters is None:
                    self._waiters = []
                self._waiters.append(waiter)
            await waiter

    def take(self) -> list[Item]:
        """All items that wait, once there are any; none at the end. Thread.

        Raises the error of `break_off` once there is nothing left to give.
        """
        bell = None
        with self._mutex:
            taken = self._take()
            if taken is None:
                bell = self._bell = self._make_bell()
            wake = self._waiters is not None
        if wake:
            self._loop.post(self.resume_on_loop)
        if bell is not None:
            if not wait_for_loop(bell, self._loop):
                self.break_off(_stands_still)
            with self._mutex:
                taken = self._take()
                wake = self._waiters is not None  # since the bell was rung
            if wake:
                self._loop.post(self.resume_on_loop)
        return taken or []

    def _take(self) -> list[Item] | None:
        """With the mutex held; None for "not yet"."""
        if self._items:
            taken, self._items = self._items, None
            self._held = 0
            return taken
        if self._make_error is not None:
            raise self._make_error()
        return [] if self.ended else None

    def resume_on_loop(self) -> None:
        """Let whoever awaits `room` look again. Loop."""
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)


class Watcher(Protocol):
    def watch_on_worker(self) -> None:
        """Begin to look out for what a `Flag` stands for. Worker."""
        ...


class Flag:
    """Something that happens once, for workers to ask after or to wait for.

    *watcher* is told to watch before the first answer.
    """

    __slots__ = ("_event", "_happened", "_watcher")

    def __init__(self, watcher: Watcher) -> None:
        self._watcher: Watcher | None = watcher
        self._event: threading.Event | None = None  # made for the first that waits
        self._happened = False

    def is_set(self) -> bool:
        """Whether it has happened."""
        self._begin_to_watch()
        return self._happened

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it happens, up to *timeout* seconds; whether it has happened."""
        self._begin_to_watch()
        if self._event is None:
            self._event = threading.Event()
        # Ask after the event is in its place: set() sets both in the other order.
        return self._happened or self._event.wait(timeout)

    def set(self) -> None:
        """It has happened. Any thread."""
        self._watcher = None
        self._happened = True
        if self._event is not None:
            self._event.set()

    def _begin_to_watch(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.watch_on_worker()
