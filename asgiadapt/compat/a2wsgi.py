"""``a2wsgi``: its two classes, with their parameters.

In place of ``from a2wsgi import ...`` write ``from asgiadapt.compat.a2wsgi import ...``.
"""

from asyncio import AbstractEventLoop
from typing import Any, Final

from asgiadapt import AsgiToWsgi, WsgiToAsgi

__all__ = ["ASGIMiddleware", "WSGIMiddleware"]

# a2wsgi counts parts of the response, and we count bytes: a part is of this size, as files are read.
_PART: Final = 64 * 1024


class WSGIMiddleware(WsgiToAsgi):
    """A WSGI application, served by an ASGI server, on *workers* threads.

    *send_queue_size* parts of 64 KiB of a response wait for the client at most.
    """

    def __init__(self, app: Any, workers: int = 10, send_queue_size: int = 10) -> None:
        # As there, requests wait for a worker as long as they must.
        super().__init__(
            app,
            max_workers=workers,
            max_waiting=_MANY,
            queue_timeout=None,
            # 0 is no limit there.
            window=(send_queue_size or _MANY) * _PART,
        )
        self.app = app
        self.send_queue_size = send_queue_size


_MANY: Final = 1_000_000


class ASGIMiddleware(AsgiToWsgi):
    """An ASGI application, served by a WSGI server, on *loop* or one that all such applications share.

    After the response, the server's thread waits up to *wait_time* seconds for what the application still
    does; None: as long as it takes. As there, lifespan is not spoken.
    """

    def __init__(
        self, app: Any, wait_time: float | None = None, loop: AbstractEventLoop | None = None
    ) -> None:
        super().__init__(app, loop=loop, background_wait=wait_time, lifespan="off")
        self.app = app
        self.wait_time = wait_time
