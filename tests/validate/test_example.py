"""The program in ``examples`` that shows the validator, run as its users run it."""

import os
import subprocess
import sys

from tests.processes import ROOT

CARELESS = [
    ("/", "header-case", "b'Content-Type'; a name has to be in lower case."),
    ("/caf\u00e9", "response-length", "a body that is 1 bytes longer than its content-length; declare the"),
    ("/empty", "response-complete", "http.response.start was sent, and no part of the body; send the"),
]


def test_the_example_shows_what_is_wrong_and_what_is_right() -> None:
    """Three mistakes are found, with their rules and what to do; the mended application has none."""
    ended = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / "validator_run.py")],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=50,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    assert len(lines) == 11
    assert lines[0] == "careless:"
    for number, (path, rule, text) in enumerate(CARELESS):
        found, said = lines[1 + 2 * number : 3 + 2 * number]
        assert found == f"  {path} breaks {rule}, the fault of the application:"
        assert text in said
        assert said.endswith(f"[{rule}]")
    pages = ["  / is 200 'index'", "  /caf\u00e9 is 200 'caf\u00e9'", "  /empty is 200 ''"]
    assert lines[7:] == ["mended:", *pages]
