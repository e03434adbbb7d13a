"""Every end of a request: the iterable is closed once, the worker is free, nothing is left."""

import asyncio
import contextlib
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from contextvars import ContextVar, copy_context
from pathlib import Path
from typing import Any

import pytest

import asgiadapt
from asgiadapt import ClientTimeout, WorkerPool
from tests.apps import Closing, Keeps, returns, says_hello
from tests.conformance.rules import rule
from tests.fakes import Connection, connection, drop_loop, request, scope_for
from tests.validated import WsgiToAsgi

CHUNKED = [(b"host", b"testserver"), (b"transfer-encoding", b"chunked")]


class Recorded:
    """An application that records where it runs: call, steps and close, each with thread and context.

    *during* is called at the second step.
    """

    def __init__(self, during: Any = lambda environ: None, steps: int = 1000) -> None:
        self.during = during
        self.steps = steps
        self.places: list[tuple[str, int, object]] = []
        self.closed = 0
        self.entered = threading.Event()

    def note(self, what: str) -> None:
        self.places.append((what, threading.get_ident(), MARK.get(None)))

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        MARK.set(object())
        self.note("call")
        self.entered.set()
        start_response("200 OK", [])
        return RecordedResult(self, environ)

    def check(self) -> None:
        """close() came once, on the thread and in the context of everything else."""
        assert self.closed == 1
        assert self.places[-1][0] == "close"
        assert len({place[1:] for place in self.places}) == 1


MARK: ContextVar[object] = ContextVar("MARK")


class RecordedResult:
    def __init__(self, app: Recorded, environ: dict[str, Any]) -> None:
        self.app, self.environ = app, environ

    def __iter__(self) -> Iterator[bytes]:
        for step in range(self.app.steps):
            self.app.note("step")
            if step == 1:
                self.app.during(self.environ)
            yield b"x" * 1000

    def close(self) -> None:
        self.app.closed += 1
        self.app.note("close")


async def free(pool: WorkerPool) -> None:
    """Wait until no worker is busy."""
    while pool.stats().busy:
        await asyncio.sleep(0)


@rule("W2A-RESP-60")
async def test_close_after_a_normal_end(_rule: None) -> None:
    """Once, where everything else ran."""
    app = Recorded(steps=3)
    await request(WsgiToAsgi(app))
    app.check()


@rule("W2A-RESP-60-error")
async def test_close_after_an_application_error(_rule: None) -> None:
    """Once, and the error propagates."""

    def fail(environ: dict[str, Any]) -> None:
        raise ValueError("in the second step")

    app = Recorded(fail)
    with pytest.raises(ValueError, match="second step"):
        await request(WsgiToAsgi(app))
    app.check()


@rule("W2A-RESP-60-upload")
async def test_close_after_the_client_left_during_the_upload(_rule: None) -> None:
    """The read raises inside the iterable, which is closed."""
    app = Recorded(lambda environ: environ["wsgi.input"].read())
    adapter = WsgiToAsgi(app, first_window=1)
    async with connection(adapter, body=None, method="POST", headers=CHUNKED) as opened:
        opened.feed({"type": "http.request", "body": b"x", "more_body": True})
        await opened.chunks(1)
        opened.disconnect()
        await opened.result()
    app.check()


@rule("W2A-RESP-60-download")
async def test_close_after_the_client_left_during_the_download(_rule: None) -> None:
    """The application waits for it, and makes no further chunk."""
    app = Recorded(lambda environ: environ["asgiadapt.disconnected"].wait(10))
    async with connection(WsgiToAsgi(app)) as opened:
        await opened.chunks(1)
        opened.disconnect()
        await opened.result()
        assert not opened.answer.complete
    app.check()
    assert len(app.places) == 4  # call, two steps, close


@rule("W2A-RESP-60-ends-itself")
async def test_close_after_an_iterable_that_ends_when_the_client_has_left(_rule: None) -> None:
    """The application notices by itself, and its end meets a connection that is gone."""
    app = Recorded(lambda environ: environ["asgiadapt.disconnected"].wait(10), steps=2)

    class EndsItself(RecordedResult):
        def __iter__(self) -> Iterator[bytes]:
            yield b"x"
            self.environ["asgiadapt.disconnected"].wait(10)

    def call(environ: dict[str, Any], start_response: Any) -> Any:
        app(environ, start_response)
        return EndsItself(app, environ)

    async with connection(WsgiToAsgi(call)) as opened:
        await opened.chunks(1)
        opened.disconnect()
        await opened.result()
    app.check()


@rule("W2A-RESP-60-stalled")
async def test_close_after_the_client_left_while_the_worker_waited_for_it(_rule: None) -> None:
    """A worker that is blocked by a full window is freed by the disconnect."""
    app = Recorded()
    adapter = WsgiToAsgi(app, window=5000)
    async with connection(adapter) as opened:
        await opened.chunks(1)
        opened.gate.clear()
        opened.disconnect()
        await free(adapter.pool)
        opened.gate.set()
        await opened.result()
    app.check()


@rule("W2A-RESP-60-send")
async def test_close_after_send_failed(_rule: None) -> None:
    """The error of send() propagates, after the iterable was closed."""
    app = Recorded()
    async with connection(WsgiToAsgi(app, window=2000)) as opened:
        await opened.chunks(1)
        opened.send_error = OSError("connection lost")
        with pytest.raises(OSError, match="connection lost"):
            await opened.result()
        app.check()


@rule("W2A-RESP-60-cancel")
async def test_close_after_cancellation_under_back_pressure(_rule: None) -> None:
    """The call waits for it, if it does not take too long."""
    app = Recorded()
    async with connection(WsgiToAsgi(app, window=2000)) as opened:
        await opened.chunks(1)
        opened.gate.clear()
        opened.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opened.result()
        app.check()


@rule("W2A-RESP-67-slow")
async def test_a_cancelled_call_does_not_wait_for_ever(_rule: None, caplog: pytest.LogCaptureFixture) -> None:
    """After cancel_grace it ends; the worker follows, and what fails there is logged."""
    may_end = threading.Event()

    def wait(environ: dict[str, Any]) -> None:
        may_end.wait(10)
        raise ValueError("too late")

    app = Recorded(wait)
    adapter = WsgiToAsgi(app, cancel_grace=0.01)
    async with connection(adapter) as opened:
        await opened.chunks(1)
        opened.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opened.result()
        assert app.closed == 0
        may_end.set()
        assert await asyncio.to_thread(adapter.pool.close, 10)
    app.check()
    assert any("given up" in record.getMessage() for record in caplog.records)


@rule("W2A-RESP-67-failed")
async def test_a_failure_is_not_lost_where_the_call_is_cancelled_at_its_end(
    _rule: None, caplog: pytest.LogCaptureFixture
) -> None:
    """The receiver is just being stopped, and the failure is not raised yet: it is logged."""
    receiving, stopping, may_stop = threading.Event(), asyncio.Event(), asyncio.Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["asgiadapt.disconnected"].is_set()
        assert receiving.wait(10)
        raise ValueError("on purpose")

    async def receive() -> Any:
        receiving.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopping.set()
            await may_stop.wait()

    async def send(event: Any) -> None:
        pytest.fail("nothing is to be sent")

    call = asyncio.create_task(WsgiToAsgi(app)(scope_for(), receive, send))
    await stopping.wait()
    call.cancel()
    may_stop.set()
    with pytest.raises(asyncio.CancelledError):
        await call
    (record,) = [record for record in caplog.records if record.name == "asgiadapt"]
    assert "failed after its request had been given up" in record.getMessage()
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "on purpose"


@rule("W2A-RESP-67-collecting")
async def test_a_request_cancelled_while_its_body_comes_takes_no_worker(_rule: None) -> None:
    """There is nothing to close yet."""
    app = Recorded()
    adapter = WsgiToAsgi(app)
    async with connection(adapter, body=None, method="POST", headers=CHUNKED) as opened:
        while not opened.receiving:
            await asyncio.sleep(0)
        opened.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opened.result()
    assert app.places == []
    assert adapter.pool.stats().threads == 0


@rule("W2A-RESP-67-call")
async def test_cancellation_during_the_call_closes_what_it_returns(_rule: None) -> None:
    """The application learns nothing of it before it returns; not a single step is made then."""
    entered, may_return = threading.Event(), threading.Event()
    iterable = Closing(b"x", b"y")

    def app(environ: dict[str, Any], start_response: Any) -> Closing:
        entered.set()
        may_return.wait(10)
        start_response("200 OK", [])
        return iterable

    adapter = WsgiToAsgi(app, cancel_grace=0)
    async with connection(adapter) as opened:
        await asyncio.to_thread(entered.wait, 10)
        opened.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opened.result()
        may_return.set()
        assert await asyncio.to_thread(adapter.pool.close, 10)
        assert opened.answer.events == []
    assert iterable.given <= 1
    assert iterable.closed == 1


async def test_a_request_cancelled_in_the_queue_is_never_run() -> None:
    """It gives its place back, and the application is not called for it."""
    busy = Recorded(lambda environ: environ["asgiadapt.disconnected"].wait(10))
    adapter = WsgiToAsgi(busy, max_workers=1)
    async with connection(adapter) as first:
        await first.chunks(1)
        async with connection(adapter) as second:
            while not adapter.pool.stats().waiting:
                await asyncio.sleep(0)
            second.task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second.result()
            assert adapter.pool.stats().waiting == 0
        first.disconnect()
        await first.result()
    assert [place[0] for place in busy.places].count("call") == 1


class StuckLoop:
    """A loop that was stopped while a worker waits for the client of its only request."""

    def __init__(self) -> None:
        self.app = Recorded()
        self.adapter = WsgiToAsgi(self.app, window=2000)
        self.loop = asyncio.new_event_loop()
        self.opened = self.loop.run_until_complete(self.begin())

    async def begin(self) -> Connection:
        opened = Connection(scope_for())
        opened.feed_body()
        opened.task = asyncio.create_task(self.adapter(opened.scope, opened.receive, opened.send))
        await opened.chunks(1)
        opened.gate.clear()
        return opened

    def drop(self) -> None:
        drop_loop(self.loop)


def test_close_after_the_task_was_dropped_with_its_loop() -> None:
    """What happens when a task is collected: the worker is freed at once, and closes."""
    stuck = StuckLoop()
    stuck.drop()
    assert stuck.adapter.pool.close(20)
    stuck.app.check()


def test_close_after_the_loop_was_closed_under_the_request() -> None:
    """Somebody keeps the task, so that nothing tells the worker; it looks, and is free."""
    stuck = StuckLoop()
    stuck.loop.close()
    assert stuck.adapter.pool.close(20)
    stuck.app.check()
    stuck.drop()


def test_a_worker_is_freed_from_a_loop_that_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that was stopped may go on; after a while nobody waits for it."""
    monkeypatch.setattr("asgiadapt._threads.loops._LOOK_SECONDS", 0.01)
    monkeypatch.setattr("asgiadapt._threads.loops._GIVE_UP_SECONDS", 0.1)
    stuck = StuckLoop()
    assert stuck.adapter.pool.close(20)
    stuck.app.check()
    stuck.drop()


async def test_a_client_that_takes_nothing_is_cut_off() -> None:
    """send_timeout frees the worker, closes the iterable, and raises out of the call."""
    app = Recorded()
    adapter = WsgiToAsgi(app, window=2000, send_timeout=0.05)
    async with connection(adapter) as opened:
        opened.gate.clear()
        with pytest.raises(ClientTimeout, match="took nothing"):
            await opened.result()
        assert isinstance(opened.task.exception(), OSError)
        app.check()


async def test_a_slow_client_that_takes_something_is_not_cut_off() -> None:
    """send_timeout is for one send(), not for the response."""
    adapter = WsgiToAsgi(returns(iter([b"x"] * 20)), window=0, send_timeout=10)

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        async def send_later(event: Any) -> None:
            for _ in range(10):
                await asyncio.sleep(0)
            await send(event)

        await adapter(scope, receive, send_later)

    async with connection(slow) as opened:
        assert (await opened.result()).body == b"x" * 20


async def test_aborted_streams_do_not_use_up_the_workers() -> None:
    """With two workers, ten aborted streams leave both of them free (each send() fails)."""
    iterables: list[Closing] = []

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/health":
            return says_hello(environ, start_response)
        start_response("200 OK", [])
        iterables.append(Closing(*[b"x" * 1000] * 1000))
        return iterables[-1]

    adapter = WsgiToAsgi(app, max_workers=2, window=2000)
    for _ in range(10):
        async with connection(adapter) as opened:
            opened.send_error = OSError("gone")
            with pytest.raises(OSError, match="gone"):
                await opened.result()
    assert (await request(adapter, path="/health")).body == b"hello"
    assert [iterable.closed for iterable in iterables] == [1] * 10


async def test_an_idle_generator_learns_that_the_client_has_left() -> None:
    """asgiadapt.disconnected can be asked and waited for, before anything was sent."""
    answers: list[Any] = []
    asked = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        disconnected = environ["asgiadapt.disconnected"]
        answers.append(disconnected.is_set())
        answers.append(disconnected.wait(0.001))
        asked.set()
        answers.append(disconnected.wait(10))
        answers.append(disconnected.is_set())
        start_response("200 OK", [])
        return [b"nobody reads this"]

    async with connection(WsgiToAsgi(app)) as opened:
        await asyncio.to_thread(asked.wait, 10)
        opened.disconnect()
        await opened.result()
        assert opened.answer.events == []
    assert answers == [False, False, True, True]


async def test_the_flag_is_set_at_the_end_of_every_request() -> None:
    """Whoever waits for it in a thread of the application is freed, though the client is there."""
    app = Keeps(says_hello)
    answer = await request(WsgiToAsgi(app))
    assert answer.complete
    assert await asyncio.to_thread(app.environ["asgiadapt.disconnected"].wait, 10)
    assert app.environ["asgiadapt.disconnected"].is_set()


async def test_the_flag_is_set_by_cancellation() -> None:
    """The request goes nowhere from then on."""
    waited: list[bool] = []
    app = Recorded(lambda environ: waited.append(environ["asgiadapt.disconnected"].wait(10)))
    async with connection(WsgiToAsgi(app, cancel_grace=20)) as opened:
        await opened.chunks(1)
        opened.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opened.result()
    app.check()
    assert waited == [True]


async def test_nothing_of_a_request_is_kept() -> None:
    """With the garbage collector off, environ and iterable are gone when the request is."""

    class Kept:
        pass

    kept: list[weakref.ref[Kept]] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        environ["test.kept"] = thing = Kept()
        kept.append(weakref.ref(thing))
        start_response("200 OK", [])
        yield environ["wsgi.input"].read()
        yield b"x"

    adapter = WsgiToAsgi(app)
    gc.collect()
    gc.disable()
    try:
        for options in ({}, {"method": "POST", "headers": CHUNKED}):
            async with connection(adapter, body=[b"abc"], **options) as opened:
                await opened.result()
            opened.answer.events.clear()
            del opened
        await free(adapter.pool)
        assert [reference() for reference in kept] == [None, None]
    finally:
        gc.enable()


async def test_nothing_of_a_failed_request_is_kept() -> None:
    """The error, its frames and what they hold are gone, too."""

    class Failure(Exception):
        pass

    kept: list[weakref.ref[Failure]] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        error = Failure()
        kept.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    adapter = WsgiToAsgi(app)

    async def call() -> None:
        opened = Connection(scope_for())
        with pytest.raises(Failure):
            await adapter(opened.scope, opened.receive, opened.send)

    gc.collect()
    gc.disable()
    try:
        await call()
        await free(adapter.pool)
        assert kept[0]() is None
    finally:
        gc.enable()


async def test_the_frames_of_an_error_do_not_show_the_request() -> None:
    """Error reports print the local variables of each frame; credentials are in the environ."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise ValueError("broken")

    headers = [(b"host", b"testserver"), (b"authorization", b"Basic c2VjcmV0")]
    with pytest.raises(ValueError, match="broken") as caught:
        await request(WsgiToAsgi(app), headers=headers)
    package = Path(asgiadapt.__file__).parent
    ours = [entry for entry in caught.traceback if entry.path.is_relative_to(package)]
    assert len(ours) >= 2
    for entry in ours:
        # Every ASGI application has the scope as an argument.
        shown = {name: repr(value) for name, value in entry.frame.f_locals.items() if name != "scope"}
        assert "c2VjcmV0" not in str(shown), entry.name


STUCK = """
import asyncio, threading
from tests.validated import WsgiToAsgi
from tests.fakes import Connection, scope_for

def app(environ, start_response):
    start_response("200 OK", [])
    yield b"x"
    {stuck}

async def main():
    opened = Connection(scope_for())
    opened.feed_body()
    adapter = WsgiToAsgi(app, window=1000, cancel_grace=0.01)
    opened.task = asyncio.create_task(adapter(opened.scope, opened.receive, opened.send))
    await opened.chunks(1)
    opened.gate.clear()

asyncio.run(main())
print("at the end")
"""


@pytest.mark.parametrize(
    "stuck",
    [
        pytest.param("while True: yield b'x' * 100", id="in-send"),
        pytest.param("environ['wsgi.input'].read(); environ['asgiadapt.disconnected'].wait()", id="flag"),
        pytest.param("threading.Event().wait()", id="in-the-application"),
    ],
)
def test_a_process_ends_in_spite_of_busy_workers(stuck: str) -> None:
    """Those that wait for the client are freed, and nobody waits for those that do not end."""
    command = [sys.executable, "-W", "error", "-c", STUCK.format(stuck=stuck)]
    root = Path(__file__).parent.parent.parent
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "at the end\n", "")


def test_two_loops_in_two_threads_share_one_adapter() -> None:
    """Each request is answered on the loop that it came from."""
    adapter = WsgiToAsgi(says_hello)
    answers: list[bytes] = []
    threads = [threading.Thread(target=asyncio.run, args=(plain(adapter, answers),)) for _ in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == [b"hello"] * 300


async def plain(adapter: WsgiToAsgi, answers: list[bytes]) -> None:
    """A hundred requests without the bookkeeping of the fake, which knows one loop only."""
    for _ in range(100):
        opened = Connection(scope_for())
        opened.feed_body()
        await adapter(opened.scope, opened.receive, opened.send)
        answers.append(opened.answer.body)


def test_streams_of_two_loops_share_one_worker_pool() -> None:
    """Bodies and answers that wait for their loop go to that loop."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        while piece := environ["wsgi.input"].read(10):
            yield piece

    adapter = WsgiToAsgi(app, max_workers=2, first_window=1, window=20)
    failed: list[bytes] = []

    async def echo(letter: bytes) -> None:
        for _ in range(20):
            opened = Connection(scope_for(method="POST", headers=CHUNKED))
            opened.feed_body(*[letter * 7] * 50)
            await adapter(opened.scope, opened.receive, opened.send)
            if opened.answer.body != letter * 350:
                failed.append(letter)
        finished.append(letter)

    finished: list[bytes] = []
    threads = [threading.Thread(target=asyncio.run, args=(echo(letter),)) for letter in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(finished) == [b"a", b"b", b"c"]
    assert failed == []


async def test_the_hook_surrounds_call_iteration_and_close() -> None:
    """It is entered on the worker before the call, and left after close(), in the same context."""
    seen: list[Any] = []

    class Around:
        def __init__(self, environ: dict[str, Any]) -> None:
            self.path = environ["PATH_INFO"]

        def __enter__(self) -> None:
            MARK.set("the hook's")
            seen.append(("enter", self.path, threading.get_ident()))

        def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
            seen.append(("exit", kind, threading.get_ident()))

    class Result(Closing):
        def close(self) -> None:
            super().close()
            seen.append(("close", MARK.get(), threading.get_ident()))

    adapter = WsgiToAsgi(returns(Result(b"x", b"y")), around=Around)
    assert (await request(adapter, path="/p")).body == b"xy"
    assert [entry[:2] for entry in seen] == [
        ("enter", "/p"),
        ("close", "the hook's"),
        ("exit", None),
    ]
    assert len({entry[2] for entry in seen}) == 1
    seen.clear()
    with pytest.raises(ValueError, match="failed"):
        await request(WsgiToAsgi(returns(Closing(ValueError("failed"))), around=Around))
    assert seen[-1][1] is ValueError


async def test_the_hook_is_left_on_its_thread_after_cancellation() -> None:
    """What belongs to a thread, such as a connection to a database, can be given back there."""
    threads: list[int] = []

    class Around:
        def __init__(self, environ: dict[str, Any]) -> None:
            threads.append(threading.get_ident())

        def __enter__(self) -> None:
            threads.append(threading.get_ident())

        def __exit__(self, *exc_info: Any) -> None:
            threads.append(threading.get_ident())

    app = Recorded()
    adapter = WsgiToAsgi(app, window=2000, around=Around)
    async with connection(adapter) as opened:
        await opened.chunks(1)
        opened.gate.clear()
        opened.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opened.result()
    app.check()
    assert await asyncio.to_thread(adapter.pool.close, 10)
    assert len(threads) == 3
    assert {*threads} == {app.places[0][1]}


@pytest.mark.parametrize("where", ["make", "enter", "exit"])
async def test_an_error_of_the_hook_itself_passes(where: str) -> None:
    """Before the application it is called no more; after it, the response is out."""
    original = ValueError(f"in {where}")
    result = Closing(b"x")

    class Around:
        def __init__(self, environ: dict[str, Any]) -> None:
            self.reach("make")

        def reach(self, what: str) -> None:
            if what == where:
                raise original

        def __enter__(self) -> None:
            self.reach("enter")

        def __exit__(self, *exc_info: Any) -> None:
            self.reach("exit")

    app = Keeps(returns(result))
    async with connection(WsgiToAsgi(app, around=Around)) as opened:
        with pytest.raises(ValueError, match=f"in {where}") as caught:
            await opened.result()
        assert caught.value is original
        assert opened.answer.complete == (where == "exit")
    assert app.calls == result.closed == (1 if where == "exit" else 0)


async def test_a_hook_may_swallow_what_comes_after_the_response() -> None:
    """The client has everything; an error of close() is the hook's to judge."""
    result = Closing(b"x", close_error=ValueError("late"))
    adapter = WsgiToAsgi(returns(result), around=lambda environ: contextlib.suppress(ValueError))
    assert (await request(adapter)).complete
    assert result.closed == 1


async def test_a_hook_that_swallows_an_error_is_an_error() -> None:
    """Otherwise there would be neither a response nor a reason."""

    class Swallows:
        def __init__(self, environ: dict[str, Any]) -> None:
            pass

        def __enter__(self) -> None:
            pass

        def __exit__(self, *exc_info: Any) -> bool:
            return True

    with pytest.raises(RuntimeError, match="swallowed"):
        await request(WsgiToAsgi(returns(Closing(ValueError())), around=Swallows))


async def test_work_that_close_does_holds_nobody_up() -> None:
    """The client has the whole response while close() still runs."""
    may_close = threading.Event()

    class Result(Closing):
        def close(self) -> None:
            may_close.wait(10)
            super().close()

    result = Result(b"x")
    async with connection(WsgiToAsgi(returns(result))) as opened:
        await opened.until(lambda answer: answer.complete)
        assert result.closed == 0
        may_close.set()
        await opened.result()
    assert result.closed == 1


def test_the_workers_context_is_not_that_of_the_loop() -> None:
    """A context is copied in, and nothing comes back."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        MARK.set("from the application")
        return says_hello(environ, start_response)

    async def main() -> None:
        await request(WsgiToAsgi(app))
        assert MARK.get(None) is None

    copy_context().run(asyncio.run, main())
