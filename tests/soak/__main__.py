"""``python -m tests.soak --minutes 60 [--seed N] [--rate N] [--json FILE]``: see `tests.soak`."""

import argparse
import json
import signal
import sys
import time
from array import array
from collections import Counter
from pathlib import Path
from typing import Any

from tests.soak.faults import FAULTS
from tests.soak.run import Plan, Report, run
from tests.soak.sites import KINDS

_SHOWN = 20
_AT_REST = {
    "memory KiB": "rss_anon_kib",
    "of it in use by malloc": "malloc_kib",
    "objects": "objects",
    "threads": "all threads",
    "files": "files",
    "tasks": "tasks",
}


def _latencies(by_kind: "dict[str, array[float]]") -> dict[str, dict[str, float]]:
    found = {}
    for kind, seconds in by_kind.items():
        ordered = sorted(seconds)
        last = len(ordered) - 1
        found[kind] = {
            "answers": len(ordered),
            **{
                name: ordered[int(last * part)]
                for name, part in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999))
            },
            "max": ordered[-1],
        }
    return found


def _figures(report: Report, plan: Plan) -> dict[str, Any]:
    totals = report.totals
    outcomes: Counter[str] = sum(totals.outcomes.values(), Counter())
    injected: Counter[str] = sum(report.injected.values(), Counter())
    survived: Counter[str] = sum(report.survived.values(), Counter())
    return {
        "minutes": report.seconds / 60,
        "seed": plan.seed,
        "rate": plan.rate,
        "requests": totals.requests,
        "requests per second under load": totals.requests / report.load_seconds,
        "held back": report.held_back,
        "longest pause of the client": report.longest_pause,
        "outcomes": dict(outcomes),
        "kinds": {kind: dict(counter) for kind, counter in totals.outcomes.items()},
        "excused": dict(totals.excused),
        "seconds": _latencies(totals.seconds),
        "seconds without a fault": _latencies(totals.quiet_seconds),
        "faults": injected.total(),
        "faults injected": dict(injected),
        "faults survived": dict(survived),
        "faults by site": {name: dict(counter) for name, counter in report.survived.items()},
        "journals": report.journals,
        "rests": report.rests,
        "wrong": totals.wrong,
    }


def _text(figures: dict[str, Any]) -> str:
    lines = [
        f"{figures['requests']} requests in {figures['minutes']:.1f} minutes, "
        f"{figures['requests per second under load']:.0f} a second under load; "
        f"{figures['faults']} faults; wrong: {len(figures['wrong'])}",
        f"outcomes: {figures['outcomes']}",
        f"not sent, since too many were under way: {figures['held back']}; "
        f"the client itself stood still for {figures['longest pause of the client']:.1f} s at most",
        "",
        "| requests | answers | p50 ms | p99 ms | p99.9 ms | max ms | amid faults: p99.9 | max | outcomes |",
        "|" + " --- |" * 9,
    ]
    for kind, outcomes in figures["kinds"].items():
        times = [""] * 7
        quiet, every = (figures[name].get(kind) for name in ("seconds without a fault", "seconds"))
        if every:
            times[0] = str(every["answers"])
            times[5:] = [f"{every[name] * 1000:.1f}" for name in ("p99.9", "max")]
        if quiet:
            times[1:5] = [f"{quiet[name] * 1000:.1f}" for name in ("p50", "p99", "p99.9", "max")]
        what = ", ".join(f"{outcome} {count}" for outcome, count in outcomes.items())
        lines.append(f"| {kind} | {' | '.join(times)} | {what} |")
    lines += ["", "| fault | injected | survived | what it has cost |", "|" + " --- |" * 4]
    for fault, count in figures["faults injected"].items():
        cost = [
            f"{what.removeprefix(fault + ': ')} {number}"
            for what, number in figures["excused"].items()
            if what.startswith(fault + ": ")
        ]
        survived = figures["faults survived"].get(fault, 0)
        lines.append(f"| {fault} | {count} | {survived} | {', '.join(cost) or 'nothing'} |")
    lines += ["", f"| at rest | site, worker | {' | '.join(_AT_REST)} |", "|" + " --- |" * 8]
    for rest in figures["rests"]:
        for name, workers in rest["sites"].items():
            for pid, found in workers.items():
                row = [str(found[what]) for what in _AT_REST.values()]
                lines.append(f"| {rest['name']} | {name}, {pid} | {' | '.join(row)} |")
    lines += ["", *(f"{name}: {found}" for name, found in figures["journals"].items())]
    lines += [f"WRONG: {text}" for text in figures["wrong"][:_SHOWN]]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--rate", type=float, default=600.0, help="requests a second, if the machine holds it"
    )
    parser.add_argument("--gap", type=float, default=4.0, help="seconds between two faults at one site")
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=list(FAULTS))
    parser.add_argument(
        "--calm",
        type=float,
        default=Plan.calm,
        help="the part of the time at the end in which no worker is replaced",
    )
    parser.add_argument("--sites", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    plan = Plan(
        options.minutes * 60, options.seed, options.rate, options.gap, options.faults, calm=options.calm
    )
    # Told to end, it too has its servers end and removes what it has mounted.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    begin = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - begin:7.1f} s  {text}", file=sys.stderr, flush=True)

    report = run(options.sites, plan, say)
    figures = _figures(report, plan)
    print(_text(figures))
    for stacks in report.totals.stacks:
        print(stacks)
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=1))
    return int(bool(report.wrong))


if __name__ == "__main__":
    sys.exit(main())
