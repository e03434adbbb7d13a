"""What a request head has to become: the rows of the specifications in the plainest way.

`plain_environ` is for the way from a scope to an environ, `plain_scope` for the other. They share nothing
with the code that is tested.
"""

import string
from typing import Any
from urllib.parse import unquote_to_bytes

TOKEN = frozenset(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~")
DIGITS = frozenset("0123456789")
CONTROLS = frozenset(chr(code) for code in [*range(32), 127]) - {"\t"}
LINE_ENDS = frozenset("\r\n\0")
TLS_VERSIONS = {0x0301: "TLSv1", 0x0302: "TLSv1.1", 0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}


def wire(text: str) -> str:
    """Text as PEP 3333 has it; UnicodeEncodeError where it has no bytes (W2A-ENV-25)."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def unwire(text: str) -> str:
    return text.encode("latin-1").decode("utf-8", "replace")


# From a scope to an environ


def plain_environ(scope: dict[str, Any], allowed: tuple[str, ...], most: int, most_bytes: int) -> Any:
    """The environ of *scope* but for what all of them have, or the status of the refusal."""
    headers = scope["headers"]
    if len(headers) > most or sum(len(name) + len(value) for name, value in headers) > most_bytes:
        return 431
    try:
        fields = plain_fields(headers, [name.lower() for name in allowed])
        return fields if fields == 400 else {**fields, **plain_line(scope)}
    except UnicodeEncodeError:
        return 400


def plain_fields(headers: list[Any], allowed: list[str]) -> Any:
    given: dict[str, list[str]] = {}
    for raw_name, raw_value in headers:
        # W2A-ENV-29, -46
        name = "".join(char.lower() if char.isascii() else char for char in raw_name.decode("latin-1"))
        if name == ":authority":
            key = name  # W2A-ENV-42
        elif not name or not TOKEN.issuperset(name):
            continue  # W2A-ENV-36
        elif name in ("content_type", "content_length"):
            continue  # W2A-ENV-30
        elif ("_" in name or name == "proxy") and name not in allowed:
            continue  # W2A-ENV-36, -43
        elif name in ("content-type", "content-length"):
            key = name.replace("-", "_").upper()
        else:
            key = "HTTP_" + name.replace("-", "_").upper()
        given.setdefault(key, []).append(raw_value.decode("latin-1"))
    fields: dict[str, str] = {}
    for key, values in given.items():
        if any(LINE_ENDS.intersection(value) for value in values):
            return 400  # W2A-ENV-45
        if key in ("HTTP_HOST", "CONTENT_TYPE", ":authority"):
            if set(values) != {values[0]}:
                return 400  # W2A-ENV-38, -39
            fields[key] = values[0]
        elif key == "CONTENT_LENGTH":
            length = plain_length(",".join(values))
            if length is None:
                return 400
            fields[key] = length
        else:
            fields[key] = ("; " if key == "HTTP_COOKIE" else ",").join(values)  # W2A-ENV-32 to -34
    if "HTTP_TRANSFER_ENCODING" in fields:
        fields.pop("CONTENT_LENGTH", None)  # W2A-ENV-40
    authority = fields.pop(":authority", None)
    if authority is not None and "HTTP_HOST" not in fields:
        fields["HTTP_HOST"] = authority
    return fields


def plain_length(text: str) -> str | None:
    """The one number in a Content-Length, None where it is none (W2A-ENV-37, A2W-SCOPE-32)."""
    members = {member.strip(" \t") for member in text.split(",")}
    length = members.pop()
    if members or not length or not DIGITS.issuperset(length) or len(length) > 20:
        return None
    return length


def plain_root(root: str | None) -> str:
    root = root or ""
    while root.endswith("/"):
        root = root[:-1]  # W2A-ENV-16
    return root if not root or root.startswith("/") else "/" + root  # W2A-ENV-17


def plain_line(scope: dict[str, Any]) -> dict[str, str]:
    """All but the fields."""
    environ = {
        "REQUEST_METHOD": wire(scope["method"]),  # W2A-ENV-09
        "SERVER_PROTOCOL": "HTTP/" + wire(scope["http_version"]),  # W2A-ENV-10, -11
        "QUERY_STRING": (scope.get("query_string") or b"").decode("latin-1"),  # W2A-ENV-12
        "wsgi.url_scheme": wire(scope.get("scheme") or "http"),  # W2A-ENV-13
    }
    if environ["wsgi.url_scheme"] == "https":
        environ["HTTPS"] = "on"  # W2A-ENV-14
    environ |= plain_paths(scope)
    raw_path = scope.get("raw_path")
    if raw_path:  # W2A-ENV-27
        target = raw_path.decode("latin-1")
        if environ["QUERY_STRING"] and "?" not in target:
            target += "?" + environ["QUERY_STRING"]
        environ["REQUEST_URI"] = environ["RAW_URI"] = target

    environ["SERVER_NAME"], environ["SERVER_PORT"] = "localhost", "80"  # W2A-ENV-48, -49
    if environ["wsgi.url_scheme"] == "https":
        environ["SERVER_PORT"] = "443"
    host, port = scope.get("server") or ("", None)
    if host and port is not None and port != "":
        name = wire(host)
        if ":" in name and not name.startswith("["):
            name = f"[{name}]"  # W2A-ENV-50
        environ["SERVER_NAME"], environ["SERVER_PORT"] = name, f"{port}"
    host, port = scope.get("client") or ("", None)
    if host:  # W2A-ENV-51, -52
        environ["REMOTE_ADDR"] = wire(host)
        if port is not None:
            environ["REMOTE_PORT"] = f"{port}"

    tls = (scope.get("extensions") or {}).get("tls") or {}  # W2A-ENV-63
    chain = list(tls.get("client_cert_chain") or [])
    facts = {
        "SSL_PROTOCOL": TLS_VERSIONS.get(tls.get("tls_version") or 0),
        "SSL_CLIENT_CERT": chain[0] if chain else None,
        "SSL_CLIENT_S_DN": tls.get("client_cert_name"),
        "SSL_SERVER_CERT": tls.get("server_cert"),
    }
    return {**environ, **{key: wire(value) for key, value in facts.items() if value}}


def plain_paths(scope: dict[str, Any]) -> dict[str, str]:
    path, raw_path = scope["path"], scope.get("raw_path")
    root = plain_root(scope.get("root_path"))
    path_bytes = None
    if "\ufffd" in path and raw_path:  # W2A-ENV-26
        path_bytes = unquote_to_bytes(raw_path.split(b"?")[0])
        if path_bytes.decode("utf-8", "replace") != path:
            path_bytes = None
    if path_bytes is None:
        path_bytes = wire(path).encode("latin-1")
    if "\ufffd" in root and (path == root or path.startswith(root + "/")):
        root_bytes = b"/".join(path_bytes.split(b"/")[: len(root.split("/"))])
    else:
        root_bytes = wire(root).encode("latin-1")
    if root_bytes and (path_bytes == root_bytes or path_bytes.startswith(root_bytes + b"/")):
        path_bytes = path_bytes[len(root_bytes) :]  # W2A-ENV-18 to -20; elsewhere -21
    if not root_bytes and not path_bytes:
        path_bytes = b"/"  # W2A-ENV-22
    return {"SCRIPT_NAME": root_bytes.decode("latin-1"), "PATH_INFO": path_bytes.decode("latin-1")}


# From an environ to a scope

# Functions of the environ, and the extensions that they stand for (A2W-SCOPE-28).
FUNCTIONS = {
    "wsgi.early_hints": "http.response.early_hint",
    "asgiadapt.debug": "http.response.debug",
    "wsgi.file_wrapper": "http.response.pathsend",
}


def plain_scope(environ: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """The scope of *environ*, and what is wrong with it: "400" for a refusal, "server" for an error."""
    wrong: set[str] = set()
    root = (environ.get("SCRIPT_NAME") or "").rstrip("/")  # A2W-SCOPE-08, -11
    path = environ.get("PATH_INFO") or ""
    if root and path and not path.startswith("/"):
        path = "/" + path
    query = environ.get("QUERY_STRING") or ""
    if any(char > "\xff" for char in root + path + query):
        return {}, {"400"}
    scheme = environ.get("wsgi.url_scheme") or "http"
    protocol = (environ.get("SERVER_PROTOCOL") or "").upper()
    version = protocol.removeprefix("HTTP/").removesuffix(".0") if protocol.startswith("HTTP/") else ""
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},  # A2W-SCOPE-01, -02
        "http_version": {"1.1": "1.1", "2": "2", "3": "3"}.get(version, "1.0"),  # A2W-SCOPE-04, -05
        "method": environ["REQUEST_METHOD"].upper(),  # A2W-SCOPE-06
        "scheme": scheme,  # A2W-SCOPE-07
        "path": unwire(root + path) or "/",  # A2W-SCOPE-09, -10, -13
        "query_string": query.encode("latin-1"),  # A2W-SCOPE-15
        "root_path": unwire(root),
        "headers": plain_headers(environ, wrong),
        "client": None,
        "server": None,
        "extensions": {"asgiadapt.environ": environ},  # A2W-SCOPE-31
    }
    for key in ("REQUEST_URI", "RAW_URI"):  # A2W-SCOPE-14
        raw_path = plain_raw_path(environ.get(key) or "")
        if raw_path and unquote_to_bytes(raw_path) == (root + path).encode("latin-1"):
            scope["raw_path"] = raw_path
            break
    if address := environ.get("REMOTE_ADDR"):  # A2W-SCOPE-26, -27
        scope["client"] = (address, plain_port(environ.get("REMOTE_PORT"), wrong) or 0)
    server = environ.get("SERVER_NAME") or ""
    if server.startswith("/"):
        scope["server"] = (server, None)  # A2W-SCOPE-25
    elif server:  # A2W-SCOPE-24
        port = plain_port(environ.get("SERVER_PORT"), wrong)
        name = server.removeprefix("[").removesuffix("]")
        scope["server"] = (name, port) if name and port is not None else None
    for key, extension in FUNCTIONS.items():
        if callable(environ.get(key)):
            scope["extensions"][extension] = {}
    keys = ("SSL_PROTOCOL", "SSL_CLIENT_CERT", "SSL_CLIENT_S_DN", "SSL_SERVER_CERT")
    version, chain, name, own = (environ.get(key) or "" for key in keys)
    told = chain if name else ""  # the validator wants the name of each certificate
    if scheme == "https" and (version or chain or name or own):  # A2W-SCOPE-29
        if any(char > "\xff" for char in told + name + own):
            return {}, wrong | {"400"}
        numbers = {text: number for number, text in TLS_VERSIONS.items()}
        scope["extensions"]["tls"] = {
            "server_cert": unwire(own) or None,
            "client_cert_chain": [unwire(told)] if told else [],
            "client_cert_name": unwire(name) or None,
            "tls_version": numbers.get(version),
            "cipher_suite": None,
        }
    return scope, wrong


def plain_raw_path(target: str) -> bytes:
    """The path in a request target, without origin and query; nothing where it has other characters."""
    if target.startswith("http://"):
        target = target.removeprefix("http://")
        ends = [target.index(mark) for mark in "/?#" if mark in target]
        target = target[min(ends, default=len(target)) :]
    path = target.split("?")[0]
    return b"" if any(char > "\xff" for char in path) else path.encode("latin-1")


def plain_port(value: Any, wrong: set[str]) -> int | None:
    """None for what is no number."""
    text = "" if value is None else str(value)
    digits = text.removeprefix("-")
    if not digits or not DIGITS.issuperset(digits):
        return None
    if text != digits or len(digits) > 5 or int(digits) > 65535:
        wrong.add("400")
    return int(digits)


def plain_headers(environ: dict[str, Any], wrong: set[str]) -> list[tuple[bytes, bytes]]:
    """The fields; ``host`` first (A2W-SCOPE-20), those of the content last."""
    first: list[tuple[bytes, bytes]] = []
    middle: list[tuple[bytes, bytes]] = []
    last: list[tuple[bytes, bytes]] = []
    for key, value in environ.items():
        if key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            if not value:
                continue  # A2W-SCOPE-18
            name = key.replace("_", "-").lower()
        elif key.startswith("HTTP_") and key not in ("HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"):
            name = key.removeprefix("HTTP_").replace("_", "-").lower()
        else:
            continue  # A2W-SCOPE-17, -23
        if key == "CONTENT_LENGTH":
            length = plain_length(str(value))
            if length is None:
                wrong.add("400")
            if length is None or "HTTP_TRANSFER_ENCODING" in environ:
                continue  # A2W-SCOPE-33
            value = length
        if key == "HTTP_HOST" and value is None:
            continue
        if not name or not TOKEN.issuperset(name):
            wrong.add("400")
        elif not isinstance(value, str):
            wrong.add("server")
        elif any(char > "\xff" for char in value) or LINE_ENDS.intersection(value):
            wrong.add("400")  # A2W-SCOPE-19
        else:
            where = first if key == "HTTP_HOST" else last if key.startswith("CONTENT") else middle
            where.append((name.encode(), value.encode("latin-1")))
    return first + middle + sorted(last, reverse=True)  # the type before the length
