"""One request on its way through `WsgiToAsgi`: what is done for it on the loop, and what on a worker.

Who does what
    The task of the ASGI call collects the first part of the body, submits the exchange to the pool, sends
    what the worker puts out, and ends when the worker is done: `serve`.
    The worker calls the application, iterates its result and closes it, all in one context: `run`.
    The receiver, a second task, fetches the rest of the body when the application asks for it, and after
    that waits for the client to leave. It exists only where one of the two is wanted.

The end
    Whoever learns first that the request cannot go on (client gone, send() failed, time limit, task
    cancelled) breaks off both handoffs. The worker finds out at its next read or write, or after the chunk
    it is making; it closes the iterable and ends the exchange, and the task ends with it.

No rules here: they are in `_sansio`. No locks: they are in `_threads`.
"""

import io
import logging
import os
import stat
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import Any

from asgiadapt._dropped_fields import warn_of_dropped
from asgiadapt._errors import (
    ApplicationOrderError,
    ApplicationTypeError,
    ClientDisconnected,
    ClientTimeout,
    PoolFull,
    RequestTooLarge,
)
from asgiadapt._sansio.body import RequestBody
from asgiadapt._sansio.refusal import Refusal, refusal_events
from asgiadapt._sansio.request import may_have_body, waits_for_continue
from asgiadapt._sansio.response import Event, WsgiResponse
from asgiadapt._threads.calls import Origin, here
from asgiadapt._threads.handoff import Flag, ToLoop, ToThread
from asgiadapt._threads.loops import Loop, TimeIsUp, within
from asgiadapt._threads.workers import WorkerPool
from asgiadapt._wsgi_streams import BodyReader, FileWrapper, LateBody
from asgiadapt.typing._loose import LooseReceive, LooseSend, LooseWSGIApplication
from asgiadapt.typing.wsgi import WSGIEnvironment

log = logging.getLogger("asgiadapt")

# A request that has waited this long for a worker is worth a look whether its client is still there.
_PATIENCE_SECONDS = 0.5
# A server whose send() never waits would let this request have the loop for itself; after so many calls,
# others have their turn.
_MAX_UNPAUSED = 64

_FILE_EVENTS = frozenset({"http.response.pathsend", "http.response.zerocopysend"})


@dataclass(frozen=True, slots=True)
class Settings:
    """What `WsgiToAsgi` was given; see there."""

    app: LooseWSGIApplication
    pool: WorkerPool
    queue_timeout: float | None
    retry_after: int
    first_window: int
    window: int
    lazy_body: bool
    max_body_size: int | None
    receive_timeout: float | None
    send_timeout: float | None
    cancel_grace: float
    strict: bool
    add_content_length: bool
    around: Callable[[WSGIEnvironment], AbstractContextManager[Any]] | None


class Exchange:
    """One request and its response. A job of the pool."""

    __slots__ = (
        "_body",
        "_body_broken",
        "_body_limit",
        "_context",
        "_environ",
        "_failure",
        "_gone",
        "_head_passed",
        "_head_sent",
        "_lazy",
        "_loop",
        "_method",
        "_out",
        "_over",
        "_receive",
        "_receiver",
        "_response",
        "_running",
        "_send",
        "_settings",
        "_stream",
        "_timer",
        "_watched",
    )

    def __init__(
        self, settings: Settings, loop: Loop, environ: WSGIEnvironment, receive: LooseReceive, send: LooseSend
    ) -> None:
        extensions = environ["asgiadapt.scope"].get("extensions") or ()
        self._settings = settings
        self._loop = loop
        self._environ: WSGIEnvironment | None = environ
        self._receive = receive
        self._send = send
        # The caller's variables are visible to the application; what it sets stays with this request.
        self._context: Context = copy_context()
        self._out: ToLoop[list[Event]] = ToLoop(loop, settings.window)
        self._stream: ToThread[bytes] | None = None  # None: the body is complete
        self._body: RequestBody | None = None  # made for the first event
        self._body_broken = False  # the first events said that there is no more to come
        self._body_limit: RequestTooLarge | None = None  # set once it has been passed
        self._method: str = environ["REQUEST_METHOD"]
        self._response = WsgiResponse(
            self._method,
            strict=settings.strict,
            add_content_length=settings.add_content_length,
            may_have_trailers="http.response.trailers" in extensions,
        )
        self._lazy = settings.lazy_body
        self._gone = Flag(self)
        self._failure: BaseException | None = None
        self._receiver: Any = None
        self._timer: Any = None
        self._head_passed = False  # on its way to the loop
        self._head_sent = False
        self._running = False
        self._over = False
        self._watched = False
        environ["asgiadapt.disconnected"] = self._gone
        if "http.response.early_hint" in extensions:
            environ["wsgi.early_hints"] = self._early_hints
        if "http.response.trailers" in extensions:
            environ["asgiadapt.send_trailers"] = self._response.set_trailers

    # On the loop: the task of the ASGI call

    async def serve(self) -> None:
        """Answer the request. Raises what the application or ``send`` raised."""
        ended = False
        try:
            if not self._has_body_at_hand():
                await self._collect_on_loop()
            self._submit_on_loop()
            try:
                await self._send_on_loop()
            except Exception:
                # send() failed: the worker closes the iterable, then the error goes on its way.
                self._give_up(_client_gone)
                await self._out.ended()
                raise
            except GeneratorExit:
                raise
            except BaseException:
                # Cancelled. The application may take long to notice; its worker then ends without us.
                self._give_up(_cancelled)
                await self._loop.linger(self._settings.cancel_grace, self._out.ended())
                raise
            ended = True
            if self._failure is not None:
                if self._receiver is not None:
                    # It may be cancelled in this: not with a failure on its way.
                    await self._stop_receiver_on_loop()
                self._raise_failure_on_loop()
        except Refusal as refusal:
            await self._refuse_on_loop(refusal)
        except GeneratorExit:
            if not ended:  # otherwise it is the application's own
                # The loop went down without cancelling its tasks: nothing can be awaited any more.
                self._give_up(_cancelled)
                self._receiver = self._timer = None
            raise
        finally:
            self._over = True
            self._gone.set()
            if self._timer is not None:
                self._timer.cancel()
            try:
                if self._receiver is not None:
                    await self._stop_receiver_on_loop()
            finally:
                if self._failure is not None:
                    self._report_late_failure()

    def _has_body_at_hand(self) -> bool:
        """Put a ``wsgi.input`` into the environ for which nothing has to be fetched before it is read.

        False for a body of which the first part is to be collected now.
        """
        environ = self._environ
        assert environ is not None
        if not may_have_body(environ):
            # Should the server have a body all the same, an application that reads will find it.
            self._lazy = False
        elif waits_for_continue(environ):
            self._lazy = True
        elif not self._lazy:
            return False
        self._stream = ToThread(self._loop, 0)
        environ["wsgi.input"] = LateBody(self)
        return True

    async def _collect_on_loop(self) -> None:
        """Put the body into the environ: the whole of it, or as much as the first window takes."""
        environ = self._environ
        assert environ is not None
        settings = self._settings
        body = self._body = RequestBody(settings.max_body_size)
        chunks: list[bytes] = []
        error: BaseException | None = None
        try:
            while not body.ended and body.size < settings.first_window:
                event = await within(self._loop, settings.receive_timeout, self._receive())
                chunk = body.accept(event)
                if chunk:  # a client may send any number of empty ones
                    chunks.append(chunk)
        except TimeIsUp:
            raise Refusal(408, "the request body did not arrive in time.") from None
        except RequestTooLarge as too_large:
            raise _body_too_large(too_large) from None
        except Exception as other:
            error = other  # the application shall learn of it from its read
            self._body_broken = self._watched = True
            if isinstance(other, ClientDisconnected):
                self._gone.set()
        if body.ended:
            environ["wsgi.input"] = io.BytesIO(b"".join(chunks))
            return
        self._stream = ToThread(self._loop, settings.window)
        for chunk in chunks:
            self._stream.put([chunk], len(chunk))
        if error is not None:
            self._stream.break_off(_always(error))
        environ["wsgi.input"] = BodyReader(self)

    def _submit_on_loop(self) -> None:
        try:
            at_once = self._settings.pool.submit(self)
        except PoolFull:
            raise _overloaded() from None
        if not at_once:
            limit = self._settings.queue_timeout
            first_look = _PATIENCE_SECONDS if limit is None else min(limit, _PATIENCE_SECONDS)
            self._timer = self._loop.later(first_look, self._look_after_on_loop)

    def _look_after_on_loop(self) -> None:
        """The request has been waiting for a worker for a while."""
        if self._running or self._over:
            return
        limit = self._settings.queue_timeout
        if limit is None or limit > _PATIENCE_SECONDS:
            self._watch_on_loop()
        if limit is not None:
            left = max(0.0, limit - _PATIENCE_SECONDS)
            self._timer = self._loop.later(left, self._give_up_waiting_on_loop)

    def _give_up_waiting_on_loop(self) -> None:
        if self._settings.pool.withdraw(self):
            self._failure = _overloaded()
            self._out.end()

    async def _send_on_loop(self) -> None:
        """Send what the worker puts out, until it has ended."""
        out = self._out
        send = self._send
        limit = self._settings.send_timeout
        unpaused = 0
        while (entries := out.take()) is not None:
            if not entries:
                await out.news
                continue
            if not self._watched and not self._response.complete:
                self._watch_on_loop()
            entries.reverse()
            while entries:
                events, size = entries.pop()  # what has been sent is not held on to
                for event in events:
                    if out.broken is not None:
                        break
                    if event["type"] == "http.response.start":
                        self._head_sent = True
                    # What within() does, written out: two coroutines less for each small response.
                    steps = send(event).__await__()
                    try:
                        pause = next(steps)
                    except StopIteration:
                        unpaused += 1
                        if unpaused >= _MAX_UNPAUSED:
                            unpaused = 0
                            await self._loop.breathe()
                        continue
                    unpaused = 0
                    try:
                        # A server may send a whole file within one send(): that has no limit of its own.
                        of_body = event["type"] not in _FILE_EVENTS
                        await self._loop.rest_within(limit if of_body else None, steps, pause)
                    except TimeIsUp:
                        raise _stalled(limit) from None
                if size:
                    out.done_with(size)

    def _raise_failure_on_loop(self) -> None:
        failure, self._failure = self._failure, None
        assert failure is not None
        try:
            if not self._head_sent:
                if isinstance(failure, RequestTooLarge):
                    raise _body_too_large(failure) from None
                if isinstance(failure, ClientTimeout):
                    raise Refusal(408, "the request body did not arrive in time.") from None
            if isinstance(failure, ClientDisconnected) and (self._out.broken or self._body_broken):
                return  # nobody is left to tell
            raise failure
        finally:
            # The traceback of the failure holds this frame, and this frame would hold the failure.
            del failure

    async def _refuse_on_loop(self, refusal: Refusal) -> None:
        headers = []
        if refusal.status == 503:
            headers.append((b"retry-after", str(self._settings.retry_after).encode()))
        for event in refusal_events(refusal, self._method, headers):
            await self._send(event)

    # On the loop: the receiver

    def _start_receiver_on_loop(self) -> None:
        if self._over:
            # Somebody kept the stream of a request that has ended, and reads.
            if self._stream is not None:
                self._stream.break_off(_request_over)
        elif self._receiver is None and not self._body_broken:
            self._receiver = self._loop.start(self._receive_on_loop, self._context.copy())

    async def _stop_receiver_on_loop(self) -> None:
        if self._stream is not None:
            self._stream.break_off(_request_over)
        await self._loop.stop(self._receiver)

    def _watch_on_loop(self) -> None:
        """Watch whether the client leaves, where that takes no event from the application."""
        self._watched = True
        if self._stream is not None:
            if self._lazy:
                return  # the receiver watches by itself once the application has read the body
            self._stream.fetch_ahead(1)
        self._start_receiver_on_loop()

    async def _receive_on_loop(self) -> None:
        if self._stream is not None and not await self._fetch_body_on_loop(self._stream):
            return
        try:
            event = await self._receive()
        except Exception:
            # Nobody has asked for this event, so nobody is told. If the connection is broken, send()
            # says so too.
            log.debug("receive() failed after the end of the request body", exc_info=True)
            return
        if event["type"] == "http.disconnect":
            self._client_left_on_loop()

    async def _fetch_body_on_loop(self, stream: ToThread[bytes]) -> bool:
        """Pass the rest of the body on; false where it did not come to its end."""
        limit = self._settings.receive_timeout
        if self._body is None:
            self._body = RequestBody(self._settings.max_body_size)
        body = self._body
        try:
            while not body.ended:
                await stream.room()
                event = await within(self._loop, limit, self._receive())
                chunk = body.accept(event)
                stream.put([chunk] if chunk else [], len(chunk), last=body.ended)
        except TimeIsUp:
            stream.break_off(_read_timed_out)
        except RequestTooLarge as error:
            self._body_limit = error
            stream.break_off(_always(error))
        except ClientDisconnected:
            self._client_left_on_loop()
        except Exception as error:
            stream.break_off(_always(error))
        except BaseException:
            stream.break_off(_cancelled)
            raise
        return body.ended

    def _client_left_on_loop(self) -> None:
        self._give_up(_client_gone)

    # Any thread

    def _give_up(self, make_error: Callable[[], BaseException]) -> None:
        """The request cannot go on: free the worker, or do not take one."""
        self._out.break_off(make_error)
        if self._stream is not None:
            self._stream.break_off(make_error)
        self._gone.set()
        if not self._running and self._settings.pool.withdraw(self):
            self._out.end()

    # On the worker

    def run(self) -> None:
        """Call the application and see its response through. Raises nothing."""
        self._running = True
        try:
            if self._out.broken is None:
                here.origin = Origin(self._loop)  # async_to_sync() in the application runs there
                self._context.run(self._respond_on_worker)
        except StopIteration as error:
            # Neither a coroutine nor a future can carry it.
            self._failure = RuntimeError("the application raised StopIteration")
            self._failure.__cause__ = error
        except BaseException as error:
            self._failure = error
        finally:
            here.origin = None
            self._environ = None  # which refers to this exchange
            if self._over and self._failure is not None:
                self._report_late_failure()
            self._out.end()

    def drop(self) -> None:
        """The pool was closed while this request waited."""
        self._failure = _overloaded()
        self._out.end()

    def _report_late_failure(self) -> None:
        """The ASGI call has ended in another way, so this would be lost."""
        failure, self._failure = self._failure, None
        if not isinstance(failure, ClientDisconnected):
            log.error("the application failed after its request had been given up", exc_info=failure)

    def _respond_on_worker(self) -> None:
        around = self._settings.around
        if around is None:
            self._call_on_worker()
            return
        with around(self._environ):  # type: ignore[arg-type]
            self._call_on_worker()
        if not self._response.complete and self._out.broken is None:
            raise ApplicationOrderError(
                "the context manager that was given as 'around' swallowed an exception of the application, "
                "so there is no response; let exceptions pass."
            )

    def _call_on_worker(self) -> None:
        result: Any = self._settings.app(self._environ, self._start_response)  # type: ignore[arg-type]
        # Looked up on what the application returned: its iterator may be another object.
        close = getattr(result, "close", None)
        try:
            last = self._pass_on_worker(result)
            if close is None and self._settings.around is None:
                self._out.end((last, 0))  # the whole response at once, and nothing to wait for
            elif last:
                self._out.put(last, 0, last=True)
        except BaseException:
            if close is not None:
                try:
                    close()
                except Exception:
                    # The first error is the one that tells what went wrong.
                    log.exception("close() of the application's iterable failed after another error")
            raise
        if close is not None:
            close()

    def _pass_on_worker(self, result: Any) -> list[Event]:
        """Pass the chunks on, but for the last events, which are returned."""
        if result is None or isinstance(result, str | bytes):
            raise ApplicationTypeError(
                f"the application returned {type(result).__name__}; return an iterable of bytes, such as "
                f"a list with one item."
            )
        response = self._response
        if isinstance(result, FileWrapper) and self._send_file_on_worker(result):
            return []
        if self._response.complete:
            self._check_limit([])
            return []  # write() has sent all that was declared
        only = _length(result) == 1
        for chunk in result:
            events = response.chunk(chunk, only=only and not response.committed)
            if response.complete:
                self._check_limit(events)
                return events
            if events:
                self._put(events, len(chunk))
            else:
                self._out.check()
        events = response.end()
        self._check_limit(events)
        return events

    def _put(self, events: list[Event], size: int, *, last: bool = False) -> None:
        self._check_limit(events)
        self._out.put(events, size, last=last)

    def _check_limit(self, events: list[Event]) -> None:
        """A body over the limit is answered with 413, whatever the application makes of its failed read.

        Or of a write that failed for this reason: its head has not passed, and so nothing does that comes
        after it.
        """
        if self._head_passed:
            return
        if self._body_limit is None or (events and events[0].get("status") == 413):
            self._head_passed = bool(events)
        elif events or self._response.complete:
            raise RequestTooLarge(str(self._body_limit))

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        try:
            self._response.start(status, headers, exc_info)
        finally:
            exc_info = None  # it refers to this frame
        if self._response.dropped:
            warn_of_dropped(self._response.dropped)
        return self._write

    def _write(self, data: bytes, /) -> None:
        events, error = self._response.write(data)
        if events:
            self._put(events, len(data))
        else:
            self._out.check()
        if error is not None:
            raise error

    def _early_hints(self, headers: Iterable[tuple[str, str]]) -> None:
        events = self._response.early_hint(headers)
        if events:
            self._out.put(events, 0)

    def take_on_worker(self) -> list[bytes]:
        """What has come of the body, or waits for it; the `Source` of its streams."""
        assert self._stream is not None
        if self._over:
            raise _request_over()
        if self._receiver is None:
            self._loop.post(self._start_receiver_on_loop)
        return self._stream.take()

    def watch_on_worker(self) -> None:
        """Begin to watch whether the client leaves: somebody wants to know."""
        if not self._over:
            self._loop.post(self._watch_on_loop)

    def _send_file_on_worker(self, wrapper: FileWrapper) -> bool:
        """Have the server send the file by itself, where it can."""
        assert self._environ is not None
        extensions = self._environ["asgiadapt.scope"].get("extensions") or ()
        file = wrapper.regular_file()
        if file is None or not _FILE_EVENTS.intersection(extensions):
            return False
        events = None
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            return False  # a pipe, say
        start = file.tell()
        left = max(0, status.st_size - start)
        if not left:
            return False
        if "http.response.pathsend" in extensions and start == 0 and _names(file.name, status):
            events = self._response.file({"type": "http.response.pathsend", "path": file.name}, left)
        if events is None and "http.response.zerocopysend" in extensions:
            count = min(left, self._response.declared_length(left))
            events = self._response.file(
                {
                    "type": "http.response.zerocopysend",
                    "file": file,
                    "offset": start,
                    "count": count,
                    "more_body": False,
                },
                count,
            )
        if events is None:
            return False
        self._put(events, 1)
        self._out.flush()  # close() must not come before the server has read the file
        return True


def _length(result: Any) -> int | None:
    try:
        return len(result)
    except Exception:
        return None


def _names(path: Any, status: os.stat_result) -> bool:
    """Whether *path* leads to the open file of *status*, and not to one that took its place."""
    if not isinstance(path, str) or not os.path.isabs(path):
        return False
    try:
        return os.path.samestat(os.stat(path), status)
    except OSError:
        return False


def _always(error: BaseException) -> Callable[[], BaseException]:
    return lambda: error


def _client_gone() -> ClientDisconnected:
    return ClientDisconnected(
        "the client has gone away; what is read would be incomplete, and what is written would reach "
        "nobody. Give the request up."
    )


def _cancelled() -> ClientDisconnected:
    return ClientDisconnected("the request was cancelled on the side of the server. Give it up.")


def _request_over() -> ClientDisconnected:
    return ClientDisconnected(
        "the request has ended; its streams can no longer be used. Read and write before the "
        "application's iterable ends."
    )


def _read_timed_out() -> ClientTimeout:
    return ClientTimeout(
        "the client sent nothing of the request body for longer than receive_timeout allows. Give the "
        "request up."
    )


def _stalled(limit: float | None) -> ClientTimeout:
    return ClientTimeout(
        f"the client took nothing of the response for {limit} seconds, which is all that send_timeout "
        f"allows; the connection is cut."
    )


def _body_too_large(error: RequestTooLarge) -> Refusal:
    return Refusal(413, str(error))


def _overloaded() -> Refusal:
    return Refusal(503, "the server is busy; try again in a moment.")
