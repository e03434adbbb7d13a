"""``python -m tests.fuzz [TARGET ...] --executions N | --minutes M``: fuzzing that is guided by coverage.

Each target runs in a process of its own, with atheris. It stops at the first finding, which is then in
``tests/fuzz/findings``: the tests replay it from now on. With ``--grow`` the corpus takes what is new. With
``--faults``, each planted fault has to be found, from an empty corpus.
"""

import argparse
import importlib.util
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.faults import FAULTS
from tests.fuzz.grow import chosen
from tests.fuzz.targets import TARGETS, corpus, findings, keep

LONGEST = 256
HUNG_SECONDS = 60


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all of them")
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument("--executions", type=int, default=100_000, help="for each target (%(default)s)")
    limit.add_argument("--minutes", type=float, help="for each target")
    parser.add_argument("--grow", action="store_true", help="keep in the corpus what is new")
    parser.add_argument("--faults", action="store_true", help="plant faults, and look whether they are found")
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="where libFuzzer's output is left")
    options = parser.parse_args()
    unknown = set(options.targets) - TARGETS.keys()
    if unknown:
        parser.error(f"there is no target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    if importlib.util.find_spec("atheris") is None:
        parser.error("atheris is not installed; pip install -e .[fuzz]")
    names = options.targets or list(TARGETS)
    bound = (
        f"-max_total_time={options.minutes * 60:.0f}" if options.minutes else f"-runs={options.executions}"
    )
    with tempfile.TemporaryDirectory() as scratch:
        logs = options.logs or Path(scratch)
        logs.mkdir(parents=True, exist_ok=True)
        if options.faults:
            return find_faults(names, bound, logs, grow=options.grow)
        print(f"{'target':<16}{'executions':>12}{'a second':>10}{'edges':>8}{'features':>10}{'findings':>10}")
        return sum(fuzz(name, bound, logs / f"{name}.log", grow=options.grow) for name in names)


def fuzz(name: str, bound: str, log: Path, *, grow: bool) -> int:
    """Run the target; how many findings there are."""
    folder = findings(name)
    folder.mkdir(parents=True, exist_ok=True)
    before = set(folder.iterdir())
    with tempfile.TemporaryDirectory() as work:
        for number, data in enumerate(corpus(name)):
            (Path(work) / f"seed-{number}").write_bytes(data)
        told = run(log, name, bound, f"-artifact_prefix={folder}/", work)
        found = set(folder.iterdir()) - before
        if grow and not found:
            tried = [path.read_bytes() for path in Path(work).iterdir()]
            keep(name, chosen(name, TARGETS[name], [*corpus(name), *tried]))
    if not any(folder.iterdir()):
        folder.rmdir()
    status = re.findall(r"cov: (\d+) ft: (\d+)", told)
    executions, speed = (
        (re.findall(rf"stat::{stat}: +(\d+)", told) or ["?"])[-1]
        for stat in ("number_of_executed_units", "average_exec_per_sec")
    )
    edges, features = status[-1] if status else ("?", "?")
    failed = bool(found) or executions == "?"
    print(f"{name:<16}{executions:>12}{speed:>10}{edges:>8}{features:>10}{len(found):>10}", flush=True)
    if failed:
        print(told[-4000:])
        for path in found:
            print(f"the input is {path}")
    return int(failed)


def find_faults(names: list[str], bound: str, logs: Path, *, grow: bool) -> int:
    """Plant each fault of the targets, and fuzz without a corpus until it is found; how many were not."""
    missed = 0
    for number, fault in enumerate(FAULTS):
        if fault.target not in names:
            continue
        with tempfile.TemporaryDirectory() as work:
            log = logs / f"{fault.target}-{number}.log"
            told = run(log, fault.target, bound, f"-artifact_prefix={work}/", work, fault=number)
            found = re.findall(r"failed at execution (\d+)", told)
            missed += not found
            crashes = [path.read_bytes() for path in Path(work).glob("crash-*")]
            if grow and found:
                keep(fault.target, [*corpus(fault.target), *crashes])
        place = f"{fault.where}: {' '.join(fault.old.split())} -> {' '.join(fault.new.split())}"
        print(f"{fault.target:<16}{found[-1] if found else 'MISSED':>10}  {place}", flush=True)
    print(f"{missed} of the faults were not found")
    return missed


def run(log: Path, name: str, *options: str, fault: int | None = None) -> str:
    """What libFuzzer has written, which is in *log* too, as it comes."""
    planted = [] if fault is None else ["--fault", str(fault)]
    fixed = [
        "-len_control=0",
        f"-max_len={LONGEST}",
        f"-timeout={HUNG_SECONDS}",
        "-print_final_stats=1",
        "-rss_limit_mb=1024",
    ]
    with log.open("w") as output:
        subprocess.run(
            [sys.executable, "-m", "tests.fuzz.child", name, *planted, *fixed, *options],
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    return log.read_text(errors="replace")


if __name__ == "__main__":
    sys.exit(min(main(), 1))
