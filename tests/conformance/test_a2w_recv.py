"""A2W-RECV: what an application receives, and what is read of ``wsgi.input`` for it."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from asgiadapt import ClientDisconnected, ServerError
from tests.asgi_apps import (
    Flag,
    Receives,
    body,
    echoes,
    echoes_as_it_reads,
    for_http,
    read_body,
    says_hello,
    start,
)
from tests.conformance.rules import rule
from tests.validated import AsgiToWsgi
from tests.wsgi_fakes import ABSENT, FedInput, Input, Request, Stream, call

KIB = 1024
ENDS = {"wsgi.input_terminated": True}
EMPTY = {"type": "http.request", "body": b"", "more_body": False}
GONE = {"type": "http.disconnect"}


def piece(content: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": content, "more_body": more}


async def several_turns() -> None:
    """Let the loop run whatever is ready, and what comes of that."""
    for _ in range(10):
        await asyncio.sleep(0)


class ReceivesAll:
    """Receives until the body is complete or the client gone, and answers in the first case."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        while True:
            self.events.append(await receive())
            if self.events[-1]["type"] == "http.disconnect":
                return
            if not self.events[-1]["more_body"]:
                break
        await says_hello(scope, receive, send)

    @property
    def body(self) -> bytes:
        return b"".join(event["body"] for event in self.events)


def received(stream: Stream | bytes = b"", *, validated: bool = False, **environ: Any) -> ReceivesAll:
    """The events of a request whose body arrives whole."""
    app = ReceivesAll()
    answer = call(AsgiToWsgi(app, lifespan="off"), stream, validated=validated, **environ)
    assert answer.body == b"hello"
    return app


# What is read


@pytest.mark.parametrize(
    "environ",
    [
        pytest.param({}, id="A2W-RECV-01"),
        pytest.param({"CONTENT_LENGTH": ""}, id="A2W-RECV-01-blank"),
        pytest.param({"CONTENT_LENGTH": "0"}, id="A2W-RECV-01-zero"),
        pytest.param({"CONTENT_LENGTH": "000"}, id="A2W-RECV-01-zeros"),
        pytest.param({"CONTENT_LENGTH": "0", **ENDS}, id="A2W-RECV-01-04-zero"),
        pytest.param({"REQUEST_METHOD": "POST"}, id="A2W-RECV-03-OPEN-28"),
        pytest.param({"wsgi.input_terminated": False}, id="A2W-RECV-03-not-terminated"),
        pytest.param({"HTTP_TRANSFER_ENCODING": "chunked"}, id="A2W-RECV-03-chunked-not-terminated"),
    ],
)
def test_where_there_is_no_body_nothing_is_read(environ: dict[str, Any]) -> None:
    """The application gets one event with an empty body, and the stream is not touched."""
    stream = Input(ends=False)
    assert received(stream, **environ).events == [EMPTY]
    assert not stream.reads


@pytest.mark.parametrize("environ", [{}, ENDS])
@pytest.mark.parametrize("stream", [None, ABSENT])
@rule("A2W-RECV-22")
def test_where_there_is_no_stream_the_body_is_empty(stream: Any, environ: Any, _rule: None) -> None:
    """Some servers leave ``wsgi.input`` out, or make it None."""
    app = ReceivesAll()
    wsgi = AsgiToWsgi(app, lifespan="off")
    assert call(wsgi, validated=False, **{**environ, "wsgi.input": stream}).body == b"hello"
    assert app.events == [EMPTY]


@pytest.mark.parametrize("environ", [{}, ENDS])
@pytest.mark.parametrize("size", [1, 5, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 300 * KIB])
@rule("A2W-RECV-02-04")
def test_no_more_is_read_than_the_length_says(size: int, environ: Any, _rule: None) -> None:
    """What follows in the stream may be the next request, or nothing for a long time."""
    content = (bytes(range(251)) * (size // 251 + 1))[:size]
    stream = Input(content + b"GET /next HTTP/1.1")
    assert received(stream, CONTENT_LENGTH=str(size), **environ).body == content
    assert stream.given == sum(stream.sizes) == size


@pytest.mark.parametrize(
    "environ", [{}, {"HTTP_TRANSFER_ENCODING": "chunked"}, {"CONTENT_LENGTH": ""}], ids=lambda environ: ""
)
@pytest.mark.parametrize("size", [0, 1, 64 * KIB, 300 * KIB])
@rule("A2W-RECV-03-terminated")
def test_a_stream_that_says_that_it_ends_is_read_to_its_end(size: int, environ: Any, _rule: None) -> None:
    """That is how chunked bodies come through."""
    content = (bytes(range(251)) * (size // 251 + 1))[:size]
    app = received(Input(content), **environ, **ENDS)
    assert app.body == content
    assert [event["more_body"] for event in app.events] == [True] * (len(app.events) - 1) + [False]


@rule("A2W-RECV-03-more")
def test_a_terminated_stream_in_short_pieces_is_read_to_its_end(_rule: None) -> None:
    """A short read is not the end; an empty one is."""
    assert received(Input(b"a", b"bc", b"d"), **ENDS).body == b"abcd"


@rule("A2W-RECV-04")
def test_a_length_bounds_a_terminated_stream(_rule: None) -> None:
    """The rest of the stream is not asked for."""
    stream = Input(b"abc", b"de", b"fg")
    assert received(stream, CONTENT_LENGTH="4", **ENDS).body == b"abcd"
    assert stream.given == 4


@rule("A2W-RECV-04-chunked")
def test_chunked_framing_wins_over_a_length(_rule: None) -> None:
    """As the application sees no length, it gets the whole body."""
    app = received(Input(b"abcde"), CONTENT_LENGTH="2", HTTP_TRANSFER_ENCODING="chunked", **ENDS)
    assert app.body == b"abcde"


@pytest.mark.parametrize(
    ("pieces", "environ"),
    [
        pytest.param([b"abc"], {"CONTENT_LENGTH": "3"}, id="A2W-RECV-05-08"),
        pytest.param([b"a", b"bc", b"def"], {"CONTENT_LENGTH": "6"}, id="A2W-RECV-05-10"),
        pytest.param([b"a"] * 20, {"CONTENT_LENGTH": "20"}, id="A2W-RECV-05-10-bytes"),
        pytest.param([b"x" * 100 * KIB, b"y"], {"CONTENT_LENGTH": str(100 * KIB + 1)}, id="A2W-RECV-05-long"),
    ],
)
def test_the_event_that_completes_a_known_length_is_the_last(
    pieces: list[bytes], environ: dict[str, Any]
) -> None:
    """There is no further, empty one; each event before it says that there is more."""
    app = received(Input(*pieces), **environ)
    assert app.body == b"".join(pieces)
    assert [event["more_body"] for event in app.events] == [True] * (len(app.events) - 1) + [False]
    for event in app.events:
        assert event.keys() == {"type", "body", "more_body"}
        assert event["type"] == "http.request"
        assert type(event["body"]) is bytes
        assert type(event["more_body"]) is bool
        assert event["body"]


@rule("A2W-RECV-05-echo")
def test_a_body_comes_back_as_it_went_in(_rule: None) -> None:
    """Also where it is longer than all that the adapter holds, behind the validator."""
    content = bytes(range(256)) * 4 * KIB
    assert call(AsgiToWsgi(echoes), content).body == content
    assert call(AsgiToWsgi(echoes_as_it_reads), content).body == content
    assert call(AsgiToWsgi(echoes, window=1), content).body == content
    assert call(AsgiToWsgi(echoes_as_it_reads, window=1), content).body == content


class Endless(Stream):
    """A body without end."""

    def give(self, size: int) -> bytes:
        return b"x" * size


@pytest.mark.parametrize("window", [64 * KIB, 512 * KIB])
@rule("A2W-RECV-06")
def test_a_body_is_read_piece_by_piece(window: int, _rule: None) -> None:
    """However long it is: first 64 KiB, later more, as the window allows, while the client is quick."""
    stream, app = Endless(), Receives(3)
    wsgi = AsgiToWsgi(app, lifespan="off", window=window)
    assert call(wsgi, stream, validated=False, CONTENT_LENGTH=str(1 << 40)).body == b"hello"
    assert stream.sizes[0] == 64 * KIB
    assert max(stream.sizes) <= max(64 * KIB, window // 2)
    assert [len(event["body"]) for event in app.events] == stream.sizes
    assert stream.given <= 3 * 64 * KIB + window


@rule("A2W-RECV-07")
def test_nothing_is_read_before_the_application_asks(_rule: None) -> None:
    """A client that waits for "100 Continue" gets its refusal without having sent a byte."""
    may_read, is_read = Flag(), Flag()

    @for_http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await send(body(b"a", more=True))
        await may_read
        await send(body(await read_whole(receive), more=True))
        is_read.set()
        await send(body())

    stream = Input(b"body", ends=False)
    with Request(
        AsgiToWsgi(app), stream, CONTENT_LENGTH="4", REQUEST_METHOD="POST", HTTP_EXPECT="100-continue"
    ) as request:
        assert request.begin().status == 200
        assert request.next() == b"a"
        assert not stream.reads
        may_read.set()
        assert request.next() == b"body"
        is_read.wait()
        request.read_to_end()


async def read_whole(receive: Any) -> bytes:
    return b"".join(await read_body(receive))


@pytest.mark.parametrize("count", [0, 1])
@rule("A2W-RECV-21")
def test_a_body_need_not_be_read(count: int, _rule: None) -> None:
    """Nor need all of it; the rest is left to the server."""
    stream = Input(*[b"x" * 64 * KIB] * 40, ends=False)
    app = Receives(count)
    wsgi = AsgiToWsgi(app, lifespan="off", window=64 * KIB)
    environ = {"CONTENT_LENGTH": str(40 * 64 * KIB), "REQUEST_METHOD": "POST"}
    assert call(wsgi, stream, **environ).body == b"hello"
    assert stream.given < 10 * 64 * KIB
    if not count:
        assert not stream.reads


# Bodies that end too early

SHORT = [
    # the stream, whether the body is known to be longer
    pytest.param([], {"CONTENT_LENGTH": "100"}, [], id="A2W-RECV-09-nothing"),
    pytest.param([b"abc"], {"CONTENT_LENGTH": "100"}, [piece(b"abc", more=True)], id="A2W-RECV-09"),
    pytest.param(
        [b"a", b"b"],
        {"CONTENT_LENGTH": "3"},
        [piece(b"a", more=True), piece(b"b", more=True)],
        id="A2W-RECV-09-one-byte",
    ),
    pytest.param([OSError("gone")], {"CONTENT_LENGTH": "100"}, [], id="A2W-RECV-09-error"),
    pytest.param(
        [b"abc", ConnectionResetError("gone")],
        {"CONTENT_LENGTH": "100"},
        [piece(b"abc", more=True)],
        id="A2W-RECV-09-later-error",
    ),
    pytest.param([TimeoutError("slow")], {"CONTENT_LENGTH": "100"}, [], id="A2W-RECV-09-timeout"),
    pytest.param([b"abc", OSError("gone")], ENDS, [piece(b"abc", more=True)], id="A2W-RECV-09-terminated"),
    pytest.param([b"a"], {"CONTENT_LENGTH": "2", **ENDS}, [piece(b"a", more=True)], id="A2W-RECV-09-both"),
]


@pytest.mark.parametrize(("pieces", "environ", "events"), SHORT)
def test_a_body_that_ends_early_is_a_disconnect(
    pieces: list[Any], environ: dict[str, Any], events: list[dict[str, Any]]
) -> None:
    """A part of a body must not look like the whole. The disconnect comes again at once, and no read."""
    app = Receives(len(events) + 3)
    stream = Input(*pieces)
    # What becomes of the answer is another rule's affair; the client does not see it.
    with suppress(ClientDisconnected):
        call(AsgiToWsgi(app, lifespan="off"), stream, validated=False, REQUEST_METHOD="POST", **environ)
    assert app.events == [*events, GONE, GONE, GONE]
    assert stream.reads == len(events) + 1


@rule("A2W-RECV-09-ends")
def test_an_application_that_gives_up_on_an_early_end_ends_the_request(_rule: None) -> None:
    """It neither hangs nor turns round and round; no response is made up."""
    app = ReceivesAll()
    request = Request(AsgiToWsgi(app, lifespan="off"), Input(b"abc"), threaded=True, CONTENT_LENGTH="100")
    with request:
        with pytest.raises((ClientDisconnected, RuntimeError)):
            request.begin()
        assert not request.answer.started
    assert app.events == [piece(b"abc", more=True), GONE]


class Gives(Stream):
    """A stream that breaks the rules: each read gives *what*, or raises it."""

    def __init__(self, what: Any) -> None:
        super().__init__()
        self.what = what

    def read(self, *args: Any, **kwargs: Any) -> Any:
        self.sizes.append(args[0])
        if isinstance(self.what, BaseException):
            raise self.what
        return self.what


BROKEN = ValueError("a stream of a middleware")


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize(
    ("what", "kind", "told"),
    [
        pytest.param("text", ServerError, "gave a str instead of bytes", id="A2W-RECV-05-str"),
        pytest.param(None, ServerError, "gave a NoneType instead of bytes", id="A2W-RECV-05-none"),
        pytest.param(b"too long", ServerError, "gave 8 bytes where 4 were left", id="A2W-RECV-02-too-long"),
        pytest.param(BROKEN, ValueError, "of a middleware", id="A2W-RECV-09-other-error"),
    ],
)
def test_a_stream_that_breaks_the_rules_is_reported(what: Any, kind: type, told: str, again: bool) -> None:
    """`receive()` raises, once; the application may go on and answer, and is told no more of the body."""
    errors: list[BaseException] = []
    events: list[Any] = []

    @for_http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await receive()
        except Exception as error:
            errors.append(error)
            if not again:
                raise
        events.append(await receive())
        await says_hello(scope, receive, send)

    stream = Gives(what)
    if again:
        assert call(AsgiToWsgi(app), stream, CONTENT_LENGTH="4", validated=False).body == b"hello"
        assert events == [GONE]
    else:
        with pytest.raises(kind, match=told):
            call(AsgiToWsgi(app), stream, CONTENT_LENGTH="4", validated=False)
    assert len(errors) == 1
    assert isinstance(errors[0], kind)
    assert told in str(errors[0])
    assert stream.reads == 1


@pytest.mark.parametrize("in_next", [False, True])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@rule("A2W-RECV-09-interrupt")
def test_an_interrupt_in_a_read_ends_the_request(
    kind: type[BaseException], in_next: bool, _rule: None
) -> None:
    """It goes on through the server; the application is told that the client has gone."""
    events: list[Any] = []
    over = Flag()

    @for_http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if in_next:
            await send(start())
            await send(body(b"a", more=True))
        events.append(await receive())
        over.set()

    request = Request(AsgiToWsgi(app), Input(kind("stop")), validated=False, CONTENT_LENGTH="4")
    with request:
        if in_next:
            request.begin()
            assert request.next() == b"a"
        with pytest.raises(kind, match="stop"):
            request.next() if in_next else request.begin()
    over.wait()
    assert events == [GONE]


# Threads


@rule("A2W-RECV-11-14")
def test_a_waiting_read_holds_up_no_other_request(_rule: None) -> None:
    """The loop of both goes on; the first one ends when its body has come."""
    stream = FedInput()
    wsgi = AsgiToWsgi(echoes)
    with Request(wsgi, stream, threaded=True, CONTENT_LENGTH="4") as request:
        begun = request.begin_later()
        stream.wait_for_read()
        for _ in range(3):
            assert call(wsgi, b"other").body == b"other"
        assert not begun.over
        stream.feed(b"bo", b"dy")
        begun.result()
        assert request.read_to_end().body == b"body"


@pytest.mark.parametrize("environ", [{"CONTENT_LENGTH": "300000"}, ENDS], ids=lambda environ: "")
@pytest.mark.parametrize("app", [echoes, echoes_as_it_reads])
@rule("A2W-RECV-12-OPEN-45")
def test_the_stream_is_read_in_the_thread_of_the_request(app: Any, environ: Any, _rule: None) -> None:
    """Streams of servers are not promised to stand more than one."""
    stream = Input(*[b"x" * 1000] * 300)
    answer = call(AsgiToWsgi(app), stream, **environ)
    assert len(answer.body) == 300_000
    assert stream.threads == {threading.get_ident()}


@pytest.mark.parametrize("chunks", [[b"a"], [b"a", b"b", b"c"]])
@rule("A2W-RECV-13-OPEN-45")
def test_what_was_sent_is_delivered_before_a_read_that_waits(chunks: list[bytes], _rule: None) -> None:
    """A client may wait for the answer to what it has sent before it sends more."""

    @for_http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        for chunk in chunks:
            await send(body(chunk, more=True))
        await send(body(await read_whole(receive)))

    stream = FedInput()
    with Request(AsgiToWsgi(app), stream, threaded=True, CONTENT_LENGTH="4") as request:
        request.begin()
        for chunk in chunks:
            assert request.next() == chunk
        assert not stream.reads
        last = request.next_later()
        stream.wait_for_read()
        stream.feed(b"more")
        assert last.result() == b"more"
        assert request.next() is None


@rule("A2W-RECV-13-dialogue")
def test_request_and_response_can_alternate(_rule: None) -> None:
    """Each piece is answered before the next is read."""
    stream = FedInput()
    with Request(AsgiToWsgi(echoes_as_it_reads), stream, threaded=True, CONTENT_LENGTH="3") as request:
        stream.feed(b"a")
        request.begin()
        assert request.next() == b"a"
        for chunk in (b"b", b"c"):
            step = request.next_later()
            stream.wait_for_read()
            stream.feed(chunk)
            assert step.result() == chunk
        assert request.next() is None


class Listens:
    """Sends a chunk, and receives after that as often as it can; ``over`` says that it has ended."""

    def __init__(self, ask: bool) -> None:
        self.ask = ask
        self.may_receive, self.over = Flag(), Flag()
        self.events: list[dict[str, Any]] = []
        self.sent: BaseException | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            asked = asyncio.create_task(receive()) if self.ask else None
            await send(start())
            await send(body(b"a", more=True))
            await self.may_receive
            if asked:
                self.events.append(await asked)
            for _ in range(3):
                self.events.append(await receive())
            await send(body(b"b"))
        except OSError as error:
            self.sent = error
            raise
        finally:
            self.over.set()


@rule("A2W-RECV-14")
def test_the_stream_is_not_read_after_the_close(_rule: None) -> None:
    """The server may have given it to the next request; the application is told that the client has gone."""
    app = Listens(ask=False)
    stream = Input(b"body", ends=False)
    with Request(AsgiToWsgi(app, lifespan="off"), stream, threaded=True, CONTENT_LENGTH="4") as request:
        request.begin()
        assert request.next() == b"a"
        closing = request.close_later()
        app.may_receive.set()
        closing.result()
    app.over.wait()
    # The flag may have been set before the close was seen; the thread cannot have read, though.
    assert app.events == [GONE] * 3
    assert not stream.reads
    assert isinstance(app.sent, ClientDisconnected)


@rule("A2W-RECV-14-pending")
def test_a_receive_that_waits_at_the_close_gets_the_disconnect(_rule: None) -> None:
    """It had asked for a read that will not come any more."""
    app = Listens(ask=True)

    @for_http
    async def first_empty(scope: Any, receive: Any, send: Any) -> None:
        assert await receive() == EMPTY
        await app(scope, receive, send)

    with Request(AsgiToWsgi(first_empty), threaded=True) as request:
        request.begin()
        assert request.next() == b"a"
        closing = request.close_later()
        app.may_receive.set()
        closing.result()
    app.over.wait()
    assert app.events == [GONE] * 4
    assert isinstance(app.sent, ClientDisconnected)


# After the body


@pytest.mark.parametrize("content", [b"", b"body"])
@rule("A2W-RECV-15-16-17-20")
def test_after_the_body_a_receive_waits_for_the_end_of_the_response(content: bytes, _rule: None) -> None:
    """An application that listens for a disconnect while it streams is not stopped by one."""
    seen: list[Any] = []
    over = Flag()
    steps = [Flag(), Flag(), Flag()]

    @for_http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        listener = asyncio.create_task(receive())
        await send(start())
        for step in steps:
            await send(body(b"x", more=True))
            await step
            await several_turns()
            seen.append(listener.done())
        await send(body(b"last"))
        seen.append(await listener)
        seen.append(await receive())
        seen.append(await receive())
        over.set()

    with Request(AsgiToWsgi(app), content) as request:
        request.begin()
        for step in steps:
            assert request.next() == b"x"
            step.set()
        request.read_to_end()
    over.wait()
    assert seen == [False, False, False, GONE, GONE, GONE]
    assert len({id(event) for event in seen[3:]}) == 3


@rule("A2W-RECV-15-early")
def test_a_receive_after_the_response_gives_the_disconnect(_rule: None) -> None:
    """Also if the body was not read; the rest of it is not read any more."""
    over = Flag()
    events: list[Any] = []

    @for_http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await says_hello(scope, receive, send)
        events.extend([await receive(), await receive()])
        over.set()

    stream = Input(b"body", ends=False)
    with Request(AsgiToWsgi(app), stream, CONTENT_LENGTH="4") as request:
        request.begin()
        assert request.read_to_end().body == b"hello"
    over.wait()
    assert events == [GONE, GONE]
    assert not stream.reads


@rule("A2W-RECV-16")
def test_what_a_read_gives_after_the_disconnect_is_not_received(_rule: None) -> None:
    """The response was complete while the thread of the request was waiting in a read."""
    is_told, may_go_on, over = Flag(), Flag(), Flag()
    events: list[Any] = []

    @for_http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        reading = asyncio.create_task(receive())
        await several_turns()
        await says_hello(scope, receive, send)
        events.append(await reading)
        is_told.set()
        await may_go_on
        events.append(await receive())
        events.append(await receive())
        over.set()

    stream = FedInput()
    with Request(AsgiToWsgi(app), stream, threaded=True, CONTENT_LENGTH="4") as request:
        begun = request.begin_later()
        stream.wait_for_read()
        is_told.wait()
        stream.feed(b"bo")
        begun.result()
        assert request.read_to_end().body == b"hello"
    may_go_on.set()
    over.wait()
    assert events == [GONE, GONE, GONE]


@rule("A2W-RECV-16-mutated")
def test_each_disconnect_is_a_dict_of_its_own(_rule: None) -> None:
    """So is each event of the body: what an application writes into one is not in the next."""
    events: list[Any] = []
    over = Flag()

    @for_http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(2):
            events.append(await receive())
            events[-1]["spoilt"] = True
        await says_hello(scope, receive, send)
        for _ in range(3):
            events.append(await receive())
            assert "spoilt" not in events[-1]
            events[-1]["spoilt"] = True
        over.set()

    call(AsgiToWsgi(app), Input(b"a", b"b"), CONTENT_LENGTH="2")
    over.wait()
    assert len({id(event) for event in events}) == 5


@rule("A2W-RECV-17")
def test_sending_goes_on_beside_a_waiting_receive(_rule: None) -> None:
    """Also while the thread of the request waits in a read."""
    sent = Flag()

    @for_http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        reading = asyncio.create_task(read_whole(receive))
        await several_turns()
        await send(start())
        await send(body(b"a", more=True))
        sent.set()
        await send(body(await reading))

    stream = FedInput()
    with Request(AsgiToWsgi(app), stream, threaded=True, CONTENT_LENGTH="4") as request:
        begun = request.begin_later()
        stream.wait_for_read()
        sent.wait()
        stream.feed(b"body")
        begun.result()
        assert request.read_to_end().body == b"abody"


@pytest.mark.parametrize("more", [[b"b"], [b"b", b"c"]])
@rule("A2W-RECV-17-SEND-20")
def test_what_is_sent_while_the_server_takes_the_head_is_delivered(more: list[bytes], _rule: None) -> None:
    """The application is at its end before ``start_response`` has returned."""
    is_called, is_sent = Flag(), Flag()

    @for_http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await send(body(b"a", more=True))
        await is_called
        for chunk in more[:-1]:
            await send(body(chunk, more=True))
        await send(body(more[-1]))
        is_sent.set()

    wsgi = AsgiToWsgi(app)

    def slow(environ: Any, start_response: Any) -> Any:
        def start_response_slowly(*args: Any) -> Any:
            is_called.set()
            is_sent.wait()
            return start_response(*args)

        return wsgi(environ, start_response_slowly)

    assert call(slow).body == b"a" + b"".join(more)


# Cancelled and concurrent calls


@rule("A2W-RECV-18")
def test_a_receive_that_was_cancelled_loses_nothing(_rule: None) -> None:
    """The read that it had asked for goes on, and the next call gets what it gives."""
    is_cancelled, is_reading = Flag(), Flag()

    @for_http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        waiting = asyncio.create_task(receive())
        await is_reading
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        is_cancelled.set()
        await send(start())
        await send(body(await read_whole(receive)))

    stream = FedInput()
    with Request(AsgiToWsgi(app), stream, threaded=True, CONTENT_LENGTH="4") as request:
        begun = request.begin_later()
        stream.wait_for_read()
        is_reading.set()
        is_cancelled.wait()
        stream.feed(b"bo", b"dy")
        begun.result()
        assert request.read_to_end().body == b"body"


async def cancelled_after_turns(receive: Any, turns: int) -> bytes:
    waiting = asyncio.create_task(receive())
    for _ in range(turns):
        await asyncio.sleep(0)
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        return bytes((await waiting)["body"])
    return b""


async def timed_out(receive: Any, turns: int) -> bytes:
    with suppress(TimeoutError):
        async with asyncio.timeout(0 if turns < 2 else 1e-4 * turns):
            return bytes((await receive())["body"])
    return b""


async def waited_for(receive: Any, turns: int) -> bytes:
    with suppress(TimeoutError):
        return bytes((await asyncio.wait_for(receive(), 1e-5 * turns))["body"])
    return b""


@pytest.mark.parametrize("turns", range(5))
@pytest.mark.parametrize("impatient", [cancelled_after_turns, timed_out, waited_for])
@rule("A2W-RECV-18-race")
def test_impatient_receives_lose_nothing(impatient: Any, turns: int, _rule: None) -> None:
    """Wherever the cancellation hits the read, each byte arrives once, and in order."""
    content = bytes(range(200))

    @for_http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        got = b""
        for _ in range(50):
            got += await impatient(receive, turns)
            if len(got) == len(content):
                break
        else:
            got += await read_whole(receive)
        await send(start())
        await send(body(got))

    pieces = [content[index : index + 2] for index in range(0, 200, 2)]
    answer = call(AsgiToWsgi(app), Input(*pieces, ends=False), CONTENT_LENGTH="200")
    assert answer.body == content


@rule("A2W-RECV-18-end")
def test_a_cancelled_listener_leaves_the_disconnect_to_the_next(_rule: None) -> None:
    """As frameworks do it that cancel the listener when the response is complete."""
    over = Flag()
    events: list[Any] = []

    @for_http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        listener = asyncio.create_task(receive())
        await several_turns()
        listener.cancel()
        with pytest.raises(asyncio.CancelledError):
            await listener
        await says_hello(scope, receive, send)
        events.append(await receive())
        over.set()

    assert call(AsgiToWsgi(app)).body == b"hello"
    over.wait()
    assert events == [GONE]


@pytest.mark.parametrize("count", [2, 5])
@rule("A2W-RECV-19")
def test_receives_at_the_same_time_give_different_events(count: int, _rule: None) -> None:
    """In the order of the calls; or the later ones are told off, and nothing is lost."""
    told: list[BaseException] = []

    @for_http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        results = await asyncio.gather(*[receive() for _ in range(count)], return_exceptions=True)
        got = b"".join(event["body"] for event in results if isinstance(event, dict))
        told.extend(error for error in results if not isinstance(error, dict))
        await send(start())
        await send(body(got + await read_whole(receive)))

    pieces = [b"a", b"b", b"c", b"d", b"e", b"f"]
    answer = call(AsgiToWsgi(app), Input(*pieces, ends=False), CONTENT_LENGTH="6")
    assert answer.body == b"abcdef"
    assert all(isinstance(error, RuntimeError) and "receive" in str(error) for error in told)


@pytest.mark.parametrize("count", [1, 3])
@rule("A2W-RECV-19-end")
def test_all_who_listen_are_told_of_the_end(count: int, _rule: None) -> None:
    """None of them waits for ever."""
    over = Flag()
    events: list[Any] = []

    @for_http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        listeners = [asyncio.create_task(receive()) for _ in range(count)]
        await several_turns()
        await says_hello(scope, receive, send)
        events.extend(await asyncio.gather(*listeners, return_exceptions=True))
        over.set()

    assert call(AsgiToWsgi(app)).body == b"hello"
    over.wait()
    assert len(events) == count
    assert GONE in events
    assert all(event == GONE or "receive" in str(event) for event in events)


# What is done to the stream


@pytest.mark.parametrize(
    ("make", "environ"),
    [
        pytest.param(lambda: Input(b"x" * 200_000), {"CONTENT_LENGTH": "200000"}, id="A2W-RECV-23"),
        pytest.param(lambda: Input(*[b"x"] * 20), {"CONTENT_LENGTH": "20"}, id="A2W-RECV-23-short"),
        pytest.param(lambda: Input(b"x" * 200_000), ENDS, id="A2W-RECV-23-terminated"),
        pytest.param(lambda: Input(), {}, id="A2W-RECV-23-none"),
    ],
)
def test_nothing_but_read_is_asked_of_the_stream(make: Callable[[], Input], environ: Any) -> None:
    """With a positive size; other methods fail the test, and so do attributes such as ``close``."""
    stream = make()
    received(stream, **environ)
    assert all(size > 0 for size in stream.sizes)
    assert not stream.faults


@pytest.mark.parametrize(
    ("environ", "count"), [({"CONTENT_LENGTH": "4"}, 1), (ENDS, 2), ({"CONTENT_LENGTH": "0"}, 0)]
)
@rule("A2W-RECV-02-reads")
def test_no_read_is_wasted(environ: Any, count: int, _rule: None) -> None:
    """A length that is reached needs no further read; an end of unknown place needs one."""
    stream = Input(b"body")
    received(stream, **environ)
    assert stream.reads == count
