"""`AsgiToWsgi`: an ASGI application, served by a WSGI server."""

import atexit
import inspect
import os
import weakref
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Final, Literal, Self

from asgiadapt._asgi_exchange import Exchange, Settings
from asgiadapt._asgi_site import Site
from asgiadapt._errors import DeadlockError, LoopStopped
from asgiadapt._sansio.refusal import Refusal, refusal_response
from asgiadapt._sansio.request import scope_from_environ
from asgiadapt._threads.kept_loop import LoopFactory
from asgiadapt._threads.loop_thread import LoopThread, refuse_own_thread, running_loop_of, shared_loop
from asgiadapt._threads.primitives import cooperative_lock
from asgiadapt.typing._loose import LooseASGIApplication, LooseStartResponse
from asgiadapt.typing.wsgi import WSGIEnvironment

_KIB: Final = 1024


class AsgiToWsgi:
    """A WSGI application that answers each request by running an ASGI application on an event loop.

    ``AsgiToWsgi(app)`` is to a WSGI server what *app* is to an ASGI server (PEP 3333; ASGI HTTP 2.5, "WSGI
    Compatibility"; ASGI lifespan 2.0).

    Threads
        *app* runs on an asyncio event loop on a thread of its own, one task for each request, in a copy of
        the context of the thread that the server called. That thread waits meanwhile; it calls
        ``start_response``, reads ``wsgi.input`` when *app* asks for it, and gives the server each part of the
        response as soon as it is sent. Loop and lifespan start with the first request, or with `start`, and
        in a process that was forked they start anew.

    Parameters
        app: the ASGI application (ASGI 3.0; those of ASGI 2.0, which take the scope alone, are served too).
        loop: the loop to run on: a `LoopThread`, or an asyncio event loop that runs on another thread. By
            default the one of `set_default_loop`, or else one that all adapters of the process share.
        loop_factory: makes a loop for this adapter alone, such as ``uvloop.new_event_loop``.
        lifespan: ``"auto"`` starts the application up and shuts it down if it takes part in the lifespan
            protocol; with ``"on"`` one that does not has failed; ``"off"`` does without.
        startup_timeout: seconds at most that the start-up may take; more is a failure. None: no limit.
        shutdown_timeout: seconds at most that `close`, and the exit of the interpreter, wait for requests
            and background work, and again for the application's shutdown. None: no limit.
        window: bytes of a response that wait for the server at most, besides the chunk that passes.
        disconnect_grace: seconds that an application may go on for when the server has given the response
            up. ``close()`` of the iterable waits for it so long; then its task is cancelled.
        background_wait: seconds at most that ``close()`` of the iterable waits for what the application does
            after its response: by default it does not wait. None: as long as it takes.
        add_content_length: add the length to a response that is sent in one ``http.response.body``.

    Errors
        TypeError where *app* cannot be called with a scope, or *loop* is none or given with *loop_factory*;
        ValueError for another *lifespan*, or a negative number.
        A request raises what the application raised before the first part of its body; `ApplicationError`
        where it broke ASGI; `StartupFailed` where its start-up has failed; `LoopStopped` after `close`;
        `DeadlockError` on the thread of the loop itself. The iterable raises what comes later. A request
        that cannot be mapped gets a 400 and does not reach the application.
    """

    def __init__(
        self,
        app: LooseASGIApplication,
        *,
        loop: LoopThread | AbstractEventLoop | None = None,
        loop_factory: LoopFactory | None = None,
        lifespan: Literal["auto", "on", "off"] = "auto",
        startup_timeout: float | None = 60.0,
        shutdown_timeout: float | None = 10.0,
        window: int = 512 * _KIB,
        disconnect_grace: float = 1.0,
        background_wait: float | None = 0.0,
        add_content_length: bool = False,
    ) -> None:
        if loop is not None and not isinstance(loop, LoopThread | AbstractEventLoop):
            raise TypeError(f"loop is {loop!r}; give an asgiadapt.LoopThread, or an event loop that runs.")
        if loop is not None and loop_factory is not None:
            raise TypeError("AsgiToWsgi was given a loop together with loop_factory; give one of them.")
        if lifespan not in ("auto", "on", "off"):
            raise ValueError(f"lifespan is {lifespan!r}; give 'auto', 'on' or 'off'.")
        limits: dict[str, Any] = {
            "startup_timeout": startup_timeout or 0,
            "shutdown_timeout": shutdown_timeout or 0,
            "window": window,
            "disconnect_grace": disconnect_grace,
            "background_wait": background_wait or 0,
        }
        for name, value in limits.items():
            if value is None or value < 0:
                raise ValueError(f"{name} is {value}; give 0 or more.")
        self._app: Final = _single_callable(app)
        self._own_loop: Final = None if loop_factory is None else LoopThread(loop_factory)
        self._loop: Final = loop or self._own_loop
        self._lifespan: Final = lifespan
        self._startup_timeout: Final = startup_timeout
        self._shutdown_timeout: Final = shutdown_timeout
        self._settings: Final = Settings(
            # What the thread has taken counts too.
            ahead=window // 2,
            disconnect_grace=disconnect_grace,
            background_wait=background_wait,
            add_content_length=add_content_length,
        )
        self._closed = False
        self._start_afresh()
        _ALL.add(self)

    def _start_afresh(self) -> None:
        self._mutex = cooperative_lock()
        self._site: Site | None = None

    def __call__(self, environ: WSGIEnvironment, start_response: LooseStartResponse) -> Iterable[bytes]:
        """Serve one request on the calling thread: a WSGI application (PEP 3333)."""
        __traceback_hide__ = __tracebackhide__ = True
        try:
            scope = scope_from_environ(environ)
            site = self._site
            if site is None or not site.is_ready():
                site = self._ready_site()
            if site.state is not None:
                scope["state"] = site.state.copy()
            refuse_own_thread(site.loop)
            exchange = Exchange(self._settings, site, environ, scope, start_response)
        except Refusal as refusal:
            status, headers, body = refusal_response(refusal, environ.get("REQUEST_METHOD", "GET"))
            start_response(status, headers)
            return body
        del environ, scope  # what a client has sent does not belong into the frames of a traceback
        return exchange.begin()

    def start(self) -> None:
        """Start the loop and the application now, instead of with the first request.

        For a server's hook that runs in each worker process after the fork. Raises `StartupFailed` where the
        application's start-up fails, and `LoopStopped` after `close`. May be called again.
        """
        self._ready_site()

    def close(self, timeout: float | None = None) -> bool:
        """End: wait for requests and background work, shut the application down, and end a loop of its own.

        *timeout* stands for *shutdown_timeout* here; what takes longer is cancelled. Returns whether all has
        ended by itself. Requests that come later raise `LoopStopped`. The interpreter does the same at its
        exit. May be called again. Raises `DeadlockError` on the loop's own thread.
        """
        limit = self._shutdown_timeout if timeout is None else timeout
        self._closed = True
        whole = True
        if (site := self._site) is not None:
            try:
                refuse_own_thread(site.loop)
            except DeadlockError:
                site.abandon(limit)
                raise
            whole = site.end(limit)
        if self._own_loop is not None:
            self._own_loop.close(limit)
        return whole

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if (site := vars(self).get("_site")) is not None:
            site.abandon(self._shutdown_timeout)

    def _ready_site(self) -> Site:
        """The site of this process, started up."""
        with self._mutex:
            site = self._site
            if site is None or (site.loop.is_closed() and not self._closed):
                self._check_open()
                loop = running_loop_of(self._loop or shared_loop())
                site = self._site = Site(self._app, loop, self._own_loop, self._lifespan)
                site.start(self._startup_timeout)
                if self._closed:  # in this moment, so that nobody has seen it
                    site.abandon(self._shutdown_timeout)
        self._check_open()
        refuse_own_thread(site.loop)
        site.wait_until_ready(self._startup_timeout)
        return site

    def _check_open(self) -> None:
        if self._closed:
            raise LoopStopped("the AsgiToWsgi is closed and serves no requests any more; make a new one.")


def _single_callable(app: Callable[..., Any]) -> Callable[..., Any]:
    """*app* as an application of ASGI 3.0; TypeError where it is none."""
    if not callable(app):
        raise TypeError(
            f"AsgiToWsgi was given {app!r}, which cannot be called; give the ASGI application itself, for "
            f"instance the FastAPI object."
        )
    if _takes(app, 3):
        return app
    if _takes(app, 2):
        raise TypeError(
            f"AsgiToWsgi was given {app!r}, which takes two arguments as a WSGI application does; give an "
            f"ASGI application, or leave the adapter out."
        )
    if not _takes(app, 1):
        raise TypeError(
            f"AsgiToWsgi was given {app!r}, which takes neither (scope, receive, send) nor a scope alone; "
            f"give an ASGI application."
        )

    async def in_one_call(scope: Any, receive: Any, send: Any) -> Any:
        # ASGI 3.0, "Legacy Applications".
        return await app(scope)(receive, send)

    return in_one_call


def _takes(app: Any, count: int) -> bool:
    try:
        inspect.signature(app).bind(*(None,) * count)
    except TypeError:
        return False
    except ValueError:
        return count == 3  # it tells nothing of its parameters
    return True


_ALL: "weakref.WeakSet[AsgiToWsgi]" = weakref.WeakSet()
_inherited: list[Any] = []


def _close_all() -> None:
    for adapter in list(_ALL):
        adapter.close()


def _after_fork_in_child() -> None:
    for adapter in list(_ALL):
        # The parent's; nothing of it is to be ended here.
        _inherited.append(adapter._site)
        adapter._start_afresh()


# After that of the loop threads, and so called before it: the loops are still needed.
atexit.register(_close_all)
os.register_at_fork(after_in_child=_after_fork_in_child)
