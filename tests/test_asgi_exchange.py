"""Moments of a request in which its thread and its loop do something at the same time."""

import asyncio
import logging
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from asgiadapt import ClientDisconnected, LoopStopped, LoopThread, StartupFailed
from asgiadapt._asgi_site import Site
from asgiadapt._threads import loops
from asgiadapt._threads.handoff import locked
from asgiadapt._threads.loop_thread import running_loop_of
from asgiadapt._threads.loops import AsyncioLoop
from tests.asgi_apps import Receive, Scope, Send, body, echoes, for_http, says_hello, sends, start
from tests.gates import PATIENCE, Gate, on_thread
from tests.validated import AsgiToWsgi
from tests.wsgi_fakes import Input, Request, call, environ_for


def ignores(*args: Any) -> None:
    """A start_response."""


class Held:
    """Holds a loop in a callback; *first* is done in it, on the loop, before anything else runs."""

    def __init__(self, loop: AsyncioLoop, first: Any = lambda: None) -> None:
        self.loop = loop
        self._first = first
        self._held, self._may_go = Gate("the callback"), Gate("the end of the hold")

    def __enter__(self) -> "Held":
        self.loop.post(self._hold)
        self._held.wait()
        return self

    def _hold(self) -> None:
        self._first()
        self._held.open()
        self._may_go.wait()

    def wait_for_post(self) -> None:
        """Until somebody has posted something."""
        while not self.loop._posted:
            pass

    def __exit__(self, *_: object) -> None:
        self._may_go.open()


def site_of(wsgi: AsgiToWsgi) -> Site:
    assert wsgi._site is not None
    return wsgi._site


@pytest.mark.parametrize("complete", [True, False])
def test_close_comes_back_where_the_application_ends_in_this_very_moment(complete: bool) -> None:
    """Its end comes before the loop hears of close(), and after close() has looked."""
    event = asyncio.Event()

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"x", more=not complete))
        await event.wait()

    with LoopThread() as loop:
        wsgi = AsgiToWsgi(app, loop=loop, disconnect_grace=PATIENCE, background_wait=None)
        response: Any = wsgi(environ_for(), ignores)
        assert next(response) == b"x"
        with Held(site_of(wsgi).loop, event.set) as held:
            closing = on_thread(response.close)
            held.wait_for_post()
        closing.result()
        assert wsgi.close(PATIENCE)


def test_an_application_hears_of_a_signal_that_interrupts_its_beginning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its handler may raise when the task is on its way already."""
    heard: list[str] = []
    left = Gate("the end of the application")

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        heard.append((await receive())["type"])
        left.open()

    with AsgiToWsgi(app, disconnect_grace=PATIENCE) as wsgi:
        post = AsyncioLoop.post

        def interrupted(loop: AsyncioLoop, callback: Any) -> None:
            monkeypatch.undo()
            post(loop, callback)
            raise KeyboardInterrupt

        monkeypatch.setattr(AsyncioLoop, "post", interrupted)
        with pytest.raises(KeyboardInterrupt):
            call(wsgi)
        left.wait()
    assert heard == ["http.disconnect"]


def test_work_after_the_response_goes_on_although_start_response_fails() -> None:
    """The application has done its part, and is not told."""
    may_end, ended = asyncio.Event(), Gate("the background work")

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await says_hello(scope, receive, send)
        await may_end.wait()
        ended.open()

    def fails(*args: Any) -> None:
        raise OSError("the socket is gone")

    with LoopThread() as loop, AsgiToWsgi(app, loop=loop, disconnect_grace=0) as wsgi:
        with pytest.raises(OSError, match="the socket is gone"):
            wsgi(environ_for(), fails)
        for _ in range(5):  # turns of the loop, in which the application could be cancelled
            turn = Gate("the turn")
            site_of(wsgi).loop.post(turn.open)
            turn.wait()
        site_of(wsgi).loop.post(may_end.set)
        ended.wait()


def test_a_file_that_nobody_opens_any_more_raises_from_send(tmp_path: Path) -> None:
    """What was to be done before it has failed: the application gets that error."""
    failure = OSError("no hints today")
    seen: list[Any] = []
    file = tmp_path / "file"
    file.write_bytes(b"x")

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.early_hint", "links": [b"</a>"]})
        await send(start())
        try:
            await send({"type": "http.response.pathsend", "path": str(file)})
        except OSError as error:
            seen.append(error)

    def fails(links: Any) -> None:
        raise failure

    environ = environ_for(**{"wsgi.early_hints": fails, "wsgi.file_wrapper": lambda file, size: [file]})
    with AsgiToWsgi(app) as wsgi:
        with pytest.raises(OSError, match="no hints today"):
            wsgi(environ, ignores)
    assert seen == [failure]


def test_a_file_of_the_wrong_size_may_be_replaced_by_a_body(tmp_path: Path) -> None:
    """It is put away before anything else is sent."""
    file = tmp_path / "file"
    file.write_bytes(b"too long for that")

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(headers=[(b"content-length", b"5")]))
        with pytest.raises(ValueError, match="a file of 17 bytes"):
            await send({"type": "http.response.pathsend", "path": str(file)})
        await send(body(b"hello"))

    with AsgiToWsgi(app) as wsgi:
        environ = environ_for(**{"wsgi.file_wrapper": lambda file, size: [b"the file"]})
        assert list(wsgi(environ, ignores)) == [b"hello"]


def test_a_read_that_waits_for_the_client_makes_the_next_one_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quick reads grow; after a slow one the application has soon what there is."""
    piece = 64 * 1024
    now = 0.0

    class Clocked(Input):
        def give(self, size: int) -> bytes:
            nonlocal now
            now += 60 if self.reads == 3 else 0
            return super().give(size)

    monkeypatch.setattr("asgiadapt._asgi_exchange.monotonic", lambda: now)
    stream = Clocked(b"x" * (20 * piece), ends=False)
    with AsgiToWsgi(echoes) as wsgi:
        call(wsgi, stream, REQUEST_METHOD="POST", CONTENT_LENGTH=str(20 * piece))
    assert [size // piece for size in stream.sizes[:6]] == [1, 2, 4, 1, 2, 4]


def test_a_thread_that_waits_for_a_chunk_is_freed_by_a_close_on_another() -> None:
    """It gets an error, since the response has not come to its end."""
    waits = Gate("the application")

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"x", more=True))
        waits.open()
        await receive()
        assert await receive() == {"type": "http.disconnect"}

    with AsgiToWsgi(app, disconnect_grace=PATIENCE) as wsgi:
        response: Any = wsgi(environ_for(), ignores)
        assert next(response) == b"x"
        waits.wait()
        waiting = on_thread(next, response)
        out = response._exchange._out
        while out._bell is None:
            pass
        response.close()
        with pytest.raises(ClientDisconnected, match="has been given up, and has no more parts"):
            waiting.result()


def test_a_task_that_waits_for_room_is_freed_when_the_application_ends() -> None:
    """Although the server takes nothing more."""
    freed = Gate("the task's send()")
    kept: list[Any] = []

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        second = asyncio.Event()

        async def sends_on() -> None:
            await send(body(b"x", more=True))
            second.set()
            await send(body(b"y" * 1000, more=True))
            freed.open()

        await send(start())
        kept.append(asyncio.create_task(sends_on()))
        await second.wait()
        await asyncio.sleep(0)

    with AsgiToWsgi(app, window=1000) as wsgi:
        response: Any = wsgi(environ_for(), ignores)
        while site_of(wsgi).running:
            pass
        response.close()
        freed.wait()


def test_stop_iteration_out_of_a_plain_function_is_no_end() -> None:
    """Where a function that is no coroutine drives send() by hand, and forgets what its end looks like."""

    def app(scope: Scope, receive: Receive, send: Any) -> Any:
        for message in (start(), body(b"x", more=True)):
            try:
                send(message).send(None)
            except StopIteration:
                pass
        raise StopIteration

    with AsgiToWsgi(app, validated=False, lifespan="off") as wsgi:
        response: Any = wsgi(environ_for(), ignores)
        assert next(response) == b"x"
        with pytest.raises(RuntimeError, match="the ASGI application raised StopIteration"):
            next(response)


def test_a_task_that_cannot_be_made_fails_its_request() -> None:
    """And the next one is served again."""

    def fails(*args: Any, **options: Any) -> Any:
        args[1].close()
        raise KeyError("no tasks today")

    with LoopThread() as thread, AsgiToWsgi(says_hello, loop=thread, lifespan="off") as wsgi:
        loop = running_loop_of(thread)
        loop.post(lambda: loop.loop.set_task_factory(fails))
        with pytest.raises(KeyError, match="no tasks today"):
            wsgi(environ_for(), ignores)
        assert not site_of(wsgi).running
        loop.post(lambda: loop.loop.set_task_factory(None))
        assert call(wsgi).body == b"hello"


# The site


def test_an_application_that_blocks_the_loop_at_its_start_has_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody on the loop could tell that it takes too long."""
    monkeypatch.setattr("asgiadapt._asgi_site._CANCEL_SECONDS", 0.01)
    may_go = Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        may_go.wait()

    with LoopThread() as loop:
        wsgi = AsgiToWsgi(app, loop=loop, startup_timeout=0.01)
        with pytest.raises(StartupFailed, match=r"blocks its event loop for 0\.01 seconds"):
            wsgi.start()
        may_go.open()
        wsgi.close(PATIENCE)


def test_a_loop_that_stops_during_the_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for the start-up is freed."""
    monkeypatch.setattr(loops, "_LOOK_SECONDS", 0.001)
    monkeypatch.setattr(loops, "_GIVE_UP_SECONDS", 0.02)
    loop = asyncio.new_event_loop()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        loop.stop()
        await asyncio.Event().wait()

    running = on_thread(loop.run_forever)
    wsgi = AsgiToWsgi(app, loop=loop, shutdown_timeout=0)
    with pytest.raises(LoopStopped, match="was closed or stopped before the start-up was complete"):
        wsgi.start()
    running.result()
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.close()


def test_an_end_that_comes_after_the_end_is_over_at_once() -> None:
    """Two threads may close the adapter."""
    with LoopThread() as thread:
        site = Site(says_hello, running_loop_of(thread), None, "off")
        assert site.end(PATIENCE)
        bell = locked()
        site.loop.post(partial(site._end_on_loop, 1.0, bell))
        assert bell.acquire(timeout=PATIENCE)


def test_a_result_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """It would be the same with each request."""

    async def app(scope: Scope, receive: Receive, send: Send) -> Any:
        await says_hello(scope, receive, send)
        return 5

    with AsgiToWsgi(app, validated=False, lifespan="off") as wsgi:
        for _ in range(3):
            assert call(wsgi).body == b"hello"
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.getMessage() for record in warnings] == [
        "the ASGI application has returned a int; it should return None"
    ]


def test_chunks_are_taken_before_the_error_behind_them() -> None:
    """Also where all of it was there before the thread looked."""
    app = sends(start(), body(b"a", more=True), body(b"b", more=True), KeyError("late"))
    with AsgiToWsgi(app) as wsgi, Request(wsgi) as request:
        request.begin()
        assert request.next() == b"a"
        assert request.next() == b"b"
        with pytest.raises(KeyError, match="late"):
            request.next()
