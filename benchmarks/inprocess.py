"""Requests in one process: the adapter and the application, and nothing of a server."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks import apps

SCOPE = {
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
    app: Any
    unit: str
    count: int  # requests a round
    at_a_time: int
    body: tuple[bytes, ...] = ()
    answer: int | bytes = b"hello"  # its bytes, or how many
    without: frozenset[str] = frozenset()  # adapters that cannot do it

    def value(self, seconds: float) -> float:
        if self.unit == "MB/s":
            return self.count * 32 / seconds  # mebibytes
        return seconds / self.count * 1e6 if self.unit == "us" else seconds * 1e3


LIMIT = frozenset({"limit"})
WORKLOADS = [
    Workload("hello, one at a time", apps.hello, "us", 600, 1),
    Workload("hello, 64 at a time", apps.hello, "us", 3200, 64),
    Workload("Flask, 64 at a time", apps.flask_app, "us", 1600, 64),
    Workload("POST 64 KiB, 16 at a time", apps.posted, "us", 800, 16, (apps.CHUNK,), b"65536", LIMIT),
    Workload("32 MiB down", apps.download, "MB/s", 1, 1, (), 32 << 20, LIMIT),
    Workload("32 MiB up", apps.upload, "MB/s", 1, 1, (apps.CHUNK,) * 512, b"33554432", LIMIT),
    Workload("200 times 20 ms of sleep", apps.sleeps, "ms", 200, 200, (), b"hello", LIMIT),
]


async def one(app: Any, work: Workload) -> None:
    scope: dict[str, Any] = dict(SCOPE)
    if work.body:
        length = str(sum(map(len, work.body))).encode()
        scope["method"] = "POST"
        scope["headers"] = [*SCOPE["headers"], (b"content-length", length)]  # type: ignore[misc]
    events = iter(_events(work.body))
    status = size = 0
    whole = b""
    complete = False

    async def receive() -> dict[str, Any]:
        for event in events:
            return event
        await asyncio.Event().wait()
        raise AssertionError

    async def send(event: dict[str, Any]) -> None:
        nonlocal status, size, whole, complete
        if event["type"] == "http.response.start":
            status = event["status"]
        else:
            body = event.get("body", b"")
            size += len(body)
            if size < 100:
                whole += body
            complete = not event.get("more_body", False)

    await app(scope, receive, send)
    assert status == 200
    assert complete
    assert work.answer == (size if isinstance(work.answer, int) else whole)


def _events(body: tuple[bytes, ...]) -> Iterator[dict[str, Any]]:
    if not body:
        yield {"type": "http.request", "body": b"", "more_body": False}
    for index, chunk in enumerate(body):
        yield {"type": "http.request", "body": chunk, "more_body": index + 1 < len(body)}


async def round_of(app: Any, work: Workload) -> float:
    loop = asyncio.get_running_loop()

    async def client(count: int) -> None:
        for _ in range(count):
            await loop.create_task(one(app, work))

    clients = [client(work.count // work.at_a_time) for _ in range(work.at_a_time)]
    start = time.perf_counter()
    await asyncio.gather(*clients)
    return work.value(time.perf_counter() - start)


async def measure(
    work: Workload, rounds: int, adapters: dict[str, Callable[[Any], Any]]
) -> dict[str, list[float]]:
    """The value of each adapter in each round; they take turns within a round."""
    wrapped = {name: make(work.app) for name, make in adapters.items() if name not in work.without}
    values: dict[str, list[float]] = {name: [] for name in wrapped}
    for number in range(rounds + 1):
        for name, app in wrapped.items():
            value = await round_of(app, work)
            if number:  # the first round warms up
                values[name].append(value)
    return values
