"""Request bodies, event by event."""

from typing import Any

import pytest

from asgiadapt._errors import ClientDisconnected, RequestTooLarge, ServerError
from asgiadapt._sansio.body import RequestBody

WHOLE = b"The body\r\nof a request."


def event(body: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def events(*chunks: bytes) -> list[dict[str, Any]]:
    """The chunks as a server gives them, the last one marked as such."""
    return [event(chunk, more=index + 1 < len(chunks)) for index, chunk in enumerate(chunks)]


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([WHOLE], id="whole"),
        pytest.param([WHOLE[n : n + 1] for n in range(len(WHOLE))], id="byte-by-byte"),
        pytest.param([WHOLE[:7], WHOLE[7:]], id="in-two"),
        pytest.param([WHOLE, b""], id="W2A-BODY-12"),
        pytest.param([b"", WHOLE[:7], b"", b"", WHOLE[7:], b""], id="W2A-BODY-11"),
    ],
)
def test_the_bytes_come_out_as_they_came_in(chunks: list[bytes]) -> None:
    """However they are cut; only the event without more ends the body."""
    body = RequestBody()
    taken = []
    for came in events(*chunks):
        assert not body.ended
        taken.append(body.accept(came))
    assert taken == chunks
    assert body.ended
    assert body.size == len(WHOLE)


@pytest.mark.parametrize(
    ("came", "chunk", "ended"),
    [
        ({}, b"", True),
        ({"body": b"x"}, b"x", True),
        ({"more_body": True}, b"", False),
        ({"more_body": False}, b"", True),
        ({"body": None, "more_body": True}, b"", False),
        ({"body": b"x", "more_body": True, "of_no_meaning": 1}, b"x", False),
    ],
)
def test_what_an_event_leaves_out_has_its_default(came: dict[str, Any], chunk: bytes, ended: bool) -> None:
    """W2A-BODY-10, W2A-BODY-17: no body is an empty one, no mark is the end, other keys mean nothing."""
    body = RequestBody()
    assert body.accept({"type": "http.request", **came}) == chunk
    assert body.ended is ended


def test_a_client_that_leaves_is_told_from_the_end() -> None:
    """W2A-BODY-16, OPEN-14: an OSError that tells how much came; the body has not ended."""
    body = RequestBody()
    body.accept(event(b"abc", more=True))
    with pytest.raises(ClientDisconnected, match="went away after 3 bytes of the request body"):
        body.accept({"type": "http.disconnect"})
    assert not body.ended


def test_an_event_of_another_kind_is_the_servers_fault() -> None:
    """W2A-BODY-17; the text names the event."""
    with pytest.raises(ServerError, match=r"gave the event 'websocket\.receive' where"):
        RequestBody().accept({"type": "websocket.receive"})


@pytest.mark.parametrize("chunks", [[b"12345"], [b"1", b"2", b"3", b"4", b"5"], [b"1234", b"5", b""]])
def test_a_body_of_just_the_bound_passes(chunks: list[bytes]) -> None:
    """W2A-BODY-24: the bound is the size that is still allowed."""
    body = RequestBody(5)
    assert b"".join(body.accept(came) for came in events(*chunks)) == b"12345"
    assert body.ended


@pytest.mark.parametrize("chunks", [[b"123456"], [b"1"] * 6, [b"12345", b"6", b""]])
def test_a_body_over_the_bound_does_not_pass(chunks: list[bytes]) -> None:
    """W2A-BODY-24: counted over all chunks; the text names the bound."""
    body = RequestBody(5)

    def accept_all() -> None:
        for came in events(*chunks):
            body.accept(came)

    with pytest.raises(RequestTooLarge, match="more than the 5 bytes that max_body_size allows"):
        accept_all()
    assert not body.ended


def test_a_bound_of_nothing_lets_an_empty_body_pass() -> None:
    """0 is a bound, and not the lack of one."""
    body = RequestBody(0)
    assert body.accept(event(b"", more=False)) == b""
    assert body.ended
    with pytest.raises(RequestTooLarge, match="more than the 0 bytes"):
        RequestBody(0).accept(event(b"1", more=True))
