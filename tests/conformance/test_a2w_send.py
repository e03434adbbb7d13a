"""A2W-SEND: what an ASGI application sends, and what the WSGI server gets of it.

Each row bears the id of its rule.
"""

import asyncio
import copy
import threading
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any
from wsgiref.util import FileWrapper

import pytest

from asgiadapt import (
    ApplicationError,
    ApplicationOrderError,
    ApplicationTypeError,
    ApplicationValueError,
    ClientDisconnected,
)
from tests.asgi_apps import (
    PLAIN,
    Receive,
    Scope,
    Send,
    answers,
    body,
    for_http,
    says_hello,
    sends,
    start,
    streams,
)
from tests.conformance.rules import rule
from tests.gates import Gate
from tests.validated import AsgiToWsgi
from tests.wsgi_fakes import Answer, Request, call, environ_for

KIB = 1024
START = "http.response.start"
BODY = "http.response.body"


def answer_of(
    app: Any, *, validated: bool = True, options: dict[str, Any] | None = None, **environ: Any
) -> Answer:
    """The answer to one request."""
    with AsgiToWsgi(app, **(options or {})) as wsgi:
        return call(wsgi, validated=validated, **environ)


def offers_nothing(scope: Scope) -> bool:
    return not {name for name in scope["extensions"] if name.startswith("http.response.")}


# Start


@rule("A2W-SEND-01")
def test_start_response_is_called_once_by_position_in_the_thread_of_the_request(_rule: None) -> None:
    """Whatever the number of events."""
    calls: list[Any] = []

    def start_response(*args: Any, **kwargs: Any) -> None:
        calls.append((args, kwargs, threading.get_ident()))

    with AsgiToWsgi(streams(b"a", b"b", headers=[(b"x", b"y")])) as wsgi:
        result = wsgi(environ_for(), start_response)
        assert list(result) == [b"a", b"b"]
        result.close()
    assert calls == [(("200 OK", [("x", "y")]), {}, threading.get_ident())]


@rule("A2W-SEND-02")
def test_the_head_waits_for_the_first_body_event(_rule: None) -> None:
    """With the start event alone, the server has got nothing."""
    started, may_go_on = Gate(), Gate()

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        started.open()
        await may_go_on.passed()
        await send(body(b"x"))

    with AsgiToWsgi(app) as wsgi, Request(wsgi, threaded=True) as request:
        step = request.begin_later()
        started.wait()
        assert not request.answer.started
        assert not step.over
        may_go_on.open()
        step.result()
        assert request.answer.started
        assert request.read_to_end().body == b"x"


@rule("A2W-SEND-02-empty")
def test_an_empty_first_body_event_brings_the_head(_rule: None) -> None:
    """An application that flushes its headers gets them to the client."""
    may_go_on = Gate()

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(more=True))
        await may_go_on.passed()
        await send(body(b"x"))

    with AsgiToWsgi(app) as wsgi, Request(wsgi) as request:
        assert request.begin().status == 200
        assert request.next() == b""
        may_go_on.open()
        assert request.read_to_end().body == b"x"


@rule("A2W-SEND-03")
def test_middleware_knows_the_status_when_the_call_returns(_rule: None) -> None:
    """It need not wait for the first chunk."""
    seen: list[str] = []

    with AsgiToWsgi(streams(b"a", status=404)) as wsgi:

        def middleware(environ: dict[str, Any], start_response: Any) -> Any:
            def keep(line: str, headers: Any, exc_info: Any = None) -> Any:
                seen.append(line)
                return start_response(line, headers)

            result = wsgi(environ, keep)
            assert seen == ["404 Not Found"]
            return result

        assert call(middleware).body == b"a"


@pytest.mark.parametrize(
    ("status", "line"),
    [
        pytest.param(200, "200 OK", id="A2W-SEND-04"),
        pytest.param(404, "404 Not Found", id="A2W-SEND-04-404"),
        pytest.param(418, "418 I'm a Teapot", id="A2W-SEND-04-418"),
        pytest.param(511, "511 Network Authentication Required", id="A2W-SEND-04-511"),
        pytest.param(299, "299 Unknown", id="A2W-SEND-05"),
        pytest.param(600, "600 Unknown", id="A2W-SEND-05-600"),
        pytest.param(999, "999 Unknown", id="A2W-SEND-05-999"),
        pytest.param(HTTPStatus.CREATED, "201 Created", id="A2W-SEND-06-enum"),
    ],
)
def test_statuses_become_lines(status: int, line: str) -> None:
    """Three digits, a space and the registered phrase."""
    assert answer_of(answers(status, content=b"x")).line == line


MISSING: Any = object()


def start_event(**changes: Any) -> dict[str, Any]:
    event = {"type": START, "status": 200, "headers": [PLAIN], **changes}
    return {key: value for key, value in event.items() if value is not MISSING}


def refused(*events: Any, **environ: Any) -> ApplicationError:
    """The error that the last of *events* raises in the application; the request ends with the same one."""
    raised: list[ApplicationError] = []

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for event in events[:-1]:
            await send(event)
        try:
            await send(events[-1])
        except ApplicationError as error:
            raised.append(error)
            raise

    with AsgiToWsgi(app) as wsgi:
        with pytest.raises(ApplicationError) as caught:
            call(wsgi, **environ)
    assert raised == [caught.value]
    return caught.value


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        pytest.param(199, ApplicationValueError, "from 200 to 999", id="A2W-SEND-06-199"),
        pytest.param(100, ApplicationValueError, "interim response", id="A2W-SEND-06-100"),
        pytest.param(103, ApplicationValueError, "interim response", id="A2W-SEND-06-103"),
        pytest.param(101, ApplicationValueError, "cannot switch protocols", id="A2W-WS-04"),
        pytest.param(1000, ApplicationValueError, "the status 1000", id="A2W-SEND-06-1000"),
        pytest.param(99, ApplicationValueError, "the status 99;", id="A2W-SEND-06-99"),
        pytest.param(0, ApplicationValueError, "the status 0;", id="A2W-SEND-06-0"),
        pytest.param(-200, ApplicationValueError, "the status -200;", id="A2W-SEND-06-negative"),
        pytest.param(True, ApplicationTypeError, "the status True, a bool", id="A2W-SEND-06-bool"),
        pytest.param("200", ApplicationTypeError, "the status '200', a str", id="A2W-SEND-06-str"),
        pytest.param(b"200", ApplicationTypeError, "the status b'200', a bytes", id="A2W-SEND-06-bytes"),
        pytest.param(200.0, ApplicationTypeError, "the status 200.0, a float", id="A2W-SEND-06-float"),
        pytest.param(None, ApplicationTypeError, "give an int such as 200", id="A2W-SEND-06-none"),
        pytest.param(MISSING, ApplicationTypeError, "give an int such as 200", id="A2W-SEND-06-missing"),
    ],
)
def test_a_bad_status_raises_from_send(status: Any, kind: type[Exception], text: str) -> None:
    """Nothing under 200, nothing of more than three digits, and nothing but ints."""
    error = refused(start_event(status=status))
    assert isinstance(error, kind)
    assert text in str(error)


@rule("A2W-SEND-06-repaired")
def test_after_a_refused_start_the_application_can_send_a_good_one(_rule: None) -> None:
    """As the error page of a framework does."""

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send(start(42))
        except ApplicationValueError:
            await send(start(500))
        await send(body(b"sorry"))

    answer = answer_of(app)
    assert (answer.status, answer.body) == (500, b"sorry")


@pytest.mark.parametrize(
    ("given", "listed"),
    [
        pytest.param([], [], id="A2W-SEND-07-none"),
        pytest.param([(b"x", b"y")], [("x", "y")], id="A2W-SEND-07"),
        pytest.param([(b"x", b"\xe9\xff")], [("x", "\u00e9\u00ff")], id="A2W-SEND-07-latin-1"),
        pytest.param([(b"x", b"")], [("x", "")], id="A2W-SEND-07-empty"),
        pytest.param(((b"x", b"y"),), [("x", "y")], id="A2W-SEND-07-tuple"),
        pytest.param([[b"x", b"y"]], [("x", "y")], id="A2W-SEND-07-lists"),
        pytest.param({b"x": b"y"}.items(), [("x", "y")], id="A2W-SEND-07-items"),
        pytest.param(iter([iter([b"x", b"y"])]), [("x", "y")], id="A2W-SEND-07-iterators"),
        pytest.param(
            ((name, b"y") for name in (b"x", b"z")), [("x", "y"), ("z", "y")], id="A2W-SEND-07-generator"
        ),
        pytest.param(
            [(b"set-cookie", b"a=1"), (b"x", b"y"), (b"set-cookie", b"b=2"), (b"set-cookie", b"a=1")],
            [("set-cookie", "a=1"), ("x", "y"), ("set-cookie", "b=2"), ("set-cookie", "a=1")],
            id="A2W-SEND-08",
        ),
        pytest.param([(b"x", b"a\tb")], [("x", "a\tb")], id="A2W-SEND-10-tab"),
        pytest.param(
            [(b"!#$%&'*+-.^_`|~09az", b"y")], [("!#$%&'*+-.^_`|~09az", "y")], id="A2W-SEND-10-marks"
        ),
        pytest.param([(b"X-Mixed-case", b"y")], [("X-Mixed-case", "y")], id="A2W-SEND-11"),
        pytest.param([(b"x-trace", b"y")], [("x-trace", "y")], id="A2W-SEND-11-lower"),
        pytest.param([(b"transfer-encoding", b"chunked"), (b"x", b"y")], [("x", "y")], id="A2W-SEND-12"),
        pytest.param([(b"Transfer-Encoding", b"gzip")], [], id="A2W-SEND-12-mixed-case"),
        pytest.param([(b"connection", b"close")], [], id="A2W-SEND-13-connection"),
        pytest.param([(b"keep-alive", b"timeout=1")], [], id="A2W-SEND-13-keep-alive"),
        pytest.param([(b"proxy-connection", b"close")], [], id="A2W-SEND-13-proxy-connection"),
        pytest.param([(b"proxy-authenticate", b"Basic")], [], id="A2W-SEND-13-proxy-authenticate"),
        pytest.param([(b"proxy-authorization", b"x")], [], id="A2W-SEND-13-proxy-authorization"),
        pytest.param([(b"te", b"trailers")], [], id="A2W-SEND-13-te"),
        pytest.param([(b"trailer", b"x")], [], id="A2W-SEND-13-trailer"),
        pytest.param([(b"trailers", b"x")], [], id="A2W-SEND-13-trailers"),
        pytest.param([(b"upgrade", b"h2c"), (b"x", b"y")], [("x", "y")], id="A2W-SEND-13-upgrade"),
        pytest.param(
            [(b"content-length", b"1"), (b"Content-Length", b"1")],
            [("content-length", "1")],
            id="A2W-SEND-26-equal-lengths",
        ),
    ],
)
def test_headers_become_a_list_of_pairs(given: Any, listed: list[tuple[str, str]]) -> None:
    """Decoded from latin-1, order, case and repetition kept, and the fields of the connection left out."""
    calls: list[Any] = []
    with AsgiToWsgi(sends({"type": START, "status": 200, "headers": given}, body(b"x"))) as wsgi:
        result = wsgi(environ_for(), lambda *args: calls.append(args))
        assert b"".join(result) == b"x"
        result.close()
    ((line, headers),) = calls
    assert line == "200 OK"
    assert headers == listed
    assert type(headers) is list
    assert {type(pair) for pair in headers} <= {tuple}


@rule("A2W-SEND-07-missing")
def test_missing_headers_are_none(_rule: None) -> None:
    """The key is optional."""
    assert answer_of(sends({"type": START, "status": 204}, body())).headers == []


@rule("A2W-SEND-07-new-list")
def test_the_list_is_the_servers_own(_rule: None) -> None:
    """Servers and middleware append to it, also to that of a response that has been sent before."""
    given: list[Any] = []

    def start_response(line: str, headers: list[Any]) -> None:
        given.append(list(headers))
        headers.append(("added", "1"))

    with AsgiToWsgi(says_hello) as wsgi:
        for _ in range(2):
            result = wsgi(environ_for(), start_response)
            assert list(result) == [b"hello"]
            result.close()
    assert given[0] == given[1]


@rule("A2W-SEND-12-body")
def test_a_body_that_the_application_has_chunked_stays_as_it_is(_rule: None) -> None:
    """The header goes, the bytes stay."""
    app = streams(b"1\r\nx\r\n", b"0\r\n\r\n", headers=[PLAIN, (b"transfer-encoding", b"chunked")])
    answer = answer_of(app)
    assert answer.headers == [("content-type", "text/plain")]
    assert answer.body == b"1\r\nx\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("header", "kind", "text"),
    [
        pytest.param(
            ("x", b"y"), ApplicationTypeError, "the header name 'x', a str", id="A2W-SEND-09-str-name"
        ),
        pytest.param(
            (b"x", "y"), ApplicationTypeError, "the value 'y' for the header b'x'", id="A2W-SEND-09-str"
        ),
        pytest.param((1, b"y"), ApplicationTypeError, "the header name 1, a int", id="A2W-SEND-09-int-name"),
        pytest.param((b"x", 1), ApplicationTypeError, "the value 1 for", id="A2W-SEND-09-int"),
        pytest.param((None, b"y"), ApplicationTypeError, "the header name None", id="A2W-SEND-09-none-name"),
        pytest.param((b"x", None), ApplicationTypeError, "the value None for", id="A2W-SEND-09-none"),
        pytest.param((b"x", bytearray(b"y")), ApplicationTypeError, "give bytes", id="A2W-SEND-09-bytearray"),
        pytest.param(
            (bytearray(b"x"), b"y"), ApplicationTypeError, "give bytes", id="A2W-SEND-09-bytearray-name"
        ),
        pytest.param(
            (b"x", memoryview(b"y")), ApplicationTypeError, "give bytes", id="A2W-SEND-09-memoryview"
        ),
        pytest.param(([b"x"], b"y"), ApplicationTypeError, "give bytes", id="A2W-SEND-09-list-name"),
        pytest.param((b"x",), ApplicationTypeError, "give pairs of a name and a value", id="A2W-SEND-09-one"),
        pytest.param((b"x", b"y", b"z"), ApplicationTypeError, "give pairs", id="A2W-SEND-09-three"),
        pytest.param(None, ApplicationTypeError, "give pairs", id="A2W-SEND-09-no-pair"),
        pytest.param((b"", b"y"), ApplicationValueError, "the header name b''", id="A2W-SEND-10-empty-name"),
        pytest.param((b":status", b"200"), ApplicationValueError, "b':status'", id="A2W-SEND-10-pseudo"),
        pytest.param(
            (b"x y", b"y"), ApplicationValueError, "is made of ASCII letters", id="A2W-SEND-10-space"
        ),
        pytest.param(
            (b"x:", b"y"), ApplicationValueError, "is made of ASCII letters", id="A2W-SEND-10-colon"
        ),
        pytest.param(
            (b"x\r\ny", b"y"), ApplicationValueError, "is made of ASCII letters", id="A2W-SEND-10-name-line"
        ),
        pytest.param(
            (b"x\n", b"y"), ApplicationValueError, "is made of ASCII letters", id="A2W-SEND-10-name-lf"
        ),
        pytest.param(
            (b"x\0", b"y"), ApplicationValueError, "is made of ASCII letters", id="A2W-SEND-10-name-nul"
        ),
        pytest.param(
            (b"\xe9", b"y"), ApplicationValueError, "is made of ASCII letters", id="A2W-SEND-10-name-latin"
        ),
        pytest.param((b"x", b"a\r\nb: c"), ApplicationValueError, "no control", id="A2W-SEND-10-line-end"),
        pytest.param((b"x", b"a\rb"), ApplicationValueError, "no control", id="A2W-SEND-10-cr"),
        pytest.param((b"x", b"a\nb"), ApplicationValueError, "no control", id="A2W-SEND-10-lf"),
        pytest.param((b"x", b"a\n"), ApplicationValueError, "no control", id="A2W-SEND-10-last-lf"),
        pytest.param((b"x", b"a\0"), ApplicationValueError, "no control", id="A2W-SEND-10-nul"),
        pytest.param((b"x", b"\x1b[1m"), ApplicationValueError, "no control", id="A2W-SEND-10-escape"),
        pytest.param((b"x", b"\x7f"), ApplicationValueError, "no control", id="A2W-SEND-10-del"),
        pytest.param(
            (b"transfer-encoding", b"a\r\nb: c"),
            ApplicationValueError,
            "no control",
            id="A2W-SEND-10-dropped",
        ),
        pytest.param((b"content-length", b"-1"), ApplicationValueError, "'-1'", id="A2W-SEND-26-sign"),
        pytest.param((b"content-length", b"+5"), ApplicationValueError, "'\\+5'", id="A2W-SEND-26-plus"),
        pytest.param(
            (b"content-length", b"1_0"), ApplicationValueError, "'1_0'", id="A2W-SEND-26-underscore"
        ),
        pytest.param((b"content-length", b"1, 1"), ApplicationValueError, "'1, 1'", id="A2W-SEND-26-list"),
        pytest.param(
            (b"content-length", b""), ApplicationValueError, "content-length ''", id="A2W-SEND-26-empty"
        ),
        pytest.param(
            (b"content-length", b"\xb2"), ApplicationValueError, "decimal number", id="A2W-SEND-26-no-digit"
        ),
        pytest.param(
            (b"content-length", b"9" * 5000), ApplicationValueError, "decimal number", id="A2W-SEND-26-huge"
        ),
    ],
)
def test_a_bad_header_raises_from_send(header: Any, kind: type[Exception], text: str) -> None:
    """Types, names and values, the same header in front of a good one."""
    error = refused(start_event(headers=[PLAIN, header, (b"x", b"y")]))
    assert isinstance(error, kind)
    assert text.replace("\\", "") in str(error)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(None, id="A2W-SEND-09-headers-none"),
        pytest.param(5, id="A2W-SEND-09-headers-int"),
        pytest.param("x: y", id="A2W-SEND-09-headers-str"),
        pytest.param({b"x": b"y"}, id="A2W-SEND-09-headers-dict"),
    ],
)
def test_headers_that_are_no_pairs_raise_from_send(headers: Any) -> None:
    """The error says what to give."""
    error = refused(start_event(headers=headers))
    assert isinstance(error, ApplicationTypeError)
    assert "give pairs" in str(error)


@rule("A2W-SEND-26-two-lengths")
def test_two_different_lengths_raise_from_send(_rule: None) -> None:
    """Which of them would be right cannot be told."""
    error = refused(start_event(headers=[(b"content-length", b"1"), (b"Content-Length", b"2")]))
    assert "two different lengths, 1 and 2" in str(error)


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([start(), start()], id="A2W-SEND-14"),
        pytest.param([start(), body(b"x", more=True), start()], id="A2W-SEND-14-in-body"),
    ],
)
def test_a_second_start_raises_from_send(events: list[dict[str, Any]]) -> None:
    """Before the first part of the body, and after it."""
    error = refused(*events)
    assert isinstance(error, ApplicationOrderError)
    assert "send it once" in str(error)


@rule("A2W-SEND-14-first-stands")
def test_the_first_start_stays_in_force(_rule: None) -> None:
    """An application that catches the error answers with what it sent first."""

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(201))
        with pytest.raises(RuntimeError, match="send it once"):
            await send(start(500))
        await send(body(b"x"))

    assert answer_of(app).status == 201


@rule("A2W-SEND-15")
def test_announced_trailers_are_accepted_and_ignored(_rule: None) -> None:
    """The response is complete with its body."""
    trailers = {"type": "http.response.trailers", "headers": [(b"x", b"y")], "more_trailers": False}
    answer = answer_of(sends({**start(), "trailers": True}, body(b"x"), trailers))
    assert (answer.status, answer.chunks) == (200, [b"x"])


# Body


@pytest.mark.parametrize(
    ("events", "chunks"),
    [
        pytest.param([body(b"x")], [b"x"], id="A2W-SEND-16"),
        pytest.param([body(b"a", more=True), body(b"b")], [b"a", b"b"], id="A2W-SEND-16-two"),
        pytest.param([{"type": BODY, "body": b"x"}], [b"x"], id="A2W-SEND-16-no-more_body"),
        pytest.param(
            [{"type": BODY, "body": b"x", "more_body": True}, {"type": BODY}],
            [b"x"],
            id="A2W-SEND-16-no-body",
        ),
        pytest.param([body(b"a", more=True), body()], [b"a"], id="A2W-SEND-20-empty-last"),
        pytest.param([body(more=True), body(b"b")], [b"", b"b"], id="A2W-SEND-19"),
        pytest.param(
            [body(b"a", more=True), body(more=True), body(b"b")], [b"a", b"", b"b"], id="A2W-SEND-19-between"
        ),
        pytest.param([body(bytes(range(256)))], [bytes(range(256))], id="A2W-SEND-16-all-bytes"),
        pytest.param([body(bytearray(b"x"))], [b"x"], id="A2W-SEND-17-bytearray"),
        pytest.param([body(memoryview(b"abc")[1:])], [b"bc"], id="A2W-SEND-17-memoryview"),
        pytest.param([body(memoryview(b"abcd")[::2])], [b"ac"], id="A2W-SEND-17-strided"),
        pytest.param([body(memoryview(b"abcd").cast("H"))], [b"abcd"], id="A2W-SEND-17-wide-items"),
        pytest.param([{**body(b"x"), "extra": 1}], [b"x"], id="A2W-SEND-27-extra-key"),
    ],
)
def test_each_body_event_is_a_chunk(events: list[dict[str, Any]], chunks: list[bytes]) -> None:
    """Of exactly its bytes; the last event ends the iterable."""
    answer = answer_of(sends(start(), *events))
    assert answer.chunks == chunks
    assert {type(chunk) for chunk in answer.chunks} == {bytes}


@rule("A2W-SEND-17-length")
def test_the_length_of_a_view_of_wide_items_is_that_of_its_bytes(_rule: None) -> None:
    """Not that of its items."""
    headers = [PLAIN, (b"content-length", b"4")]
    answer = answer_of(sends(start(headers=headers), body(memoryview(b"abcd").cast("H"))))
    assert answer.body == b"abcd"


@rule("A2W-SEND-16-empty")
def test_an_empty_body_is_empty(_rule: None) -> None:
    """The server still gets the head."""
    answer = answer_of(answers(200))
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param("text", id="A2W-SEND-17-str"),
        pytest.param(None, id="A2W-SEND-17-none"),
        pytest.param(5, id="A2W-SEND-17-int"),
        pytest.param([1, 2], id="A2W-SEND-17-list"),
        pytest.param([b"x"], id="A2W-SEND-17-list-of-bytes"),
    ],
)
@pytest.mark.parametrize("committed", [False, True], ids=["first", "later"])
def test_a_body_that_is_no_bytes_raises_from_send(data: Any, committed: bool) -> None:
    """The error names the type, and the way out."""
    before = [body(b"x", more=True)] if committed else []
    error = refused(start(), *before, body(data))
    assert isinstance(error, ApplicationTypeError)
    assert f"of type {type(data).__name__}; give bytes" in str(error)


@pytest.mark.parametrize("more", [True, False], ids=["A2W-SEND-18-more", "A2W-SEND-18"])
def test_a_body_before_the_start_raises_from_send(more: bool) -> None:
    """There is no status yet."""
    error = refused(body(b"x", more=more))
    assert isinstance(error, ApplicationOrderError)
    assert "before http.response.start" in str(error)


@rule("A2W-SEND-20")
def test_the_last_event_ends_the_iterable_for_good(_rule: None) -> None:
    """Asked again, it ends again; the application may go on meanwhile."""
    may_return = Gate()

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"a", more=True))
        await send(body(b"b"))
        await may_return.passed()

    with AsgiToWsgi(app) as wsgi:
        with Request(wsgi, validated=False) as request:
            request.begin()
            assert [request.next() for _ in range(4)] == [b"a", b"b", None, None]
        may_return.open()


AFTER = [
    pytest.param(start(500), id="A2W-SEND-21-start"),
    pytest.param(body(b"more", more=True), id="A2W-SEND-21-body"),
    pytest.param(body(b"more"), id="A2W-SEND-21-last-body"),
    pytest.param({"type": "http.response.trailers", "headers": []}, id="A2W-SEND-21-trailers"),
    pytest.param({"type": "http.response.pathsend", "path": "/x"}, id="A2W-SEND-21-pathsend"),
    pytest.param({"type": "http.response.early_hint", "links": [b"x"]}, id="A2W-SEND-21-hint"),
    pytest.param({"type": "http.response.nonsense"}, id="A2W-SEND-21-unknown"),
]


@pytest.mark.parametrize("event", AFTER)
def test_what_is_sent_after_the_end_is_ignored(event: dict[str, Any]) -> None:
    """send() returns, and nothing else happens."""
    returned: list[Any] = []

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"x"))
        returned.extend([await send(event) for _ in range(3)])

    hints: list[Any] = []
    answer = answer_of(app, **{"wsgi.early_hints": hints.append, "wsgi.file_wrapper": FileWrapper})
    assert (answer.status, answer.chunks) == (200, [b"x"])
    assert returned == [None] * 3
    assert hints == []


async def passes(turns: int) -> None:
    """Let the loop go round *turns* times: whatever can go on does."""
    for _ in range(turns):
        await asyncio.sleep(0)


class Floods:
    """Sends *chunk* *count* times; `sent` counts the calls of send() that have returned."""

    def __init__(self, chunk: bytes, count: int) -> None:
        self.chunk = chunk
        self.count = count
        self.sent = 0
        self.loop: Any = None
        self.begun = Gate("the application")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        self.loop = asyncio.get_running_loop()
        await send(start())
        self.begun.open()
        for _ in range(self.count):
            await send(body(self.chunk, more=True))
            self.sent += 1
        await send(body())

    def settled(self) -> int:
        """How many were sent, once the application does not go on by itself."""
        self.begun.wait()
        while True:
            before = self.sent
            asyncio.run_coroutine_threadsafe(passes(100), self.loop).result(20)
            if self.sent == before:
                return before


@pytest.mark.parametrize(
    ("chunk", "window", "most"),
    [
        pytest.param(b"x" * 64 * KIB, 512 * KIB, 24, id="A2W-SEND-22"),
        pytest.param(b"x" * KIB, 64 * KIB, 192, id="A2W-SEND-22-window"),
        pytest.param(b"x" * 1024 * KIB, 64 * KIB, 3, id="A2W-SEND-22-large"),
        pytest.param(b"x" * KIB, 0, 3, id="A2W-SEND-22-no-window"),
        pytest.param(b"x", 64 * KIB, 5_000, id="A2W-SEND-22-tiny"),
        pytest.param(b"", 64 * KIB, 5_000, id="A2W-SEND-22-empty"),
    ],
)
def test_a_server_that_takes_nothing_stops_the_application(chunk: bytes, window: int, most: int) -> None:
    """A little more than the window is on its way at most; the rest comes as the server asks for it."""
    app = Floods(chunk, 4 * most + 100)
    with AsgiToWsgi(app, window=window, lifespan="off") as wsgi, Request(wsgi) as request:
        request.begin()
        assert request.next() == chunk
        stalled = app.settled()
        assert stalled <= most
        request.read_to_end()
        assert request.answer.chunks == [chunk] * app.count
        assert app.sent == app.count


@rule("A2W-SEND-22-moves-on")
def test_a_server_that_asks_again_lets_the_application_go_on(_rule: None) -> None:
    """As far as it has taken, and no further."""
    app = Floods(b"x" * KIB, 10_000)
    with AsgiToWsgi(app, window=16 * KIB, lifespan="off") as wsgi, Request(wsgi) as request:
        request.begin()
        request.next()
        before = app.settled()
        for _ in range(before + 1):
            assert request.next() is not None
        after = app.settled()
        assert before < after <= 3 * before + 3
        request.read_to_end()


@rule("A2W-SEND-23")
def test_a_chunk_is_there_as_soon_as_it_was_sent(_rule: None) -> None:
    """Each is taken before the application has made the next."""
    taken = [Gate() for _ in range(5)]

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        for number, gate in enumerate(taken):
            await send(body(b"%d" % number, more=True))
            await gate.passed()
        await send(body())

    with AsgiToWsgi(app) as wsgi, Request(wsgi) as request:
        request.begin()
        for number, gate in enumerate(taken):
            assert request.next() == b"%d" % number
            gate.open()
        assert request.next() is None


LENGTH = (b"content-length", b"5")


@pytest.mark.parametrize(
    ("method", "status", "length"),
    [
        pytest.param("HEAD", 200, "5", id="A2W-SEND-24-head"),
        pytest.param("HEAD", 404, "5", id="A2W-SEND-24-head-404"),
        pytest.param("GET", 204, None, id="A2W-SEND-24-204"),
        pytest.param("HEAD", 204, None, id="A2W-SEND-24-head-204"),
        pytest.param("GET", 304, "5", id="A2W-SEND-24-304"),
        pytest.param("HEAD", 304, "5", id="A2W-SEND-24-head-304"),
    ],
)
@pytest.mark.parametrize(
    "events",
    [
        pytest.param([body(b"hello")], id="one"),
        pytest.param([body(b"hel", more=True), body(b"lo")], id="two"),
        pytest.param([body(b"hel", more=True), body(b"lo", more=True), body()], id="three"),
        pytest.param([body()], id="none"),
        pytest.param([body(b"more than announced")], id="longer"),
    ],
)
def test_a_response_without_body_takes_the_body_and_drops_it(
    method: str, status: int, length: str | None, events: list[dict[str, Any]]
) -> None:
    """The length is that of the answer to GET, and a 204 has none."""
    ended = Gate("the application")

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await sends(start(status, [LENGTH]), *events)(scope, receive, send)
        ended.open()

    answer = answer_of(app, validated=False, REQUEST_METHOD=method)
    assert ended.is_open
    assert answer.status == status
    assert answer.body == b""
    assert answer.header("content-length") == length


@rule("A2W-SEND-24-205")
def test_a_205_takes_the_body_and_drops_it(_rule: None) -> None:
    """Its length, if it has one, is 0 by right."""
    answer = answer_of(answers(205, [PLAIN, (b"content-length", b"0")], b"dropped"))
    assert (answer.status, answer.body) == (205, b"")
    assert answer.header("content-length") == "0"


@pytest.mark.parametrize(
    "status", [pytest.param(200, id="A2W-SEND-24-at-once"), pytest.param(304, id="A2W-SEND-24-at-once-304")]
)
def test_the_answer_to_head_does_not_wait_for_the_body(status: int) -> None:
    """It is complete with its head; what the application does for the body is nobody's affair."""
    may_go_on, ended = Gate(), Gate("the application")

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(status, []))
        await send(body(b"x", more=True))
        await may_go_on.passed()
        await send(body(b"y"))
        ended.open()

    with AsgiToWsgi(app, disconnect_grace=20) as wsgi:
        answer = call(wsgi, validated=False, REQUEST_METHOD="HEAD")
        assert answer.chunks == []
        may_go_on.open()
        ended.wait()


@rule("A2W-SEND-24-endless")
def test_an_endless_body_for_head_is_ended_quietly(_rule: None, caplog: pytest.LogCaptureFixture) -> None:
    """An event stream knows nothing of the method; it has its time, and is cancelled."""
    cancelled = Gate("the end of the application")

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        try:
            while True:
                await send(body(b"x", more=True))
        finally:
            cancelled.open()

    with AsgiToWsgi(app, disconnect_grace=0.01) as wsgi:
        assert call(wsgi, REQUEST_METHOD="HEAD").chunks == []
        cancelled.wait()
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


@rule("A2W-SEND-24-background")
def test_work_after_a_complete_answer_to_head_is_not_cut_short(_rule: None) -> None:
    """The time that an endless body has is not one for what comes after the body."""
    may_go_on, ended = Gate(), Gate("the work in the background")

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"x", more=True))
        await send(body())
        await asyncio.sleep(0)  # where a task would be cancelled
        await may_go_on.passed()
        ended.open()

    with AsgiToWsgi(app, disconnect_grace=0) as wsgi:
        call(wsgi, REQUEST_METHOD="HEAD")
        may_go_on.open()
    assert ended.is_open


@pytest.mark.parametrize(
    ("events", "method", "length"),
    [
        pytest.param([start(), body(b"hello")], "GET", "5", id="A2W-SEND-25"),
        pytest.param([start(), body()], "GET", "0", id="A2W-SEND-25-empty"),
        pytest.param([start(404), body(memoryview(b"abcd").cast("H"))], "POST", "4", id="A2W-SEND-25-view"),
        pytest.param([start(headers=[PLAIN, LENGTH]), body(b"hello")], "GET", "5", id="A2W-SEND-25-given"),
        pytest.param([start(), body(b"hello", more=True), body()], "GET", None, id="A2W-SEND-25-two"),
        pytest.param([start(), body(b"hello")], "HEAD", None, id="A2W-SEND-25-head"),
        pytest.param([start(204, []), body(b"hello")], "GET", None, id="A2W-SEND-25-204"),
        pytest.param([start(304, []), body(b"hello")], "GET", None, id="A2W-SEND-25-304"),
    ],
)
def test_the_length_is_added_where_that_was_asked_for(
    events: list[dict[str, Any]], method: str, length: str | None
) -> None:
    """Where the first event is also the last, and the method and status allow a body."""
    answer = answer_of(sends(*events), options={"add_content_length": True}, REQUEST_METHOD=method)
    assert answer.header("content-length") == length


@rule("A2W-SEND-25-default")
def test_no_length_is_added_by_default(_rule: None) -> None:
    """The server chooses the framing."""
    assert answer_of(answers(content=b"hello")).headers == [("content-type", "text/plain")]


def declared(length: int) -> dict[str, Any]:
    return start(headers=[PLAIN, (b"content-length", b"%d" % length)])


@pytest.mark.parametrize(
    ("events", "chunks"),
    [
        pytest.param([declared(4), body(b"hello")], [], id="A2W-SEND-26"),
        pytest.param([declared(0), body(b"x", more=True)], [], id="A2W-SEND-26-zero"),
        pytest.param([declared(4), body(b"hel", more=True), body(b"lo")], [b"hel"], id="A2W-SEND-26-later"),
        pytest.param(
            [declared(3), body(b"hel", more=True), body(b"lo", more=True)], [b"hel"], id="A2W-SEND-26-full"
        ),
    ],
)
def test_more_than_was_declared_raises_from_send(events: list[dict[str, Any]], chunks: list[bytes]) -> None:
    """The event that goes too far reaches nobody, and the response is not ended as if it were whole."""
    error = refused(*events)
    assert isinstance(error, ApplicationValueError)
    assert "leaves room for" in str(error)
    with AsgiToWsgi(sends(*events)) as wsgi, Request(wsgi) as request:
        with pytest.raises(ApplicationValueError, match="leaves room for"):
            request.begin()
            request.read_to_end()
        assert request.answer.chunks == chunks
        assert not request.ended


@pytest.mark.parametrize(
    ("events", "started"),
    [
        pytest.param([declared(6), body(b"hello")], False, id="A2W-SEND-26-short"),
        pytest.param([declared(1), body()], False, id="A2W-SEND-26-short-empty"),
        pytest.param([declared(6), body(b"hel", more=True), body(b"lo")], True, id="A2W-SEND-26-short-later"),
        pytest.param(
            [declared(6), body(b"hello", more=True), body()], True, id="A2W-SEND-26-short-last-empty"
        ),
    ],
)
def test_less_than_was_declared_raises_from_the_iterable(events: list[dict[str, Any]], started: bool) -> None:
    """The server then cuts the connection; where nothing was sent, it can still answer 500."""
    with AsgiToWsgi(sends(*events)) as wsgi, Request(wsgi) as request:
        with pytest.raises(ApplicationValueError, match="short of its content-length"):
            request.begin()
            request.read_to_end()
        assert request.answer.started is started
        assert not request.ended


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([declared(5), body(b"hello")], id="A2W-SEND-26-exact"),
        pytest.param([declared(5), body(b"hel", more=True), body(b"lo")], id="A2W-SEND-26-exact-two"),
        pytest.param([declared(5), body(b"hello", more=True), body()], id="A2W-SEND-26-exact-empty-last"),
    ],
)
def test_as_much_as_was_declared_is_right(events: list[dict[str, Any]]) -> None:
    """In any number of events."""
    assert answer_of(sends(*events)).body == b"hello"


# Extensions and unknown messages


@pytest.mark.parametrize(
    ("message", "text"),
    [
        pytest.param({"type": "http.response.nonsense"}, "'http.response.nonsense'", id="A2W-SEND-27"),
        pytest.param({"type": ""}, "this server cannot do", id="A2W-SEND-27-empty"),
        pytest.param({}, "the type None", id="A2W-SEND-27-missing"),
        pytest.param({"type": None}, "the type None", id="A2W-SEND-27-none"),
        pytest.param({"type": b"http.response.start"}, "the type b'http", id="A2W-SEND-27-bytes"),
        pytest.param({"type": ["x"]}, "the type ['x']", id="A2W-SEND-27-unhashable"),
        pytest.param(None, "sent None, a NoneType", id="A2W-SEND-27-no-message"),
        pytest.param("http.response.start", "a str; send a dict", id="A2W-SEND-27-str"),
        pytest.param([("type", START)], "a list; send a dict", id="A2W-SEND-27-pairs"),
        pytest.param({"type": "http.request", "body": b""}, "'http.request'", id="A2W-SEND-27-request"),
        pytest.param({"type": "http.disconnect"}, "'http.disconnect'", id="A2W-SEND-27-disconnect"),
        pytest.param({"type": "lifespan.startup.complete"}, "'lifespan.", id="A2W-SEND-27-lifespan"),
        pytest.param(
            {"type": "http.response.trailers", "headers": []}, "trailers'", id="A2W-SEND-27-trailers"
        ),
        pytest.param(
            {"type": "http.response.push", "path": "/", "headers": []}, "push'", id="A2W-SEND-27-push"
        ),
        pytest.param(
            {"type": "http.response.early_hint", "links": [b"</x>"]},
            "early_hint'",
            id="A2W-SEND-28-not-offered",
        ),
        pytest.param(
            {"type": "http.response.pathsend", "path": "/x"}, "pathsend'", id="A2W-SEND-30-not-offered"
        ),
        pytest.param(
            {"type": "http.response.zerocopysend", "file": 0}, "zerocopysend'", id="A2W-SEND-31-not-offered"
        ),
        pytest.param({"type": "http.response.debug", "info": {}}, "debug'", id="A2W-SEND-27-debug"),
        pytest.param({"type": "websocket.accept"}, "'websocket.accept'", id="A2W-WS-03-accept"),
        pytest.param({"type": "websocket.send", "text": "x"}, "'websocket.send'", id="A2W-WS-03-send"),
        pytest.param({"type": "websocket.close"}, "'websocket.close'", id="A2W-WS-03-close"),
        pytest.param(
            {"type": "websocket.http.response.start", "status": 403}, "'websocket.http", id="A2W-WS-03-start"
        ),
        pytest.param({"type": "websocket.http.response.body"}, "'websocket.http", id="A2W-WS-03-body"),
    ],
)
@pytest.mark.parametrize(
    "before",
    [
        pytest.param([], id="first"),
        pytest.param([start()], id="after start"),
        pytest.param([start(), body(b"x", more=True)], id="in the body"),
    ],
)
def test_an_unknown_message_raises_from_send(message: Any, text: str, before: list[Any]) -> None:
    """At any time before the end; the error names it."""
    assert text in str(refused(*before, message))


@rule("A2W-SEND-27-goes-on")
def test_after_an_unknown_message_the_response_goes_on(_rule: None) -> None:
    """An application that catches the error loses nothing."""

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for event in (start(), body(b"a", more=True), body(b"b")):
            with pytest.raises(ApplicationOrderError, match="cannot do"):
                await send({"type": "http.response.nonsense"})
            await send(event)

    assert answer_of(app).chunks == [b"a", b"b"]


@rule("A2W-SEND-27-extra-keys")
def test_extra_keys_are_ignored(_rule: None) -> None:
    """In every event that is known."""
    answer = answer_of(
        sends({**start(), "x": 1}, {**body(b"a", more=True), "y": None}, {**body(b"b"), "z": ()})
    )
    assert answer.chunks == [b"a", b"b"]


HINT = {"type": "http.response.early_hint", "links": [b"</a>; rel=preload", b"</b>"]}
LINKS = [("Link", "</a>; rel=preload"), ("Link", "</b>")]


@pytest.mark.parametrize(
    ("value", "offered"),
    [
        pytest.param(lambda headers: None, True, id="A2W-SEND-28-offered"),
        pytest.param(None, False, id="A2W-SEND-28-none"),
        pytest.param("text", False, id="A2W-SEND-28-no-callable"),
    ],
)
def test_early_hints_are_offered_where_the_server_has_them(value: Any, offered: bool) -> None:
    """It has put a function into the environ."""
    found: list[bool] = []

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        found.append("http.response.early_hint" in scope["extensions"])
        await says_hello(scope, receive, send)

    answer_of(app, **{"wsgi.early_hints": value})
    assert found == [offered]


@pytest.mark.parametrize(
    ("events", "given"),
    [
        pytest.param([HINT, start(), body(b"x")], [LINKS], id="A2W-SEND-28"),
        pytest.param([start(), HINT, body(b"x")], [LINKS], id="A2W-SEND-29-after-start"),
        pytest.param([HINT, HINT, start(), body(b"x")], [LINKS, LINKS], id="A2W-SEND-28-twice"),
        pytest.param(
            [{**HINT, "links": (link for link in [b"</a>"])}, start(), body(b"x")],
            [[("Link", "</a>")]],
            id="A2W-SEND-28-generator",
        ),
    ],
)
def test_early_hints_are_given_to_the_server(events: list[dict[str, Any]], given: list[Any]) -> None:
    """In its own thread, each event by one call, before the head."""
    calls: list[Any] = []
    threads: set[int] = set()

    with AsgiToWsgi(sends(*events)) as wsgi:
        request = Request(wsgi)

        def early_hints(headers: Any) -> None:
            assert not request.answer.started
            calls.append(headers)
            threads.add(threading.get_ident())

        request.environ["wsgi.early_hints"] = early_hints
        with request:
            assert request.begin().status == 200
            assert request.read_to_end().body == b"x"
    assert calls == given
    assert threads == {threading.get_ident()}


@rule("A2W-SEND-28-at-once")
def test_an_early_hint_is_early(_rule: None) -> None:
    """The server has it before the application goes on."""
    hinted = Gate("the hint")

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(HINT)
        await hinted.passed()
        await says_hello(scope, receive, send)

    answer = answer_of(app, **{"wsgi.early_hints": lambda headers: hinted.open()})
    assert answer.body == b"hello"


@pytest.mark.parametrize(
    ("events", "text"),
    [
        pytest.param(
            [start(), body(b"x", more=True), HINT], "send hints before the body", id="A2W-SEND-29-in-body"
        ),
        pytest.param([{**HINT, "links": None}], "give an iterable of bytes", id="A2W-SEND-28-links-none"),
        pytest.param([{**HINT, "links": ["</a>"]}], "bytes", id="A2W-SEND-28-str"),
        pytest.param([{**HINT, "links": [b"</a>\r\nx: y"]}], "no control", id="A2W-SEND-28-line-end"),
    ],
)
def test_a_bad_early_hint_raises_from_send(events: list[dict[str, Any]], text: str) -> None:
    """It comes too late, or cannot stand in a header."""
    calls: list[Any] = []
    assert text in str(refused(*events, **{"wsgi.early_hints": calls.append}))
    assert calls == []


@rule("A2W-SEND-28-fails")
def test_a_server_that_fails_at_a_hint_ends_the_request_with_its_error(_rule: None) -> None:
    """It leaves the call as it was raised."""
    original = OSError("the connection is gone")

    def early_hints(headers: Any) -> None:
        raise original

    with AsgiToWsgi(sends(HINT, start(), body(b"x"))) as wsgi:
        with pytest.raises(OSError, match="the connection is gone") as caught:
            call(wsgi, **{"wsgi.early_hints": early_hints})
    assert caught.value is original


# Files


class Wrapper(FileWrapper):
    """A server's file wrapper; it knows what it was given."""

    made: list["Wrapper"]

    def __init__(self, filelike: Any, *args: Any) -> None:
        super().__init__(filelike, *args)
        self.arguments = (filelike, *args)
        self.made.append(self)


@pytest.fixture
def wrapper() -> type[Wrapper]:
    """A file wrapper that keeps what was made of it."""
    return type("NewWrapper", (Wrapper,), {"made": []})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of several blocks."""
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 1024)
    return path


def pathsend(path: Any) -> dict[str, Any]:
    return {"type": "http.response.pathsend", "path": str(path)}


@pytest.mark.parametrize(
    ("value", "offered"),
    [
        pytest.param(FileWrapper, True, id="A2W-SEND-30-offered"),
        pytest.param(None, False, id="A2W-SEND-30-none"),
    ],
)
def test_files_are_offered_where_the_server_has_a_wrapper(value: Any, offered: bool) -> None:
    """Without one, an application reads its files better itself."""
    found: list[bool] = []

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        found.append("http.response.pathsend" in scope["extensions"])
        assert "http.response.zerocopysend" not in scope["extensions"]
        await says_hello(scope, receive, send)

    answer_of(app, **{"wsgi.file_wrapper": value})
    assert found == [offered]


@rule("A2W-SEND-30")
def test_a_file_goes_through_the_servers_wrapper(_rule: None, file: Path, wrapper: type[Wrapper]) -> None:
    """The server gets what its wrapper has made, so that it can tell, and closes the file with it."""
    answer: list[Any] = []
    with AsgiToWsgi(sends(start(), pathsend(file))) as wsgi:
        environ = environ_for(**{"wsgi.file_wrapper": wrapper})
        result = wsgi(environ, lambda *args: answer.append(args))
        assert [result] == wrapper.made
        filelike, block = wrapper.made[0].arguments
        assert isinstance(filelike.fileno(), int)
        assert block > 0
        assert b"".join(result) == file.read_bytes()
        assert not filelike.closed
        result.close()
        assert filelike.closed
    assert answer == [("200 OK", [("content-type", "text/plain")])]


@rule("A2W-SEND-30-application-goes-on")
def test_the_application_may_go_on_after_a_file(_rule: None, file: Path, wrapper: type[Wrapper]) -> None:
    """The response is complete; what it sends then is ignored, and it is awaited in the end."""
    ended = Gate("the application")
    may_go_on = Gate()

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(pathsend(file))
        await may_go_on.passed()
        assert (await receive())["type"] == "http.disconnect"
        await send(body(b"ignored"))
        ended.open()

    with AsgiToWsgi(app) as wsgi:
        assert call(wsgi, **{"wsgi.file_wrapper": wrapper}).body == file.read_bytes()
        may_go_on.open()
    assert ended.is_open


@rule("A2W-SEND-30-length")
def test_a_file_of_the_declared_length_is_right(_rule: None, file: Path, wrapper: type[Wrapper]) -> None:
    """As frameworks declare it."""
    app = sends(declared(256 * KIB), pathsend(file))
    answer = answer_of(app, **{"wsgi.file_wrapper": wrapper})
    assert answer.body == file.read_bytes()
    assert answer.header("content-length") == str(256 * KIB)


@rule("A2W-SEND-30-added-length")
def test_the_length_of_a_file_is_added_where_that_was_asked_for(
    _rule: None, file: Path, wrapper: type[Wrapper]
) -> None:
    """It is known."""
    answer = answer_of(
        sends(start(), pathsend(file)),
        options={"add_content_length": True},
        **{"wsgi.file_wrapper": wrapper},
    )
    assert answer.header("content-length") == str(256 * KIB)


@rule("A2W-SEND-30-head")
def test_a_file_for_head_is_not_handed_over(_rule: None, file: Path, wrapper: type[Wrapper]) -> None:
    """The head is all that there is."""
    app = sends(declared(256 * KIB), pathsend(file))
    answer = answer_of(app, REQUEST_METHOD="HEAD", **{"wsgi.file_wrapper": wrapper})
    assert answer.chunks == []
    assert answer.header("content-length") == str(256 * KIB)
    assert wrapper.made == []


def missing(file: Path) -> list[Any]:
    return [start(), pathsend(file.with_name("missing"))]


@pytest.mark.parametrize(
    ("events", "kind", "text"),
    [
        pytest.param(
            lambda file: [pathsend(file)],
            ApplicationOrderError,
            "send it after",
            id="A2W-SEND-30-before-start",
        ),
        pytest.param(
            lambda file: [start(), body(b"x", more=True), pathsend(file)],
            ApplicationOrderError,
            "without http.response.body",
            id="A2W-SEND-30-mixed",
        ),
        pytest.param(
            lambda file: [start(), {"type": "http.response.pathsend"}],
            ApplicationTypeError,
            "give a str",
            id="A2W-SEND-30-no-path",
        ),
        pytest.param(
            lambda file: [start(), {"type": "http.response.pathsend", "path": file}],
            ApplicationTypeError,
            "give a str",
            id="A2W-SEND-30-Path",
        ),
        pytest.param(
            lambda file: [declared(5), pathsend(file)],
            ApplicationValueError,
            "a file of 262144 bytes where it has declared a content-length of 5",
            id="A2W-SEND-30-other-length",
        ),
    ],
)
def test_a_bad_pathsend_raises_from_send(
    events: Callable[[Path], list[Any]], kind: type[Exception], text: str, file: Path, wrapper: type[Wrapper]
) -> None:
    """The error says when it may come, and with what."""
    error = refused(*events(file), **{"wsgi.file_wrapper": wrapper})
    assert isinstance(error, kind)
    assert text in str(error)
    assert wrapper.made == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param("missing", FileNotFoundError, id="A2W-SEND-30-missing"),
        pytest.param(".", IsADirectoryError, id="A2W-SEND-30-directory"),
        pytest.param("nul\0", ValueError, id="A2W-SEND-30-nul"),
    ],
)
def test_a_file_that_cannot_be_opened_raises_from_send(
    name: str, kind: type[Exception], tmp_path: Path, wrapper: type[Wrapper]
) -> None:
    """Nothing has been sent, and the application can still send a body."""

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(404))
        try:
            await send(pathsend(f"{tmp_path}/{name}"))
        except kind:
            await send(body(b"not there"))

    answer = answer_of(app, **{"wsgi.file_wrapper": wrapper})
    assert (answer.status, answer.body) == (404, b"not there")


# Messages


@rule("A2W-SEND-32")
def test_messages_are_not_modified(_rule: None) -> None:
    """Neither they nor what is in them."""
    events = [
        {**HINT, "links": list(HINT["links"])},
        start(headers=[PLAIN, (b"connection", b"close")]),
        body(b"a", more=True),
        body(bytearray(b"b")),
    ]
    before = copy.deepcopy(events)
    answer_of(
        sends(*events), options={"add_content_length": True}, **{"wsgi.early_hints": lambda headers: None}
    )
    assert events == before


@pytest.mark.parametrize(
    "last", [pytest.param(False, id="A2W-SEND-32-body"), pytest.param(True, id="A2W-SEND-32-last")]
)
def test_the_body_may_be_reused_once_send_has_returned(last: bool) -> None:
    """A buffer that is filled anew, and a view that is released."""
    may_take = Gate()

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        buffer = bytearray(b"first")
        await send(start())
        await send(body(buffer, more=True))
        buffer[:] = b"later"
        view = memoryview(buffer)
        await send(body(view, more=not last))
        view.release()
        buffer[:] = b"wrong"
        may_take.open()
        if not last:
            await send(body())

    with AsgiToWsgi(app) as wsgi, Request(wsgi) as request:
        request.begin()
        may_take.wait()
        assert request.read_to_end().chunks == [b"first", b"later"]


@rule("A2W-SEND-32-reused-event")
def test_an_event_may_be_sent_again_with_another_body(_rule: None) -> None:
    """The dict belongs to the application."""

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        event = body(b"0", more=True)
        for number in range(10):
            event["body"] = b"%d" % number
            await send(event)
        event["more_body"] = False
        await send(event)

    assert answer_of(app).body == b"01234567899"


# After the client has gone


@rule("A2W-SEND-33")
def test_send_raises_once_the_server_has_given_up(_rule: None) -> None:
    """Each time, an OSError of ours."""
    left, told = Gate(), Gate("the application")
    errors: list[OSError] = []

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"x", more=True))
        await left.passed()
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"
        for event in (body(b"y", more=True), body(b"z", more=True), body(), start()):
            try:
                await send(event)
            except OSError as error:
                errors.append(error)
        told.open()

    with AsgiToWsgi(app, disconnect_grace=20) as wsgi, Request(wsgi, threaded=True) as request:
        request.begin()
        assert request.next() == b"x"
        closed = request.close_later()
        left.open()
        told.wait()
        closed.result()
    assert [type(error) for error in errors] == [ClientDisconnected] * 4
    assert "Clean up and return" in str(errors[0])


@rule("A2W-SEND-33-waiting")
def test_a_send_that_waits_is_woken_when_the_server_gives_up(_rule: None) -> None:
    """And raises the same."""
    raised: list[BaseException] = []
    app = Floods(b"x" * 64 * KIB, 1000)

    async def catches(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        except OSError as error:
            raised.append(error)
            raise

    with AsgiToWsgi(catches, lifespan="off", disconnect_grace=20) as wsgi:
        with Request(wsgi) as request:
            request.begin()
            request.next()
            stalled = app.settled()
        assert stalled < 1000
    assert [type(error) for error in raised] == [ClientDisconnected]


@pytest.mark.parametrize(
    "last",
    [
        pytest.param([body(b"x")], id="A2W-SEND-34"),
        pytest.param([body(b"x", more=True), body()], id="A2W-SEND-34-streamed"),
    ],
)
@pytest.mark.parametrize("taken", [True, False], ids=["taken", "not taken"])
def test_send_never_raises_after_a_complete_response(last: list[dict[str, Any]], taken: bool) -> None:
    """Also when the server has closed the iterable since, whether it took all or not."""
    complete, closed, ended = Gate("the response"), Gate(), Gate("the application")

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        for event in last:
            await send(event)
        complete.open()
        await closed.passed()
        for event in (body(b"y", more=True), body(), start()):
            await send(event)
        ended.open()

    with AsgiToWsgi(app) as wsgi:
        with Request(wsgi) as request:
            request.begin()
            complete.wait()
            if taken:
                request.read_to_end()
        closed.open()
        ended.wait()
