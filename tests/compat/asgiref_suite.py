"""asgiref's own test suite, with asgiref and with what stands in for it.

    python -m tests.compat.asgiref_suite

The tests come from the source distribution of the asgiref that is installed. Ends with 0 if all pass with
asgiref, and with the stand-in all but those that are named below.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.compat.sdists import environment, fetch_tests

_INTERNAL: Final = "asks for the executors that asgiref keeps for itself"
_AT_ONCE: Final = "the application is called as soon as it can be, and not when the request has been read"
DIFFERENT: Final = {
    "test_data_name_protected": "'_data' is a name like others",
    "test_new_returns_specialized_subclass": "there is one class",
    "test_local_cannot_be_subclassed": "the class statement is refused, and not the first object",
    "test_force_new_context_keeps_executor_bindings_local_to_each_task": _INTERNAL,
    "test_plain_context_allows_calls_after_exit": _INTERNAL,
    "test_receive_nothing": _AT_ONCE,
    "test_receive_nothing_lazy_loop": _AT_ONCE,
    "test_wsgi_path_encoding": "an empty chunk is not sent",
}
SOMETIMES_DIFFERENT: Final = {
    "test_thread_sensitive_with_context_different": "threads are used again, once a context has ended",
}

# What the tests look at besides what they test; without these lines they ask for the rest all the same.
_EXECUTORS: Final = r"\w+To\w+\.(?:executors|thread_sensitive_context|context_to_thread_executor)\b"
_LINES: Final = {
    r"from asgiref\.local import .*": (
        "from asgiref.local import Local\n_DefaultLocal = _ThreadCriticalLocal = Local"
    ),
    rf"( +)(?:assert .*|\w+ = ){_EXECUTORS}.*": r"\1pass",
}
_TALLY: Final = re.compile(r"^\d+ \w+.* in [0-9.]+s\b.*$", re.M)
_FAILED: Final = re.compile(r"^(?:FAILED|ERROR) \S+::(\w+)", re.M)


def leave_out_internals(tests: Path) -> None:
    """Rewrite the tests so that they do without what asgiref keeps for itself."""
    for file in tests.glob("test_*.py"):
        text = file.read_text()
        for line, replacement in _LINES.items():
            text = re.sub(f"^{line}$", replacement, text, flags=re.M)
        file.write_text(text)


def run(tests: Path, *names: str, stand_in: bool) -> tuple[str, set[str]]:
    """What pytest says at its end, and which tests have failed; of those with these *names*, or all."""
    options = ["-k", " or ".join(names)] if names else []
    options += ["-q", "-rfE", "--tb=short", "--timeout=60", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "tests"],
        cwd=tests.parent,
        env=environment(tests, stand_in=stand_in),
        stdout=subprocess.PIPE,
        text=True,
        timeout=600,
    )
    tally = _TALLY.search(done.stdout)
    if tally is None:
        raise RuntimeError(f"the tests came to no end (code {done.returncode}):\n{done.stdout[-4000:]}")
    return tally[0], set(_FAILED.findall(done.stdout))


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        tests = fetch_tests("asgiref", Path(folder))
        tally, theirs = run(tests, stand_in=False)
        print(f"asgiref, its tests as they are: {tally}", flush=True)
        leave_out_internals(tests)
        tally, ours = run(tests, stand_in=True)
        print(f"asgiadapt: {tally}", flush=True)
        reasons = DIFFERENT | SOMETIMES_DIFFERENT
        if failed := ours - reasons.keys():
            # Some have to end within a second, and others use the machine.
            tally, again = run(tests, *sorted(failed), stand_in=True)
            print(f"asgiadapt, those that failed: {tally}")
            ours -= failed - again
    for test in sorted(ours & reasons.keys()):
        print(f"  {test}: {reasons[test]}")
    wrong = [f"{test} fails" for test in sorted(ours - reasons.keys())]
    wrong += [f"{test} should fail, and passes" for test in sorted(DIFFERENT.keys() - ours)]
    wrong += [f"{test} fails with asgiref" for test in sorted(theirs)]
    print(*wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
