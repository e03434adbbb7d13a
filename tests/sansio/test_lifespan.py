"""Lifespan events, in the one order that there is."""

import pytest

from asgiadapt._errors import ServerError
from asgiadapt._sansio.lifespan import check_lifespan_event


@pytest.mark.parametrize("kind", ["lifespan.startup", "lifespan.shutdown"])
def test_the_event_that_is_due_passes(kind: str) -> None:
    """Whatever else it carries."""
    check_lifespan_event({"type": kind, "more": 1}, kind)


@pytest.mark.parametrize(
    ("came", "due"),
    [
        ("lifespan.shutdown", "lifespan.startup"),
        ("lifespan.startup", "lifespan.shutdown"),
        ("http.request", "lifespan.startup"),
    ],
)
def test_another_event_is_the_servers_fault(came: str, due: str) -> None:
    """The text names both."""
    with pytest.raises(ServerError, match=f"the lifespan event '{came}' where '{due}' was due"):
        check_lifespan_event({"type": came}, due)
