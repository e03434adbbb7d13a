"""``python -m tests.matrix``: run every pairing, and write docs/matrix.md; with ``--only`` some, and no page.

A pattern of ``--only`` is matched against names such as ``uvicorn-h11+wsgi_flask``, or against either half.
"""

import argparse
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path

from tests.matrix import page
from tests.matrix.run import Kept, Matrix, Pairing
from tests.matrix.servers import APPLICATIONS, SERVERS, Server, is_missing, keys_in


def pairings(only: list[str]) -> dict[Server, list[str]]:
    """The applications for each server, as far as they are installed."""
    found: dict[Server, list[str]] = {}
    for server in SERVERS:
        for application in APPLICATIONS:
            names = (server.name, application, f"{server.name}+{application}")
            wanted = not only or any(fnmatch(name, pattern) for pattern in only for name in names)
            absent = server.missing or is_missing(APPLICATIONS[application][1])
            if wanted and not absent and not application.startswith(server.interface):
                found.setdefault(server, []).append(application)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.matrix")
    parser.add_argument("--only", nargs="+", default=[], metavar="PATTERN")
    parser.add_argument("--jobs", type=int, default=1, help="servers at a time")
    parser.add_argument(
        "--keep", type=Path, metavar="FILE", help="keep the results there; what it has is not run again"
    )
    parser.add_argument("--verbose", action="store_true", help="show how unexplained steps went wrong")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        keys_in(Path(folder))
        matrix = Matrix(Path(folder), Kept(options.keep))

        def run(server: Server, applications: list[str]) -> list[Pairing]:
            found = []
            for application in applications:
                pairing = matrix.pairing(server, application)
                report(pairing, options.verbose)
                found.append(pairing)
            return found

        with ThreadPoolExecutor(options.jobs) as threads:
            wanted = pairings(options.only)
            found = [each for several in threads.map(run, wanted, wanted.values()) for each in several]
    print(page.summary(found))
    problems = page.problems(found, whole=not options.only)
    for problem in problems:
        print(problem)
    if not options.only:
        page.FILE.write_text(page.text(found))
        print(f"{page.FILE.name} is written")
    return int(bool(problems))


def report(pairing: Pairing, verbose: bool) -> None:
    outcome = pairing.outcome
    print(f"{pairing.name}: {outcome.passed} of {outcome.counted} in {outcome.seconds:.0f} s", flush=True)
    for step, symptom in outcome.first.items():
        print(f"    {step}: {symptom} (at the first try)", flush=True)
    for step, symptom in outcome.symptoms.items():
        print(f"    {step}: {symptom} ({pairing.blame.get(step, 'UNEXPLAINED')})", flush=True)
    if verbose and pairing.unexplained:
        print(*(outcome.details[key] for key in [*pairing.unexplained, "output"] if key in outcome.details))


if __name__ == "__main__":
    sys.exit(main())
