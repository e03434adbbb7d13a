"""`AsgiClient`: calls an ASGI application as a server does, and plays the client too."""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

from asgiadapt._errors import ApplicationOrderError, ClientDisconnected, StartupFailed
from asgiadapt._testing_call import Application, Call, News
from asgiadapt._testing_request import Headers, Response, scope_of, socket_scope_of, text_headers
from asgiadapt._testing_websocket import AsgiWebSocket
from asgiadapt.validate import validator

_Body: TypeAlias = bytes | Iterable[bytes] | AsyncIterable[bytes]


class AsgiClient:
    """Calls *app*, an ASGI application, in the tasks of the test's own event loop; no sockets, no threads.

    ``async with AsgiClient(app) as client`` starts the application up before the block and shuts it down
    after it. Without that there is no lifespan, for applications that take no part in it.

    ``state`` is what the lifespan has left for requests; each of them gets a copy. What the application
    raises is raised in the test, unchanged.

    Parameters
        app: the application (ASGI 3.0).
        validate: put `asgiadapt.validate.validator` around it.
        timeout: seconds that each step may take before it is given up with TimeoutError. None: no limit.
    """

    def __init__(self, app: Application, *, validate: bool = False, timeout: float | None = 5.0) -> None:
        self.state: dict[str, Any] = {}
        self._app = validator(app) if validate else app
        self._timeout: Final = timeout
        self._lifespan: _Lifespan | None = None

    async def __aenter__(self) -> Self:
        self._lifespan = _Lifespan(self._app, self.state, self._timeout)
        await self._lifespan.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        lifespan, self._lifespan = self._lifespan, None
        assert lifespan is not None
        try:
            await lifespan.stop()
        except Exception:
            # What has failed in the block comes first.
            if error is None:
                raise

    def stream(
        self,
        method: str,
        path: str,
        *,
        headers: Headers = (),
        body: _Body = b"",
        buffer: int = 0,
        **scope: Any,
    ) -> "AsgiExchange":
        """A request whose response is taken piece by piece, in an ``async with`` block.

        ``send`` in the application waits for as long as more than *buffer* chunks have not been taken. *path*
        may have a query. A *body* that is iterable is taken piece by piece when the application receives it.
        What else is given replaces entries of the scope.
        """
        head = scope_of(method, path, headers, body, {"state": self.state.copy(), **scope})
        return AsgiExchange(self._app, head, body, buffer, self._timeout)

    async def request(
        self, method: str, path: str, *, headers: Headers = (), body: _Body = b"", **scope: Any
    ) -> Response:
        """A whole request: returns when the application has, and so has done what it does afterwards."""
        async with self.stream(method, path, headers=headers, body=body, **scope) as exchange:
            await exchange.started()
            content = await exchange.read()
            await exchange.ended()
        return Response(exchange.status, exchange.headers, content)

    def websocket(
        self,
        path: str,
        *,
        subprotocols: Sequence[str] = (),
        headers: Headers = (),
        buffer: int = 0,
        **scope: Any,
    ) -> AsgiWebSocket:
        """A WebSocket connection, opened in an ``async with`` block.

        ``send`` in the application waits for as long as more than *buffer* messages have not been taken.
        What else is given replaces entries of the scope.
        """
        head = socket_scope_of(path, headers, subprotocols, {"state": self.state.copy(), **scope})
        return AsgiWebSocket(self._app, head, buffer, self._timeout)


class AsgiExchange:
    """One request and its response, step by step; made by `AsgiClient.stream`.

    ``async for chunk in exchange`` takes the chunks of the body. The application goes on behind a chunk when
    it was taken. At the end of the block a response that is not complete is given up, as by `disconnect`, and
    the end of the call is waited for.

    ``messages`` are all that the application has sent so far.
    """

    def __init__(
        self, app: Application, scope: dict[str, Any], body: _Body, buffer: int, timeout: float | None
    ) -> None:
        self.messages: list[dict[str, Any]] = []
        self._app = app
        self._scope = scope
        self._buffer = buffer
        self._call = Call(timeout)
        self._news = self._call.news
        self._body = _RequestBody(body, self._news)
        self._start: dict[str, Any] | None = None
        self._chunks: deque[bytes] = deque()  # sent, and not taken
        self._complete = self._gone = False

    async def __aenter__(self) -> Self:
        self._call.begin(self._app, self._scope, self._receive, self._send)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._complete:
            self.disconnect()
        try:
            await self._call.finish(error)
        finally:
            await self._body.close()

    # For the test

    async def started(self) -> None:
        """Wait for the head of the response: `status` and `headers`."""
        await self._call.until(lambda: self._start is not None or self._call.is_over(), "begun a response")
        if self._start is None:
            self._raise_end()

    @property
    def status(self) -> int:
        """The status of the response, once that has `started`."""
        status: int = self._head()["status"]
        return status

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The headers of the response, once that has `started`."""
        return text_headers(self._head().get("headers", ()))

    def _head(self) -> dict[str, Any]:
        if self._start is None:
            raise RuntimeError("The response has not begun; await started() first.")
        return self._start

    async def chunk(self) -> bytes:
        """Take the next chunk that is not empty; ``b""``: the response is complete."""
        if self._gone:
            raise ClientDisconnected("the test has called disconnect(), and takes no more of the response.")
        await self._call.until(
            lambda: bool(self._chunks) or self._complete or self._call.is_over(), "gone on with the response"
        )
        if self._chunks:
            chunk = self._chunks.popleft()
            self._news.tell()
            return chunk
        if not self._complete:
            self._raise_end()
        return b""

    async def read(self) -> bytes:
        """Take all that is left of the body."""
        return b"".join([chunk async for chunk in self])

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self.chunk()
        if not chunk:
            raise StopAsyncIteration
        return chunk

    def disconnect(self) -> None:
        """The client goes: ``receive`` gives ``http.disconnect``, ``send`` raises `ClientDisconnected`."""
        self._gone = True
        self._news.tell()

    async def ended(self) -> None:
        """Wait until the application has returned; raises what it has raised."""
        await self._call.until(self._call.is_over, "ended")
        self._call.raise_error()

    def _raise_end(self) -> None:
        """The call is over and the response is not complete."""
        self._call.raise_error()
        self._call.reported = True
        raise ApplicationOrderError(
            "the application returned without a response that is complete; send http.response.start, and "
            "http.response.body to its end."
        )

    # For the application

    async def _receive(self) -> dict[str, Any]:
        event = await self._body.next(lambda: self._gone or self._complete)
        return {"type": "http.disconnect"} if event is None else event

    async def _send(self, message: dict[str, Any]) -> None:
        if self._complete:
            return  # ASGI HTTP, "Response Body": ignored
        if self._gone:
            raise self._call.refuse()
        self.messages.append(dict(message))
        kind = message["type"]
        if kind == "http.response.start":
            self._start = dict(message)
            self._news.tell()
        elif kind in _BODIES:
            chunk = message.get("body", b"")
            if chunk and self._has_body():
                await self._hand_over(bytes(chunk))
            trailers = self._start is not None and self._start.get("trailers", False)
            self._end_where(not trailers and not message.get("more_body", False))
        elif kind == "http.response.trailers":
            self._end_where(not message.get("more_trailers", False))

    def _has_body(self) -> bool:
        status = None if self._start is None else self._start["status"]
        return self._scope["method"] != "HEAD" and status not in (204, 205, 304)

    async def _hand_over(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._news.tell()
        await self._news.until(lambda: len(self._chunks) <= self._buffer or self._gone)
        if len(self._chunks) > self._buffer:
            raise self._call.refuse()

    def _end_where(self, complete: bool) -> None:
        if complete:
            self._complete = True
            self._news.tell()


_BODIES: Final = ("http.response.body", "http.response.zerocopysend", "http.response.pathsend")


class _RequestBody:
    """The events of a request's body, made when they are asked for."""

    def __init__(self, body: _Body, news: News) -> None:
        self._news = news
        self._pieces = None if isinstance(body, bytes) else _pieces_of(body)
        # What was pulled and not given: a receive() that is cancelled loses nothing.
        self._event: dict[str, Any] | None = _request(body) if isinstance(body, bytes) else None
        self._pull: asyncio.Task[None] | None = None
        self._error: BaseException | None = None
        self._ended = False

    async def next(self, is_over: Callable[[], bool]) -> dict[str, Any] | None:
        """The next event; None once *is_over* holds."""
        if not is_over() and not self._ended and self._event is None and self._pull is None:
            self._pull = asyncio.create_task(self._pull_one())
        await self._news.until(lambda: is_over() or self._event is not None or self._error is not None)
        if is_over():
            return None
        if self._error is not None:
            raise self._error
        event, self._event = self._event, None
        assert event is not None
        self._ended = not event["more_body"]
        return event

    async def _pull_one(self) -> None:
        assert self._pieces is not None
        try:
            self._event = _request(await anext(self._pieces), more=True)
        except StopAsyncIteration:
            self._event = _request(b"")
        except Exception as error:
            self._error = error
        finally:
            self._pull = None
            self._news.tell()

    async def close(self) -> None:
        if self._pull is not None:
            pull = self._pull
            pull.cancel()
            await asyncio.wait([pull])
        close = getattr(self._pieces, "aclose", None)
        if close is not None:
            await close()


def _request(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def _pieces_of(body: Iterable[bytes] | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    if isinstance(body, AsyncIterable):
        return aiter(body)

    async def pieces() -> AsyncIterator[bytes]:
        for piece in body:
            yield piece

    return pieces()


class _Lifespan:
    """The lifespan of an application, in a task of its own."""

    def __init__(self, app: Application, state: dict[str, Any], timeout: float | None) -> None:
        self._app = app
        self._scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": state,
        }
        self._call = Call(timeout)
        self._events = ["lifespan.startup"]  # that are due
        self._answers: dict[str, dict[str, Any]] = {}

    async def start(self) -> None:
        self._call.begin(self._app, self._scope, self._receive, self._send)
        failure = await self._answer("startup")
        if failure is not None:
            await self._call.until_over()
            raise StartupFailed(failure)

    async def stop(self) -> None:
        self._events.append("lifespan.shutdown")
        self._call.news.tell()
        failure = await self._answer("shutdown")
        await self._call.until_over()
        error = self._call.error
        if error is not None:
            raise error
        if failure is not None:
            raise RuntimeError(f"the application's shutdown has failed: {failure}")

    async def _answer(self, step: str) -> str | None:
        """Wait for the answer to *step*; the message of one that has failed."""
        kinds = (f"lifespan.{step}.complete", f"lifespan.{step}.failed")
        try:
            await self._call.until(
                lambda: any(kind in self._answers for kind in kinds) or self._call.is_over(),
                f"answered lifespan.{step}",
            )
        except BaseException:
            await self._call.cancel()
            raise
        failed = self._answers.get(kinds[1])
        if failed is not None:
            return str(failed.get("message", ""))
        if kinds[0] not in self._answers:
            error = self._call.error
            if error is not None:
                raise error
            raise ApplicationOrderError(
                f"the application returned without an answer to lifespan.{step}; leave 'async with' out for "
                f"one that takes no part in the lifespan."
            )
        return None

    async def _receive(self) -> dict[str, Any]:
        await self._call.news.until(lambda: bool(self._events))
        return {"type": self._events.pop(0)}

    async def _send(self, message: dict[str, Any]) -> None:
        self._answers[message["type"]] = dict(message)
        self._call.news.tell()
