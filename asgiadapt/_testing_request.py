"""What the test clients for ASGI and WSGI share: the head of a request, and a response that has ended."""

from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast
from urllib.parse import quote, unquote

Headers: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]

# RFC 3986, 3.3 and 3.4; what is escaped already stays as it is.
_IN_PATH: Final = "/%:@!$&'()*+,;=~"
_IN_QUERY: Final = _IN_PATH + "?"
# RFC 9110, 8.6: of these methods, no length would be surprising.
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


@dataclass(frozen=True)
class Response:
    """A response that has ended. Header names are as the application has given them."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of header *name*; those of several are joined with a comma. None: there is none."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(values) if values else None

    @property
    def text(self) -> str:
        """The body, which is UTF-8."""
        return self.body.decode("utf-8")


def scope_of(
    method: str,
    path: str,
    headers: Headers,
    body: bytes | Iterable[bytes] | AsyncIterable[bytes],
    changes: Mapping[str, Any],
) -> dict[str, Any]:
    """The ``http`` scope of a request; *changes* replace its entries. *path* may have a query."""
    target, _, query = path.partition("?")
    raw_path = quote(target, safe=_IN_PATH)
    pairs = cast("Mapping[str, str]", headers).items() if isinstance(headers, Mapping) else headers
    fields = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in pairs]
    names = {name for name, _ in fields}
    if b"host" not in names:
        fields.insert(0, (b"host", b"testserver"))
    if not names & {b"content-length", b"transfer-encoding"}:
        if not isinstance(body, bytes):
            fields.append((b"transfer-encoding", b"chunked"))
        elif body or method in _WITH_BODY:
            fields.append((b"content-length", b"%d" % len(body)))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(raw_path),
        "raw_path": raw_path.encode("ascii"),
        "query_string": quote(query, safe=_IN_QUERY).encode("ascii"),
        "root_path": "",
        "headers": fields,
        "client": ("127.0.0.1", 50000),
        "server": ("testserver", 80),
        "extensions": {},
        **changes,
    }


# RFC 6455, 4.1. Of a handshake that has succeeded, nobody looks at the key again.
_HANDSHAKE: Final = [
    (b"connection", b"Upgrade"),
    (b"upgrade", b"websocket"),
    (b"sec-websocket-version", b"13"),
    (b"sec-websocket-key", b"dGVzdCBvZiBhc2dpYWRhcA=="),
]


def socket_scope_of(
    path: str, headers: Headers, subprotocols: Sequence[str], changes: Mapping[str, Any]
) -> dict[str, Any]:
    """The ``websocket`` scope of a handshake; the rest as for `scope_of`."""
    scope = scope_of("GET", path, headers, b"", {})
    del scope["method"]
    offered = [(b"sec-websocket-protocol", ", ".join(subprotocols).encode("latin-1"))] if subprotocols else []
    return {
        **scope,
        "type": "websocket",
        "scheme": "ws",
        "headers": [*scope["headers"], *_HANDSHAKE, *offered],
        "subprotocols": list(subprotocols),
        "extensions": {"websocket.http.response": {}},
        **changes,
    }


def text_headers(headers: Iterable[Iterable[bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
