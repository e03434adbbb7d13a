"""Compares asgiadapt with its peers and prints a table for each workload.

All contenders take turns within each round, so that a machine that is faster at one time than at another
changes the figures and not the ratios. A ratio is the median over the ratios of the rounds.
"""

import argparse
import os

from benchmarks import machine, workloads
from benchmarks.results import Result
from benchmarks.targets import TARGETS


def main() -> None:
    names = workloads.NAMES
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
    for result in workloads.measure(wanted, rounds, slice_seconds, servers_too=with_servers):
        result.show()
        results[result.name] = result

    print("\nTargets")
    for target in TARGETS:
        if target.workload in results:
            print(f"  {target.verdict(results[target.workload])}")
        else:
            print(f"  {'not measured':18}   {target.text}")
    print(f"\n{os.cpu_count()} cores, {machine.python()}")
    print(", ".join(f"{name} {version}" for name, version in machine.packages().items()))


if __name__ == "__main__":
    main()
