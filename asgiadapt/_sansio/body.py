"""Request bodies: what each event of ``receive`` means for the bytes of the body, and the other way round.

The rules alone. How the bytes reach whoever reads them is the gateway's affair.
"""

from collections.abc import Mapping
from typing import Any, Final

from asgiadapt._errors import ClientDisconnected, RequestTooLarge, ServerError
from asgiadapt._sansio.headers import content_length


class RequestBody:
    """Takes the events of one request in order, and counts.

    ``ended`` is true once the body is complete; no event after that belongs to it. *max_size* bounds the
    bytes that really came, whatever a header declared; None is no bound.
    """

    __slots__ = ("_max_size", "ended", "size")

    def __init__(self, max_size: int | None = None) -> None:
        self._max_size = max_size
        self.size = 0
        self.ended = False

    def accept(self, event: Mapping[str, Any]) -> bytes:
        """The bytes that *event* brings, perhaps none.

        Raises `ClientDisconnected` where the client left before the end, `RequestTooLarge` past the bound,
        and `ServerError` for an event that has no place here.
        """
        kind = event["type"]
        if kind == "http.disconnect":
            raise ClientDisconnected(
                f"the client went away after {self.size} bytes of the request body, before its end; "
                f"what has come is not the whole. Give the request up."
            )
        if kind != "http.request":
            raise ServerError(
                f"the ASGI server gave the event {kind!r} where 'http.request' or 'http.disconnect' was "
                f"due; report this to the server's authors."
            )
        chunk: bytes = event.get("body") or b""
        self.size += len(chunk)
        if self._max_size is not None and self.size > self._max_size:
            raise RequestTooLarge(
                f"the request body has more than the {self._max_size} bytes that max_body_size allows; "
                f"answer with 413, or raise the limit."
            )
        self.ended = not event.get("more_body", False)
        return chunk


# So much of a request body travels in one event, at first. Of a body whose length is not known it is never
# more: a client may wait for an answer to a part of it, and a read waits for all that was asked for.
_PIECE: Final = 64 * 1024


class InputBody:
    """Says how much of ``wsgi.input`` to read, and makes the events of what was read.

    ``ended`` is true once the last event was made. Where no length is declared, the stream is read to its end
    if the server says that it has one, and otherwise not at all: that could block for ever.
    """

    __slots__ = ("_left", "_piece", "ended")

    def __init__(self, environ: Mapping[str, Any]) -> None:
        left = content_length(environ)
        if environ.get("wsgi.input_terminated"):
            if "HTTP_TRANSFER_ENCODING" in environ:
                left = None  # RFC 9112, 6.3: the framing says where the body ends
        elif left is None:
            left = 0
        if environ.get("wsgi.input") is None:
            left = 0
        self._left = left  # None: unknown
        self._piece = _PIECE
        self.ended = False

    def wanted(self) -> int:
        """Bytes to read next; 0 where the body is at its end, or empty."""
        if self._left is None:
            return _PIECE
        return min(self._piece, self._left)

    def grow(self, most: int) -> None:
        """The read was quick: let the next be larger, up to *most* bytes."""
        self._piece = max(_PIECE, min(2 * self._piece, most))

    def shrink(self) -> None:
        """The read had to wait for the client: let the application have soon what there is."""
        self._piece = _PIECE

    def event(self, data: Any) -> dict[str, Any]:
        """The event for *data*, which was read; `ClientDisconnected` where it is short of the whole."""
        if not isinstance(data, bytes):
            raise ServerError(
                f"wsgi.input.read() gave a {type(data).__name__} instead of bytes; report this to the "
                f"authors of the WSGI server or of the middleware that has made the stream."
            )
        if self._left is None:
            self.ended = not data
        else:
            if len(data) > self._left:
                raise ServerError(
                    f"wsgi.input.read() gave {len(data)} bytes where {self._left} were left of the body; "
                    f"report this to the authors of the WSGI server or of the middleware that has made the "
                    f"stream."
                )
            if self._left and not data:
                raise ClientDisconnected(
                    f"the request body ended {self._left} bytes before its declared length: the client went "
                    f"away."
                )
            self._left -= len(data)
            self.ended = not self._left
        return {"type": "http.request", "body": data, "more_body": not self.ended}
