"""The soak run of `AsgiToWsgi`, short."""

import pytest

from tests.soak.reverse import big, soak

pytestmark = [pytest.mark.server, pytest.mark.timeout(240)]


def test_a_tenth_of_the_requests_is_cut_off_and_nothing_of_them_stays() -> None:
    """No task, thread or file is left, background work is done, every other answer is whole."""
    outcome = soak(800)
    assert outcome.wrong == []
    assert outcome.whole > 700
    assert all(outcome.cut.values())


def test_large_bodies_pass_gunicorn_in_bounded_memory() -> None:
    """128 MiB up and down with less than 64 MiB of growth."""
    assert big(128)["growth_mib"] < 64
