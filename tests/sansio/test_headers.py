"""Header fields, each way, by themselves."""

from typing import Any

import pytest

from asgiadapt import ApplicationTypeError, ApplicationValueError
from asgiadapt._sansio.headers import EnvironKeys, fields_from_headers, header_pair, headers_from_list
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
