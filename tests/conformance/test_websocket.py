"""W2A-WS: WebSocket scopes, which are refused."""

from typing import Any

import pytest

from asgiadapt.testing import AsgiClient, AsgiWebSocket
from tests.apps import Keeps, says_hello
from tests.conformance.rules import rule
from tests.fakes import Protocol
from tests.validated import OF_SERVERS, WsgiToAsgi

SCOPE = {"type": "websocket", "asgi": {"version": "3.0"}, "path": "/", "headers": []}


def websocket(app: Any, version: str | None = "2.3", **changes: Any) -> AsgiWebSocket:
    asgi = {"version": "3.0"} if version is None else {"version": "3.0", "spec_version": version}
    return AsgiClient(app).websocket("/", asgi=asgi, **changes)


@rule("W2A-WS-01")
async def test_the_application_is_not_called_for_websockets(_rule: None) -> None:
    """It knows requests only; no worker is taken."""
    app = Keeps()
    adapter = WsgiToAsgi(app)
    async with websocket(adapter) as socket:
        await socket.ended()
    assert app.calls == 0
    assert adapter.pool.stats().threads == 0


@pytest.mark.parametrize(
    ("version", "has_reason"),
    [
        pytest.param("2.3", True, id="W2A-WS-02"),
        pytest.param("2.5", True, id="W2A-WS-02-new"),
        pytest.param("10.0", True, id="W2A-WS-02-newer"),
        pytest.param("2.2", False, id="W2A-WS-06"),
        pytest.param("2.0", False, id="W2A-WS-06-old"),
        pytest.param(None, False, id="W2A-WS-06-missing"),
        pytest.param("", False, id="W2A-WS-06-empty"),
        pytest.param("nonsense", False, id="W2A-WS-06-nonsense"),
    ],
)
async def test_the_handshake_is_refused(version: str | None, has_reason: bool) -> None:
    """By one close before any accept, which servers answer with 403."""
    async with websocket(WsgiToAsgi(says_hello, ignore={"scope-asgi"}), version) as socket:
        with pytest.raises(ConnectionRefusedError, match="403"):
            await socket.accepted()
        await socket.ended()
    (close,) = socket.messages
    assert (close["type"], close["code"]) == ("websocket.close", 1000)
    assert ("reason" in close) == has_reason
    assert type(close.get("reason", "")) is str


@pytest.mark.parametrize(
    "scope",
    [
        pytest.param({}, id="W2A-WS-06-no-asgi"),
        pytest.param({"asgi": None}, id="W2A-WS-06-none"),
        pytest.param({"asgi": {"spec_version": None}}, id="W2A-WS-06-no-version"),
    ],
)
async def test_a_scope_without_a_version_is_an_old_one(scope: dict[str, Any]) -> None:
    """No reason is given."""
    protocol = Protocol(WsgiToAsgi(says_hello, ignore=OF_SERVERS), {"type": "websocket", **scope})
    protocol.feed("websocket.connect")
    await protocol.task
    assert protocol.sent == [{"type": "websocket.close", "code": 1000}]


@rule("W2A-WS-03")
async def test_nothing_is_sent_before_the_client_connects_and_nothing_after_the_close(_rule: None) -> None:
    """The call waits for the first event, answers it and returns, whatever else is there."""
    protocol = Protocol(WsgiToAsgi(says_hello), SCOPE)
    assert await protocol.settled() == []
    protocol.feed("websocket.connect")
    protocol.feed("websocket.receive")
    await protocol.task
    assert await protocol.settled() == ["websocket.close"]


@rule("W2A-WS-04")
async def test_a_client_that_has_left_gets_nothing(_rule: None) -> None:
    """The call returns without sending."""
    protocol = Protocol(WsgiToAsgi(says_hello, ignore={"event-order"}), SCOPE)
    protocol.feed("websocket.disconnect", code=1006)
    await protocol.task
    assert protocol.sent == []


@pytest.mark.parametrize("offered", [{"websocket.http.response": {}}, {}])
@rule("W2A-WS-05")
async def test_a_denial_response_is_not_mixed_with_the_close(_rule: None, offered: dict[str, Any]) -> None:
    """Where the server offers one, the close alone is sent all the same."""
    async with websocket(WsgiToAsgi(says_hello), extensions=offered) as socket:
        await socket.ended()
    assert [message["type"] for message in socket.messages] == ["websocket.close"]
