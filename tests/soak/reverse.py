"""`AsgiToWsgi` on gunicorn: ``python -m tests.soak.reverse [REQUESTS]``, or ``--big`` for 1 GiB each way.

Many requests, a tenth of them cut off at points of chance, and what must hold afterwards.
"""

import argparse
import asyncio
import sys
import time
from contextlib import AbstractContextManager
from typing import Any

from tests.processes import Program, free_port, program
from tests.soak.run import Outcome, big_download, big_upload, load, stats

THREADS = 8
# After "background" the application goes on.
PAGES = {"hello": b"hello", "wait": b"waited", "background": b"begun"}
GROWTH_MIB = 64


def server() -> AbstractContextManager[Program]:
    port = free_port()
    command = ("-m", "gunicorn", "-k", "gthread", "--threads", str(THREADS), "-b", f"127.0.0.1:{port}")
    # The threads of a worker die with it, and one that is reading from a client is not waited for.
    return program(*command, "--graceful-timeout", "1", "tests.soak.reverse_site:app", port=port)


def settled(running: Program, limits: dict[str, int]) -> dict[str, Any]:
    """The figures once nothing is under way any more, or after a while."""
    deadline = time.monotonic() + 60
    while True:
        found = stats(running)
        at_rest = found["entered"] == found["left"]
        if at_rest and all(found[what] <= limit for what, limit in limits.items()):
            return found
        if time.monotonic() > deadline:
            return found
        time.sleep(0.05)  # polls another process, which cannot tell us


def soak(count: int, seed: int = 1) -> Outcome:
    """Send *count* requests, a tenth of them cut off, in two halves to compare the memory after each."""
    outcome = Outcome(PAGES)
    with server() as running:
        idle = stats(running)
        limits = {"tasks": idle["tasks"], "files": idle["files"]}
        asyncio.run(load(running.port, 200, seed, outcome))  # warms up, and starts all of gunicorn's threads
        limits["threads"] = settled(running, limits)["threads"]
        asyncio.run(load(running.port, count // 2, seed + 1, outcome))
        half = settled(running, limits)
        asyncio.run(load(running.port, count - count // 2, seed + 2, outcome))
        end = settled(running, limits)
        outcome.figures = {"idle": idle, "half": half, "end": end}
        if end["entered"] != end["left"]:
            outcome.wrong.append(f"the application was entered {end['entered']} times, left {end['left']}")
        if end["background"] != outcome.answers["background"]:
            outcome.wrong.append(
                f"of {outcome.answers['background']} background tasks {end['background']} were done"
            )
        for what, limit in limits.items():
            if end[what] > limit:
                outcome.wrong.append(f"{end[what]} {what}, {limit} when idle")
        if end["rss_kib"] - half["rss_kib"] > 16 * 1024:
            outcome.wrong.append(f"memory grew from {half['rss_kib']} to {end['rss_kib']} KiB")
        try:
            running.check_output()
        except AssertionError as error:
            outcome.wrong.append(str(error))
    return outcome


def big(mebibytes: int) -> dict[str, Any]:
    """Send and fetch a body of *mebibytes*; how much the server's memory grew, and how fast it went."""
    with server() as running:
        asyncio.run(big_upload(running.port, 1))
        before = stats(running)["rss_kib"]
        up = asyncio.run(big_upload(running.port, mebibytes))
        down = asyncio.run(big_download(running.port, mebibytes))
        growth = (stats(running)["peak_kib"] - before) / 1024
    return {"growth_mib": growth, "up_mib_s": up, "down_mib_s": down}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.reverse")
    parser.add_argument("requests", type=int, nargs="?", default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--big", action="store_true", help="1 GiB up and 1 GiB down instead")
    options = parser.parse_args()
    if options.big:
        found = big(1024)
        print(f"gunicorn gthread: 1 GiB up at {found['up_mib_s']:.0f} MiB/s,", end=" ")
        print(f"1 GiB down at {found['down_mib_s']:.0f} MiB/s,", end=" ")
        print(f"memory grew by {found['growth_mib']:.1f} MiB at its peak")
        return int(found["growth_mib"] >= GROWTH_MIB)
    outcome = soak(options.requests, options.seed)
    half, end = outcome.figures["half"], outcome.figures["end"]
    print(f"gunicorn gthread: {outcome.whole} whole answers, cut off: {outcome.cut}")
    print(f"  the application was entered {end['entered']} times, left {end['left']};", end=" ")
    print(f"told of {end['disconnects']} cut uploads, refused {end['refused_sends']} times to send on")
    print(f"  tasks {end['tasks']}, files {end['files']}, threads {end['threads']}")
    print(f"  memory after the first half {half['rss_kib']} KiB, at the end {end['rss_kib']} KiB")
    for text in outcome.wrong:
        print(f"  WRONG: {text}")
    return int(bool(outcome.wrong))


if __name__ == "__main__":
    sys.exit(main())
