"""`AsgiClient`: what the application gets, what the test gets, and who waits for whom."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from asgiadapt import ApplicationOrderError, ClientDisconnected, StartupFailed
from asgiadapt.testing import AsgiClient, Response
from asgiadapt.validate import ApplicationViolation
from tests.gates import PATIENCE

Scope = dict[str, Any]


async def respond(send: Any, *chunks: bytes, status: int = 200, headers: Any = ()) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    for chunk in chunks:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body"})


class Shows:
    """Keeps the scope and the events of a request, and answers with *chunks*."""

    def __init__(self, *chunks: bytes, **head: Any) -> None:
        self._chunks, self._head = chunks, head
        self.scope: Scope = {}
        self.events: list[dict[str, Any]] = []

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        self.scope = scope
        while not self.events or self.events[-1].get("more_body"):
            self.events.append(await receive())
        await respond(send, *self._chunks, **self._head)

    @property
    def bodies(self) -> list[tuple[bytes, bool]]:
        return [(event["body"], event["more_body"]) for event in self.events]


async def test_a_request_gives_a_response() -> None:
    """Status, headers as text, and the whole body."""
    app = Shows(b"caf", b"\xc3\xa9", status=201, headers=[(b"x-a", b"1"), (b"x-a", b"\xe9")])
    answer = await AsgiClient(app, validate=True).request("GET", "/")
    assert answer == Response(201, [("x-a", "1"), ("x-a", "\u00e9")], b"caf\xc3\xa9")
    assert (answer.text, answer.header("X-A"), answer.header("x-b")) == ("caf\u00e9", "1, \u00e9", None)


@pytest.mark.parametrize(
    ("path", "in_scope"),
    [
        ("/", ("/", b"/", b"")),
        ("/a%20b/caf\u00e9?q=\u00e9&r=%26", ("/a b/caf\u00e9", b"/a%20b/caf%C3%A9", b"q=%C3%A9&r=%26")),
        ("/a?b?c", ("/a", b"/a", b"b?c")),
        ("*", ("*", b"*", b"")),
    ],
)
async def test_a_path_is_taken_apart(path: str, in_scope: tuple[str, bytes, bytes]) -> None:
    """It may have a query, and may be escaped or not."""
    app = Shows()
    await AsgiClient(app).request("GET", path)
    assert (app.scope["path"], app.scope["raw_path"], app.scope["query_string"]) == in_scope


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        ({}, [(b"host", b"testserver")]),
        ({"headers": {"Host": "a", "X-B": "\u00e9"}}, [(b"host", b"a"), (b"x-b", b"\xe9")]),
        ({"headers": [("x", "1"), ("x", "2")]}, [(b"host", b"testserver"), (b"x", b"1"), (b"x", b"2")]),
        ({"body": b"abc"}, [(b"host", b"testserver"), (b"content-length", b"3")]),
        ({"method": "POST"}, [(b"host", b"testserver"), (b"content-length", b"0")]),
        ({"body": [b"abc"]}, [(b"host", b"testserver"), (b"transfer-encoding", b"chunked")]),
        (
            {"body": [b"abc"], "headers": [("Content-Length", "3")]},
            [(b"host", b"testserver"), (b"content-length", b"3")],
        ),
    ],
)
async def test_headers_are_those_of_a_client(request_: dict[str, Any], fields: Any) -> None:
    """Names in lower case, a host, and the framing of the body."""
    app = Shows()
    request_ = {"method": "GET", **request_}
    await AsgiClient(app, validate=True).request(request_.pop("method"), "/", **request_)
    assert app.scope["headers"] == fields


async def test_entries_of_the_scope_can_be_replaced() -> None:
    """Whatever they are."""
    app = Shows()
    await AsgiClient(app).request("GET", "/", scheme="https", client=None, extensions={"a": {}})
    assert (app.scope["scheme"], app.scope["client"], app.scope["extensions"]) == ("https", None, {"a": {}})


async def pieces() -> AsyncIterator[bytes]:
    yield b"a"
    yield b"b"


@pytest.mark.parametrize(
    ("body", "bodies"),
    [
        (b"", [(b"", False)]),
        (b"ab", [(b"ab", False)]),
        ([b"a", b"b"], [(b"a", True), (b"b", True), (b"", False)]),
        (pieces(), [(b"a", True), (b"b", True), (b"", False)]),
    ],
)
async def test_a_body_is_given_in_its_pieces(body: Any, bodies: Any) -> None:
    """Bytes in one event, what is iterable in one for each piece, and a last one."""
    app = Shows()
    await AsgiClient(app, validate=True).request("POST", "/", body=body)
    assert app.bodies == bodies


async def test_a_streamed_body_is_taken_when_it_is_received() -> None:
    """The next piece is not asked for before the application wants it."""
    taken = []

    def body() -> Any:
        for number in range(3):
            taken.append(number)
            yield b"%d" % number

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        assert (await receive())["body"] == b"0"
        await respond(send, b"early")

    answer = await AsgiClient(app).request("POST", "/", body=body())
    assert (answer.body, taken) == (b"early", [0])


async def test_a_receive_that_is_cancelled_loses_nothing() -> None:
    """What arrives afterwards is given to the next one."""
    may_go = asyncio.Event()
    asked = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        asked.set()
        await may_go.wait()
        yield b"late"

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        first = asyncio.ensure_future(receive())
        await asked.wait()
        first.cancel()
        await asyncio.wait([first])
        may_go.set()
        await respond(send, (await receive())["body"])

    assert (await AsgiClient(app).request("POST", "/", body=body())).body == b"late"


async def test_a_body_that_is_not_wanted_any_more_is_closed() -> None:
    """Where it waits for its next piece, and where nobody has asked for one."""
    asked, closed = asyncio.Event(), []

    async def body() -> AsyncIterator[bytes]:
        try:
            yield b"a"
            asked.set()
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await receive()

    async with AsgiClient(app).stream("POST", "/", body=body()) as exchange:
        await asked.wait()
        exchange.disconnect()
        await exchange.ended()
    assert closed == [True]


async def test_what_the_body_raises_comes_out_of_receive() -> None:
    """And from there, out of the request."""

    def body() -> Any:
        yield b"a"
        raise OSError("broken")

    app = Shows()
    with pytest.raises(OSError, match="broken"):
        await AsgiClient(app).request("POST", "/", body=body())
    assert app.bodies == [(b"a", True)]


class Counts:
    """Sends numbers, and notes which of them were taken."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.through: list[int] = []
        self.error: BaseException | None = None

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        try:
            for number in range(self._count):
                await send({"type": "http.response.body", "body": b"%d" % number, "more_body": True})
                self.through.append(number)
            await send({"type": "http.response.body"})
        except BaseException as error:
            self.error = error
            raise


async def settle() -> None:
    """Let every task run until it waits: what is wrong has turns enough to show."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("buffer", [0, 2])
async def test_send_waits_until_its_chunk_was_taken(buffer: int) -> None:
    """The application is ahead of the client by the buffer, and no more."""
    app = Counts(5)
    async with AsgiClient(app).stream("GET", "/", buffer=buffer) as exchange:
        await exchange.started()
        for taken in range(3):
            await settle()
            assert app.through == list(range(taken + buffer))
            assert await exchange.chunk() == b"%d" % taken
        assert await exchange.read() == b"34"
        assert await exchange.chunk() == b""
    assert app.through == [0, 1, 2, 3, 4]


async def test_chunks_can_be_iterated_over() -> None:
    """Empty ones are none."""
    async with AsgiClient(Shows(b"a", b"", b"b")).stream("GET", "/") as exchange:
        assert [chunk async for chunk in exchange] == [b"a", b"b"]
        assert (exchange.status, exchange.headers) == (200, [])
        assert [message.get("body") for message in exchange.messages] == [None, b"a", b"", b"b", None]


async def test_the_head_is_there_before_the_body() -> None:
    """As soon as the application has sent it."""
    may_go = asyncio.Event()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 202, "headers": [(b"a", b"b")]})
        await may_go.wait()
        await send({"type": "http.response.body", "body": b"x"})

    async with AsgiClient(app).stream("GET", "/") as exchange:
        with pytest.raises(RuntimeError, match=r"await started\(\) first"):
            _ = exchange.status
        await exchange.started()
        assert (exchange.status, exchange.headers) == (202, [("a", "b")])
        may_go.set()
        assert await exchange.read() == b"x"


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
async def test_where_there_is_no_body_it_is_dropped(method: str, status: int) -> None:
    """As a server does it."""
    answer = await AsgiClient(Shows(b"abc", status=status)).request(method, "/")
    assert (answer.status, answer.body) == (status, b"")


@pytest.mark.parametrize("kind", ["pathsend", "zerocopysend"])
async def test_what_the_server_would_send_from_a_file_completes_the_response(kind: str) -> None:
    """The bytes are the server's affair; the message is there to look at."""
    message = {"type": f"http.response.{kind}", "path": "/a", "file": 0}

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send(message)

    offer: Any = {message["type"]: {}}
    async with AsgiClient(app, validate=True).stream("GET", "/", extensions=offer) as exchange:
        assert await exchange.read() == b""
        assert exchange.messages[1] == message


async def test_a_send_that_waits_learns_that_the_client_has_gone() -> None:
    """It raises, and the exchange takes that for a normal end."""
    app = Counts(5)
    async with AsgiClient(app).stream("GET", "/") as exchange:
        assert await exchange.chunk() == b"0"
        await settle()
        exchange.disconnect()
        await exchange.ended()
        with pytest.raises(ClientDisconnected, match=r"has called disconnect\(\)"):
            await exchange.chunk()
    assert isinstance(app.error, ClientDisconnected)
    assert "the client has gone" in str(app.error)
    assert app.through == [0]


async def test_a_send_whose_chunk_was_taken_has_succeeded() -> None:
    """Although the client goes at once; the next one raises."""
    app = Counts(5)
    async with AsgiClient(app).stream("GET", "/") as exchange:
        assert await exchange.chunk() == b"0"
        exchange.disconnect()
    assert isinstance(app.error, ClientDisconnected)
    assert app.through == [0]


async def test_the_end_of_the_block_is_a_disconnect() -> None:
    """Where the response is not complete."""
    app = Counts(5)
    async with AsgiClient(app).stream("GET", "/") as exchange:
        await exchange.started()
    assert isinstance(app.error, ClientDisconnected)


async def test_a_disconnect_is_received() -> None:
    """By an application that waits for it while it has nothing to send, and each time again."""
    events = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        while len(events) < 3:
            events.append((await receive())["type"])

    async with AsgiClient(app, validate=True).stream("GET", "/") as exchange:
        await settle()
        assert events == ["http.request"]
        exchange.disconnect()
        await exchange.ended()
    assert events == ["http.request", "http.disconnect", "http.disconnect"]


async def test_after_the_response_there_is_a_disconnect_and_nothing_to_send() -> None:
    """What is sent then is ignored."""
    events = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await respond(send, b"a")
        events.append((await receive())["type"])
        await send({"type": "http.response.body", "body": b"more"})

    answer = await AsgiClient(app).request("GET", "/")
    assert (answer.body, events) == (b"a", ["http.disconnect"])


async def test_trailers_are_waited_for() -> None:
    """The response is complete with the last of them."""

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "trailers": True})
        await send({"type": "http.response.body", "body": b"a"})
        trailers = {"type": "http.response.trailers", "headers": [(b"a", b"b")]}
        await send({**trailers, "more_trailers": True})
        await send(trailers)

    offer: Any = {"http.response.trailers": {}}
    async with AsgiClient(app, validate=True).stream("GET", "/", extensions=offer) as exchange:
        assert await exchange.read() == b"a"
        await exchange.ended()
    assert [message["type"] for message in exchange.messages[2:]] == ["http.response.trailers"] * 2


class Broken(Exception):
    """Of the application."""


@pytest.mark.parametrize("sent", [0, 1, 2])
@pytest.mark.parametrize("error", [Broken("no"), KeyError("a"), ClientDisconnected("another's")])
async def test_an_error_reaches_the_test_unchanged(error: Exception, sent: int) -> None:
    """Wherever the application raises it, and even if it is one of ours."""
    messages: list[Any] = [
        {"type": "http.response.start", "status": 200},
        {"type": "http.response.body", "body": b"a", "more_body": True},
    ]

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        for message in messages[:sent]:
            await send(message)
        raise error

    with pytest.raises(type(error)) as caught:
        await AsgiClient(app).request("GET", "/")
    assert caught.value is error


async def test_an_error_after_the_response_is_raised_at_the_end() -> None:
    """The response can be looked at before."""

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await respond(send, b"a")
        raise Broken("afterwards")

    with pytest.raises(Broken, match="afterwards"):
        async with AsgiClient(app).stream("GET", "/") as exchange:
            assert await exchange.read() == b"a"


async def test_what_fails_in_the_block_comes_first() -> None:
    """The application's error does not hide it."""

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        raise Broken("hidden")

    with pytest.raises(LookupError, match="of the test"):
        async with AsgiClient(app).stream("GET", "/"):
            await settle()
            raise LookupError("of the test")


async def test_an_application_that_cancels_itself_is_reported() -> None:
    """And not taken for a cancelled test."""

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        raise asyncio.CancelledError("by itself")

    with pytest.raises(asyncio.CancelledError, match="by itself"):
        await AsgiClient(app).request("GET", "/")


@pytest.mark.parametrize("sent", [0, 1])
async def test_a_response_that_does_not_end_is_reported(sent: int) -> None:
    """Instead of waiting for what does not come."""

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if sent:
            await send({"type": "http.response.start", "status": 200})

    with pytest.raises(ApplicationOrderError, match="without a response that is complete"):
        await AsgiClient(app).request("GET", "/")


async def hangs(scope: Scope, receive: Any, send: Any) -> None:
    await asyncio.Event().wait()


async def test_an_application_that_hangs_is_given_up() -> None:
    """With what it has not done; and its task is cancelled."""
    with pytest.raises(TimeoutError, match=r"has not begun a response within 0\.01 s"):
        await AsgiClient(hangs, timeout=0.01).request("GET", "/")
    with pytest.raises(TimeoutError, match=r"has not ended within 0\.01 s"):
        async with AsgiClient(hangs, timeout=0.01).stream("GET", "/"):
            pass


async def test_the_validator_stands_between_where_it_is_asked_for() -> None:
    """Its error is that of the application."""
    app = Shows(headers=[(b"X-A", b"1")])
    with pytest.raises(ApplicationViolation, match="header-case"):
        await AsgiClient(app, validate=True).request("GET", "/")
    app.events.clear()
    assert (await AsgiClient(app).request("GET", "/")).header("x-a") == "1"


# Lifespan


class Site:
    """An application with a lifespan; *fails* at one of its steps."""

    def __init__(self, fails: str = "") -> None:
        self.fails = fails
        self.log: list[str] = []

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope["state"]["seen"] = True
            await respond(send, repr(sorted(scope["state"])).encode())
            return
        scope["state"]["pool"] = object()
        for step in ("startup", "shutdown"):
            event = await receive()
            assert event == {"type": f"lifespan.{step}"}
            self.log.append(step)
            if self.fails == f"{step} raises":
                raise Broken(step)
            if self.fails == f"{step} returns":
                return
            if self.fails == f"{step} hangs":
                await hangs(scope, receive, send)
            if self.fails == f"{step} fails":
                await send({"type": f"lifespan.{step}.failed", "message": "no database"})
                return
            await send({"type": f"lifespan.{step}.complete"})


async def test_the_block_is_the_lifespan() -> None:
    """Requests have copies of its state."""
    site = Site()
    async with AsgiClient(site, validate=True) as client:
        assert site.log == ["startup"]
        for _ in range(2):
            assert (await client.request("GET", "/")).text == "['pool', 'seen']"
        assert list(client.state) == ["pool"]
    assert site.log == ["startup", "shutdown"]


async def test_without_a_block_there_is_no_lifespan() -> None:
    """The state may be set by the test."""
    site = Site()
    client = AsgiClient(site)
    client.state["set"] = 1
    assert (await client.request("GET", "/")).text == "['seen', 'set']"
    assert site.log == []


@pytest.mark.parametrize(
    ("fails", "error", "text"),
    [
        ("startup raises", Broken, "startup"),
        ("startup returns", ApplicationOrderError, "without an answer to lifespan.startup"),
        ("startup fails", StartupFailed, "no database"),
        ("startup hangs", TimeoutError, "has not answered lifespan.startup within"),
        ("shutdown raises", Broken, "shutdown"),
        ("shutdown returns", ApplicationOrderError, "without an answer to lifespan.shutdown"),
        ("shutdown fails", RuntimeError, "shutdown has failed: no database"),
        ("shutdown hangs", TimeoutError, "has not answered lifespan.shutdown within"),
    ],
)
async def test_what_fails_in_the_lifespan_reaches_the_test(fails: str, error: Any, text: str) -> None:
    """Before the block, or at its end."""
    site = Site(fails)
    entered = False
    timeout = 0.01 if "hangs" in fails else PATIENCE
    with pytest.raises(error, match=text):
        async with AsgiClient(site, timeout=timeout):
            entered = True
    assert entered is fails.startswith("shutdown")


async def test_what_fails_in_the_block_comes_before_the_shutdown() -> None:
    """Although that is done."""
    site = Site("shutdown raises")
    with pytest.raises(LookupError, match="of the test"):
        async with AsgiClient(site):
            raise LookupError("of the test")
    assert site.log == ["startup", "shutdown"]


async def test_an_error_after_the_shutdown_is_raised() -> None:
    """What comes after the last answer is the application's too."""

    @contextlib.asynccontextmanager
    async def lifespan(send: Any) -> AsyncIterator[None]:
        await send({"type": "lifespan.startup.complete"})
        yield
        await send({"type": "lifespan.shutdown.complete"})
        raise Broken("late")

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        async with lifespan(send):
            await receive()

    with pytest.raises(Broken, match="late"):
        async with AsgiClient(app):
            pass
