"""The page and its plots, made of the figures alone: the same figures give the same files."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any, TypeAlias

from benchmarks.report.effort import WHOLE
from benchmarks.report.figures import FIGURES, Figure, size_text
from benchmarks.report.plot import Axis, Line, short, svg
from benchmarks.results import OURS, Result
from benchmarks.targets import TARGETS, Target

# As measured: see collect() in __main__.py.
Data: TypeAlias = dict[str, Any]

PAGE = "benchmarks.md"
FOLDER = "benchmarks"
LIMIT = "limit"
_PROFILE = "profile."  # before the name of its workload
FEW_WAIT = "asgiadapt, max_waiting=50"
NONE = "\N{EN DASH}"
_QUIET = 0.1  # the share of the cores that others may use
_STYLES = {
    OURS: "ours",
    FEW_WAIT: "ours too",
    "a2wsgi": "first",
    "asgiref": "second",
    "starlette": "third",
    "anyio": "third",
    "anyio portal": "third",
    "asyncio.to_thread": "fourth",
    "asyncio.run": "fourth",
    LIMIT: "limit",
}
MIB = 1 << 20


def files(data: Data) -> dict[str, str]:
    """The text of each file below the folder of the documentation, by its path."""
    found: dict[str, str] = {}
    parts = {
        "run": _run(data),
        "machine": _machine(data),
        "targets_summary": _targets_summary(data),
        "targets": _targets(data),
        "missed": _missed(data),
        "profiles": _profiles(data),
        "overload_seconds": short(data["overload"]["overload"]["seconds"]) if data["overload"] else "some",
        "overload": _overload(data, found),
    }
    for figure in FIGURES:
        parts[figure.name.replace("-", "_")] = _figure(figure, data, found)
    for family in ("w2a", "a2w", "bridge", "server"):
        parts[f"workloads_{family}"] = _workloads(family, data)
    template = Template((Path(__file__).parent / "template.md").read_text())
    found[PAGE] = "<!-- Written by python -m benchmarks.report -->\n" + template.substitute(parts)
    return found


# Tables


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _details(summary: str, content: str) -> str:
    return f'<details markdown="1">\n<summary>{summary}</summary>\n\n{content}\n\n</details>'


def _ratio(ratios: Sequence[float]) -> str:
    if not ratios:
        return NONE
    median = f"{short(statistics.median(ratios))}"
    if len(ratios) == 1:
        return median
    return f"{median}<br><small>{short(min(ratios))} to {short(max(ratios))}</small>"


def _micro(seconds: float) -> str:
    return f"{short(seconds * 1e6)} µs"


def _machine(data: Data) -> str:
    facts = [[name, value] for name, value in data["machine"].items()]
    packages = ", ".join(f"{name} {version}" for name, version in data["packages"].items())
    return _table(["", ""], [*facts, ["packages", packages]]).replace("---:", "---")


def _run(data: Data) -> str:
    runs = data["runs"].values()
    if not runs:
        return "Nothing has been measured yet."
    dates, codes, rounds = (
        [*dict.fromkeys(values)]
        for values in zip(
            *((run["date"], run["code"], str(run["effort"]["rounds"])) for run in runs), strict=True
        )
    )
    minutes = sum(run["seconds"] for run in runs) / 60
    text = (
        f"This one was measured on {_listed(dates)} at the commit {_listed(codes)}, in {minutes:.0f} minutes,"
        f" with up to {_listed(rounds)} rounds."
    )
    known = [(run["others"], run["seconds"]) for run in runs if run["others"] is not None]
    if known:
        others = sum(share * seconds for share, seconds in known) / sum(seconds for _, seconds in known)
        text += f" Other programs used {others:.0%} of the machine's cores meanwhile."
        if others > _QUIET:
            text += " **That is much: the ratios spread widely.**"
    if any(run["effort"]["slice_seconds"] < WHOLE.slice_seconds for run in runs):
        text += " **It was a quick run: the figures are rough, and the largest sizes are left out.**"
    return text


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


# Targets


def _results(data: Data) -> dict[str, Result]:
    return {name: Result(name, **values) for name, values in data["workloads"].items()}


def _label(result: Result) -> str:
    adapter = {"w2a": "`WsgiToAsgi`: ", "a2w": "`AsgiToWsgi`: "}.get(result.name.partition(".")[0], "")
    return adapter + result.title


@dataclass(frozen=True)
class _Checked:
    """A target, and what came of it."""

    label: str
    asked: str
    measured: str
    is_reached: bool

    def row(self) -> list[str]:
        outcome = "reached" if self.is_reached else "**not reached**"
        return [self.label, self.asked, self.measured, outcome]


def _checked(data: Data) -> list[_Checked]:
    found = []
    results = _results(data)
    for target in TARGETS:
        if (result := results.get(target.workload)) is None:
            continue
        peer = target.peer_in(result)
        asked, ratios = f"{target.at_least or 0:g} times {peer}", result.times_better(peer)
        if target.at_most is not None:
            asked, ratios = f"at most {target.at_most:g} times the {peer}", [1 / ratio for ratio in ratios]
        found.append(_Checked(_label(result), asked, _ratio(ratios), target.is_reached(result)))
    for figure in FIGURES:
        if figure.kind == "memory" and figure.name in data["curves"]:
            curve = data["curves"][figure.name]
            if curve["points"][-1] == 1 << 30:
                grown = statistics.median(curve["values"][OURS][-1]) / MIB
                label = f"{figure.label}: 1 GiB {figure.name.rpartition('-')[2]}, growth of the process"
                found.append(_Checked(label, "less than 64 MiB", f"{short(grown)} MiB", grown < 64))
    return found


def _targets_summary(data: Data) -> str:
    checked = _checked(data)
    if not checked:
        return "None was measured in this run."
    return f"{sum(one.is_reached for one in checked)} of the {len(checked)} are reached in this run."


def _targets(data: Data) -> str:
    rows = [one.row() for one in _checked(data)]
    table = _table(["", "asked", "measured", ""], rows)
    return table.replace("---:", "---") if rows else ""


def _missed(data: Data) -> str:
    results = _results(data)
    lines = [
        _why(target, result, data)
        for target in TARGETS
        if (result := results.get(target.workload)) is not None and not target.is_reached(result)
    ]
    if not lines:
        return ""
    return "What those that are not reached would take, by the medians of the run:\n\n" + "\n".join(lines)


def _why(target: Target, result: Result, data: Data) -> str:
    peer = target.peer_in(result)
    medians = {name: statistics.median(values) for name, values in result.values.items()}
    if result.is_rate:
        assert target.at_least is not None
        asked = medians[peer] * target.at_least
    else:
        asked = medians[peer] * target.at_most if target.at_most else medians[peer] / (target.at_least or 1.0)
    unit = result.unit.replace("us", "µs")
    text = (
        f"- {_label(result)}, {peer}: asked are {short(asked)} {unit}, asgiadapt has {short(medians[OURS])}"
    )
    if target.at_most is None and LIMIT in medians:
        wall = medians[LIMIT]
        misses = wall < asked if result.is_rate else wall > asked
        text += f", the limit {short(wall)}" + (", so that it misses the target too" if misses else "")
    if f"{_PROFILE}{target.workload}" in data["profiles"]:
        heading = _profile_heading(result)
        anchor = "".join(c for c in heading.lower().replace(" ", "-") if c.isalnum() or c in "-_")
        text += f". [Where the time goes](#{anchor})"
    return text + "."


# Where the time goes


def _profile_heading(result: Result) -> str:
    return _label(result).replace("`", "")


def _profiles(data: Data) -> str:
    results = _results(data)
    found = []
    for name, profile in data["profiles"].items():
        workload = name.removeprefix(_PROFILE)
        heading = _profile_heading(results[workload]) if workload in results else workload
        tables = [_spent_table(profile)]
        if profile["parts"]:
            tables.append(_parts_table(profile))
        found.append(f"### {heading}\n\n" + "\n\n".join(tables))
    return "\n\n".join(found) or "Not measured."


def _spent_table(profile: Data) -> str:
    """What each contender spends on one request or call."""
    contenders = profile["contenders"].values()
    rows = [["by the clock", *(one["elapsed"] for one in contenders)]]
    rows += [
        [part, *(way[part] for way in profile["way"].values())]
        for part in next(iter(profile.get("way", {}).values()), ())
    ]
    rows.append(["**of processor time**", *(one["all"] for one in contenders)])
    if profile["main"]:
        rows.append([f"{profile['main']}", *(one["main"] for one in contenders)])
        rows.append(["other threads", *(one["all"] - one["main"] for one in contenders)])
    rows.append(["the garbage collector, in these", *(one["collector"] for one in contenders)])
    return _table(
        ["µs", *profile["contenders"]],
        [[name, *(short(part * 1e6) for part in parts)] for name, *parts in rows],
    )


def _parts_table(profile: Data) -> str:
    """What the parts of asgiadapt take of its processor time."""
    whole = profile["contenders"][OURS]["all"]
    parts = dict(profile["parts"])
    parts["the rest"] = whole - sum(parts.values())
    rows = [[name, short(part * 1e6), f"{part / whole:.0%}"] for name, part in parts.items()]
    return _table(["asgiadapt's processor time", "µs", "share"], rows)


# Curves


_LEAST_MIB = 0.1  # drawn for all that is less


def _figure(figure: Figure, data: Data, found: dict[str, str]) -> str:
    """The image, a sentence and a table; the plot goes into *found*."""
    curve = data["curves"].get(figure.name)
    if curve is None:
        return f"{figure.title}: not measured."
    across = Axis(figure.along, ticks=curve["points"], text=figure.text)
    if figure.kind == "memory":
        upwards = Axis(f"MiB that the process grows at the most ({_LEAST_MIB} or less: {_LEAST_MIB})")
        drawn, reading, table = _memory_lines(curve), _memory_reading(curve), _memory_table(curve)
    else:
        base = curve["points"].index(figure.base) if figure.base in curve["points"] else 0
        what = "rate, more is better" if figure.kind == "rate" else f"cost of {figure.label}"
        upwards = Axis(f"{what}; asgiadapt at {figure.text(curve['points'][base])} is 1")
        drawn = _relative(curve, base)
        reading, table = _reading(figure, curve), _ratios_table(figure, curve)
    lines = []
    for name, values in drawn.items():
        points = [(x, y) for x, y in zip(curve["points"], values, strict=True) if y is not None]
        lines.append(Line(name, _STYLES[name], points))
    return _image(figure.name, figure.title, across, upwards, lines, reading, table, found)


def _image(
    name: str,
    title: str,
    x: Axis,
    y: Axis,
    lines: list[Line],
    reading: str,
    table: str,
    found: dict[str, str],
) -> str:
    description = f"{y.label}, against {x.label}, for {', '.join(line.name for line in lines)}. {reading}"
    found[f"{FOLDER}/{name}.svg"] = svg(title, description.replace("`", ""), x, y, lines)
    image = f"![{title}: {y.label}, against {x.label}. The table below has the figures.]({FOLDER}/{name}.svg)"
    return f"{image}\n\n{reading}\n\n" + _details(f"{title}, in figures", table)


def _relative(curve: Data, base: int) -> dict[str, list[float | None]]:
    """Each contender's values, where that of asgiadapt at *base* is 1.

    The distance between two contenders at a point is the median of the ratios of the rounds.
    """
    ours = curve["values"][OURS]
    one = statistics.median(ours[base])
    return {
        name: [
            statistics.median(a / b for a, b in zip(theirs, mine, strict=True))
            * statistics.median(mine)
            / one
            if theirs
            else None
            for theirs, mine in zip(values, ours, strict=True)
        ]
        for name, values in curve["values"].items()
    }


def _better(figure: Figure, curve: Data, peer: str, index: int) -> list[float]:
    """How many times better asgiadapt is, in each round."""
    pairs = zip(curve["values"][OURS][index], curve["values"][peer][index], strict=False)
    return [ours / theirs if figure.kind == "rate" else theirs / ours for ours, theirs in pairs]


def _ratios_table(figure: Figure, curve: Data) -> str:
    peers = [name for name in curve["values"] if name != OURS]
    rows = []
    for index, x in enumerate(curve["points"]):
        ours = statistics.median(curve["values"][OURS][index])
        own = f"{short(ours / 1e6)} MB/s" if figure.kind == "rate" else _micro(ours)
        ratios = [_ratio(_better(figure, curve, peer, index)) for peer in peers]
        rows.append([figure.text(x), own, *ratios])
    return _table([figure.along, OURS, *peers], rows) + _failures(curve)


def _failures(curve: Data) -> str:
    failures = [f"{name}: {reason}." for name, reason in curve["failures"].items()]
    return "\n\n" + " ".join(failures) if failures else ""


def _reading(figure: Figure, curve: Data) -> str:
    """What the two ends of the plot say."""
    ends = []
    for index in dict.fromkeys((0, len(curve["points"]) - 1)):
        ours = statistics.median(curve["values"][OURS][index])
        ratios = {
            name: statistics.median(_better(figure, curve, name, index))
            for name, values in curve["values"].items()
            if name not in (OURS, LIMIT) and values[index]
        }
        own = f"{short(ours / 1e6)} MB/s" if figure.kind == "rate" else _micro(ours)
        nearest = min(ratios, key=lambda name: ratios[name])
        point, ratio = figure.text(curve["points"][index]), short(ratios[nearest])
        ends.append(f"{own} at {point}, which is {ratio} times as good as the best peer, {nearest}")
    return f"asgiadapt: {'; '.join(ends)}."


def _memory_lines(curve: Data) -> dict[str, list[float | None]]:
    return {
        name: [max(_LEAST_MIB, statistics.median(found) / MIB) if found else None for found in values]
        for name, values in curve["values"].items()
    }


def _memory_reading(curve: Data) -> str:
    last = curve["points"][-1]
    parts = []
    for name, values in curve["values"].items():
        grown = _mib(values[-1]) if values[-1] else NONE
        parts.append(f"{name} {grown}")
    return f"With {size_text(last)}: {', '.join(parts)}." + _failures(curve).replace("\n\n", " ")


def _mib(values: Sequence[float]) -> str:
    grown = statistics.median(values) / MIB
    return f"{short(grown)} MiB" if grown >= _LEAST_MIB else f"less than {_LEAST_MIB} MiB"


def _memory_table(curve: Data) -> str:
    rows = [
        [
            size_text(size),
            *(_mib(values[index]) if values[index] else NONE for values in curve["values"].values()),
        ]
        for index, size in enumerate(curve["points"])
    ]
    return _table(["size of the body", *curve["values"]], rows)


# Overload


def _overload(data: Data, found: dict[str, str]) -> str:
    if not data["overload"]:
        return "Not measured."
    measured = data["overload"]["overload"]
    loads, nap = measured["points"], measured["nap"]
    medians = {
        name: [[statistics.median(part) for part in zip(*rounds, strict=True)] for rounds in values]
        for name, values in measured["values"].items()
    }
    x = Axis("offered load, over what the threads can serve", log=False, ticks=(0.5, 1, 1.5, 2, 2.5, 3))
    late = [
        Line(
            name,
            _STYLES[name],
            [(load, at[1] / nap) for load, at in zip(loads, values, strict=True)],
        )
        for name, values in medians.items()
    ]
    refused = [
        Line(name, _STYLES[name], [(load, at[3] * 100) for load, at in zip(loads, values, strict=True)])
        for name, values in medians.items()
    ]
    rows = [
        [
            f"{load:g}",
            name,
            *(f"{short(part * 1e3)} ms" for part in values[index][:3]),
            f"{values[index][3]:.0%}",
        ]
        for index, load in enumerate(loads)
        for name, values in medians.items()
    ]
    table = _table(["load", "", "p50", "p99", "longest", "refused"], rows)
    last = ", ".join(
        f"{name} {short(values[-1][1] / nap)} (and refuses {values[-1][3]:.0%})"
        for name, values in medians.items()
    )
    y = Axis(f"p99 of the latency; the application's {short(nap * 1e3)} ms are 1")
    first = _image(
        "overload-latency",
        "Overload: p99 of the answers",
        x,
        y,
        late,
        f"At a load of {loads[-1]:g}: {last}.",
        table,
        found,
    )
    share = Axis(
        "share of the requests that is refused with 503, in %", log=False, ticks=(0, 20, 40, 60, 80, 100)
    )
    title = "Overload: refused requests"
    description = f"{share.label}, against the {x.label}."
    found[f"{FOLDER}/overload-refused.svg"] = svg(title, description, x, share, refused)
    return f"{first}\n\n![{title}: {description}]({FOLDER}/overload-refused.svg)"


# Every benchmark


def _workloads(family: str, data: Data) -> str:
    results = [result for name, result in _results(data).items() if name.partition(".")[0] == family]
    tables = []
    # Those with the same contenders stand together.
    for contenders in dict.fromkeys(tuple(result.values) for result in results):
        rows = []
        for result in results:
            if tuple(result.values) != contenders:
                continue
            unit = result.unit.replace("us", "µs")
            own = f"{short(statistics.median(result.values[OURS]))} {unit}"
            rows.append([result.title, own, *(_ratio(result.times_better(peer)) for peer in contenders[1:])])
        tables.append(_table(["", OURS, *contenders[1:]], rows))
    return "\n\n".join(tables) or "Not measured."
