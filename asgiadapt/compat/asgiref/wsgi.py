"""``asgiref.wsgi``: `asgiadapt.WsgiToAsgi`, with asgiref's limit for repeated headers.

Two things that tests and applications may have come to know are as there: the end of a response has a message
of its own, without a body; and the server's name is the path where it listens on a Unix socket.
"""

import sys
from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Any, Final

import asgiadapt
from asgiadapt._sansio.request import EnvironMaker
from asgiadapt.compat.asgiref.sync import AsyncToSync, sync_to_async

__all__ = ["AsyncToSync", "WsgiToAsgi", "WsgiToAsgiInstance", "sync_to_async"]


# For instances that stand alone: those that are made of one another would have no limit in common.
_pool: Final = asgiadapt.WorkerPool(40)


class WsgiToAsgi:
    """*wsgi_application* on the worker threads of an `asgiadapt.WsgiToAsgi`.

    A request with more than *duplicate_header_limit* headers of one name is answered with 400; 0 is no limit.
    """

    def __init__(self, wsgi_application: Any, duplicate_header_limit: int = 100) -> None:
        self.wsgi_application = wsgi_application
        self.duplicate_header_limit = duplicate_header_limit

        def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            _name_server(environ, environ["asgiadapt.scope"])
            answer: Iterable[bytes] = wsgi_application(environ, start_response)
            return answer

        self._adapter = asgiadapt.WsgiToAsgi(application)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one ASGI scope."""
        await _serve(self._adapter, self.duplicate_header_limit, scope, receive, send)


class WsgiToAsgiInstance:
    """The same for one scope. What derives from it may have its own `build_environ` and `start_response`."""

    def __init__(self, wsgi_application: Any, duplicate_header_limit: int = 100) -> None:
        self.wsgi_application = wsgi_application
        self.duplicate_header_limit = duplicate_header_limit
        self.response_started: bool = False
        self._environ: dict[str, Any] = {}
        self.response_content_length: int | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve the scope."""
        self.scope = scope
        adapter = asgiadapt.WsgiToAsgi(self._call, pool=_pool)
        await _serve(adapter, self.duplicate_header_limit, scope, receive, send)

    def build_environ(self, scope: Any, body: Any) -> dict[str, Any]:
        """The environ that the application is called with; those that derive may change it."""
        environ = {**(self._environ or _environs().environ_from_scope(scope)), "wsgi.input": body}
        _name_server(environ, scope)
        return environ

    def start_response(self, status: str, response_headers: Any, exc_info: Any = None) -> Any:
        """What the application is given to begin its response with."""
        lengths = [int(value) for name, value in response_headers if name.lower() == "content-length"]
        self.response_content_length = lengths[-1] if lengths else None
        return self._start_response(status, response_headers, exc_info)

    def _call(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self._environ = environ
        self._start_response = start_response
        environ = self.build_environ(self.scope, environ["wsgi.input"])
        answer: Iterable[bytes] = self.wsgi_application(environ, self.start_response)
        self.response_started = True
        return answer


@cache
def _environs() -> EnvironMaker:
    return EnvironMaker({"wsgi.multithread": True, "wsgi.multiprocess": True, "wsgi.errors": sys.stderr})


def _name_server(environ: dict[str, Any], scope: Any) -> None:
    path, port = scope.get("server") or ("", 0)
    if path and port is None:
        environ["SERVER_NAME"], environ["SERVER_PORT"] = path, "0"


async def _serve(adapter: asgiadapt.WsgiToAsgi, limit: int, scope: Any, receive: Any, send: Any) -> None:
    headers = scope.get("headers") or ()
    # All of them may be of one name.
    if limit and len(headers) > limit and max(Counter(name.lower() for name, _ in headers).values()) > limit:
        await send(
            {"type": "http.response.start", "status": 400, "headers": [(b"content-type", b"text/plain")]}
        )
        await send({"type": "http.response.body", "body": b"Bad Request: Too many duplicate headers"})
        return

    async def send_as_asgiref(message: Any) -> None:
        if message["type"] != "http.response.body" or message.get("more_body"):
            await send(message)
            return
        if body := message.get("body"):
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body"})

    await adapter(scope, receive, send_as_asgiref)
