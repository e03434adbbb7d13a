"""The faults: what each does to a site, and which requests it may cost.

`FAULTS` is the claim that a run proves. A fault that stands there without an outcome costs nothing but time.
"""

import asyncio
import contextlib
import os
import random
import resource
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.soak.client import CUT, REFUSED, UNANSWERED, WHOLE, Client
from tests.soak.sites import WORKERS, Site, Window, is_alive, kill, limited, send_signal

_LIMITED_SECONDS = 3.0
_PAUSE_SECONDS = 7.0
# What was already on its way when a worker had died, or begins before the client learns of it.
_KILL_SECONDS = 0.5
# A worker that has just come may still be starting, and one that has gone may still be noticed.
_SLACK_SECONDS = 1.0


@dataclass(frozen=True)
class Fault:
    """What is done, and what may come of the requests that are under way meanwhile."""

    inject: "Callable[[Site, Client, random.Random], Awaitable[None]]"
    allows: frozenset[str] = frozenset()
    only: frozenset[str] | None = None
    unless_entered: bool = False
    replaces_workers: bool = True
    starves: bool = False  # anything may be said of what there is not enough of


@contextlib.asynccontextmanager
async def _window(site: Site, name: str, *, slack: float = _SLACK_SECONDS) -> AsyncIterator[Window]:
    fault = FAULTS[name]
    window = Window(
        name, fault.allows, time.monotonic(), only=fault.only, unless_entered=fault.unless_entered
    )
    site.windows.append(window)
    try:
        yield window
    finally:
        window.end = min(window.end, time.monotonic() + slack)


async def _kill_worker(site: Site, client: Client, chance: random.Random) -> None:
    pid = chance.choice(site.workers())
    async with _window(site, "a worker is killed") as window:
        kill(site, pid)
        await _expect_end(window, [pid])
        await _expect_workers(site, client, {pid})


async def _kill_all_workers(site: Site, client: Client, chance: random.Random) -> None:
    pids = site.workers()
    async with _window(site, "all workers are killed") as window:
        for pid in pids:
            kill(site, pid)
        await _expect_end(window, pids)
        await _expect_workers(site, client, set(pids))


async def _end_worker(site: Site, client: Client, chance: random.Random) -> None:
    pid = chance.choice(site.workers())
    async with _window(site, "a worker is told to end"):
        send_signal(pid, signal.SIGTERM)
        await _expect_workers(site, client, {pid})


async def _reload(site: Site, client: Client, chance: random.Random) -> None:
    before = set(site.workers())
    async with _window(site, "all workers are replaced (HUP)"):
        send_signal(site.running.process.pid, signal.SIGHUP)
        await _expect_workers(site, client, before)


async def _stall_loop(site: Site, client: Client, chance: random.Random) -> None:
    async with _window(site, "an event loop is blocked for 2 s"):
        await asyncio.gather(*[client.call(site, "stall") for _ in range(WORKERS)])


async def _stall_loop_for_long(site: Site, client: Client, chance: random.Random) -> None:
    async with _window(site, "an event loop is blocked for 8 s"):
        await client.call(site, "long stall")


async def _pause_worker(site: Site, client: Client, chance: random.Random) -> None:
    pid = chance.choice(site.workers())
    async with _window(site, "a worker is stopped for 7 s (SIGSTOP)"):
        send_signal(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            send_signal(pid, signal.SIGCONT)


async def _fill_disk(site: Site, client: Client, chance: random.Random) -> None:
    async with _window(site, "no space is left for spooled files"):
        with contextlib.ExitStack() as stack:
            if site.spool_is_small:
                stack.enter_context(_filled(site.spool))
            else:
                for pid in site.workers():
                    stack.enter_context(limited(pid, resource.RLIMIT_FSIZE, 1024))
            calls = [client.call(site, "spool") for _ in range(10)]
            await asyncio.gather(asyncio.sleep(_LIMITED_SECONDS), *calls)


@contextlib.contextmanager
def _filled(folder: Path) -> Iterator[None]:
    filler = folder / "filler"
    try:
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1 << 16))
        yield
    finally:
        filler.unlink()


async def _take_files(site: Site, client: Client, chance: random.Random) -> None:
    pid = chance.choice(site.workers())
    async with _window(site, "a worker has no file descriptors left", slack=2 * _SLACK_SECONDS):
        used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
        free = (number for number in range(max(used) + 10) if number not in used)
        with limited(pid, resource.RLIMIT_NOFILE, [next(free) for _ in range(4)][-1]):
            fresh = [client.call(site, "hello on a new connection") for _ in range(30)]
            await asyncio.gather(asyncio.sleep(_LIMITED_SECONDS), *fresh)
        await _expect_workers(site, client, set())


async def _take_memory(site: Site, client: Client, chance: random.Random) -> None:
    pid = chance.choice(site.workers())
    async with _window(site, "a worker may take no more memory", slack=2 * _SLACK_SECONDS):
        # With the smallest room no thread can be started: its stack would have none.
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
        room = chance.choice([4, 32, 128]) << 20
        with limited(pid, resource.RLIMIT_AS, pages * resource.getpagesize() + room):
            calls = [client.call(site, kind) for kind in ("memory", "wait", "wait") * 10]
            await asyncio.gather(asyncio.sleep(_LIMITED_SECONDS), *calls)
        await _expect_workers(site, client, set())


async def _expect_end(window: Window, pids: list[int]) -> None:
    """Wait until the processes are gone, and until the client has seen that their connections are."""
    while any(map(is_alive, pids)):
        await asyncio.sleep(0.01)  # polls the system, which cannot tell us
    # Only then is the end known: where the machine lets the client stand still meanwhile, it is later.
    await asyncio.sleep(_KILL_SECONDS)
    window.end = time.monotonic()


async def _expect_workers(site: Site, client: Client, gone: set[int]) -> None:
    if not await site.wait_for_workers(gone):
        client.totals.wrong.append(f"{site.name} has the workers {site.workers()}, without {gone}")


_BROKEN = frozenset({CUT, UNANSWERED})
_FAILED = frozenset({CUT, UNANSWERED, REFUSED})
FAULTS = {
    "a worker is killed": Fault(_kill_worker, _BROKEN),
    "all workers are killed": Fault(_kill_all_workers, _BROKEN),
    # A connection that is idle may be closed while a request is on its way; whatever has reached the
    # application is answered.
    "a worker is told to end": Fault(_end_worker, frozenset({UNANSWERED}), unless_entered=True),
    "all workers are replaced (HUP)": Fault(_reload, frozenset({UNANSWERED}), unless_entered=True),
    "an event loop is blocked for 2 s": Fault(_stall_loop, replaces_workers=False),
    "an event loop is blocked for 8 s": Fault(_stall_loop_for_long, replaces_workers=False),
    "a worker is stopped for 7 s (SIGSTOP)": Fault(_pause_worker, replaces_workers=False),
    "no space is left for spooled files": Fault(
        _fill_disk, _FAILED, only=frozenset({"spool"}), replaces_workers=False
    ),
    "a worker has no file descriptors left": Fault(_take_files, _FAILED, starves=True),
    "a worker may take no more memory": Fault(_take_memory, _FAILED, starves=True),
}


# Comes to each site once, at the very end.
END = "the server is told to end"


async def end(site: Site) -> int | None:
    """Tell the server to end while requests come and go; its exit code."""
    # A worker that is not yet told, or a connection that none has taken, ends as those of one worker do.
    site.windows.append(Window(END, frozenset({UNANSWERED}), time.monotonic(), unless_entered=True))
    site.told_to_end = True
    return await asyncio.to_thread(site.stop)


class Faults:
    """Injects one fault after the other into one site, each of them once before one comes again."""

    def __init__(self, site: Site, client: Client, names: Sequence[str], seed: int) -> None:
        self.site = site
        self.client = client
        self._names = names
        self.injected: Counter[str] = Counter()
        self.survived: Counter[str] = Counter()
        self._chance = random.Random(seed)
        self._deck: list[str] = []

    async def inject(self, *, keep_workers: bool) -> None:
        """Inject the next fault, wait until it is over, and look whether the site answers."""
        names = [name for name in self._names if not (keep_workers and FAULTS[name].replaces_workers)]
        if not names:
            return
        if not any(name in names for name in self._deck):
            self._deck = names
            self._chance.shuffle(self._deck)
        name = next(name for name in reversed(self._deck) if name in names)
        self._deck.remove(name)
        await self._inject(name)

    async def _inject(self, name: str) -> None:
        site, wrong = self.site, self.client.totals.wrong
        self._report_trouble()
        self.injected[name] += 1
        await FAULTS[name].inject(site, self.client, self._chance)
        await asyncio.sleep(max(0.0, site.windows[-1].end - time.monotonic()))
        if FAULTS[name].starves:
            site.trouble()
        self._report_trouble()
        if await self.client.call(site, "hello on a new connection") == WHOLE:
            self.survived[name] += 1
        else:
            wrong.append(f"{site.name} does not answer after: {name}")

    def _report_trouble(self) -> None:
        trouble = self.site.trouble()
        if trouble is not None:
            self.client.totals.wrong.append(f"{self.site.name}: {trouble}")
