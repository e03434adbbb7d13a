"""``asgiref.typing``: the names, and behind them plain dictionaries.

Annotations with them hold; so do calls such as ``HTTPDisconnectEvent(type="http.disconnect")``.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias

__all__ = [
    "ASGI2Application",
    "ASGI2Protocol",
    "ASGI3Application",
    "ASGIApplication",
    "ASGIReceiveCallable",
    "ASGIReceiveEvent",
    "ASGISendCallable",
    "ASGISendEvent",
    "ASGIVersions",
    "HTTPDisconnectEvent",
    "HTTPRequestEvent",
    "HTTPResponseBodyEvent",
    "HTTPResponsePathsendEvent",
    "HTTPResponseStartEvent",
    "HTTPResponseTrailersEvent",
    "HTTPScope",
    "HTTPServerPushEvent",
    "LifespanScope",
    "LifespanShutdownCompleteEvent",
    "LifespanShutdownEvent",
    "LifespanShutdownFailedEvent",
    "LifespanStartupCompleteEvent",
    "LifespanStartupEvent",
    "LifespanStartupFailedEvent",
    "Scope",
    "WWWScope",
    "WebSocketAcceptEvent",
    "WebSocketCloseEvent",
    "WebSocketConnectEvent",
    "WebSocketDisconnectEvent",
    "WebSocketReceiveEvent",
    "WebSocketResponseBodyEvent",
    "WebSocketResponseStartEvent",
    "WebSocketScope",
    "WebSocketSendEvent",
]

_Message: TypeAlias = dict[str, Any]

ASGIVersions: TypeAlias = dict[str, Any]
HTTPScope: TypeAlias = _Message
WebSocketScope: TypeAlias = _Message
LifespanScope: TypeAlias = _Message
HTTPRequestEvent: TypeAlias = _Message
HTTPResponseStartEvent: TypeAlias = _Message
HTTPResponseBodyEvent: TypeAlias = _Message
HTTPResponseTrailersEvent: TypeAlias = _Message
HTTPResponsePathsendEvent: TypeAlias = _Message
HTTPServerPushEvent: TypeAlias = _Message
HTTPDisconnectEvent: TypeAlias = _Message
WebSocketConnectEvent: TypeAlias = _Message
WebSocketAcceptEvent: TypeAlias = _Message
WebSocketReceiveEvent: TypeAlias = _Message
WebSocketSendEvent: TypeAlias = _Message
WebSocketResponseStartEvent: TypeAlias = _Message
WebSocketResponseBodyEvent: TypeAlias = _Message
WebSocketDisconnectEvent: TypeAlias = _Message
WebSocketCloseEvent: TypeAlias = _Message
LifespanStartupEvent: TypeAlias = _Message
LifespanShutdownEvent: TypeAlias = _Message
LifespanStartupCompleteEvent: TypeAlias = _Message
LifespanStartupFailedEvent: TypeAlias = _Message
LifespanShutdownCompleteEvent: TypeAlias = _Message
LifespanShutdownFailedEvent: TypeAlias = _Message

WWWScope: TypeAlias = HTTPScope | WebSocketScope
Scope: TypeAlias = HTTPScope | WebSocketScope | LifespanScope
ASGIReceiveEvent: TypeAlias = _Message
ASGISendEvent: TypeAlias = _Message
ASGIReceiveCallable: TypeAlias = Callable[[], Awaitable[ASGIReceiveEvent]]
ASGISendCallable: TypeAlias = Callable[[ASGISendEvent], Awaitable[None]]


class ASGI2Protocol(Protocol):
    """What an application of ASGI 2 gives for a scope."""

    def __init__(self, scope: Scope) -> None: ...

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Serve the scope."""
        ...


ASGI2Application: TypeAlias = type[ASGI2Protocol]
ASGI3Application: TypeAlias = Callable[[Scope, ASGIReceiveCallable, ASGISendCallable], Awaitable[None]]
ASGIApplication: TypeAlias = ASGI2Application | ASGI3Application
