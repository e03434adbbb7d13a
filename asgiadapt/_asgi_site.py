"""Where the requests of one `AsgiToWsgi` are served in this process: an event loop, and the lifespan on it.

The first methods of a `Site` are called on other threads, everything else on the loop.
"""

import logging
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Any, Final, Protocol

from asgiadapt._errors import LoopStopped, StartupFailed
from asgiadapt._sansio.lifespan import Lifespan, LifespanPhase
from asgiadapt._sync_to_async import ThreadSensitiveContext
from asgiadapt._threads.greenlets import bell_maker
from asgiadapt._threads.loop_thread import LoopThread
from asgiadapt._threads.loops import AsyncioLoop, Bell, Spawned, Waiter, wait_for_loop

_log = logging.getLogger("asgiadapt")
# So long a task that was cancelled at last is waited for.
_CANCEL_SECONDS: Final = 1.0


class Running(Protocol):
    """A request, and what its application does after the response."""

    def cancel_on_loop(self) -> None: ...


class Site:
    """*app* is served on *loop*, which belongs to *own_loop* if it is for this site alone.

    *lifespan* is ``auto``, ``on`` or ``off``.
    """

    def __init__(self, app: Any, loop: AsyncioLoop, own_loop: LoopThread | None, lifespan: str) -> None:
        self.app = app
        self.loop = loop
        self.own_loop = own_loop
        self.make_bell: Final = bell_maker()
        self.state: dict[str, Any] | None = None  # what requests get a copy of
        self.running: set[Running] = set()
        self.closing = False
        self._lifespan = None if lifespan == "off" else _LifespanTask(app, loop, required=lifespan == "on")
        self._started = lifespan == "off"
        self._failure: str | None = None  # why the start-up has failed
        self._task: Spawned | None = None  # that starts up, or shuts down
        self._whole = self._ended = False
        self._bells: list[Bell] = []  # for the end of either
        self._news: Waiter | None = None  # for the last request to end
        self._warned = False

    # On the thread of a request, or whichever starts and closes

    def start(self, timeout: float | None) -> None:
        """Begin to start the application up, which may take *timeout* seconds. Once; waits for nothing."""
        if self._lifespan is not None:
            self.loop.post(partial(self._begin_on_loop, self._lifespan, timeout))

    def is_ready(self) -> bool:
        """Whether requests can be served."""
        return self._started and not self.closing and not self.loop.is_closed()

    def wait_until_ready(self, timeout: float | None) -> None:
        """Wait for the start-up. Raises what a request is to be told where it has failed."""
        if not self._started and self._failure is None:
            bell = self.make_bell()
            self.loop.post(partial(self._ring_on_loop, bell))
            # Where the application blocks the loop, nobody else would say that it takes too long.
            limit = None if timeout is None else timeout + _CANCEL_SECONDS
            if not wait_for_loop(bell, self.loop, limit):
                if not self.loop.is_running():
                    raise LoopStopped(
                        "the event loop was closed or stopped before the start-up was complete."
                    )
                raise StartupFailed(f"the ASGI application blocks its event loop for {timeout:g} seconds.")
        if self._failure is not None or not self._started:
            self.check()

    def check(self) -> None:
        """Raise what a request has to be told instead of being served."""
        if self.closing:
            raise LoopStopped("the AsgiToWsgi is closed and serves no requests any more; make a new one.")
        if self._failure is not None:
            raise StartupFailed(f"the start-up of the ASGI application has failed: {self._failure}")

    def end(self, timeout: float | None) -> bool:
        """Wait up to *timeout* seconds for what runs, cancel the rest, and shut the application down.

        The shutdown may take *timeout* seconds again. Returns whether nothing had to be cut short.
        """
        if not self._ended and not self.loop.is_closed():
            bell = self.make_bell()
            self.loop.post(partial(self._end_on_loop, timeout, bell))
            # A loop that the application blocks is not waited for any longer than that.
            limit = None if timeout is None else 2 * (timeout + _CANCEL_SECONDS)
            wait_for_loop(bell, self.loop, limit)
        return self._whole

    def abandon(self, timeout: float | None) -> None:
        """The same, without waiting for it: nobody will send requests here any more."""
        self.loop.post_from_signal(partial(self._end_on_loop, timeout, None))

    # On the loop

    def _begin_on_loop(self, lifespan: "_LifespanTask", timeout: float | None) -> None:
        self._task = self.loop.spawn(partial(self._start_up, lifespan, timeout), Context())

    async def _start_up(self, lifespan: "_LifespanTask", timeout: float | None) -> None:
        rules = await lifespan.start(timeout)
        if rules.started:
            self.state = lifespan.state
        elif rules.failed:
            self._failure = rules.message
            _log.error("the start-up of the ASGI application has failed: %s", rules.message)
        else:
            _log.info("the ASGI application takes no part in lifespan: %s", rules.message)
        self._started = not rules.failed
        self._ring_all_on_loop()

    def _ring_on_loop(self, bell: Bell) -> None:
        if self._started or self._failure is not None:
            bell.release()
        else:
            self._bells.append(bell)

    def _ring_all_on_loop(self) -> None:
        bells, self._bells = self._bells, []
        for bell in bells:
            bell.release()

    def _end_on_loop(self, timeout: float | None, bell: Bell | None) -> None:
        if not self.closing:
            self.closing = True
            _ending.add(self)
            self._task = self.loop.spawn(partial(self._shut_down, timeout), Context())
        if bell is None:
            return
        if self._ended:
            bell.release()
        else:
            self._bells.append(bell)

    async def _shut_down(self, timeout: float | None) -> None:
        try:
            whole = await self._wait_until_idle(timeout)
            if not whole:
                _log.warning(
                    "%d requests are cancelled, since they have not ended in time", len(self.running)
                )
                for request in list(self.running):
                    request.cancel_on_loop()
                await self._wait_until_idle(_CANCEL_SECONDS)
            if self._lifespan is not None and not await self._lifespan.stop(timeout):
                whole = False
            self._whole = whole
        finally:
            self._ended = True
            _ending.discard(self)
            self._ring_all_on_loop()
            if self.own_loop is not None:
                self.own_loop.close(0)

    def warn_of_result(self, result: Any) -> None:
        """The application has returned *result*, which means nothing."""
        if not self._warned:
            self._warned = True
            kind = type(result).__name__
            _log.warning("the ASGI application has returned a %s; it should return None", kind)

    def done_with(self, request: Running) -> None:
        """*request* has ended, and with it all that its application does for it."""
        self.running.discard(request)
        if self._news is not None and not self.running and not self._news.done():
            self._news.set_result(None)

    async def _wait_until_idle(self, timeout: float | None) -> bool:
        if self.running:
            self._news = self.loop.waiter()
            await self.loop.linger(timeout, self._news)
        return not self.running


# Those that end, and to which nobody else may refer.
_ending: set[Site] = set()


# Those whose application has not ended: loops do not keep their tasks alive, and adapters may be collected.
_living: set["_LifespanTask"] = set()
_LIVING: Final = (LifespanPhase.STARTING, LifespanPhase.RUNNING, LifespanPhase.STOPPING)


class _LifespanTask:
    """The one task in which the application lives through its lifespan."""

    def __init__(self, app: Any, loop: AsyncioLoop, *, required: bool) -> None:
        self._app = app
        self._loop = loop
        self._rules = Lifespan(required=required)
        self._task: Spawned | None = None
        self._begun = self._ended = False
        self._news: list[Waiter] = []  # for whatever changes
        self.state: dict[str, Any] = {}

    async def start(self, timeout: float | None) -> Lifespan:
        """Returns once the application has answered, or cannot any more."""
        rules = self._rules
        _living.add(self)
        self._task = self._loop.spawn(self._run, Context())
        if not await self._until(lambda: rules.phase is not LifespanPhase.STARTING, timeout):
            rules.give_up(f"the application has not answered within {timeout:g} seconds")
            self._task.cancel()
        return rules

    async def stop(self, timeout: float | None) -> bool:
        """Shut the application down, if it was started up. Returns whether that went well."""
        rules = self._rules
        whole = True
        if rules.phase is LifespanPhase.STARTING:
            rules.give_up("it was closed before")
            self._tell()
            whole = False
        elif rules.phase is LifespanPhase.RUNNING:
            rules.stop()
            self._tell()
            if not await self._until(lambda: rules.phase is LifespanPhase.STOPPED, timeout):
                rules.give_up(f"the application has not answered within {timeout:g} seconds")
            if rules.failed:
                _log.error("the shutdown of the ASGI application has failed: %s", rules.message)
                whole = False
        if self._task is not None and not await self._until(lambda: self._ended, 0.1 if whole else 0):
            self._task.cancel()
            await self._until(lambda: self._ended, _CANCEL_SECONDS)
        return whole

    async def _run(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        failure: BaseException | None = None
        try:
            # With a thread of its own: others may be waiting for the start-up.
            async with ThreadSensitiveContext():
                await self._app(scope, self._receive, self._send)
        except BaseException as error:
            failure = error
        if self._begun and self._rules.phase in _LIVING and isinstance(failure, Exception):
            _log.error("the ASGI application has failed in its lifespan", exc_info=failure)
        self._rules.end(failure)
        self._ended = True
        _living.discard(self)
        self._tell()

    async def _receive(self) -> dict[str, Any]:
        if not self._begun:
            self._begun = True
            return {"type": "lifespan.startup"}
        await self._until(self._rules.take_shutdown)
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Any) -> None:
        self._rules.accept(message)
        self._tell()

    async def _until(self, condition: Callable[[], bool], timeout: float | None = None) -> bool:
        if timeout is not None:
            await self._loop.linger(timeout, self._until(condition))
            return condition()
        while not condition():
            waiter = self._loop.waiter()
            self._news.append(waiter)
            await waiter
        return True

    def _tell(self) -> None:
        waiters, self._news = self._news, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
