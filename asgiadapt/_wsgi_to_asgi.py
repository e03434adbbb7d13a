"""`WsgiToAsgi`: a WSGI application, served by an ASGI server."""

import inspect
import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from functools import partial
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
from asgiadapt.typing._loose import LooseReceive, LooseScope, LooseSend, LooseWSGIApplication
from asgiadapt.typing.wsgi import WSGIEnvironment

_log = logging.getLogger("asgiadapt")
_KIB: Final = 1024


class WsgiToAsgi:
    """An ASGI application that answers each HTTP request by calling a WSGI application on a worker thread.

    ``WsgiToAsgi(app)`` is to an ASGI server what *app* is to a WSGI server (ASGI HTTP 2.5, "WSGI
    Compatibility"; PEP 3333). It works on asyncio, uvloop and trio, on any number of event loops at a time.

    Threads
        The call of *app*, every step of its iterable, and ``close()`` run on one worker thread of *pool*, in
        one copy of the caller's context. Building the environ, collecting the first part of the body and
        sending run on the event loop. Hooks run on a worker, or on the loop where they are ``async``.

    Parameters
        app: the WSGI application, called as ``app(environ, start_response)``, once per request.
        max_workers: threads at most, 40 by default. 1 runs the requests one after the other, for
            applications that are not thread-safe, and makes ``wsgi.multithread`` false.
        max_waiting: requests at most that wait for a worker, 1000 by default. 503 for more.
        pool: a `WorkerPool` to share, instead of the two above. It stays open; whoever made it closes it.
        queue_timeout: seconds at most that a request waits for a worker, then 503. None: no limit.
        retry_after: the seconds that the ``Retry-After`` of such a 503 tells.
        lazy_body: fetch nothing of the body before the application reads. Otherwise a worker is taken
            when the body is complete, or *first_window* bytes of it are there, so that slow uploads hold
            no workers. ``Expect: 100-continue`` makes a request lazy in any case.
        first_window: bytes; see *lazy_body*.
        window: bytes that the adapter holds at most between the loop and the worker, each way, besides
            the chunk that passes.
        max_body_size: bytes of a request body at most, counted as they come; 413 for more, and
            `RequestTooLarge` out of a read where the application runs already. None: no limit.
        receive_timeout: seconds at most that the client may send nothing of a body that is waited for;
            then 408, or `ClientTimeout` out of the read. None: no limit.
        send_timeout: seconds at most that one ``send()`` may take (but of a file as a whole); then the
            connection is cut, the iterable closed, and the call raises `ClientTimeout`. None: no limit.
        cancel_grace: seconds at most that a cancelled call waits for its worker to end.
        max_header_count, max_header_bytes: of the request; 431 for more.
        allowed_headers: names that cross although they have an underscore, or are ``Proxy``.
        environ: entries that every environ starts with. What the request says goes over them.
        errors: ``wsgi.errors``. By default whatever ``sys.stderr`` is at the time.
        multiprocess: ``wsgi.multiprocess``.
        strict: raise out of ``start_response`` for hop-by-hop headers, as PEP 3333 has it, instead of
            dropping them.
        add_content_length: add the length to a response whose iterable has a ``len()`` of 1.
        around: called on the worker as ``around(environ)``; gives a context manager that is entered
            before the application is called and left after ``close()``. For tracing and the like.
        on_startup, on_shutdown: called without arguments at lifespan start-up and shutdown; an exception
            is reported to the server as the failure of that phase.

    Errors
        TypeError where *app* cannot be called, *pool* is given together with what belongs to a pool, or
        *allowed_headers* is a single name; ValueError for a negative number.
        Awaiting the adapter raises what the application raised, unchanged, but for a `ClientDisconnected`;
        what ``send()`` raised; `ClientTimeout`; `ApplicationError` where the application broke PEP 3333;
        ValueError for a scope that is not ``http``, ``websocket`` or ``lifespan``. A request that cannot be
        mapped gets a 400 and does not reach the application. WebSockets are refused with 403.
    """

    def __init__(
        self,
        app: LooseWSGIApplication,
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
        around: Callable[[WSGIEnvironment], AbstractContextManager[Any]] | None = None,
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
        if isinstance(allowed_headers, str):
            raise TypeError(
                f"WsgiToAsgi was given allowed_headers={allowed_headers!r}, a str, which is a collection of "
                f"letters; give a list of names, such as [{allowed_headers!r}]."
            )
        for name, value in {
            "queue_timeout": queue_timeout,
            "retry_after": retry_after,
            "first_window": first_window,
            "window": window,
            "max_body_size": max_body_size,
            "receive_timeout": receive_timeout,
            "send_timeout": send_timeout,
            "cancel_grace": cancel_grace,
            "max_header_count": max_header_count,
            "max_header_bytes": max_header_bytes,
        }.items():
            if value is not None and value < 0:
                raise ValueError(f"{name} is {value}; give 0 or more, or None where there is to be no limit.")
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

    async def __call__(self, scope: LooseScope, receive: LooseReceive, send: LooseSend) -> None:
        """Serve one ASGI scope, on the running event loop of asyncio or trio (ASGI 3.0, "Applications")."""
        loop = running_asyncio_loop()
        if scope["type"] != "http":
            await self._answer_other(loop, scope, receive, send)
            return
        try:
            environ = self._environs.environ_from_scope(scope)
        except Refusal as refusal:
            await _refuse(refusal, scope, send)
            return
        except Exception:
            # Whatever a client managed to send, or a server made of it: no reason for a crash.
            # The scope is not logged: it has cookies and credentials.
            _log.exception("no environ could be made of a request that the server passed on")
            await _refuse(Refusal(400, "the request could not be understood."), scope, send)
            return
        if loop is None:
            await on_trio(partial(self._serve_on_trio, environ, receive, send))
        else:
            exchange = Exchange(self._settings, loop, environ, receive, send)
            del environ  # what a client has sent does not belong into the frames of a traceback
            await exchange.serve()

    async def _serve_on_trio(
        self, environ: WSGIEnvironment, receive: LooseReceive, send: LooseSend, loop: Loop
    ) -> None:
        await Exchange(self._settings, loop, environ, receive, send).serve()

    async def _answer_other(
        self, loop: Loop | None, scope: LooseScope, receive: LooseReceive, send: LooseSend
    ) -> None:
        kind = scope["type"]
        if kind == "websocket":
            await _refuse_websocket(scope, receive, send)
        elif kind != "lifespan":
            raise ValueError(
                f"WsgiToAsgi was called with a scope of type {kind!r}; it serves 'http', and answers "
                f"'lifespan' and 'websocket'. Route other scopes to another application."
            )
        elif loop is None:
            await on_trio(partial(self._answer_lifespan, receive, send))
        else:
            await self._answer_lifespan(receive, send, loop)

    async def _answer_lifespan(self, receive: LooseReceive, send: LooseSend, loop: Loop) -> None:
        check_lifespan_event(await receive(), "lifespan.startup")
        if not await self._run_hook(self._on_startup, loop, send, "lifespan.startup"):
            return
        check_lifespan_event(await receive(), "lifespan.shutdown")
        await self._run_hook(self._on_shutdown, loop, send, "lifespan.shutdown")
        if self._own_pool:
            # Threads that are busy yet leave when they are done; a later request starts new ones.
            self._pool.release_threads()

    async def _run_hook(
        self, hook: Callable[[], Any] | None, loop: Loop, send: LooseSend, phase: str
    ) -> bool:
        try:
            if inspect.iscoroutinefunction(hook):
                await hook()
            elif hook is not None:
                result = await call_on_worker(self._pool, loop, hook)
                if inspect.isawaitable(result):  # of a partial, say, or of a callable object
                    await result
        except Exception as error:
            _log.exception("the hook for %s failed", phase)
            await send({"type": f"{phase}.failed", "message": f"{type(error).__name__}: {error}"})
            return False
        await send({"type": f"{phase}.complete"})
        return True


async def _refuse(refusal: Refusal, scope: LooseScope, send: LooseSend) -> None:
    for event in refusal_events(refusal, scope.get("method", "GET")):
        await send(event)


async def _refuse_websocket(scope: LooseScope, receive: LooseReceive, send: LooseSend) -> None:
    event = await receive()
    if event["type"] == "websocket.connect":
        # Closed before it was accepted: the server answers the handshake with 403. The code is optional, and
        # 1000 if left out; some servers look for it all the same.
        close: dict[str, Any] = {"type": "websocket.close", "code": 1000}
        if _version(scope) >= (2, 3):
            close["reason"] = "WebSocket is not spoken here"
        await send(close)


def _version(scope: LooseScope) -> tuple[int, ...]:
    text = (scope.get("asgi") or {}).get("spec_version") or "2.0"
    try:
        return tuple(int(part) for part in text.split("."))
    except ValueError:
        return (2, 0)
