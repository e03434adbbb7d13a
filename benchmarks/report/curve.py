"""A curve: what something costs each contender, at one point after the other as something else grows."""

import gc
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from benchmarks.report.effort import Effort
from benchmarks.results import OURS

# Does its work *count* times at the point *x*, and gives the seconds that all of it has taken.
Turn: TypeAlias = Callable[[int, int], float]
Contenders: TypeAlias = AbstractContextManager[dict[str, Turn]]


@dataclass(frozen=True)
class Curve:
    name: str
    points: tuple[int, ...]
    contenders: Callable[[], Contenders]
    least: Callable[[int], int] = lambda x: 1  # how often a turn does its work at the least
    amount: Callable[[int], int] = lambda x: 1  # for how many it stands, such as bytes
    is_rate: bool = False  # bytes a second, where more is better; otherwise seconds


@dataclass
class Measured:
    """A value for each contender, point and round: seconds, or bytes a second.

    Where a contender failed there is none, and *failures* has the reason.
    """

    points: list[int]
    values: dict[str, list[list[float]]]
    failures: dict[str, str] = field(default_factory=dict)


def measure(curve: Curve, effort: Effort) -> Measured:
    """All contenders take turns at a point, and all points within a round."""
    points = list(curve.points[: effort.points])
    with curve.contenders() as turns:
        measured = Measured(points, {name: [[] for _ in points] for name in turns})
        counts: dict[tuple[str, int], int] = {}  # of those that do not fail

        def seconds_for(name: str, x: int, count: int) -> float | None:
            gc.collect()  # nobody pays for what the one before has left
            try:
                return turns[name](x, count)
            except Exception as error:
                if name == OURS:
                    raise
                measured.failures.setdefault(name, f"{type(error).__name__} from {x} on")
                measured.values[name][points.index(x)].clear()
                counts.pop((name, x), None)
                return None

        for x in points:
            for name in turns:
                least = curve.least(x)
                # Threads are started, caches filled.
                if (seconds := seconds_for(name, x, least)) is not None:
                    counts[name, x] = max(least, round(effort.point_seconds / seconds * least))
        for number in range(effort.curve_rounds):
            for index, x in enumerate(points):
                # They take turns within a round, and there and back from round to round.
                for name in list(turns)[:: -1 if number % 2 else 1]:
                    if (count := counts.get((name, x))) is None:
                        continue
                    if (seconds := seconds_for(name, x, count)) is not None:
                        one = seconds / (count * curve.amount(x))
                        measured.values[name][index].append(1 / one if curve.is_rate else one)
    return measured


def turns_of(calls: dict[str, Any], turn: Callable[[Any, int, int], float]) -> dict[str, Turn]:
    """A turn for each contender, by *turn*, which is given what it calls."""
    return {name: partial(turn, call) for name, call in calls.items()}
