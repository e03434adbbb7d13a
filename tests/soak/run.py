"""The client of the soak run: many requests, a tenth of them cut off, and what must hold afterwards."""

import asyncio
import hashlib
import json
import random
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.processes import Program, free_port, program
from tests.soak.site import CHUNK

LOOPS = {
    "asyncio and h11": ("--loop", "asyncio", "--http", "h11"),
    "uvloop and httptools": ("--loop", "uvloop", "--http", "httptools"),
}
AT_A_TIME = 32
CUTS = ["headers", "upload", "wait", "download"]


def server(loop: str) -> Any:
    port = free_port()
    command = ("-m", "uvicorn", *LOOPS[loop], "--port", str(port), "--log-level", "warning")
    return program(*command, "--no-access-log", "tests.soak.site:app", port=port)


def stats(running: Program) -> dict[str, Any]:
    with urllib.request.urlopen(f"{running.url}/stats", timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


@dataclass
class Outcome:
    """What came of the requests; ``wrong`` is empty when all is well."""

    # Beside uploads and streams: pages, each with its answer.
    pages: dict[str, bytes] = field(default_factory=lambda: {"hello": b"hello", "wait": b"waited"})
    answers: Counter[str] = field(default_factory=Counter)
    cut: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CUTS, 0))
    wrong: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def whole(self) -> int:
        """How many answers came to their end."""
        return self.answers.total()


async def answer_of(reader: asyncio.StreamReader) -> bytes:
    """The body of a chunked answer, to its very end."""
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        assert await reader.readline() == b"\r\n"
    assert await reader.readline() == b"\r\n"
    return body


def request_for(page: str, length: int = 0) -> bytes:
    method = "POST" if length else "GET"
    return f"{method} {page} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode()


async def whole_request(port: int, chance: random.Random, outcome: Outcome) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for _ in range(chance.randrange(1, 4)):  # the connection is kept alive
            kind = chance.choice(["upload", "stream", *outcome.pages])
            if kind == "upload":
                body = chance.randbytes(chance.choice([10, 5_000, 100_000, 300_000]))
                writer.write(request_for("/upload", len(body)) + body)
                expected = f"{len(body)} {hashlib.sha256(body).hexdigest()}".encode()
            elif kind == "stream":
                length = chance.randrange(1, 12)
                writer.write(request_for(f"/stream?{length}"))
                expected = CHUNK * length
            else:
                writer.write(request_for(f"/{kind}"))
                expected = outcome.pages[kind]
            if await asyncio.wait_for(answer_of(reader), 60) != expected:
                outcome.wrong.append(f"a wrong answer to {kind}")
            outcome.answers[kind] += 1
    finally:
        writer.close()


async def cut_request(port: int, chance: random.Random, outcome: Outcome) -> None:
    where = chance.choice(CUTS)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    if where == "headers":
        request = request_for("/hello")
        writer.write(request[: chance.randrange(1, len(request) - 1)])
    elif where == "upload":
        writer.write(request_for("/upload", 500_000) + b"x" * chance.randrange(0, 400_000))
    elif where == "wait":
        writer.write(request_for("/wait"))
    else:
        writer.write(request_for("/stream?500"))
        await reader.read(chance.randrange(1, 200_000))
    if chance.random() < 0.5:
        await writer.drain()
    if chance.random() < 0.3:
        # A client that ends in good order, in the midst of it: the server reads an early end, and no error.
        writer.close()
    else:
        # Without waiting for what was written to be sent: the cut falls anywhere.
        writer.transport.abort()
    outcome.cut[where] += 1


async def load(port: int, count: int, seed: int, outcome: Outcome) -> None:
    chance = random.Random(seed)
    numbers = iter(range(count))

    async def client() -> None:
        for number in numbers:
            if number % 10 == 0:
                await cut_request(port, chance, outcome)
            else:
                await whole_request(port, chance, outcome)

    await asyncio.gather(*[client() for _ in range(AT_A_TIME)])


def settled(running: Program, tasks: int, files: int) -> dict[str, Any]:
    """The figures once nothing is under way any more, or after a while."""
    deadline = time.monotonic() + 60
    while True:
        found = stats(running)
        at_rest = found["busy"] == found["waiting"] == 0 and found["opened"] == found["closed"]
        if at_rest and found["tasks"] <= tasks and found["files"] <= files:
            return found
        if time.monotonic() > deadline:
            return found
        time.sleep(0.05)  # polls another process, which cannot tell us


def soak(loop: str, count: int, seed: int = 1) -> Outcome:
    """Send *count* requests, a tenth of them cut off, in two halves to compare the memory after each."""
    outcome = Outcome()
    with server(loop) as running:
        asyncio.run(load(running.port, 200, seed, outcome))  # warms up
        before = settled(running, tasks=10, files=30)
        tasks, files = before["tasks"], before["files"]
        asyncio.run(load(running.port, count // 2, seed + 1, outcome))
        half = settled(running, tasks, files)
        asyncio.run(load(running.port, count - count // 2, seed + 2, outcome))
        end = settled(running, tasks, files)
        outcome.figures = {"before": before, "half": half, "end": end}
        for what in ("busy", "waiting", "closed_twice"):
            if end[what]:
                outcome.wrong.append(f"{what} is {end[what]}")
        if end["opened"] != end["closed"]:
            outcome.wrong.append(f"{end['opened']} iterables, {end['closed']} closed")
        for what, limit in (("tasks", tasks), ("files", files)):
            if end[what] > limit:
                outcome.wrong.append(f"{end[what]} {what}, {limit} at the beginning")
        if end["rss_kib"] - half["rss_kib"] > 16 * 1024:
            outcome.wrong.append(f"memory grew from {half['rss_kib']} to {end['rss_kib']} KiB")
        try:
            running.check_output()
        except AssertionError as error:
            outcome.wrong.append(str(error))
    return outcome


async def big_upload(port: int, mebibytes: int) -> float:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    piece = bytes(1 << 20)
    digest = hashlib.sha256()
    start = time.perf_counter()
    writer.write(request_for("/upload", mebibytes << 20))
    for _ in range(mebibytes):
        digest.update(piece)
        writer.write(piece)
        await writer.drain()
    expected = f"{mebibytes << 20} {digest.hexdigest()}".encode()
    assert await answer_of(reader) == expected
    writer.close()
    return mebibytes / (time.perf_counter() - start)


async def big_download(port: int, mebibytes: int) -> float:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    start = time.perf_counter()
    writer.write(request_for(f"/stream?{mebibytes * 16}"))
    await reader.readuntil(b"\r\n\r\n")
    left = mebibytes << 20
    while size := int(await reader.readline(), 16):
        while size:
            got = len(await reader.read(min(size, 1 << 20)))
            assert got
            size -= got
            left -= got
        assert await reader.readline() == b"\r\n"
    assert left == 0
    writer.close()
    return mebibytes / (time.perf_counter() - start)


def big(loop: str, mebibytes: int) -> dict[str, Any]:
    """Send and fetch a body of *mebibytes*; how much the server's memory grew, and how fast it went."""
    with server(loop) as running:
        asyncio.run(big_upload(running.port, 1))
        before = stats(running)["rss_kib"]
        up = asyncio.run(big_upload(running.port, mebibytes))
        down = asyncio.run(big_download(running.port, mebibytes))
        growth = (stats(running)["peak_kib"] - before) / 1024
    return {"growth_mib": growth, "up_mib_s": up, "down_mib_s": down}
