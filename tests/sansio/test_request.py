"""Request heads by themselves; the whole table is in ``conformance/test_environ.py``."""

from http import HTTPMethod
from typing import Any

import pytest

from asgiadapt._sansio.refusal import Refusal
from asgiadapt._sansio.request import EnvironMaker, may_have_body, waits_for_continue
from tests.fakes import scope_for


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
