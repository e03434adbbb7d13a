"""Responses of a WSGI application: what may follow what, and the ASGI events that come of it.

`WsgiResponse` is fed with what the application does and answers with the events to send. It sends
nothing itself.
"""

from enum import Enum
from types import TracebackType
from typing import Any, TypeAlias

from asgiadapt._errors import ApplicationOrderError, ApplicationTypeError, ApplicationValueError
from asgiadapt._sansio.headers import ResponseHeaders, header_pair, headers_from_list
from asgiadapt._sansio.status import status_from_line

Event: TypeAlias = dict[str, Any]
ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class Phase(Enum):
    WAITING = "start_response has not been called"
    STARTED = "start_response has been called, and nothing was sent yet"
    OPEN = "the head of the response has been sent"
    DONE = "the response is complete"


# Statuses whose responses end after the head (RFC 9110, 15.3.5, 15.3.6, 15.4.5).
_WITHOUT_BODY = frozenset({204, 205, 304})


class WsgiResponse:
    """One response. *method* is the request's; *strict* and *add_content_length* are as in `WsgiToAsgi`.

    *may_have_trailers* says whether the server offers ``http.response.trailers``.
    """

    __slots__ = (
        "_add_content_length",
        "_called",
        "_head",
        "_headers",
        "_left",
        "_may_have_trailers",
        "_strict",
        "_trailers",
        "_without_body",
        "phase",
        "status",
    )

    def __init__(
        self,
        method: str,
        *,
        strict: bool = False,
        add_content_length: bool = False,
        may_have_trailers: bool = False,
    ) -> None:
        self._head = method == "HEAD"
        self._strict = strict
        self._add_content_length = add_content_length
        self._may_have_trailers = may_have_trailers
        self._called = False
        self._headers: ResponseHeaders | None = None
        self._left: int | None = None  # bytes that the declared length still has room for
        self._trailers: list[tuple[bytes, bytes]] | None = None  # None: not announced
        self._without_body = False
        self.phase = Phase.WAITING
        self.status = 0

    @property
    def committed(self) -> bool:
        """Whether the head has gone out, so that another status can no longer take its place."""
        return self.phase is Phase.OPEN or self.phase is Phase.DONE

    @property
    def complete(self) -> bool:
        """Whether everything has gone out, so that nothing more is wanted."""
        return self.phase is Phase.DONE

    @property
    def dropped(self) -> tuple[str, ...]:
        """The names of the fields that were left out since they belong to the connection."""
        return self._headers.dropped if self._headers is not None else ()

    def start(self, status: Any, headers: Any, exc_info: Any = None) -> None:
        """What ``start_response`` does (PEP 3333, "The start_response() Callable")."""
        if exc_info is None:
            if self._called:
                before = "its first call failed" if self.phase is Phase.WAITING else self.phase.value
                raise ApplicationOrderError(
                    f"start_response was called a second time without exc_info, although {before}; call "
                    f"it once, or pass sys.exc_info() to replace the first call after an error."
                )
        elif not isinstance(exc_info, tuple):
            raise ApplicationTypeError(
                f"start_response was given exc_info of type {type(exc_info).__name__}; give the tuple of "
                f"sys.exc_info(), or None."
            )
        elif self.committed:
            try:
                _reraise(exc_info)
            finally:
                exc_info = None  # this frame is in its traceback
        # Set before anything is checked: a call that failed counts as a call.
        self._called = True
        code = status_from_line(status)
        self._headers = headers_from_list(headers, code, strict=self._strict)
        self._without_body = self._head or code in _WITHOUT_BODY
        self._left = None if self._without_body else self._headers.content_length
        self.status = code
        self.phase = Phase.STARTED

    def chunk(self, data: Any, *, only: bool = False) -> list[Event]:
        """The events for a chunk of the iterable; *only* where it is known to be the whole body.

        An empty chunk brings nothing about.
        """
        if not isinstance(data, bytes):
            raise ApplicationTypeError(
                f"the application's iterable gave {_short(data)}, a {type(data).__name__}; give bytes, "
                f"for instance with .encode()."
            )
        if not data or self.phase is Phase.DONE:
            return []
        events = self._commit(len(data) if only else None)
        if self._without_body:
            return events
        last = only
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
            # Not before the declared length is reached, even if this was the only chunk.
            last = not self._left
        if last:
            self._finish(events, data)
        else:
            events.append({"type": "http.response.body", "body": data, "more_body": True})
        return events

    def write(self, data: Any) -> tuple[list[Event], ApplicationValueError | None]:
        """The events for a call of ``write``, and the error to raise once they are on their way."""
        if not isinstance(data, bytes):
            raise ApplicationTypeError(
                f"write() was given {_short(data)}, a {type(data).__name__}; give bytes, for instance "
                f"with .encode()."
            )
        too_long = None
        if self._left is not None and len(data) > self._left:
            too_long = ApplicationValueError(
                f"write() was given {len(data)} bytes where the Content-Length of the response leaves "
                f"room for {self._left}; those past it were not sent. Declare the length that is sent, "
                f"or none."
            )
        if self.phase is Phase.DONE:
            return [], too_long
        return (self.chunk(data) if data else self._commit(None)), too_long

    def end(self) -> list[Event]:
        """The events for the end of the iterable."""
        if self.phase is Phase.DONE:
            return []
        if self._left:
            raise ApplicationValueError(
                f"the application's response ended {self._left} bytes short of its Content-Length; the "
                f"connection is cut, since the client could not tell. Declare the length that is sent, "
                f"or none."
            )
        events = self._commit(None)
        self._finish(events, b"")
        return events

    def declared_length(self, default: int) -> int:
        """The Content-Length that the application set, or *default*."""
        return default if self._left is None else self._left

    def file(self, event: Event, size: int) -> list[Event] | None:
        """The events where *event* sends a file of *size* bytes; None where it must go as chunks."""
        if self.phase is not Phase.STARTED or self._without_body or self._trailers is not None:
            return None
        if self._left is not None and self._left != size:
            return None
        events = self._commit(None)
        events.append(event)
        self.phase = Phase.DONE
        return events

    def early_hint(self, headers: Any) -> list[Event]:
        """The events for a call of ``wsgi.early_hints``: none once the head has been sent."""
        pairs = [header_pair(name, value) for name, value in headers]
        links = [value for name, value in pairs if name == b"link"]
        if self.committed or not links:
            return []
        return [{"type": "http.response.early_hint", "links": links}]

    def set_trailers(self, headers: Any) -> None:
        """What the application wants to send after the body; the last call stands."""
        pairs = [header_pair(name, value) for name, value in headers]
        if self.committed and (self._trailers is None or self.phase is Phase.DONE):
            raise ApplicationOrderError(
                f"asgiadapt.send_trailers was called although {self.phase.value}; announce trailers by a "
                f"'Trailer' header or a first call before the body, and set them before its end."
            )
        if self._trailers is None:
            self._trailers = []
        self._trailers[:] = pairs

    def _commit(self, whole: int | None) -> list[Event]:
        """The start event, where it has not been sent. *whole* is the length of the body, if known."""
        if self.phase is Phase.OPEN:
            return []
        if self._headers is None:
            raise ApplicationOrderError(
                "the application sent its body, or ended, before it called start_response; call "
                "start_response(status, headers) first."
            )
        pairs = self._headers.pairs
        if self.status == 204 or (self.status == 205 and self._headers.content_length):
            # RFC 9110, 8.6 and 15.3.6: a 204 has no length, and that of a 205 is 0.
            pairs = [pair for pair in pairs if pair[0] != b"content-length"]
        elif (
            self._add_content_length
            and whole is not None
            and self._headers.content_length is None
            and not self._without_body
        ):
            pairs = [*pairs, (b"content-length", str(whole).encode())]
        self.phase = Phase.OPEN
        start: Event = {"type": "http.response.start", "status": self.status, "headers": pairs}
        if self._may_have_trailers:
            if self._headers.announces_trailers and self._trailers is None:
                self._trailers = []
            if self._trailers is not None:
                start["trailers"] = True
        return [start]

    def _finish(self, events: list[Event], data: bytes) -> None:
        self.phase = Phase.DONE
        events.append({"type": "http.response.body", "body": data, "more_body": False})
        if self._trailers is not None:
            events.append({"type": "http.response.trailers", "headers": self._trailers})


def _reraise(exc_info: Any) -> None:
    """PEP 3333: too late for another status, so the application's own error goes on its way."""
    try:
        error = exc_info[1]
        if error is None:
            raise ApplicationOrderError(
                "start_response was called with an empty exc_info after the head of the response had "
                "been sent; call it with exc_info inside an except block only."
            )
        raise error.with_traceback(exc_info[2])
    finally:
        # The traceback holds this frame, and this frame would hold the traceback.
        error = exc_info = None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
