"""The answers that the adapter gives by itself."""

from http import HTTPStatus

import pytest

from asgiadapt._sansio.refusal import PHRASES, Refusal, refusal_events, refusal_response


@pytest.mark.parametrize("status", [400, 408, 413, 431, 503])
def test_a_refusal_is_a_whole_answer(status: int) -> None:
    """A start with type and length, and one body that says the status and why."""
    start, body = refusal_events(Refusal(status, "the reason \u20ac."), "GET")
    text = f"{status} {PHRASES[status]}: the reason \u20ac.\n".encode()
    assert start == {
        "type": "http.response.start",
        "status": status,
        "headers": [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(text)).encode()),
        ],
    }
    assert body == {"type": "http.response.body", "body": text, "more_body": False}


def test_the_answer_to_head_has_no_body() -> None:
    """But it tells the length that the answer to GET has."""
    start, body = refusal_events(Refusal(400, "no."), "HEAD")
    assert start == refusal_events(Refusal(400, "no."), "GET")[0]
    assert body == {"type": "http.response.body", "body": b"", "more_body": False}


def test_further_headers_are_added() -> None:
    """After those that each refusal has."""
    start, _ = refusal_events(Refusal(503, "busy."), "GET", [(b"retry-after", b"5")])
    assert [name for name, _ in start["headers"]] == [b"content-type", b"content-length", b"retry-after"]


def test_a_refusal_shows_its_status_and_text() -> None:
    """To whoever logs it."""
    refusal = Refusal(431, "too many.")
    assert str(refusal) == "431 Request Header Fields Too Large: too many."
    assert (refusal.status, refusal.text) == (431, "too many.")


def test_every_status_has_the_phrase_of_its_standard() -> None:
    """The numbers are those of HTTP errors (RFC 9110, RFC 6585)."""
    for status, phrase in PHRASES.items():
        assert 400 <= status < 600
        # Python before 3.13 knows 413 under its older name.
        assert phrase == HTTPStatus(status).phrase or status == 413


@pytest.mark.parametrize("status", [400, 408, 413, 431, 503])
def test_a_refusal_is_a_whole_wsgi_answer(status: int) -> None:
    """The same status, type, length and text as the events have."""
    line, headers, body = refusal_response(Refusal(status, "the reason \u20ac."), "GET")
    text = f"{status} {PHRASES[status]}: the reason \u20ac.\n".encode()
    assert line == f"{status} {PHRASES[status]}"
    assert headers == [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(text)))]
    assert body == [text]


def test_the_wsgi_answer_to_head_has_no_body() -> None:
    """But the head of the answer to GET."""
    line, headers, body = refusal_response(Refusal(400, "no."), "HEAD")
    assert (line, headers) == refusal_response(Refusal(400, "no."), "GET")[:2]
    assert body == []


def test_each_wsgi_answer_has_lists_of_its_own() -> None:
    """A middleware may change them."""
    refusal = Refusal(400, "no.")
    refusal_response(refusal, "GET")[1].clear()
    assert len(refusal_response(refusal, "GET")[1]) == 2
