"""`WsgiClient`: calls a WSGI application as a server does, and plays the client too."""

import io
import sys
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Final, Self, TypeAlias
from wsgiref.validate import validator

from asgiadapt._errors import ApplicationOrderError
from asgiadapt._sansio.request import EnvironMaker
from asgiadapt._testing_request import Headers, Response, scope_of

# Loose, since applications annotate it in many ways.
_Application: TypeAlias = Callable[..., Any]
_Body: TypeAlias = bytes | Iterable[bytes]

_MAKER: Final = EnvironMaker({"wsgi.multithread": False, "wsgi.multiprocess": False})


class WsgiClient:
    """Calls *app*, a WSGI application, on the thread of the test; no sockets.

    What the application raises is raised in the test, unchanged. With *validate*, the standard library's
    ``wsgiref.validate`` stands around it.
    """

    def __init__(self, app: _Application, *, validate: bool = False) -> None:
        self._app = validator(app) if validate else app

    def stream(
        self, method: str, path: str, *, headers: Headers = (), body: _Body = b"", **environ: Any
    ) -> "WsgiExchange":
        """A request whose response is taken piece by piece, in a ``with`` block.

        *path* may have a query. A *body* that is iterable is taken piece by piece when the application reads
        it; what it raises is raised by the read, so that an OSError is a client that has gone. What else is
        given replaces entries of the environ.
        """
        made = _MAKER.environ_from_scope(scope_of(method, path, headers, body, {}))
        del made["asgiadapt.scope"]  # there is none: the application stands behind no adapter
        made["wsgi.input"] = io.BufferedReader(_Input(body))
        made["wsgi.errors"] = sys.stderr
        return WsgiExchange(self._app, {**made, **environ})

    def request(
        self, method: str, path: str, *, headers: Headers = (), body: _Body = b"", **environ: Any
    ) -> Response:
        """A whole request."""
        with self.stream(method, path, headers=headers, body=body, **environ) as exchange:
            content = exchange.read()
        return Response(exchange.status, exchange.headers, content)


class WsgiExchange:
    """One request and its response, step by step; made by `WsgiClient.stream`.

    Entering the block calls the application, and asks for its first chunk if the response does not begin
    without. ``for chunk in exchange`` takes the chunks of the body; the application goes on when the next is
    asked for. The end of the block closes the iterable, as a server does after the response, and when the
    client has gone before.
    """

    def __init__(self, app: _Application, environ: dict[str, Any]) -> None:
        self.environ: Final = environ
        self._app = app
        self._line: str | None = None
        self._headers: list[tuple[str, str]] = []
        self._chunks: list[bytes] = []  # written, or asked for by the way
        self._head_has_left = self._closed = False
        self._iterable: Any = None
        self._iterator: Iterator[bytes] = iter(())

    def __enter__(self) -> Self:
        self._iterable = self._app(self.environ, self._start_response)
        try:
            self._iterator = iter(self._iterable)
            while self._line is None and not self._chunks:
                self._chunks.append(next(self._iterator))
        except StopIteration:
            pass
        except BaseException:
            self.close()
            raise
        if self._line is None:
            self.close()
            raise ApplicationOrderError(
                "the application gave its response without a call of start_response; call that first."
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def status(self) -> int:
        """The status of the response."""
        return int(self._head()[:3])

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The headers of the response."""
        self._head()
        return self._headers

    def _head(self) -> str:
        if self._line is None:
            raise RuntimeError("The application was not called; enter the block of 'with' first.")
        return self._line

    def chunk(self) -> bytes:
        """Take the next chunk that is not empty; ``b""``: the response has ended, or was closed."""
        while not self._closed:
            chunk = self._chunks.pop(0) if self._chunks else next(self._iterator, None)
            if chunk is None:
                break
            self._head_has_left = self._head_has_left or bool(chunk)
            if chunk and self._has_body():
                return chunk
        return b""

    def _has_body(self) -> bool:
        return self.environ["REQUEST_METHOD"] != "HEAD" and self.status not in (204, 205, 304)

    def read(self) -> bytes:
        """Take all that is left of the body."""
        return b"".join(self)

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self.chunk():
            yield chunk

    def close(self) -> None:
        """Close the iterable, unless that was done before."""
        if not self._closed:
            self._closed = True
            close = getattr(self._iterable, "close", None)
            if close is not None:
                close()

    # For the application

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None, /
    ) -> Callable[[bytes], None]:
        try:
            if exc_info is not None and self._head_has_left:
                raise exc_info[1]
            if exc_info is None and self._line is not None:
                raise ApplicationOrderError(
                    "the application called start_response a second time, without exc_info; call it once, or "
                    "pass sys.exc_info() to replace the first response after an error."
                )
        finally:
            exc_info = None  # PEP 3333: or the frames would stay in a cycle
        self._line, self._headers = status, list(headers)
        return self._write

    def _write(self, chunk: bytes) -> None:
        self._head_has_left = True
        self._chunks.append(chunk)


class _Input(io.RawIOBase):
    """A request body that is taken piece by piece."""

    def __init__(self, body: _Body) -> None:
        self._pieces = iter([body]) if isinstance(body, bytes) else iter(body)
        self._held = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._held:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._held = piece
        size = min(len(self._held), len(buffer))
        buffer[:size], self._held = self._held[:size], self._held[size:]
        return size
