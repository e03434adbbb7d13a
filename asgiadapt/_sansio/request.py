"""Request heads: the WSGI ``environ`` made from the ASGI ``http`` scope.

The rows of "WSGI Compatibility" in the ASGI HTTP specification. The streams (``wsgi.input``,
``wsgi.errors``) are not made here: they do I/O, and the gateway adds them.
"""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from asgiadapt._sansio.headers import EnvironKeys, fields_from_headers
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
