"""All workloads by their names, and how they are measured one after the other."""

import shutil
from collections.abc import Collection, Iterator
from typing import Any

from benchmarks import bridges, inprocess, reverse, servers
from benchmarks.results import Result

IN_PROCESS: dict[str, tuple[Any, Any]] = {
    work.name: (module, work) for module in (inprocess, reverse, bridges) for work in module.WORKLOADS
}
NAMES = [*IN_PROCESS, *servers.PAGES]


def measure(
    names: Collection[str], rounds: int, slice_seconds: float, *, servers_too: bool
) -> Iterator[Result]:
    """Those of *names*, in the order of all; those behind real servers only where wrk is installed."""
    for name, (module, work) in IN_PROCESS.items():
        if name in names:
            yield module.measure(work, rounds, slice_seconds)
    for page in servers.PAGES if servers_too else ():
        if page in names:
            if shutil.which("wrk") is None:
                print(f"\n{page}: left out, since wrk is not installed")
            else:
                yield servers.measure(page, rounds, seconds=1)
