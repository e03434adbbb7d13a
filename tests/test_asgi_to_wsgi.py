"""`AsgiToWsgi` as an object: what it is given, where it runs, how it ends, and what it is nested in."""

import asyncio
import functools
import gc
import io
import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest
import uvloop

import asgiadapt
from asgiadapt import (
    ClientDisconnected,
    DeadlockError,
    LoopStopped,
    LoopThread,
    StartupFailed,
    ThreadSensitiveContext,
    async_to_sync,
    set_default_loop,
    sync_to_async,
)
from asgiadapt._threads.handoff import ToThread
from asgiadapt._threads.loops import AsyncioLoop
from tests import apps
from tests.asgi_apps import (
    Receive,
    Scope,
    Send,
    answers,
    body,
    echoes,
    echoes_as_it_reads,
    for_http,
    read_body,
    says_hello,
    sends,
    start,
    streams,
    with_lifespan,
)
from tests.fakes import connection
from tests.fakes import request as asgi_request
from tests.gates import Gate, on_thread
from tests.validated import AsgiToWsgi, WsgiToAsgi
from tests.wsgi_fakes import Request, call, environ_for

PATIENCE = 20.0


def ignores(*args: Any) -> None:
    """A start_response."""


# What it is given


def two(environ: Any, start_response: Any) -> Any: ...


def none_at_all() -> Any: ...


def four(a: Any, b: Any, c: Any, d: Any) -> Any: ...


class TwoArguments:
    def __call__(self, environ: Any, start_response: Any) -> Any: ...


@pytest.mark.parametrize(
    ("app", "text"),
    [
        pytest.param(None, "None, which cannot be called", id="none"),
        pytest.param("site:app", "'site:app', which cannot be called", id="name"),
        pytest.param(apps.says_hello, "takes two arguments as a WSGI application does", id="WSGI function"),
        pytest.param(TwoArguments(), "takes two arguments as a WSGI application does", id="WSGI object"),
        pytest.param(two, "give an ASGI application, or leave the adapter out", id="way out"),
        pytest.param(functools.partial(four, 1, 2), "takes two arguments", id="partial"),
        pytest.param(none_at_all, r"neither \(scope, receive, send\) nor a scope alone", id="no argument"),
        pytest.param(four, r"neither \(scope, receive, send\) nor a scope alone", id="four arguments"),
    ],
)
def test_what_is_no_asgi_application_is_refused(app: Any, text: str) -> None:
    """When the adapter is built, and not with the first request."""
    with pytest.raises(TypeError, match=text):
        AsgiToWsgi(app)


class Hidden:
    """Its signature cannot be told."""

    @property
    def __signature__(self) -> Any:
        raise ValueError("no signature")

    async def __call__(self, *args: Any) -> None:
        await says_hello(*args)


def test_an_application_whose_parameters_cannot_be_told_is_taken_at_its_word() -> None:
    """It is called as ASGI 3.0 says."""
    with AsgiToWsgi(Hidden()) as wsgi:
        assert call(wsgi).body == b"hello"


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"lifespan": "maybe"}, ValueError, "lifespan is 'maybe'; give 'auto', 'on' or 'off'"),
        ({"lifespan": None}, ValueError, "lifespan is None"),
        ({"lifespan": True}, ValueError, "lifespan is True"),
        ({"loop": "uvloop"}, TypeError, "loop is 'uvloop'; give an asgiadapt.LoopThread"),
        ({"loop": asyncio.new_event_loop}, TypeError, "give an asgiadapt.LoopThread"),
        ({"loop": False}, TypeError, "loop is False"),
        ({"startup_timeout": -1}, ValueError, "startup_timeout is -1; give 0 or more"),
        ({"shutdown_timeout": -0.1}, ValueError, "shutdown_timeout is -0.1"),
        ({"window": -1}, ValueError, "window is -1"),
        ({"disconnect_grace": -1.0}, ValueError, "disconnect_grace is -1.0"),
        ({"background_wait": -1}, ValueError, "background_wait is -1"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(
    options: dict[str, Any], kind: type[Exception], text: str
) -> None:
    """When the adapter is built; the error says what to give."""
    with pytest.raises(kind, match=text):
        AsgiToWsgi(says_hello, **options)


def test_a_loop_and_a_factory_exclude_each_other() -> None:
    """Which of them should be used cannot be told."""
    with pytest.raises(TypeError, match="was given a loop together with loop_factory; give one of them"):
        AsgiToWsgi(says_hello, loop=LoopThread(), loop_factory=asyncio.new_event_loop)


def test_options_are_given_by_name() -> None:
    """Their order is nobody's affair."""
    with pytest.raises(TypeError, match="positional argument"):
        AsgiToWsgi(*(says_hello, None))


# Where the application runs


class Where:
    """Says hello, and keeps the loops that it has run on; it has a lifespan."""

    def __init__(self) -> None:
        self.loops: list[asyncio.AbstractEventLoop] = []
        self.shut_down = Gate("the shutdown")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.loops.append(asyncio.get_running_loop())
        await with_lifespan()(scope, receive, send)
        if scope["type"] == "lifespan":
            self.shut_down.open()


def test_adapters_share_one_loop_by_default() -> None:
    """A process with many applications has one thread for all of them."""
    first, second = Where(), Where()
    with AsgiToWsgi(first) as one, AsgiToWsgi(second) as other:
        call(one)
        call(other)
    assert len({*first.loops, *second.loops}) == 1
    assert not first.loops[0].is_closed()


def test_the_default_loop_is_used_where_there_is_one() -> None:
    """That of `set_default_loop`, like by the bridges."""
    app = Where()
    with LoopThread() as loop:
        set_default_loop(loop)
        try:
            with AsgiToWsgi(app) as wsgi:
                call(wsgi)
        finally:
            set_default_loop(None)

        async def running() -> Any:
            return asyncio.get_running_loop()

        assert set(app.loops) == {async_to_sync(running, loop=loop)()}


def test_a_loop_thread_may_be_given() -> None:
    """It is shared with calls of the bridges, and left open."""
    app = Where()

    async def running() -> Any:
        return asyncio.get_running_loop()

    with LoopThread() as loop:
        with AsgiToWsgi(app, loop=loop) as wsgi:
            assert call(wsgi).body == b"hello"
        assert set(app.loops) == {async_to_sync(running, loop=loop)()}
    assert app.loops[0].is_closed()


async def test_a_running_loop_may_be_given() -> None:
    """Requests of other threads run on it."""
    app = Where()
    wsgi = AsgiToWsgi(app, loop=asyncio.get_running_loop())
    answer = await asyncio.to_thread(call, wsgi)
    assert answer.body == b"hello"
    assert await asyncio.to_thread(wsgi.close) is True
    assert set(app.loops) == {asyncio.get_running_loop()}
    assert app.shut_down.is_open


async def test_a_running_loop_that_was_given_cannot_be_called_from_its_own_thread() -> None:
    """It would wait for itself."""
    wsgi = AsgiToWsgi(says_hello, loop=asyncio.get_running_loop())
    for _ in range(2):
        with pytest.raises(DeadlockError, match="call it from another thread"):
            call(wsgi)
    await asyncio.to_thread(wsgi.start)
    with pytest.raises(DeadlockError, match="call it from another thread"):
        call(wsgi)
    assert (await asyncio.to_thread(call, wsgi)).body == b"hello"
    assert await asyncio.to_thread(wsgi.close) is True


def test_a_loop_that_is_closed_is_refused() -> None:
    """With the request, since it could have been opened later than the adapter."""
    loop = asyncio.new_event_loop()
    loop.close()
    wsgi = AsgiToWsgi(says_hello, loop=loop)
    for _ in range(2):
        with pytest.raises(LoopStopped, match="the event loop is closed; give one that runs"):
            call(wsgi)
    assert wsgi.close() is True


def test_a_loop_that_does_not_run_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would ever answer."""
    monkeypatch.setattr("asgiadapt._threads.loop_thread._START_SECONDS", 0.05)
    loop = asyncio.new_event_loop()
    try:
        with pytest.raises(LoopStopped, match=r"has run nothing within 0\.05 seconds"):
            call(AsgiToWsgi(says_hello, loop=loop))
    finally:
        loop.close()


def test_a_loop_that_begins_to_run_later_is_good_then() -> None:
    """It is looked at when it is needed."""
    loop = asyncio.new_event_loop()
    wsgi = AsgiToWsgi(Where(), loop=loop)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        assert call(wsgi).body == b"hello"
        assert wsgi.close() is True
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()


def test_a_loop_of_its_own_is_made_by_the_factory() -> None:
    """Such as uvloop's; it ends with the adapter."""
    app = Where()
    with AsgiToWsgi(app, loop_factory=uvloop.new_event_loop) as wsgi:
        assert call(wsgi, b"data").body == b"hello"
    (loop,) = set(app.loops)
    assert isinstance(loop, uvloop.Loop)
    assert loop.is_closed()


def test_uvloop_serves_streams_both_ways() -> None:
    """Bodies of many pieces, and a client that leaves."""
    data = bytes(range(256)) * 4096
    lost: list[BaseException] = []

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await echoes_as_it_reads(scope, receive, send)
        except ClientDisconnected as error:
            lost.append(error)
            raise

    with AsgiToWsgi(app, loop_factory=uvloop.new_event_loop, disconnect_grace=PATIENCE, window=0) as wsgi:
        assert call(wsgi, data).body == data
        with Request(wsgi, data) as request:
            request.begin()
            assert request.next()
    assert len(lost) == 1


def test_a_factory_that_fails_is_asked_again() -> None:
    """The request gets its error, and the next one may be luckier."""
    made: list[Any] = []

    def factory() -> asyncio.AbstractEventLoop:
        made.append(1)
        if len(made) == 1:
            raise OSError("too many open files")
        return asyncio.new_event_loop()

    wsgi = AsgiToWsgi(says_hello, loop_factory=factory)
    try:
        with pytest.raises(OSError, match="too many open files"):
            call(wsgi)
        assert call(wsgi).body == b"hello"
    finally:
        assert wsgi.close() is True


def test_a_hundred_adapters_leave_no_threads() -> None:
    """Neither those that share a loop nor those with one of their own."""
    with AsgiToWsgi(says_hello) as wsgi:
        call(wsgi)  # from here on the shared loop is there
    before = set(threading.enumerate())
    for number in range(100):
        options = {"loop_factory": asyncio.new_event_loop} if number % 2 else {}
        with AsgiToWsgi(says_hello, **options) as wsgi:
            call(wsgi)
    assert set(threading.enumerate()) <= before


# Its beginning and its end


def test_start_may_be_called_again() -> None:
    """And by the block, too; the application starts up once."""
    app = Where()
    with AsgiToWsgi(app) as wsgi:
        wsgi.start()
        wsgi.start()
        assert len(app.loops) == 1


def test_the_block_gives_the_adapter_and_closes_it() -> None:
    """Also where it is left by an error."""
    app = Where()
    adapter = AsgiToWsgi(app)
    with pytest.raises(KeyError, match="on purpose"):
        with adapter as wsgi:
            assert wsgi is adapter
            raise KeyError("on purpose")
    assert app.shut_down.is_open


def test_an_adapter_that_was_never_used_is_closed_too() -> None:
    """And serves nothing afterwards."""
    wsgi = AsgiToWsgi(says_hello)
    assert wsgi.close() is True
    with pytest.raises(LoopStopped, match="make a new one"):
        call(wsgi)


def test_close_from_many_threads_shuts_down_once() -> None:
    """One waits for what runs; in the end all have returned, and nothing runs."""
    app = Where()
    wsgi = AsgiToWsgi(app, loop_factory=asyncio.new_event_loop)
    call(wsgi)
    barrier = threading.Barrier(8)

    def close() -> Any:
        barrier.wait(PATIENCE)
        return wsgi.close()

    assert [outcome.result() for outcome in [on_thread(close) for _ in range(8)]] == [True] * 8
    assert len(app.loops) == 2
    assert app.shut_down.is_open
    assert app.loops[0].is_closed()


def test_close_while_the_application_starts_up_gives_the_start_up_up() -> None:
    """It may take for ever; whoever has waited for it is told."""
    starting, cancelled = Gate("the start-up"), Gate("the cancellation")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "lifespan"
        await receive()
        starting.open()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.open()

    wsgi = AsgiToWsgi(app, startup_timeout=None, shutdown_timeout=None)
    waiting = [on_thread(wsgi.start), on_thread(call, wsgi)]
    starting.wait()
    assert wsgi.close() is False
    cancelled.wait()
    for outcome in waiting:
        with pytest.raises(LoopStopped, match="is closed and serves no requests any more"):
            outcome.result()


def test_close_drains_requests_from_many_threads_and_refuses_later_ones() -> None:
    """Each request either has its whole answer or the error; none hangs, none is cut."""
    begun = Gate("a request")

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.open()
        await streams(b"a", b"b", b"c")(scope, receive, send)

    def client() -> int:
        served = 0
        while True:
            try:
                assert call(wsgi).chunks == [b"a", b"b", b"c"]
            except LoopStopped as error:
                assert "is closed and serves no requests any more" in str(error)
                return served
            served += 1

    wsgi = AsgiToWsgi(app)
    clients = [on_thread(client) for _ in range(8)]
    begun.wait()
    assert wsgi.close() is True
    assert sum(outcome.result() for outcome in clients) > 0


def test_close_with_a_time_limit_cancels_what_is_left() -> None:
    """In the body, the error comes out of the iterable."""

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"x", more=True))
        await asyncio.Event().wait()

    wsgi = AsgiToWsgi(app)
    with Request(wsgi) as request:
        request.begin()
        assert request.next() == b"x"
        assert wsgi.close(0) is False
        with pytest.raises(LoopStopped, match="closed before the response was complete"):
            request.next()


def test_close_uses_the_time_limit_of_the_adapter() -> None:
    """Where it is given none."""
    cancelled = Gate("the cancellation")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await says_hello(scope, receive, send)
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.open()

    wsgi = AsgiToWsgi(app, shutdown_timeout=0.01)
    call(wsgi)
    assert wsgi.close() is False
    assert cancelled.is_open


def test_an_application_that_survives_its_cancellation_does_not_hold_up_close(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is left behind after a while."""
    monkeypatch.setattr("asgiadapt._asgi_site._CANCEL_SECONDS", 0.01)
    may_go_on, ended = Gate(), Gate("the application")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await says_hello(scope, receive, send)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await may_go_on.passed()
            ended.open()

    wsgi = AsgiToWsgi(app, shutdown_timeout=0)
    call(wsgi)
    assert wsgi.close() is False
    assert not ended.is_open
    may_go_on.open()
    ended.wait()


async def on_its_own_loop(wsgi: Any, what: Callable[[], Any]) -> str:
    """The error of *what*, called on the loop's thread."""
    with pytest.raises(DeadlockError) as caught:
        what()
    return str(caught.value)


def test_a_request_on_the_thread_of_the_loop_is_refused() -> None:
    """The application calls the adapter that it runs in, and so do tasks and callbacks of that loop."""
    texts: list[str] = []

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/":
            texts.append(await on_its_own_loop(wsgi, lambda: call(wsgi, PATH_INFO="/inner")))
        await says_hello(scope, receive, send)

    with AsgiToWsgi(app) as wsgi:
        assert call(wsgi).body == b"hello"
    assert "call it from another thread" in texts[0]


def test_a_request_to_another_adapter_of_the_loop_is_refused_there_too() -> None:
    """What counts is the loop; from another thread the same request is served."""
    texts: list[str] = []

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        texts.append(await on_its_own_loop(wsgi, lambda: call(other)))
        answer = await asyncio.to_thread(call, other)
        await answers(content=b"inner " + answer.body)(scope, receive, send)

    with AsgiToWsgi(says_hello) as other, AsgiToWsgi(app) as wsgi:
        assert call(wsgi).body == b"inner hello"
    assert len(texts) == 1


def test_start_and_close_on_the_thread_of_the_loop_are_refused() -> None:
    """They would wait for that thread."""
    texts: list[str] = []

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        texts.append(await on_its_own_loop(wsgi, new.start))
        texts.append(await on_its_own_loop(wsgi, lambda: call(new)))
        texts.append(await on_its_own_loop(wsgi, running.close))
        await says_hello(scope, receive, send)

    loop = LoopThread()
    new, running, wsgi = (AsgiToWsgi(app, loop=loop) for app in (Where(), Where(), app))
    running.start()
    wsgi.start()
    assert on_thread(call, wsgi).result().body == b"hello"
    assert all("call it from another thread" in text for text in texts)
    assert len(texts) == 3
    assert (new.close(), wsgi.close(), loop.close()) == (True, True, True)


def test_a_close_that_was_refused_still_ends_the_adapter() -> None:
    """The application is shut down without anybody who waits for it, and no request is served any more."""
    inner = Where()

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await on_its_own_loop(wsgi, other.close)
        await says_hello(scope, receive, send)

    other = AsgiToWsgi(inner)
    other.start()
    with AsgiToWsgi(app) as wsgi:
        assert call(wsgi).body == b"hello"
        inner.shut_down.wait()
    with pytest.raises(LoopStopped, match="is closed"):
        call(other)


def test_a_loop_thread_that_is_closed_under_the_adapter_ends_its_requests() -> None:
    """Those that wait get the error, and later ones too; close() says that not all has ended well."""
    waiting = Gate("the request")

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        waiting.open()
        await asyncio.Event().wait()

    loop = LoopThread()
    wsgi = AsgiToWsgi(app, loop=loop)
    outcome = on_thread(call, wsgi)
    waiting.wait()
    assert loop.close() is True
    with pytest.raises(LoopStopped, match="event loop, was closed before the response was complete"):
        outcome.result()
    with pytest.raises(LoopStopped, match="the LoopThread is closed and runs nothing any more"):
        call(wsgi)
    wsgi.close()


def test_a_loop_that_is_stopped_during_a_request_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread of the request does not wait for ever for a loop that nobody runs."""
    monkeypatch.setattr("asgiadapt._threads.loops._LOOK_SECONDS", 0.01)
    monkeypatch.setattr("asgiadapt._threads.loops._GIVE_UP_SECONDS", 0.01)
    waiting = Gate("the request")

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        waiting.open()
        await asyncio.Event().wait()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    wsgi = AsgiToWsgi(app, loop=loop, lifespan="off")
    outcome = on_thread(call, wsgi)
    waiting.wait()
    loop.call_soon_threadsafe(loop.stop)
    thread.join(PATIENCE)
    with pytest.raises(LoopStopped, match="was closed or stopped before the request had ended"):
        outcome.result()
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def test_an_adapter_on_a_loop_that_was_replaced_starts_up_again() -> None:
    """A given loop is closed for good; the shared one never is while the process lives."""
    app = Where()
    with LoopThread() as first, LoopThread() as second:
        set_default_loop(first)
        try:
            wsgi = AsgiToWsgi(app)
            assert call(wsgi).body == b"hello"
            first.close()
            set_default_loop(second)
            assert call(wsgi).body == b"hello"
            assert wsgi.close() is True
        finally:
            set_default_loop(None)
    assert len(set(app.loops)) == 2


# Many requests


def debug_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_debug(True)
    return loop


def test_many_requests_of_many_threads_under_asyncios_debug_mode(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is called from a thread from which it may not be, no task is lost, no error is left."""

    def client(number: int) -> None:
        for turn in range(60):
            data = f"{number} {turn} ".encode() * 500
            answer = call(wsgi, data, PATH_INFO=f"/{turn % 4}")
            assert answer.body == (data if turn % 4 else b"hello")

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["path"]
        await {"/0": says_hello, "/1": echoes, "/2": echoes_as_it_reads, "/3": reads_first}[kind](
            scope, receive, send
        )

    @for_http
    async def reads_first(scope: Scope, receive: Receive, send: Send) -> None:
        pieces = await read_body(receive)
        await streams(*pieces)(scope, receive, send)

    with AsgiToWsgi(app, loop_factory=debug_loop) as wsgi:
        for outcome in [on_thread(client, number) for number in range(16)]:
            outcome.result()
    assert [record.getMessage() for record in caplog.records if record.name == "asgiadapt"] == []


def test_many_given_up_responses_free_everything() -> None:
    """Each application hears of it and ends, and none is left on the loop."""
    ended = 0
    left: list[int] = []

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal ended
        if scope["path"] == "/left":
            left.append(len(asyncio.all_tasks()))
            await says_hello(scope, receive, send)
            return
        await send(start())
        try:
            while True:
                await send(body(b"x" * 1000, more=True))
        finally:
            ended += 1

    with AsgiToWsgi(
        app, loop_factory=asyncio.new_event_loop, lifespan="off", disconnect_grace=PATIENCE
    ) as wsgi:
        for number in range(200):
            with Request(wsgi) as request:
                request.begin()
                for _ in range(number % 3):
                    assert request.next()
        assert call(wsgi, PATH_INFO="/left").body == b"hello"
    assert ended == 200
    assert left == [1]


def test_an_iterable_may_be_iterated_by_one_thread_after_the_other() -> None:
    """Some servers hand a response on."""
    with AsgiToWsgi(streams(*[b"%d" % number for number in range(10)])) as wsgi:
        result = on_thread(wsgi, environ_for(), ignores).result()
        chunks = []
        while (chunk := on_thread(next, result, None).result()) is not None:
            chunks.append(chunk)
        on_thread(result.close).result()
    assert chunks == [b"%d" % number for number in range(10)]


# References


class Marker:
    """Something that a weak reference can point to."""


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What dies does so by its last reference."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    "app",
    [says_hello, echoes, streams(b"a", b"b"), answers(204, [])],
    ids=["whole", "echo", "streamed", "bodiless"],
)
def test_nothing_of_a_request_outlives_it(app: Any) -> None:
    """Neither scope nor environ, body or what the application had, with the collector off."""
    kept: list[weakref.ref[Any]] = []

    class Bytes(io.BytesIO):
        """A body."""

    @for_http
    async def keeping(scope: Scope, receive: Receive, send: Send) -> None:
        marker = scope["marker"] = Marker()
        kept.append(weakref.ref(marker))
        await app(scope, receive, send)

    with AsgiToWsgi(keeping) as wsgi:
        for _ in range(3):
            data = Bytes(b"data")
            kept.append(weakref.ref(data))
            environ = environ_for(**{"wsgi.input": data, "CONTENT_LENGTH": "4"})
            result = wsgi(environ, ignores)
            list(result)
            result.close()
            del data, environ, result
    assert len(kept) == 6
    assert [reference() for reference in kept] == [None] * 6


@pytest.mark.usefixtures("no_collector")
def test_a_thread_that_has_served_a_request_keeps_nothing_of_it() -> None:
    """The loop's thread neither, when it waits for the next one."""
    kept: list[weakref.ref[Any]] = []
    variable: ContextVar[Any] = ContextVar("variable")

    def client() -> None:
        marker = Marker()
        kept.append(weakref.ref(marker))
        variable.set(marker)
        call(wsgi)

    with AsgiToWsgi(says_hello) as wsgi:
        on_thread(client).result()
        call(wsgi)  # the loop has done something else since
        assert [reference() for reference in kept] == [None]


@pytest.mark.usefixtures("no_collector")
def test_an_adapter_dies_by_its_last_reference_and_shuts_the_application_down() -> None:
    """Without anybody who waits for that."""
    app = Where()
    wsgi = AsgiToWsgi(app)
    call(wsgi)
    reference = weakref.ref(wsgi)
    del wsgi
    assert reference() is None
    app.shut_down.wait()


@pytest.mark.usefixtures("no_collector")
def test_an_adapter_that_is_dropped_ends_its_own_loop() -> None:
    """After the shutdown of the application."""
    app = Where()
    before = set(threading.enumerate())
    wsgi = AsgiToWsgi(app, loop_factory=asyncio.new_event_loop)
    call(wsgi)
    threads = set(threading.enumerate()) - before
    del wsgi
    app.shut_down.wait()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_an_adapter_that_is_collected_with_what_refers_to_it_shuts_its_application_down(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A dispatcher of Flask's makes such a cycle."""
    for _ in range(5):
        app = Where()
        shut_down = app.shut_down
        cycle: list[Any] = [AsgiToWsgi(app), app]
        cycle.append(cycle)
        call(cycle[0])
        del app, cycle
        gc.collect()
        shut_down.wait()
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_request_that_runs_keeps_its_adapter_going() -> None:
    """Whoever drops it meanwhile."""
    waiting, may_go_on = Gate("the request"), Gate()

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        waiting.open()
        await may_go_on.passed()
        await streams(b"a", b"b")(scope, receive, send)

    adapters = [AsgiToWsgi(app, loop_factory=asyncio.new_event_loop)]
    result: list[Any] = []

    def client() -> list[bytes]:
        result.append(adapters[0](environ_for(), ignores))
        adapters.clear()
        return list(result[0])

    outcome = on_thread(client)
    waiting.wait()
    may_go_on.open()
    assert outcome.result() == [b"a", b"b"]
    result[0].close()


# Nested in each other


@pytest.mark.parametrize("data", [b"", b"data", bytes(range(256)) * 4096], ids=["none", "small", "large"])
@pytest.mark.parametrize("app", [echoes, echoes_as_it_reads])
async def test_an_asgi_application_comes_through_both_adapters_unchanged(app: Any, data: bytes) -> None:
    """Served as WSGI, which is served as ASGI."""
    with AsgiToWsgi(app) as wsgi:
        adapter = WsgiToAsgi(wsgi)
        answers = await asyncio.gather(
            *[asgi_request(adapter, *([data] if data else []), method="POST") for _ in range(5)]
        )
    for answer in answers:
        assert (answer.status, answer.body) == (200, data)


@pytest.mark.parametrize("data", [b"", b"data", bytes(range(256)) * 4096], ids=["none", "small", "large"])
def test_a_wsgi_application_comes_through_both_adapters_unchanged(data: bytes) -> None:
    """Served as ASGI, which is served as WSGI."""
    with AsgiToWsgi(WsgiToAsgi(apps.echoes)) as wsgi:
        outcomes = [on_thread(call, wsgi, data) for _ in range(5)]
        for outcome in outcomes:
            answer = outcome.result()
            assert (answer.status, answer.body) == (200, data)


async def test_chunks_stay_chunks_through_both_adapters() -> None:
    """Each is there before the application has made the next."""
    taken = [Gate() for _ in range(4)]

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        for number, gate in enumerate(taken):
            await send(body(b"%d" % number, more=True))
            await gate.passed()
        await send(body())

    with AsgiToWsgi(app) as wsgi:
        async with connection(WsgiToAsgi(wsgi)) as opened:
            for number, gate in enumerate(taken):
                await opened.until(lambda answer, number=number: len(answer.chunks) > number)
                gate.open()
            assert (await opened.result()).chunks[:4] == [b"0", b"1", b"2", b"3"]


async def test_a_disconnect_comes_through_both_adapters() -> None:
    """The application within hears of it."""
    told = Gate("the application")

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        try:
            while True:
                await send(body(b"x" * 1000, more=True))
                await asyncio.sleep(0)
        except ClientDisconnected:
            told.open()
            raise

    with AsgiToWsgi(app, disconnect_grace=PATIENCE) as wsgi:
        async with connection(WsgiToAsgi(wsgi)) as opened:
            await opened.until(lambda answer: len(answer.chunks) > 1)
            opened.disconnect()
            await asyncio.to_thread(told.wait)


async def test_an_error_comes_through_both_adapters() -> None:
    """The same object."""
    original = KeyError("on purpose")
    with AsgiToWsgi(sends(original)) as wsgi:
        with pytest.raises(KeyError, match="on purpose") as caught:
            await asgi_request(WsgiToAsgi(wsgi))
    assert caught.value is original


def test_four_adapters_around_each_other_still_answer() -> None:
    """ASGI in WSGI in ASGI in WSGI."""
    with AsgiToWsgi(echoes) as inner:
        with AsgiToWsgi(WsgiToAsgi(inner), loop_factory=asyncio.new_event_loop) as outer:
            assert call(outer, b"data" * 10_000).body == b"data" * 10_000


def test_four_adapters_on_one_loop_still_answer() -> None:
    """The workers of the one in the middle wait for that loop, and it does not wait for them."""
    with AsgiToWsgi(echoes) as inner, AsgiToWsgi(WsgiToAsgi(inner)) as outer:
        assert call(outer, b"data" * 10_000).body == b"data" * 10_000


# Sync code below the application, and above it


def thread_id() -> int:
    return threading.get_ident()


async def adds(value: int) -> int:
    await asyncio.sleep(0)
    return value + await sync_to_async(int)(1)


def adds_sync(value: int) -> int:
    return async_to_sync(adds)(value) + 1


async def sensitive() -> None:
    first, second = await sync_to_async(thread_id)(), await sync_to_async(thread_id)()
    assert first == second != threading.get_ident()


async def anywhere() -> None:
    assert await sync_to_async(thread_id, thread_sensitive=False)() != threading.get_ident()


async def sensitive_and_back() -> None:
    assert await sync_to_async(adds_sync)(1) == 3


async def anywhere_and_back() -> None:
    assert await sync_to_async(adds_sync, thread_sensitive=False)(1) == 3


async def together() -> None:
    results = await asyncio.gather(*[sync_to_async(adds_sync)(number) for number in range(5)])
    assert results == [2, 3, 4, 5, 6]


async def in_a_context() -> None:
    async with ThreadSensitiveContext():
        assert await sync_to_async(adds_sync)(1) == 3


async def in_a_task() -> None:
    assert await asyncio.create_task(sync_to_async(adds_sync)(1)) == 3
    assert await asyncio.wait_for(sync_to_async(adds_sync)(1), PATIENCE) == 3


async def in_a_thread() -> None:
    assert await asyncio.to_thread(adds_sync, 1) == 3


BELOW = [
    sensitive,
    anywhere,
    sensitive_and_back,
    anywhere_and_back,
    together,
    in_a_context,
    in_a_task,
    in_a_thread,
]


def from_a_thread(request: Callable[[], Any]) -> Any:
    return request()


def from_sensitive_code(request: Callable[[], Any]) -> Any:
    return asyncio.run(sync_to_async(request)())


def from_code_anywhere(request: Callable[[], Any]) -> Any:
    return asyncio.run(sync_to_async(request, thread_sensitive=False)())


def from_sensitive_code_below_sync_code(request: Callable[[], Any]) -> Any:
    async def main() -> Any:
        return await sync_to_async(request)()

    return async_to_sync(main)()


def from_code_in_a_context(request: Callable[[], Any]) -> Any:
    async def main() -> Any:
        async with ThreadSensitiveContext():
            return await sync_to_async(request)()

    return asyncio.run(main())


def from_a_coroutine(request: Callable[[], Any]) -> Any:
    async def main() -> Any:
        return request()

    return asyncio.run(main())


def from_a_coroutine_below_sync_code(request: Callable[[], Any]) -> Any:
    async def main() -> Any:
        return request()

    return async_to_sync(main)()


def from_a_thread_of_asyncio(request: Callable[[], Any]) -> Any:
    return asyncio.run(asyncio.to_thread(request))


def from_a_worker(request: Callable[[], Any]) -> Any:
    results: list[Any] = []

    def view(environ: Any, start_response: Any) -> Any:
        results.append(request())
        return apps.says_hello(environ, start_response)

    asyncio.run(asgi_request(WsgiToAsgi(view)))
    return results[0]


def from_the_shared_loop_below_sync_code(request: Callable[[], Any]) -> Any:
    async def main() -> Any:
        return await sync_to_async(request)()

    with LoopThread() as loop:
        return async_to_sync(main, loop=loop)()


ABOVE = [
    from_a_thread,
    from_sensitive_code,
    from_code_anywhere,
    from_sensitive_code_below_sync_code,
    from_code_in_a_context,
    from_a_coroutine,
    from_a_coroutine_below_sync_code,
    from_a_thread_of_asyncio,
    from_a_worker,
    from_the_shared_loop_below_sync_code,
]


@pytest.mark.parametrize("below", BELOW)
@pytest.mark.parametrize("above", ABOVE)
def test_sync_code_below_the_application_runs_whatever_is_above_the_request(above: Any, below: Any) -> None:
    """No thread waits for itself, also where the request's own belongs to a bridge."""

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await below()
        await echoes(scope, receive, send)

    with AsgiToWsgi(app) as wsgi:
        assert on_thread(above, lambda: call(wsgi, b"data")).result().body == b"data"


@pytest.mark.parametrize("below", BELOW)
@pytest.mark.parametrize("above", ABOVE)
def test_a_view_may_call_the_adapter_that_it_runs_in(above: Any, below: Any) -> None:
    """From sync code below the application; the inner request has sync code below it, too."""

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await below()
        if scope["path"] == "/":
            answer = await sync_to_async(call)(wsgi, PATH_INFO="/inner")
            await answers(content=b"outer " + answer.body)(scope, receive, send)
        else:
            await answers(content=b"inner")(scope, receive, send)

    with AsgiToWsgi(app) as wsgi:
        assert on_thread(above, lambda: call(wsgi)).result().body == b"outer inner"


def test_many_requests_of_sensitive_code_at_once_do_not_block_each_other() -> None:
    """Each has sensitive code above and below it."""

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert await sync_to_async(adds_sync)(1) == 3
        await says_hello(scope, receive, send)

    async def main() -> list[Any]:
        return await asyncio.gather(*[sync_to_async(call)(wsgi) for _ in range(20)])

    with AsgiToWsgi(app) as wsgi:
        for answer in on_thread(asyncio.run, main()).result():
            assert answer.body == b"hello"


@pytest.mark.parametrize("above", ABOVE)
def test_a_lifespan_may_use_sync_code_whatever_is_above_the_first_request(above: Any) -> None:
    """At its start and at its end."""
    ends: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            assert await sync_to_async(adds_sync)(1) == 3
            await with_lifespan()(scope, receive, send)
            ends.append(await sync_to_async(adds_sync)(1))
        else:
            await says_hello(scope, receive, send)

    wsgi = AsgiToWsgi(app, startup_timeout=5)
    try:
        assert on_thread(above, lambda: call(wsgi)).result().body == b"hello"
    finally:
        assert wsgi.close() is True
    assert ends == [3]


# What it says


def test_it_is_known_by_its_public_name() -> None:
    """Tracebacks and pickles show where to import it from."""
    assert asgiadapt.AsgiToWsgi.__module__ == "asgiadapt"
    assert StartupFailed.__module__ == "asgiadapt"


def test_a_response_that_cannot_be_mapped_has_an_answer_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """400 for the client, and nothing in the log that the application could be blamed for."""
    caplog.set_level(logging.WARNING)
    with AsgiToWsgi(says_hello) as wsgi:
        answer = call(wsgi, validated=False, CONTENT_LENGTH="-1")
    assert answer.line == "400 Bad Request"
    assert answer.body
    assert caplog.records == []


# What it costs


@pytest.mark.parametrize("app", [says_hello, sends(start(), body(b"a")), sends(start(204, []), body())])
def test_a_small_request_costs_one_hop_to_the_loop_and_one_back(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The application is started by one message to the loop; head and body come back in one."""
    with AsgiToWsgi(app) as wsgi:
        call(wsgi)
        there, back = [], []
        post, put = AsyncioLoop.post, ToThread.put

        def counted_post(self: AsyncioLoop, callback: Any) -> None:
            there.append(callback)
            post(self, callback)

        def counted_put(self: ToThread[Any], items: list[Any], size: int, *, last: bool = False) -> None:
            back.append(items)
            put(self, items, size, last=last)

        with monkeypatch.context() as patch:
            patch.setattr(AsyncioLoop, "post", counted_post)
            patch.setattr(ToThread, "put", counted_put)
            call(wsgi)
    assert (len(there), len(back)) == (1, 1)
