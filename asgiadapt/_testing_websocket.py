"""`AsgiWebSocket`: a WebSocket to an ASGI application, with the test as its client."""

from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Final, NoReturn, Self

from asgiadapt._errors import ApplicationOrderError, ClientDisconnected
from asgiadapt._testing_call import Application, Call
from asgiadapt._testing_request import Response, text_headers

# RFC 6455, 7.4.1: closed without a word.
_LOST: Final = 1006


class AsgiWebSocket:
    """A WebSocket connection, message by message; made by `AsgiClient.websocket`.

    ``async for message in socket`` takes messages until the application closes. The application goes on
    behind a message when it was taken. The end of the block closes the connection, as by `close`, and waits
    for the end of the call.

    ``messages`` are all that the application has sent so far. ``response`` is what it refuses the connection
    with: a response of its own, or 403 where it closes instead of accepting. ``close_code`` and
    ``close_reason`` are those of a connection that it has closed, and None before.
    """

    def __init__(self, app: Application, scope: dict[str, Any], buffer: int, timeout: float | None) -> None:
        self.messages: list[dict[str, Any]] = []
        self.response: Response | None = None
        self.close_code: int | None = None
        self.close_reason: str | None = None
        self._app = app
        self._scope = scope
        self._buffer = buffer
        self._call = Call(timeout)
        self._news = self._call.news
        self._events: deque[dict[str, Any]] = deque([{"type": "websocket.connect"}])
        self._accept: dict[str, Any] | None = None
        self._head: dict[str, Any] = {"status": 403}  # of the response
        self._body = b""
        self._sent: deque[str | bytes] = deque()  # and not taken
        self._gone = False  # the test has closed
        self._end: dict[str, Any] | None = None  # what the application receives once either side has closed

    async def __aenter__(self) -> Self:
        self._call.begin(self._app, self._scope, self._receive, self._send)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        await self._call.finish(error)

    # For the test

    async def accepted(self) -> None:
        """Wait until the application has accepted; ConnectionRefusedError where it refuses."""
        await self._call.until(
            lambda: self._is_answered() or self._call.is_over(), "accepted or refused the connection"
        )
        if self._accept is None:
            self._raise_refusal()

    def _is_answered(self) -> bool:
        return self._accept is not None or self.response is not None

    def _raise_refusal(self) -> NoReturn:
        if self.response is not None:
            raise ConnectionRefusedError(
                f"the application refused the connection with the status {self.response.status}."
            )
        self._call.raise_error()
        self._call.reported = True
        raise ApplicationOrderError(
            "the application returned without an answer to websocket.connect; send websocket.accept, or "
            "websocket.close to refuse."
        )

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the application has `accepted`."""
        subprotocol: str | None = self._acceptance().get("subprotocol")
        return subprotocol

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The headers that the application has `accepted` the connection with."""
        return text_headers(self._acceptance().get("headers", ()))

    def _acceptance(self) -> dict[str, Any]:
        if self._accept is None:
            raise RuntimeError("The connection is not accepted; await accepted() first.")
        return self._accept

    def send(self, message: str | bytes) -> None:
        """Give the application a message. It need not have received the one before."""
        self._acceptance()
        if self._end is not None:
            raise RuntimeError("The connection is closed, and takes no message any more.")
        key = "text" if isinstance(message, str) else "bytes"
        self._events.append({"type": "websocket.receive", key: message})
        self._news.tell()

    async def receive(self) -> str | bytes | None:
        """Take the next message; None: the application has closed the connection, or has returned."""
        if self._gone:
            raise ClientDisconnected("the test has closed the connection, and takes no more of it.")
        await self._call.until(
            lambda: bool(self._sent) or self._end is not None or self._call.is_over(), "sent a message"
        )
        if self._sent:
            message = self._sent.popleft()
            self._news.tell()
            return message
        if self._accept is None:
            self._raise_refusal()
        self._call.raise_error()
        return None

    def __aiter__(self) -> AsyncIterator[str | bytes]:
        return self

    async def __anext__(self) -> str | bytes:
        message = await self.receive()
        if message is None:
            raise StopAsyncIteration
        return message

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection: ``receive`` gives ``websocket.disconnect``, behind what was sent before.

        ``send`` in the application raises `ClientDisconnected` from now on.
        """
        if self._end is None:
            self._gone = True
            self._end_with(code, reason)

    def disconnect(self) -> None:
        """The client goes without closing: as `close`, with the code for that, 1006."""
        self.close(_LOST)

    async def ended(self) -> None:
        """Wait until the application has returned; raises what it has raised."""
        await self._call.until(self._call.is_over, "ended")
        self._call.raise_error()

    def _end_with(self, code: int, reason: str) -> None:
        self._end = {"type": "websocket.disconnect", "code": code, "reason": reason}
        self._news.tell()

    # For the application

    async def _receive(self) -> dict[str, Any]:
        await self._news.until(lambda: bool(self._events) or self._end is not None)
        if self._events:
            return self._events.popleft()
        assert self._end is not None
        return self._end.copy()

    async def _send(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if self._gone:
            raise self._call.refuse()
        if self._end is not None:
            raise ApplicationOrderError(
                f"the application sent {kind} after it had closed or refused the connection; send nothing "
                f"more."
            )
        self.messages.append(dict(message))
        if kind == "websocket.accept":
            self._accept = dict(message)
            self._news.tell()
        elif kind == "websocket.send":
            text = message.get("text")
            await self._hand_over(message["bytes"] if text is None else text)
        elif kind == "websocket.close":
            self._close(message)
        elif kind == "websocket.http.response.start":
            self._head = dict(message)
        elif kind == "websocket.http.response.body":
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                self._refuse()

    async def _hand_over(self, message: str | bytes) -> None:
        self._sent.append(message)
        self._news.tell()
        await self._news.until(lambda: len(self._sent) <= self._buffer or self._gone)
        if len(self._sent) > self._buffer:
            raise self._call.refuse()

    def _close(self, message: dict[str, Any]) -> None:
        if self._accept is None:
            self._refuse()
            return
        code, reason = message.get("code", 1000), message.get("reason") or ""
        self.close_code, self.close_reason = code, reason
        self._end_with(code, reason)

    def _refuse(self) -> None:
        self.response = Response(
            self._head["status"], text_headers(self._head.get("headers", ())), self._body
        )
        self._end_with(_LOST, "")
