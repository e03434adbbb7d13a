"""``python -m tests.soak [REQUESTS]``, or ``--big`` for a gibibyte each way."""

import argparse
import sys

from tests.soak.run import LOOPS, big, soak

GROWTH_MIB = 64


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("requests", type=int, nargs="?", default=10_000)
    parser.add_argument("--big", action="store_true", help="1 GiB up and 1 GiB down instead")
    options = parser.parse_args()
    failed = False
    for loop in LOOPS:
        if options.big:
            found = big(loop, 1024)
            failed |= found["growth_mib"] >= GROWTH_MIB
            print(f"uvicorn with {loop}: 1 GiB up at {found['up_mib_s']:.0f} MiB/s,", end=" ")
            print(f"1 GiB down at {found['down_mib_s']:.0f} MiB/s,", end=" ")
            print(f"memory grew by {found['growth_mib']:.1f} MiB at its peak")
            continue
        outcome = soak(loop, options.requests)
        half, end = outcome.figures["half"], outcome.figures["end"]
        print(f"uvicorn with {loop}: {outcome.whole} whole answers, cut off: {outcome.cut}")
        print(f"  iterables opened {end['opened']}, closed {end['closed']}; busy {end['busy']},", end=" ")
        print(f"tasks {end['tasks']}, files {end['files']}, threads {end['threads']}")
        print(f"  memory after the first half {half['rss_kib']} KiB, at the end {end['rss_kib']} KiB")
        for text in outcome.wrong:
            print(f"  WRONG: {text}")
        failed |= bool(outcome.wrong)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
