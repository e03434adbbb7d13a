"""Status lines, refusals and lifespan by themselves: each is a function or two."""

from typing import Any

import pytest

from asgiadapt import ApplicationTypeError, ApplicationValueError, ServerError
from asgiadapt._sansio.lifespan import check_lifespan_event
from asgiadapt._sansio.refusal import PHRASES, Refusal, refusal_events
from asgiadapt._sansio.status import status_from_line


@pytest.mark.parametrize(("line", "code"), [("200 OK", 200), ("404", 404), ("599 ", 599)])
def test_a_status_line_is_a_code(line: str, code: int) -> None:
    """The phrase may be missing."""
    assert status_from_line(line) == code


@pytest.mark.parametrize(
    ("line", "kind", "text"),
    [
        (200, ApplicationTypeError, "200, a int"),
        ("OK", ApplicationValueError, "not a status line"),
        ("200 OK\n", ApplicationValueError, "not a status line"),
        ("103 Early Hints", ApplicationValueError, "early_hints"),
    ],
)
def test_what_is_no_final_status_raises(line: Any, kind: type[Exception], text: str) -> None:
    """And says what to give."""
    with pytest.raises(kind, match=text):
        status_from_line(line)


@pytest.mark.parametrize("status", PHRASES)
def test_a_refusal_is_a_whole_response(status: int) -> None:
    """With a length that is right, and without a body for HEAD."""
    refusal = Refusal(status, "the reason.")
    assert str(refusal) == f"{status} {PHRASES[status]}: the reason."
    start, body = refusal_events(refusal, "GET", [(b"retry-after", b"1")])
    assert start["status"] == status
    assert (b"content-length", str(len(body["body"])).encode()) in start["headers"]
    assert start["headers"][-1] == (b"retry-after", b"1")
    assert body["more_body"] is False
    assert refusal_events(refusal, "HEAD")[1]["body"] == b""


def test_lifespan_events_come_in_their_order() -> None:
    """Another is the server's fault."""
    check_lifespan_event({"type": "lifespan.startup"}, "lifespan.startup")
    with pytest.raises(ServerError, match=r"'lifespan\.startup' was due"):
        check_lifespan_event({"type": "lifespan.shutdown"}, "lifespan.startup")
