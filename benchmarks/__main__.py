"""Compares asgiadapt with its peers and prints a table for each workload.

All contenders take turns within each round, so that a machine that is faster at one time than at another
changes the figures and not the ratios. A ratio is the median over the ratios of the rounds.
"""

import argparse
import importlib.metadata
import os
import platform
import shutil
import statistics
from dataclasses import dataclass

from benchmarks import bridges, inprocess, reverse, servers
from benchmarks.results import OURS, Result

FASTEST = "whichever peer is fastest"


@dataclass(frozen=True)
class Target:
    text: str
    workload: str
    peer: str  # or FASTEST
    at_least: float | None = None  # how many times better than the peer
    at_most: float | None = None  # how many times the peer's cost

    def verdict(self, result: Result) -> str:
        peers = [self.peer] if self.peer != FASTEST else result.values.keys() - {OURS, "limit"}
        ratio = min(statistics.median(result.times_better(peer)) for peer in peers)
        if self.at_most is not None:
            ratio, reached = 1 / ratio, 1 / ratio <= self.at_most
        else:
            assert self.at_least is not None
            reached = ratio >= self.at_least
        return f"{'reached' if reached else 'NOT reached':12}{ratio:6.2f}   {self.text}"


TARGETS = [
    Target("5 times a2wsgi at 64 at a time", "w2a.get.64", "a2wsgi", at_least=5),
    Target("2.8 times a2wsgi with Flask", "w2a.flask.64", "a2wsgi", at_least=2.8),
    Target("6 times a2wsgi's download rate", "w2a.down.32m", "a2wsgi", at_least=6),
    Target("1.3 times asgiref's upload rate", "w2a.up.32m", "asgiref", at_least=1.3),
    Target("at most 1.8 times the limit's cost at 64 at a time", "w2a.get.64", "limit", at_most=1.8),
    Target("behind uvicorn, 2 times a2wsgi with Flask hello", "server.flask", "a2wsgi", at_least=2),
    Target(
        "behind uvicorn, 1.5 times gunicorn gthread with Flask hello",
        "server.flask",
        "gunicorn gthread",
        at_least=1.5,
    ),
    Target("an ASGI application: 5 times a2wsgi one at a time", "a2w.get.seq", "a2wsgi", at_least=5),
    Target("an ASGI application: 4 times a2wsgi from 16 threads", "a2w.get.16", "a2wsgi", at_least=4),
    Target("an ASGI application: 4 times a2wsgi's download rate", "a2w.down.32m", "a2wsgi", at_least=4),
    Target("an ASGI application: 3 times a2wsgi's upload rate", "a2w.up.32m", "a2wsgi", at_least=3),
    Target("sync_to_async 2 times the fastest peer at 100 at a time", "bridge.s2a.100", FASTEST, at_least=2),
    Target(
        "sensitive sync_to_async 4 times asgiref at 100 at a time",
        "bridge.s2a.sensitive.100",
        "asgiref",
        at_least=4,
    ),
    Target("async_to_sync 5 times asyncio.run", "bridge.a2s.plain", "asyncio.run", at_least=5),
    Target("async_to_sync 25 times asgiref", "bridge.a2s.plain", "asgiref", at_least=25),
    Target("async_to_sync below a loop 1.8 times asgiref", "bridge.a2s.nested", "asgiref", at_least=1.8),
    Target("there and back to the main thread 1.3 times asgiref", "bridge.sandwich", "asgiref", at_least=1.3),
]
PACKAGES = ("asgiref", "a2wsgi", "anyio", "starlette", "flask", "uvicorn", "uvloop", "httptools")
SERVERS = ("django", "gunicorn", "waitress", "granian")


def main() -> None:
    here = [(module, work) for module in (inprocess, reverse, bridges) for work in module.WORKLOADS]
    names = [work.name for _, work in here] + list(servers.PAGES)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="3 short rounds, no servers")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of each workload; 7 by default")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="workloads with this in their names:\n" + "\n".join(names)
    )
    parser.add_argument(
        "--servers", action=argparse.BooleanOptionalAction, help="with or without real servers and wrk"
    )
    options = parser.parse_args()
    rounds = options.rounds or (3 if options.quick else 7)
    wanted = [name for name in names if any(part in name for part in options.only or [""])]
    if not wanted:
        parser.error(f"no workload is called {' or '.join(options.only)}; there are {', '.join(names)}")
    with_servers = options.servers if options.servers is not None else not options.quick

    results: dict[str, Result] = {}
    slice_seconds = 0.1 if options.quick else 0.4
    for module, work in here:
        if work.name in wanted:
            results[work.name] = module.measure(work, rounds, slice_seconds)
            results[work.name].show()
    if with_servers:
        for page in [page for page in servers.PAGES if page in wanted]:
            if shutil.which("wrk") is None:
                print(f"\n{page}: left out, since wrk is not installed")
                continue
            results[page] = servers.measure(page, rounds, seconds=1)
            results[page].show()

    print("\nTargets")
    for target in TARGETS:
        if target.workload in results:
            print(f"  {target.verdict(results[target.workload])}")
        else:
            print(f"  {'not measured':18}   {target.text}")
    print(f"\n{os.cpu_count()} cores, {platform.python_implementation()} {platform.python_version()}")
    print(", ".join(f"{name} {_version(name)}" for name in PACKAGES + SERVERS))


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    main()
