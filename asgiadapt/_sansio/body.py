"""Request bodies: what each event of ``receive`` means for the bytes of the body.

The rules alone. How the bytes reach whoever reads them is the gateway's affair.
"""

from collections.abc import Mapping
from typing import Any

from asgiadapt._errors import ClientDisconnected, RequestTooLarge, ServerError


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
