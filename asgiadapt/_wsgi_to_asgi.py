"""`WsgiToAsgi`: a WSGI application, served by an ASGI server."""

import inspect
import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final

from asgiadapt._sansio.lifespan import check_lifespan_event
from asgiadapt._sansio.refusal import Refusal, refusal_events
from asgiadapt._sansio.request import EnvironMaker
from asgiadapt._threads.calls import call_on_worker
from asgiadapt._threads.loops import Loop, on_trio, running_asyncio_loop
from asgiadapt._threads.workers import DEFAULT_MAX_WAITING, DEFAULT_MAX_WORKERS, WorkerPool
from asgiadapt._version import __version__
from asgiadapt._wsgi_exchange import Exchange, Settings
from asgiadapt._wsgi_streams import ErrorStream, FileWrapper
from asgiadapt.typing import Environ, Receive, Scope, Send, WSGIApplication

_log = logging.getLogger("asgiadapt")
_KIB: Final = 1024


class WsgiToAsgi:
    """An ASGI application that answers each HTTP request by calling a WSGI application on a worker thread.

    ``WsgiToAsgi(app)`` is to an ASGI server what ``app`` is to a WSGI server.
    """

    def __init__(
        self,
        app: WSGIApplication,
        *,
        max_workers: int | None = None,
        max_waiting: int | None = None,
        pool: WorkerPool | None = None,
        queue_timeout: float | None = 30.0,
        retry_after: int = 5,
        lazy_body: bool = False,
        first_window: int = 64 * _KIB,
        window: int = 512 * _KIB,
        max_body_size: int | None = None,
        receive_timeout: float | None = 60.0,
        send_timeout: float | None = 60.0,
        cancel_grace: float = 1.0,
        max_header_count: int = 2000,
        max_header_bytes: int = 128 * _KIB,
        allowed_headers: Collection[str] = (),
        environ: Mapping[str, Any] | None = None,
        errors: Any = None,
        multiprocess: bool = True,
        strict: bool = False,
        add_content_length: bool = False,
        around: Callable[[Environ], AbstractContextManager[Any]] | None = None,
        on_startup: Callable[[], Any] | None = None,
        on_shutdown: Callable[[], Any] | None = None,
    ) -> None:
        if not callable(app):
            raise TypeError(
                f"WsgiToAsgi was given {app!r}, which cannot be called; give the WSGI application itself, "
                f"for instance the Flask object."
            )
        if pool is not None and (max_workers is not None or max_waiting is not None):
            raise TypeError(
                "WsgiToAsgi was given a pool together with max_workers or max_waiting, which are the "
                "pool's affair; give them to the WorkerPool."
            )
        self._own_pool: Final = pool is None
        self._pool: Final = pool or WorkerPool(
            DEFAULT_MAX_WORKERS if max_workers is None else max_workers,
            max_waiting=DEFAULT_MAX_WAITING if max_waiting is None else max_waiting,
        )
        self._settings: Final = Settings(
            app=app,
            pool=self._pool,
            queue_timeout=queue_timeout,
            retry_after=retry_after,
            first_window=first_window,
            window=window,
            lazy_body=lazy_body,
            max_body_size=max_body_size,
            receive_timeout=receive_timeout,
            send_timeout=send_timeout,
            cancel_grace=cancel_grace,
            strict=strict,
            add_content_length=add_content_length,
            around=around,
        )
        self._environs: Final = EnvironMaker(
            {
                "SERVER_SOFTWARE": f"asgiadapt/{__version__}",
                "wsgi.errors": ErrorStream() if errors is None else errors,
                "wsgi.multithread": self._pool.max_workers > 1,
                "wsgi.multiprocess": multiprocess,
                "wsgi.file_wrapper": FileWrapper,
                **(environ or {}),
            },
            allowed_headers=allowed_headers,
            max_header_count=max_header_count,
            max_header_bytes=max_header_bytes,
        )
        self._on_startup: Final = on_startup
        self._on_shutdown: Final = on_shutdown

    @property
    def pool(self) -> WorkerPool:
        """The threads that run the application: for live figures, and to close them."""
        return self._pool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        kind = scope["type"]
        loop = running_asyncio_loop()
        if kind == "http":
            exchange = self._answer_http
        elif kind == "lifespan":
            exchange = self._answer_lifespan
        elif kind == "websocket":
            await _refuse_websocket(scope, receive, send)
            return
        else:
            raise ValueError(
                f"WsgiToAsgi was called with a scope of type {kind!r}; it serves 'http', and answers "
                f"'lifespan' and 'websocket'. Route other scopes to another application."
            )
        if loop is None:
            await on_trio(lambda trio_loop: exchange(trio_loop, scope, receive, send))
        else:
            await exchange(loop, scope, receive, send)

    async def _answer_http(self, loop: Loop, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            environ = self._environs.environ_from_scope(scope)
        except Refusal as refusal:
            await _refuse(refusal, scope, send)
        except Exception:
            # Whatever a client managed to send, or a server made of it: no reason for a crash.
            _log.exception("no environ could be made of the scope %r", scope)
            await _refuse(Refusal(400, "the request could not be understood."), scope, send)
        else:
            await Exchange(self._settings, loop, environ, receive, send).serve()

    async def _answer_lifespan(self, loop: Loop, scope: Scope, receive: Receive, send: Send) -> None:
        check_lifespan_event(await receive(), "lifespan.startup")
        if not await self._run_hook(self._on_startup, loop, send, "lifespan.startup"):
            return
        check_lifespan_event(await receive(), "lifespan.shutdown")
        if self._own_pool:
            # Threads that are busy yet leave when they are done; a later request starts new ones.
            self._pool.release_threads()
        await self._run_hook(self._on_shutdown, loop, send, "lifespan.shutdown")

    async def _run_hook(self, hook: Callable[[], Any] | None, loop: Loop, send: Send, phase: str) -> bool:
        try:
            if inspect.iscoroutinefunction(hook):
                await hook()
            elif hook is not None:
                await call_on_worker(self._pool, loop, hook)
        except Exception as error:
            _log.exception("the hook for %s failed", phase)
            await send({"type": f"{phase}.failed", "message": f"{type(error).__name__}: {error}"})
            return False
        await send({"type": f"{phase}.complete"})
        return True


async def _refuse(refusal: Refusal, scope: Scope, send: Send) -> None:
    for event in refusal_events(refusal, scope.get("method", "GET")):
        await send(event)


async def _refuse_websocket(scope: Scope, receive: Receive, send: Send) -> None:
    event = await receive()
    if event["type"] == "websocket.connect":
        # Closed before it was accepted: the server answers the handshake with 403.
        close: dict[str, Any] = {"type": "websocket.close"}
        if _version(scope) >= (2, 3):
            close["reason"] = "WebSocket is not spoken here"
        await send(close)


def _version(scope: Scope) -> tuple[int, ...]:
    text = (scope.get("asgi") or {}).get("spec_version") or "2.0"
    try:
        return tuple(int(part) for part in text.split("."))
    except ValueError:
        return (2, 0)
