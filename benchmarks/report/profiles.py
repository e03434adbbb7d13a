"""Where the time goes: processor time by thread, the collector's share, the way of a request, and its parts.

Processor time is that of the threads, so that it counts no waiting, and little of what other programs do.
"""

import asyncio
import gc
import io
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, TypeAlias

import asgiadapt
from asgiadapt._sansio.messages import AsgiResponse
from asgiadapt._sansio.request import EnvironMaker, scope_from_environ
from asgiadapt._sansio.response import WsgiResponse
from asgiadapt._threads.async_calls import AsyncCall
from asgiadapt._threads.calls import Call
from asgiadapt._threads.loop_thread import running_loop_of
from asgiadapt._threads.loops import AsyncioLoop, running_asyncio_loop
from benchmarks import apps, bridges, inprocess, reverse
from benchmarks.bridges_limit import KeptLoop
from benchmarks.report.effort import Effort

# Does it so many times, and gives the seconds for all of them. The garbage is collected before.
Many: TypeAlias = Callable[[int], float]
_FEW = 200


@dataclass(frozen=True)
class Profile:
    workload: str
    parts: Callable[[], dict[str, Many]]
    main: str = ""  # what the main thread does, where it does a part of the work
    way: bool = False  # whether to time the way of a request


def measure(profile: Profile, effort: Effort) -> dict[str, Any]:
    """Seconds for one request or call: of each contender, and of the parts of asgiadapt."""
    found: dict[str, Any] = {"main": profile.main, "contenders": _contenders(profile.workload, effort)}
    if profile.way:
        found["way"] = _ways(effort)
    found["parts"] = {
        name: statistics.median(_spent(many, effort)["all"] for _ in range(effort.rounds))
        for name, many in profile.parts().items()
    }
    return found


# What they spend.


class _Collector:
    """The seconds that the garbage collector takes, apart from the whole collection before the work."""

    def __init__(self) -> None:
        self.before: float | None = None
        self.seconds = 0.0

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._started = time.thread_time()
        elif self.before is None and info["generation"] == 2:
            self.before = time.thread_time() - self._started
        else:
            self.seconds += time.thread_time() - self._started


def _spent(many: Many, effort: Effort) -> dict[str, float]:
    """What one takes by the clock, of processor time on the main thread and on all, and in the collector."""
    count = max(_FEW, round(effort.slice_seconds / 2 / many(_FEW) * _FEW))
    collector = _Collector()
    gc.callbacks.append(collector)
    try:
        everywhere, main = time.process_time(), time.thread_time()
        elapsed = many(count)
        main, everywhere = time.thread_time() - main, time.process_time() - everywhere
    finally:
        gc.callbacks.remove(collector)
    before = collector.before or 0.0
    spent = {
        "elapsed": elapsed,
        "main": main - before,
        "all": everywhere - before,
        "collector": collector.seconds,
    }
    return {name: seconds / count for name, seconds in spent.items()}


def _contenders(workload: str, effort: Effort) -> dict[str, dict[str, float]]:
    """The medians of the rounds."""
    values: dict[str, list[dict[str, float]]] = {}
    with _turns(workload) as turns:
        for many in turns.values():
            many(_FEW)  # threads are started, caches filled
        for number in range(effort.rounds):
            for name in list(turns)[:: -1 if number % 2 else 1]:
                values.setdefault(name, []).append(_spent(turns[name], effort))
    return {
        name: {what: statistics.median(one[what] for one in values[name]) for what in values[name][0]}
        for name in turns
    }


@contextmanager
def _turns(workload: str) -> Iterator[dict[str, Many]]:
    with ExitStack() as stack:
        for work in inprocess.WORKLOADS:
            if work.name == workload:
                runner = stack.enter_context(asyncio.Runner())
                made = {name: make(work.app) for name, make in apps.adapters().items()}
                yield {name: partial(_requests, runner, work, app) for name, app in made.items()}
        for threaded in reverse.WORKLOADS:
            if threaded.name == workload:
                found = stack.enter_context(reverse.contenders(threaded.app))
                yield {
                    name: partial(reverse.seconds_for, app=app, work=threaded) for name, app in found.items()
                }
        for calls in bridges.WORKLOADS:
            if calls.name == workload:
                turns = stack.enter_context(calls.contenders())
                yield {name: partial(_calls, turn) for name, turn in turns.items()}


def _requests(runner: asyncio.Runner, work: inprocess.Workload, app: Any, count: int) -> float:
    return runner.run(inprocess.seconds_for(count, work.at_a_time, partial(inprocess.request, app, work)))


def _calls(turn: bridges.Turn, count: int) -> float:
    gc.collect()
    return turn(count) * count


# The way of a request to an ASGI application and back.

_WAY = (
    "from the request to the application",
    "in the application, up to its last `send()`",
    "from there to `start_response()`",
    "from there to the end",
)


def _ways(effort: Effort) -> dict[str, dict[str, float]]:
    """For each contender, the seconds of each part of the way, one request at a time: medians."""
    marks: list[float] = []

    def mark() -> None:
        marks.append(time.perf_counter())

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise RuntimeError("there is nothing to start")
        mark()
        await send({"type": "http.response.start", "status": 200, "headers": reverse.PLAIN_TEXT})
        mark()
        await send({"type": "http.response.body", "body": b"hello"})

    def start_response(status: str, headers: Any, exc_info: Any = None) -> None:
        mark()

    values: dict[str, list[list[float]]] = {}
    with reverse.contenders(app) as contenders:
        for number in range(effort.rounds):
            for name in list(contenders)[:: -1 if number % 2 else 1]:
                for _ in range(max(_FEW, round(effort.slice_seconds * 2000))):
                    environ = {**reverse.ENVIRON, "wsgi.input": io.BytesIO()}
                    marks.clear()
                    mark()
                    iterable = contenders[name](environ, start_response)
                    assert b"".join(iterable) == b"hello"
                    if hasattr(iterable, "close"):
                        iterable.close()
                    mark()
                    between = [after - before for before, after in pairwise(marks)]
                    values.setdefault(name, []).append(between)
        return {
            name: dict(zip(_WAY, map(statistics.median, zip(*values[name], strict=True)), strict=True))
            for name in contenders
        }


# The parts, each alone.


def _alone(function: Callable[[], Any]) -> Many:
    def many(count: int) -> float:
        gc.collect()
        started = time.perf_counter()
        for _ in range(count):
            function()
        return time.perf_counter() - started

    return many


def _in_context() -> None:
    copy_context().run(_nothing)


def _nothing() -> None:
    pass


def _by_hand(coroutine: Any) -> None:
    """Run a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError


class _Empty:
    """A job that does nothing, and then posts to a loop."""

    def __init__(self, loop: AsyncioLoop, then: Callable[[], None]) -> None:
        self._loop, self._then = loop, then

    def run(self) -> None:
        self._loop.post(self._then)

    def drop(self) -> None:
        raise AssertionError


def _there_and_back(count: int) -> float:
    """Empty jobs on a pool, as many at a time as there are requests."""
    at_a_time = inprocess.WORKLOADS[1].at_a_time

    async def main(pool: asgiadapt.WorkerPool) -> float:
        loop = running_asyncio_loop()
        assert loop is not None
        over = asyncio.get_running_loop().create_future()
        left, running = count, 0

        def go_on() -> None:
            nonlocal left, running
            running -= 1
            if left:
                start()
            elif not running:
                over.set_result(None)

        def start() -> None:
            nonlocal left, running
            left, running = left - 1, running + 1
            pool.submit(_Empty(loop, go_on))

        gc.collect()
        started = time.perf_counter()
        for _ in range(at_a_time):
            start()
        await over
        return time.perf_counter() - started

    with asgiadapt.WorkerPool() as pool:
        return asyncio.run(main(pool))


def _sleepers(count: int) -> float:
    """A thread wakes a loop, which wakes the thread."""
    bell = threading.Lock()
    bell.acquire()
    with asgiadapt.LoopThread() as loop_thread:
        loop = running_loop_of(loop_thread)
        gc.collect()
        started = time.perf_counter()
        for _ in range(count):
            loop.post(bell.release)
            bell.acquire()
        return time.perf_counter() - started


_SLEEPERS = "a round trip between two threads that sleep, and nothing else"
_CONTEXT = "the context copied and entered"


def _of_wsgi_request() -> dict[str, Many]:
    make = EnvironMaker({})

    def ignores(status: str, headers: Any, exc_info: Any = None) -> None:
        pass

    def checked() -> None:
        response = WsgiResponse("GET")
        response.start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
        assert len(response.chunk(b"hello", only=True)) == 2

    def server(count: int) -> float:
        with asyncio.Runner() as runner:
            return _requests(runner, inprocess.WORKLOADS[1], reverse.hello, count)

    return {
        "the server's side: a task, `receive()`, `send()`": server,
        "the application": _alone(lambda: apps.hello({}, ignores)),
        "environ from scope": _alone(lambda: make.environ_from_scope(inprocess.SCOPE)),
        "status and headers checked, events made": _alone(checked),
        _CONTEXT: _alone(_in_context),
        "an empty job to a worker and back to the loop, 64 at a time": _there_and_back,
    }


def _of_asgi_request() -> dict[str, Many]:
    messages: list[dict[str, Any]] = []

    async def receives(message: dict[str, Any]) -> None:
        messages.append(message)

    _by_hand(reverse.hello({"type": "http"}, None, receives))

    async def ignores(message: dict[str, Any]) -> None:
        pass

    def checked() -> None:
        response = AsgiResponse("GET", {})
        for message in messages:
            response.accept(message)
        assert response.complete

    environ = {**reverse.ENVIRON, "wsgi.input": None}
    return {
        "the server's side: environ, `start_response`, `close()`": _alone(
            lambda: reverse.request(apps.hello, reverse.WORKLOADS[0])
        ),
        "the application": _alone(lambda: _by_hand(reverse.hello({"type": "http"}, None, ignores))),
        "scope from environ": _alone(lambda: scope_from_environ(environ.copy())),
        "messages checked, status and headers made": _alone(checked),
        _CONTEXT: _alone(_in_context),
        _SLEEPERS: _sleepers,
    }


def _of_sync_call() -> dict[str, Many]:
    def tasks(count: int) -> float:
        gc.collect()
        return asyncio.run(bridges.hundred(bridges.double_async, count)) * count

    return {"the caller's side: a task in `gather()`": tasks, **_of_sync_call_state()}


def _of_async_call_below() -> dict[str, Many]:
    return {**_of_async_call(), _SLEEPERS: _sleepers}


def _of_sync_call_state() -> dict[str, Many]:
    def states(count: int) -> float:
        async def on_loop() -> float:
            loop = running_asyncio_loop()
            assert loop is not None
            return _alone(lambda: Call(loop, copy_context(), bridges.double, (1,)))(count)

        return asyncio.run(on_loop())

    return {"the sync call's state, with its context": states}


def _of_async_call() -> dict[str, Many]:
    return {
        "the async call's state, with its contexts": _alone(lambda: AsyncCall(bridges.double_async, (1,), {}))
    }


def _of_async_call_on_kept_loop() -> dict[str, Many]:
    def kept(count: int) -> float:
        gc.collect()
        loop = KeptLoop()
        try:
            return bridges.called(loop(bridges.double_async), count) * count
        finally:
            loop.close()

    return {"a loop that is there runs one task, and stops": kept, **_of_async_call()}


_LOOP = "the loop's thread"
PROFILES = [
    Profile("w2a.get.64", _of_wsgi_request, main=_LOOP),
    Profile("a2w.get.seq", _of_asgi_request, way=True),
    Profile("a2w.get.16", _of_asgi_request),
    Profile("bridge.s2a.100", _of_sync_call, main=_LOOP),
    Profile("bridge.a2s.plain", _of_async_call_on_kept_loop, main="the calling thread"),
    Profile("bridge.a2s.nested", _of_async_call_below, main=_LOOP),
]
