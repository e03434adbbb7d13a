"""Request heads by themselves; the whole table is in ``conformance/test_environ.py``."""

from http import HTTPMethod
from typing import Any

import pytest

from asgiadapt._sansio.refusal import Refusal
from asgiadapt._sansio.request import (
    EnvironMaker,
    may_have_body,
    scope_from_environ,
    waits_for_continue,
)
from tests.fakes import scope_for
from tests.wsgi_fakes import ABSENT, environ_for


def environ(fixed: dict[str, Any] | None = None, **scope: Any) -> dict[str, Any]:
    return EnvironMaker(fixed or {}).environ_from_scope(scope_for(**scope))


@pytest.mark.parametrize(
    ("root", "path", "script_name", "path_info"),
    [
        ("", "/x", "", "/x"),
        ("", "", "", "/"),
        ("/", "/x", "", "/x"),
        ("/a", "/a", "/a", ""),
        ("/a", "/a/", "/a", "/"),
        ("/a/", "/a/x", "/a", "/x"),
        ("a", "/a/x", "/a", "/x"),
        ("/a", "/ab", "/a", "/ab"),
        ("/\u00e9", "/\u00e9/\u20ac", "/\u00c3\u00a9", "/\u00e2\u0082\u00ac"),
        ("/a", "", "/a", ""),
        ("//", "//x", "", "//x"),
        ("/a//", "/a/x", "/a", "/x"),
        ("/a", "/a//x", "/a", "//x"),
        ("/a", "/a/../x", "/a", "/../x"),
        ("/a", "/x/a", "/a", "/x/a"),
        ("/\udcff", "/\udcff/\udcfe", "/\u00ff", "/\u00fe"),
        ("", "*", "", "*"),
        (None, "/x", "", "/x"),
    ],
)
def test_paths_are_split_at_a_slash(root: str, path: str, script_name: str, path_info: str) -> None:
    """The two parts together are never empty."""
    made = environ(root_path=root, path=path)
    assert (made["SCRIPT_NAME"], made["PATH_INFO"]) == (script_name, path_info)


def test_bytes_that_were_no_utf_8_come_back() -> None:
    """From the raw path, where that agrees, or from surrogates."""
    assert environ(path="/\ufffd", raw_path=b"/%FF?x")["PATH_INFO"] == "/\u00ff"
    assert environ(path="/\ufffd", raw_path=b"/%FE%FF")["PATH_INFO"] == "/\u00ef\u00bf\u00bd"
    assert environ(path="/\udcff")["PATH_INFO"] == "/\u00ff"
    assert environ(path="/\ufffd", raw_path=b"")["PATH_INFO"] == "/\u00ef\u00bf\u00bd"
    with pytest.raises(Refusal, match="no encoding knows"):
        environ(path="/\ud800")


def test_a_root_that_was_no_utf_8_is_cut_off_too() -> None:
    """The prefix comes once, although the recovered bytes spell it in another way."""
    made = environ(root_path="/\ufffd", path="/\ufffd/x", raw_path=b"/%FF/x")
    assert made["PATH_INFO"] == "/x"
    other = environ(root_path="/\ufffd", path="/\ufffdx/y", raw_path=b"/%FFx/y")
    assert other["PATH_INFO"] == "/\u00ffx/y"


@pytest.mark.parametrize(
    ("raw_path", "query", "target"),
    [
        (b"/a%2Fb", b"", "/a%2Fb"),
        (b"/a%2Fb", b"c=d", "/a%2Fb?c=d"),
        (b"/a?c=d", b"c=d", "/a?c=d"),
        (b"/\xff", b"\xfe", "/\u00ff?\u00fe"),
        (b"", b"c=d", None),
        (None, b"c=d", None),
    ],
)
def test_the_target_is_given_as_it_was_sent(raw_path: bytes | None, query: bytes, target: str | None) -> None:
    """Under both of its names, where it is known."""
    made = environ(raw_path=raw_path, query_string=query)
    assert (made.get("REQUEST_URI"), made.get("RAW_URI")) == (target, target)
    assert made["QUERY_STRING"] == query.decode("latin-1")


@pytest.mark.parametrize(
    ("server", "scheme", "name", "port"),
    [
        (("a.example", 8000), "http", "a.example", "8000"),
        (("a.example", "8000"), "http", "a.example", "8000"),
        (("a.example", 0), "http", "a.example", "0"),
        (("::1", 80), "http", "[::1]", "80"),
        (("[::1]", 80), "http", "[::1]", "80"),
        (("b\u00fc.example", 80), "http", "b\u00c3\u00bc.example", "80"),
        (("/run/s", None), "http", "localhost", "80"),
        (("/run/s", None), "https", "localhost", "443"),
        (("", 80), "http", "localhost", "80"),
        (("a.example", ""), "http", "localhost", "80"),
        (None, "http", "localhost", "80"),
        (None, "https", "localhost", "443"),
        (None, None, "localhost", "80"),
    ],
)
def test_the_server_has_a_name_and_a_port(server: Any, scheme: str | None, name: str, port: str) -> None:
    """Neither is ever empty."""
    made = environ(server=server, scheme=scheme)
    assert (made["SERVER_NAME"], made["SERVER_PORT"]) == (name, port)
    assert made["wsgi.url_scheme"] == (scheme or "http")
    assert made.get("HTTPS") == ("on" if scheme == "https" else None)


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        (("192.0.2.1", 5), {"REMOTE_ADDR": "192.0.2.1", "REMOTE_PORT": "5"}),
        (["::1", "5"], {"REMOTE_ADDR": "::1", "REMOTE_PORT": "5"}),
        (("192.0.2.1", 0), {"REMOTE_ADDR": "192.0.2.1", "REMOTE_PORT": "0"}),
        (("192.0.2.1", None), {"REMOTE_ADDR": "192.0.2.1"}),
        (("", 5), {}),
        ((None, None), {}),
        (None, {}),
    ],
)
def test_what_is_not_known_of_the_client_is_left_out(client: Any, expected: dict[str, str]) -> None:
    """Nothing is made up, nothing is empty."""
    made = environ(client=client)
    assert {key: value for key, value in made.items() if key.startswith("REMOTE_")} == expected


def test_text_of_any_kind_becomes_plain_text() -> None:
    """W2A-ENV-03: a member of an enumeration is a str, but the environ holds nothing but exact ones."""
    made = environ(method=HTTPMethod.GET)
    assert type(made["REQUEST_METHOD"]) is str


def test_headers_are_bounded_as_the_maker_was_told() -> None:
    """By number and by bytes, and names cross where they are allowed."""
    maker = EnvironMaker({}, allowed_headers=["x_y"], max_header_count=2, max_header_bytes=10)
    assert maker.environ_from_scope(scope_for(headers=[(b"x_y", b"1"), (b"z", b"2")]))["HTTP_X_Y"] == "1"
    with pytest.raises(Refusal, match="at most 2 header fields"):
        maker.environ_from_scope(scope_for(headers=[(b"x", b"")] * 3))
    with pytest.raises(Refusal, match="10 bytes of them"):
        maker.environ_from_scope(scope_for(headers=[(b"x", b"0123456789")]))


def test_what_is_fixed_comes_first_and_the_request_goes_over_it() -> None:
    """A new dict each time."""
    fixed = {"X": "y", "REQUEST_METHOD": "NONE"}
    made = environ(fixed)
    assert (made["X"], made["REQUEST_METHOD"]) == ("y", "GET")
    made["X"] = "changed"
    assert fixed["X"] == "y"


@pytest.mark.parametrize(
    ("tls", "expected"),
    [
        ({"tls_version": 0x0303, "server_cert": "s"}, {"SSL_PROTOCOL": "TLSv1.2", "SSL_SERVER_CERT": "s"}),
        ({"tls_version": 0x0304}, {"SSL_PROTOCOL": "TLSv1.3"}),
        ({"tls_version": 0x7F1C}, {}),
        ({"client_cert_chain": ("client", "ca")}, {"SSL_CLIENT_CERT": "client"}),
        ({"client_cert_chain": [], "client_cert_name": ""}, {}),
        ({"client_cert_name": "CN=\u00e9"}, {"SSL_CLIENT_S_DN": "CN=\u00c3\u00a9"}),
        (dict.fromkeys(["tls_version", "server_cert", "client_cert_chain", "client_cert_name"]), {}),
        ({}, {}),
    ],
)
def test_tls_facts_have_the_names_that_apache_gave_them(
    tls: dict[str, Any], expected: dict[str, str]
) -> None:
    """Those that are known."""
    made = environ(extensions={"tls": tls})
    assert {key: value for key, value in made.items() if key.startswith("SSL_")} == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, False),
        ({"CONTENT_LENGTH": "0"}, False),
        ({"CONTENT_LENGTH": "000"}, False),
        ({"CONTENT_LENGTH": "5"}, True),
        ({"HTTP_TRANSFER_ENCODING": "chunked"}, True),
        ({"SERVER_PROTOCOL": "HTTP/2"}, True),
        ({"SERVER_PROTOCOL": "HTTP/3", "CONTENT_LENGTH": "0"}, False),
    ],
)
def test_the_head_tells_whether_there_may_be_a_body(changes: dict[str, str], expected: bool) -> None:
    """From HTTP/2 on, only a length of 0 rules it out."""
    assert may_have_body({"SERVER_PROTOCOL": "HTTP/1.1", **changes}) is expected


def test_expect_is_read_without_regard_to_case() -> None:
    """And other expectations are not meant."""
    assert waits_for_continue({"HTTP_EXPECT": "100-Continue"})
    assert not waits_for_continue({"HTTP_EXPECT": "something"})
    assert not waits_for_continue({})


# The other way: a scope of an environ. The whole table is in ``conformance/test_a2w_scope.py``.


def scope(**environ: Any) -> dict[str, Any]:
    return scope_from_environ(environ_for(**environ))


def test_a_scope_has_these_keys_and_no_others() -> None:
    """The environ is not changed, and two scopes share nothing."""
    environ = environ_for()
    before = environ.copy()
    made = scope_from_environ(environ)
    assert made == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"testserver")],
        "client": ("192.0.2.1", 50000),
        "server": ("testserver", 80),
        "extensions": {"asgiadapt.environ": environ},
    }
    assert environ == before
    other = scope_from_environ(environ)
    assert other == made
    for key in ("asgi", "headers", "extensions"):
        assert other[key] is not made[key]


def test_an_environ_without_anything_gives_a_scope() -> None:
    """With what each thing is by default."""
    made = scope_from_environ({})
    assert (made["method"], made["scheme"], made["path"], made["http_version"]) == ("GET", "http", "/", "1.0")
    assert (made["client"], made["server"], made["headers"]) == (None, None, [])
    assert "raw_path" not in made


@pytest.mark.parametrize(
    ("protocol", "version"),
    [
        ("HTTP/1.0", "1.0"),
        ("HTTP/1.1", "1.1"),
        ("HTTP/2", "2"),
        ("HTTP/2.0", "2"),
        ("HTTP/3", "3"),
        ("http/3.0", "3"),
        ("HTTP/0.9", "1.0"),
        ("INCLUDED", "1.0"),
        ("", "1.0"),
        (None, "1.0"),
        (ABSENT, "1.0"),
    ],
)
def test_versions_have_the_names_of_asgi(protocol: Any, version: str) -> None:
    """The oldest is what an unknown one counts as."""
    assert scope(SERVER_PROTOCOL=protocol)["http_version"] == version


@pytest.mark.parametrize(
    ("script_name", "path_info", "root_path", "path"),
    [
        ("", "/x", "", "/x"),
        ("", "", "", "/"),
        ("/a", "", "/a", "/a"),
        ("/a", "/", "/a", "/a/"),
        ("/a", "/x", "/a", "/a/x"),
        ("/a/", "/x", "/a", "/a/x"),
        ("/a", "x", "/a", "/a/x"),
        ("/", "x", "", "x"),
        ("/", "/x", "", "/x"),
        ("/", "", "", "/"),
        ("", "*", "", "*"),
        ("", "//x", "", "//x"),
        ("/a", "//x", "/a", "/a//x"),
        ("/\u00c3\u00a9", "/\u00e2\u0082\u00ac", "/\u00e9", "/\u00e9/\u20ac"),
        ("", "/\u00ff", "", "/\ufffd"),
        # Its bytes lie on both sides of the border.
        ("/\u00c3", "\u00a9", "/\ufffd", "/\ufffd/\ufffd"),
        (None, None, "", "/"),
        (ABSENT, ABSENT, "", "/"),
    ],
)
def test_paths_are_put_together(script_name: Any, path_info: Any, root_path: str, path: str) -> None:
    """The path begins with the root path, and is never empty."""
    made = scope(SCRIPT_NAME=script_name, PATH_INFO=path_info)
    assert (made["root_path"], made["path"]) == (root_path, path)
    assert made["path"].startswith(made["root_path"])


@pytest.mark.parametrize("key", ["PATH_INFO", "SCRIPT_NAME", "QUERY_STRING"])
def test_text_outside_latin_1_is_refused(key: str) -> None:
    """No server sends it; whoever put it there has not encoded it."""
    with pytest.raises(Refusal, match="the request line has characters that are not in latin-1"):
        scope(**{key: "/\u20ac"})


@pytest.mark.parametrize(
    ("target", "path", "raw_path"),
    [
        ("/x", "/x", b"/x"),
        ("/x?q=/y", "/x", b"/x"),
        ("/a%2Fb", "/a/b", b"/a%2Fb"),
        ("/%C3%A9", "/\u00c3\u00a9", b"/%C3%A9"),
        ("/\u00e9", "/\u00e9", b"/\xe9"),
        ("http://a.example/x?y", "/x", b"/x"),
        ("HTTPS+v1.0-x://a.example:80/x", "/x", b"/x"),
        ("/http://a.example/x", "/http://a.example/x", b"/http://a.example/x"),
        ("*", "*", b"*"),
        ("/%2525", "/%25", b"/%2525"),
        # It is of another path, or cannot be put into bytes.
        ("/other", "/x", None),
        ("/%25", "/%25", None),
        ("/\u20ac", "/x", None),
        ("http://a.example", "/", None),
        ("1http://a.example/x", "/x", None),
        ("?q", "", None),
        ("", "/x", None),
        (None, "/x", None),
    ],
)
def test_the_raw_path_is_taken_from_the_target_where_that_agrees(
    target: str | None, path: str, raw_path: bytes | None
) -> None:
    """Middleware may have changed one of the two."""
    for key in ("REQUEST_URI", "RAW_URI"):
        assert scope(**{key: target}, PATH_INFO=path).get("raw_path") == raw_path


def test_the_first_target_that_agrees_counts() -> None:
    """REQUEST_URI comes first."""
    made = scope(REQUEST_URI="/a%2Fb", RAW_URI="/a/b", PATH_INFO="/a/b")
    assert made["raw_path"] == b"/a%2Fb"
    assert scope(REQUEST_URI="/y", RAW_URI="/x", PATH_INFO="/x")["raw_path"] == b"/x"
    below = scope(REQUEST_URI="/a/b%20c", SCRIPT_NAME="/a", PATH_INFO="/b c")
    assert below["raw_path"] == b"/a/b%20c"


@pytest.mark.parametrize(
    ("name", "port", "server"),
    [
        ("a.example", "80", ("a.example", 80)),
        ("a.example", "0", ("a.example", 0)),
        ("a.example", "0080", ("a.example", 80)),
        ("a.example", "65535", ("a.example", 65535)),
        ("a.example", "00080", ("a.example", 80)),
        ("a.example", 8000, ("a.example", 8000)),
        ("::1", "80", ("::1", 80)),
        ("[::1]", "80", ("::1", 80)),
        ("/run/socket", "80", ("/run/socket", None)),
        ("/run/socket", "", ("/run/socket", None)),
        ("a.example", "", None),
        ("a.example", "http", None),
        ("a.example", "\u0668\u0660", None),
        ("a.example", "\u00b2", None),
        ("a.example", "8 0", None),
        ("a.example", "-", None),
        ("a.example", "--1", None),
        ("a.example", None, None),
        ("a.example", ABSENT, None),
        ("", "80", None),
        ("[]", "80", None),
        (None, "80", None),
        (ABSENT, "80", None),
    ],
)
def test_the_server_is_an_address_or_nothing(name: Any, port: Any, server: Any) -> None:
    """A Unix socket has no port; half of an address is none."""
    assert scope(SERVER_NAME=name, SERVER_PORT=port)["server"] == server


@pytest.mark.parametrize(
    ("address", "port", "client"),
    [
        ("192.0.2.1", "5", ("192.0.2.1", 5)),
        ("::1", "65535", ("::1", 65535)),
        ("192.0.2.1", "", ("192.0.2.1", 0)),
        ("192.0.2.1", "x", ("192.0.2.1", 0)),
        ("192.0.2.1", ABSENT, ("192.0.2.1", 0)),
        ("", "5", None),
        (None, "5", None),
        (ABSENT, "5", None),
    ],
)
def test_the_client_is_an_address_or_nothing(address: Any, port: Any, client: Any) -> None:
    """The port is 0 where it is not known."""
    assert scope(REMOTE_ADDR=address, REMOTE_PORT=port)["client"] == client


@pytest.mark.parametrize("key", ["SERVER_PORT", "REMOTE_PORT"])
@pytest.mark.parametrize("port", ["65536", "99999", "-1", "-65535", "100000", "9" * 5000, -1, 65536])
def test_a_port_that_does_not_exist_is_refused(key: str, port: Any) -> None:
    """A number it is, but not one of a port."""
    with pytest.raises(Refusal, match="a port that does not exist"):
        scope(**{key: port})


@pytest.mark.parametrize(
    ("event", "key"),
    [
        ("http.response.early_hint", "wsgi.early_hints"),
        ("http.response.debug", "asgiadapt.debug"),
        ("http.response.pathsend", "wsgi.file_wrapper"),
    ],
)
def test_what_the_server_can_do_is_offered(event: str, key: str) -> None:
    """Where the environ has a function for it."""
    assert scope(**{key: print})["extensions"][event] == {}
    for value in (None, "yes", True, ABSENT):
        assert event not in scope(**{key: value})["extensions"]


NO_TLS = {
    "server_cert": None,
    "client_cert_chain": [],
    "client_cert_name": None,
    "tls_version": None,
    "cipher_suite": None,
}


@pytest.mark.parametrize(
    ("variables", "facts"),
    [
        ({"SSL_PROTOCOL": "TLSv1.3"}, {"tls_version": 0x0304}),
        ({"SSL_PROTOCOL": "SSLv3"}, {}),
        ({"SSL_SERVER_CERT": "s"}, {"server_cert": "s"}),
        (
            {"SSL_CLIENT_CERT": "c", "SSL_CLIENT_S_DN": "CN=c"},
            {"client_cert_chain": ["c"], "client_cert_name": "CN=c"},
        ),
        ({"SSL_CLIENT_CERT": "c"}, {}),  # a certificate is not told without its name
        ({"SSL_CLIENT_S_DN": "CN=\u00c3\u00a9"}, {"client_cert_name": "CN=\u00e9"}),
        ({"SSL_CLIENT_S_DN": "", "SSL_PROTOCOL": ""}, None),
        ({}, None),
    ],
)
def test_tls_facts_come_from_the_names_that_apache_gave_them(
    variables: dict[str, str], facts: dict[str, Any] | None
) -> None:
    """Under https, where there are any."""
    made = scope(**{"wsgi.url_scheme": "https", **variables})["extensions"]
    assert made.get("tls") == (None if facts is None else {**NO_TLS, **facts})
    assert "tls" not in scope(**{"wsgi.url_scheme": "http", **variables})["extensions"]


@pytest.mark.parametrize(("given", "method"), [("post", "POST"), ("PROPFIND", "PROPFIND"), ("x", "X")])
def test_methods_are_in_upper_case(given: str, method: str) -> None:
    """As ASGI has them."""
    assert scope(REQUEST_METHOD=given)["method"] == method


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"path": "/a/b", "root_path": "/a", "raw_path": b"/a/b"},
        {"path": "/caf\u00e9", "raw_path": b"/caf%C3%A9"},
        {"path": "/a%2Fb/c", "raw_path": b"/a%252Fb/c"},
        {"query_string": b"a=%20&b=\xff"},
        {"method": "DELETE", "http_version": "2"},
        {"server": ("::1", 8080), "client": ("::1", 1)},
        {"headers": [(b"host", b"a"), (b"x-a", b"\xe9"), (b"content-length", b"5")]},
    ],
)
def test_a_scope_survives_the_way_there_and_back(changes: dict[str, Any]) -> None:
    """What both interfaces can say is said again."""
    given = {key: value for key, value in scope_for(**changes).items() if value is not None}
    back = scope_from_environ(EnvironMaker({}).environ_from_scope(given))
    keys = {"path", "root_path", "query_string", "method", "http_version", "scheme", *changes}
    seen = {key: back[key] for key in keys}
    seen["headers"] = sorted(back["headers"])
    expected = {key: given[key] for key in keys}
    expected["headers"] = sorted(tuple(pair) for pair in given["headers"])
    assert seen == expected
