"""``a2wsgi``: its two classes, with their parameters, and what each puts into the other side's hands.

In place of ``from a2wsgi import ...`` write ``from asgiadapt.compat.a2wsgi import ...``.
"""

import asyncio
from asyncio import AbstractEventLoop
from typing import Any, Final

from asgiadapt import AsgiToWsgi, WsgiToAsgi

__all__ = ["ASGIMiddleware", "WSGIMiddleware"]

# a2wsgi counts parts of the response, and we count bytes: a part is of this size, as files are read.
_PART: Final = 64 * 1024
_MANY: Final = 1_000_000


class WSGIMiddleware(WsgiToAsgi):
    """A WSGI application, served by an ASGI server, on *workers* threads.

    *send_queue_size* parts of 64 KiB of a response wait for the client at most. The scope is
    ``environ["asgi.scope"]``.
    """

    def __init__(self, app: Any, workers: int = 10, send_queue_size: int = 10) -> None:
        # As there, requests wait for a worker as long as they must.
        super().__init__(
            _with_scope(app),
            max_workers=workers,
            max_waiting=_MANY,
            queue_timeout=None,
            # 0 is no limit there.
            window=(send_queue_size or _MANY) * _PART,
        )
        self.app = app
        self.send_queue_size = send_queue_size


class ASGIMiddleware(AsgiToWsgi):
    """An ASGI application, served by a WSGI server, on *loop* or one that all such applications share.

    After the response, the server's thread waits up to *wait_time* seconds for what the application still
    does, and then cancels it; None: as long as it takes. The environ is ``scope["wsgi_environ"]``. As there,
    lifespan is not spoken.
    """

    def __init__(
        self, app: Any, wait_time: float | None = None, loop: AbstractEventLoop | None = None
    ) -> None:
        super().__init__(_with_environ(app, wait_time), loop=loop, background_wait=wait_time, lifespan="off")
        self.app = app
        self.wait_time = wait_time


def _with_scope(app: Any) -> Any:
    def application(environ: Any, start_response: Any) -> Any:
        environ["asgi.scope"] = environ["asgiadapt.scope"]
        return app(environ, start_response)

    return application


def _with_environ(app: Any, wait_time: float | None) -> Any:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        scope["wsgi_environ"] = scope["extensions"]["asgiadapt.environ"]
        limit = asyncio.timeout(None)

        async def send_and_set_limit(message: Any) -> None:
            await send(message)
            is_last = message["type"] == "http.response.body" and not message.get("more_body")
            if is_last and wait_time is not None:
                limit.reschedule(asyncio.get_running_loop().time() + wait_time)

        try:
            async with limit:
                await app(scope, receive, send_and_set_limit)
        except TimeoutError:
            if not limit.expired():
                raise  # the application's own

    return application
