"""A2W-SCOPE: the scope that is made of an environ, behind the standard library's validator."""

from typing import Any

import pytest

from asgiadapt import ServerError
from tests.asgi_apps import Keeps, answers, says_hello, with_lifespan
from tests.conformance.rules import rule
from tests.validated import AsgiToWsgi
from tests.wsgi_fakes import ABSENT, Answer, FedInput, Input, call, environ_for


def scope_of(*, validated: bool = True, **environ: Any) -> dict[str, Any]:
    app = Keeps(answers())
    answer = call(AsgiToWsgi(app), validated=validated, **environ)
    assert answer.status == 200, answer.body
    return app.scope


def row(environ: dict[str, Any], scope: dict[str, Any], id: str) -> Any:
    return pytest.param(environ, scope, id=id)


HTTPS = {"wsgi.url_scheme": "https", "HTTPS": "on"}

ROWS = [
    # the environ has / the scope has
    row({}, {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.5"}}, "A2W-SCOPE-01-02-OPEN-25"),
    row({"SERVER_PROTOCOL": "HTTP/1.0"}, {"http_version": "1.0"}, "A2W-SCOPE-04-1.0"),
    row({"SERVER_PROTOCOL": "HTTP/1.1"}, {"http_version": "1.1"}, "A2W-SCOPE-04"),
    row({"SERVER_PROTOCOL": "HTTP/2"}, {"http_version": "2"}, "A2W-SCOPE-04-2"),
    row({"SERVER_PROTOCOL": "HTTP/2.0"}, {"http_version": "2"}, "A2W-SCOPE-04-2.0"),
    row({"SERVER_PROTOCOL": "http/1.1"}, {"http_version": "1.1"}, "A2W-SCOPE-04-case"),
    row({"SERVER_PROTOCOL": "Http/2"}, {"http_version": "2"}, "A2W-SCOPE-04-case-2"),
    row({"SERVER_PROTOCOL": "HTTP/3"}, {"http_version": "3"}, "A2W-SCOPE-05-OPEN-37"),
    row({"SERVER_PROTOCOL": "HTTP/3.0"}, {"http_version": "3"}, "A2W-SCOPE-05-3.0"),
    row({"SERVER_PROTOCOL": "INCLUDED"}, {"http_version": "1.0"}, "A2W-SCOPE-05-included"),
    row({"SERVER_PROTOCOL": ""}, {"http_version": "1.0"}, "A2W-SCOPE-05-empty"),
    row({"SERVER_PROTOCOL": ABSENT}, {"http_version": "1.0"}, "A2W-SCOPE-05-missing"),
    row({"SERVER_PROTOCOL": "HTTP/x.y"}, {"http_version": "1.0"}, "A2W-SCOPE-05-unreadable"),
    row({"REQUEST_METHOD": "PUT"}, {"method": "PUT"}, "A2W-SCOPE-06"),
    row({"wsgi.url_scheme": "http"}, {"scheme": "http"}, "A2W-SCOPE-07"),
    row(HTTPS, {"scheme": "https"}, "A2W-SCOPE-07-https"),
    row({"HTTP_X_FORWARDED_PROTO": "https"}, {"scheme": "http"}, "A2W-SCOPE-07-forged"),
    # Paths
    row({"SCRIPT_NAME": "/api"}, {"root_path": "/api"}, "A2W-SCOPE-08"),
    row({"SCRIPT_NAME": "/caf\u00c3\u00a9"}, {"root_path": "/caf\u00e9"}, "A2W-SCOPE-08-text"),
    row({"SCRIPT_NAME": "/api/", "PATH_INFO": "/x"}, {"root_path": "/api"}, "A2W-SCOPE-08-slash"),
    row({"SCRIPT_NAME": "/api//", "PATH_INFO": "/x"}, {"root_path": "/api"}, "A2W-SCOPE-08-slashes"),
    row(
        {"SCRIPT_NAME": "/api", "PATH_INFO": "/caf\u00c3\u00a9"},
        {"path": "/api/caf\u00e9", "root_path": "/api"},
        "A2W-SCOPE-09",
    ),
    row(
        {"SCRIPT_NAME": "/\u00e6\u0097\u00a5", "PATH_INFO": "/\u00f0\u009f\u008d\u0095"},
        {"path": "/\u65e5/\U0001f355", "root_path": "/\u65e5"},
        "A2W-SCOPE-09-text",
    ),
    row({"SCRIPT_NAME": "", "PATH_INFO": "/x"}, {"path": "/x", "root_path": ""}, "A2W-SCOPE-09-no-root"),
    row({"PATH_INFO": "//x//y/../z/"}, {"path": "//x//y/../z/"}, "A2W-SCOPE-09-as-it-is"),
    row({"SCRIPT_NAME": "", "PATH_INFO": ""}, {"path": "/", "root_path": ""}, "A2W-SCOPE-10"),
    row({"SCRIPT_NAME": "/api", "PATH_INFO": ""}, {"path": "/api", "root_path": "/api"}, "A2W-SCOPE-10-root"),
    row({"SCRIPT_NAME": "/api/", "PATH_INFO": "/x"}, {"path": "/api/x"}, "A2W-SCOPE-11"),
    row({"SCRIPT_NAME": "/api", "PATH_INFO": "/"}, {"path": "/api/"}, "A2W-SCOPE-11-slash"),
    row({"PATH_INFO": "/a%25"}, {"path": "/a%25"}, "A2W-SCOPE-12"),
    row({"PATH_INFO": "/a%2Fb?c+d;e"}, {"path": "/a%2Fb?c+d;e"}, "A2W-SCOPE-12-more"),
    row({"SCRIPT_NAME": "/a%20b", "PATH_INFO": ""}, {"root_path": "/a%20b"}, "A2W-SCOPE-12-root"),
    row({"PATH_INFO": "/\u00ff"}, {"path": "/\ufffd"}, "A2W-SCOPE-13-OPEN-04"),
    row({"PATH_INFO": "/\u00ff\u00fe"}, {"path": "/\ufffd\ufffd"}, "A2W-SCOPE-13-two"),
    row({"PATH_INFO": "/\u00c3"}, {"path": "/\ufffd"}, "A2W-SCOPE-13-cut"),
    row(
        {"SCRIPT_NAME": "/\u00e9", "PATH_INFO": "/x"},
        {"root_path": "/\ufffd", "path": "/\ufffd/x"},
        "A2W-SCOPE-13-root",
    ),
    # The target as the client has sent it
    row({"PATH_INFO": "/a/b", "REQUEST_URI": "/a%2Fb"}, {"raw_path": b"/a%2Fb"}, "A2W-SCOPE-14-OPEN-26"),
    row({"PATH_INFO": "/a/b", "RAW_URI": "/a%2Fb"}, {"raw_path": b"/a%2Fb"}, "A2W-SCOPE-14-RAW_URI"),
    row({"PATH_INFO": "/a/b", "REQUEST_URI": "/a%2Fb?c=/d"}, {"raw_path": b"/a%2Fb"}, "A2W-SCOPE-14-query"),
    row({"PATH_INFO": "/a?b", "REQUEST_URI": "/a%3Fb?"}, {"raw_path": b"/a%3Fb"}, "A2W-SCOPE-14-mark"),
    row(
        {"SCRIPT_NAME": "/api", "PATH_INFO": "/x y", "REQUEST_URI": "/api/x%20y"},
        {"raw_path": b"/api/x%20y", "path": "/api/x y"},
        "A2W-SCOPE-14-root",
    ),
    row(
        {"PATH_INFO": "/a/b", "REQUEST_URI": "http://testserver/a%2Fb?c"},
        {"raw_path": b"/a%2Fb"},
        "A2W-SCOPE-14-absolute",
    ),
    row(
        {**HTTPS, "PATH_INFO": "/a", "RAW_URI": "https://testserver:443/%61"},
        {"raw_path": b"/%61"},
        "A2W-SCOPE-14-absolute-port",
    ),
    row({"PATH_INFO": "//a/b", "REQUEST_URI": "//a/b"}, {"raw_path": b"//a/b"}, "A2W-SCOPE-14-two-slashes"),
    row(
        {"PATH_INFO": "/http://a/b", "REQUEST_URI": "/http://a%2Fb"},
        {"raw_path": b"/http://a%2Fb"},
        "A2W-SCOPE-14-looks-absolute",
    ),
    row({"PATH_INFO": "/\u00ff", "RAW_URI": "/%FF"}, {"raw_path": b"/%FF"}, "A2W-SCOPE-14-bytes"),
    row(
        {"PATH_INFO": "/\u00ff\u00fe", "REQUEST_URI": "/%FF%FE"},
        {"raw_path": b"/%FF%FE", "path": "/\ufffd\ufffd"},
        "A2W-SCOPE-14-more-bytes",
    ),
    row({"PATH_INFO": "/\u00c3\u00a9", "RAW_URI": "/%c3%a9"}, {"raw_path": b"/%c3%a9"}, "A2W-SCOPE-14-case"),
    row(
        {"PATH_INFO": "/\u00c3\u00a9", "REQUEST_URI": "/\u00c3\u00a9"},
        {"raw_path": b"/\xc3\xa9"},
        "A2W-SCOPE-14-not-quoted",
    ),
    row({"PATH_INFO": "/a", "REQUEST_URI": "/b"}, {"raw_path": ABSENT}, "A2W-SCOPE-14-rewritten"),
    row({"PATH_INFO": "/a", "REQUEST_URI": ""}, {"raw_path": ABSENT}, "A2W-SCOPE-14-empty"),
    row({"PATH_INFO": "/a%2Fb", "REQUEST_URI": "/a%2Fb"}, {"raw_path": ABSENT}, "A2W-SCOPE-14-not-unquoted"),
    row({"SCRIPT_NAME": "/api", "REQUEST_URI": "/"}, {"raw_path": ABSENT}, "A2W-SCOPE-14-root-not-in-it"),
    row(
        {"PATH_INFO": "/a", "REQUEST_URI": "/b", "RAW_URI": "/%61"},
        {"raw_path": b"/%61"},
        "A2W-SCOPE-14-the-one-that-agrees",
    ),
    row({"PATH_INFO": "/a"}, {"raw_path": ABSENT}, "A2W-SCOPE-14-unknown"),
    row({"PATH_INFO": "/a", "REQUEST_URI": "/%zz%"}, {"raw_path": ABSENT}, "A2W-SCOPE-14-nonsense"),
    row(
        {"PATH_INFO": "/a", "REQUEST_URI": "http://[nonsense/a"},
        {"path": "/a"},
        "A2W-SCOPE-14-absolute-nonsense",
    ),
    # Queries
    row(
        {"QUERY_STRING": "q=\u00c3\u00a9&x=%20"},
        {"query_string": b"q=\xc3\xa9&x=%20"},
        "A2W-SCOPE-15",
    ),
    row({"QUERY_STRING": "\u00ff"}, {"query_string": b"\xff"}, "A2W-SCOPE-15-high"),
    row({"QUERY_STRING": ""}, {"query_string": b""}, "A2W-SCOPE-15-empty"),
    # Endpoints
    row({"SERVER_PORT": "8000"}, {"server": ("testserver", 8000)}, "A2W-SCOPE-24"),
    row({"SERVER_NAME": "[::1]"}, {"server": ("::1", 80)}, "A2W-SCOPE-24-brackets"),
    row({"SERVER_NAME": "::1"}, {"server": ("::1", 80)}, "A2W-SCOPE-24-no-brackets"),
    row({"SERVER_PORT": "65535"}, {"server": ("testserver", 65535)}, "A2W-SCOPE-24-last"),
    row({"SERVER_NAME": ""}, {"server": None}, "A2W-SCOPE-25"),
    row({"SERVER_PORT": ""}, {"server": None}, "A2W-SCOPE-25-port"),
    row({"SERVER_PORT": "http"}, {"server": None}, "A2W-SCOPE-25-port-no-number"),
    row({"SERVER_PORT": "8_0"}, {"server": None}, "A2W-SCOPE-25-port-underscore"),
    row({"SERVER_PORT": "\u00b2"}, {"server": None}, "A2W-SCOPE-25-port-no-digit"),
    row({"SERVER_PORT": "None"}, {"server": None}, "A2W-SCOPE-25-port-none"),
    row(
        {"SERVER_NAME": "/run/app.socket", "SERVER_PORT": ""},
        {"server": ("/run/app.socket", None)},
        "A2W-SCOPE-25-socket",
    ),
    row({}, {"client": ("192.0.2.1", 50000)}, "A2W-SCOPE-26"),
    row({"REMOTE_ADDR": "::1"}, {"client": ("::1", 50000)}, "A2W-SCOPE-26-IPv6"),
    row({"REMOTE_ADDR": ABSENT}, {"client": None}, "A2W-SCOPE-26-missing"),
    row({"REMOTE_ADDR": ""}, {"client": None}, "A2W-SCOPE-26-empty"),
    row({"REMOTE_ADDR": ABSENT, "REMOTE_PORT": ABSENT}, {"client": None}, "A2W-SCOPE-26-neither"),
    row({"REMOTE_PORT": ABSENT}, {"client": ("192.0.2.1", 0)}, "A2W-SCOPE-27-OPEN-27"),
    row({"REMOTE_PORT": ""}, {"client": ("192.0.2.1", 0)}, "A2W-SCOPE-27-empty"),
    row({"REMOTE_PORT": "x"}, {"client": ("192.0.2.1", 0)}, "A2W-SCOPE-27-no-number"),
    row({"REMOTE_PORT": "5_0"}, {"client": ("192.0.2.1", 0)}, "A2W-SCOPE-27-underscore"),
    row({"REMOTE_PORT": "\u00b2"}, {"client": ("192.0.2.1", 0)}, "A2W-SCOPE-27-no-digit"),
    # No lifespan that the application takes part in
    row({}, {"state": ABSENT}, "A2W-SCOPE-30-unsupported"),
]
BARE = [  # what the validator does not let through
    row({"REQUEST_METHOD": "get"}, {"method": "GET"}, "A2W-SCOPE-06-case"),
    row({"REQUEST_METHOD": "x-Private"}, {"method": "X-PRIVATE"}, "A2W-SCOPE-06-token"),
    row({"wsgi.url_scheme": ""}, {"scheme": "http"}, "A2W-SCOPE-07-empty"),
    row({"wsgi.url_scheme": ABSENT}, {"scheme": "http"}, "A2W-SCOPE-07-missing"),
    row({"SCRIPT_NAME": "/", "PATH_INFO": "/x"}, {"root_path": "", "path": "/x"}, "A2W-SCOPE-08-only-slash"),
    row({"SCRIPT_NAME": "/", "PATH_INFO": ""}, {"root_path": "", "path": "/"}, "A2W-SCOPE-08-one-slash"),
    row({"SCRIPT_NAME": ABSENT}, {"root_path": "", "path": "/"}, "A2W-SCOPE-08-missing"),
    row(
        {"SCRIPT_NAME": "/api", "PATH_INFO": ABSENT},
        {"path": "/api", "root_path": "/api"},
        "A2W-SCOPE-10-root-alone",
    ),
    row({"SCRIPT_NAME": ABSENT, "PATH_INFO": ABSENT}, {"root_path": "", "path": "/"}, "A2W-SCOPE-10-missing"),
    row(
        {"REQUEST_METHOD": "OPTIONS", "PATH_INFO": "*", "REQUEST_URI": "*"},
        {"path": "*"},
        "A2W-SCOPE-12-asterisk",
    ),
    row({"QUERY_STRING": ABSENT}, {"query_string": b""}, "A2W-SCOPE-15-missing"),
    row({"SERVER_NAME": ABSENT}, {"server": None}, "A2W-SCOPE-25-missing"),
    row({"SERVER_PORT": ABSENT}, {"server": None}, "A2W-SCOPE-25-port-missing"),
    row({"SERVER_PORT": "\u0663"}, {"server": None}, "A2W-SCOPE-25-port-other-digits"),
    row(
        {"SERVER_NAME": "/run/app.socket", "SERVER_PORT": ABSENT},
        {"server": ("/run/app.socket", None)},
        "A2W-SCOPE-25-socket-no-port",
    ),
    row({"SERVER_PORT": 8000}, {"server": ("testserver", 8000)}, "A2W-SCOPE-24-int"),
    row({"REMOTE_PORT": 50001}, {"client": ("192.0.2.1", 50001)}, "A2W-SCOPE-27-int"),
    row({"REMOTE_PORT": None}, {"client": ("192.0.2.1", 0)}, "A2W-SCOPE-27-none"),
    row({"REMOTE_ADDR": None}, {"client": None}, "A2W-SCOPE-26-none"),
]


def check(scope: dict[str, Any], expected: dict[str, Any]) -> None:
    for key, value in expected.items():
        assert scope.get(key, ABSENT) == value
        if key in ("client", "server") and value is not None:
            assert type(scope[key][1]) is type(value[1])


@pytest.mark.parametrize(("environ", "expected"), ROWS)
def test_an_environ_becomes_a_scope(environ: dict[str, Any], expected: dict[str, Any]) -> None:
    """Each entry of the scope follows from the environ as its rule says."""
    check(scope_of(**environ), expected)


@pytest.mark.parametrize(("environ", "expected"), BARE)
def test_an_environ_that_is_not_quite_valid_becomes_a_scope(
    environ: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Servers leave things out, or get them wrong, where the application need not suffer from it."""
    check(scope_of(validated=False, **environ), expected)


def header_row(environ: dict[str, Any], headers: list[tuple[bytes, bytes]], id: str) -> Any:
    return pytest.param(environ, headers, id=id)


HOST = (b"host", b"testserver")
HEADERS = [
    # the environ has / the headers are
    header_row({"HTTP_X_TRACE": "7"}, [HOST, (b"x-trace", b"7")], "A2W-SCOPE-16"),
    header_row(
        {"CONTENT_TYPE": "text/x", "CONTENT_LENGTH": "5"},
        [HOST, (b"content-type", b"text/x"), (b"content-length", b"5")],
        "A2W-SCOPE-16-content",
    ),
    header_row({"CONTENT_TYPE": "", "CONTENT_LENGTH": ""}, [HOST], "A2W-SCOPE-18"),
    header_row({"HTTP_X_A": ""}, [HOST, (b"x-a", b"")], "A2W-SCOPE-18-empty"),
    header_row({"HTTP_HOST": ""}, [(b"host", b"")], "A2W-SCOPE-18-host"),
    header_row({"HTTP_X_A": "\u00e9"}, [HOST, (b"x-a", b"\xe9")], "A2W-SCOPE-19"),
    header_row({"HTTP_X_A": "\u00c3\u00a9\t"}, [HOST, (b"x-a", b"\xc3\xa9\t")], "A2W-SCOPE-19-bytes"),
    header_row({"CONTENT_TYPE": "a/\u00e9"}, [HOST, (b"content-type", b"a/\xe9")], "A2W-SCOPE-19-type"),
    header_row(
        {"HTTP_HOST": ABSENT, "HTTP_B": "1", "HTTP_A": "2"},
        [(b"b", b"1"), (b"a", b"2")],
        "A2W-SCOPE-20-order",
    ),
    header_row({"HTTP_COOKIE": "a=1; b=2"}, [HOST, (b"cookie", b"a=1; b=2")], "A2W-SCOPE-21"),
    header_row({"HTTP_ACCEPT": "a/b,c/d"}, [HOST, (b"accept", b"a/b,c/d")], "A2W-SCOPE-21-list"),
    header_row({"HTTP_HOST": ABSENT}, [], "A2W-SCOPE-22"),
    header_row(
        {
            "REMOTE_USER": "me",
            "AUTH_TYPE": "Basic",
            "PATH_TRANSLATED": "/x",
            "DOCUMENT_ROOT": "/srv",
            "CONTENT_ENCODING": "gzip",
            "SSL_PROTOCOL": "TLSv1.3",
            "REDIRECT_HTTP_X": "no",
            "HTTPS": "off",
            "wsgi.extra": "no",
            "server.HTTP_X": "no",
        },
        [HOST],
        "A2W-SCOPE-23",
    ),
    header_row(
        {"HTTP_TRANSFER_ENCODING": "chunked"}, [HOST, (b"transfer-encoding", b"chunked")], "A2W-SCOPE-33"
    ),
    header_row(
        {"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": "5"},
        [HOST, (b"transfer-encoding", b"chunked")],
        "A2W-SCOPE-33-length",
    ),
    header_row({"CONTENT_LENGTH": "0"}, [HOST, (b"content-length", b"0")], "A2W-SCOPE-32-zero"),
]
BARE_HEADERS = [
    header_row(
        {"CONTENT_TYPE": "a/b", "HTTP_CONTENT_TYPE": "c/d"},
        [HOST, (b"content-type", b"a/b")],
        "A2W-SCOPE-17",
    ),
    header_row(
        {"CONTENT_LENGTH": "5", "HTTP_CONTENT_LENGTH": "7"},
        [HOST, (b"content-length", b"5")],
        "A2W-SCOPE-17-length",
    ),
    header_row({"HTTP_CONTENT_TYPE": "a/b", "HTTP_CONTENT_LENGTH": "7"}, [HOST], "A2W-SCOPE-17-alone"),
    header_row({"CONTENT_LENGTH": "5, 5"}, [HOST, (b"content-length", b"5")], "A2W-SCOPE-32-list"),
    header_row({"CONTENT_LENGTH": "5,5,5"}, [HOST, (b"content-length", b"5")], "A2W-SCOPE-32-longer-list"),
]


def check_headers(scope: dict[str, Any], expected: list[tuple[bytes, bytes]]) -> None:
    headers = scope["headers"]
    assert type(headers) is list
    assert [tuple(pair) for pair in headers] == expected
    assert all(type(part) is bytes for pair in headers for part in pair)


@pytest.mark.parametrize(("environ", "expected"), HEADERS)
def test_entries_of_the_environ_become_headers(
    environ: dict[str, Any], expected: list[tuple[bytes, bytes]]
) -> None:
    """Each header is there once, in lower case, and nothing is made up."""
    check_headers(scope_of(**environ), expected)


@pytest.mark.parametrize(("environ", "expected"), BARE_HEADERS)
def test_entries_that_should_not_be_there_do_no_harm(
    environ: dict[str, Any], expected: list[tuple[bytes, bytes]]
) -> None:
    """The validator would not let them through."""
    check_headers(scope_of(validated=False, **environ), expected)


@rule("A2W-SCOPE-20")
def test_the_host_comes_first(_rule: None) -> None:
    """The others keep the order of the environ."""
    app = Keeps(answers())
    first = {"HTTP_B": "1", "CONTENT_TYPE": "a/b", "HTTP_A": "2"}
    environ = {**first, **environ_for(HTTP_HOST=ABSENT), "HTTP_HOST": "h", "HTTP_C": "3"}

    def server(environ_of_server: dict[str, Any], start_response: Any) -> Any:
        return AsgiToWsgi(app)(environ, start_response)

    call(server)
    names = [name for name, _ in app.scope["headers"]]
    assert names[0] == b"host"
    assert [name for name in names if name != b"content-type"] == [b"host", b"b", b"a", b"c"]
    assert b"content-type" in names


@rule("A2W-SCOPE-03")
def test_the_environ_is_not_written_to(_rule: None) -> None:
    """The adapter leaves it as it was, and so does an application that writes to its scope."""
    environ = environ_for(
        **HTTPS, SSL_PROTOCOL="TLSv1.3", REQUEST_URI="/", HTTP_X_A="1", CONTENT_LENGTH="1", CONTENT_TYPE="a/b"
    )
    environ["wsgi.input"] = Input(b"x")
    before = dict(environ)

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()
        scope["path"] = scope["more"] = "changed"
        scope["headers"].clear()
        await says_hello(scope, receive, send)

    def server(environ_of_server: dict[str, Any], start_response: Any) -> Any:
        return AsgiToWsgi(app, lifespan="off")(environ, start_response)

    assert call(server).body == b"hello"
    assert environ == before
    assert list(environ) == list(before)


@rule("A2W-SCOPE-01-03-28")
def test_nothing_of_a_scope_is_shared_with_the_next(_rule: None) -> None:
    """The scope, ``asgi``, the headers and the extensions are new each time."""
    scopes = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        scopes.append(scope)
        assert "spoilt" not in scope
        assert "spoilt" not in scope["asgi"]
        assert "spoilt" not in scope["extensions"]
        assert (b"spoilt", b"") not in scope["headers"]
        for extension in scope["extensions"]:
            if extension != "asgiadapt.environ":
                assert not scope["extensions"][extension]
                scope["extensions"][extension]["spoilt"] = True
        scope["spoilt"] = scope["asgi"]["spoilt"] = scope["extensions"]["spoilt"] = {}
        scope["headers"].append((b"spoilt", b""))
        await says_hello(scope, receive, send)

    wsgi = AsgiToWsgi(app, lifespan="off")
    for _ in range(2):
        answer = call(wsgi, **{"wsgi.early_hints": print, "wsgi.file_wrapper": print})
        assert answer.body == b"hello"
    assert scopes[0] is not scopes[1]


# Refusals


def refused(**environ: Any) -> Answer:
    """The answer to a request that must not reach the application."""
    app = Keeps()
    body = Input(b"x")
    answer = call(AsgiToWsgi(app), body, validated=False, **environ)
    assert not app.calls
    assert not body.reads
    assert answer.status == 400
    assert answer.line == "400 Bad Request"
    assert (answer.header("content-type") or "").startswith("text/plain")
    assert answer.body
    return answer


LENGTHS = {
    "minus": "-1",
    "plus": "+5",
    "underscore": "1_0",
    "space": "5 6",
    "letters": "abc",
    "hex": "0x5",
    "fraction": "5.0",
    "Arabic": "\u0665",
    "superscript": "\u00b2",
    "line": "5\n",
    "differ": "5, 6",
    "same-number": "5, 05",
    "half-a-list": "5,",
    "comma": ",",
    "blank": " ",
    "endless": "9" * 5000,
}


@pytest.mark.parametrize(
    "value", [pytest.param(value, id=f"A2W-SCOPE-32-{id}") for id, value in LENGTHS.items()]
)
def test_a_length_that_is_none_is_refused(value: str) -> None:
    """With 400 and a word on what is wrong; the application is not called."""
    assert "length" in refused(REQUEST_METHOD="POST", CONTENT_LENGTH=value).body.decode().lower()


@rule("A2W-SCOPE-32-head")
def test_a_refusal_of_a_head_request_has_no_body(_rule: None) -> None:
    """Its head is the same."""
    app = Keeps()
    answer = call(AsgiToWsgi(app), validated=False, REQUEST_METHOD="HEAD", CONTENT_LENGTH="-1")
    assert (answer.status, answer.body, app.calls) == (400, b"", 0)


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        pytest.param({"HTTP_X_A": "\u20ac"}, "latin-1", id="A2W-SCOPE-19-value"),
        pytest.param({"HTTP_HOST": "\u20ac"}, "latin-1", id="A2W-SCOPE-19-host"),
        pytest.param({"CONTENT_TYPE": "\u20ac"}, "latin-1", id="A2W-SCOPE-19-type"),
        pytest.param({"HTTP_X_A": "a\r\nb: c"}, "CR", id="A2W-SCOPE-19-CR"),
        pytest.param({"HTTP_X_A": "a\nb"}, "CR", id="A2W-SCOPE-19-LF"),
        pytest.param({"HTTP_X_A": "a\0"}, "NUL", id="A2W-SCOPE-19-NUL"),
        pytest.param({"CONTENT_TYPE": "a/b\r\n"}, "CR", id="A2W-SCOPE-19-type-CR"),
        pytest.param({"HTTP_HOST": "a\n"}, "CR", id="A2W-SCOPE-19-host-LF"),
        pytest.param({"SERVER_PORT": "65536"}, "port", id="A2W-SCOPE-24-port"),
        pytest.param({"SERVER_PORT": "9" * 5000}, "port", id="A2W-SCOPE-24-port-endless"),
        pytest.param({"REMOTE_PORT": "65536"}, "port", id="A2W-SCOPE-27-port"),
    ],
)
def test_what_no_scope_can_have_is_refused(environ: dict[str, Any], told: str) -> None:
    """With 400, rather than dropped or passed on."""
    assert told in refused(**environ).body.decode()


@pytest.mark.parametrize("key", ["PATH_INFO", "SCRIPT_NAME", "QUERY_STRING"])
@rule("A2W-SCOPE-13-15-no-latin-1")
def test_a_target_that_is_no_latin_1_does_not_raise(key: str, _rule: None) -> None:
    """A server that decodes paths breaks PEP 3333; its requests are refused, or served, and never crash."""
    answer = call(AsgiToWsgi(answers()), validated=False, **{key: "/\u20ac\ud800"})
    assert answer.status in (200, 400)


@pytest.mark.parametrize("value", [None, 7, b"bytes", ["a"]])
@pytest.mark.parametrize("key", ["HTTP_X_A", "HTTP_HOST", "CONTENT_TYPE"])
@rule("A2W-SCOPE-19-no-str")
def test_a_header_that_is_no_str_is_reported(key: str, value: Any, _rule: None) -> None:
    """The error names the key, so that the middleware is found that has put it there."""
    if value is None and key != "HTTP_X_A":
        assert key  # None counts as missing where a key may be missing
        call(AsgiToWsgi(says_hello), validated=False, **{key: value})
        return
    with pytest.raises(ServerError, match=f"{key} in the environ"):
        call(AsgiToWsgi(says_hello), validated=False, **{key: value})


# Extensions


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param({}, set(), id="A2W-SCOPE-28"),
        pytest.param({"wsgi.early_hints": print}, {"http.response.early_hint"}, id="A2W-SCOPE-28-hints"),
        pytest.param({"wsgi.early_hints": "yes"}, set(), id="A2W-SCOPE-28-hints-no-callable"),
        pytest.param({"wsgi.file_wrapper": print}, {"http.response.pathsend"}, id="A2W-SCOPE-28-files"),
        pytest.param({"wsgi.file_wrapper": None}, set(), id="A2W-SCOPE-28-files-no-callable"),
        pytest.param({"asgiadapt.debug": print}, {"http.response.debug"}, id="A2W-SCOPE-28-debug"),
        pytest.param({**HTTPS, "SSL_PROTOCOL": "TLSv1.3"}, {"tls"}, id="A2W-SCOPE-29"),
        pytest.param(HTTPS, set(), id="A2W-SCOPE-29-nothing-known"),
        pytest.param({"SSL_PROTOCOL": "TLSv1.3"}, set(), id="A2W-SCOPE-29-plain"),
        pytest.param({**HTTPS, "HTTP_SSL_PROTOCOL": "TLSv1.3"}, set(), id="A2W-SCOPE-29-forged"),
    ],
)
def test_only_what_works_is_offered(environ: dict[str, Any], expected: set[str]) -> None:
    """The extensions follow from what the server can do; each is a dict."""
    extensions = scope_of(**environ)["extensions"]
    assert type(extensions) is dict
    assert extensions.keys() == {"asgiadapt.environ", *expected}
    assert all(type(extension) is dict for extension in extensions.values())


TLS = {
    "server_cert": None,
    "client_cert_chain": [],
    "client_cert_name": None,
    "tls_version": None,
    "cipher_suite": None,
}
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param({"SSL_PROTOCOL": "TLSv1.3"}, {"tls_version": 0x0304}, id="A2W-SCOPE-29-1.3"),
        pytest.param({"SSL_PROTOCOL": "TLSv1.2"}, {"tls_version": 0x0303}, id="A2W-SCOPE-29-1.2"),
        pytest.param({"SSL_CLIENT_CERT": PEM}, {}, id="A2W-SCOPE-29-no-name"),
        pytest.param(
            {"SSL_CLIENT_S_DN": "CN=a"}, {"client_cert_name": "CN=a"}, id="A2W-SCOPE-29-no-certificate"
        ),
        pytest.param(
            {"SSL_CLIENT_S_DN": "CN=caf\u00c3\u00a9", "SSL_CLIENT_CERT": PEM},
            {"client_cert_name": "CN=caf\u00e9", "client_cert_chain": [PEM]},
            id="A2W-SCOPE-29-name",
        ),
        pytest.param(
            {"SSL_PROTOCOL": "TLSv1.3", "SSL_CLIENT_CERT": "", "SSL_CLIENT_S_DN": ""},
            {"tls_version": 0x0304},
            id="A2W-SCOPE-29-empty",
        ),
    ],
)
def test_what_is_known_of_tls_is_told(environ: dict[str, Any], expected: dict[str, Any]) -> None:
    """With all keys that are mandatory; what is not known is None, and no certificate is without its name."""
    told = scope_of(**HTTPS, **environ)["extensions"]["tls"]
    assert told == {**TLS, **expected}


@rule("A2W-SCOPE-30")
def test_each_request_has_a_copy_of_the_state(_rule: None) -> None:
    """A shallow one: what the lifespan has made is shared, the names are not."""
    scopes = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        scopes.append(dict(scope["state"]))
        scope["state"]["mine"] = True
        await says_hello(scope, receive, send)

    shared: list[int] = []
    with AsgiToWsgi(with_lifespan(app, shared=shared)) as wsgi:
        call(wsgi)
        call(wsgi)
    assert scopes == [{"shared": shared}] * 2
    assert all(state["shared"] is shared for state in scopes)


@rule("A2W-SCOPE-30-off")
def test_without_lifespan_there_is_no_state(_rule: None) -> None:
    """An application that relies on it finds out at once."""
    app = Keeps()
    call(AsgiToWsgi(with_lifespan(app, x=1), lifespan="off"))
    assert "state" not in app.scope


@rule("A2W-SCOPE-31-OPEN-38")
def test_the_environ_can_be_had_from_the_scope(_rule: None) -> None:
    """The very object that the server has given."""
    app = Keeps()
    given = environ_for()

    def server(environ: dict[str, Any], start_response: Any) -> Any:
        return AsgiToWsgi(app)(given, start_response)

    call(server)
    assert app.scope["extensions"]["asgiadapt.environ"] is given


def check_types(value: Any) -> None:
    if isinstance(value, dict):
        assert type(value) is dict
        for key, item in value.items():
            assert type(key) is str
            check_types(item)
    elif isinstance(value, list | tuple):
        for item in value:
            check_types(item)
    else:
        assert type(value) in (bytes, str, int, bool, type(None)), value


@pytest.mark.parametrize(
    "environ",
    [
        pytest.param({}, id="A2W-SCOPE-34"),
        pytest.param({**HTTPS, "SSL_PROTOCOL": "TLSv1.3", "REQUEST_URI": "/"}, id="A2W-SCOPE-34-tls"),
    ],
)
def test_a_scope_has_plain_types_only(environ: dict[str, Any]) -> None:
    """Whatever the server puts in; other than the environ, which is there as it is."""
    scope = scope_of(validated=False, **environ)
    scope["extensions"].pop("asgiadapt.environ")
    check_types(scope)


@rule("A2W-SCOPE-32-the-next")
def test_a_refused_request_leaves_the_next_alone(_rule: None) -> None:
    """One adapter refuses and serves by turns."""
    wsgi = AsgiToWsgi(says_hello)
    for _ in range(3):
        assert call(wsgi, FedInput(), validated=False, CONTENT_LENGTH="x").status == 400
        assert call(wsgi).body == b"hello"
