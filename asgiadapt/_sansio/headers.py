"""Header fields: pairs of bytes in ASGI, ``HTTP_*`` keys and latin-1 text in WSGI, and what must not cross.

For a WSGI application requests go one way (`fields_from_headers`) and responses the other
(`headers_from_list`); for an ASGI application it is `headers_from_environ` and `list_from_headers`.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from asgiadapt._errors import ApplicationTypeError, ApplicationValueError, ServerError
from asgiadapt._sansio.refusal import Refusal

# RFC 9110, 5.6.2: what a field name is made of.
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

# RFC 9110, 5.5: a field value has no control character but the tab.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

# Caches answer for names that repeat; names that a client makes up must not make them grow for ever.
_CACHE_ENTRIES = 1024
_CACHED_NAME_BYTES = 64

HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"trailers",
        b"transfer-encoding",
        b"upgrade",
    }
)


class EnvironKeys(dict[bytes, str]):
    """Looks up the environ key of a header name: ``keys[b"Host"]`` is ``"HTTP_HOST"``.

    ``""`` stands for a field that must not cross: no token, a pseudo-header, a name with an underscore
    (its key would be that of another field), or ``Proxy`` (``HTTP_PROXY`` means something else to
    programs that read CGI variables). *allowed* names fields of the last two kinds that may cross.
    """

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        super().__init__()
        self._allowed = frozenset(name.lower().encode("latin-1") for name in allowed)

    def __missing__(self, name: bytes) -> str:
        key = self._key(bytes(name).lower())
        if len(self) < _CACHE_ENTRIES and len(name) <= _CACHED_NAME_BYTES:
            self[name] = key
        return key

    def _key(self, name: bytes) -> str:
        if name == b":authority":
            return ":authority"  # stands in for a missing Host, see below
        if _TOKEN.fullmatch(name) is None:
            return ""
        if (b"_" in name or name == b"proxy") and name not in self._allowed:
            return ""
        key = name.decode("ascii").upper().replace("-", "_")
        if key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            # Spelled with an underscore, it must not pass for the real one.
            return "" if b"_" in name else key
        return "HTTP_" + key


def fields_from_headers(
    headers: Iterable[tuple[bytes, bytes]],
    keys: EnvironKeys,
    max_count: int,
    max_bytes: int,
) -> dict[str, str]:
    """The header part of an environ; `Refusal` for what cannot be mapped without guessing."""
    fields: dict[str, str] = {}
    repeated: dict[str, list[str]] | None = None
    size = 0
    for count, (name, value) in enumerate(headers, 1):
        size += len(name) + len(value)
        if count > max_count or size > max_bytes:
            raise Refusal(
                431, f"at most {max_count} header fields and {max_bytes} bytes of them are allowed."
            )
        key = keys[name]
        if key in fields:
            # Collect now and join once: joining one by one would copy the growing value each time.
            if repeated is None:
                repeated = {}
            repeated.setdefault(key, [fields[key]]).append(value.decode("latin-1"))
        elif key:
            fields[key] = value.decode("latin-1")

    if repeated is not None:
        for key, values in repeated.items():
            fields[key] = _joined(key, values)
    everything = "".join(fields.values())
    if "\r" in everything or "\n" in everything or "\0" in everything:
        raise Refusal(400, "a header field has a CR, LF or NUL in its value.")
    if "CONTENT_LENGTH" in fields:
        fields["CONTENT_LENGTH"] = _content_length(fields["CONTENT_LENGTH"])
        # RFC 9112, 6.3: where both are given, the chunked framing says where the body ends.
        if "HTTP_TRANSFER_ENCODING" in fields:
            del fields["CONTENT_LENGTH"]
    if ":authority" in fields:
        authority = fields.pop(":authority")
        fields.setdefault("HTTP_HOST", authority)
    return fields


def _joined(key: str, values: list[str]) -> str:
    if key == "HTTP_COOKIE":
        return "; ".join(values)  # RFC 9113, 8.2.3
    if key in ("HTTP_HOST", "CONTENT_TYPE", ":authority"):
        # Joined, two of these would be read differently by different readers.
        if len(set(values)) > 1:
            raise Refusal(400, f"the header field {_field_name(key)} is given twice, differently.")
        return values[0]
    return ",".join(values)


def _content_length(text: str) -> str:
    members = {member.strip(" \t") for member in text.split(",")}
    length = members.pop()
    # Twenty digits are more bytes than there are, and int(), which applications use, refuses some thousand.
    if members or not (length.isascii() and length.isdigit() and len(length) <= 20):
        raise Refusal(400, "the header field Content-Length is not one decimal number.")
    return length


def _field_name(key: str) -> str:
    return key.removeprefix("HTTP_").removeprefix(":").replace("_", "-").title()


class _ResponseNames(dict[str, bytes]):
    """Looks up what a response header name is on the wire: lower case, ASCII, checked."""

    def __missing__(self, name: str) -> bytes:
        wire = name.encode("ascii", "replace").lower()
        if not name.isascii() or _TOKEN.fullmatch(wire) is None:
            raise ApplicationValueError(
                f"start_response was given the header name {name!r}; a name is made of ASCII letters, "
                f"digits and !#$%&'*+-.^_`|~ only."
            )
        if len(self) < _CACHE_ENTRIES and len(name) <= _CACHED_NAME_BYTES:
            self[name] = wire
        return wire


_RESPONSE_NAMES = _ResponseNames()
_NEEDS_A_LOOK = HOP_BY_HOP | {b"content-length", b"status"}


def header_pair(name: str, value: str) -> tuple[bytes, bytes]:
    """One response field on the wire: the name in lower case, the value in latin-1 without outer space."""
    if not isinstance(name, str):
        raise ApplicationTypeError(
            f"start_response was given the header name {name!r}, a {type(name).__name__}; give a str."
        )
    wire_name = _RESPONSE_NAMES[name]
    if not isinstance(value, str):
        raise ApplicationTypeError(
            f"start_response was given the value {value!r} for the header {name!r}, a "
            f"{type(value).__name__}; give a str."
        )
    if not value.isascii() or not value.isprintable():
        # Printable ASCII is the common case and needs no closer look.
        if _CONTROL.search(value) is not None:
            raise ApplicationValueError(
                f"start_response was given the value {value!r} for the header {name!r}; a value has no "
                f"control characters, line ends among them."
            )
        try:
            value.encode("latin-1")
        except UnicodeEncodeError as error:
            raise ApplicationValueError(
                f"start_response was given the value {value!r} for the header {name!r}; a value has only "
                f"characters up to U+00FF. Encode others first, for instance as RFC 8187 says."
            ) from error
    return wire_name, value.strip(" \t").encode("latin-1")


class ResponseHeaders(NamedTuple):
    """The checked fields of a response."""

    pairs: list[tuple[bytes, bytes]]
    content_length: int | None = None
    dropped: tuple[str, ...] = ()
    announces_trailers: bool = False


def headers_from_list(headers: Iterable[Any], status: int, *, strict: bool) -> ResponseHeaders:
    """Check the list that ``start_response`` was given, and put it on the wire.

    Hop-by-hop fields are the server's affair. With *strict* they are an error, as PEP 3333 has it;
    otherwise they are dropped, since deployed applications do send them.
    """
    pairs: list[tuple[bytes, bytes]] = []
    content_length: int | None = None
    dropped: tuple[str, ...] = ()
    try:
        items = iter(headers)
    except TypeError as error:
        raise ApplicationTypeError(
            f"start_response was given {headers!r} for the headers, a {type(headers).__name__}; give a list "
            f"of pairs."
        ) from error
    for item in items:
        try:
            name, value = item
        except (TypeError, ValueError) as error:
            raise ApplicationTypeError(
                f"start_response was given the header {item!r}; give pairs of a name and a value."
            ) from error
        pair = header_pair(name, value)
        if pair[0] not in _NEEDS_A_LOOK:
            pairs.append(pair)
        elif pair[0] == b"content-length":
            length = _declared_length(value.strip(" \t"), "start_response was given the Content-Length")
            if content_length is None:
                content_length = length
                pairs.append(pair)
            elif content_length != length:
                raise ApplicationValueError(
                    f"start_response was given two different lengths, {content_length} and {length}; give "
                    f"one Content-Length."
                )
        elif pair[0] == b"status":
            if strict:
                raise ApplicationValueError(
                    "start_response was given a header called 'Status'; the status goes into the first "
                    "argument."
                )
            pairs.append(pair)
        elif pair[0] == b"proxy-authenticate" and status == 407 and not strict:
            pairs.append(pair)  # the point of such a response
        elif strict:
            raise ApplicationValueError(
                f"start_response was given the header {name!r}, which belongs to the connection and not "
                f"to the response (PEP 3333, 'Other HTTP Features'); leave it to the server."
            )
        else:
            dropped += (name,)
    announces_trailers = any(name.lower() == "trailer" for name in dropped)
    return ResponseHeaders(pairs, content_length, dropped, announces_trailers)


def _declared_length(text: str, given: str) -> int:
    """The number in a Content-Length; *given* begins the complaint."""
    # RFC 9110, 8.6. Twenty digits are more bytes than there are; int() refuses some thousand.
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise ApplicationValueError(f"{given} {text!r}; give a decimal number, or leave the header out.")
    return int(text)


class _HeaderNames(dict[str, bytes]):
    """Looks up the header name that an environ key stands for; ``b""`` for entries that are no header.

    ``Host`` counts as none, and neither do the content fields: they are seen to by themselves.
    """

    def __missing__(self, key: str) -> bytes:
        name = b""
        if key.startswith("HTTP_") and key not in ("HTTP_HOST", "HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"):
            name = key[5:].replace("_", "-").lower().encode("ascii", "replace")
            if not key.isascii() or _TOKEN.fullmatch(name) is None:
                raise Refusal(400, "the name of a header field is not valid.")
        if len(self) < _CACHE_ENTRIES and len(key) <= _CACHED_NAME_BYTES:
            self[key] = name
        return name


_HEADER_NAMES = _HeaderNames()


def headers_from_environ(environ: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    """The header part of a scope; `Refusal` for values that no header can have."""
    pairs: list[tuple[bytes, bytes]] = []
    key, value = "HTTP_HOST", environ.get("HTTP_HOST")
    try:
        if value is not None:
            # The first, as RFC 9110, 7.2, would have it.
            pairs.append((b"host", value.encode("latin-1")))
            if not value.isprintable():
                _look_closer(value)
        names = _HEADER_NAMES
        for key, value in environ.items():
            name = names[key]
            if name:
                pairs.append((name, value.encode("latin-1")))
                if not value.isprintable():
                    _look_closer(value)
        key = "CONTENT_TYPE"
        if value := environ.get(key):
            pairs.append((b"content-type", value.encode("latin-1")))
            _look_closer(value)
        key = "CONTENT_LENGTH"
        # RFC 9112, 6.3: where both are given, the chunked framing says where the body ends.
        if value := environ.get(key):
            length = _content_length(str(value))
            if "HTTP_TRANSFER_ENCODING" not in environ:
                pairs.append((b"content-length", length.encode("ascii")))
    except UnicodeEncodeError:
        raise Refusal(400, f"the header field {_field_name(key)} is not in latin-1.") from None
    except AttributeError:
        raise ServerError(
            f"the WSGI server, or a middleware, gave {value!r} for {key} in the environ, a "
            f"{type(value).__name__}; every header field has to be a str."
        ) from None
    return pairs


def _look_closer(value: str) -> None:
    if "\r" in value or "\n" in value or "\0" in value:
        raise Refusal(400, "a header field has a CR, LF or NUL in its value.")


def content_length(environ: Mapping[str, Any]) -> int | None:
    """The declared length of a request's body, if there is one that can be read."""
    value = environ.get("CONTENT_LENGTH")
    return int(_content_length(str(value))) if value else None


class _ListNames(dict[bytes, str]):
    """Looks up what a response header is called in WSGI's list: checked; as it is, but for the type."""

    def __missing__(self, name: bytes) -> str:
        if _TOKEN.fullmatch(name) is None:
            raise ApplicationValueError(
                f"http.response.start has the header name {name!r}; a name is made of ASCII letters, digits "
                f"and !#$%&'*+-.^_`|~ only."
            )
        text = name.decode("ascii")
        if len(self) < _CACHE_ENTRIES and len(name) <= _CACHED_NAME_BYTES:
            self[name] = text
        return text


_LIST_NAMES = _ListNames()
_LISTED_WITH_CARE = frozenset(name.decode() for name in HOP_BY_HOP) | {"content-length"}


class ListedHeaders(NamedTuple):
    """The checked fields of an ASGI application's response, as ``start_response`` takes them."""

    pairs: list[tuple[str, str]]
    content_length: int | None = None
    dropped: tuple[str, ...] = ()


def list_from_headers(headers: Any, status: int) -> ListedHeaders:
    """Check the headers of ``http.response.start``. Hop-by-hop fields are the server's, and are dropped."""
    pairs: list[tuple[str, str]] = []
    content_length: int | None = None
    dropped: tuple[str, ...] = ()
    try:
        items = iter(headers)
    except TypeError as error:
        raise ApplicationTypeError(
            f"http.response.start has {headers!r} for its headers, a {type(headers).__name__}; give pairs of "
            f"bytes."
        ) from error
    for item in items:
        try:
            name, value = item
        except (TypeError, ValueError) as error:
            raise ApplicationTypeError(
                f"http.response.start has the header {item!r}; give pairs of a name and a value, both bytes."
            ) from error
        if not isinstance(name, bytes):
            raise ApplicationTypeError(
                f"http.response.start has the header name {name!r}, a {type(name).__name__}; give bytes."
            )
        text = listed_value(name, value)
        listed = _LIST_NAMES[name]
        lower = listed.lower()
        if lower not in _LISTED_WITH_CARE:
            pairs.append((listed, text))
        elif lower == "content-length":
            length = _declared_length(text, "http.response.start has the content-length")
            if content_length is None:
                content_length = length
                pairs.append((listed, text))
            elif content_length != length:
                raise ApplicationValueError(
                    f"http.response.start has two different lengths, {content_length} and {length}; give one "
                    f"content-length."
                )
        elif lower == "proxy-authenticate" and status == 407:
            pairs.append((listed, text))  # the point of such a response
        else:
            dropped += (listed,)
    return ListedHeaders(pairs, content_length, dropped)


def listed_value(name: Any, value: Any) -> str:
    """The value of a field as text, checked."""
    if not isinstance(value, bytes):
        raise ApplicationTypeError(
            f"the application sent the value {value!r} for the header {name!r}, a {type(value).__name__}; "
            f"give bytes."
        )
    text = value.decode("latin-1")
    if not text.isprintable() and _CONTROL.search(text) is not None:
        raise ApplicationValueError(
            f"the application sent the value {value!r} for the header {name!r}; a value has no control "
            f"characters, line ends among them."
        )
    return text.strip(" \t")
