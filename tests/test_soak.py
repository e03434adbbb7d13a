"""The soak run, short."""

import pytest

from tests.soak.run import LOOPS, big, soak

pytestmark = [pytest.mark.server, pytest.mark.timeout(240)]


@pytest.mark.parametrize("loop", LOOPS)
def test_a_tenth_of_the_requests_is_cut_off_and_nothing_leaks(loop: str) -> None:
    """Every iterable is closed once, no worker, task or file is left, every other answer is whole."""
    outcome = soak(loop, 800)
    assert outcome.wrong == []
    assert outcome.whole > 700
    assert all(outcome.cut.values())


@pytest.mark.parametrize("loop", LOOPS)
def test_large_bodies_pass_in_bounded_memory(loop: str) -> None:
    """128 MiB up and down with less than 64 MiB of growth."""
    assert big(loop, 128)["growth_mib"] < 64
