"""Latency under overload: requests come at a given rate, whether or not the ones before have been answered.

The application sleeps, so a worker serves 100 requests a second at most. The load is the rate of the requests
over the rate that the contender's workers can serve; asgiref has one worker. Requests come at random times
(exponential gaps, the same for all contenders), each as a task of its own. The latency of a request counts
from the time at which it was to come; refused ones are counted apart.
"""

import asyncio
import contextlib
import gc
import math
import random
import time
from collections.abc import Iterator
from typing import Any

import asgiadapt
from benchmarks import apps, inprocess
from benchmarks.report.effort import Effort
from benchmarks.report.page import FEW_WAIT

NAP = 0.01
WORKERS = 10
LOADS = (0.5, 0.8, 1.1, 1.5, 2.0, 3.0)
SEED = 7


def naps(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    time.sleep(NAP)
    return apps.hello(environ, start_response)


@contextlib.contextmanager
def _contenders() -> Iterator[dict[str, tuple[Any, int]]]:
    """Each with its number of workers."""
    from a2wsgi import WSGIMiddleware
    from asgiref.wsgi import WsgiToAsgi as Asgiref

    ours = asgiadapt.WsgiToAsgi(naps, max_workers=WORKERS)
    few_wait = asgiadapt.WsgiToAsgi(naps, max_workers=WORKERS, max_waiting=50)
    theirs = WSGIMiddleware(naps, workers=WORKERS)
    yield {
        "asgiadapt": (ours, WORKERS),
        FEW_WAIT: (few_wait, WORKERS),
        "a2wsgi": (theirs, WORKERS),
        "asgiref": (Asgiref(naps), 1),
    }
    ours.pool.close()
    few_wait.pool.close()
    theirs.executor.shutdown()


def measure(effort: Effort) -> dict[str, Any]:
    """For each contender, load and round: p50, p99 and the longest in seconds, and the share refused."""
    loads = list(LOADS[: effort.points])
    with _contenders() as contenders, asyncio.Runner() as runner:
        values: dict[str, list[list[list[float]]]] = {name: [[] for _ in loads] for name in contenders}
        for app, workers in contenders.values():
            runner.run(_run(app, [0.0] * workers))  # threads are started
        for number in range(effort.curve_rounds):
            for index, load in enumerate(loads):
                for name, (app, workers) in list(contenders.items())[:: -1 if number % 2 else 1]:
                    times = _times(load * workers / NAP, effort.overload_seconds, SEED + number)
                    gc.collect()
                    values[name][index].append(_summary(*runner.run(_run(app, times))))
    return {"points": loads, "values": values, "seconds": effort.overload_seconds, "nap": NAP}


def _times(rate: float, seconds: float, seed: int) -> list[float]:
    """When the requests come."""
    gaps, times, now = random.Random(seed), [], 0.0
    while now < seconds:
        times.append(now)
        now += gaps.expovariate(rate)
    return times


async def _run(app: Any, times: list[float]) -> tuple[list[float], int]:
    """The latencies of the answers, and how many requests were refused."""
    latencies: list[float] = []
    refused = 0

    async def request(due: float) -> None:
        nonlocal refused
        status = 0

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(event: dict[str, Any]) -> None:
            nonlocal status
            status = event.get("status", status)

        await app(dict(inprocess.SCOPE), receive, send)
        if status == 200:
            latencies.append(time.perf_counter() - due)
        else:
            assert status == 503
            refused += 1

    started = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for due in times:
            await asyncio.sleep(max(0.0, started + due - time.perf_counter()))
            tasks.create_task(request(started + due))
    return latencies, refused


def _summary(latencies: list[float], refused: int) -> list[float]:
    latencies.sort()
    marks = [latencies[math.ceil(share * len(latencies)) - 1] for share in (0.5, 0.99, 1)]
    return [*marks, refused / (len(latencies) + refused)]
