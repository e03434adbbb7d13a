"""A run: its phases, and what is compared in the end."""

import asyncio
import contextlib
import random
import resource
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from tests.soak import inside
from tests.soak.client import KIND_NAMES, KINDS, TIME_LIMIT, Client, Totals
from tests.soak.faults import END, FAULTS, Faults, end
from tests.soak.journals import Comparison
from tests.soak.sites import Site, site

_TICK_SECONDS = 0.01
_MAX_ACTIVE = 96  # at one site
_MAX_HEAVY = 12
_END_SECONDS = 1.0  # under load, before the servers are told to end
# How much more there may be at the end than at half-time. Caches of the servers and of the standard library
# may still fill, and malloc counts what it keeps for each thread as in use.
GROWTH = {"tasks": 0, "files": 0, "threads": 0, "objects": 500, "blocks": 3000, "malloc_kib": 6 * 1024}
# What malloc keeps of freed memory: besides, a limit that no leak of bodies would pass for long.
GROWTH["rss_anon_kib"] = 64 * 1024


@dataclass
class Plan:
    seconds: float
    seed: int = 1
    rate: float = 600.0
    gap: float = 4.0  # seconds between two faults at one site
    faults: Sequence[str] = tuple(FAULTS)
    slow: bool = True  # with requests that take some seconds
    time_limit: float = TIME_LIMIT
    settle: float = 60.0  # seconds, for what is still under way when the load has ended
    # Parts of the time: before the first fault, and after the last one that replaces a worker. In the latter
    # the figures of the workers are compared.
    warm_up: float = 0.05
    calm: float = 0.3


@dataclass
class Report:
    totals: Totals
    seconds: float
    load_seconds: float = 0.0  # without the times at which nothing is to be under way
    held_back: int = 0
    longest_pause: float = 0.0  # for which the machine let the client stand still
    injected: dict[str, Counter[str]] = field(default_factory=dict)  # the faults, by site
    survived: dict[str, Counter[str]] = field(default_factory=dict)
    rests: list[dict[str, Any]] = field(default_factory=list)  # figures while nothing is under way
    journals: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def wrong(self) -> list[str]:
        return self.totals.wrong


class Run:
    def __init__(self, plan: Plan, sites: list[Site], say: Callable[[str], None]) -> None:
        self.plan = plan
        self.sites = sites
        self.say = say
        self.totals = Totals()
        self.report = Report(self.totals, 0.0)
        self.client = Client(sites, plan.seed, self.totals, plan.time_limit)
        self._chance = random.Random(plan.seed + 1)
        self._said = 0  # how much of what is wrong
        self._tasks: set[asyncio.Task[Any]] = set()
        self._read: dict[Path, int] = {}  # so far of each journal, at rest
        self._open: dict[Path, Counter[int]] = {}  # requests that were entered there and not left

    async def run(self) -> Report:
        plan, begin = self.plan, time.monotonic()
        faults = [Faults(at, self.client, plan.faults, plan.seed + n) for n, at in enumerate(self.sites)]
        storm = 1 - plan.warm_up - plan.calm
        for name, part, inject, keep_workers in (
            ("after the warm-up", plan.warm_up, False, True),
            ("after the faults", storm, True, False),
            ("calm, warmed up", plan.calm / 5, True, True),
            ("calm, half-time", plan.calm * 2 / 5, True, True),
            ("the end", plan.calm * 2 / 5, True, True),
        ):
            if not part:
                continue
            async with self._load():
                if inject:
                    await self._inject(faults, part * plan.seconds, keep_workers=keep_workers)
                else:
                    await asyncio.sleep(part * plan.seconds)
            await self._rest(name, compare=name == "the end")
        self.report.injected = {each.site.name: each.injected for each in faults}
        self.report.survived = {each.site.name: each.survived for each in faults}
        await self._end()
        self.report.seconds = time.monotonic() - begin
        self.report.journals = Comparison(self.sites, self.totals).tallies
        return self.report

    async def _end(self) -> None:
        """Tell all servers to end, under load."""
        async with self._load():
            await asyncio.sleep(_END_SECONDS)
            codes = await asyncio.gather(*map(end, self.sites))
        for at, code in zip(self.sites, codes, strict=True):
            self.report.injected[at.name][END] += 1
            trouble = at.trouble()
            if code not in (0, -15):
                self.totals.wrong.append(f"{at.name} ended with {code}")
            if trouble is not None:
                self.totals.wrong.append(f"{at.name}: {trouble}")
            if code in (0, -15) and trouble is None:
                self.report.survived[at.name][END] += 1

    async def _inject(self, faults: list[Faults], seconds: float, *, keep_workers: bool) -> None:
        until = time.monotonic() + seconds

        async def at_one_site(each: Faults) -> None:
            while (left := until - time.monotonic()) > 0:
                await asyncio.sleep(min(left, self._chance.uniform(0.5, 1.5) * self.plan.gap))
                if time.monotonic() < until:
                    await each.inject(keep_workers=keep_workers)

        await asyncio.gather(*map(at_one_site, faults))

    # The load

    @contextlib.asynccontextmanager
    async def _load(self) -> AsyncIterator[None]:
        """Requests of chance until the block ends; then waits for their answers."""
        begin = time.monotonic()
        load = asyncio.ensure_future(self._send())
        try:
            yield
        finally:
            load.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await load
        self.report.load_seconds += time.monotonic() - begin
        await self.client.until_idle()

    async def _send(self) -> None:
        """Requests at the rate that was asked for, as long as not too many are under way."""
        begin = last = time.monotonic()
        sent = 0
        active = Counter[str]()
        heavy = Counter[str]()
        choose = self._chance.choices
        weights = [kind.weight if self.plan.slow or not kind.heavy else 0 for kind in KINDS.values()]
        tick = begin
        while True:
            now = time.monotonic()
            self.report.longest_pause = max(self.report.longest_pause, now - tick)
            self._say_what_is_wrong()
            if now - last >= 60:
                last = now
                self._say_how_it_goes()
            due = int((now - begin) * self.plan.rate) - sent
            kinds = choose(KIND_NAMES, weights, k=max(0, due))
            sent += len(kinds)
            for kind in kinds:
                at = self._chance.choice(self.sites)
                if at.refuses:
                    continue
                of_kind = heavy if KINDS[kind].heavy else active
                if of_kind[at.name] >= (_MAX_HEAVY if KINDS[kind].heavy else _MAX_ACTIVE):
                    self.report.held_back += 1
                    continue
                of_kind[at.name] += 1
                task = asyncio.ensure_future(self.client.call(at, kind))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                task.add_done_callback(partial(_count_down, of_kind, at.name))
            tick = time.monotonic() + _TICK_SECONDS
            await asyncio.sleep(_TICK_SECONDS)

    def _say_what_is_wrong(self) -> None:
        for text in self.totals.wrong[self._said :]:
            self.say(f"WRONG: {text}")
        self._said = len(self.totals.wrong)

    def _say_how_it_goes(self) -> None:
        done = sum((counter for counter in self.totals.outcomes.values()), Counter[str]())
        self.say(f"{self.totals.requests} requests: {dict(done)}; wrong: {len(self.totals.wrong)}")

    # At rest

    async def _rest(self, name: str, *, compare: bool) -> None:
        """The figures of all workers, once nothing is under way; they are to be those of the last rest."""
        before = self.report.rests[-1]["sites"] if compare else {}
        figures = {}
        for at in self.sites:
            figures[at.name] = await self._settled(at, before.get(at.name, {}))
        self.report.rests.append({"name": name, "requests": self.totals.requests, "sites": figures})
        self.say(f"{name}: {figures}")

    async def _settled(self, at: Site, before: dict[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
        deadline = time.monotonic() + self.plan.settle
        last: Any = None
        while True:
            found = await at.figures()
            now = {pid: (figures["files"], figures["tasks"]) for pid, figures in found.items()}
            moving, last = now != last, now
            open_requests = self._open_requests(at)
            left_over = at.left_over()
            complaints = [f"requests {open_requests} are under way"] * bool(open_requests)
            complaints += [f"files are left over: {left_over}"] * bool(left_over)
            if before and set(found) != set(before):
                complaints.append(f"the workers are {list(found)}, they were {list(before)}")
            for pid, figures in found.items():
                if figures.get("busy"):
                    complaints.append(f"{figures['busy']} threads are busy")
                if pid in before:
                    complaints += [f"worker {pid}: {text}" for text in grown(before[pid], figures)]
            if not complaints and not moving:
                break
            if time.monotonic() > deadline:
                self.totals.wrong += [f"{at.name}, at rest: {text}" for text in complaints]
                break
            await asyncio.sleep(0.2)  # polls another process, which cannot tell us
        for figures in found.values():
            del figures["where"]
        return found

    def _open_requests(self, at: Site) -> list[int]:
        """What a living worker has entered and not left."""
        found = []
        for pid in at.workers():
            path = at.journal_of(pid)
            notes, self._read[path] = inside.read_journal(path, self._read.get(path, 0))
            entered = self._open.setdefault(path, Counter())
            for what, number in notes:
                if what in (inside.ENTERED, inside.LEFT):
                    entered[number] += 1 if what == inside.ENTERED else -1
                    if not entered[number]:
                        del entered[number]
            found += list(entered)
        return found


def _count_down(counter: Counter[str], name: str, _task: object) -> None:
    counter[name] -= 1


def grown(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return [
        f"{what}: {now[what]}, before it was {before[what]}"
        for what, limit in GROWTH.items()
        if now[what] > before[what] + limit
    ]


def run(names: list[str], plan: Plan, say: Callable[[str], None]) -> Report:
    """Serve *names*, put load on them, and inject faults."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 4096:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        sites = [stack.enter_context(site(name, folder)) for name in names]
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_run(plan, sites, say))


async def _run(plan: Plan, sites: list[Site], say: Callable[[str], None]) -> Report:
    for at in sites:
        assert await at.wait_for_workers(set()), f"{at.name}: {at.running.output()[-2000:]}"
    return await Run(plan, sites, say).run()
