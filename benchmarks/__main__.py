"""Prints a table for each workload: every adapter's median, and its ratio to asgiadapt round by round."""

import argparse
import asyncio
import importlib.metadata
import os
import platform
import shutil
import statistics

from benchmarks import apps, inprocess, servers

# What is to be reached: workload, whom to compare with, whether more is better, the ratio.
TARGETS = [
    ("hello, 64 at a time", "a2wsgi", 5.0),
    ("Flask, 64 at a time", "a2wsgi", 2.8),
    ("32 MiB down", "a2wsgi", 6.0),
    ("32 MiB up", "asgiref", 1.3),
    ("behind uvicorn: Flask hello", "a2wsgi", 2.0),
    ("behind uvicorn: Flask hello", "gunicorn gthread", 1.5),
]
AT_MOST_THE_LIMIT = ("hello, 64 at a time", 1.8)


def times_better(values: dict[str, list[float]], peer: str, unit: str) -> list[float]:
    """How many times asgiadapt does better than *peer*, in each round."""
    more_is_better = unit in ("MB/s", "req/s")
    pairs = zip(values["asgiadapt"], values[peer], strict=True)
    return [ours / theirs if more_is_better else theirs / ours for ours, theirs in pairs]


def show(title: str, unit: str, values: dict[str, list[float]]) -> None:
    print(f"\n{title} ({unit})")
    for name, rounds in values.items():
        ratios = times_better(values, name, unit)
        ratio = statistics.median(ratios)
        note = "" if name == "asgiadapt" else f"   asgiadapt is {ratio:5.2f} times as good"
        spread = "" if name == "asgiadapt" else f"  ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"  {name:17}{statistics.median(rounds):10.1f}{note}{spread}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each workload (7)")
    parser.add_argument("--quick", action="store_true", help="few rounds, no servers")
    parser.add_argument("--no-servers", action="store_true", help="in one process only")
    parser.add_argument("--only", metavar="TEXT", help="workloads with this text in their name")
    options = parser.parse_args()
    rounds = 3 if options.quick else options.rounds

    results: dict[str, tuple[str, dict[str, list[float]]]] = {}
    for work in inprocess.WORKLOADS:
        if options.only and options.only not in work.name:
            continue
        values = asyncio.run(inprocess.measure(work, rounds, apps.adapters()))
        results[work.name] = (work.unit, values)
        show(work.name, work.unit, values)

    if shutil.which("wrk") is None:
        print("\nThe part behind real servers is left out: wrk is not installed.")
    elif not (options.quick or options.no_servers):
        for page in servers.PAGES:
            title = f"behind uvicorn: {page}"
            if options.only and options.only not in title:
                continue
            values = servers.measure(page, max(3, rounds // 2), 2)
            results[title] = ("req/s", values)
            show(title, "req/s", values)

    print("\nTargets")
    for title, peer, wanted in TARGETS:
        if title in results:
            unit, values = results[title]
            report(f"{title}: {wanted} times {peer}", times_better(values, peer, unit), wanted)
    title, most = AT_MOST_THE_LIMIT
    if title in results:
        _, values = results[title]
        pairs = zip(values["asgiadapt"], values["limit"], strict=True)
        ratio = statistics.median(ours / limit for ours, limit in pairs)
        reached = "reached" if ratio <= most else "NOT reached"
        print(f"  {title}: at most {most} times the limit: {ratio:.2f}, {reached}")

    names = ["asgiref", "a2wsgi", "starlette", "flask", "uvicorn", "gunicorn", "waitress", "granian"]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    print(f"\n{os.cpu_count()} cores, Python {platform.python_version()}, {versions}")


def report(text: str, ratios: list[float], wanted: float) -> None:
    ratio = statistics.median(ratios)
    print(f"  {text}: {ratio:.2f}, {'reached' if ratio >= wanted else 'NOT reached'}")


if __name__ == "__main__":
    main()
