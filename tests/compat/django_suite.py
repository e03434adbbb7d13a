"""Django's own test suite, with asgiref and with what stands in for it.

    python -m tests.compat.django_suite [--parts] [LABEL ...]

Without labels all of it, one test after the other, first with asgiref and then with the stand-in. With
``--parts`` the tests of what calls asgiref, in four processes, with the stand-in. What fails with it alone is
run once more by itself, with both. The tests come from the source distribution of the Django that is
installed. Ends with 0 if with the stand-in passes all that passes with asgiref.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

from tests.compat.sdists import environment, fetch_tests

PARTS: Final = (
    "async",
    "asgi",
    "auth_tests",
    "cache",
    "handlers",
    "signals",
    "test_client",
    "test_client_regress",
)
_FAILED: Final = re.compile(r"^(?:FAIL|ERROR): (\S+ \([^)]*\))", re.M)
_RAN: Final = re.compile(r"^Ran (\d+) tests? in ([0-9.]+)s$", re.M)


class Outcome(NamedTuple):
    ran: int
    seconds: float
    failed: frozenset[str]
    output: str

    def __str__(self) -> str:
        return f"{self.ran} tests in {self.seconds:.0f} s, of which {len(self.failed)} failed"


def run(tests: Path, *labels: str, stand_in: bool, processes: int = 1) -> Outcome:
    """Run the tests of *labels*."""
    done = subprocess.run(
        [sys.executable, "runtests.py", f"--parallel={processes}", "--noinput", *labels],
        cwd=tests,
        env=environment(tests.parent, stand_in=stand_in),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    ran = _RAN.search(done.stdout)
    if ran is None:
        raise RuntimeError(f"the tests came to no end (code {done.returncode}):\n{done.stdout[-4000:]}")
    return Outcome(int(ran[1]), float(ran[2]), frozenset(_FAILED.findall(done.stdout)), done.stdout)


def main(*labels: str) -> int:
    parts = "--parts" in labels
    labels = PARTS if parts else labels
    processes = 4 if parts else 1  # some wait for seconds, and nobody computes meanwhile
    theirs: Outcome | None = None
    with tempfile.TemporaryDirectory() as folder:
        tests = fetch_tests("django", Path(folder))
        if not parts:
            theirs = run(tests, *labels, stand_in=False, processes=processes)
            print(f"asgiref: {theirs}", flush=True)
        ours = run(tests, *labels, stand_in=True, processes=processes)
        print(f"asgiadapt: {ours}", flush=True)
        worse = ours.failed - (theirs.failed if theirs is not None else frozenset())
        if worse:
            print(ours.output)
            # Alone, with both: some fail where others use the machine, and some where root runs them.
            alone = [test.partition("(")[2].rstrip(")") for test in sorted(worse)]
            again = run(tests, *alone, stand_in=True)
            worse = again.failed - run(tests, *alone, stand_in=False).failed
            print(f"asgiadapt, those that failed: {again}")
    for test in sorted(worse):
        print(f"fails with asgiadapt alone: {test}")
    if theirs is not None:
        for test in sorted(theirs.failed & ours.failed):
            print(f"fails with both: {test}")
    return 1 if worse or (theirs is not None and theirs.ran != ours.ran) else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
