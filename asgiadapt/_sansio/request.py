"""Request heads: the WSGI ``environ`` made from the ASGI ``http`` scope, and the scope from the environ.

The rows of "WSGI Compatibility" in the ASGI HTTP specification. The streams (``wsgi.input``,
``wsgi.errors``) are not made here: they do I/O, and the gateway adds them.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from asgiadapt._sansio.headers import EnvironKeys, fields_from_headers, headers_from_environ
from asgiadapt._sansio.refusal import Refusal

_TLS_VERSIONS = {0x0301: "TLSv1", 0x0302: "TLSv1.1", 0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}


class EnvironMaker:
    """Makes an environ of each scope; holds what is the same for all requests.

    *fixed* are the entries that every environ starts with. *allowed_headers*, *max_header_count* and
    *max_header_bytes* are as in `WsgiToAsgi`.
    """

    __slots__ = ("_fixed", "_keys", "_max_bytes", "_max_count")

    def __init__(
        self,
        fixed: Mapping[str, Any],
        *,
        allowed_headers: Iterable[str] = (),
        max_header_count: int = 2000,
        max_header_bytes: int = 131072,
    ) -> None:
        self._fixed: dict[str, Any] = {
            "GATEWAY_INTERFACE": "CGI/1.1",
            "wsgi.version": (1, 0),
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            **fixed,
        }
        self._keys = EnvironKeys(allowed_headers)
        self._max_count = max_header_count
        self._max_bytes = max_header_bytes

    def environ_from_scope(self, scope: Mapping[str, Any]) -> dict[str, Any]:
        """The environ of *scope*, a new dict; `Refusal` where the request cannot be put into one."""
        environ = self._fixed.copy()
        environ.update(fields_from_headers(scope["headers"], self._keys, self._max_count, self._max_bytes))

        environ["REQUEST_METHOD"] = _wire(scope["method"])
        script_name, path_info = _split_path(scope)
        environ["SCRIPT_NAME"] = script_name
        environ["PATH_INFO"] = path_info
        query = scope.get("query_string")
        query_string = environ["QUERY_STRING"] = query.decode("latin-1") if query else ""
        environ["SERVER_PROTOCOL"] = "HTTP/" + _wire(scope["http_version"])
        raw_path = scope.get("raw_path")
        if raw_path:
            target = raw_path.decode("latin-1")
            # Some servers leave the query in, although the specification takes it out.
            if query_string and "?" not in target:
                target = f"{target}?{query_string}"
            environ["REQUEST_URI"] = environ["RAW_URI"] = target

        scheme = environ["wsgi.url_scheme"] = _wire(scope.get("scheme") or "http")
        if scheme == "https":
            environ["HTTPS"] = "on"
        environ["SERVER_NAME"], environ["SERVER_PORT"] = _server(scope.get("server"), scheme)
        client = scope.get("client")
        if client is not None:
            host, port = client
            if host:
                environ["REMOTE_ADDR"] = _wire(host)
                if port is not None:
                    environ["REMOTE_PORT"] = str(port)
        extensions = scope.get("extensions")
        if extensions and extensions.get("tls"):
            environ.update(_tls_variables(extensions["tls"]))
        environ["asgiadapt.scope"] = scope
        return environ


def _wire(text: str) -> str:
    """Text as PEP 3333 wants it: UTF-8, each byte in a character of its own."""
    if text.isascii():
        return str.__str__(text)  # exactly a str, also where a server gives an enum's member
    try:
        # Bytes that a server could not decode may have come as lone surrogates; they go back to bytes.
        return text.encode("utf-8", "surrogateescape").decode("latin-1")
    except UnicodeEncodeError as error:
        raise Refusal(400, "the request has characters that no encoding knows.") from error


def _split_path(scope: Mapping[str, Any]) -> tuple[str, str]:
    """``SCRIPT_NAME`` and ``PATH_INFO``."""
    path: str = scope["path"]
    root: str = scope.get("root_path") or ""
    if not root and path.isascii() and path:  # the common case
        return "", _wire(path)
    root = root.rstrip("/")
    if root and root[0] != "/":
        root = "/" + root
    whole = _recovered_path(path, scope.get("raw_path")) if "\ufffd" in path else _wire(path)
    if "\ufffd" in root and (path == root or path.startswith(root + "/")):
        # Its bytes are those that the path begins with: both have the same number of slashes.
        root = "/".join(whole.split("/")[: root.count("/") + 1])
    else:
        root = _wire(root)
    # Ask for the slash: "/app" begins "/apple" too, and is not its root.
    if root and (whole == root or whole.startswith(root + "/")):
        return root, whole[len(root) :]
    # Not below the root: some proxies and servers take the prefix off themselves.
    if not whole and not root:
        return "", "/"  # PEP 3333: one of the two is not empty
    return root, whole


def _recovered_path(path: str, raw_path: bytes | None) -> str:
    """The bytes of a path that was not UTF-8 and was decoded with replacement."""
    if raw_path:
        recovered = unquote_to_bytes(raw_path.partition(b"?")[0])
        if recovered.decode("utf-8", "replace") == path:
            return recovered.decode("latin-1")
    return _wire(path)


def _server(server: Any, scheme: str) -> tuple[str, str]:
    """``SERVER_NAME`` and ``SERVER_PORT``, neither of them empty."""
    if server is not None:
        host, port = server
        if host and port not in (None, ""):
            host = _wire(host)
            # RFC 3875, 4.1.14, so that URLs can be put together from it.
            if ":" in host and host[0] != "[":
                host = f"[{host}]"
            return host, str(port)
    # A Unix socket, or unknown. The Host header would be the client's word: no good here.
    return "localhost", "443" if scheme == "https" else "80"


def _tls_variables(tls: Mapping[str, Any]) -> dict[str, str]:
    """What the TLS extension knows, under the names that Apache made common."""
    chain = list(tls.get("client_cert_chain") or ())
    found = {
        "SSL_PROTOCOL": _TLS_VERSIONS.get(tls.get("tls_version") or 0),
        "SSL_CLIENT_CERT": chain[0] if chain else None,
        "SSL_CLIENT_S_DN": tls.get("client_cert_name"),
        "SSL_SERVER_CERT": tls.get("server_cert"),
    }
    return {key: _wire(value) for key, value in found.items() if value}


def may_have_body(environ: Mapping[str, Any]) -> bool:
    """Whether the head of the request leaves room for a body (RFC 9112, 6.3).

    From HTTP/2 on, the framing tells and the head does not.
    """
    length = environ.get("CONTENT_LENGTH")
    if length is not None:
        return bool(length.strip("0"))
    if "HTTP_TRANSFER_ENCODING" in environ:
        return True
    return not environ["SERVER_PROTOCOL"].startswith("HTTP/1")


def waits_for_continue(environ: Mapping[str, Any]) -> bool:
    """Whether the client holds its body back until it is asked for (RFC 9110, 10.1.1)."""
    expect = environ.get("HTTP_EXPECT")
    return expect is not None and "100-continue" in expect.lower()


# What ASGI calls the versions that servers write into SERVER_PROTOCOL.
_HTTP_VERSIONS: Final = {
    "HTTP/1.0": "1.0",
    "HTTP/1.1": "1.1",
    "HTTP/2": "2",
    "HTTP/2.0": "2",
    "HTTP/3": "3",
    "HTTP/3.0": "3",
}
_ORIGIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[^/?#]*")
# Events that are passed on to the server by a function in the environ, where there is one.
SERVER_FUNCTIONS: Final = {
    "http.response.early_hint": "wsgi.early_hints",
    "http.response.debug": "asgiadapt.debug",
    "http.response.pathsend": "wsgi.file_wrapper",
}


def scope_from_environ(environ: dict[str, Any]) -> dict[str, Any]:
    """The ``http`` scope of *environ*, a new dict; `Refusal` where the request cannot be put into one.

    *environ* is not changed. ``state`` is not there yet.
    """
    root = environ.get("SCRIPT_NAME") or ""
    path = environ.get("PATH_INFO") or ""
    scheme = environ.get("wsgi.url_scheme") or "http"
    address = environ.get("REMOTE_ADDR")
    try:
        query = (environ.get("QUERY_STRING") or "").encode("latin-1")
        if root:
            root = root.rstrip("/")
            if root and path and path[0] != "/":
                path = "/" + path
        whole = root + path
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.5"},
            "http_version": _HTTP_VERSIONS.get((environ.get("SERVER_PROTOCOL") or "").upper(), "1.0"),
            "method": environ.get("REQUEST_METHOD", "GET").upper(),
            "scheme": scheme,
            "path": _text(whole) or "/",
            "query_string": query,
            "root_path": _text(root),
            "headers": headers_from_environ(environ),
            "client": (address, _port(environ.get("REMOTE_PORT")) or 0) if address else None,
            "server": _server_address(environ),
            "extensions": _offered(environ, scheme),
        }
    except UnicodeEncodeError:
        raise Refusal(400, "the request line has characters that are not in latin-1.") from None
    for key in ("REQUEST_URI", "RAW_URI"):
        target = environ.get(key)
        if target and (raw_path := _raw_path(target, whole)):
            scope["raw_path"] = raw_path
            break
    return scope


def _text(wire: str) -> str:
    """What `_wire` has made of a text."""
    if wire.isascii():
        return wire
    return wire.encode("latin-1").decode("utf-8", "replace")


def _raw_path(target: str, path: str) -> bytes | None:
    """The path as the client wrote it, if *target* is what the server made *path* of."""
    if target[0] != "/" and (origin := _ORIGIN.match(target)) is not None:
        target = target[origin.end() :]
    raw = target.partition("?")[0]
    try:
        raw_path = raw.encode("latin-1")
        as_it_is = raw == path and "%" not in raw  # the common case
        if not as_it_is and unquote_to_bytes(raw_path) != path.encode("latin-1"):
            return None
    except UnicodeEncodeError:
        return None
    return raw_path


def _port(value: Any) -> int | None:
    """A port, None for what is not a number; `Refusal` for a number that no port has."""
    if value is None or value == "":
        return None
    text = str(value)
    if len(text) < 5 and text.isascii() and text.isdigit():
        return int(text)
    if not (text.isascii() and text.removeprefix("-").isdigit()):
        return None
    if len(text) > 5 or not 0 <= int(text) <= 65535:
        raise Refusal(400, "the request has a port that does not exist.")
    return int(text)


def _server_address(environ: Mapping[str, Any]) -> tuple[str, int | None] | None:
    name = environ.get("SERVER_NAME")
    if not name:
        return None
    if name[0] == "/":
        return name, None  # a Unix socket
    port = _port(environ.get("SERVER_PORT"))
    if port is None:
        return None
    name = name.removeprefix("[").removesuffix("]")
    return (name, port) if name else None


def _offered(environ: dict[str, Any], scheme: str) -> dict[str, dict[str, Any]]:
    """The extensions: what this server can do."""
    extensions: dict[str, dict[str, Any]] = {"asgiadapt.environ": environ}
    for event, key in SERVER_FUNCTIONS.items():
        if key in environ and callable(environ[key]):
            extensions[event] = {}
    if scheme == "https" and (tls := _tls_facts(environ)):
        extensions["tls"] = tls
    return extensions


def _tls_facts(environ: Mapping[str, Any]) -> dict[str, Any] | None:
    """The TLS extension, made of the variables that Apache made common; None where they are not there."""
    version, chain, name, own = (environ.get(key) or None for key in _TLS_KEYS)
    if version is chain is name is own is None:
        return None
    numbers = {text: number for number, text in _TLS_VERSIONS.items()}
    return {
        "server_cert": own and _text(own),
        # ASGI TLS: whoever gives a certificate has to give its name, too.
        "client_cert_chain": [_text(chain)] if chain and name else [],
        "client_cert_name": name and _text(name),
        "tls_version": numbers.get(version or ""),
        "cipher_suite": None,
    }


_TLS_KEYS: Final = ("SSL_PROTOCOL", "SSL_CLIENT_CERT", "SSL_CLIENT_S_DN", "SSL_SERVER_CERT")
