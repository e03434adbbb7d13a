"""Measures everything side by side, and writes docs/benchmarks.md, its plots and its data.json.

All is written again as each measurement ends: what was interrupted goes on with --resume. With --only, what
is measured takes the place of what is there; the rest is kept.
"""

import argparse
import datetime
import json
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import machine, workloads
from benchmarks.report import curve, memory, overload, page, profiles
from benchmarks.report.curves import CURVES
from benchmarks.report.effort import QUICK, TINY, WHOLE, Effort

DOCS = Path(__file__).parent.parent.parent / "docs"
DATA = f"{page.FOLDER}/data.json"
SECTIONS = ("workloads", "profiles", "curves", "overload")


def measurements(effort: Effort, *, servers_too: bool) -> dict[str, tuple[str, Callable[[], Any]]]:
    """For each name the section of the data, and what measures it: None where it cannot be measured here."""
    found: dict[str, tuple[str, Callable[[], Any]]] = {}
    for name in workloads.NAMES:
        found[name] = "workloads", partial(_workload, name, effort, servers_too=servers_too)
    for profile in profiles.PROFILES:
        found[f"profile.{profile.workload}"] = "profiles", partial(profiles.measure, profile, effort)
    for one in CURVES:
        found[one.name] = "curves", partial(_curve, curve.measure, one, effort)
    for kind in memory.KINDS:
        found[kind.name] = "curves", partial(_curve, memory.measure, kind, effort)
    found["overload"] = "overload", partial(overload.measure, effort)
    return found


def _workload(name: str, effort: Effort, *, servers_too: bool) -> dict[str, Any] | None:
    for result in workloads.measure([name], effort.rounds, effort.slice_seconds, servers_too=servers_too):
        return {key: value for key, value in asdict(result).items() if key != "name"}
    return None


def _curve(measure: Callable[[Any, Effort], curve.Measured], one: Any, effort: Effort) -> dict[str, Any]:
    return asdict(measure(one, effort))


def collect(
    names: list[str], effort: Effort, data: dict[str, Any], folder: Path, *, servers_too: bool
) -> list[str]:
    """Measure those of *names*, one after the other, into *data* and *folder*; gives those that fail."""
    all_of_it = measurements(effort, servers_too=servers_too)
    begun = time.monotonic()
    failed = []
    for name in names:
        section, measure = all_of_it[name]
        started, others = time.monotonic(), machine.Others()
        try:
            result = measure()
        except Exception:
            traceback.print_exc()
            failed.append(name)
            continue
        now = time.monotonic()
        print(f"{now - begun:6.0f} s  {name}{' is left out' if result is None else ''}", flush=True)
        if result is None:
            continue
        data[section][name] = result
        data["runs"][name] = {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "code": machine.code(),
            "effort": asdict(effort),
            "seconds": now - started,
            "others": others.share(),
        }
        for part in (*SECTIONS, "runs"):  # in the order of a whole run
            data[part] = {one: data[part][one] for one in all_of_it if one in data[part]}
        write(data, folder)
    return failed


def read(folder: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((folder / DATA).read_text())
    return data


def write(data: dict[str, Any], folder: Path) -> None:
    """The page, its plots and its data below *folder*, and no plot of another run."""
    text = _lines(data) + "\n"
    # Drawn as it will be read: of the same digits.
    files = {**page.files(json.loads(text)), DATA: text}
    below = folder / page.FOLDER
    below.mkdir(parents=True, exist_ok=True)
    for old in below.glob("*.svg"):
        old.unlink()
    for path, content in files.items():
        (folder / path).write_text(content)


def _lines(value: Any, indent: str = "") -> str:
    """JSON with a line for each list of numbers, of four digits each."""
    if isinstance(value, dict) and value:
        inner = indent + " "
        rows = (f"{inner}{json.dumps(key)}: {_lines(item, inner)}" for key, item in value.items())
        return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
    return json.dumps(_rounded(value), ensure_ascii=False)


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def main(arguments: list[str] | None = None) -> None:
    names = list(measurements(WHOLE, servers_too=True))
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--render", action="store_true", help="measure nothing; write the page of data.json")
    parser.add_argument("--resume", action="store_true", help="measure only what data.json does not have")
    parser.add_argument("--quick", action="store_true", help="two minutes: less of everything, no servers")
    parser.add_argument("--tiny", action="store_true", help="to see that it works: the figures mean nothing")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"at the most; {WHOLE.rounds} by default")
    parser.add_argument(
        "--servers", action=argparse.BooleanOptionalAction, help="with or without real servers"
    )
    parser.add_argument("--into", type=Path, default=DOCS, metavar="FOLDER", help="instead of docs")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="what has this in its name:\n" + "\n".join(names)
    )
    options = parser.parse_args(arguments)
    folder: Path = options.into
    if options.render:
        write(read(folder), folder)
        return
    wanted = [name for name in names if any(part in name for part in options.only or [""])]
    if not wanted:
        parser.error(f"nothing is called {' or '.join(options.only)}; there are {', '.join(names)}")
    here = {"machine": machine.facts(), "packages": machine.packages()}
    data: dict[str, Any] = {**here, "runs": {}, **{section: {} for section in SECTIONS}}
    if (options.only or options.resume) and (folder / DATA).exists():
        data = read(folder)
        if any(data[key] != facts for key, facts in here.items()):
            parser.error(f"{folder / DATA} is of another machine, or of other packages; measure everything")
    if options.resume:
        wanted = [name for name in wanted if name not in data["runs"]]
    effort = TINY if options.tiny else QUICK if options.quick else WHOLE
    if options.rounds is not None:
        effort = replace(effort, rounds=options.rounds)
    servers_too = options.servers if options.servers is not None else not (options.quick or options.tiny)
    if failed := collect(wanted, effort, data, folder, servers_too=servers_too):
        sys.exit(f"{', '.join(failed)}: failed; --resume tries again, and measures nothing else")


if __name__ == "__main__":
    main()
