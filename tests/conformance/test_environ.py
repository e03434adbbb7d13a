"""W2A-ENV: the environ that is made of a scope, behind the standard library's validator."""

import copy
import io
import sys
import warnings
from enum import StrEnum
from http import HTTPMethod
from typing import Any
from wsgiref.validate import validator

import pytest

from asgiadapt import __version__
from tests.apps import Keeps, echoes, returns
from tests.conformance.rules import rule
from tests.fakes import connection, request
from tests.validated import OF_SERVERS, WsgiToAsgi


class Validated(Keeps):
    """Keeps the environ of a valid application that the validator looks after."""

    def __init__(self) -> None:
        super().__init__(returns([b"x"], headers=[("Content-Type", "text/plain")]))

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        self.calls += 1
        self.environ = dict(environ)  # the validator puts its own streams into the original
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of methods that it does not know
            return validator(self.app)(environ, start_response)


async def environ_of(options: dict[str, Any] | None = None, /, **scope: Any) -> dict[str, Any]:
    app = Validated()
    async with connection(WsgiToAsgi(app, **(options or {})), **scope) as opened:
        answer = await opened.result()
    assert answer.status == 200, answer.body
    return app.environ


ABSENT = object()
HOST = (b"host", b"testserver")


class Place(StrEnum):
    PAGE = "/page"
    ROOT = "/base"


def row(scope: dict[str, Any], environ: dict[str, Any], id: str) -> Any:
    return pytest.param(scope, environ, id=id)


ALWAYS = {
    "REQUEST_METHOD",
    "SCRIPT_NAME",
    "PATH_INFO",
    "QUERY_STRING",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "wsgi.version",
    "wsgi.url_scheme",
    "wsgi.input",
    "wsgi.errors",
    "wsgi.multithread",
    "wsgi.multiprocess",
    "wsgi.run_once",
}

ROWS = [
    # the scope has / the environ has
    row({}, {"REQUEST_METHOD": "GET"}, "W2A-ENV-04"),
    row(
        {},
        {
            "REMOTE_USER": ABSENT,
            "AUTH_TYPE": ABSENT,
            "REMOTE_IDENT": ABSENT,
            "PATH_TRANSLATED": ABSENT,
        },
        "W2A-ENV-06",
    ),
    row({"method": HTTPMethod.GET}, {"REQUEST_METHOD": "GET"}, "W2A-ENV-03-method"),
    row({"path": Place.PAGE}, {"PATH_INFO": "/page"}, "W2A-ENV-03-path"),
    row(
        {"root_path": Place.ROOT, "path": "/base/x"},
        {"SCRIPT_NAME": "/base", "PATH_INFO": "/x"},
        "W2A-ENV-03-root",
    ),
    row({"method": "PROPFIND"}, {"REQUEST_METHOD": "PROPFIND"}, "W2A-ENV-09"),
    row({"method": "get"}, {"REQUEST_METHOD": "get"}, "W2A-ENV-09-case"),
    row({"method": "X-private"}, {"REQUEST_METHOD": "X-private"}, "W2A-ENV-09-token"),
    row({"http_version": "1.0"}, {"SERVER_PROTOCOL": "HTTP/1.0"}, "W2A-ENV-10-1.0"),
    row({"http_version": "1.1"}, {"SERVER_PROTOCOL": "HTTP/1.1"}, "W2A-ENV-10"),
    row({"http_version": "2"}, {"SERVER_PROTOCOL": "HTTP/2"}, "W2A-ENV-11-OPEN-10"),
    row({"http_version": "3"}, {"SERVER_PROTOCOL": "HTTP/3"}, "W2A-ENV-11-3"),
    row(
        {"query_string": b"q=\xc3\xa9&x=%20"},
        {"QUERY_STRING": "q=\u00c3\u00a9&x=%20"},
        "W2A-ENV-12",
    ),
    row({"query_string": None}, {"QUERY_STRING": ""}, "W2A-ENV-12-none"),
    row({"query_string": b""}, {"QUERY_STRING": ""}, "W2A-ENV-12-empty"),
    row({"query_string": b"\xff"}, {"QUERY_STRING": "\u00ff"}, "W2A-ENV-12-high"),
    row({"scheme": "https"}, {"wsgi.url_scheme": "https", "HTTPS": "on"}, "W2A-ENV-14"),
    row({"scheme": "http"}, {"wsgi.url_scheme": "http", "HTTPS": ABSENT}, "W2A-ENV-13"),
    row({"scheme": None}, {"wsgi.url_scheme": "http", "HTTPS": ABSENT}, "W2A-ENV-13-none"),
    row({"scheme": ""}, {"wsgi.url_scheme": "http"}, "W2A-ENV-13-empty"),
    row(
        {"headers": [HOST, (b"x-forwarded-proto", b"https")]},
        {"wsgi.url_scheme": "http", "HTTP_X_FORWARDED_PROTO": "https"},
        "W2A-ENV-13-forged",
    ),
    # SCRIPT_NAME and PATH_INFO
    row(
        {"root_path": "/caf\u00e9", "path": "/caf\u00e9/x"},
        {"SCRIPT_NAME": "/caf\u00c3\u00a9", "PATH_INFO": "/x"},
        "W2A-ENV-15",
    ),
    row({"root_path": None}, {"SCRIPT_NAME": "", "PATH_INFO": "/"}, "W2A-ENV-15-none"),
    row({"root_path": "/", "path": "/x"}, {"SCRIPT_NAME": "", "PATH_INFO": "/x"}, "W2A-ENV-16"),
    row(
        {"root_path": "/api/", "path": "/api/x"},
        {"SCRIPT_NAME": "/api", "PATH_INFO": "/x"},
        "W2A-ENV-16-slash",
    ),
    row(
        {"root_path": "/api/", "path": "/api"},
        {"SCRIPT_NAME": "/api", "PATH_INFO": ""},
        "W2A-ENV-16-slash-only-there",
    ),
    row({"root_path": "//", "path": "//x"}, {"SCRIPT_NAME": "", "PATH_INFO": "//x"}, "W2A-ENV-16-slashes"),
    row(
        {"root_path": "api", "path": "/api/x"},
        {"SCRIPT_NAME": "/api", "PATH_INFO": "/x"},
        "W2A-ENV-17-OPEN-03",
    ),
    row(
        {"root_path": "/api", "path": "/api/x"},
        {"SCRIPT_NAME": "/api", "PATH_INFO": "/x"},
        "W2A-ENV-18",
    ),
    row(
        {"root_path": "/api", "path": "/api/x", "asgi": {"version": "3.0"}},
        {"SCRIPT_NAME": "/api", "PATH_INFO": "/x"},
        "W2A-ENV-18-version",
    ),
    row(
        {"root_path": "/api", "path": "/apix/y"},
        {"SCRIPT_NAME": "/api", "PATH_INFO": "/apix/y"},
        "W2A-ENV-19",
    ),
    row(
        {"root_path": "/api", "path": "/api"}, {"SCRIPT_NAME": "/api", "PATH_INFO": ""}, "W2A-ENV-20-OPEN-02"
    ),
    row(
        {"root_path": "/api", "path": "/api/"},
        {"SCRIPT_NAME": "/api", "PATH_INFO": "/"},
        "W2A-ENV-20-slash",
    ),
    row(
        {"root_path": "/api", "path": "/x"},
        {"SCRIPT_NAME": "/api", "PATH_INFO": "/x"},
        "W2A-ENV-21-OPEN-01",
    ),
    row(
        {"root_path": "/caf\u00e9", "path": "/caf\u00e9s"},
        {"SCRIPT_NAME": "/caf\u00c3\u00a9", "PATH_INFO": "/caf\u00c3\u00a9s"},
        "W2A-ENV-19-not-ascii",
    ),
    row({"path": ""}, {"SCRIPT_NAME": "", "PATH_INFO": "/"}, "W2A-ENV-22"),
    row({"path": "/a%25?"}, {"PATH_INFO": "/a%25?"}, "W2A-ENV-23"),
    row({"path": "//a/./../b"}, {"PATH_INFO": "//a/./../b"}, "W2A-ENV-23-as-it-is"),
    row(
        {"root_path": "/api", "path": "/api//a/../x"},
        {"PATH_INFO": "//a/../x"},
        "W2A-ENV-23-below-the-root",
    ),
    row(
        {"path": "/a/../b", "raw_path": b"/a/%2e%2e/b"},
        {"PATH_INFO": "/a/../b", "REQUEST_URI": "/a/%2e%2e/b"},
        "W2A-ENV-23-dots",
    ),
    row(
        {"path": "/\u65e5\u672c", "raw_path": b"/%E6%97%A5%E6%9C%AC"},
        {"PATH_INFO": "/\u65e5\u672c".encode().decode("latin-1")},
        "W2A-ENV-23-unicode",
    ),
    row(
        {"root_path": "/\udcff", "path": "/\udcff/\udcfe"},
        {"SCRIPT_NAME": "/\u00ff", "PATH_INFO": "/\u00fe"},
        "W2A-ENV-25-in-root",
    ),
    row({"path": "/\udcff\udce9"}, {"PATH_INFO": "/\u00ff\u00e9"}, "W2A-ENV-25"),
    row({"path": "/\ufffd", "raw_path": b"/%FF"}, {"PATH_INFO": "/\u00ff"}, "W2A-ENV-26-OPEN-04"),
    row(
        {"path": "/\ufffd", "raw_path": b"/other"},
        {"PATH_INFO": "/\u00ef\u00bf\u00bd"},
        "W2A-ENV-26-disagrees",
    ),
    row(
        {"path": "/\ufffd\ufffd", "raw_path": b"/%FF%FE"},
        {"PATH_INFO": "/\u00ff\u00fe", "REQUEST_URI": "/%FF%FE"},
        "W2A-ENV-26-two",
    ),
    row(
        {"path": "/\ufffd", "raw_path": b"/%EF%BF%BD"},
        {"PATH_INFO": "/\u00ef\u00bf\u00bd"},
        "W2A-ENV-26-really-that-character",
    ),
    row(
        {"root_path": "/caf\ufffd", "path": "/caf\ufffd/x", "raw_path": b"/caf%E9/x"},
        {"PATH_INFO": "/x"},
        "W2A-ENV-26-root",
    ),
    row(
        {"root_path": "/\ufffd", "path": "/\ufffdx/y", "raw_path": b"/%FFx/y"},
        {"SCRIPT_NAME": "/\u00ef\u00bf\u00bd", "PATH_INFO": "/\u00ffx/y"},
        "W2A-ENV-26-not-the-root",
    ),
    row({"path": "/\ufffd"}, {"PATH_INFO": "/\u00ef\u00bf\u00bd"}, "W2A-ENV-26-unknown"),
    row(
        {"raw_path": b"/a%2Fb", "path": "/a/b", "query_string": b"c=d"},
        {"REQUEST_URI": "/a%2Fb?c=d", "RAW_URI": "/a%2Fb?c=d"},
        "W2A-ENV-27",
    ),
    row({"raw_path": b"/a"}, {"REQUEST_URI": "/a"}, "W2A-ENV-27-no-query"),
    row(
        {"raw_path": b"/a?c=d", "query_string": b"c=d"},
        {"REQUEST_URI": "/a?c=d"},
        "W2A-ENV-27-query-in-path",
    ),
    row({"raw_path": None}, {"REQUEST_URI": ABSENT, "RAW_URI": ABSENT}, "W2A-ENV-27-unknown"),
    # Headers
    row({"headers": [(b"x-a-b", b"\xe9")]}, {"HTTP_X_A_B": "\u00e9"}, "W2A-ENV-28"),
    row({"headers": [(b"x", b"")]}, {"HTTP_X": ""}, "W2A-ENV-28-empty"),
    row(
        {"headers": [(b"Content-Type", b"a/b"), (b"CONTENT-LENGTH", b"0")]},
        {"CONTENT_TYPE": "a/b", "CONTENT_LENGTH": "0"},
        "W2A-ENV-29",
    ),
    row(
        {"headers": [(b"content-type", b"a/b"), (b"content-length", b"0")]},
        {"HTTP_CONTENT_TYPE": ABSENT, "HTTP_CONTENT_LENGTH": ABSENT},
        "W2A-ENV-30",
    ),
    row(
        {"headers": [(b"content_type", b"a/b"), (b"content_length", b"7")]},
        {
            "HTTP_CONTENT_TYPE": ABSENT,
            "HTTP_CONTENT_LENGTH": ABSENT,
            "CONTENT_TYPE": ABSENT,
            "CONTENT_LENGTH": ABSENT,
        },
        "W2A-ENV-30-underscore",
    ),
    row({}, {"CONTENT_TYPE": ABSENT, "CONTENT_LENGTH": ABSENT}, "W2A-ENV-31"),
    row(
        {"headers": [(b"a", b"2"), (b"b", b""), (b"A", b"1, 3"), (b"a", b"")]},
        {"HTTP_A": "2,1, 3,", "HTTP_B": ""},
        "W2A-ENV-32",
    ),
    row(
        {"headers": [(b"x", b"1"), (b"y", b"-"), (b"X", b"2"), (b"x", b"3")]},
        {"HTTP_X": "1,2,3"},
        "W2A-ENV-33-OPEN-05",
    ),
    row(
        {"headers": [(b"cookie", b"a=1"), (b"Cookie", b"b=2")]},
        {"HTTP_COOKIE": "a=1; b=2"},
        "W2A-ENV-34",
    ),
    row(
        {"headers": [(b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"cookie", b"c=3")], "http_version": "2"},
        {"HTTP_COOKIE": "a=1; b=2; c=3"},
        "W2A-ENV-34-http-2",
    ),
    row({"headers": [(b"x_y", b"1"), (b"x-y", b"2")]}, {"HTTP_X_Y": "2"}, "W2A-ENV-36-OPEN-06"),
    row(
        {
            "headers": [
                (b"x-forwarded-for", b"proxy"),
                (b"x_forwarded_for", b"evil"),
                (b"X_Forwarded-For", b"evil"),
            ]
        },
        {"HTTP_X_FORWARDED_FOR": "proxy"},
        "W2A-ENV-36-forged",
    ),
    row(
        {"headers": [(b"x y", b"1"), (b"", b"2"), (b"x\n", b""), (b"x:", b""), (b"x\0", b"")]},
        dict.fromkeys(["HTTP_X Y", "HTTP_", "HTTP_X\n", "HTTP_X:", "HTTP_X\0", "HTTP_X"], ABSENT),
        "W2A-ENV-36-token",
    ),
    row(
        {"headers": [(b"content-length", b"0"), (b"content-length", b"0, 0")]},
        {"CONTENT_LENGTH": "0"},
        "W2A-ENV-37-OPEN-07",
    ),
    row({"headers": [HOST, HOST]}, {"HTTP_HOST": "testserver"}, "W2A-ENV-38-OPEN-07"),
    row(
        {"headers": [(b"content-type", b"a/b"), (b"content-type", b"a/b")]},
        {"CONTENT_TYPE": "a/b"},
        "W2A-ENV-39-OPEN-07",
    ),
    row(
        {"headers": [(b"content-length", b"5"), (b"transfer-encoding", b"chunked")]},
        {"CONTENT_LENGTH": ABSENT, "HTTP_TRANSFER_ENCODING": "chunked"},
        "W2A-ENV-40",
    ),
    row(
        {"headers": [(b"connection", b"x"), (b"te", b"y"), (b"upgrade", b"z"), (b"expect", b"e")]},
        {"HTTP_CONNECTION": "x", "HTTP_TE": "y", "HTTP_UPGRADE": "z", "HTTP_EXPECT": "e"},
        "W2A-ENV-41-OPEN-44",
    ),
    row(
        {"headers": [(b":authority", b"a.example"), (b":path", b"/")]},
        {"HTTP_HOST": "a.example", "HTTP_:PATH": ABSENT, ":authority": ABSENT},
        "W2A-ENV-42",
    ),
    row({"headers": [(b":authority", b"a"), HOST]}, {"HTTP_HOST": "testserver"}, "W2A-ENV-42-host"),
    row({"headers": [(b"proxy", b"evil")]}, {"HTTP_PROXY": ABSENT}, "W2A-ENV-43-OPEN-12"),
    row({"headers": [(b"PROXY", b"evil"), (b"proxy", b"evil")]}, {"HTTP_PROXY": ABSENT}, "W2A-ENV-43-case"),
    row({"headers": [(b"authorization", b"Basic x")]}, {"HTTP_AUTHORIZATION": "Basic x"}, "W2A-ENV-44"),
    row(
        {"headers": [(b"script-name", b"/x")]},
        {"SCRIPT_NAME": "", "HTTP_SCRIPT_NAME": "/x"},
        "W2A-ENV-44-cgi",
    ),
    row(
        {
            "headers": [
                (name, b"evil")
                for name in (
                    b"remote-user",
                    b"REMOTE-ADDR",
                    b"server-name",
                    b"https",
                    b"path-info",
                    b"wsgi.input",
                )
            ]
        },
        {
            "REMOTE_USER": ABSENT,
            "REMOTE_ADDR": "192.0.2.1",
            "SERVER_NAME": "testserver",
            "HTTPS": ABSENT,
            "PATH_INFO": "/",
            "HTTP_REMOTE_USER": "evil",
            "HTTP_HTTPS": "evil",
            "HTTP_WSGI.INPUT": "evil",
        },
        "W2A-ENV-44-nothing-but-http-keys",
    ),
    row(
        {"headers": [(b"x\xb5", b"1"), (b"\xff", b"2"), (b"x\xdf", b"3")]},
        dict.fromkeys(
            ["HTTP_X\u039c", "HTTP_X\u00b5", "HTTP_\u0178", "HTTP_\u00ff", "HTTP_XSS", "HTTP_X\u00df"], ABSENT
        ),
        "W2A-ENV-46",
    ),
    # Endpoints
    row({"server": ("a.example", 8000)}, {"SERVER_NAME": "a.example", "SERVER_PORT": "8000"}, "W2A-ENV-47"),
    row(
        {"server": ["a.example", 8000]},
        {"SERVER_NAME": "a.example", "SERVER_PORT": "8000"},
        "W2A-ENV-47-list",
    ),
    row({"server": ("", 80)}, {"SERVER_NAME": "localhost", "SERVER_PORT": "80"}, "W2A-ENV-47-no-name"),
    row({"server": ("a", "")}, {"SERVER_PORT": "80"}, "W2A-ENV-47-no-port"),
    row({"server": None}, {"SERVER_NAME": "localhost", "SERVER_PORT": "80"}, "W2A-ENV-48-OPEN-08"),
    row({"server": None, "scheme": "https"}, {"SERVER_PORT": "443"}, "W2A-ENV-48-https"),
    row(
        {"server": ["/run/s", None]}, {"SERVER_NAME": "localhost", "SERVER_PORT": "80"}, "W2A-ENV-49-OPEN-08"
    ),
    row(
        {"server": ("/run/a:b", None), "scheme": "https"},
        {"SERVER_NAME": "localhost", "SERVER_PORT": "443"},
        "W2A-ENV-49-https",
    ),
    row({"server": ("::1", 80)}, {"SERVER_NAME": "[::1]"}, "W2A-ENV-50-OPEN-09"),
    row({"server": ("[::1]", 80)}, {"SERVER_NAME": "[::1]"}, "W2A-ENV-50-brackets"),
    row({"server": ("a", "8000")}, {"SERVER_PORT": "8000"}, "W2A-ENV-47-str"),
    row({"client": ("::1", 5)}, {"REMOTE_ADDR": "::1", "REMOTE_PORT": "5"}, "W2A-ENV-51"),
    row({"client": None}, {"REMOTE_ADDR": ABSENT, "REMOTE_PORT": ABSENT}, "W2A-ENV-52"),
    row({"client": ("", 5)}, {"REMOTE_ADDR": ABSENT, "REMOTE_PORT": ABSENT}, "W2A-ENV-52-empty"),
    row(
        {"client": ("192.0.2.1", None)},
        {"REMOTE_ADDR": "192.0.2.1", "REMOTE_PORT": ABSENT},
        "W2A-ENV-52-port",
    ),
    row({"client": ("192.0.2.1", 0)}, {"REMOTE_PORT": "0"}, "W2A-ENV-52-zero"),
    row({}, {"REMOTE_HOST": ABSENT}, "W2A-ENV-53"),
    # WSGI variables
    row({}, {"wsgi.version": (1, 0)}, "W2A-ENV-54"),
    row({}, {"wsgi.multithread": True}, "W2A-ENV-56"),
    row({}, {"wsgi.multiprocess": True}, "W2A-ENV-57-OPEN-11"),
    row({}, {"wsgi.run_once": False}, "W2A-ENV-58"),
    row({}, {"wsgi.input_terminated": True}, "W2A-ENV-59"),
    row({}, {"SERVER_SOFTWARE": f"asgiadapt/{__version__}", "GATEWAY_INTERFACE": "CGI/1.1"}, "W2A-ENV-64"),
    row({}, {"wsgi.early_hints": ABSENT}, "W2A-ENV-62"),
    row(
        {
            "scheme": "https",
            "extensions": {
                "tls": {
                    "server_cert": "server",
                    "tls_version": 0x0304,
                    "cipher_suite": None,
                    "client_cert_chain": iter(["client", "ca"]),
                    "client_cert_name": "CN=me",
                }
            },
        },
        {
            "SSL_PROTOCOL": "TLSv1.3",
            "SSL_CLIENT_CERT": "client",
            "SSL_CLIENT_S_DN": "CN=me",
            "SSL_SERVER_CERT": "server",
        },
        "W2A-ENV-63",
    ),
    row(
        {"extensions": {"tls": {"tls_version": 0x0303, "client_cert_chain": []}}},
        {"SSL_PROTOCOL": "TLSv1.2", "SSL_CLIENT_CERT": ABSENT},
        "W2A-ENV-63-1.2",
    ),
    row({"extensions": {"tls": {"tls_version": 0x7F1C}}}, {"SSL_PROTOCOL": ABSENT}, "W2A-ENV-63-unknown"),
    row(
        {"extensions": {"tls": {"server_cert": None, "tls_version": None, "cipher_suite": None}}},
        {"SSL_PROTOCOL": ABSENT, "SSL_CLIENT_CERT": ABSENT, "SSL_SERVER_CERT": ABSENT},
        "W2A-ENV-63-none",
    ),
]


@pytest.mark.parametrize(("scope", "expected"), ROWS)
async def test_the_environ_has_what_the_scope_says(scope: dict[str, Any], expected: dict[str, Any]) -> None:
    """Each entry; what is always there (W2A-ENV-04); no key without a dot but of native text (W2A-ENV-03)."""
    environ = await environ_of({"ignore": OF_SERVERS}, **scope)
    assert environ.keys() >= ALWAYS
    for key, value in expected.items():
        assert environ.get(key, ABSENT) == value
    for key, value in environ.items():
        key.encode("latin-1")
        if "." not in key:
            assert type(value) is str, key
            value.encode("latin-1")


@pytest.mark.parametrize(
    "scope",
    [
        pytest.param(
            {"headers": [(b"content-length", b"5"), (b"content-length", b"7")]}, id="W2A-ENV-37-differ"
        ),
        pytest.param({"headers": [(b"content-length", b"5,7")]}, id="W2A-ENV-37-list"),
        pytest.param({"headers": [(b"content-length", b"-1")]}, id="W2A-ENV-37-sign"),
        pytest.param({"headers": [(b"content-length", b"+5")]}, id="W2A-ENV-37-plus"),
        pytest.param({"headers": [(b"content-length", b"5 6")]}, id="W2A-ENV-37-space"),
        pytest.param({"headers": [(b"content-length", b"1_0")]}, id="W2A-ENV-37-underscore"),
        pytest.param({"headers": [(b"content-length", b"")]}, id="W2A-ENV-37-empty"),
        pytest.param({"headers": [(b"content-length", b"\xb2")]}, id="W2A-ENV-37-no-digit"),
        pytest.param({"headers": [(b"content-length", b"5,")]}, id="W2A-ENV-37-trailing-comma"),
        pytest.param({"headers": [(b"content-length", b"0x5")]}, id="W2A-ENV-37-hexadecimal"),
        # The validator and applications call int(), which refuses some thousand digits (W2A-ENV-08).
        pytest.param({"headers": [(b"content-length", b"9" * 5000)]}, id="W2A-ENV-37-endless"),
        pytest.param({"headers": [HOST, (b"host", b"other")]}, id="W2A-ENV-38-differ"),
        pytest.param(
            {"headers": [(b"content-type", b"a/b"), (b"content-type", b"c/d")]},
            id="W2A-ENV-39-differ",
        ),
        pytest.param({"headers": [(b"x", b"a\r\nb")]}, id="W2A-ENV-45-crlf"),
        pytest.param({"headers": [(b"x", b"a\nb")]}, id="W2A-ENV-45-lf"),
        pytest.param({"headers": [(b"x", b"a\rb")]}, id="W2A-ENV-45-cr"),
        pytest.param({"headers": [(b"x", b"a\0b")]}, id="W2A-ENV-45-nul"),
        pytest.param({"path": "/\ud800"}, id="W2A-ENV-25-surrogate"),
        pytest.param({"root_path": "/\ud800", "path": "/x"}, id="W2A-ENV-25-root"),
        pytest.param({"method": "\ud800"}, id="W2A-ENV-25-method"),
        pytest.param({"headers": [("text", "text")]}, id="W2A-ENV-02-text"),
        pytest.param({"headers": [(b"x",)]}, id="W2A-ENV-02-no-pair"),
        pytest.param({"headers": None}, id="W2A-ENV-02-none"),
        pytest.param({"path": 5}, id="W2A-ENV-02-path"),
        pytest.param({"path": b"/x"}, id="W2A-ENV-03-path-bytes"),
        pytest.param({"root_path": b"/x"}, id="W2A-ENV-03-root-bytes"),
        pytest.param({"method": b"GET"}, id="W2A-ENV-03-method-bytes"),
        pytest.param({"query_string": "text"}, id="W2A-ENV-03-query-text"),
        pytest.param({"client": (b"192.0.2.1", 5)}, id="W2A-ENV-03-client-bytes"),
        pytest.param({"client": ("a", 1, 2)}, id="W2A-ENV-02-client"),
    ],
)
async def test_what_cannot_be_mapped_gets_400(scope: dict[str, Any]) -> None:
    """The application is not called, nothing is raised."""
    app = Keeps()
    async with connection(WsgiToAsgi(app, ignore=OF_SERVERS), **scope) as opened:
        answer = await opened.result()
    assert answer.status == 400
    assert answer.body.startswith(b"400 Bad Request: ")
    assert app.calls == 0


@pytest.mark.parametrize(
    ("options", "headers", "status"),
    [
        pytest.param({"max_header_count": 3}, [(b"x", b"")] * 3, 200, id="count"),
        pytest.param({"max_header_count": 3}, [(b"x", b"")] * 4, 431, id="count-over"),
        pytest.param({"max_header_bytes": 10}, [(b"x", b"123456789")], 200, id="bytes"),
        pytest.param({"max_header_bytes": 10}, [(b"x", b"1234567890")], 431, id="bytes-over"),
        pytest.param({}, [(b"x", b"1")] * 60_000, 431, id="default"),
    ],
)
async def test_header_limits(
    options: dict[str, Any], headers: list[tuple[bytes, bytes]], status: int
) -> None:
    """What goes over them gets 431 and does not reach the application."""
    app = Keeps()
    async with connection(WsgiToAsgi(app, **options), headers=headers) as opened:
        answer = await opened.result()
    assert answer.status == status
    if status == 431:
        assert answer.body.startswith(b"431 Request Header Fields Too Large: at most ")
    assert app.calls == (status == 200)


@rule("W2A-ENV-35")
async def test_many_equal_headers_take_linear_time(_rule: None) -> None:
    """A hundred thousand of them are joined once; joining one by one does not end within the limit."""
    headers = [(b"x", b"y" * 100)] * 100_000
    # The validator would look at each of them, in more time than the adapter takes.
    options = {"max_header_count": 10**6, "max_header_bytes": 10**9, "validated": False}
    environ = await environ_of(options, headers=headers)
    assert environ["HTTP_X"].count(",") == 99_999


@rule("W2A-ENV-01")
async def test_the_environ_is_the_applications_own(_rule: None) -> None:
    """A new dict each time; what the application does to it reaches nobody."""
    environs: list[dict[str, Any]] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        assert type(environ) is dict
        environs.append(dict(environ))
        environ.clear()
        start_response("200 OK", [])
        return [b"x"]

    adapter = WsgiToAsgi(app)
    for _ in range(2):
        assert (await request(adapter)).body == b"x"
    first, second = environs
    assert first.keys() == second.keys()
    assert first["wsgi.input"] is not second["wsgi.input"]


@rule("W2A-ENV-02")
async def test_the_scope_is_left_as_it_is_and_may_hold_any_iterables(_rule: None) -> None:
    """Lists for tuples, and an iterator that can be used once (the validator would make a list of it)."""
    app = Validated()
    headers = [[b"host", b"a"], [b"x", b"y"]]
    async with connection(WsgiToAsgi(app, validated=False), headers=iter(headers), state={"a": 1}) as opened:
        before = {key: value for key, value in opened.scope.items() if key != "headers"}
        await opened.result()
        assert {key: value for key, value in opened.scope.items() if key != "headers"} == before
    assert app.environ["HTTP_X"] == "y"


@rule("W2A-ENV-02-scope")
async def test_what_the_application_changes_does_not_reach_the_scope(_rule: None) -> None:
    """Nor does the adapter change any part of it."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        for key in [key for key in environ if not key.startswith("asgiadapt")]:
            environ[key] = "changed"
        environ["HTTP_ADDED"] = "added"
        start_response("200 OK", [])
        return [b"x"]

    scope: dict[str, Any] = {
        "headers": [(b"host", b"a"), (b"cookie", b"b"), (b"cookie", b"c"), (b"Proxy", b"d")],
        "extensions": {"tls": {"tls_version": 0x0304, "client_cert_chain": ["e"]}},
        "state": {"f": [1]},
        "raw_path": b"/",
        "root_path": "/api/",
    }
    async with connection(WsgiToAsgi(app, ignore=OF_SERVERS), **scope) as opened:
        before = copy.deepcopy(opened.scope)
        await opened.result()
        assert opened.scope == before


@rule("W2A-ENV-08")
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "DELETE"])
async def test_the_validator_finds_nothing(_rule: None, method: str, scheme: str) -> None:
    """No assertion and no warning, while the application uses all that there is."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        source, errors = environ["wsgi.input"], environ["wsgi.errors"]
        parts = [source.read(1), source.readline(), *source.readlines(), *source, source.read(5)]
        errors.write("")
        errors.writelines([""])
        errors.flush()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"".join(parts)]

    answer = await request(WsgiToAsgi(validator(app)), b"a\nb", b"c\n", b"d", method=method, scheme=scheme)
    assert (answer.status, answer.body) == (200, b"a\nbc\nd")


@rule("W2A-ENV-41-body")
async def test_the_body_is_not_de_chunked_again(_rule: None) -> None:
    """Transfer-Encoding crosses, and what looks like chunks in the body is its content."""
    app = Keeps(echoes)
    body = b"5\r\nhello\r\n0\r\n\r\n"
    assert (await request(WsgiToAsgi(app), body)).body == body
    assert app.environ["HTTP_TRANSFER_ENCODING"] == "chunked"


@rule("W2A-ENV-05")
async def test_a_minimal_scope_is_enough(_rule: None) -> None:
    """Every other key has its default."""
    app = Validated()
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "headers": [],
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(event: Any) -> None:
        sent.append(event)

    await WsgiToAsgi(app, ignore={"scope-required"})(scope, receive, send)
    assert sent[0]["status"] == 200
    expected = {
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
    }
    assert app.environ.items() >= expected.items()
    assert not app.environ.keys() & {"HTTPS", "REMOTE_ADDR", "REMOTE_PORT", "REQUEST_URI", "RAW_URI"}


@rule("W2A-ENV-05-none")
async def test_optional_keys_may_be_none(_rule: None) -> None:
    """As if they were missing."""
    names = ["scheme", "root_path", "raw_path", "client", "server", "extensions", "asgi"]
    environ = await environ_of({"ignore": OF_SERVERS}, **dict.fromkeys(names))
    assert environ["wsgi.url_scheme"] == "http"
    assert (environ["SCRIPT_NAME"], environ["SERVER_NAME"]) == ("", "localhost")


@rule("W2A-ENV-07-mounts")
@pytest.mark.parametrize("root", ["", "/one", "/two"])
async def test_each_mount_keeps_its_own_prefix(
    _rule: None, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the process environment says."""
    monkeypatch.setenv("SCRIPT_NAME", "/forged")
    environ = await environ_of(root_path=root, path=f"{root}/x")
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == (root, "/x")


@rule("W2A-ENV-07")
async def test_nothing_comes_from_the_process_environment(
    _rule: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But an option adds entries, which the request's own go over."""
    monkeypatch.setenv("SCRIPT_NAME", "/forged")
    monkeypatch.setenv("ONLY_IN_PROCESS", "1")
    options = {"environ": {"DEPLOYED": "yes", "REQUEST_METHOD": "NONE"}}
    environ = await environ_of(options)
    assert environ["SCRIPT_NAME"] == ""
    assert "ONLY_IN_PROCESS" not in environ
    assert (environ["DEPLOYED"], environ["REQUEST_METHOD"]) == ("yes", "GET")


@rule("W2A-ENV-24-OPEN-42")
async def test_the_asterisk_target_is_passed_on(_rule: None) -> None:
    """The one path that the validator would not take."""
    app = Keeps()
    async with connection(WsgiToAsgi(app), method="OPTIONS", path="*") as opened:
        await opened.result()
    assert app.environ["PATH_INFO"] == "*"


@rule("W2A-ENV-36-allowed")
async def test_allowed_names_cross(_rule: None) -> None:
    """Underscores by name, joined with what collides; Proxy too; the others still do not."""
    environ = await environ_of(
        {"allowed_headers": ["X_User", "proxy"], "ignore": {"scope-header-names"}},
        headers=[(b"x_user", b"a"), (b"X-User", b"b"), (b"x_other", b"c"), (b"Proxy", b"d")],
    )
    assert environ["HTTP_X_USER"] == "a,b"
    assert environ["HTTP_PROXY"] == "d"
    assert "HTTP_X_OTHER" not in environ


@rule("W2A-ENV-55")
async def test_the_error_stream_takes_any_text(
    _rule: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes to what sys.stderr is at the time; what that cannot take is escaped."""
    errors = (await environ_of())["wsgi.errors"]
    errors.write("one \u20ac\n")
    errors.writelines(["two\n", "three\n"])
    errors.flush()
    assert capsys.readouterr().err == "one \u20ac\ntwo\nthree\n"
    narrow = io.TextIOWrapper(raw := io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stderr", narrow)
    errors.write("\u20ac\udcff")
    errors.flush()
    assert raw.getvalue() == b"\\u20ac\\udcff"
    monkeypatch.setattr(sys, "stderr", None)
    errors.write("nobody hears this")
    errors.flush()
    with pytest.raises(TypeError, match="takes text"):
        errors.write(b"bytes")


@rule("W2A-ENV-55-option")
async def test_the_error_stream_can_be_replaced(_rule: None) -> None:
    """By any stream."""
    stream = io.StringIO()
    assert (await environ_of({"errors": stream}))["wsgi.errors"] is stream


@rule("W2A-ENV-56-single")
async def test_a_single_worker_is_told(_rule: None) -> None:
    """wsgi.multithread and, by option, wsgi.multiprocess say what is so."""
    environ = await environ_of({"max_workers": 1, "multiprocess": False})
    assert (environ["wsgi.multithread"], environ["wsgi.multiprocess"]) == (False, False)


@rule("W2A-ENV-61-OPEN-38")
async def test_the_scope_can_be_reached(_rule: None) -> None:
    """Under the project's own name, the very object."""
    app = Keeps()
    async with connection(WsgiToAsgi(app)) as opened:
        await opened.result()
        assert app.environ["asgiadapt.scope"] is opened.scope


@rule("W2A-ENV-62-offered")
async def test_early_hints_are_offered_where_the_server_sends_them(_rule: None) -> None:
    """As something to call."""
    environ = await environ_of(extensions={"http.response.early_hint": {}})
    assert callable(environ["wsgi.early_hints"])


@rule("W2A-ENV-60")
async def test_a_file_wrapper_is_offered(_rule: None) -> None:
    """And can be called."""
    assert callable((await environ_of())["wsgi.file_wrapper"])


async def test_no_name_that_a_client_makes_up_stays_in_memory() -> None:
    """The table of header names is bounded."""
    adapter = WsgiToAsgi(Keeps())
    for start in range(0, 3000, 1000):
        headers = [(b"x-%d" % n, b"") for n in range(start, start + 1000)]
        async with connection(adapter, headers=headers) as opened:
            await opened.result()
    assert len(adapter._environs._keys) <= 1024
