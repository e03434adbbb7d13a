"""Header fields, each way, by themselves."""

from typing import Any

import pytest

from asgiadapt import ApplicationTypeError, ApplicationValueError, ServerError
from asgiadapt._sansio import headers as module
from asgiadapt._sansio.headers import (
    HOP_BY_HOP,
    EnvironKeys,
    content_length,
    fields_from_headers,
    header_pair,
    headers_from_environ,
    headers_from_list,
    list_from_headers,
    listed_value,
)
from asgiadapt._sansio.refusal import Refusal

KEYS = [
    (b"Host", "HTTP_HOST"),
    (b"x-a-b", "HTTP_X_A_B"),
    (b"content-TYPE", "CONTENT_TYPE"),
    (b"content-length", "CONTENT_LENGTH"),
    (b"content_length", ""),
    (b"x_a", ""),
    (b"Proxy", ""),
    (b":authority", ":authority"),
    (b":path", ""),
    (b"", ""),
    (b"a b", ""),
    (b"\xb5", ""),
]


@pytest.mark.parametrize(("name", "key"), KEYS)
def test_names_become_keys(name: bytes, key: str) -> None:
    """Or the empty string, for what must not cross."""
    keys = EnvironKeys()
    assert keys[name] == key
    assert keys[name] == key  # from the table


def test_allowed_names_cross_but_for_the_two_that_would_lie() -> None:
    """A length spelled with an underscore is no length."""
    keys = EnvironKeys(["X_A", "PROXY", "Content_Length"])
    assert [keys[b"x_a"], keys[b"proxy"], keys[b"content_length"]] == ["HTTP_X_A", "HTTP_PROXY", ""]


def test_the_table_is_bounded() -> None:
    """In entries, and in the length of each."""
    keys = EnvironKeys()
    assert keys[b"x" * 100] == "HTTP_" + "X" * 100
    assert len(keys) == 0
    for number in range(2000):
        assert keys[b"x-%d" % number] == f"HTTP_X_{number}"
    assert len(keys) == 1024


def fields(*headers: tuple[bytes, bytes], count: int = 100, size: int = 1000) -> dict[str, str]:
    return fields_from_headers(headers, EnvironKeys(), count, size)


def test_repeated_fields_are_joined_as_their_kind_demands() -> None:
    """Comma, cookie, and those of which there is one."""
    assert fields((b"x", b"1"), (b"x", b"2"), (b"x", b"3")) == {"HTTP_X": "1,2,3"}
    assert fields((b"cookie", b"a"), (b"cookie", b"b")) == {"HTTP_COOKIE": "a; b"}
    assert fields((b"host", b"a"), (b"host", b"a")) == {"HTTP_HOST": "a"}
    assert fields((b"content-length", b"5"), (b"content-length", b" 5 ,5")) == {"CONTENT_LENGTH": "5"}
    assert fields((b":authority", b"a")) == {"HTTP_HOST": "a"}
    assert fields((b":authority", b"a"), (b"host", b"b")) == {"HTTP_HOST": "b"}
    assert fields((b"content-length", b"5"), (b"transfer-encoding", b"chunked")) == {
        "HTTP_TRANSFER_ENCODING": "chunked"
    }


def test_fields_that_do_not_cross_leave_no_trace() -> None:
    """Once or many times, beside the field that they would pass for."""
    given = [(b"x_a", b"evil"), (b"x-a", b"good"), (b"X_A", b"worse"), (b"proxy", b"p"), (b"proxy", b"q")]
    assert fields(*given) == {"HTTP_X_A": "good"}


def test_as_many_headers_as_allowed_are_allowed() -> None:
    """The bounds themselves pass, in number and in bytes of names and values; one more does not."""
    just = [(b"abc", b"de"), (b"proxy", b"")]
    assert fields(*just, count=2, size=10) == {"HTTP_ABC": "de"}
    for count, size in ((1, 10), (2, 9)):
        with pytest.raises(Refusal, match=f"at most {count} header fields and {size} bytes of them"):
            fields(*just, count=count, size=size)


class _Value(bytes):
    """A header value whose text counts the bytes that are copied to add something to it."""

    copied = 0

    def decode(self, *args: Any) -> "_Text":
        return _Text(super().decode(*args))


class _Text(str):
    __slots__ = ()

    def __add__(self, other: str) -> "_Text":
        _Value.copied += len(self) + len(other)
        return _Text(super().__add__(other))

    def __format__(self, spec: str) -> str:
        _Value.copied += len(self)
        return super().__format__(spec)


def test_repeated_fields_are_copied_once() -> None:
    """W2A-ENV-35: all values are joined together, and none is added to what was joined before."""
    _Value.copied = 0
    for name in (b"x", b"cookie"):
        headers = [(name, _Value(b"12"))] * 1000
        joined = fields(*headers, count=1000, size=10_000)
        assert [len(text.replace(" ", "")) for text in joined.values()] == [2999]
    assert _Value.copied == 0


@pytest.mark.parametrize(
    ("headers", "status", "text"),
    [
        ([(b"host", b"a"), (b"host", b"b")], 400, "Host is given twice"),
        ([(b"content-type", b"a"), (b"content-type", b"b")], 400, "Content-Type is given twice"),
        ([(b"content-length", b"5,6")], 400, "not one decimal number"),
        ([(b"content-length", b"5,")], 400, "not one decimal number"),
        ([(b"content-length", b"")], 400, "not one decimal number"),
        ([(b"content-length", b"-5")], 400, "not one decimal number"),
        ([(b"content-length", b"1_0")], 400, "not one decimal number"),
        ([(b"content-length", b"\xb2")], 400, "not one decimal number"),
        # int(), which applications use, refuses some thousand digits.
        ([(b"content-length", b"9" * 5000)], 400, "not one decimal number"),
        ([(b":authority", b"a"), (b":authority", b"b")], 400, "Authority is given twice"),
        ([(b"x", b"a\nb")], 400, "CR, LF or NUL"),
        ([(b"x", b"a\rb")], 400, "CR, LF or NUL"),
        ([(b"x", b"a"), (b"x", b"\0")], 400, "CR, LF or NUL"),
        ([(b"x", b"")] * 101, 431, "at most 100 header fields"),
        ([(b"x", b"y" * 1000)], 431, "1000 bytes"),
    ],
)
def test_what_cannot_be_mapped_is_refused(headers: Any, status: int, text: str) -> None:
    """With the status and the reason."""
    with pytest.raises(Refusal, match=text) as caught:
        fields(*headers, size=10_000 if status == 400 else 1000)
    assert caught.value.status == status


def test_response_fields_are_checked_and_encoded() -> None:
    """Any iterable of pairs."""
    checked = headers_from_list(iter([["X-A", " \u00e9 "], ("Content-Length", "3")]), 200, strict=False)
    assert checked.pairs == [(b"x-a", b"\xe9"), (b"content-length", b"3")]
    assert checked.content_length == 3
    assert header_pair("X" * 100, "y") == (b"x" * 100, b"y")


@pytest.mark.parametrize(
    ("header", "kind", "text"),
    [
        ((5, ""), ApplicationTypeError, "header name 5"),
        (([], ""), ApplicationTypeError, "a list; give a str"),
        (("X", None), ApplicationTypeError, "value None"),
        (("X Y", ""), ApplicationValueError, "made of ASCII letters"),
        (("\u00c4", ""), ApplicationValueError, "made of ASCII letters"),
        (("X", "a\0"), ApplicationValueError, "control"),
        (("X", "\u20ac"), ApplicationValueError, "RFC 8187"),
        (("Content-Length", "9" * 21), ApplicationValueError, "decimal number"),
        (("X", "a\r\nb"), ApplicationValueError, "line ends among them"),
        (("X", "a\x7f"), ApplicationValueError, "control"),
        (("X:", ""), ApplicationValueError, "made of ASCII letters"),
        (("", ""), ApplicationValueError, "made of ASCII letters"),
        ((b"X", ""), ApplicationTypeError, "header name b'X', a bytes"),
        (("X", b"y"), ApplicationTypeError, "value b'y' for the header 'X', a bytes"),
        (("Content-Length", "-1"), ApplicationValueError, "the Content-Length '-1'; give a decimal number"),
        (("Content-Length", "\u00b2"), ApplicationValueError, "decimal number"),
        (("Content-Length", ""), ApplicationValueError, "decimal number"),
        ("no pair", ApplicationTypeError, "pairs of a name"),
        (("X",), ApplicationTypeError, "pairs of a name"),
        (("X", "y", "z"), ApplicationTypeError, "pairs of a name"),
        (5, ApplicationTypeError, "pairs of a name"),
    ],
)
def test_wrong_response_fields_raise(header: Any, kind: type[Exception], text: str) -> None:
    """And the error says which and why."""
    with pytest.raises(kind, match=text):
        headers_from_list([header], 200, strict=False)


def test_order_and_repetitions_of_response_fields_are_kept() -> None:
    """W2A-RESP-17: two cookies are two fields."""
    given = [("Set-Cookie", "a"), ("X", "\t1 2\t"), ("set-cookie", "b"), ("X", "")]
    assert headers_from_list(given, 200, strict=True).pairs == [
        (b"set-cookie", b"a"),
        (b"x", b"1 2"),
        (b"set-cookie", b"b"),
        (b"x", b""),
    ]


def test_the_headers_have_to_be_an_iterable() -> None:
    """The error is the application's, and says what to give."""
    nothing: Any = None
    with pytest.raises(ApplicationTypeError, match="NoneType"):
        headers_from_list(nothing, 200, strict=False)


def test_hop_by_hop_fields_are_dropped_or_refused() -> None:
    """With the one exception of a 407, and a word on trailers."""
    given = [("Connection", "x"), ("Trailer", "y"), ("Proxy-Authenticate", "z"), ("Status", "1")]
    loose = headers_from_list(given, 200, strict=False)
    assert loose.pairs == [(b"status", b"1")]
    assert loose.dropped == ("Connection", "Trailer", "Proxy-Authenticate")
    assert loose.announces_trailers
    assert headers_from_list(given[2:3], 407, strict=False).pairs == [(b"proxy-authenticate", b"z")]
    for header in given:
        with pytest.raises(ApplicationValueError, match=header[0]):
            headers_from_list([header], 407, strict=True)


def test_lengths_that_differ_raise() -> None:
    """Equal ones are one."""
    equal = headers_from_list([("Content-Length", "1"), ("content-length", "1")], 200, strict=True)
    assert equal.pairs == [(b"content-length", b"1")]
    with pytest.raises(ApplicationValueError, match="1 and 2"):
        headers_from_list([("Content-Length", "1"), ("Content-Length", "2")], 200, strict=True)


# Requests for an ASGI application


@pytest.mark.parametrize(
    ("environ", "pairs"),
    [
        ({}, []),
        ({"HTTP_HOST": "a"}, [(b"host", b"a")]),
        ({"HTTP_X_A_B": "\u00e9"}, [(b"x-a-b", b"\xe9")]),
        ({"HTTP_X": ""}, [(b"x", b"")]),
        ({"HTTP_X": " 1\t2 "}, [(b"x", b" 1\t2 ")]),
        ({"HTTP_COOKIE": "a=1; b=2"}, [(b"cookie", b"a=1; b=2")]),
        ({"HTTP_x_a": "1"}, [(b"x-a", b"1")]),
        ({"HTTP_X!": "1"}, [(b"x!", b"1")]),
        # First the host, last the two that have keys of their own.
        (
            {"CONTENT_LENGTH": "5", "CONTENT_TYPE": "t", "HTTP_A": "1", "HTTP_HOST": "h", "HTTP_B": "2"},
            [(b"host", b"h"), (b"a", b"1"), (b"b", b"2"), (b"content-type", b"t"), (b"content-length", b"5")],
        ),
        ({"CONTENT_TYPE": "", "CONTENT_LENGTH": ""}, []),
        ({"CONTENT_TYPE": None, "CONTENT_LENGTH": None, "HTTP_HOST": None}, []),
        ({"CONTENT_LENGTH": 5}, [(b"content-length", b"5")]),
        ({"CONTENT_LENGTH": " 5 ,5"}, [(b"content-length", b"5")]),
        # Some servers have these twice; the client may have sent them, spelled with an underscore.
        ({"HTTP_CONTENT_TYPE": "x", "HTTP_CONTENT_LENGTH": "7"}, []),
        (
            {"CONTENT_LENGTH": "5", "HTTP_TRANSFER_ENCODING": "chunked"},
            [(b"transfer-encoding", b"chunked")],
        ),
        ({"wsgi.version": (1, 0), "PATH_INFO": "/", "http_x": "1", "XHTTP_X": "1", "REMOTE_USER": "u"}, []),
    ],
)
def test_an_environ_gives_the_pairs_of_a_scope(environ: dict[str, Any], pairs: Any) -> None:
    """In lower case, as bytes; twice, since names come from a table the second time."""
    for _ in range(2):
        assert headers_from_environ(environ) == pairs


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({"HTTP_X": "\u20ac"}, "the header field X is not in latin-1"),
        ({"HTTP_X_Y": "\ud800"}, "the header field X-Y is not in latin-1"),
        ({"HTTP_HOST": "\u20ac"}, "the header field Host is not in latin-1"),
        ({"CONTENT_TYPE": "\u20ac"}, "the header field Content-Type is not in latin-1"),
        *(
            ({key: f"a{control}b"}, "a header field has a CR, LF or NUL")
            for key in ("HTTP_X", "HTTP_HOST", "CONTENT_TYPE")
            for control in "\r\n\0"
        ),
        ({"HTTP_": "x"}, "the name of a header field is not valid"),
        ({"HTTP_A B": "x"}, "the name of a header field is not valid"),
        ({"HTTP_A\r\nB": "x"}, "the name of a header field is not valid"),
        ({"HTTP_\u00c4": "x"}, "the name of a header field is not valid"),
        ({"HTTP_:PATH": "x"}, "the name of a header field is not valid"),
        *(
            ({"CONTENT_LENGTH": length}, "Content-Length is not one decimal number")
            for length in ("x", "-1", "+1", "1_0", "5,6", "5,", "\u00b2", "9" * 21, "9" * 5000, " ")
        ),
        ({"CONTENT_LENGTH": "x", "HTTP_TRANSFER_ENCODING": "chunked"}, "not one decimal number"),
    ],
)
def test_an_environ_that_cannot_be_mapped_is_refused(environ: dict[str, Any], text: str) -> None:
    """With 400, again and again."""
    for _ in range(2):
        with pytest.raises(Refusal, match=text) as caught:
            headers_from_environ(environ)
        assert caught.value.status == 400


@pytest.mark.parametrize("value", ["a\tb", "a\x01b", "\x7f", "\u0085", "\u00a0", "\u00ad"])
def test_values_that_are_strange_and_no_more_pass(value: str) -> None:
    """Only what could end a line, or a text, is refused."""
    expected = value.encode("latin-1")
    assert headers_from_environ({"HTTP_X": value, "HTTP_HOST": value, "CONTENT_TYPE": value}) == [
        (b"host", expected),
        (b"x", expected),
        (b"content-type", expected),
    ]


@pytest.mark.parametrize("value", [None, 5, b"x", ["x"]])
@pytest.mark.parametrize("key", ["HTTP_X", "HTTP_HOST", "CONTENT_TYPE"])
def test_a_value_of_another_type_is_the_servers_fault(key: str, value: Any) -> None:
    """The text has key, value and type; a host and a type that are None are not there."""
    if value is None and key != "HTTP_X":
        assert headers_from_environ({key: value}) == []
        return
    with pytest.raises(ServerError, match=f"for {key} in the environ, an? {type(value).__name__};"):
        headers_from_environ({key: value})


def test_the_tables_of_names_are_bounded() -> None:
    """In entries, and in the length of each; what comes later is looked at each time."""
    for table in (module._HEADER_NAMES, module._LIST_NAMES):
        table.clear()
    for number in range(2000):
        assert headers_from_environ({f"HTTP_X_{number}": "y"}) == [(b"x-%d" % number, b"y")]
        assert list_from_headers([(b"X-%d" % number, b"y")], 200).pairs == [(f"X-{number}", "y")]
    for table in (module._HEADER_NAMES, module._LIST_NAMES):
        assert len(table) == 1024
        table.clear()
    assert headers_from_environ({"HTTP_" + "X" * 100: "y"}) == [(b"x" * 100, b"y")]
    assert list_from_headers([(b"X" * 100, b"y")], 200).pairs == [("X" * 100, "y")]
    for table in (module._HEADER_NAMES, module._LIST_NAMES):
        assert len(table) == 0


@pytest.mark.parametrize(
    ("environ", "length"),
    [
        ({}, None),
        ({"CONTENT_LENGTH": ""}, None),
        ({"CONTENT_LENGTH": None}, None),
        ({"CONTENT_LENGTH": "0"}, 0),
        ({"CONTENT_LENGTH": "05"}, 5),
        ({"CONTENT_LENGTH": 5}, 5),
        ({"CONTENT_LENGTH": "5, 5"}, 5),
    ],
)
def test_a_declared_length_is_read(environ: dict[str, Any], length: int | None) -> None:
    """None where there is none."""
    assert content_length(environ) == length


# Responses of an ASGI application


def test_the_fields_of_a_response_become_a_list() -> None:
    """Of str, in order, with their names as they are; any iterable of pairs will do."""
    given = [[b"X-A", b" \xe9\t"], (b"set-cookie", b"a"), (b"Set-Cookie", b"b"), (b"x", b"")]
    listed = list_from_headers(iter(given), 200)
    assert listed.pairs == [("X-A", "\u00e9"), ("set-cookie", "a"), ("Set-Cookie", "b"), ("x", "")]
    assert (listed.content_length, listed.dropped) == (None, ())
    assert list_from_headers((), 200).pairs == []


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
def test_fields_of_the_connection_are_dropped(name: bytes) -> None:
    """Under the name that they were given by, in whatever case."""
    for spelled in (name, name.upper(), name.title()):
        listed = list_from_headers([(spelled, b"x"), (b"y", b"z")], 200)
        assert listed.pairs == [("y", "z")]
        assert listed.dropped == (spelled.decode(),)


def test_a_407_keeps_what_it_is_for() -> None:
    """And nothing else of the kind."""
    listed = list_from_headers([(b"Proxy-Authenticate", b"Basic"), (b"upgrade", b"x")], 407)
    assert listed.pairs == [("Proxy-Authenticate", "Basic")]
    assert listed.dropped == ("upgrade",)


def test_equal_lengths_of_a_response_are_one() -> None:
    """The first stands, as it was given."""
    listed = list_from_headers([(b"Content-Length", b" 05"), (b"content-length", b"5")], 200)
    assert listed.pairs == [("Content-Length", "05")]
    assert listed.content_length == 5


@pytest.mark.parametrize(
    ("header", "kind", "text"),
    [
        (("x", b""), ApplicationTypeError, "the header name 'x', a str; give bytes"),
        ((None, b""), ApplicationTypeError, "the header name None, a NoneType"),
        (([], b""), ApplicationTypeError, r"the header name \[\], a list"),
        ((bytearray(b"x"), b""), ApplicationTypeError, "a bytearray; give bytes"),
        ((b"x", "y"), ApplicationTypeError, "the value 'y' for the header b'x', a str; give bytes"),
        ((b"x", None), ApplicationTypeError, "the value None for the header b'x'"),
        ((b"x", 5), ApplicationTypeError, "the value 5 for the header b'x', a int"),
        ((b"", b"y"), ApplicationValueError, "the header name b''; a name is made of"),
        ((b"x y", b""), ApplicationValueError, "the header name b'x y'"),
        ((b"x:", b""), ApplicationValueError, "the header name b'x:'"),
        ((b"x\n", b""), ApplicationValueError, r"the header name b'x\\n'"),
        ((b"\xe9", b""), ApplicationValueError, r"the header name b'\\xe9'"),
        ((b"x", b"a\r\nb"), ApplicationValueError, "no control characters, line ends among them"),
        ((b"x", b"a\0"), ApplicationValueError, "no control characters"),
        ((b"x", b"\x7f"), ApplicationValueError, "no control characters"),
        ((b"connection", b"\n"), ApplicationValueError, "no control characters"),
        ((b"Content-Length", b"-1"), ApplicationValueError, "the content-length '-1'; give a decimal"),
        ((b"content-length", b""), ApplicationValueError, "the content-length ''"),
        ((b"content-length", b"\xb2"), ApplicationValueError, "give a decimal number"),
        ((b"content-length", b"9" * 21), ApplicationValueError, "give a decimal number"),
        ((b"content-length", b"5, 5"), ApplicationValueError, "give a decimal number"),
        ((b"x",), ApplicationTypeError, "give pairs of a name and a value, both bytes"),
        ((b"x", b"y", b"z"), ApplicationTypeError, "give pairs of a name and a value"),
        (5, ApplicationTypeError, "the header 5; give pairs"),
    ],
)
def test_wrong_fields_of_an_asgi_response_raise(header: Any, kind: type[Exception], text: str) -> None:
    """And the error says which and why."""
    with pytest.raises(kind, match=text):
        list_from_headers([(b"a", b"b"), header], 200)


def test_two_lengths_of_a_response_raise() -> None:
    """The text has both."""
    with pytest.raises(ApplicationValueError, match="two different lengths, 1 and 2"):
        list_from_headers([(b"content-length", b"1"), (b"Content-Length", b"2")], 200)


@pytest.mark.parametrize("headers", [None, 5])
def test_the_fields_of_a_response_are_an_iterable(headers: Any) -> None:
    """The error names what came instead."""
    with pytest.raises(ApplicationTypeError, match=f"a {type(headers).__name__}; give pairs of bytes"):
        list_from_headers(headers, 200)


@pytest.mark.parametrize("value", [b"a\tb", b"\x80\x9f\xa0\xad", b"caf\xc3\xa9"])
def test_values_keep_all_that_is_no_control_character(value: bytes) -> None:
    """A tab within, and every byte above."""
    assert listed_value(b"x", value).encode("latin-1") == value
