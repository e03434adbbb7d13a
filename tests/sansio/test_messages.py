"""Responses of an ASGI application, message by message; the rules' table is in ``conformance``."""

from collections.abc import Mapping
from enum import IntEnum
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import pytest

from asgiadapt._errors import ApplicationOrderError, ApplicationTypeError, ApplicationValueError
from asgiadapt._sansio.messages import AsgiResponse, FilePath, Head, Phase, ServerCall, kind_of

ALL = {"http.response.early_hint", "http.response.pathsend", "http.response.debug"}
PHASES: dict[Phase, list[dict[str, Any]]] = {}


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data: Any = b"", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def length(size: int) -> tuple[bytes, bytes]:
    return (b"content-length", str(size).encode())


def hint(*links: bytes) -> dict[str, Any]:
    return {"type": "http.response.early_hint", "links": links}


def pathsend(path: Any = "/file") -> dict[str, Any]:
    return {"type": "http.response.pathsend", "path": path}


def debug(info: Any) -> dict[str, Any]:
    return {"type": "http.response.debug", "info": info}


def response(
    *messages: Mapping[str, Any], method: str = "GET", offered: Any = frozenset(), add: bool = False
) -> AsgiResponse:
    """A response after *messages*."""
    made = AsgiResponse(method, offered, add_content_length=add)
    for message in messages:
        made.accept(message)
    return made


PHASES.update(
    {
        Phase.WAITING: [],
        Phase.STARTED: [start()],
        Phase.OPEN: [start(), body(b"x", more=True)],
        Phase.DRAINING: [start(204), body(b"x", more=True)],
        Phase.DONE: [start(), body()],
    }
)


@pytest.mark.parametrize("phase", list(Phase))
def test_each_phase_is_reached_and_told(phase: Phase) -> None:
    """`complete` holds where the client gets nothing more."""
    made = response(*PHASES[phase])
    assert made.phase is phase
    assert made.complete is (phase in (Phase.DRAINING, Phase.DONE))


@pytest.mark.parametrize(
    ("phase", "message", "text"),
    [
        (Phase.WAITING, body(), "before http.response.start; send that first"),
        (Phase.WAITING, pathsend(), "pathsend although no http.response.start was sent yet"),
        (Phase.STARTED, start(), "start although http.response.start was sent, and no part of the body"),
        (Phase.OPEN, start(), "start although a part of the body was sent; send it once"),
        (Phase.OPEN, pathsend(), "pathsend although a part of the body was sent"),
        (Phase.OPEN, hint(b"</a>"), "early_hint although a part of the body was sent; send hints before"),
        (Phase.DRAINING, start(), "start although the head was sent, which is all"),
        (Phase.DRAINING, pathsend(), "pathsend although the head was sent, which is all"),
        (Phase.DRAINING, hint(b"</a>"), "early_hint although the head was sent, which is all"),
        *(
            (phase, {"type": "http.response.trailers"}, r"sent 'http\.response\.trailers', which this server")
            for phase in Phase
            if phase is not Phase.DONE
        ),
    ],
)
def test_what_may_not_come_in_a_phase_raises_and_changes_nothing(
    phase: Phase, message: dict[str, Any], text: str
) -> None:
    """The error tells the phase; the response can go on."""
    made = response(*PHASES[phase], offered=ALL)
    with pytest.raises(ApplicationOrderError, match=text):
        made.accept(message)
    assert made.phase is phase


@pytest.mark.parametrize("message", [start(), body(b"x"), pathsend(), hint(), debug(1), {"type": "x"}, {}, 5])
def test_after_the_end_nothing_is_looked_at(message: Any) -> None:
    """Whatever it is, it brings no part."""
    made = response(start(), body(), offered=ALL)
    assert made.accept(message) == []
    assert made.phase is Phase.DONE


def test_the_head_waits_for_the_first_part_of_the_body() -> None:
    """It comes with it, as start_response takes it."""
    made = response()
    assert made.accept(start(404, (b"X-A", b" 1 "), (b"set-cookie", b"a"), (b"set-cookie", b"b"))) == []
    head, chunk = made.accept(body(b"x", more=True))
    assert head == Head("404 Not Found", [("X-A", "1"), ("set-cookie", "a"), ("set-cookie", "b")])
    assert chunk == b"x"
    assert made.accept(body(b"y", more=True)) == [b"y"]
    assert made.accept(body(b"z")) == [b"z"]


@pytest.mark.parametrize(
    ("message", "parts", "phase"),
    [
        (body(), [], Phase.DONE),
        (body(b"x"), [b"x"], Phase.DONE),
        (body(b"x", more=True), [b"x"], Phase.OPEN),
        # So that the server sends the head now.
        (body(b"", more=True), [b""], Phase.OPEN),
        ({"type": "http.response.body"}, [], Phase.DONE),
        ({"type": "http.response.body", "more_body": True}, [b""], Phase.OPEN),
        ({"type": "http.response.body", "body": b"x"}, [b"x"], Phase.DONE),
        (body(bytearray(b"x")), [b"x"], Phase.DONE),
        (body(memoryview(b"abcd").cast("H")), [b"abcd"], Phase.DONE),
        (body(memoryview(b"abcdef")[::2]), [b"ace"], Phase.DONE),
    ],
)
def test_a_first_part_is_given_as_it_is(message: dict[str, Any], parts: list[bytes], phase: Phase) -> None:
    """As bytes, an empty one where more follows."""
    made = response(start())
    head, *rest = made.accept(message)
    assert head == Head("200 OK", [])
    assert rest == parts
    assert all(type(part) is bytes for part in rest)
    assert made.phase is phase


def test_a_later_part_that_is_empty_is_given_unless_it_is_the_last() -> None:
    """An empty part in the midst tells the thread that the loop has come so far."""
    made = response(start(), body(b"x", more=True))
    assert made.accept(body(b"", more=True)) == [b""]
    assert made.accept(body()) == []


def test_bytes_of_a_class_of_their_own_become_plain() -> None:
    """A server may look for the very type."""

    class Bytes(bytes):
        pass

    _, part = response(start()).accept(body(Bytes(b"x")))
    assert type(part) is bytes


@pytest.mark.parametrize("data", ["x", None, 5, [b"x"]])
def test_a_body_of_another_type_raises(data: Any) -> None:
    """And the response can go on."""
    made = response(start())
    with pytest.raises(ApplicationTypeError, match=f"a body of type {type(data).__name__}; give bytes"):
        made.accept(body(data))
    assert made.phase is Phase.STARTED


# Those without a body


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", 200), ("HEAD", 404), ("GET", 204), ("GET", 205), ("GET", 304)]
)
@pytest.mark.parametrize("chunks", [[], [b"x"], [b"", b"x"], [b"x", b"y"]])
def test_what_has_no_body_is_the_head_alone(method: str, status: int, chunks: list[bytes]) -> None:
    """However much the application sends; it is drained up to its last part."""
    made = response(start(status), method=method)
    parts = []
    for chunk in chunks:
        parts += made.accept(body(chunk, more=True))
        assert made.phase is Phase.DRAINING
    parts += made.accept(body(b"z"))
    assert [type(part) for part in parts] == [Head]
    assert made.phase is Phase.DONE
    assert not made.has_body()


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("POST", 206), ("head", 200), ("GET", 404)])
def test_other_responses_have_a_body(method: str, status: int) -> None:
    """Methods are told by their exact names."""
    assert response(start(status), method=method).has_body()


@pytest.mark.parametrize(
    ("method", "status", "kept"),
    [("HEAD", 200, True), ("GET", 304, True), ("GET", 204, False), ("HEAD", 204, False)],
)
def test_a_length_without_a_body_is_not_counted(method: str, status: int, kept: bool) -> None:
    """It tells what a GET would bring; a 204 has none (RFC 9110, 8.6)."""
    made = response(start(status, (b"Content-Length", b"5"), (b"x", b"y")), method=method)
    (head,) = made.accept(body(b"longer than that"))
    assert head == Head(
        f"{status} {HTTPStatus(status).phrase}",
        [("Content-Length", "5"), ("x", "y")] if kept else [("x", "y")],
    )


@pytest.mark.parametrize("declared", [0, 5])
def test_a_205_has_no_length_but_0(declared: int) -> None:
    """RFC 9110, 15.3.6: there is nothing to wait for, although the connection is kept open."""
    made = response(start(205, length(declared)))
    (head,) = made.accept(body(b"x" * declared))
    assert isinstance(head, Head)
    assert dict(head.headers).get("content-length", "0") == "0"


# Lengths


@pytest.mark.parametrize(
    "chunks", [[b"hello"], [b"hel", b"lo"], [b"hello", b""], [b"", b"h", b"", b"ello", b"", b""]]
)
def test_as_many_bytes_as_declared_pass(chunks: list[bytes]) -> None:
    """However they are cut."""
    made = response(start(200, length(5)))
    parts: list[Any] = []
    for number, chunk in enumerate(chunks, 1):
        parts += made.accept(body(chunk, more=number < len(chunks)))
    assert isinstance(parts[0], Head)
    assert b"".join(parts[1:]) == b"hello"
    assert made.phase is Phase.DONE


@pytest.mark.parametrize(
    ("before", "data", "text"),
    [
        ([], b"hello!", "a part of 6 bytes where the content-length of the response leaves room for 5"),
        ([b"hel"], b"lo!", "a part of 3 bytes where the content-length of the response leaves room for 2"),
        ([b"hello"], b"!", "a part of 1 bytes where the content-length of the response leaves room for 0"),
    ],
)
@pytest.mark.parametrize("more", [False, True])
def test_a_byte_too_many_raises_and_passes_nothing(
    before: list[bytes], data: bytes, text: str, more: bool
) -> None:
    """What was left before it is left still."""
    made = response(start(200, length(5)), *[body(chunk, more=True) for chunk in before])
    phase = made.phase
    with pytest.raises(ApplicationValueError, match=text):
        made.accept(body(data, more=more))
    assert made.phase is phase
    rest = b"hello"[len(b"".join(before)) :]
    parts = made.accept(body(rest))
    assert [part for part in parts if type(part) is bytes] == ([rest] if rest else [])
    assert made.phase is Phase.DONE


@pytest.mark.parametrize(("chunks", "short"), [([b""], 5), ([b"hell"], 1), ([b"hel", b""], 2)])
def test_a_byte_too_few_is_an_error_for_the_server(chunks: list[bytes], short: int) -> None:
    """It stands in place of the last part, and of the head where that was not given yet."""
    *first, last = chunks
    made = response(start(200, length(5)), *[body(chunk, more=True) for chunk in first])
    (part,) = made.accept(body(last))
    assert isinstance(part, ApplicationValueError)
    assert f"ended {short} bytes short of its content-length" in str(part)
    assert made.phase is Phase.DONE


@pytest.mark.parametrize(
    ("method", "messages", "added"),
    [
        ("GET", [start(), body(b"hello")], "5"),
        ("GET", [start(), body()], "0"),
        ("GET", [start(), body(memoryview(b"abcd").cast("H"))], "4"),
        ("GET", [start(), body(b"hello", more=True)], None),
        ("HEAD", [start(), body(b"hello")], None),
        ("GET", [start(204), body()], None),
        ("GET", [start(205), body()], None),
        ("GET", [start(304), body()], None),
    ],
)
def test_a_length_is_added_to_what_is_whole(
    method: str, messages: list[dict[str, Any]], added: str | None
) -> None:
    """Where that was asked for, and there is none."""
    *first, last = messages
    head = response(*first, method=method, add=True).accept(last)[0]
    assert isinstance(head, Head)
    assert dict(head.headers).get("content-length") == added
    plain = response(*first, method=method).accept(last)[0]
    assert isinstance(plain, Head)
    assert plain.headers == []


def test_a_length_that_is_there_is_kept() -> None:
    """Under the name that the application has for it."""
    head = response(start(200, (b"Content-Length", b"1")), add=True).accept(body(b"x"))[0]
    assert head == Head("200 OK", [("Content-Length", "1")])


def test_what_was_dropped_is_told() -> None:
    """Once the response has started."""
    made = response()
    assert made.dropped == ()
    made.accept(start(200, (b"Connection", b"close"), (b"x", b"y")))
    assert made.dropped == ("Connection",)


@pytest.mark.parametrize(
    ("message", "kind", "text"),
    [
        ({"type": "http.response.start"}, ApplicationTypeError, "the status None"),
        ({"type": "http.response.start", "status": 101}, ApplicationValueError, "the status 101"),
        (start(200, (b"x y", b"")), ApplicationValueError, "the header name b'x y'"),
        (start(200, (b"content-length", b"x")), ApplicationValueError, "the content-length 'x'"),
        ({"type": "http.response.start", "status": 200, "headers": 5}, ApplicationTypeError, "an? int; give"),
    ],
)
def test_a_start_that_is_wrong_may_be_sent_again(
    message: dict[str, Any], kind: type[Exception], text: str
) -> None:
    """Nothing of the first remains."""
    made = response()
    with pytest.raises(kind, match=text):
        made.accept(message)
    assert made.phase is Phase.WAITING
    made.accept({"type": "http.response.start", "status": 200})
    assert made.accept(body(b"any length"))[0] == Head("200 OK", [])


# What the server offers


@pytest.mark.parametrize("phase", [Phase.WAITING, Phase.STARTED])
def test_hints_become_a_call_of_the_server(phase: Phase) -> None:
    """As header pairs; none where there are no links."""
    made = response(*PHASES[phase], offered=ALL)
    assert made.accept(hint(b"</a>", b" </b> ")) == [
        ServerCall("wsgi.early_hints", [("Link", "</a>"), ("Link", "</b>")])
    ]
    assert made.accept(hint()) == []
    assert made.accept({"type": "http.response.early_hint"}) == []
    assert made.phase is phase


@pytest.mark.parametrize(
    ("links", "kind", "text"),
    [
        (None, ApplicationTypeError, "has None for its links; give an iterable of bytes"),
        (5, ApplicationTypeError, "has 5 for its links"),
        (["</a>"], ApplicationTypeError, "iterable of bytes"),
        (b"</a>", ApplicationTypeError, "iterable of bytes"),
        ([b"a\r\nb"], ApplicationValueError, "no control"),
    ],
)
def test_hints_are_checked(links: Any, kind: type[Exception], text: str) -> None:
    """Like header values, which they are."""
    made = response(offered=ALL)
    with pytest.raises(kind, match=text):
        made.accept({"type": "http.response.early_hint", "links": links})


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.DONE])
def test_debug_becomes_a_call_of_the_server_at_any_time(phase: Phase) -> None:
    """With its info, whatever that is."""
    info = {"template": object()}
    made = response(*PHASES[phase], offered=ALL)
    assert made.accept(debug(info)) == [ServerCall("asgiadapt.debug", info)]
    assert made.accept({"type": "http.response.debug"}) == [ServerCall("asgiadapt.debug", None)]
    assert made.phase is phase


@pytest.mark.parametrize("message", [hint(b"</a>"), debug({}), pathsend()])
def test_what_is_not_offered_is_refused(message: dict[str, Any]) -> None:
    """Although another server might have it."""
    made = response(start(), offered=ALL - {message["type"]})
    with pytest.raises(ApplicationOrderError, match="which this server cannot do"):
        made.accept(message)
    with pytest.raises(ApplicationOrderError, match="which this server cannot do"):
        response(start(), offered={"asgiadapt.environ"}).accept({"type": "asgiadapt.environ"})


@pytest.mark.parametrize(
    ("size", "headers", "add", "pairs"),
    [
        (5, [], False, []),
        (5, [], True, [("content-length", "5")]),
        (5, [length(5)], True, [("content-length", "5")]),
        (0, [], True, [("content-length", "0")]),
    ],
)
def test_a_file_is_opened_before_its_head_is_made(
    size: int, headers: list[Any], add: bool, pairs: list[Any]
) -> None:
    """The size is what there is of the length to check."""
    made = response(start(200, *headers), offered=ALL, add=add)
    assert made.accept(pathsend()) == [FilePath("/file")]
    assert made.phase is Phase.STARTED
    assert made.file(size) == [Head("200 OK", pairs)]
    assert made.phase is Phase.DONE


@pytest.mark.parametrize("size", [4, 6, 0])
def test_a_file_of_another_size_raises(size: int) -> None:
    """Nothing is sent of it, and the response can go on."""
    made = response(start(200, length(5)), pathsend(), offered=ALL)
    with pytest.raises(ApplicationValueError, match=f"a file of {size} bytes where it has declared .* of 5"):
        made.file(size)
    assert made.phase is Phase.STARTED


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 304)])
def test_a_file_that_is_not_sent_may_have_any_size(method: str, status: int) -> None:
    """The length is that of another answer, and none is made up."""
    made = response(start(status, length(5)), pathsend(), method=method, offered=ALL)
    head = made.file(7)[0]
    assert isinstance(head, Head)
    assert head.headers == [("content-length", "5")]
    bare = response(start(status), pathsend(), method=method, offered=ALL, add=True).file(7)[0]
    assert isinstance(bare, Head)
    assert bare.headers == []


@pytest.mark.parametrize("path", [None, b"/file", 5])
def test_a_path_is_text(path: Any) -> None:
    """The error names its type."""
    made = response(start(), offered=ALL)
    with pytest.raises(ApplicationTypeError, match=f"a {type(path).__name__}; give a str"):
        made.accept(pathsend(path))


# Messages


@pytest.mark.parametrize("mapping", [MappingProxyType, dict])
def test_any_mapping_is_a_message(mapping: Any) -> None:
    """It is read, and not changed."""
    made = response()
    assert made.accept(mapping(start())) == []
    assert made.accept(mapping(body(b"x")))[1] == b"x"
    assert kind_of(mapping({"type": "x"})) == "x"


@pytest.mark.parametrize(
    ("message", "kind", "text"),
    [
        (None, ApplicationTypeError, "sent None, a NoneType; send a dict with a 'type'"),
        ([("type", "x")], ApplicationTypeError, "a list; send a dict"),
        ({}, ApplicationValueError, "the type None; give a str"),
        ({"type": b"http.response.start"}, ApplicationValueError, r"the type b'http\.response\.start'"),
        ({"type": []}, ApplicationValueError, r"the type \[\]"),
    ],
)
def test_what_is_no_message_raises(message: Any, kind: type[Exception], text: str) -> None:
    """In a response and by itself."""
    with pytest.raises(kind, match=text):
        kind_of(message)
    with pytest.raises(kind, match=text):
        response().accept(message)


def test_the_status_may_be_the_member_of_an_enumeration() -> None:
    """Its phrase is the registered one."""

    class Status(IntEnum):
        MISSING = 404

    assert response(start(Status.MISSING)).accept(body())[0] == Head("404 Not Found", [])
