"""`AsgiClient.websocket`: the handshake, messages both ways, and who closes."""

import asyncio
from typing import Any

import pytest

from asgiadapt import ApplicationOrderError, ClientDisconnected
from asgiadapt.testing import AsgiClient, AsgiWebSocket, Response
from asgiadapt.validate import ApplicationViolation

Scope = dict[str, Any]
ACCEPT = {"type": "websocket.accept"}


def sends(*messages: dict[str, Any]) -> Any:
    """An application that sends *messages* once the client is there, and waits until it has gone."""

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        for message in messages:
            await send(message)
        while (await receive())["type"] != "websocket.disconnect":
            pass

    return app


class Receives:
    """Accepts, and keeps what it receives until the client has gone, and the scope."""

    def __init__(self) -> None:
        self.scope: Scope = {}
        self.events: list[dict[str, Any]] = []

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        self.scope = scope
        await receive()
        await send(ACCEPT)
        while not self.events or self.events[-1]["type"] != "websocket.disconnect":
            self.events.append(await receive())


class Counts:
    """Accepts, sends numbers, and notes which of them were taken."""

    def __init__(self) -> None:
        self.through: list[int] = []
        self.error: BaseException | None = None

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        try:
            for number in range(5):
                await send({"type": "websocket.send", "text": str(number)})
                self.through.append(number)
        except BaseException as error:
            self.error = error
            raise


async def echoes(scope: Scope, receive: Any, send: Any) -> None:
    await receive()
    await send(ACCEPT)
    while (event := await receive())["type"] == "websocket.receive":
        await send({**event, "type": "websocket.send"})


def opened(app: Any, path: str = "/", *, validate: bool = True, **options: Any) -> AsgiWebSocket:
    return AsgiClient(app, validate=validate).websocket(path, **options)


async def settle() -> None:
    """Let every task run until it waits: what is wrong has turns enough to show."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_messages_go_both_ways() -> None:
    """As text, and as bytes."""
    async with opened(echoes) as socket:
        await socket.accepted()
        for message in ("\u00e9", "", b"\xff", b""):
            socket.send(message)
            assert await socket.receive() == message


async def test_the_scope_is_that_of_a_handshake() -> None:
    """With the headers of one, and the subprotocols that the client offers."""
    app = Receives()
    headers = {"X-A": "b"}
    client = AsgiClient(app, validate=True)
    client.state["set"] = 1
    async with client.websocket("/caf\u00e9?q=1", subprotocols=["chat", "news"], headers=headers) as socket:
        await socket.accepted()
    assert app.scope["type"] == "websocket"
    assert (app.scope["scheme"], app.scope["path"], app.scope["query_string"]) == ("ws", "/caf\u00e9", b"q=1")
    assert app.scope["subprotocols"] == ["chat", "news"]
    assert app.scope["state"] == {"set": 1}
    assert app.scope["state"] is not client.state
    assert app.scope["extensions"] == {"websocket.http.response": {}}
    assert "method" not in app.scope
    fields = app.scope["headers"]
    assert fields[:2] == [(b"host", b"testserver"), (b"x-a", b"b")]
    assert (b"upgrade", b"websocket") in fields
    assert fields[-1] == (b"sec-websocket-protocol", b"chat, news")


async def test_entries_of_the_scope_can_be_replaced() -> None:
    """Whatever they are."""
    app = Receives()
    async with opened(app, scheme="wss", client=None, extensions={}) as socket:
        await socket.accepted()
    assert (app.scope["scheme"], app.scope["client"], app.scope["extensions"]) == ("wss", None, {})


async def test_what_is_accepted_can_be_looked_at() -> None:
    """The subprotocol and the headers; not before."""
    accept = {**ACCEPT, "subprotocol": "chat", "headers": [(b"x-a", b"\xe9")]}
    async with opened(sends(accept), subprotocols=["chat"]) as socket:
        with pytest.raises(RuntimeError, match=r"await accepted\(\) first"):
            _ = socket.subprotocol
        await socket.accepted()
        assert (socket.subprotocol, socket.headers) == ("chat", [("x-a", "\u00e9")])
        assert socket.messages == [accept]
    async with opened(sends(ACCEPT)) as socket:
        await socket.accepted()
        assert (socket.subprotocol, socket.headers, socket.response) == (None, [], None)


@pytest.mark.parametrize("buffer", [0, 2])
async def test_send_waits_until_its_message_was_taken(buffer: int) -> None:
    """The application is ahead of the client by the buffer, and no more."""
    app = Counts()
    async with opened(app, buffer=buffer) as socket:
        for taken in range(3):
            await settle()
            assert app.through == list(range(taken + buffer))
            assert await socket.receive() == str(taken)
        assert [message async for message in socket] == ["3", "4"]
    assert app.through == [0, 1, 2, 3, 4]


async def test_the_client_closes() -> None:
    """The application receives what was sent before, and then the code and the reason, each time again."""
    app = Receives()
    async with opened(app) as socket:
        await socket.accepted()
        socket.send("a")
        socket.close(3000, "enough")
        socket.close(1000)  # too late
        await socket.ended()
        with pytest.raises(RuntimeError, match="takes no message any more"):
            socket.send("b")
        with pytest.raises(ClientDisconnected, match="the test has closed"):
            await socket.receive()
    assert app.events == [
        {"type": "websocket.receive", "text": "a"},
        {"type": "websocket.disconnect", "code": 3000, "reason": "enough"},
    ]
    assert (socket.close_code, socket.close_reason) == (None, None)


@pytest.mark.parametrize(("disconnects", "code"), [(True, 1006), (False, 1000)])
async def test_a_client_that_goes_and_the_end_of_the_block(disconnects: bool, code: int) -> None:
    """The one is a connection that was lost, the other was closed."""
    app = Receives()
    async with opened(app) as socket:
        await socket.accepted()
        if disconnects:
            socket.disconnect()
    assert app.events == [{"type": "websocket.disconnect", "code": code, "reason": ""}]


@pytest.mark.parametrize("waits", [True, False])
async def test_a_send_learns_that_the_client_has_gone(waits: bool) -> None:
    """It raises, whether it waits or comes later; the block takes that for a normal end."""
    app = Counts()
    async with opened(app, buffer=0 if waits else 1) as socket:
        await socket.accepted()
        if not waits:
            assert await socket.receive() == "0"
        await settle()
        socket.disconnect()
    assert isinstance(app.error, ClientDisconnected)


async def test_a_send_whose_message_was_taken_has_succeeded() -> None:
    """Although the client closes at once; the next one raises."""
    app = Counts()
    async with opened(app) as socket:
        assert await socket.receive() == "0"
        socket.close()
    assert isinstance(app.error, ClientDisconnected)
    assert app.through == [0]


async def test_an_application_that_sends_to_nobody_learns_it() -> None:
    """Also with its next message only."""
    closed, errors = asyncio.Event(), []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        await closed.wait()
        try:
            await send({"type": "websocket.send", "text": "a"})
        except OSError as error:
            errors.append(str(error))

    async with opened(app) as socket:
        await socket.accepted()
        socket.close()
        closed.set()
    assert errors == ["the client has gone; give the response up."]


@pytest.mark.parametrize(
    ("close", "code", "reason"),
    [({}, 1000, ""), ({"code": 3001, "reason": "full"}, 3001, "full"), ({"reason": None}, 1000, "")],
)
async def test_the_application_closes(close: dict[str, Any], code: int, reason: str) -> None:
    """Behind its messages; it receives its own code."""
    events = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        await send({"type": "websocket.send", "bytes": b"a", "text": None})
        await send({"type": "websocket.close", **close})
        events.append(await receive())

    async with opened(app) as socket:
        assert await socket.receive() == b"a"
        assert await socket.receive() is None
        assert await socket.receive() is None
        assert (socket.close_code, socket.close_reason) == (code, reason)
        with pytest.raises(RuntimeError, match="takes no message any more"):
            socket.send("b")
    assert events == [{"type": "websocket.disconnect", "code": code, "reason": reason}]


async def test_an_application_that_returns_sends_no_more() -> None:
    """The server closes in its place."""

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)

    async with opened(app) as socket:
        assert await socket.receive() is None
        assert socket.close_code is None


PART = {"type": "websocket.http.response.body", "more_body": True}
REFUSALS = [
    ([{"type": "websocket.close"}], Response(403, [], b"")),
    (
        [
            {"type": "websocket.http.response.start", "status": 401, "headers": [(b"x-a", b"b")]},
            {**PART, "body": b"log "},
            {**PART, "body": b"in", "more_body": False},
        ],
        Response(401, [("x-a", "b")], b"log in"),
    ),
]


@pytest.mark.parametrize(("messages", "response"), REFUSALS)
async def test_a_refusal_has_a_response(messages: Any, response: Response) -> None:
    """The application's, or the server's. Whoever waits for more is told."""
    async with opened(sends(*messages)) as socket:
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError, match=f"with the status {response.status}"):
                await socket.accepted()
            with pytest.raises(ConnectionRefusedError, match=f"with the status {response.status}"):
                await socket.receive()
        with pytest.raises(RuntimeError, match=r"await accepted\(\) first"):
            socket.send("a")
    assert socket.response == response
    assert socket.messages == messages


@pytest.mark.parametrize("messages", [[ACCEPT, {"type": "websocket.close"}], REFUSALS[0][0]])
async def test_what_is_sent_after_the_close_raises(messages: Any) -> None:
    """In the application, and so in the test."""
    late = {"type": "websocket.send", "text": "late"}
    with pytest.raises(ApplicationOrderError, match=r"websocket\.send after it had closed or refused"):
        async with opened(sends(*messages, late), validate=False) as socket:
            await socket.ended()


class Broken(Exception):
    """Of the application."""


@pytest.mark.parametrize("sent", [[], [ACCEPT], [ACCEPT, {"type": "websocket.send", "text": "a"}]])
async def test_an_error_reaches_the_test_unchanged(sent: Any) -> None:
    """Wherever the test waits."""
    error = Broken("no")

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        for message in sent:
            await send(message)
        raise error

    with pytest.raises(Broken) as caught:
        async with opened(app, validate=False) as socket:
            await socket.accepted()
            async for _ in socket:
                pass
    assert caught.value is error


async def test_an_error_that_nobody_waits_for_is_raised_at_the_end() -> None:
    """Of the block; what has failed in it comes first."""

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        raise Broken("late")

    with pytest.raises(Broken, match="late"):
        async with opened(app):
            pass
    with pytest.raises(LookupError, match="of the test"):
        async with opened(app):
            raise LookupError("of the test")


async def test_an_application_that_does_not_answer_is_reported() -> None:
    """Instead of waiting for what does not come."""

    async def returns(scope: Scope, receive: Any, send: Any) -> None:
        await receive()

    async def hangs(scope: Scope, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    with pytest.raises(ApplicationOrderError, match=r"without an answer to websocket\.connect"):
        async with opened(returns, validate=False) as socket:
            await socket.accepted()
    with pytest.raises(TimeoutError, match=r"has not accepted or refused the connection within 0\.01 s"):
        async with AsgiClient(hangs, timeout=0.01).websocket("/") as socket:
            await socket.accepted()


async def test_the_validator_stands_between_where_it_is_asked_for() -> None:
    """Its error is that of the application."""
    with pytest.raises(ApplicationViolation, match="accept-subprotocol"):
        async with opened(sends({**ACCEPT, "subprotocol": "other"})) as socket:
            await socket.accepted()
