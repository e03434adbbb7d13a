"""ASGI: scopes, events and callables.

The ASGI specification 3.0, HTTP and WebSocket message format 2.5, lifespan 2.0, TLS extension 0.2 and the
extensions document, to the letter: a key that has a default there is ``NotRequired`` here, and a value
may be None where the specification says so. Everything is a plain dict at run time.

The names are those of ``asgiref.typing`` wherever the thing is the same. Unknown keys are allowed in
every dict; a type checker, however, knows those below only.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Literal, NotRequired, Protocol, TypeAlias, TypedDict

_Pairs: TypeAlias = Iterable[tuple[bytes, bytes]]
# Each value is a dict. It is Any here, since to a type checker a TypedDict, such as TLSExtension, is no dict.
_Extensions: TypeAlias = dict[str, Any]

# Scopes


class ASGIVersions(TypedDict):
    """``scope["asgi"]``. Without *version* it is 2.0; without *spec_version* 2.0, or 1.0 for lifespan."""

    version: NotRequired[Literal["2.0", "3.0"]]
    spec_version: NotRequired[str]


class TLSExtension(TypedDict):
    """``scope["extensions"]["tls"]``: what is known of the TLS connection."""

    server_cert: str | None
    client_cert_chain: NotRequired[Iterable[str]]
    client_cert_name: NotRequired[str | None]
    client_cert_error: NotRequired[str | None]
    tls_version: int | None
    cipher_suite: int | None


class HTTPScope(TypedDict):
    """One HTTP request. *path* is decoded and includes *root_path*; *raw_path* and *query_string* are not."""

    type: Literal["http"]
    asgi: ASGIVersions
    http_version: str
    method: str
    scheme: NotRequired[str]
    path: str
    raw_path: NotRequired[bytes | None]
    query_string: bytes
    root_path: NotRequired[str]
    headers: _Pairs
    client: NotRequired[tuple[str, int] | None]
    server: NotRequired[tuple[str, int | None] | None]
    state: NotRequired[dict[str, Any]]
    extensions: NotRequired[_Extensions | None]


class WebSocketScope(TypedDict):
    """One WebSocket connection, from its handshake on."""

    type: Literal["websocket"]
    asgi: ASGIVersions
    http_version: NotRequired[str]
    scheme: NotRequired[str]
    path: str
    raw_path: NotRequired[bytes | None]
    query_string: NotRequired[bytes | None]
    root_path: NotRequired[str]
    headers: _Pairs
    client: NotRequired[tuple[str, int] | None]
    server: NotRequired[tuple[str, int | None] | None]
    subprotocols: NotRequired[Iterable[str]]
    state: NotRequired[dict[str, Any]]
    extensions: NotRequired[_Extensions | None]


class LifespanScope(TypedDict):
    """The life of the application on one event loop. Without *state* the server does not support it."""

    type: Literal["lifespan"]
    asgi: ASGIVersions
    state: NotRequired[dict[str, Any]]


WWWScope: TypeAlias = HTTPScope | WebSocketScope
Scope: TypeAlias = HTTPScope | WebSocketScope | LifespanScope


# HTTP


class HTTPRequestEvent(TypedDict):
    """To the application: a part of the request body."""

    type: Literal["http.request"]
    body: NotRequired[bytes]
    more_body: NotRequired[bool]


class HTTPDisconnectEvent(TypedDict):
    """To the application: the client has gone, or the response is complete."""

    type: Literal["http.disconnect"]


class HTTPResponseStartEvent(TypedDict):
    """To the server: status and headers."""

    type: Literal["http.response.start"]
    status: int
    headers: NotRequired[_Pairs]
    trailers: NotRequired[bool]


class HTTPResponseBodyEvent(TypedDict):
    """To the server: a part of the response body."""

    type: Literal["http.response.body"]
    body: NotRequired[bytes]
    more_body: NotRequired[bool]


# HTTP extensions, each of which the scope has to offer


class HasFileno(Protocol):
    """A file with a descriptor of the operating system."""

    def fileno(self) -> int:
        """The descriptor."""
        ...


class HTTPServerPushEvent(TypedDict):
    """To the server: push another resource (extension ``http.response.push``)."""

    type: Literal["http.response.push"]
    path: str
    headers: _Pairs


class HTTPResponseZeroCopySendEvent(TypedDict):
    """To the server: a part of the body from a file descriptor (extension ``http.response.zerocopysend``)."""

    type: Literal["http.response.zerocopysend"]
    file: HasFileno
    offset: NotRequired[int]
    count: NotRequired[int]
    more_body: NotRequired[bool]


class HTTPResponsePathsendEvent(TypedDict):
    """To the server: the whole body from the file at *path* (extension ``http.response.pathsend``)."""

    type: Literal["http.response.pathsend"]
    path: str


class HTTPEarlyHintEvent(TypedDict):
    """To the server: a response 103 with *links* (extension ``http.response.early_hint``)."""

    type: Literal["http.response.early_hint"]
    links: Iterable[bytes]


class HTTPResponseTrailersEvent(TypedDict):
    """To the server: fields after the body (extension ``http.response.trailers``)."""

    type: Literal["http.response.trailers"]
    headers: _Pairs
    more_trailers: NotRequired[bool]


class HTTPResponseDebugEvent(TypedDict):
    """To the test client: whatever a test wants to know (extension ``http.response.debug``)."""

    type: Literal["http.response.debug"]
    info: dict[str, Any]


# WebSocket


class WebSocketConnectEvent(TypedDict):
    """To the application: the handshake has come."""

    type: Literal["websocket.connect"]


class WebSocketReceiveBytesEvent(TypedDict):
    """To the application: a binary message."""

    type: Literal["websocket.receive"]
    bytes: bytes
    text: NotRequired[None]


class WebSocketReceiveTextEvent(TypedDict):
    """To the application: a text message."""

    type: Literal["websocket.receive"]
    bytes: NotRequired[None]
    text: str


WebSocketReceiveEvent: TypeAlias = WebSocketReceiveBytesEvent | WebSocketReceiveTextEvent


class WebSocketDisconnectEvent(TypedDict):
    """To the application: the connection has ended."""

    type: Literal["websocket.disconnect"]
    code: int
    reason: NotRequired[str | None]


class WebSocketAcceptEvent(TypedDict):
    """To the server: complete the handshake."""

    type: Literal["websocket.accept"]
    subprotocol: NotRequired[str | None]
    headers: NotRequired[_Pairs]


class WebSocketSendBytesEvent(TypedDict):
    """To the server: a binary message."""

    type: Literal["websocket.send"]
    bytes: bytes
    text: NotRequired[None]


class WebSocketSendTextEvent(TypedDict):
    """To the server: a text message."""

    type: Literal["websocket.send"]
    bytes: NotRequired[None]
    text: str


WebSocketSendEvent: TypeAlias = WebSocketSendBytesEvent | WebSocketSendTextEvent


class WebSocketCloseEvent(TypedDict):
    """To the server: end the connection; before it was accepted, refuse it with 403."""

    type: Literal["websocket.close"]
    code: NotRequired[int]
    reason: NotRequired[str | None]


class WebSocketResponseStartEvent(TypedDict):
    """To the server: refuse the handshake with this response (extension ``websocket.http.response``)."""

    type: Literal["websocket.http.response.start"]
    status: int
    headers: NotRequired[_Pairs]


class WebSocketResponseBodyEvent(TypedDict):
    """To the server: a part of the body of such a refusal (extension ``websocket.http.response``)."""

    type: Literal["websocket.http.response.body"]
    body: NotRequired[bytes]
    more_body: NotRequired[bool]


# Lifespan


class LifespanStartupEvent(TypedDict):
    """To the application: start up."""

    type: Literal["lifespan.startup"]


class LifespanShutdownEvent(TypedDict):
    """To the application: shut down."""

    type: Literal["lifespan.shutdown"]


class LifespanStartupCompleteEvent(TypedDict):
    """To the server: requests may come."""

    type: Literal["lifespan.startup.complete"]


class LifespanStartupFailedEvent(TypedDict):
    """To the server: there can be no requests."""

    type: Literal["lifespan.startup.failed"]
    message: NotRequired[str]


class LifespanShutdownCompleteEvent(TypedDict):
    """To the server: the process may end."""

    type: Literal["lifespan.shutdown.complete"]


class LifespanShutdownFailedEvent(TypedDict):
    """To the server: the shutdown went wrong."""

    type: Literal["lifespan.shutdown.failed"]
    message: NotRequired[str]


# What is received and sent

ASGIReceiveEvent: TypeAlias = (
    HTTPRequestEvent
    | HTTPDisconnectEvent
    | WebSocketConnectEvent
    | WebSocketReceiveEvent
    | WebSocketDisconnectEvent
    | LifespanStartupEvent
    | LifespanShutdownEvent
)
ASGISendEvent: TypeAlias = (
    HTTPResponseStartEvent
    | HTTPResponseBodyEvent
    | HTTPServerPushEvent
    | HTTPResponseZeroCopySendEvent
    | HTTPResponsePathsendEvent
    | HTTPEarlyHintEvent
    | HTTPResponseTrailersEvent
    | HTTPResponseDebugEvent
    | WebSocketAcceptEvent
    | WebSocketSendEvent
    | WebSocketCloseEvent
    | WebSocketResponseStartEvent
    | WebSocketResponseBodyEvent
    | LifespanStartupCompleteEvent
    | LifespanStartupFailedEvent
    | LifespanShutdownCompleteEvent
    | LifespanShutdownFailedEvent
)
ASGIReceiveCallable: TypeAlias = Callable[[], Awaitable[ASGIReceiveEvent]]
ASGISendCallable: TypeAlias = Callable[[ASGISendEvent], Awaitable[None]]


# Applications


class ASGI2Protocol(Protocol):
    """An application of ASGI 2.0 that is a class: it is made with the scope, then called with the rest."""

    def __init__(self, scope: Scope) -> None: ...

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Serve the scope."""
        ...


# Functions that return a function are applications of ASGI 2.0 too, and so this is wider than the class.
ASGI2Application: TypeAlias = Callable[
    [Scope], Callable[[ASGIReceiveCallable, ASGISendCallable], Awaitable[None]]
]
ASGI3Application: TypeAlias = Callable[[Scope, ASGIReceiveCallable, ASGISendCallable], Awaitable[None]]
ASGIApplication: TypeAlias = ASGI2Application | ASGI3Application
