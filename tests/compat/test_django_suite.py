"""The parts of Django's own test suite that asgiref has to do with, with what stands in for it."""

from pathlib import Path

import pytest

from tests.compat.django_suite import fetch_tests, run

PARTS = ("async", "asgi", "auth_tests", "cache", "handlers", "signals", "test_client", "test_client_regress")


@pytest.mark.server
@pytest.mark.timeout(900)
def test_django_s_own_tests_pass(tmp_path: Path) -> None:
    """All that pass with asgiref; which those are is asked only where some fail."""
    tests = fetch_tests(tmp_path)
    ours = run(tests, *PARTS, stand_in=True)
    if ours.failed:
        theirs = run(tests, *PARTS, stand_in=False)
        assert not ours.failed - theirs.failed, ours.output[-10000:]
    assert ours.ran > 1000
