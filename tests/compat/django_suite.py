"""Django's own test suite, with asgiref and with what stands in for it.

    python -m tests.compat.django_suite [LABEL ...]

Without labels all of it. The tests come from the source distribution of the Django that is installed; pip
fetches it, and nothing of it is kept. Ends with 0 if with the stand-in passes all that passes with asgiref.
"""

import os
import re
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from tests.processes import ROOT

_FAILED = re.compile(r"^(?:FAIL|ERROR): (\S+ \([^)]*\))", re.M)
_RAN = re.compile(r"^Ran (\d+) tests? in ([0-9.]+)s$", re.M)


class Outcome(NamedTuple):
    ran: int
    seconds: float
    failed: frozenset[str]
    output: str

    def __str__(self) -> str:
        return f"{self.ran} tests in {self.seconds:.0f} s, of which {len(self.failed)} failed"


def fetch_tests(folder: Path) -> Path:
    """The folder ``tests`` of the source distribution, unpacked into *folder*."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    # Nothing is built, so nothing is needed to build it but what names the package.
    command += ["--no-deps", "--no-binary", "django", f"django=={version('django')}", "--dest", str(folder)]
    subprocess.run(command, check=True, timeout=300)
    (archive,) = folder.glob("[dD]jango-*.tar.gz")
    with tarfile.open(archive) as source:
        source.extractall(folder, filter="data")
    (tests,) = folder.glob("[dD]jango-*/tests")
    return tests


def run(tests: Path, *labels: str, stand_in: bool) -> Outcome:
    """Run the tests of *labels*, in one process."""
    # As an installed package has it: the file that Python reads as it starts.
    site = tests.parent.parent / "site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(
        f"import site; site.addsitedir({str(ROOT / 'asgiadapt' / 'compat')!r})"
    )
    done = subprocess.run(
        [sys.executable, "runtests.py", "--parallel=1", "--noinput", *labels],
        cwd=tests,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]),
            "ASGIADAPT_AS_ASGIREF": "1" if stand_in else "",
        },
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
    with tempfile.TemporaryDirectory() as folder:
        tests = fetch_tests(Path(folder))
        outcomes = {}
        for name, stand_in in (("asgiref", False), ("asgiadapt", True)):
            outcomes[name] = run(tests, *labels, stand_in=stand_in)
            print(f"{name}: {outcomes[name]}", flush=True)
    worse = outcomes["asgiadapt"].failed - outcomes["asgiref"].failed
    if worse:
        print(outcomes["asgiadapt"].output)
    for test in sorted(worse):
        print(f"fails with asgiadapt alone: {test}")
    same = outcomes["asgiadapt"].ran == outcomes["asgiref"].ran
    return 0 if same and not worse else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
