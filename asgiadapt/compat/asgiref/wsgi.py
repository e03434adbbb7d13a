"""``asgiref.wsgi``: `asgiadapt.WsgiToAsgi`, with asgiref's limit for repeated headers."""

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
        self._adapter = asgiadapt.WsgiToAsgi(wsgi_application)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one ASGI scope."""
        if _has_duplicates(scope, self.duplicate_header_limit):
            await _refuse(send)
        else:
            await self._adapter(scope, receive, send)


class WsgiToAsgiInstance:
    """The same for one scope. What derives from it may have its own `build_environ` and `start_response`."""

    def __init__(self, wsgi_application: Any, duplicate_header_limit: int = 100) -> None:
        self.wsgi_application = wsgi_application
        self.duplicate_header_limit = duplicate_header_limit
        self.response_started = False
        self._environ: dict[str, Any] = {}
        self.response_content_length: int | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve the scope."""
        self.scope = scope
        if _has_duplicates(scope, self.duplicate_header_limit):
            await _refuse(send)
        else:
            await asgiadapt.WsgiToAsgi(self._call, pool=_pool)(scope, receive, send)

    def build_environ(self, scope: Any, body: Any) -> dict[str, Any]:
        """The environ that the application is called with; those that derive may change it."""
        environ = self._environ or _environs().environ_from_scope(scope)
        return {**environ, "wsgi.input": body}

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


def _has_duplicates(scope: Any, limit: int) -> bool:
    headers = scope.get("headers") or ()
    if not limit or len(headers) <= limit:
        return False
    return max(Counter(name.lower() for name, _ in headers).values()) > limit


async def _refuse(send: Any) -> None:
    await send({"type": "http.response.start", "status": 400, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"Bad Request: Too many duplicate headers"})
