"""What the type checkers make of the ASGI half of `asgiadapt.typing`. Never run.

A wrong line has an ignore that must be needed, by both of them.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Literal, TypeAlias, assert_never, assert_type

from asgiadapt.typing import (
    ASGI2Application,
    ASGI2Protocol,
    ASGI3Application,
    ASGIApplication,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    ASGIVersions,
    HTTPDisconnectEvent,
    HTTPEarlyHintEvent,
    HTTPRequestEvent,
    HTTPResponseBodyEvent,
    HTTPResponseDebugEvent,
    HTTPResponsePathsendEvent,
    HTTPResponseStartEvent,
    HTTPResponseTrailersEvent,
    HTTPResponseZeroCopySendEvent,
    HTTPScope,
    HTTPServerPushEvent,
    LifespanScope,
    LifespanShutdownCompleteEvent,
    LifespanShutdownEvent,
    LifespanShutdownFailedEvent,
    LifespanStartupCompleteEvent,
    LifespanStartupEvent,
    LifespanStartupFailedEvent,
    Scope,
    TLSExtension,
    WebSocketAcceptEvent,
    WebSocketCloseEvent,
    WebSocketConnectEvent,
    WebSocketDisconnectEvent,
    WebSocketReceiveBytesEvent,
    WebSocketReceiveEvent,
    WebSocketReceiveTextEvent,
    WebSocketResponseBodyEvent,
    WebSocketResponseStartEvent,
    WebSocketScope,
    WebSocketSendBytesEvent,
    WebSocketSendEvent,
    WebSocketSendTextEvent,
    WWWScope,
)

# Scopes are told apart by their type.


def which_scope(scope: Scope) -> None:
    if scope["type"] == "http":
        assert_type(scope, HTTPScope)
    elif scope["type"] == "websocket":
        assert_type(scope, WebSocketScope)
    elif scope["type"] == "lifespan":
        assert_type(scope, LifespanScope)
    else:
        assert_never(scope)


def which_connection(scope: WWWScope) -> str:
    if scope["type"] == "http":
        return scope["method"]
    assert_type(scope, WebSocketScope)
    return scope["path"]


def matched(scope: Scope) -> str:
    match scope["type"]:
        case "http" | "websocket":
            return "www"
        case "lifespan":
            return "lifespan"


def fields(scope: HTTPScope) -> None:
    assert_type(scope["type"], Literal["http"])
    assert_type(scope["asgi"], ASGIVersions)
    assert_type(scope["asgi"].get("version", "2.0"), Literal["2.0", "3.0"])
    assert_type(scope["asgi"].get("spec_version", "2.0"), str)
    assert_type(scope["path"], str)
    assert_type(scope["query_string"], bytes)
    assert_type(scope["headers"], Iterable[tuple[bytes, bytes]])
    assert_type(scope.get("scheme", "http"), str)
    assert_type(scope.get("root_path", ""), str)
    assert_type(scope.get("raw_path"), bytes | None)
    assert_type(scope.get("client"), tuple[str, int] | None)
    assert_type(scope.get("server"), tuple[str, int | None] | None)
    assert_type(scope.get("state"), dict[str, Any] | None)
    assert_type(scope.get("extensions"), dict[str, Any] | None)


def fields_of_a_websocket(scope: WebSocketScope) -> None:
    assert_type(scope.get("query_string"), bytes | None)
    assert_type(scope.get("http_version", "1.1"), str)
    assert_type(scope.get("subprotocols"), Iterable[str] | None)
    assert_type(scope.get("raw_path"), bytes | None)
    scope["method"]  # type: ignore[typeddict-item]


def the_connection_is_encrypted(scope: WWWScope) -> int | None:
    extensions = scope.get("extensions") or {}
    if "http.response.pathsend" in extensions:
        pass
    if "tls" not in extensions:
        return None
    tls: TLSExtension = extensions["tls"]
    assert_type(tls["server_cert"], str | None)
    assert_type(tls.get("client_cert_chain"), Iterable[str] | None)
    assert_type(tls.get("client_cert_name"), str | None)
    assert_type(tls.get("client_cert_error"), str | None)
    assert_type(tls["cipher_suite"], int | None)
    return tls["tls_version"]


# What a server makes: the least, and all.
least: HTTPScope = {
    "type": "http",
    "asgi": {},
    "http_version": "1.1",
    "method": "GET",
    "path": "/",
    "query_string": b"",
    "headers": [],
}
most: HTTPScope = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.5"},
    "http_version": "2",
    "method": "GET",
    "scheme": "https",
    "path": "/",
    "raw_path": b"/",
    "query_string": b"",
    "root_path": "",
    "headers": [(b"host", b"example.org")],
    "client": ("192.0.2.1", 5000),
    "server": ("/run/app.sock", None),
    "state": {"database": object()},
    "extensions": {
        "http.response.pathsend": {},
        "tls": TLSExtension(server_cert=None, tls_version=0x0304, cipher_suite=0x1301),
    },
}
nulls: HTTPScope = {**least, "raw_path": None, "client": None, "server": None, "extensions": None}
websocket: WebSocketScope = {"type": "websocket", "asgi": {"version": "3.0"}, "path": "/", "headers": ()}
websocket_nulls: WebSocketScope = {
    **websocket,
    "raw_path": None,
    "query_string": None,
    "client": None,
    "server": None,
    "subprotocols": ("chat",),
    "extensions": None,
}
lifespan: LifespanScope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
scopes: list[Scope] = [least, most, websocket, lifespan, {"type": "lifespan", "asgi": {}}]

without_path: HTTPScope = {  # type: ignore[typeddict-item]
    "type": "http",
    "asgi": {},
    "http_version": "1.1",
    "method": "GET",
    "query_string": b"",
    "headers": [],
}
unknown_version: ASGIVersions = {"version": "4.0"}  # type: ignore[typeddict-item]
wrong_port: HTTPScope = {**least, "client": ("192.0.2.1", None)}  # type: ignore[typeddict-item]
null_scheme: HTTPScope = {**least, "scheme": None}  # type: ignore[typeddict-item]
null_query: HTTPScope = {**least, "query_string": None}  # type: ignore[typeddict-item]
text_path: HTTPScope = {**least, "raw_path": "/"}  # type: ignore[typeddict-item]
text_headers: HTTPScope = {**least, "headers": [("host", "example.org")]}  # type: ignore[list-item]
half_tls: TLSExtension = {"server_cert": None, "tls_version": None}  # type: ignore[typeddict-item]


# What is received is told apart by its type.


def which_received(event: ASGIReceiveEvent) -> None:
    if event["type"] == "http.request":
        assert_type(event, HTTPRequestEvent)
        assert_type(event.get("body", b""), bytes)
        assert_type(event.get("more_body", False), bool)
    elif event["type"] == "http.disconnect":
        assert_type(event, HTTPDisconnectEvent)
    elif event["type"] == "websocket.connect":
        assert_type(event, WebSocketConnectEvent)
    elif event["type"] == "websocket.receive":
        assert_type(event, WebSocketReceiveEvent)
        assert_type(event.get("text"), str | None)
        assert_type(event.get("bytes"), bytes | None)
    elif event["type"] == "websocket.disconnect":
        assert_type(event, WebSocketDisconnectEvent)
        assert_type(event["code"], int)
        assert_type(event.get("reason"), str | None)
    elif event["type"] == "lifespan.startup":
        assert_type(event, LifespanStartupEvent)
    elif event["type"] == "lifespan.shutdown":
        assert_type(event, LifespanShutdownEvent)
    else:
        assert_never(event)


def which_sent(event: ASGISendEvent) -> None:
    if event["type"] == "http.response.start":
        assert_type(event, HTTPResponseStartEvent)
        assert_type(event["status"], int)
        assert_type(event.get("headers"), Iterable[tuple[bytes, bytes]] | None)
        assert_type(event.get("trailers", False), bool)
    elif event["type"] == "http.response.body":
        assert_type(event, HTTPResponseBodyEvent)
    elif event["type"] == "http.response.push":
        assert_type(event, HTTPServerPushEvent)
    elif event["type"] == "http.response.zerocopysend":
        assert_type(event, HTTPResponseZeroCopySendEvent)
        assert_type(event["file"].fileno(), int)
    elif event["type"] == "http.response.pathsend":
        assert_type(event, HTTPResponsePathsendEvent)
    elif event["type"] == "http.response.early_hint":
        assert_type(event, HTTPEarlyHintEvent)
        assert_type(event["links"], Iterable[bytes])
    elif event["type"] == "http.response.trailers":
        assert_type(event, HTTPResponseTrailersEvent)
    elif event["type"] == "http.response.debug":
        assert_type(event, HTTPResponseDebugEvent)
        assert_type(event["info"], dict[str, Any])
    elif event["type"] == "websocket.accept":
        assert_type(event, WebSocketAcceptEvent)
        assert_type(event.get("subprotocol"), str | None)
    elif event["type"] == "websocket.send":
        assert_type(event, WebSocketSendEvent)
    elif event["type"] == "websocket.close":
        assert_type(event, WebSocketCloseEvent)
        assert_type(event.get("code", 1000), int)
    elif event["type"] == "websocket.http.response.start":
        assert_type(event, WebSocketResponseStartEvent)
    elif event["type"] == "websocket.http.response.body":
        assert_type(event, WebSocketResponseBodyEvent)
    elif event["type"] == "lifespan.startup.complete":
        assert_type(event, LifespanStartupCompleteEvent)
    elif event["type"] == "lifespan.startup.failed":
        assert_type(event, LifespanStartupFailedEvent)
        assert_type(event.get("message", ""), str)
    elif event["type"] == "lifespan.shutdown.complete":
        assert_type(event, LifespanShutdownCompleteEvent)
    elif event["type"] == "lifespan.shutdown.failed":
        assert_type(event, LifespanShutdownFailedEvent)
    else:
        assert_never(event)


def text_or_bytes(event: WebSocketReceiveEvent) -> str | bytes:
    text = event.get("text")
    if text is not None:
        return text
    return event.get("bytes") or b""


# The least of each event that is received, and its whole.
received: list[ASGIReceiveEvent] = [
    {"type": "http.request"},
    {"type": "http.request", "body": b"", "more_body": True},
    {"type": "http.disconnect"},
    {"type": "websocket.connect"},
    {"type": "websocket.receive", "bytes": b""},
    {"type": "websocket.receive", "bytes": b"", "text": None},
    {"type": "websocket.receive", "text": ""},
    {"type": "websocket.receive", "bytes": None, "text": ""},
    {"type": "websocket.disconnect", "code": 1005},
    {"type": "websocket.disconnect", "code": 1000, "reason": None},
    {"type": "websocket.disconnect", "code": 1000, "reason": ""},
    {"type": "lifespan.startup"},
    {"type": "lifespan.shutdown"},
]


async def everything_is_sent(send: ASGISendCallable, file: Path) -> None:
    """The least of each event, and its whole."""
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
    await send({"type": "http.response.start", "status": 200, "headers": ((b"a", b"b") for _ in "ab")})
    await send({"type": "http.response.body"})
    await send({"type": "http.response.body", "body": b"", "more_body": True})
    await send({"type": "http.response.push", "path": "/style.css", "headers": []})
    with file.open("rb") as opened:
        await send({"type": "http.response.zerocopysend", "file": opened})
        await send(
            {
                "type": "http.response.zerocopysend",
                "file": opened,
                "offset": 1,
                "count": 1,
                "more_body": True,
            }
        )
    await send({"type": "http.response.pathsend", "path": str(file.absolute())})
    await send({"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload"]})
    await send({"type": "http.response.trailers", "headers": [(b"digest", b"")]})
    await send({"type": "http.response.trailers", "headers": (), "more_trailers": True})
    await send({"type": "http.response.debug", "info": {"template": "page.html"}})
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
    await send({"type": "websocket.accept", "subprotocol": "chat"})
    await send({"type": "websocket.send", "bytes": b""})
    await send({"type": "websocket.send", "bytes": b"", "text": None})
    await send({"type": "websocket.send", "text": ""})
    await send({"type": "websocket.send", "bytes": None, "text": ""})
    await send({"type": "websocket.close"})
    await send({"type": "websocket.close", "code": 1001, "reason": None})
    await send({"type": "websocket.close", "reason": ""})
    await send({"type": "websocket.http.response.start", "status": 403})
    await send({"type": "websocket.http.response.start", "status": 403, "headers": []})
    await send({"type": "websocket.http.response.body"})
    await send({"type": "websocket.http.response.body", "body": b"", "more_body": False})
    await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.startup.failed"})
    await send({"type": "lifespan.startup.failed", "message": ""})
    await send({"type": "lifespan.shutdown.complete"})
    await send({"type": "lifespan.shutdown.failed"})
    await send({"type": "lifespan.shutdown.failed", "message": ""})
    await send(HTTPResponseStartEvent(type="http.response.start", status=200))
    await send(WebSocketSendTextEvent(type="websocket.send", text=""))
    await send(WebSocketSendBytesEvent(type="websocket.send", bytes=b""))


async def what_is_wrong_is_not_sent(send: ASGISendCallable) -> None:
    event: ASGISendEvent
    start: HTTPResponseStartEvent
    start = {"type": "http.response.start"}  # type: ignore[typeddict-item]
    start = {"type": "http.response.start", "status": "200"}  # type: ignore[typeddict-item]
    start = {"type": "http.response.start", "status": 200, "headers": None}  # type: ignore[typeddict-item]
    start = {"type": "http.response.start", "status": 200, "headers": {b"a": b"b"}}  # type: ignore[dict-item]
    start = {"type": "http.response.start", "status": 200, "header": []}  # type: ignore[typeddict-unknown-key]
    start = {"type": "http.response.body", "status": 200}  # type: ignore[typeddict-item]
    body: HTTPResponseBodyEvent
    body = {"type": "http.response.body", "body": ""}  # type: ignore[typeddict-item]
    body = {"type": "http.response.body", "body": None}  # type: ignore[typeddict-item]
    body = {"type": "http.response.body", "more_body": None}  # type: ignore[typeddict-item]
    push: HTTPServerPushEvent = {"type": "http.response.push", "path": "/"}  # type: ignore[typeddict-item]
    hint: HTTPEarlyHintEvent = {"type": "http.response.early_hint"}  # type: ignore[typeddict-item]
    hint = {"type": "http.response.early_hint", "links": ["</a>"]}  # type: ignore[list-item]
    file: HTTPResponseZeroCopySendEvent
    file = {"type": "http.response.zerocopysend", "file": b""}  # type: ignore[typeddict-item]
    close: WebSocketCloseEvent = {"type": "websocket.close", "code": None}  # type: ignore[typeddict-item]
    failed: LifespanStartupFailedEvent
    failed = {"type": "lifespan.startup.failed", "message": None}  # type: ignore[typeddict-item]
    gone: WebSocketDisconnectEvent = {"type": "websocket.disconnect"}  # type: ignore[typeddict-item]
    event = {"type": "websocket.send"}  # type: ignore[assignment, misc]
    event = {"type": "websocket.send", "bytes": None, "text": None}  # type: ignore[assignment, misc]
    event = {"type": "websocket.send", "bytes": b"", "text": ""}  # type: ignore[assignment, misc]
    event = {"type": "http.disconnect"}  # type: ignore[assignment, misc]
    event = {"type": "http.request"}  # type: ignore[assignment, misc]
    await send({"type": "http.response.strat", "status": 200})  # type: ignore[arg-type, misc]
    await send(HTTPDisconnectEvent(type="http.disconnect"))  # type: ignore[arg-type]
    del start, body, push, hint, file, close, failed, gone, event


# Applications.


async def single(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    assert_type(await receive(), ASGIReceiveEvent)
    assert_type(await send({"type": "http.response.body"}), None)


async def loose(scope: Any, receive: Any, send: Any) -> None: ...


class Single:
    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None: ...


class Double:
    def __init__(self, scope: Scope) -> None: ...

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None: ...


Inner: TypeAlias = Callable[[ASGIReceiveCallable, ASGISendCallable], Awaitable[None]]


def double(scope: Scope) -> Inner:
    async def inner(receive: ASGIReceiveCallable, send: ASGISendCallable) -> None: ...

    return inner


def middleware(app: ASGI3Application) -> ASGI3Application:
    async def wrapped(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        async def receive_all() -> ASGIReceiveEvent:
            return await receive()

        async def send_with_header(event: ASGISendEvent) -> None:
            if event["type"] == "http.response.start":
                event["headers"] = [*event.get("headers", ()), (b"x-seen", b"1")]
            await send(event)

        if scope["type"] == "http":
            scope["path"] = "/"
        await app(scope, receive_all, send_with_header)

    return wrapped


protocol: type[ASGI2Protocol] = Double
applications2: list[ASGI2Application] = [Double, double, protocol]
applications3: list[ASGI3Application] = [single, loose, Single(), middleware(single)]
applications: list[ASGIApplication] = [Double, double, single, Single()]

two_of_three: ASGI3Application = double  # type: ignore[assignment]
three_of_two: ASGI2Application = single  # type: ignore[assignment]


async def takes_text(scope: str, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None: ...


def not_async(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None: ...


wrong_scope: ASGI3Application = takes_text  # type: ignore[assignment]
wrong_result: ASGI3Application = not_async  # type: ignore[assignment]
forms: list[WebSocketReceiveEvent] = [
    WebSocketReceiveBytesEvent(type="websocket.receive", bytes=b""),
    WebSocketReceiveTextEvent(type="websocket.receive", text=""),
]
either: list[WebSocketSendEvent] = [{"type": "websocket.send", "text": ""}]
