"""What a workload gave: a value for each contender and round."""

import statistics
from dataclasses import dataclass

OURS = "asgiadapt"


@dataclass(frozen=True)
class Result:
    name: str
    title: str
    unit: str
    values: dict[str, list[float]]  # contender -> its value in each round

    @property
    def is_rate(self) -> bool:
        """Whether more is better."""
        return self.unit in ("MB/s", "req/s")

    def times_better(self, peer: str) -> list[float]:
        """How many times asgiadapt does better than *peer*, in each round."""
        pairs = zip(self.values[OURS], self.values[peer], strict=True)
        if self.is_rate:
            return [ours / theirs for ours, theirs in pairs]
        return [theirs / ours for ours, theirs in pairs]

    def show(self) -> None:
        print(f"\n{self.name}: {self.title}")
        print(f"  {'':17}{self.unit:>9}   asgiadapt is ... times as good (lowest and highest round)")
        for peer, values in self.values.items():
            row = f"  {peer:17}{statistics.median(values):9,.1f}"
            if peer != OURS:
                ratios = self.times_better(peer)
                row += f"   {statistics.median(ratios):6.2f}  ({min(ratios):.2f} to {max(ratios):.2f})"
            print(row, flush=True)
