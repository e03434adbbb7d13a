"""A gibibyte up and a gibibyte down, on each server: ``python -m tests.soak.big [MEBIBYTES]``."""

import argparse
import asyncio
import sys
import tempfile
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

from tests.soak import pages
from tests.soak.client import connect, read_answer
from tests.soak.sites import KINDS, Site, site

GROWTH_MIB = 64
_MIB = 1 << 20


@dataclass
class Outcome:
    up_mib_s: float
    down_mib_s: float
    growth_mib: float  # of the worker that grew the most, at its peak


def _memory_kib(pid: int, what: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(dict(line.split(":", 1) for line in lines)[what].split()[0])


def _forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


async def _upload(port: int, number: int, mebibytes: int) -> float:
    connection = await connect(port)
    piece = bytes(pages.body_of(number, _MIB))
    checksum = 0
    begin = time.perf_counter()
    head = f"POST /upload?{number} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {mebibytes * _MIB}\r\n\r\n"
    connection.writer.write(head.encode())
    for _ in range(mebibytes):
        checksum = zlib.crc32(piece, checksum)
        connection.writer.write(piece)
        await connection.writer.drain()
    answer = await read_answer(connection.reader, pages.receipt(number, mebibytes * _MIB, checksum))
    assert answer.status == 200
    connection.writer.close()
    return mebibytes / (time.perf_counter() - begin)


async def _download(port: int, number: int, mebibytes: int) -> float:
    connection = await connect(port)
    begin = time.perf_counter()
    connection.writer.write(f"GET /flood?{number},{mebibytes} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    answer = await read_answer(connection.reader, pages.Flood(mebibytes))
    assert answer.status == 200
    connection.writer.close()
    return mebibytes / (time.perf_counter() - begin)


async def _both(at: Site, mebibytes: int) -> Outcome:
    assert await at.wait_for_workers(set())
    for number in range(1, 9):  # so that each worker has had some
        await _upload(at.port, number, 1)
    workers = at.workers()
    before = {pid: _memory_kib(pid, "VmRSS") for pid in workers}
    for pid in workers:
        _forget_peak(pid)
    up = await _upload(at.port, 9, mebibytes)
    down = await _download(at.port, 10, mebibytes)
    growth = max(_memory_kib(pid, "VmHWM") - before[pid] for pid in workers)
    return Outcome(up, down, growth / 1024)


def big(name: str, mebibytes: int) -> Outcome:
    """Send and fetch a body of *mebibytes*; how much a worker's memory grew, and how fast it went."""
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, site(name, Path(folder)) as at:
        return asyncio.run(_both(at, mebibytes))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.big")
    parser.add_argument("mebibytes", type=int, nargs="?", default=1024)
    options = parser.parse_args()
    failed = False
    for name, kind in KINDS.items():
        found = big(name, options.mebibytes)
        failed |= found.growth_mib >= GROWTH_MIB
        print(f"{kind.gateway} on {name}: {options.mebibytes} MiB up at {found.up_mib_s:.0f} MiB/s,", end=" ")
        print(f"down at {found.down_mib_s:.0f} MiB/s, memory grew by {found.growth_mib:.1f} MiB at its peak")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
