"""Fuzz targets for request heads: ``environ`` (scope to environ) and ``scope`` (environ to scope).

What has to come out is said by `plain_heads`. What came out is also given to the validators of both
interfaces, and goes back the other way.
"""

import io
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes
from wsgiref.validate import check_environ

from asgiadapt import ServerError
from asgiadapt._sansio.refusal import Refusal
from asgiadapt._sansio.request import EnvironMaker, scope_from_environ
from asgiadapt._sansio.validation import scope_faults
from tests.fuzz.choices import Choices
from tests.fuzz.plain_heads import CONTROLS, LINE_ENDS, plain_environ, plain_root, plain_scope

# Texts of a request line

PIECES = [
    "/", "/api", "a", "/caf\u00e9", "\ufffd", "%2F", "%", "?", "//", "/..", "*", "/api/", "api", "\u20ac",
    "%C3%A9", "\udcc3\udca9", "\udcff", "\ud800", "/b;c=d", "http://a.example/",
]  # fmt: skip
DECODINGS = [
    ("utf-8", "surrogateescape"),
    ("utf-8", "replace"),
    ("latin-1", "strict"),
    ("utf-16-le", "surrogatepass"),
]


def raw_text(c: Choices) -> str:
    encoding, errors = c.pick(DECODINGS)
    raw = c.raw(12)
    if encoding == "utf-16-le":
        raw = raw[: len(raw) // 2 * 2]
    return raw.decode(encoding, errors)


def text(c: Choices) -> str:
    return raw_text(c) if c.seldom() else c.pick(PIECES)


def path_text(c: Choices) -> str:
    return "".join(c.several(lambda: text(c), 4))


def is_utf8(whole: bytes) -> bool:
    try:
        whole.decode()
    except UnicodeDecodeError:
        return False
    return True


# From a scope to an environ

HEADER_NAMES = [
    b"host", b"Host", b"cookie", b"x-a", b"X-A", b"X_A", b"content-length", b"Content-Length",
    b"content_length", b"content-type", b"Content_Type", b"transfer-encoding", b"proxy", b"Proxy",
    b":authority", b":path", b"expect", b"", b"\xb5", b"x a", b"x:", b"x!y", b"authorization",
]  # fmt: skip
HEADER_VALUES = [
    b"a", b"", b"5", b"05", b"5, 5", b"5,6", b"+5", b" 5\t", b"5 6", b"chunked", b"a.example", b"\xe9",
    b"a\rb", b"\n", b"\0", b"9" * 20, b"9" * 21, b"\xb2", b"\x01", b",", b"5,",
]  # fmt: skip
ALLOWED = [(), ("X_A",), ("proxy", "x_a"), ("Content_Length",)]
HOSTS = ["a.example", "", "::1", "[::1]", "/run/socket", "\u00fc.example", "\ud800", "[::1", ":"]
LIMITS = [(2000, 131072), (3, 131072), (2000, 30)]
COMMON = {
    "GATEWAY_INTERFACE": "CGI/1.1",
    "wsgi.version": (1, 0),
    "wsgi.run_once": False,
    "wsgi.input_terminated": True,
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
}


def header(c: Choices) -> Any:
    name = c.raw(8) if c.seldom() else c.pick(HEADER_NAMES)
    value = c.raw(8) if c.seldom() else c.pick(HEADER_VALUES)
    return [name, value] if c.seldom() else (name, value)


def endpoint(c: Choices) -> Any:
    if c.flag():
        return None
    end = (c.pick(HOSTS), c.pick([80, 0, 65535, None, "8000", ""]))
    return list(end) if c.flag() else end


def tls_for(c: Choices) -> Any:
    tls = {
        "server_cert": c.pick([None, "", "PEM", "\u20ac"]),
        "client_cert_chain": c.several(lambda: c.pick(["PEM", "", "\u00e9", "\udc80", "\ud800"]), 2),
        "client_cert_name": c.pick([None, "CN=a", "CN=\u00e9"]),
        "tls_version": c.pick([None, 0x0301, 0x0302, 0x0303, 0x0304, 7]),
        "cipher_suite": None,
    }
    return c.pick([tls, None, {}])


def scope_for(c: Choices) -> dict[str, Any]:
    """A scope, in all the forms that servers give it, and in some that none should."""
    made: dict[str, Any] = {
        "type": "http",
        "http_version": c.pick(["1.1", "1.0", "2", "3", "\u00b9"]),
        "method": c.pick(["GET", "POST", "HEAD", "PROPFIND", "x", "\u00dc"]),
        "headers": c.several(lambda: header(c), 7),
        "query_string": c.pick([b"", None, b"a=b", b"\xc3\xa9&%20", b"?", b"\r"]),
        "root_path": path_text(c),
        "scheme": c.pick(["http", "https", "", None, "\u00e9"]),
        "client": endpoint(c),
        "server": endpoint(c),
        "extensions": c.pick([None, {}, "tls"]),
    }
    if made["extensions"] == "tls":
        made["extensions"] = {"tls": tls_for(c)}
    if c.flag():  # the usual: bytes, decoded by the server
        sent = made["root_path"].encode("utf-8", "replace") + c.raw(10)
        made["path"] = sent.decode("utf-8", c.pick(["replace", "surrogateescape"]))
        made["raw_path"] = quote_from_bytes(sent, c.pick(["/", "/%", ""])).encode() + c.pick([b"", b"?a=b"])
    else:
        made["path"] = (made["root_path"] if c.flag() else "") + path_text(c)
        made["raw_path"] = c.raw(10) if c.flag() else c.pick([None, b""])
    for key in ("root_path", "raw_path", "scheme", "client", "server", "extensions", "query_string"):
        if c.seldom():
            del made[key]
    return made


def environ(data: bytes) -> None:
    """A scope becomes an environ, which becomes a scope and an environ again."""
    c = Choices(data)
    allowed = c.pick(ALLOWED)
    most, most_bytes = c.pick(LIMITS)
    scope = scope_for(c)
    expected = plain_environ(scope, allowed, most, most_bytes)
    given = {**scope, "headers": iter(scope["headers"])} if c.flag() else scope
    copy = {**given, "extensions": dict(scope.get("extensions") or {})}
    maker = EnvironMaker(
        {"wsgi.multithread": True, "wsgi.multiprocess": True},
        allowed_headers=allowed,
        max_header_count=most,
        max_header_bytes=most_bytes,
    )
    try:
        made = maker.environ_from_scope(given)
    except Refusal as refusal:
        assert refusal.status == expected, (refusal, expected)
        return
    assert {**given, "extensions": given.get("extensions") or {}} == copy  # W2A-ENV-02
    assert made.pop("asgiadapt.scope") is given
    assert type(made) is dict  # W2A-ENV-01
    assert made == {**COMMON, **expected}
    check_made_environ(made)
    check_way_back(made, scope, maker)


def check_made_environ(made: dict[str, Any]) -> None:
    """What holds of all environs."""
    for key, value in made.items():
        if "." not in key:
            assert type(value) is str  # W2A-ENV-03
            value.encode("latin-1")
        if key.startswith(("HTTP_", "CONTENT_")):
            assert not LINE_ENDS.intersection(value)
    assert made["SERVER_NAME"]
    assert made["SERVER_PORT"].isdigit()
    if made["PATH_INFO"][:1] in ("", "/") and made["wsgi.url_scheme"] in ("http", "https"):
        # It warns of methods that it does not know.
        known = {**made, "REQUEST_METHOD": "GET", "wsgi.input": io.BytesIO(), "wsgi.errors": io.StringIO()}
        check_environ(known)


def check_way_back(made: dict[str, Any], scope: dict[str, Any], maker: EnvironMaker) -> None:
    """RT-01, RT-04, and what comes of the scope once more."""
    before = dict(made)
    again = scope_from_environ(made)
    check_made_scope(again, made)
    assert again["query_string"] == (scope.get("query_string") or b"")
    assert again["scheme"] == made["wsgi.url_scheme"]
    assert again["http_version"] == (scope["http_version"] if scope["http_version"].isascii() else "1.0")
    fields = {
        key.removeprefix("HTTP_").replace("_", "-").lower().encode(): value.encode("latin-1")
        for key, value in made.items()
        if key.startswith("HTTP_") or (key in ("CONTENT_TYPE", "CONTENT_LENGTH") and value)
    }
    assert dict(again["headers"]) == fields
    assert len(again["headers"]) == len(fields)

    path, root = scope["path"], plain_root(scope.get("root_path"))
    surrogates = any("\ud800" <= char <= "\udfff" for char in path + root)
    if path.startswith("/") and f"{path}/".startswith(f"{root}/") and not surrogates:
        assert (again["path"], again["root_path"]) == (path, root)
    raw_path = scope.get("raw_path")
    whole = (made["SCRIPT_NAME"] + made["PATH_INFO"]).encode("latin-1")
    well_formed = made["PATH_INFO"].startswith("/") or (made["SCRIPT_NAME"] and not made["PATH_INFO"])
    if well_formed and raw_path and raw_path.startswith(b"/") and b"?" not in raw_path:
        assert again.get("raw_path") == (raw_path if unquote_to_bytes(raw_path) == whole else None)

    once_more = maker.environ_from_scope(again)
    assert made == before
    same = [
        "QUERY_STRING",
        "CONTENT_LENGTH",
        *(key for key in {**made, **once_more} if key.startswith("HTTP_")),
    ]
    if well_formed and (is_utf8(whole) or "raw_path" in again):
        same += ["SCRIPT_NAME", "PATH_INFO"]
    if made.get("REMOTE_PORT"):
        same.append("REMOTE_PORT")
    assert [once_more.get(key) for key in same] == [made.get(key) for key in same]


def check_made_scope(made: dict[str, Any], given: dict[str, Any]) -> None:
    """What holds of all scopes, made of the environ *given*."""
    values = [value.decode("latin-1") for _, value in made["headers"]]
    assert not any(LINE_ENDS.intersection(value) for value in values)
    faults = {fault.rule for fault in scope_faults(made)}
    if any(CONTROLS.intersection(value) for value in values):
        faults.discard("scope-header-values")  # the server has let them pass
    assert not faults, faults


# From an environ to a scope

KEYS = [
    "HTTP_HOST", "HTTP_COOKIE", "HTTP_X_A", "HTTP_x_a", "HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE",
    "HTTP_TRANSFER_ENCODING", "HTTP_", "HTTP_A B", "HTTP_X-A", "HTTP_\u00c9", "HTTP_:PATH", "HTTP_PROXY",
    "HTTPS", "REMOTE_USER", "HTTP_X!Y", "HTTP_X__Y",
]  # fmt: skip
FIELD_VALUES: list[Any] = [
    "a", "", "5", "a.example", "\u00e9", "\u20ac", "a\rb", "\n", "\0", "chunked", "\x01", "\x85", "\ud800",
    None, 5, "\t",
]  # fmt: skip
PORTS: list[Any] = [
    "80", None, "", "0", "65535", "65536", "-1", "-", " 5", "5,5", "\u00b2", "9" * 30, "x", 8000, 70000, -1,
    "00080", "000080",
]  # fmt: skip
LENGTHS: list[Any] = [
    None, "", "5", "0", "05", "5,5", "5, 5", "5,6", "-1", "+5", "1_0", "\u00b2", "9" * 21, 7, " 5 ", ",",
]  # fmt: skip
PROTOCOLS = ["HTTP/1.1", "HTTP/1.0", "http/2", "HTTP/2.0", "HTTP/3", "INCLUDED", "", None]


def wire_text(c: Choices) -> str:
    """Bytes in characters of their own, or what is none."""
    if c.seldom():
        return raw_text(c)
    made = path_text(c)
    try:
        return made.encode("utf-8", "surrogateescape").decode("latin-1")
    except UnicodeEncodeError:
        return made


def targets_for(c: Choices, root: str, path: str) -> list[Any]:
    """Request targets of this path, and of others."""
    quoted = quote_from_bytes((root + path).encode("latin-1", "replace"), c.pick(["/", "", "/%", "/\xe9"]))
    return [
        quoted, quoted + "?a=b", f"http://a.example{quoted}", None, "*", "", f"/{quoted}", "\u20ac",
        f"http:{quoted}", "?",
    ]  # fmt: skip


def environ_for(c: Choices) -> dict[str, Any]:
    """An environ, in all the forms that servers and middleware give it, and in some that none should."""
    fields = c.several(lambda: (c.pick(KEYS), c.pick(FIELD_VALUES)), 5)
    if c.seldom():
        fields.append(("HTTP_" + c.raw(6).decode("latin-1"), c.raw(6).decode("latin-1")))
    root, path = wire_text(c), wire_text(c) + (c.raw(6).decode("latin-1") if c.seldom() else "")
    targets = targets_for(c, root, path)
    made: dict[str, Any] = {
        "REQUEST_METHOD": c.pick(["GET", "post", "HEAD", "\u00fc", "\u00df", "x-y"]),
        **dict(fields),
        "SCRIPT_NAME": root,
        "PATH_INFO": path,
        "REQUEST_URI": c.pick(targets),
        "RAW_URI": c.pick(targets),
        "QUERY_STRING": c.pick(["", None, "a=b", "\u00c3\u00a9", "\u20ac"]),
        "SERVER_NAME": c.pick(["a.example", "", None, "::1", "[::1]", "/run/s", "[", "[]", "\u00e9"]),
        "SERVER_PORT": c.pick(PORTS),
        "SERVER_PROTOCOL": c.pick(PROTOCOLS),
        "REMOTE_ADDR": c.pick(["192.0.2.1", "", None, "::1"]),
        "REMOTE_PORT": c.pick(PORTS),
        "CONTENT_TYPE": c.pick([None, "", "text/plain", "a\n", "\u20ac"]),
        "CONTENT_LENGTH": c.pick(LENGTHS),
        "wsgi.url_scheme": c.pick(["http", "https", "", None, "ws"]),
        "wsgi.early_hints": c.pick([None, print, "x"]),
        "wsgi.file_wrapper": c.pick([None, print]),
        "asgiadapt.debug": c.pick([None, print]),
    }
    if c.flag():
        made["SSL_PROTOCOL"] = c.pick([None, "", "TLSv1.3", "TLSv1", "x"])
        made["SSL_CLIENT_CERT"] = c.pick([None, "", "PEM", "\u00c3\u00a9", "\u00ff", "\u20ac"])
        made["SSL_CLIENT_S_DN"] = c.pick([None, "", "CN=a"])
        made["SSL_SERVER_CERT"] = c.pick([None, "PEM"])
    if c.flag():
        made = {key: value for key, value in made.items() if value is not None or key.startswith("HTTP_")}
    return made


def scope(data: bytes) -> None:
    """An environ becomes a scope, which becomes an environ again."""
    c = Choices(data)
    given = environ_for(c)
    copy = dict(given)
    expected, wrong = plain_scope(given)
    try:
        made = scope_from_environ(given)
    except Refusal as refusal:
        assert refusal.status == 400
        assert "400" in wrong, refusal
        return
    except ServerError as error:
        assert "server" in wrong, error
        return
    assert not wrong, wrong
    assert made == expected
    assert given == copy  # A2W-SCOPE-03
    assert made["extensions"]["asgiadapt.environ"] is given
    check_made_scope(made, given)
    check_way_forth(made, given)


def check_way_forth(made: dict[str, Any], given: dict[str, Any]) -> None:
    """RT-02 and RT-03: what the environ has said, the next one says too."""
    again = EnvironMaker({}, allowed_headers=["proxy"]).environ_from_scope(made)
    expected = {"QUERY_STRING": given.get("QUERY_STRING") or ""}
    root, path = given["SCRIPT_NAME"], given["PATH_INFO"]
    rooted = not root or (root.startswith("/") and not root.endswith("/"))
    well_formed = rooted and (path.startswith("/") or (root and not path))
    if well_formed and (is_utf8((root + path).encode("latin-1")) or "raw_path" in made):
        expected |= {"SCRIPT_NAME": root, "PATH_INFO": path}
    if given.get("CONTENT_TYPE"):
        expected["CONTENT_TYPE"] = given["CONTENT_TYPE"]
    if not {"HTTP_x_a", "HTTP_X-A"} & given.keys():  # which are the same as HTTP_X_A
        fields = {key: value for key, value in given.items() if key.startswith("HTTP_") and value is not None}
        others = ("HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH")
        expected |= {
            key: value
            for key, value in fields.items()
            if key == key.upper() and "-" not in key and key not in others
        }
    assert {key: again.get(key) for key in expected} == expected
