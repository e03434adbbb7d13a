"""A2W-WS: there are no WebSockets below WSGI; what asks for one is a request like others."""

import re
from typing import Any

import pytest

from tests.asgi_apps import Keeps, answers, body, for_http, says_hello, sends, start
from tests.conformance.rules import rule
from tests.validated import AsgiToWsgi
from tests.wsgi_fakes import Answer, call

UPGRADE = {
    "HTTP_CONNECTION": "Upgrade",
    "HTTP_UPGRADE": "websocket",
    "HTTP_SEC_WEBSOCKET_VERSION": "13",
    "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
    "HTTP_SEC_WEBSOCKET_PROTOCOL": "chat",
}


@pytest.mark.parametrize(
    "environ",
    [
        pytest.param(UPGRADE, id="A2W-WS-01"),
        pytest.param({**UPGRADE, "wsgi.url_scheme": "https"}, id="A2W-WS-01-https"),
        pytest.param({**UPGRADE, "wsgi.url_scheme": "ws"}, id="A2W-WS-01-ws"),
        pytest.param({**UPGRADE, "REQUEST_METHOD": "CONNECT"}, id="A2W-WS-01-connect"),
        pytest.param({**UPGRADE, "wsgi.websocket": object()}, id="A2W-WS-01-server"),
    ],
)
def test_no_scope_is_that_of_a_websocket(environ: dict[str, Any]) -> None:
    """Whatever the request asks for, and whatever the server could do."""
    types = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        types.append(scope["type"])
        await says_hello(scope, receive, send)

    answer = call(AsgiToWsgi(app), validated=False, **environ)
    assert answer.body == b"hello"
    assert types[-1] == "http"
    assert set(types) <= {"http", "lifespan"}


@rule("A2W-WS-02")
def test_a_request_for_an_upgrade_is_answered_as_plain_http(_rule: None) -> None:
    """The application sees what is asked for, and can say that it needs another connection."""
    app = Keeps(answers(426, [(b"content-type", b"text/plain")], b"upgrade needed"))
    answer = call(AsgiToWsgi(app), **UPGRADE)
    headers = dict(app.scope["headers"])
    assert app.scope["type"] == "http"
    assert headers[b"upgrade"] == b"websocket"
    assert headers[b"connection"] == b"Upgrade"
    assert headers[b"sec-websocket-key"] == b"dGhlIHNhbXBsZSBub25jZQ=="
    assert (answer.line, answer.body) == ("426 Upgrade Required", b"upgrade needed")


@rule("A2W-WS-02-first-event")
def test_the_first_event_of_such_a_request_is_that_of_a_request(_rule: None) -> None:
    """It is no ``websocket.connect``."""
    events = []

    @for_http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        events.append(await receive())
        await says_hello(scope, receive, send)

    call(AsgiToWsgi(app), **UPGRADE)
    assert events == [{"type": "http.request", "body": b"", "more_body": False}]


MESSAGES = [
    {"type": "websocket.accept"},
    {"type": "websocket.send", "text": "x"},
    {"type": "websocket.close"},
    {"type": "websocket.http.response.start", "status": 403, "headers": []},
    {"type": "websocket.http.response.body", "body": b""},
]


def answer_after(*events: dict[str, Any]) -> tuple[list[BaseException], Answer]:
    """The errors of sending *events*, and how the request was answered after all."""
    errors: list[BaseException] = []

    @for_http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for event in events:
            try:
                await send(event)
            except Exception as error:
                errors.append(error)
        await says_hello(scope, receive, send)

    return errors, call(AsgiToWsgi(app), **UPGRADE)


@pytest.mark.parametrize(
    "message", [pytest.param(message, id=f"A2W-WS-03-{message['type']}") for message in MESSAGES]
)
def test_a_message_of_a_websocket_is_refused(message: dict[str, Any]) -> None:
    """By ``send()``, with its type; an application that takes the error can still answer."""
    errors, answer = answer_after(message)
    assert len(errors) == 1
    assert isinstance(errors[0], RuntimeError | ValueError)
    assert message["type"] in str(errors[0])
    assert answer.body == b"hello"


@pytest.mark.parametrize(
    "message", [pytest.param(message, id=f"A2W-WS-03-{message['type']}-raised") for message in MESSAGES]
)
def test_a_message_of_a_websocket_ends_the_request(message: dict[str, Any]) -> None:
    """The error reaches the server, where the application does not take it."""
    with pytest.raises((RuntimeError, ValueError), match=re.escape(message["type"])):
        call(AsgiToWsgi(sends(message)), **UPGRADE)


@rule("A2W-WS-03-extension")
def test_no_answer_to_a_handshake_is_offered(_rule: None) -> None:
    """There is no handshake."""
    app = Keeps()
    call(AsgiToWsgi(app), **UPGRADE)
    assert "websocket.http.response" not in app.scope["extensions"]


@rule("A2W-WS-04")
def test_the_status_of_an_upgrade_is_refused(_rule: None) -> None:
    """The connection is not ours to switch."""
    with pytest.raises(ValueError, match="101"):
        call(AsgiToWsgi(sends(start(101), body())), **UPGRADE)


@rule("A2W-WS-04-after")
def test_the_status_of_an_upgrade_can_be_taken_back(_rule: None) -> None:
    """``send()`` has raised, so nothing has begun."""
    errors, answer = answer_after(start(101))
    assert len(errors) == 1
    assert "101" in str(errors[0])
    assert answer.body == b"hello"
