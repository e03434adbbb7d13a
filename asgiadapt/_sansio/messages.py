"""Responses of an ASGI application: what may follow what, and what a WSGI server is given for it.

`AsgiResponse` is fed with the messages of ``send`` and answers with parts for the server, in their order. It
gives the server nothing itself.
"""

from collections.abc import Container, Mapping
from enum import Enum
from typing import Any, Final, NamedTuple, TypeAlias

from asgiadapt._errors import ApplicationOrderError, ApplicationTypeError, ApplicationValueError
from asgiadapt._sansio.headers import ListedHeaders, list_from_headers, listed_value
from asgiadapt._sansio.request import SERVER_FUNCTIONS
from asgiadapt._sansio.status import line_from_status


class Head(NamedTuple):
    """The arguments of ``start_response``."""

    status: str
    headers: list[tuple[str, str]]


class ServerCall(NamedTuple):
    """A function of the environ that is to be called."""

    key: str
    argument: Any


class FilePath(NamedTuple):
    """A file that is to be sent, once it is open."""

    path: str


Part: TypeAlias = Head | bytes | ServerCall | FilePath | ApplicationValueError


class Phase(Enum):
    WAITING = "no http.response.start was sent yet"
    STARTED = "http.response.start was sent, and no part of the body"
    OPEN = "a part of the body was sent"
    DRAINING = "the head was sent, which is all that a response of this kind has"
    DONE = "the response is complete"


# Statuses whose responses end after the head (RFC 9110, 15.3.5, 15.3.6, 15.4.5).
_WITHOUT_BODY: Final = frozenset({"204", "205", "304"})


class AsgiResponse:
    """One response. *method* is the request's, *offered* the extensions in its scope.

    With *add_content_length* a response of one body message gets its length.
    """

    __slots__ = ("_add_content_length", "_head", "_headers", "_left", "_offered", "_status", "phase")

    def __init__(self, method: str, offered: Container[str], *, add_content_length: bool = False) -> None:
        self._head = method == "HEAD"
        self._offered = offered
        self._add_content_length = add_content_length
        self._status = ""
        self._headers: ListedHeaders | None = None
        self._left: int | None = None  # bytes that the declared length still has room for
        self.phase = Phase.WAITING

    @property
    def complete(self) -> bool:
        """Whether the client gets nothing more, even if the application goes on with the body."""
        return self.phase is Phase.DONE or self.phase is Phase.DRAINING

    @property
    def dropped(self) -> tuple[str, ...]:
        """The names of the fields that were left out since they belong to the connection."""
        return self._headers.dropped if self._headers is not None else ()

    def accept(self, message: Mapping[str, Any]) -> list[Part]:
        """The parts that *message* brings, in a new list. What comes after the end brings none.

        After a `FilePath` comes what `file` gives.
        """
        phase = self.phase
        if phase is Phase.DONE:
            return []
        kind = message.get("type") if type(message) is dict else kind_of(message)
        if kind == "http.response.body":
            return self._body(message)
        if kind == "http.response.start":
            if phase is not Phase.WAITING:
                raise ApplicationOrderError(
                    f"the application sent http.response.start although {phase.value}; send it once."
                )
            self._status = line_from_status(message.get("status"))
            self._headers = list_from_headers(message.get("headers", ()), int(self._status[:3]))
            self._left = None if self._is_without_body() else self._headers.content_length
            self.phase = Phase.STARTED
            return []
        kind = kind_of(message)
        if kind not in SERVER_FUNCTIONS or kind not in self._offered:
            raise ApplicationOrderError(
                f"the application sent {kind!r}, which this server cannot do; send what "
                f"scope['extensions'] offers, http.response.start and http.response.body."
            )
        if kind == "http.response.early_hint":
            return self._early_hint(message)
        if kind == "http.response.pathsend":
            return self._file_path(message)
        return [ServerCall(SERVER_FUNCTIONS[kind], message.get("info"))]

    def _body(self, message: Mapping[str, Any]) -> list[Part]:
        phase = self.phase
        if phase is Phase.WAITING:
            raise ApplicationOrderError(
                "the application sent http.response.body before http.response.start; send that first."
            )
        data = message.get("body", b"")
        if type(data) is not bytes:
            data = _as_bytes(data)
        more = message.get("more_body", False)
        left = self._left
        if left is not None:
            if len(data) > left:
                raise ApplicationValueError(
                    f"the application sent a part of {len(data)} bytes where the content-length of the "
                    f"response leaves room for {left}. Declare the length that is sent, or none."
                )
            left = self._left = left - len(data)
            if left and not more:
                self.phase = Phase.DONE
                return [
                    ApplicationValueError(
                        f"the application's response ended {left} bytes short of its content-length; the "
                        f"connection is cut, since the client could not tell. Declare the length that is "
                        f"sent, or none."
                    )
                ]
        parts: list[Part] = []
        if phase is Phase.STARTED:
            without_body = self._is_without_body()
            parts.append(self._make_head(None if more or without_body else len(data)))
            if without_body:
                self.phase = Phase.DRAINING if more else Phase.DONE
                return parts
        elif phase is Phase.DRAINING:
            if not more:
                self.phase = Phase.DONE
            return parts
        if data or more:
            parts.append(data)
        self.phase = Phase.OPEN if more else Phase.DONE
        return parts

    def _file_path(self, message: Mapping[str, Any]) -> list[Part]:
        if self.phase is not Phase.STARTED:
            raise ApplicationOrderError(
                f"the application sent http.response.pathsend although {self.phase.value}; send it after "
                f"http.response.start, once, and without http.response.body."
            )
        path = message.get("path")
        if not isinstance(path, str):
            raise ApplicationTypeError(
                f"http.response.pathsend has the path {path!r}, a {type(path).__name__}; give a str."
            )
        return [FilePath(path)]

    def file(self, size: int) -> list[Part]:
        """The head of a response whose body is a file of *size* bytes."""
        if self._left is not None and self._left != size:
            raise ApplicationValueError(
                f"the application sent a file of {size} bytes where it has declared a content-length of "
                f"{self._left}. Declare the length that is sent, or none."
            )
        self.phase = Phase.DONE
        return [self._make_head(None if self._is_without_body() else size)]

    def has_body(self) -> bool:
        """Whether a body follows the head."""
        return not self._is_without_body()

    def _is_without_body(self) -> bool:
        return self._head or self._status[:3] in _WITHOUT_BODY

    def _make_head(self, whole: int | None) -> Head:
        """*whole* is the length of the body, if it is known."""
        assert self._headers is not None
        pairs = self._headers.pairs
        # RFC 9110, 8.6 and 15.3.6: a 204 has no length, and that of a 205 is 0.
        if self._status[:3] == "204" or (self._status[:3] == "205" and self._headers.content_length):
            pairs = [pair for pair in pairs if pair[0].lower() != "content-length"]
        elif self._add_content_length and whole is not None and self._headers.content_length is None:
            pairs.append(("content-length", str(whole)))
        return Head(self._status, pairs)

    def _early_hint(self, message: Mapping[str, Any]) -> list[Part]:
        if self.phase is Phase.OPEN or self.phase is Phase.DRAINING:
            raise ApplicationOrderError(
                f"the application sent http.response.early_hint although {self.phase.value}; send hints "
                f"before the body."
            )
        try:
            links = [listed_value(b"link", link) for link in message.get("links", ())]
        except TypeError as error:
            raise ApplicationTypeError(
                f"http.response.early_hint has {message.get('links')!r} for its links; give an iterable of "
                f"bytes."
            ) from error
        return [ServerCall("wsgi.early_hints", [("Link", link) for link in links])] if links else []


def kind_of(message: Any) -> str:
    """The type of a message that the application sent."""
    if type(message) is not dict and not isinstance(message, Mapping):
        raise ApplicationTypeError(
            f"the application sent {message!r}, a {type(message).__name__}; send a dict with a 'type'."
        )
    kind = message.get("type")
    if not isinstance(kind, str):
        raise ApplicationValueError(f"the application sent a message with the type {kind!r}; give a str.")
    return kind


def _as_bytes(data: Any) -> bytes:
    if not isinstance(data, bytes | bytearray | memoryview):
        raise ApplicationTypeError(
            f"http.response.body has a body of type {type(data).__name__}; give bytes, for instance with "
            f".encode()."
        )
    return bytes(data)
