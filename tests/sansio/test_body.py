"""Request bodies, event by event, and piece by piece."""

from typing import Any

import pytest

from asgiadapt._errors import ClientDisconnected, RequestTooLarge, ServerError
from asgiadapt._sansio.body import InputBody, RequestBody
from asgiadapt._sansio.refusal import Refusal

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


# wsgi.input

PIECE = 64 * 1024
STREAM = object()


def input_body(**environ: Any) -> InputBody:
    return InputBody({"wsgi.input": STREAM, **environ})


CHUNKED = {"HTTP_TRANSFER_ENCODING": "chunked"}
TERMINATED = {"wsgi.input_terminated": True}


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, 0),
        ({"CONTENT_LENGTH": ""}, 0),
        ({"CONTENT_LENGTH": "0"}, 0),
        ({"CONTENT_LENGTH": "5"}, 5),
        ({"CONTENT_LENGTH": " 5, 5"}, 5),
        ({"CONTENT_LENGTH": str(PIECE)}, PIECE),
        ({"CONTENT_LENGTH": str(PIECE + 1)}, PIECE),
        # Where nobody says that the stream ends, a read could block for ever.
        (CHUNKED, 0),
        ({**CHUNKED, "CONTENT_LENGTH": "5"}, 5),
        (TERMINATED, PIECE),
        ({**TERMINATED, "CONTENT_LENGTH": "5"}, 5),
        ({**TERMINATED, **CHUNKED}, PIECE),
        ({**TERMINATED, **CHUNKED, "CONTENT_LENGTH": "5"}, PIECE),
        ({"wsgi.input_terminated": False}, 0),
        ({"wsgi.input": None, "CONTENT_LENGTH": "5"}, 0),
        ({"wsgi.input": None, **TERMINATED}, 0),
    ],
)
def test_what_is_read_first(environ: dict[str, Any], wanted: int) -> None:
    """As much as there is by the head, a piece at most; nothing where that could block."""
    body = input_body(**environ)
    assert body.wanted() == wanted
    assert not body.ended


def test_a_body_without_a_stream_is_none() -> None:
    """Some servers leave the key out."""
    assert InputBody({"CONTENT_LENGTH": "5"}).wanted() == 0


@pytest.mark.parametrize("pieces", [[b"hello"], [b"h", b"ello"], [b"h", b"e", b"l", b"l", b"o"]])
def test_a_declared_body_ends_with_its_last_byte(pieces: list[bytes]) -> None:
    """However short the reads come."""
    body = input_body(CONTENT_LENGTH="5")
    left = 5
    for piece in pieces:
        assert body.wanted() == left
        left -= len(piece)
        assert body.event(piece) == event(piece, more=left > 0)
        assert body.ended is (left == 0)
    assert body.wanted() == 0


def test_an_empty_body_is_one_event() -> None:
    """It needs no read."""
    body = input_body()
    assert body.event(b"") == event(b"", more=False)
    assert body.ended


def test_a_body_of_unknown_length_ends_with_an_empty_read() -> None:
    """And not before, whatever comes."""
    body = input_body(**TERMINATED)
    for piece in (b"a", b"x" * PIECE):
        assert body.event(piece) == event(piece, more=True)
        assert not body.ended
        assert body.wanted() == PIECE
    assert body.event(b"") == event(b"", more=False)
    assert body.ended


def test_a_body_that_is_cut_off_is_told_from_the_end() -> None:
    """The text says how much is missing; the body has not ended."""
    body = input_body(CONTENT_LENGTH="5")
    body.event(b"he")
    with pytest.raises(ClientDisconnected, match="ended 3 bytes before its declared length"):
        body.event(b"")
    assert not body.ended


def test_more_than_was_asked_for_is_the_servers_fault() -> None:
    """The text has both numbers."""
    with pytest.raises(ServerError, match="gave 6 bytes where 5 were left of the body"):
        input_body(CONTENT_LENGTH="5").event(b"hello!")


@pytest.mark.parametrize("data", ["", None, bytearray(b"x"), 5])
@pytest.mark.parametrize("environ", [{"CONTENT_LENGTH": "5"}, TERMINATED])
def test_a_read_gives_bytes(data: Any, environ: dict[str, Any]) -> None:
    """The text names what came instead."""
    with pytest.raises(ServerError, match=f"gave a {type(data).__name__} instead of bytes"):
        input_body(**environ).event(data)


@pytest.mark.parametrize(
    ("most", "sizes"),
    [
        (8 * PIECE, [PIECE, 2 * PIECE, 4 * PIECE, 8 * PIECE, 8 * PIECE]),
        (3 * PIECE, [PIECE, 2 * PIECE, 3 * PIECE, 3 * PIECE, 3 * PIECE]),
        (1, [PIECE] * 5),
        (0, [PIECE] * 5),
    ],
)
def test_pieces_double_while_reads_are_quick(most: int, sizes: list[int]) -> None:
    """Up to the limit, and back to the first size when a read had to wait."""
    body = input_body(CONTENT_LENGTH=str(100 * PIECE))
    seen = []
    for _ in range(5):
        seen.append(body.wanted())
        body.grow(most)
    assert seen == sizes
    body.shrink()
    assert body.wanted() == PIECE


def test_pieces_of_an_unknown_body_do_not_grow() -> None:
    """A read waits for all that it has asked for, and the client perhaps for an answer."""
    body = input_body(**TERMINATED)
    body.grow(8 * PIECE)
    assert body.wanted() == PIECE


def test_the_last_piece_is_what_is_left() -> None:
    """However large pieces have become."""
    body = input_body(CONTENT_LENGTH=str(PIECE + 3))
    body.event(b"x" * PIECE)
    body.grow(8 * PIECE)
    assert body.wanted() == 3


@pytest.mark.parametrize("value", ["x", "-1", "1.5", "5,6", "\u00b2", "9" * 21])
def test_a_length_that_is_none_is_refused(value: str) -> None:
    """As it is where the scope is made."""
    with pytest.raises(Refusal, match="not one decimal number"):
        input_body(CONTENT_LENGTH=value)
