"""The response machine by itself: calls in, events out."""

import gc
import sys
import weakref
from contextlib import suppress
from typing import Any

import pytest

from asgiadapt import ApplicationOrderError, ApplicationTypeError, ApplicationValueError
from asgiadapt._sansio.response import Phase, WsgiResponse


def started(method: str = "GET", *headers: tuple[str, str], **options: Any) -> WsgiResponse:
    response = WsgiResponse(method, **options)
    response.start("200 OK", headers)
    return response


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("http.response.") for event in events]


def test_the_phases_of_a_plain_response() -> None:
    """Waiting, started, open, done; the values stand in messages."""
    response = WsgiResponse("GET")
    assert (response.phase, response.committed, response.dropped) == (Phase.WAITING, False, ())
    response.start("200 OK", [("Connection", "close")])
    assert (response.phase, response.committed, response.dropped) == (
        Phase.STARTED,
        False,
        ("Connection",),
    )
    assert response.chunk(b"") == []
    assert kinds(response.chunk(b"x")) == ["start", "body"]
    assert (response.phase, response.committed, response.complete) == (Phase.OPEN, True, False)
    assert kinds(response.chunk(b"y")) == ["body"]
    assert response.end() == [{"type": "http.response.body", "body": b"", "more_body": False}]
    assert response.complete
    assert response.end() == []


def test_a_second_start_names_the_phase() -> None:
    """In words that can be read."""
    response = started()
    with pytest.raises(ApplicationOrderError, match="although start_response has been called"):
        response.start("200 OK", [])
    response.write(b"")
    with pytest.raises(ApplicationOrderError, match="although the head of the response has been sent"):
        response.start("200 OK", [])
    response.end()
    with pytest.raises(ApplicationOrderError, match="although the response is complete"):
        response.start("200 OK", [])


def test_strict_responses_refuse_what_others_drop() -> None:
    """W2A-RESP-19, OPEN-15: fields that belong to the connection."""
    strict = WsgiResponse("GET", strict=True)
    with pytest.raises(ApplicationValueError, match="belongs to the connection"):
        strict.start("200 OK", [("Connection", "close")])


def test_a_call_that_failed_counts_as_a_call() -> None:
    """W2A-RESP-23: the next one raises too, and does not claim that there was none."""
    response = WsgiResponse("GET")
    with pytest.raises(ApplicationValueError, match="not a status line"):
        response.start("OK", [])
    with pytest.raises(ApplicationOrderError, match="a second time without exc_info") as caught:
        response.start("200 OK", [])
    assert "although start_response has not been called" not in str(caught.value)


@pytest.mark.parametrize(("status", "headers"), [("OK", []), ("200 OK", [("X", "a\nb")]), ("200 OK", [5])])
def test_a_replacing_call_that_fails_changes_nothing(status: str, headers: Any) -> None:
    """W2A-RESP-23: the first start stays in force, whole."""
    response = started("GET", ("A", "1"), ("Content-Length", "1"))
    error = ValueError("broken")
    with pytest.raises((ApplicationValueError, ApplicationTypeError)):
        response.start(status, headers, (ValueError, error, None))
    start, body = response.chunk(b"x")
    assert (start["status"], start["headers"]) == (200, [(b"a", b"1"), (b"content-length", b"1")])
    assert body["more_body"] is False


def test_a_replacing_call_takes_the_place_of_everything() -> None:
    """W2A-RESP-24: the old length is gone with the old headers; it may be the first call, too."""
    error = ValueError("broken")
    response = started("GET", ("Content-Length", "1"), ("Connection", "close"))
    response.start("500 Sorry", [], (ValueError, error, None))
    assert response.dropped == ()
    start, body = response.chunk(b"sorry")
    assert (start["status"], start["headers"]) == (500, [])
    assert body == {"type": "http.response.body", "body": b"sorry", "more_body": True}
    first = WsgiResponse("GET")
    first.start("500 Sorry", [], (None, None, None))
    assert kinds(first.end()) == ["start", "body"]


def test_an_error_that_comes_too_late_keeps_its_traceback() -> None:
    """W2A-RESP-25: that of exc_info, under what is added on the way."""
    response = started()
    response.chunk(b"x")

    def original() -> None:
        raise ValueError("broken")

    def handler() -> None:
        try:
            original()
        except ValueError:
            response.start("500 Sorry", [], sys.exc_info())

    with pytest.raises(ValueError, match="broken") as caught:
        handler()
    assert caught.traceback[-1].name == "original"


@pytest.mark.parametrize("late", [False, True])
def test_no_reference_to_exc_info_is_kept(late: bool) -> None:
    """W2A-RESP-27: the exception goes with its last user, without the garbage collector."""

    class Broken(Exception):
        """Unlike those of the builtins, its objects can be referred to weakly."""

    response = started()
    if late:
        response.chunk(b"x")

    def fail() -> "weakref.ref[Broken]":
        try:
            raise Broken
        except Broken as error:
            with suppress(Broken):
                response.start("500 Sorry", [], (Broken, error, error.__traceback__))
            return weakref.ref(error)

    gc.disable()
    try:
        assert fail()() is None
    finally:
        gc.enable()


def test_exc_info_replaces_or_raises() -> None:
    """Before the head has left, and after."""
    response = started("GET", ("A", "1"))
    error = ValueError("broken")
    response.start("500 Sorry", [("B", "2")], (ValueError, error, None))
    assert response.chunk(b"x")[0]["headers"] == [(b"b", b"2")]
    with pytest.raises(ValueError, match="broken") as caught:
        response.start("500 Sorry", [], (ValueError, error, None))
    assert caught.value is error
    with pytest.raises(ApplicationOrderError, match="empty exc_info"):
        response.start("500 Sorry", [], (None, None, None))
    with pytest.raises(ApplicationTypeError, match="exc_info of type int"):
        started().start("500 Sorry", [], 5)


@pytest.mark.parametrize("use", ["chunk", "end", "write"])
def test_a_body_needs_a_start(use: str) -> None:
    """However it comes."""
    response = WsgiResponse("GET")
    with pytest.raises(ApplicationOrderError, match="before it called start_response"):
        getattr(response, use)(*[] if use == "end" else [b"x"])


def test_the_declared_length_is_kept() -> None:
    """Cut where there is more, an error where there is less, whatever the way."""
    response = started("GET", ("Content-Length", "3"))
    assert response.chunk(b"abcd", only=True)[1]["body"] == b"abc"
    assert response.complete
    assert response.write(b"") == ([], None)
    assert "leaves room for 0" in str(response.write(b"x")[1])
    short = started("GET", ("Content-Length", "3"))
    assert short.chunk(b"a", only=True)[1]["more_body"] is True
    with pytest.raises(ApplicationValueError, match="2 bytes short"):
        short.end()
    unsent = started("GET", ("Content-Length", "3"))
    with pytest.raises(ApplicationValueError, match="3 bytes short"):
        unsent.end()
    assert not unsent.committed
    events, error = started("GET", ("Content-Length", "1")).write(b"ab")
    assert events[1] == {"type": "http.response.body", "body": b"a", "more_body": False}
    assert "room for 1" in str(error)


def test_nothing_follows_the_declared_length() -> None:
    """W2A-RESP-50, W2A-RESP-68: not what the iterable gives after write() has sent all of it, either."""
    response = started("GET", ("Content-Length", "3"))
    events, error = response.write(b"abc")
    assert (kinds(events), events[-1]["more_body"], error) == (["start", "body"], False, None)
    assert response.chunk(b"d") == []
    assert response.chunk(b"d", only=True) == []
    assert response.end() == []
    assert response.complete


def test_a_declared_length_of_nothing_is_kept_too() -> None:
    """The first byte is past it; without any, the end completes the response."""
    response = started("GET", ("Content-Length", "0"))
    events, error = response.write(b"a")
    assert (kinds(events), events[-1]["body"], events[-1]["more_body"]) == (["start", "body"], b"", False)
    assert "room for 0" in str(error)
    assert kinds(started("GET", ("Content-Length", "0")).end()) == ["start", "body"]
    written = started("GET", ("Content-Length", "0"))
    assert kinds(written.write(b"")[0]) == ["start"]
    assert kinds(written.end()) == ["body"]


@pytest.mark.parametrize(
    ("length", "chunks", "bodies"),
    [
        # Without a length, each chunk is an event, and the end another one.
        (None, [b"a", b"b"], [(b"a", True), (b"b", True), (b"", False)]),
        (None, [], [(b"", False)]),
        (None, [b"", b"a", b""], [(b"a", True), (b"", False)]),
        # With one, the chunk that reaches it is the last event.
        (2, [b"a", b"b"], [(b"a", True), (b"b", False)]),
        (2, [b"", b"ab"], [(b"ab", False)]),
        (2, [b"a", b"bc"], [(b"a", True), (b"b", False)]),
        (3, [b"a", b"b", b"cd"], [(b"a", True), (b"b", True), (b"c", False)]),
    ],
)
def test_each_chunk_is_an_event(
    length: int | None, chunks: list[bytes], bodies: list[tuple[bytes, bool]]
) -> None:
    """W2A-RESP-38 to -42, W2A-RESP-50: after one start, and with one final event."""
    response = started("GET", *[] if length is None else [("Content-Length", str(length))])
    events = [event for chunk in chunks for event in response.chunk(chunk)]
    events += response.end()
    assert kinds(events) == ["start"] + ["body"] * len(bodies)
    assert [(event["body"], event["more_body"]) for event in events[1:]] == bodies


@pytest.mark.parametrize("data", ["text", 5, None, bytearray(b"x"), memoryview(b"x"), [b"x"]])
def test_a_body_is_made_of_bytes(data: Any) -> None:
    """W2A-RESP-30, W2A-RESP-45: nothing else, and the text names the type; nothing is sent."""
    response = started()
    for use, text in ((response.chunk, "the application's iterable gave"), (response.write, "write")):
        with pytest.raises(ApplicationTypeError, match=text) as caught:
            use(data)
        assert f"a {type(data).__name__}; give bytes" in str(caught.value)
    assert not response.committed


def test_a_kind_of_bytes_is_bytes() -> None:
    """W2A-RESP-46, OPEN-20."""

    class Kind(bytes):
        pass

    assert started().chunk(Kind(b"x"))[1]["body"] == b"x"


def test_write_commits_even_without_data() -> None:
    """And gives no error."""
    response = started()
    events, error = response.write(b"")
    assert (kinds(events), error) == (["start"], None)
    assert response.write(b"") == ([], None)
    with pytest.raises(ApplicationTypeError, match="'text', a str"):
        response.write("text")
    with pytest.raises(ApplicationTypeError, match=r"\.\.\., a str"):
        response.chunk("x" * 100)


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 205), ("GET", 304)])
def test_responses_without_a_body(method: str, status: int) -> None:
    """Bytes are dropped, lengths are not checked, and only a 204 and a 205 lose their Content-Length."""
    response = WsgiResponse(method, add_content_length=True)
    response.start(f"{status} X", [("Content-Length", "5")])
    events = response.chunk(b"abc", only=True) + response.chunk(b"d") + response.end()
    assert kinds(events) == ["start", "body"]
    assert events[1]["body"] == b""
    assert events[0]["headers"] == ([] if status in (204, 205) else [(b"content-length", b"5")])


def test_the_length_of_a_whole_body_is_added_on_request() -> None:
    """Where the application gave none."""
    response = started("GET", ("X", "y"), add_content_length=True)
    assert response.chunk(b"abc", only=True)[0]["headers"] == [(b"x", b"y"), (b"content-length", b"3")]
    assert started("GET", add_content_length=True).chunk(b"abc")[0]["headers"] == []
    assert started("GET").chunk(b"abc", only=True)[0]["headers"] == []


FILE = {"type": "http.response.pathsend", "path": "/f"}


def test_a_file_takes_the_place_of_the_body() -> None:
    """Where its size is the declared one, nothing was sent, and there is a body at all."""
    response = started()
    assert response.declared_length(7) == 7
    assert kinds(response.file(FILE, 7) or []) == ["start", "pathsend"]
    assert response.complete
    assert response.file(FILE, 7) is None
    assert started("GET", ("Content-Length", "5")).declared_length(7) == 5
    assert started("GET", ("Content-Length", "5")).file(FILE, 7) is None
    assert started("HEAD").file(FILE, 7) is None
    assert WsgiResponse("GET").file(FILE, 7) is None
    trailing = WsgiResponse("GET", may_have_trailers=True)
    trailing.set_trailers([])
    trailing.start("200 OK", [])
    assert trailing.file(FILE, 7) is None


def test_early_hints_are_the_links_before_the_head() -> None:
    """Checked like all headers."""
    response = WsgiResponse("GET")
    assert response.early_hint([("Link", "</a>"), ("X", "y")])[0]["links"] == [b"</a>"]
    assert response.early_hint([("X", "y")]) == []
    with pytest.raises(ApplicationValueError, match="control"):
        response.early_hint([("Link", "a\r\nb")])
    response.start("200 OK", [])
    response.chunk(b"x")
    assert response.early_hint([("Link", "</a>")]) == []


def test_trailers_are_announced_and_follow_the_body() -> None:
    """The last ones that were set."""
    response = WsgiResponse("GET", may_have_trailers=True)
    response.set_trailers([("A", "1")])
    response.start("200 OK", [])
    assert response.chunk(b"x")[0]["trailers"] is True
    response.set_trailers([("B", "2")])
    assert response.end()[-1] == {"type": "http.response.trailers", "headers": [(b"b", b"2")]}
    with pytest.raises(ApplicationOrderError, match="announce trailers"):
        response.set_trailers([])
    announced = started("GET", ("Trailer", "A"), may_have_trailers=True)
    assert announced.chunk(b"x")[0]["trailers"] is True
    assert "trailers" not in started("GET", ("Trailer", "A")).chunk(b"x")[0]
    silent = started(may_have_trailers=True)
    assert "trailers" not in silent.chunk(b"x")[0]
    with pytest.raises(ApplicationOrderError, match="announce trailers"):
        silent.set_trailers([])


@pytest.mark.parametrize(("length", "kept"), [("0", [(b"content-length", b"0")]), ("5", [])])
def test_a_205_has_no_length_but_0(length: str, kept: list[tuple[bytes, bytes]]) -> None:
    """RFC 9110, 15.3.6: there is nothing to wait for, although the connection is kept open."""
    response = WsgiResponse("GET")
    response.start("205 Reset Content", [("Content-Length", length)])
    (start, _) = [*response.chunk(b"x" * int(length)), *response.end()]
    assert start["headers"] == kept
