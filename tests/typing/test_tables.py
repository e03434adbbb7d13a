"""The field tables of the ASGI specifications: every scope and event, key by key.

One row a TypedDict. A key in the first dict is required, one in the second has a default; the type is
None where, and only where, the specification allows null.
"""

import inspect
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args, get_type_hints, is_typeddict

import pytest

import asgiadapt.typing as ours

Pairs = Iterable[tuple[bytes, bytes]]
CLIENT = tuple[str, int] | None
SERVER = tuple[str, int | None] | None
STATE = dict[str, Any]
EXTENSIONS = dict[str, Any] | None


class Row(NamedTuple):
    name: str
    type: str | None
    required: Mapping[str, Any] = MappingProxyType({})
    optional: Mapping[str, Any] = MappingProxyType({})


SCOPES = [  # sections "HTTP Connection Scope", "WebSocket Connection Scope", "Scope" of lifespan
    Row(
        "HTTPScope",
        "http",
        {
            "asgi": ours.ASGIVersions,
            "http_version": str,
            "method": str,
            "path": str,
            "query_string": bytes,
            "headers": Pairs,
        },
        {
            "scheme": str,
            "raw_path": bytes | None,
            "root_path": str,
            "client": CLIENT,
            "server": SERVER,
            "state": STATE,
            "extensions": EXTENSIONS,
        },
    ),
    Row(
        "WebSocketScope",
        "websocket",
        {"asgi": ours.ASGIVersions, "path": str, "headers": Pairs},
        {
            "http_version": str,
            "scheme": str,
            "raw_path": bytes | None,
            "query_string": bytes | None,
            "root_path": str,
            "client": CLIENT,
            "server": SERVER,
            "subprotocols": Iterable[str],
            "state": STATE,
            "extensions": EXTENSIONS,
        },
    ),
    Row("LifespanScope", "lifespan", {"asgi": ours.ASGIVersions}, {"state": STATE}),
]
PARTS = [  # of scopes
    Row("ASGIVersions", None, {}, {"version": Literal["2.0", "3.0"], "spec_version": str}),
    Row(
        "TLSExtension",
        None,
        {"server_cert": str | None, "tls_version": int | None, "cipher_suite": int | None},
        {
            "client_cert_chain": Iterable[str],
            "client_cert_name": str | None,
            "client_cert_error": str | None,
        },
    ),
]
RECEIVED = [
    # event                          type                    required                optional
    Row("HTTPRequestEvent", "http.request", {}, {"body": bytes, "more_body": bool}),
    Row("HTTPDisconnectEvent", "http.disconnect"),
    Row("WebSocketConnectEvent", "websocket.connect"),
    Row("WebSocketReceiveBytesEvent", "websocket.receive", {"bytes": bytes}, {"text": None}),
    Row("WebSocketReceiveTextEvent", "websocket.receive", {"text": str}, {"bytes": None}),
    Row("WebSocketDisconnectEvent", "websocket.disconnect", {"code": int}, {"reason": str | None}),
    Row("LifespanStartupEvent", "lifespan.startup"),
    Row("LifespanShutdownEvent", "lifespan.shutdown"),
]
SENT = [
    Row(
        "HTTPResponseStartEvent",
        "http.response.start",
        {"status": int},
        {"headers": Pairs, "trailers": bool},
    ),
    Row("HTTPResponseBodyEvent", "http.response.body", {}, {"body": bytes, "more_body": bool}),
    Row("HTTPServerPushEvent", "http.response.push", {"path": str, "headers": Pairs}),
    Row(
        "HTTPResponseZeroCopySendEvent",
        "http.response.zerocopysend",
        {"file": ours.HasFileno},
        {"offset": int, "count": int, "more_body": bool},
    ),
    Row("HTTPResponsePathsendEvent", "http.response.pathsend", {"path": str}),
    Row("HTTPEarlyHintEvent", "http.response.early_hint", {"links": Iterable[bytes]}),
    Row("HTTPResponseTrailersEvent", "http.response.trailers", {"headers": Pairs}, {"more_trailers": bool}),
    Row("HTTPResponseDebugEvent", "http.response.debug", {"info": dict[str, Any]}),
    Row("WebSocketAcceptEvent", "websocket.accept", {}, {"subprotocol": str | None, "headers": Pairs}),
    Row("WebSocketSendBytesEvent", "websocket.send", {"bytes": bytes}, {"text": None}),
    Row("WebSocketSendTextEvent", "websocket.send", {"text": str}, {"bytes": None}),
    Row("WebSocketCloseEvent", "websocket.close", {}, {"code": int, "reason": str | None}),
    Row("WebSocketResponseStartEvent", "websocket.http.response.start", {"status": int}, {"headers": Pairs}),
    Row("WebSocketResponseBodyEvent", "websocket.http.response.body", {}, {"body": bytes, "more_body": bool}),
    Row("LifespanStartupCompleteEvent", "lifespan.startup.complete"),
    Row("LifespanStartupFailedEvent", "lifespan.startup.failed", {}, {"message": str}),
    Row("LifespanShutdownCompleteEvent", "lifespan.shutdown.complete"),
    Row("LifespanShutdownFailedEvent", "lifespan.shutdown.failed", {}, {"message": str}),
]
ROWS = [*SCOPES, *PARTS, *RECEIVED, *SENT]
each_row = pytest.mark.parametrize("row", [pytest.param(row, id=f"TYPES-02-{row.name}") for row in ROWS])


@each_row
def test_the_keys_are_those_of_the_specification(row: Row) -> None:
    """TYPES-02: no more and no less, and only those with a default may be missing."""
    kind = getattr(ours, row.name)
    assert is_typeddict(kind)
    always = {"type"} if row.type else set()
    assert kind.__required_keys__ == row.required.keys() | always
    assert kind.__optional_keys__ == row.optional.keys()


@each_row
def test_the_values_have_the_types_of_the_specification(row: Row) -> None:
    """TYPES-06: null where it is allowed, and nowhere else; TYPES-03: the type is a literal."""
    hints = get_type_hints(getattr(ours, row.name))
    if row.type:
        assert hints.pop("type") == Literal[row.type]
    nothing = {key: type(None) if value is None else value for key, value in row.optional.items()}
    assert hints == {**row.required, **nothing}


@each_row
def test_a_value_is_a_plain_dict(row: Row) -> None:
    """TYPES-12: what the class makes is a dict and knows nothing of it."""
    kind = getattr(ours, row.name)
    made = kind(**dict.fromkeys(row.required, None))
    assert type(made) is dict
    assert made == dict.fromkeys(row.required, None)
    with pytest.raises(TypeError, match="TypedDict does not support instance and class checks"):
        isinstance(made, kind)


def test_every_typed_dict_has_its_row() -> None:
    """TYPES-02: a new one needs one."""
    assert sorted(row.name for row in ROWS) == [
        name for name in ours.__all__ if is_typeddict(getattr(ours, name))
    ]


@pytest.mark.parametrize(
    ("union", "rows"),
    [
        pytest.param(ours.Scope, SCOPES, id="TYPES-07-scopes"),
        pytest.param(ours.WWWScope, SCOPES[:2], id="TYPES-07-scopes-www"),
        pytest.param(ours.ASGIReceiveEvent, RECEIVED, id="TYPES-07-received"),
        pytest.param(ours.ASGISendEvent, SENT, id="TYPES-07-sent"),
        pytest.param(ours.WebSocketReceiveEvent, RECEIVED[3:5], id="TYPES-11-received"),
        pytest.param(ours.WebSocketSendEvent, SENT[9:11], id="TYPES-11-sent"),
    ],
)
def test_a_union_has_everything_that_goes_there(union: Any, rows: list[Row]) -> None:
    """And nothing else: ``http.disconnect`` is no event to send."""
    assert set(get_args(union)) == {getattr(ours, row.name) for row in rows}


def test_a_type_tells_an_event() -> None:
    """TYPES-03: no two events have the same, but for the two forms of a WebSocket message."""
    types = [row.type for row in ROWS if row.type]
    twice = {name for name in types if types.count(name) > 1}
    assert twice == {"websocket.receive", "websocket.send"}


@each_row
def test_each_has_its_sentence(row: Row) -> None:
    """It is what editors show; that of an event says who gets it."""
    text = inspect.getdoc(getattr(ours, row.name)) or ""
    assert text.endswith(".")
    if row in RECEIVED or row in SENT:
        receiver = "To the application: " if row in RECEIVED else ("To the server: ", "To the test client: ")
        assert text.startswith(receiver)
