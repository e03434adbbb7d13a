"""The soak runs, short."""

import pytest

from tests.soak.big import GROWTH_MIB, big
from tests.soak.client import CUT, REFUSED, WHOLE
from tests.soak.run import Plan, run
from tests.soak.sites import KINDS

pytestmark = [pytest.mark.server, pytest.mark.timeout(240)]

SHORT = ("a worker is killed", "a worker is told to end")


def test_nothing_is_lost_while_workers_are_killed_and_ended() -> None:
    """Every request is answered in whole, or cut so that the client can tell; nothing hangs or leaks."""
    plan = Plan(seconds=4, rate=200, gap=0.1, faults=SHORT, slow=False, warm_up=0, calm=0)
    report = run(["uvicorn", "gthread"], plan, say=lambda _: None)
    assert report.wrong == []
    assert all(sum(counter.values()) >= 2 for counter in report.survived.values())
    whole = sum(outcomes[WHOLE] for outcomes in report.totals.outcomes.values())
    assert whole > 500
    assert report.totals.outcomes["fail before"][REFUSED]
    assert report.totals.outcomes["fail amid"][CUT]


@pytest.mark.parametrize("name", KINDS)
def test_large_bodies_pass_in_bounded_memory(name: str) -> None:
    """128 MiB up and down with less than 64 MiB of growth."""
    assert big(name, 128).growth_mib < GROWTH_MIB
