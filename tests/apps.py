"""Tiny WSGI applications, each named for what it does."""

from collections.abc import Iterable, Iterator
from typing import Any


def says_hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"hello"]


def echoes(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return [body]


def returns(result: Any, *, status: str = "200 OK", headers: Iterable[tuple[str, str]] = ()) -> Any:
    """An application that starts a response and returns *result*."""

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response(status, list(headers))
        return result

    return app


class Closing:
    """An iterable over *chunks* that counts the calls of its close(); an exception among them is raised."""

    def __init__(self, *chunks: Any, close_error: BaseException | None = None) -> None:
        self.chunks = chunks
        self.closed = 0
        self.given = 0
        self.close_error = close_error

    def __iter__(self) -> Iterator[Any]:
        for chunk in self.chunks:
            if isinstance(chunk, BaseException):
                raise chunk
            self.given += 1
            yield chunk() if callable(chunk) else chunk

    def close(self) -> None:
        self.closed += 1
        if self.close_error is not None:
            raise self.close_error


class Keeps:
    """Calls *app* and keeps the environ of the last request."""

    def __init__(self, app: Any = says_hello) -> None:
        self.app = app
        self.environ: dict[str, Any] = {}
        self.calls = 0

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        self.calls += 1
        self.environ = environ
        return self.app(environ, start_response)
