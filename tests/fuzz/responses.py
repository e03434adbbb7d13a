"""Fuzz targets for the rules of responses: ``wsgi_response`` and ``asgi_response``.

Whatever may be called is called in any order with anything, and `plain_responses` says what comes of it. What
comes out is followed by the validators of both interfaces, and counted as a client would.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Any
from wsgiref.util import is_hop_by_hop
from wsgiref.validate import check_headers, check_status

from asgiadapt import ApplicationError, ApplicationValueError
from asgiadapt._sansio.messages import AsgiResponse, FilePath, Head, ServerCall
from asgiadapt._sansio.response import WsgiResponse
from asgiadapt._sansio.validation import conversation_for
from tests.fuzz.choices import Choices
from tests.fuzz.plain_heads import CONTROLS
from tests.fuzz.plain_responses import BODILESS, OFFERS, PlainAsgiResponse, PlainWsgiResponse, Wrong

NAMES: list[Any] = [
    "X-A", "Content-Type", "content-length", "Content-Length", "Set-Cookie", "Connection", "x_a",
    "transfer-encoding", "TE", "Trailer", "Upgrade", "Proxy-Authenticate", "Keep-Alive", "Status", "Link", "",
    "X A", "X:", "\u00e9", "X\r",
]  # fmt: skip
VALUES: list[Any] = [
    "a", "", "0", "3", "5", "05", " 5\t", "100", "+5", "5,5", "\u00b2", "9" * 21, "a\r\nb: c", "\0", "\x7f",
    "\t", "\u00e9", "\u20ac", "\x85", "trailers",
]  # fmt: skip
CHUNKS: list[Any] = [b"a", b"", b"bc", b"x" * 40, b"\r\n\r\n", b"y" * 100]


def one_of(c: Choices, usual: list[Any], raw: Callable[[bytes], Any], wrong: list[Any]) -> Any:
    """One of *usual*; seldom raw bytes, or what is *wrong* in any case."""
    number = c.byte()
    if number == 255:
        return c.pick(wrong)
    if number == 254:
        return raw(c.raw(8))
    return usual[number % len(usual)]


def latin(raw: bytes) -> str:
    return raw.decode("latin-1")


def pair_of(c: Choices, name: Any, value: Any) -> Any:
    """A header, seldom as what may not be one."""
    pair = (name, value)
    return c.pick([list(pair), pair[:1], (*pair, name), None]) if c.seldom() else pair


# Of a WSGI application

LINES: list[Any] = [
    "200 OK", "204 No Content", "205 Reset", "304 Not Modified", "407 P", "404", "413 ", "100 Continue",
    "199 X", "20 OK", "2000 X", "200 OK\r\n", "\u0662\u0660\u0660 OK", "999 X", "200\tOK", "", "200  \u00e9",
    "103 Early Hints",
]  # fmt: skip
CALLS = [
    "start", "chunk", "write", "chunk", "end", "restart", "early_hint", "set_trailers", "file", "start",
]  # fmt: skip


class Failure(Exception):
    pass


def wsgi_headers(c: Choices) -> Any:
    if c.byte() == 255:
        return c.pick([None, 5, ()])
    return c.several(
        lambda: pair_of(
            c, one_of(c, NAMES, latin, [b"x-a", None, 5]), one_of(c, VALUES, latin, [b"a", None, 5])
        ),
        4,
    )


def wsgi_call(c: Choices) -> tuple[str, tuple[Any, ...]]:
    """What an application does, or the gateway for it: a method, and its arguments."""
    name = c.pick(CALLS)
    if name == "start":
        return name, (one_of(c, LINES, latin, [200, b"200 OK", None]), wsgi_headers(c), None)
    if name == "restart":
        error = Failure()
        exc_info = (Failure, error, None) if c.flag() else c.pick([(None, None, None), error, 5])
        return "start", (one_of(c, LINES, latin, [200, None]), wsgi_headers(c), exc_info)
    if name in ("chunk", "write"):
        chunk = one_of(c, CHUNKS, bytes, ["text", None, bytearray(b"a"), 5])
        return name, (chunk, c.flag()) if name == "chunk" else (chunk,)
    if name in ("early_hint", "set_trailers"):
        return name, (c.several(lambda: (c.pick(["Link", "link", "X-A", "", "A B"]), c.pick(VALUES)), 2),)
    if name == "file":
        size = c.pick([3, 5, 0, 100])
        event = {"type": "http.response.zerocopysend", "file": 0, "count": size, "more_body": False}
        return name, (event, size)
    return name, ()


def wsgi_response(data: bytes) -> None:
    """Any calls in any order: what PEP 3333 says of each, and events that keep to ASGI."""
    c = Choices(data)
    method = c.pick(["GET", "HEAD"])
    options = {"strict": c.seldom(), "add_content_length": c.flag(), "may_have_trailers": c.flag()}
    real = WsgiResponse(method, **options)
    plain = PlainWsgiResponse(method, **options)
    extensions: dict[str, Any] = {"http.response.early_hint": {}, "http.response.zerocopysend": {}}
    if options["may_have_trailers"]:
        extensions["http.response.trailers"] = {}
    conversation = conversation_for({"type": "http", "method": method, "extensions": extensions})
    sent: list[dict[str, Any]] = []
    for _ in range(c.byte() % 10 + 1):
        name, arguments = wsgi_call(c)
        if name == "set_trailers" and not options["may_have_trailers"]:
            continue  # the application finds nothing to set them by
        events = wsgi_step(real, plain, name, arguments, once=c.seldom())
        for event in events:
            faults = [fault.rule for fault in conversation.message(event)]
            assert not faults, (faults, event)
        sent += events
        assert real.committed == plain.committed
        assert real.complete == plain.done
    check_on_wire(sent, method, complete=real.complete)


def wsgi_step(
    real: WsgiResponse, plain: PlainWsgiResponse, name: str, arguments: tuple[Any, ...], *, once: bool
) -> list[dict[str, Any]]:
    """One call, of both: the events that come of it. *once*: the headers can be read a single time."""
    expected: list[Any] | None = []
    wrong = None
    try:
        expected = getattr(plain, name)(*arguments)
    except Wrong as error:
        wrong = error.kind
    events: Any
    try:
        if name == "chunk":
            events = real.chunk(arguments[0], only=arguments[1])
        elif name == "start":
            line, headers, exc_info = arguments
            headers = iter(headers) if once and isinstance(headers, list) else headers
            real.start(line, headers, exc_info)
            events = None
        else:
            events = getattr(real, name)(*arguments)
    except (ApplicationError, Failure) as error:
        assert type(error) is wrong, (name, arguments, error)
        assert isinstance(error, ApplicationError) or error is arguments[2][1]
        return []
    assert wrong is None, (name, arguments, wrong)
    if name == "write":
        events, past = events
        assert (type(past) if past is not None else None) is plain.past
    assert (events or []) == (expected or []), (name, arguments)
    assert (events is None) == (expected is None)
    return events or []


def check_on_wire(sent: list[dict[str, Any]], method: str, *, complete: bool) -> None:
    """What a client gets: one head, framed once; as many bytes as it says; and no lines of its own."""
    for event in sent:
        for name, value in [*event.get("headers", ()), *((b"link", link) for link in event.get("links", ()))]:
            assert type(name) is type(value) is bytes
            assert name == name.lower()
            assert not set(b"\r\n\0") & set(name + value)
    heads = [event for event in sent if event["type"] == "http.response.start"]
    if not heads:
        assert {event["type"] for event in sent} <= {"http.response.early_hint"}
        return
    (head,) = heads
    names = [name for name, _ in head["headers"]]
    assert names.count(b"content-length") <= 1
    assert not {b"transfer-encoding", b"connection", b"trailer", b"upgrade"} & set(names)
    assert type(head["status"]) is int
    assert 200 <= head["status"] <= 999
    bodies = [event for event in sent if event["type"] == "http.response.body"]
    files = [event for event in sent if event["type"] == "http.response.zerocopysend"]
    assert sum(not event["more_body"] for event in [*bodies, *files]) == complete
    size = sum(len(event["body"]) for event in bodies) + sum(event["count"] for event in files)
    length = dict(head["headers"]).get(b"content-length")
    check_length(size, None if length is None else int(length), method, head["status"], complete=complete)


def check_length(size: int, length: int | None, method: str, status: int, *, complete: bool) -> None:
    """RFC 9110, 8.6: *size* bytes were sent where *length* was declared."""
    if method == "HEAD" or status in BODILESS:
        assert size == 0
    elif length is not None:
        assert size == length if complete else size <= length
    assert status != 204 or length is None


# Of an ASGI application


class Status(IntEnum):
    TEAPOT = 418


STATUSES: list[Any] = [200, 204, 205, 304, 407, 404, 599, 999, 1000, 199, 101, -1, 299, Status.TEAPOT]
BYTE_NAMES: list[Any] = [name.encode("latin-1") for name in NAMES] + [b":path", b"X\xe9"]
BYTE_VALUES: list[Any] = [value.encode("latin-1") for value in VALUES if value != "\u20ac"]
OTHERS: list[Any] = [
    {"type": "http.response.trailers", "headers": []},
    {"type": "http.disconnect"},
    {"type": "http.response.push"},
    {"type": "http.response.zerocopysend"},
    {"type": "http.response.debug", "info": {}},
    {"type": b"http.response.body"},
    {},
    None,
    "text",
]


def asgi_message(c: Choices) -> Any:
    kind = c.pick(["start", "body", "body", "body", "early_hint", "debug", "pathsend", "start", "other"])
    if kind == "other":
        return c.pick(OTHERS)
    message: dict[str, Any] = {"type": f"http.response.{kind}"}
    if kind == "start":
        message["status"] = one_of(c, STATUSES, len, ["200", None, True, 200.0])
        message["headers"] = c.several(
            lambda: pair_of(
                c, one_of(c, BYTE_NAMES, bytes, ["x-a", None, 5]), one_of(c, BYTE_VALUES, bytes, ["a", None])
            ),
            4,
        )
        if c.byte() == 255:
            message["headers"] = c.pick([None, 5])
    elif kind == "body":
        message["body"] = one_of(c, CHUNKS, bytes, ["text", None, bytearray(b"abc"), memoryview(b"abc"), 5])
        message["more_body"] = c.flag()
    elif kind == "early_hint":
        message["links"] = c.pick([[b"a"], [], [b"a", b" b\t"], ["a"], [b"a\r"], None, [b"\xe9"]])
    elif kind == "debug":
        message["info"] = {}
    else:
        message["path"] = c.pick(["/a", b"/a", None])
    if c.seldom():
        del message[c.pick(list(message)[1:])]
    return message


def asgi_response(data: bytes) -> None:
    """Any messages in any order: what ASGI says of each, and a response that keeps to PEP 3333."""
    c = Choices(data)
    method = c.pick(["GET", "HEAD"])
    offered = [kind for kind in OFFERS if c.flag()]
    add_content_length = c.flag()
    real = AsgiResponse(method, offered, add_content_length=add_content_length)
    plain = PlainAsgiResponse(method, offered, add_content_length)
    given: list[Any] = []  # for the server; the sizes of files among it
    for _ in range(c.byte() % 9 + 1):
        message = asgi_message(c)
        copy = dict(message) if isinstance(message, dict) else message
        sent = message
        if c.seldom() and isinstance(message, dict) and isinstance(message.get("headers"), list):
            sent = {**message, "headers": iter(message["headers"])}
        parts = asgi_step(real.accept, plain.send, sent, message)
        assert message == copy  # A2W-SEND-32
        if parts and isinstance(parts[-1], tuple) and parts[-1][0] == "file":
            size = c.pick([5, 0, 3, 100])
            parts = asgi_step(real.file, plain.file, size, size)
            if parts and plain.has_body():
                parts.append(size)
        given += parts
        assert real.complete == plain.complete
        assert plain.status is None or real.has_body() == plain.has_body()
    check_for_server(given, method, complete=plain.done)


def asgi_step(
    really: Callable[[Any], list[Any]], plainly: Callable[[Any], list[Any]], sent: Any, message: Any
) -> list[Any]:
    """One call, of both: the parts that come of it, as tuples, bytes or the class of an error."""
    expected: list[Any] = []
    wrong = None
    try:
        expected = plainly(message)
    except Wrong as error:
        wrong = error.kind
    try:
        parts = really(sent)
    except ApplicationError as error:
        assert type(error) is wrong, error
        return []
    assert wrong is None, wrong
    names = {Head: "head", ServerCall: "call", FilePath: "file"}
    seen = [
        (names[type(part)], *part)
        if type(part) in names
        else type(part)
        if isinstance(part, Exception)
        else part
        for part in parts
    ]
    assert seen == expected
    assert all(type(part) in (tuple, bytes, type) for part in seen)
    return seen


def check_for_server(given: list[Any], method: str, *, complete: bool) -> None:
    """What the WSGI server gets: a head that the standard library lets pass, and as many bytes as it says."""
    heads = [part for part in given if isinstance(part, tuple) and part[0] == "head"]
    chunks = [part for part in given if isinstance(part, bytes)]
    for part in given:
        if isinstance(part, tuple) and part[1] == "wsgi.early_hints":
            assert not any(CONTROLS.intersection(value) for _, value in part[2])
    if not heads:
        assert not chunks
        return
    (head,) = heads
    assert not [part for part in given[: given.index(head)] if isinstance(part, bytes)]
    _, line, fields = head
    check_status(line)
    assert type(fields) is list
    lengths = []
    for name, value in fields:
        assert type(name) is type(value) is str
        assert not CONTROLS.intersection(name + value)
        assert not is_hop_by_hop(name) or line.startswith("407 ")
        if name.lower() == "content-length":
            lengths.append(int(value))
        # It knows fewer names, and has its own opinion on tabs.
        elif name.replace("-", "").isalnum() and name[0].isalpha() and name.lower() != "status":
            check_headers([(f"{name}x", value.replace("\t", " "))])
    assert len(lengths) <= 1
    size = sum(map(len, chunks)) + sum(part for part in given if isinstance(part, int))
    whole = complete and ApplicationValueError not in given
    check_length(size, lengths[0] if lengths else None, method, int(line[:3]), complete=whole)
