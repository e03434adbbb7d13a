"""The events of a request body by themselves."""

import pytest

from asgiadapt import ClientDisconnected, RequestTooLarge, ServerError
from asgiadapt._sansio.body import RequestBody


def test_events_are_counted_up_to_the_last() -> None:
    """Missing keys have their defaults."""
    body = RequestBody()
    assert body.accept({"type": "http.request", "body": b"ab", "more_body": True}) == b"ab"
    assert body.accept({"type": "http.request", "more_body": True}) == b""
    assert (body.size, body.ended) == (2, False)
    assert body.accept({"type": "http.request", "body": None}) == b""
    assert body.ended


def test_a_disconnect_says_how_far_it_came() -> None:
    """So that nobody takes it for the whole."""
    body = RequestBody()
    body.accept({"type": "http.request", "body": b"abc", "more_body": True})
    with pytest.raises(ClientDisconnected, match="after 3 bytes"):
        body.accept({"type": "http.disconnect"})


def test_the_limit_counts_what_came() -> None:
    """Exactly the limit is allowed."""
    body = RequestBody(3)
    body.accept({"type": "http.request", "body": b"abc", "more_body": True})
    with pytest.raises(RequestTooLarge, match="3 bytes"):
        body.accept({"type": "http.request", "body": b"d"})


def test_an_event_out_of_place_is_the_servers_fault() -> None:
    """It is named."""
    with pytest.raises(ServerError, match=r"'lifespan\.startup'"):
        RequestBody().accept({"type": "lifespan.startup"})
