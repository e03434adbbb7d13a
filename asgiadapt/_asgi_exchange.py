"""One request of `AsgiToWsgi`: the application runs as a task on the loop, the thread waits for its response.

Who runs what
    Methods whose names end in ``_on_loop``, ``receive`` and ``send`` run on the loop; the others run on the
    thread in which the WSGI server called the adapter. It also reads ``wsgi.input``.
    What the thread is to do comes to it in one order: parts of the response, reads of the body, calls of the
    server's functions. So a read never holds back what was sent before it.
"""

import errno
import logging
import os
from collections.abc import Callable, Iterable
from contextvars import Context, copy_context
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, BinaryIO, Final, Self, TypeAlias, cast

from asgiadapt._asgi_site import Site
from asgiadapt._dropped_fields import warn_of_dropped
from asgiadapt._errors import ApplicationOrderError, ClientDisconnected, LoopStopped
from asgiadapt._sansio.body import InputBody
from asgiadapt._sansio.messages import AsgiResponse, FilePath, Head, Part, Phase, ServerCall
from asgiadapt._sync_to_async import ThreadSensitiveContext
from asgiadapt._threads.calls import here, without_our_frames
from asgiadapt._threads.context import leave_places
from asgiadapt._threads.handoff import ToThread
from asgiadapt._threads.loops import Bell, Cancelled, Spawned, Waiter, wait_for_loop
from asgiadapt.typing._loose import LooseStartResponse
from asgiadapt.typing.wsgi import WSGIEnvironment

_log = logging.getLogger("asgiadapt")
# What an item counts for besides its bytes, so that empty ones have their limit too.
_ITEM_BYTES: Final = 64
_FILE_BLOCK: Final = 64 * 1024
# What was read in less time has not waited for the client.
_QUICK_SECONDS: Final = 0.005

# What is passed to the thread: parts of the response, the failure that ends it, or something else to do.
Item: TypeAlias = Head | bytes | ServerCall | BaseException | Callable[[], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """What `AsgiToWsgi` was told, as far as requests are concerned."""

    ahead: int
    disconnect_grace: float
    background_wait: float | None
    add_content_length: bool


class Exchange:
    """One request. What all of them begin with stands here, so that it need not be set for each."""

    # The thread's
    _started = False  # start_response was called
    _closed = False
    _told = False  # the failure was raised
    _file: BinaryIO | None = None  # to be sent

    # The loop's
    _task: Spawned | None = None
    _begun = False
    _cancelled = False  # by us
    _over = False  # the application has returned or raised
    _untold: BaseException | None = None  # its failure, on the way to the thread
    _body: InputBody | None = None  # made for the first event
    _asked = False  # the thread is to read
    _gone = False  # the body will not become whole: receive() says so
    _left = False  # the server takes nothing more: receive() and send() say so
    _broken: BaseException | None = None  # why
    _opened: int | BaseException | None = None  # the size of the file
    _waiters: list[Waiter] | None = None  # of receive() and for the file
    _timer: Any = None
    _bell: Bell | None = None  # to be rung at the end

    def __init__(
        self,
        settings: Settings,
        site: Site,
        environ: WSGIEnvironment,
        scope: dict[str, Any],
        start_response: LooseStartResponse,
    ) -> None:
        self._settings = settings
        self._site = site
        self._loop = loop = site.loop
        self._environ = environ
        self._scope: dict[str, Any] | None = scope
        self._start_response = start_response
        self._response = AsgiResponse(
            scope["method"], scope["extensions"], add_content_length=settings.add_content_length
        )
        self._context: Context = copy_context()
        self._out: ToThread[Item] = ToThread(loop, settings.ahead, site.make_bell)
        self._items: list[Item] = []  # taken by the thread, the next one last
        # Of the body, not received yet
        self._events: list[dict[str, Any] | BaseException] = []
        self._is_place = bool(here.places)  # calls may wait for this thread

    # On the thread

    def begin(self) -> Iterable[bytes]:
        """Run the application until the head of the response has been given to the server; the iterable."""
        items = self._items
        try:
            self._loop.post(self._begin_on_loop)
            while not self._started:
                if not items:
                    items = self._items = self._out.take()
                    items.reverse()
                self._do(items.pop())
            if self._file is not None:
                return self._hand_over_file()
        except BaseException as error:
            self._give_up(error)
            raise
        if (
            (not items or (len(items) == 1 and type(items[0]) is bytes))
            and self._settings.background_wait == 0
            and self._out.is_drained()
        ):
            return WholeResponse(items)
        return StreamedResponse(self)

    def next_chunk(self) -> bytes | None:
        """The next part of the body; None at its end."""
        while True:
            items = self._items
            if not items:
                items = self._items = self._out.take()
                if not items:
                    return None
                items.reverse()
            # An error is in no variable here: its traceback will hold this frame.
            if isinstance(items[-1], bytes):
                return cast(bytes, items.pop())
            self._do(items.pop())

    def _do(self, item: Item) -> None:
        if isinstance(item, Head):
            self._started = True
            if self._response.dropped:
                warn_of_dropped(self._response.dropped)
            self._start_response(item.status, item.headers)
        elif isinstance(item, BaseException):
            self._told = True
            self._untold = None
            try:
                raise item
            finally:
                del item  # the traceback holds this frame
        elif isinstance(item, ServerCall):
            self._environ[item.key](item.argument)
        else:
            assert callable(item)
            item()

    def _read(self) -> None:
        assert self._body is not None
        read: bytes | BaseException
        began = monotonic()
        try:
            read = self._environ["wsgi.input"].read(self._body.wanted())
            if monotonic() - began < _QUICK_SECONDS:
                self._body.grow(self._settings.ahead)
            else:
                self._body.shrink()
        except BaseException as error:
            read = without_our_frames(error)
            if not isinstance(error, Exception):
                raise
        self._loop.post(partial(self._take_piece_on_loop, read))

    def _open(self, path: str) -> None:
        opened: int | BaseException
        try:
            self._file = open(path, "rb")  # noqa: SIM115 - the server closes it
            opened = os.fstat(self._file.fileno()).st_size
        except Exception as error:
            opened = without_our_frames(error)
        self._loop.post(partial(self._file_is_open_on_loop, opened))

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _hand_over_file(self) -> Iterable[bytes]:
        if not self._response.has_body():
            self._close_file()
            return WholeResponse([])
        # As it is, so that the server knows it for what it has made itself.
        file, self._file = self._file, None
        iterable: Iterable[bytes] = self._environ["wsgi.file_wrapper"](file, _FILE_BLOCK)
        return iterable

    def _give_up(self, error: BaseException) -> None:
        """*error* is on its way to the server, which will not come back."""
        self._closed = True
        self._close_file()
        if not self._is_settled():
            self._loop.post(partial(self._leave_on_loop, error))

    def _is_settled(self) -> bool:
        """Whether the application has ended, and its failure, if it is one, has come out."""
        return self._over and (self._told or self._response.complete)

    def close(self) -> None:
        """The server wants no more. Waits, if at all, as long as the settings say."""
        if self._closed:
            return
        self._closed = True
        self._close_file()
        settings = self._settings
        complete = self._response.complete
        wait = settings.background_wait if complete else settings.disconnect_grace
        if self._is_settled() or (complete and wait == 0):
            return
        bell = None if wait == 0 else self._site.make_bell()
        self._loop.post(partial(self._close_on_loop, bell))
        if bell is None:
            return
        if wait is None:
            wait_for_loop(bell, self._loop)
        else:
            bell.acquire(timeout=wait)

    def drop(self) -> None:
        """The server has forgotten the response. Whatever this thread was doing is interrupted meanwhile."""
        if not self._closed and not self._is_settled():
            self._loop.post_from_signal(partial(self._close_on_loop, None))

    # On the loop: the task

    def _begin_on_loop(self) -> None:
        try:
            self._site.check()
            self._site.running.add(self)
            self._task = self._loop.spawn(self._run_on_loop, self._context)
        except BaseException as error:  # by a task factory of the loop's, say
            self._end_on_loop(error)

    async def _run_on_loop(self) -> None:
        scope, self._scope = self._scope, None
        self._begun = True
        failure: BaseException | None = None
        leave_places()  # those of the thread, which does nothing but wait
        try:
            if self._is_place:
                # Sensitive calls would wait for the thread that waits for them here.
                async with ThreadSensitiveContext():
                    returned = await self._site.app(scope, self.receive, self.send)
            else:
                returned = await self._site.app(scope, self.receive, self.send)
            if returned is not None:
                self._site.warn_of_result(returned)
        except BaseException as error:
            failure = without_our_frames(error)
        try:
            self._end_on_loop(failure)
        finally:
            del failure  # the application's frames hold this one

    def _end_on_loop(self, failure: BaseException | None) -> None:
        self._over = True
        self._task = None
        self._site.done_with(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        phase = self._response.phase
        if failure is None and phase is not Phase.DONE and not self._left:
            failure = _client_has_left() if self._gone else _response_is_not_whole(phase)
        if isinstance(failure, Cancelled) and self._cancelled and (self._left or self._response.complete):
            failure = None
        if failure is not None:
            if self._left:
                self._report_late_failure(failure)
            elif self._response.complete:
                _log.error(
                    "the ASGI application has failed after its response was complete", exc_info=failure
                )
            else:
                self._untold = failure = self._as_seen_by_server(failure)
                self._out.put([failure], 0, last=True)
        self._broken = None
        self._wake_on_loop()
        self._out.resume_on_loop()
        if self._bell is not None:
            self._bell.release()

    def _as_seen_by_server(self, failure: BaseException) -> BaseException:
        if not isinstance(failure, Cancelled):
            return failure
        seen: Exception
        if self._site.closing or self._loop.is_ending():
            seen = LoopStopped("the adapter, or its event loop, was closed before the response was complete.")
        else:
            seen = ApplicationOrderError(
                "the ASGI application raised CancelledError before its response was complete; catch it where "
                "the application cancels something of its own."
            )
        seen.__cause__ = failure
        return seen

    def _report_late_failure(self, failure: BaseException) -> None:
        """Nobody is left to tell, and most of what is raised then only says so."""
        if self._is_own(failure):
            return
        level = logging.ERROR
        known: set[int] = set()
        seen: BaseException | None = failure
        while seen is not None and id(seen) not in known:
            known.add(id(seen))
            of_group = isinstance(seen, BaseExceptionGroup) and all(map(self._is_own, seen.exceptions))
            if of_group or self._is_own(seen):
                level = logging.INFO
            seen = seen.__cause__ or seen.__context__
        _log.log(level, "the ASGI application has failed after the client was gone", exc_info=failure)

    def _is_own(self, failure: BaseException) -> bool:
        """Whether *failure* is what we have raised in the application."""
        return failure is self._broken or isinstance(failure, ClientDisconnected)

    def cancel_on_loop(self) -> None:
        """End what the application does."""
        if self._task is None:
            return
        self._cancelled = True
        self._task.cancel()
        if not self._begun:
            self._end_on_loop(Cancelled())  # it has not begun, and never will

    # On the loop: how the server leaves

    def _close_on_loop(self, bell: Bell | None) -> None:
        if not self._response.complete:
            self._leave_on_loop(None)
        elif self._settings.background_wait == 0 and bell is not None:
            bell.release()  # it was complete in the very moment
            return
        self._bell = bell
        if self._over and bell is not None:
            bell.release()

    def _leave_on_loop(self, error: BaseException | None) -> None:
        """The server takes nothing more, because of *error* if it is one."""
        if self._untold is not None:
            self._report_late_failure(self._untold)
            self._untold = None
        if self._over or self._response.complete:
            return
        self._left = True
        if isinstance(error, Exception):
            self._broken = error
        self._wake_on_loop()
        self._out.break_off(_given_up)
        self._out.resume_on_loop()
        self._cancel_later_on_loop()

    def _cancel_later_on_loop(self) -> None:
        self._timer = self._loop.later(self._settings.disconnect_grace, self.cancel_on_loop)

    # On the loop: receive

    async def receive(self) -> dict[str, Any]:
        """The application's ``receive`` (ASGI HTTP 2.5, "Request", "Disconnect")."""
        while True:
            if self._response.complete:
                return {"type": "http.disconnect"}
            if self._events:
                event = self._events.pop(0)
                if isinstance(event, BaseException):
                    try:
                        raise event
                    finally:
                        del event  # the traceback holds this frame
                return event
            body = self._body
            if body is None:
                body = self._body = InputBody(self._environ)
            if not body.ended and not body.wanted():
                return body.event(b"")
            if self._gone or self._left or self._over:
                return {"type": "http.disconnect"}
            if not self._asked and not body.ended:
                self._asked = True
                self._out.put([self._read], _ITEM_BYTES)
            await self._news_on_loop()

    def _take_piece_on_loop(self, read: bytes | BaseException) -> None:
        assert self._body is not None
        self._asked = False
        try:
            if isinstance(read, BaseException):
                raise read
            self._events.append(self._body.event(read))
        except OSError:
            self._gone = True  # the client, in all likelihood
            _log.debug("the request body has not come to its end", exc_info=True)
        except Exception as error:
            self._gone = True
            self._events.append(without_our_frames(error))
        finally:
            del read  # the traceback holds this frame
        self._wake_on_loop()

    async def _news_on_loop(self) -> None:
        waiter = self._loop.waiter()
        if self._waiters is None:
            self._waiters = []
        self._waiters.append(waiter)
        await waiter

    def _wake_on_loop(self) -> None:
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    # On the loop: send

    async def send(self, message: Any) -> None:
        """The application's ``send`` (ASGI HTTP 2.5, "Response Start", "Response Body")."""
        response = self._response
        if (self._left or self._over) and not response.complete:
            self._refuse_on_loop()
        before = response.phase
        parts = response.accept(message)
        size = 0
        if parts:
            last = parts[-1]
            if type(last) is FilePath:
                parts = await self._opened_file_on_loop(last.path)
            elif type(last) is bytes:
                size = len(last)
            size += len(parts) * _ITEM_BYTES
        phase = response.phase
        if phase is Phase.DONE or phase is Phase.DRAINING:
            if phase is not before and before is not Phase.DRAINING:
                self._out.put(cast("list[Item]", parts), size, last=True)
                self._wake_on_loop()
                if phase is Phase.DRAINING:
                    self._cancel_later_on_loop()
            elif phase is Phase.DRAINING:
                await self._loop.breathe()  # nothing else would slow the application down
            elif before is Phase.DRAINING and self._timer is not None:
                self._timer.cancel()  # what the application does from now on is background work
        elif parts:
            self._out.put(cast("list[Item]", parts), size)
            if self._out.is_full():
                await self._out.room()
                if self._left:
                    self._refuse_on_loop()

    def _refuse_on_loop(self) -> None:
        if self._broken is not None:
            raise self._broken
        raise ClientDisconnected(
            "the client has gone, or the WSGI server has given the response up; nothing that is sent reaches "
            "anybody. Clean up and return."
        )

    async def _opened_file_on_loop(self, path: str) -> list[Part]:
        """What is sent for the file, which the thread opens."""
        self._out.put([partial(self._open, path)], _ITEM_BYTES)
        while (opened := self._opened) is None:
            if self._left or self._over:
                self._refuse_on_loop()
            await self._news_on_loop()
        self._opened = None
        if isinstance(opened, BaseException):
            try:
                raise opened
            finally:
                del opened  # the traceback holds this frame
        try:
            return self._response.file(opened)
        except BaseException:
            self._out.put([self._close_file], _ITEM_BYTES)
            raise

    def _file_is_open_on_loop(self, opened: int | BaseException) -> None:
        self._opened = opened
        self._wake_on_loop()


def _client_has_left() -> Exception:
    # With this number servers know it for what it is, and log no traceback.
    return ClientDisconnected(
        errno.ECONNRESET, "the client went away in the midst of the request body, and gets no response."
    )


def _response_is_not_whole(phase: Phase) -> Exception:
    return ApplicationOrderError(
        f"the ASGI application has returned although {phase.value}; send http.response.start, and "
        f"http.response.body up to a message without more_body."
    )


def _given_up() -> Exception:
    return ClientDisconnected("the response has been given up, and has no more parts.")


class WholeResponse:
    """The iterable of a response that is there already. *chunks*: the next one last."""

    __slots__ = ("_chunks",)

    def __init__(self, chunks: list[Any]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        if self._chunks:
            chunk: bytes = self._chunks.pop()
            return chunk
        raise StopIteration

    def close(self) -> None:
        self._chunks = []


class StreamedResponse:
    """The iterable of a response that goes on. Collected without having been closed, it counts as closed."""

    __slots__ = ("_closed", "_exchange")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._closed = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        __traceback_hide__ = __tracebackhide__ = True
        if self._closed:
            raise StopIteration
        try:
            chunk = self._exchange.next_chunk()
        except StopIteration as error:
            # It would look like the end.
            raise RuntimeError("the ASGI application raised StopIteration") from error
        if chunk is None:
            raise StopIteration
        return chunk

    def close(self) -> None:
        self._closed = True
        self._exchange.close()

    def __del__(self) -> None:
        self._exchange.drop()
