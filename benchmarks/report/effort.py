"""How much is measured."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    rounds: int
    slice_seconds: float  # for each contender in each round of a benchmark
    curve_rounds: int
    point_seconds: float  # for each contender in each round at each point of a curve
    overload_seconds: float
    points: int | None = None  # of each curve, from the left; None for all
    sizes: int | None = None  # the same of the curves of memory


WHOLE = Effort(rounds=5, slice_seconds=0.3, curve_rounds=3, point_seconds=0.15, overload_seconds=2.0)
# Two minutes: to look at, and without the points that take long.
QUICK = Effort(
    rounds=2,
    slice_seconds=0.02,
    curve_rounds=1,
    point_seconds=0.02,
    overload_seconds=0.3,
    points=5,
    sizes=4,
)
# To see that everything works. Its figures mean nothing.
TINY = Effort(
    rounds=1,
    slice_seconds=0.001,
    curve_rounds=1,
    point_seconds=0.001,
    overload_seconds=0.05,
    points=1,
    sizes=1,
)
