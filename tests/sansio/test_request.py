"""Request heads by themselves; the whole table is in ``conformance/test_environ.py``."""

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
    with pytest.raises(Refusal, match="no encoding knows"):
        environ(path="/\ud800")


def test_what_is_fixed_comes_first_and_the_request_goes_over_it() -> None:
    """A new dict each time."""
    fixed = {"X": "y", "REQUEST_METHOD": "NONE"}
    made = environ(fixed)
    assert (made["X"], made["REQUEST_METHOD"]) == ("y", "GET")
    made["X"] = "changed"
    assert fixed["X"] == "y"


def test_tls_facts_have_the_names_that_apache_gave_them() -> None:
    """Those that are known."""
    tls = {"tls_version": 0x0303, "server_cert": "s", "client_cert_chain": [], "cipher_suite": None}
    made = environ(extensions={"tls": tls})
    assert (made["SSL_PROTOCOL"], made["SSL_SERVER_CERT"]) == ("TLSv1.2", "s")
    assert "SSL_CLIENT_CERT" not in made


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
