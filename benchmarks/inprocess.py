"""Requests in one process: the adapter and the application, and nothing of a server."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks import apps
from benchmarks.results import Result

# As uvicorn makes it of a page view in a browser.
SCOPE: dict[str, Any] = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.3"},
    "http_version": "1.1",
    "method": "GET",
    "scheme": "http",
    "path": "/",
    "raw_path": b"/",
    "query_string": b"",
    "root_path": "",
    "headers": [
        (b"host", b"localhost:8000"),
        (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        (b"accept-language", b"en-US,en;q=0.5"),
        (b"accept-encoding", b"gzip, deflate, br"),
        (b"connection", b"keep-alive"),
        (b"cookie", b"session=0123456789abcdef"),
        (b"cache-control", b"no-cache"),
    ],
    "client": ("127.0.0.1", 51234),
    "server": ("127.0.0.1", 8000),
}


@dataclass(frozen=True)
class Workload:
    name: str
    title: str
    unit: str  # "us" a request, "MB/s", or "ms" for all
    app: Any
    at_a_time: int
    body: tuple[bytes, ...] = ()  # of the request, event by event
    answer: bytes | int = b"hello"  # the response's body, or only its length
    limit: bool = True  # whether the bare limit can do it
    count: int | None = None  # requests in a round; None for as many as fill the time
    query_string: bytes = b""

    def value(self, seconds: float, count: int) -> float:
        if self.unit == "MB/s":
            return count * apps.BIG / seconds / 1e6
        return seconds / count * 1e6 if self.unit == "us" else seconds * 1e3


BIG_BODY = (apps.CHUNK,) * (apps.BIG // len(apps.CHUNK))
WORKLOADS = [
    Workload("w2a.get.seq", "hello, one at a time", "us", apps.hello, 1),
    Workload("w2a.get.64", "hello, 64 at a time", "us", apps.hello, 64),
    Workload("w2a.flask.64", "Flask hello, 64 at a time", "us", apps.flask_app, 64),
    Workload("w2a.post64k.16", "64 KiB up, 16 at a time", "us", apps.posted, 16, (apps.CHUNK,), b"65536"),
    Workload("w2a.down.32m", "32 MiB down", "MB/s", apps.download, 1, (), apps.BIG, limit=False),
    Workload("w2a.up.32m", "32 MiB up", "MB/s", apps.upload, 1, BIG_BODY, b"%d" % apps.BIG, limit=False),
    # With as many threads as each contender has by default.
    Workload("w2a.sleep", "200 times 20 ms of sleep", "ms", apps.sleeps, 200, limit=False, count=200),
]


async def request(app: Any, work: Workload) -> None:
    """Make one request, and check its answer."""
    scope = {**SCOPE, "query_string": work.query_string}
    if work.body:
        length = str(sum(map(len, work.body))).encode()
        scope["method"] = "POST"
        scope["headers"] = [*SCOPE["headers"], (b"content-length", length)]
    events = _body_events(work.body)
    status = size = 0
    start_of_body = b""
    complete = False

    async def receive() -> dict[str, Any]:
        for event in events:
            return event
        await asyncio.Event().wait()  # the client stays
        raise AssertionError

    async def send(event: dict[str, Any]) -> None:
        nonlocal status, size, start_of_body, complete
        assert not complete
        if event["type"] == "http.response.start":
            assert not status
            status = event["status"]
        else:
            body = event.get("body", b"")
            size += len(body)
            if size < 100:
                start_of_body += body
            complete = not event.get("more_body", False)

    await app(scope, receive, send)
    assert status == 200
    assert complete
    assert work.answer == (size if isinstance(work.answer, int) else start_of_body)


def _body_events(body: tuple[bytes, ...]) -> Iterator[dict[str, Any]]:
    if not body:
        yield {"type": "http.request", "body": b"", "more_body": False}
    for number, chunk in enumerate(body, 1):
        yield {"type": "http.request", "body": chunk, "more_body": number < len(body)}


async def seconds_for(count: int, at_a_time: int, make: Callable[[], Awaitable[None]]) -> float:
    """How long *count* requests take, each a task of its own, as in a server."""
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    running: set[asyncio.Task[None]] = set()
    to_start = count

    def start_one() -> None:
        nonlocal to_start
        to_start -= 1
        task = asyncio.ensure_future(make())
        running.add(task)
        task.add_done_callback(ended)

    def ended(task: asyncio.Task[None]) -> None:
        running.remove(task)
        if over.done():
            return
        if (error := task.exception()) is not None:
            over.set_exception(error)
        elif to_start:
            start_one()
        elif not running:
            over.set_result(None)

    gc.collect()  # nobody pays for what the one before has left
    started = time.perf_counter()
    for _ in range(at_a_time):
        start_one()
    await over
    return time.perf_counter() - started


async def _measure(work: Workload, rounds: int, slice_seconds: float) -> dict[str, list[float]]:
    wrapped = {
        name: make(work.app) for name, make in apps.adapters().items() if work.limit or name != "limit"
    }

    async def seconds_of(name: str, count: int) -> float:
        return await seconds_for(count, work.at_a_time, lambda: request(wrapped[name], work))

    counts: dict[str, int] = {}
    for name in wrapped:
        if work.count is not None:
            counts[name] = work.count
            continue
        few = 4 * work.at_a_time
        await seconds_of(name, few)  # threads are started, caches filled
        each = await seconds_of(name, few) / few
        counts[name] = max(work.at_a_time, round(slice_seconds / each))

    values: dict[str, list[float]] = {name: [] for name in wrapped}
    for number in range(rounds):
        # They take turns within a round, and there and back from round to round.
        for name in list(wrapped)[:: -1 if number % 2 else 1]:
            values[name].append(work.value(await seconds_of(name, counts[name]), counts[name]))
    return values


def measure(work: Workload, rounds: int, slice_seconds: float) -> Result:
    """About *slice_seconds* for each adapter in each round."""
    values = asyncio.run(_measure(work, rounds, slice_seconds))
    return Result(work.name, work.title, work.unit, values)
