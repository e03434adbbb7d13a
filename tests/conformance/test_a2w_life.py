"""A2W-LIFE: the iterable, the threads and the loop.

Each row bears the id of its rule. What takes a process of its own (forks, exits, Ctrl-C) is in
``test_asgi_to_wsgi_processes``.
"""

import asyncio
import functools
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

from asgiadapt import ClientDisconnected, LoopStopped, LoopThread, StartupFailed
from tests.asgi_apps import (
    Receive,
    Scope,
    Send,
    answers,
    body,
    echoes,
    for_http,
    returns_nothing,
    says_hello,
    sends,
    start,
    streams,
    with_lifespan,
)
from tests.conformance.rules import rule
from tests.gates import Gate, on_thread
from tests.validated import AsgiToWsgi
from tests.wsgi_fakes import Request, call, call_together, environ_for

PATIENCE = 20.0


def ignores(*args: Any) -> None:
    """A start_response."""


# The iterable


@pytest.mark.parametrize(
    "app",
    [
        pytest.param(answers(content=b"x"), id="A2W-LIFE-01-whole"),
        pytest.param(streams(b"x", b"y"), id="A2W-LIFE-01-streamed"),
        pytest.param(answers(), id="A2W-LIFE-01-empty"),
        pytest.param(answers(204, []), id="A2W-LIFE-01-bodiless"),
    ],
)
def test_the_result_is_an_iterator_with_close(app: Any) -> None:
    """It is its own iterator, its end stays the end, and it has no length that could be wrong."""
    with AsgiToWsgi(app) as wsgi:
        result = wsgi(environ_for(), ignores)
        assert iter(result) is result
        assert not hasattr(result, "__len__")
        while next(result, None) is not None:
            pass
        assert next(result, "over") == "over"
        for _ in range(3):
            assert result.close() is None
        assert next(result, "over") == "over"


@pytest.mark.parametrize(
    "app",
    [
        pytest.param(answers(content=b"x"), id="A2W-LIFE-01-whole-close-first"),
        pytest.param(streams(b"x", b"y"), id="A2W-LIFE-01-streamed-close-first"),
    ],
)
@pytest.mark.parametrize("taken", [0, 1])
def test_close_may_come_at_any_time_and_ends_the_iterable(app: Any, taken: int) -> None:
    """Before the first chunk, or between two."""
    with AsgiToWsgi(app) as wsgi:
        result = wsgi(environ_for(), ignores)
        for _ in range(taken):
            next(result)
        result.close()
        result.close()
        assert list(result) == []


@rule("A2W-LIFE-01-other-thread")
def test_close_may_come_from_another_thread(_rule: None) -> None:
    """Some servers clean up elsewhere."""
    ended = Gate("the application")

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"x", more=True))
        while (await receive())["type"] != "http.disconnect":
            pass
        ended.open()

    with AsgiToWsgi(app, disconnect_grace=PATIENCE) as wsgi:
        result = wsgi(environ_for(), ignores)
        assert next(result) == b"x"
        on_thread(result.close).result()
        assert ended.is_open


# The end of a request


@rule("A2W-LIFE-03-receive")
def test_a_receive_that_waits_gets_the_disconnect(_rule: None) -> None:
    """close() before the end of the response is the only sign of it in WSGI."""
    events: list[Any] = []
    waiting = Gate("the application")

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"x", more=True))
        await receive()
        task = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        waiting.open()
        events.append(await task)
        events.append(await receive())

    with AsgiToWsgi(app, disconnect_grace=PATIENCE) as wsgi:
        with Request(wsgi) as request:
            request.begin()
            assert request.next() == b"x"
            waiting.wait()
            assert events == []
        assert events == [{"type": "http.disconnect"}] * 2


@rule("A2W-LIFE-03-send")
def test_a_send_that_comes_later_raises(_rule: None) -> None:
    """A subclass of OSError."""
    errors: list[OSError] = []

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"x", more=True))
        await receive()
        await receive()
        try:
            await send(body(b"y"))
        except OSError as error:
            errors.append(error)

    with AsgiToWsgi(app, disconnect_grace=PATIENCE) as wsgi:
        with Request(wsgi) as request:
            request.begin()
        assert [type(error) for error in errors] == [ClientDisconnected]


@rule("A2W-LIFE-03-unread")
def test_what_was_not_taken_makes_no_difference(_rule: None) -> None:
    """The server may close without having asked for a chunk."""
    ended = Gate("the application")

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"x", more=True))
        await send(body(b"y", more=True))
        await receive()
        assert (await receive())["type"] == "http.disconnect"
        ended.open()

    with AsgiToWsgi(app, disconnect_grace=PATIENCE) as wsgi:
        with Request(wsgi) as request:
            request.begin()
        assert ended.is_open


class Lingers:
    """Goes on when the server gives up, and tells what becomes of it."""

    def __init__(self, *, stubborn: bool = False) -> None:
        self.may_go_on = Gate()
        self.cancelled = Gate("the cancellation")
        self.ended = Gate("the application")
        self.how = "not at all"
        self._stubborn = stubborn

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        try:
            await send(start())
            await send(body(b"x", more=True))
            await self.may_go_on.passed()
            self.how = "by itself"
        except asyncio.CancelledError:
            self.cancelled.open()
            if self._stubborn:
                await self.may_go_on.passed()
            self.how = "cancelled"
            raise
        finally:
            self.ended.open()


@pytest.mark.parametrize(
    "grace", [pytest.param(0.0, id="A2W-LIFE-04-none"), pytest.param(0.01, id="A2W-LIFE-04")]
)
def test_an_application_that_goes_on_is_cancelled_after_its_time(grace: float) -> None:
    """It has heard of the disconnect and has not ended."""
    app = Lingers()
    with AsgiToWsgi(app, disconnect_grace=grace) as wsgi:
        with Request(wsgi) as request:
            request.begin()
            assert request.next() == b"x"
        app.ended.wait()
        assert app.how == "cancelled"


@rule("A2W-LIFE-04-in-time")
def test_close_waits_for_an_application_that_cleans_up(_rule: None) -> None:
    """As long as it has time, and no longer than it takes."""
    app = Lingers()
    with AsgiToWsgi(app, disconnect_grace=PATIENCE) as wsgi:
        with Request(wsgi, threaded=True) as request:
            request.begin()
            assert request.next() == b"x"
            closed = request.close_later()
            assert not closed.over
            app.may_go_on.open()
            closed.result()
            assert app.how == "by itself"


@rule("A2W-LIFE-04-stubborn")
def test_close_does_not_wait_longer_than_the_grace(_rule: None) -> None:
    """Not even for an application that goes on although it was cancelled."""
    app = Lingers(stubborn=True)
    with AsgiToWsgi(app, disconnect_grace=0.01) as wsgi:
        with Request(wsgi) as request:
            request.begin()
            assert request.next() == b"x"
        app.cancelled.wait()
        assert not app.ended.is_open
        app.may_go_on.open()
        app.ended.wait()
        assert app.how == "cancelled"


@rule("A2W-LIFE-04-shared")
def test_a_cancelled_application_leaves_the_loop_usable(_rule: None) -> None:
    """The next request is served as usual."""
    app = Lingers()

    @for_http
    async def both(scope: Scope, receive: Receive, send: Send) -> None:
        await (says_hello if scope["path"] == "/hello" else app)(scope, receive, send)

    with AsgiToWsgi(both, disconnect_grace=0) as wsgi:
        with Request(wsgi) as request:
            request.begin()
        app.ended.wait()
        assert call(wsgi, PATH_INFO="/hello").body == b"hello"


class WorksOn:
    """Does something after its response."""

    def __init__(self, *events: dict[str, Any]) -> None:
        self.may_go_on = Gate()
        self.ended = False
        self.over = Gate("the background work")
        self._events = events or (start(), body(b"x"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        try:
            for event in self._events:
                await send(event)
            await self.may_go_on.passed()
            self.ended = True
        finally:
            self.over.open()


EVENTS = [
    pytest.param((start(), body(b"x")), id="one event"),
    pytest.param((start(), body(b"x", more=True), body()), id="streamed"),
]


@pytest.mark.parametrize("events", EVENTS)
@rule("A2W-LIFE-05")
def test_work_after_the_response_does_not_hold_up_the_server(_rule: None, events: Any) -> None:
    """The request ends with its response; the work goes on, and is waited for at the end."""
    app = WorksOn(*events)
    with AsgiToWsgi(app) as wsgi:
        assert call(wsgi).body == b"x"
        assert not app.over.is_open
        app.may_go_on.open()
    assert app.ended


@pytest.mark.parametrize("events", EVENTS)
@rule("A2W-LIFE-05-wait")
def test_close_can_wait_for_work_after_the_response(_rule: None, events: Any) -> None:
    """The client has its response already."""
    app = WorksOn(*events)
    with AsgiToWsgi(app, background_wait=None) as wsgi:
        with Request(wsgi, threaded=True) as request:
            request.begin()
            assert request.read_to_end().body == b"x"
            closed = request.close_later()
            assert not closed.over
            app.may_go_on.open()
            closed.result()
            assert app.ended


@pytest.mark.parametrize("events", EVENTS)
@rule("A2W-LIFE-05-limit")
def test_close_waits_no_longer_than_it_was_told(_rule: None, events: Any) -> None:
    """The work is not cut short by that."""
    app = WorksOn(*events)
    with AsgiToWsgi(app, background_wait=0.01) as wsgi:
        assert call(wsgi).body == b"x"
        assert not app.over.is_open
        app.may_go_on.open()
    assert app.ended


@rule("A2W-LIFE-05-grace")
def test_the_grace_of_a_disconnect_does_not_concern_work_after_the_response(_rule: None) -> None:
    """Nothing is cancelled once the response is complete."""
    app = WorksOn()
    with AsgiToWsgi(app, disconnect_grace=0) as wsgi:
        call(wsgi)
        app.may_go_on.open()
    assert app.ended


@rule("A2W-LIFE-05-tasks")
def test_a_task_that_the_application_leaves_behind_runs_on(_rule: None) -> None:
    """The loop goes on between the requests."""
    may_go_on, ended = Gate(), Gate("the task")
    tasks: list[Any] = []

    async def works() -> None:
        await may_go_on.passed()
        ended.open()

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/":
            tasks.append(asyncio.create_task(works()))
        await says_hello(scope, receive, send)

    with AsgiToWsgi(app) as wsgi:
        call(wsgi)
        call(wsgi, PATH_INFO="/again")
        assert not ended.is_open
        may_go_on.open()
        ended.wait()


@rule("A2W-LIFE-06")
def test_an_iterator_that_is_dropped_counts_as_closed(_rule: None) -> None:
    """Some servers forget to close."""
    events: list[Any] = []
    ended = Gate("the application")

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"x", more=True))
        await receive()
        events.append(await receive())
        ended.open()

    with AsgiToWsgi(app, disconnect_grace=PATIENCE) as wsgi:
        result = wsgi(environ_for(), ignores)
        assert next(result) == b"x"
        del result
        ended.wait()
    assert events == [{"type": "http.disconnect"}]


@rule("A2W-LIFE-06-cancelled")
def test_an_application_whose_iterator_was_dropped_is_cancelled_after_its_time(_rule: None) -> None:
    """As after close()."""
    app = Lingers()
    with AsgiToWsgi(app, disconnect_grace=0.01) as wsgi:
        result = wsgi(environ_for(), ignores)
        assert next(result) == b"x"
        del result
        app.ended.wait()
    assert app.how == "cancelled"


# Threads and loops


class Where:
    """Keeps the loop and the thread of each of its calls."""

    def __init__(self, app: Any = says_hello) -> None:
        self.loops: dict[str, set[Any]] = {"lifespan": set(), "http": set()}
        self.threads: set[int] = set()
        self._app = with_lifespan(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.loops[scope["type"]].add(asyncio.get_running_loop())
        self.threads.add(threading.get_ident())
        await self._app(scope, receive, send)


@rule("A2W-LIFE-07")
def test_requests_of_many_threads_run_on_the_loop_of_the_lifespan(_rule: None) -> None:
    """One loop, on a thread that none of them is."""
    app = Where()
    with AsgiToWsgi(app) as wsgi:
        for outcome in [on_thread(call, wsgi) for _ in range(10)]:
            assert outcome.result().body == b"hello"
    assert len(app.loops["http"]) == 1
    assert app.loops["http"] == app.loops["lifespan"]
    assert len(app.threads) == 1
    assert threading.get_ident() not in app.threads


@rule("A2W-LIFE-07-together")
def test_requests_of_many_threads_run_at_the_same_time(_rule: None) -> None:
    """They meet inside the application."""
    inside = 0
    all_inside = Gate("the meeting of all requests")

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal inside
        inside += 1
        if inside == 20:
            all_inside.open()
        await all_inside.passed()
        await says_hello(scope, receive, send)

    with AsgiToWsgi(app) as wsgi:
        answers = call_together(Request(wsgi, threaded=True) for _ in range(20))
    assert [answer.body for answer in answers] == [b"hello"] * 20


@rule("A2W-LIFE-07-bound")
def test_two_requests_can_share_what_is_bound_to_the_loop(_rule: None) -> None:
    """The one waits for a future, the other resolves it."""
    futures: list[asyncio.Future[bytes]] = []
    waiting = Gate("the first request")

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        content = b"resolved"
        if scope["path"] == "/wait":
            futures.append(asyncio.get_running_loop().create_future())
            waiting.open()
            content = await futures[0]
        else:
            futures[0].set_result(b"from the other")
        await answers(content=content)(scope, receive, send)

    with AsgiToWsgi(app) as wsgi, Request(wsgi, threaded=True, PATH_INFO="/wait") as request:
        begun = request.begin_later()
        waiting.wait()
        assert call(wsgi).body == b"resolved"
        begun.result()
        assert request.read_to_end().body == b"from the other"


@rule("A2W-LIFE-08")
def test_building_starts_nothing(_rule: None) -> None:
    """Neither a thread nor a loop; the first request does."""
    made: list[Any] = []

    def factory() -> asyncio.AbstractEventLoop:
        made.append(threading.get_ident())
        return asyncio.new_event_loop()

    before = set(threading.enumerate())
    wsgi = AsgiToWsgi(Where(), loop_factory=factory)
    assert made == []
    assert set(threading.enumerate()) <= before
    try:
        assert call(wsgi).body == b"hello"
        assert len(made) == 1
        assert made[0] != threading.get_ident()
    finally:
        assert wsgi.close()
    assert set(threading.enumerate()) <= before


@rule("A2W-LIFE-08-never")
def test_an_adapter_that_is_closed_unused_starts_nothing(_rule: None) -> None:
    """There is nothing to shut down."""
    app = Where()

    def factory() -> asyncio.AbstractEventLoop:
        raise AssertionError("not needed")

    assert AsgiToWsgi(app, loop_factory=factory).close()
    assert app.threads == set()


@rule("A2W-LIFE-10")
def test_first_requests_from_many_threads_start_one_loop_and_one_lifespan(_rule: None) -> None:
    """They wait for the start-up, and are all served."""
    starts: list[Any] = []
    made: list[Any] = []
    may_start = Gate()
    starting = Gate("the start-up")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            starts.append(1)
            await receive()
            starting.open()
            await may_start.passed()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
        else:
            assert may_start.is_open
            await says_hello(scope, receive, send)

    def factory() -> asyncio.AbstractEventLoop:
        made.append(1)
        return asyncio.new_event_loop()

    barrier = threading.Barrier(17)

    def meets() -> Any:
        barrier.wait(PATIENCE)
        return call(wsgi).body

    wsgi = AsgiToWsgi(app, loop_factory=factory)
    try:
        outcomes = [on_thread(meets) for _ in range(16)]
        barrier.wait(PATIENCE)
        starting.wait()
        assert not any(outcome.over for outcome in outcomes)
        may_start.open()
        assert [outcome.result() for outcome in outcomes] == [b"hello"] * 16
    finally:
        may_start.open()
        assert wsgi.close()
    assert (len(starts), len(made)) == (1, 1)


@rule("A2W-LIFE-10-failing")
def test_first_requests_from_many_threads_all_learn_of_a_failed_start(_rule: None) -> None:
    """It is tried once."""
    starts: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        starts.append(scope["type"])
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    def fails() -> str:
        with pytest.raises(StartupFailed) as caught:
            call(wsgi)
        return str(caught.value)

    wsgi = AsgiToWsgi(app)
    try:
        for outcome in [on_thread(fails) for _ in range(16)]:
            assert "no database" in outcome.result()
    finally:
        wsgi.close()
    assert starts == ["lifespan"]


@rule("A2W-LIFE-11")
async def test_the_calling_thread_may_run_a_loop_of_its_own(_rule: None) -> None:
    """A request is a plain call there, as everywhere."""
    app = Where(echoes)
    with AsgiToWsgi(app) as wsgi:
        assert call(wsgi, b"data").body == b"data"
    assert asyncio.get_running_loop() not in app.loops["http"]
    assert await asyncio.sleep(0, "goes on") == "goes on"


VARIABLE: ContextVar[str] = ContextVar("VARIABLE", default="unset")


@rule("A2W-LIFE-12")
def test_the_application_runs_in_a_copy_of_the_callers_context(_rule: None) -> None:
    """It sees what the server or middleware has set; what it sets itself stays there."""
    seen: list[str] = []

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(VARIABLE.get())
        VARIABLE.set("the application's")
        await asyncio.sleep(0)
        await asyncio.create_task(child())
        seen.append(await asyncio.to_thread(VARIABLE.get))
        await says_hello(scope, receive, send)

    async def child() -> None:
        seen.append(VARIABLE.get())

    def request(wsgi: Any) -> None:
        token = VARIABLE.set("the caller's")
        call(wsgi)
        seen.append(VARIABLE.get())
        VARIABLE.reset(token)

    with AsgiToWsgi(app) as wsgi:
        for _ in range(2):
            request(wsgi)
    assert seen == ["the caller's", "the application's", "the application's", "the caller's"] * 2


@rule("A2W-LIFE-12-lifespan")
def test_the_lifespan_has_no_requests_context(_rule: None) -> None:
    """It outlives the request that has started it."""
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(VARIABLE.get())
        await with_lifespan(says_hello)(scope, receive, send)

    def request(wsgi: Any) -> None:
        VARIABLE.set("the first request's")
        call(wsgi)

    wsgi = AsgiToWsgi(app)
    try:
        on_thread(request, wsgi).result()
    finally:
        wsgi.close()
    assert seen == ["unset", "the first request's"]


@rule("A2W-LIFE-14")
def test_data_of_one_request_never_shows_up_in_another(_rule: None) -> None:
    """Paths, headers, bodies and answers, of sixteen threads at once."""

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        name = scope["path"].encode()
        assert dict(scope["headers"])[b"x-name"] == name
        VARIABLE.set(scope["path"])
        pieces = []
        more = True
        while more:
            event = await receive()
            pieces.append(event["body"])
            more = event["more_body"]
            await asyncio.sleep(0)
        data = b"".join(pieces)
        assert data == name * 1000
        assert VARIABLE.get() == scope["path"]
        await send(start(headers=[(b"content-type", b"text/plain"), (b"x-name", name)]))
        for at in range(0, len(data), 4096):
            await send(body(data[at : at + 4096], more=True))
        await send(body())

    def client(number: int) -> None:
        for turn in range(25):
            name = f"/{number}/{turn}"
            answer = call(wsgi, name.encode() * 1000, PATH_INFO=name, HTTP_X_NAME=name)
            assert answer.header("x-name") == name
            assert answer.body == name.encode() * 1000

    with AsgiToWsgi(app, window=16 * 1024) as wsgi:
        for outcome in [on_thread(client, number) for number in range(16)]:
            outcome.result()


@rule("A2W-LIFE-15")
def test_close_shuts_down_stops_the_own_loop_and_ends_its_thread(_rule: None) -> None:
    """And may be called again; a request then says what is wrong."""
    loops: list[asyncio.AbstractEventLoop] = []
    shutdowns: list[int] = []
    threads = set(threading.enumerate())

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await with_lifespan(says_hello)(scope, receive, send)
        if scope["type"] == "lifespan":
            shutdowns.append(1)

    def factory() -> asyncio.AbstractEventLoop:
        loops.append(asyncio.new_event_loop())
        return loops[-1]

    wsgi = AsgiToWsgi(app, loop_factory=factory)
    assert call(wsgi).body == b"hello"
    assert wsgi.close() is True
    assert shutdowns == [1]
    assert loops[0].is_closed()
    assert set(threading.enumerate()) <= threads
    assert wsgi.close() is True
    assert shutdowns == [1]
    with pytest.raises(LoopStopped, match="is closed and serves no requests any more; make a new one"):
        call(wsgi)
    with pytest.raises(LoopStopped, match="is closed"):
        wsgi.start()


@rule("A2W-LIFE-15-shared")
def test_close_leaves_a_loop_that_others_use(_rule: None) -> None:
    """One that was given, and the one that all adapters share."""
    with LoopThread() as loop:
        app = Where()
        with AsgiToWsgi(app, loop=loop) as first, AsgiToWsgi(app, loop=loop) as second:
            first.close()
            assert call(second).body == b"hello"
        with AsgiToWsgi(app, loop=loop) as third:
            assert call(third).body == b"hello"
    assert len(app.loops["http"]) == 1


@rule("A2W-LIFE-15-cancels")
def test_close_cancels_what_does_not_end(_rule: None) -> None:
    """A request that waits gets an error, background work its cancellation; then comes the shutdown."""
    order: list[str] = []
    waiting = Gate("the request")
    never = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await with_lifespan()(scope, receive, send)
            order.append("shutdown")
            return
        if scope["path"] == "/background":
            await says_hello(scope, receive, send)
        else:
            waiting.open()
        try:
            await never.wait()
        except asyncio.CancelledError:
            order.append("cancelled")
            raise

    wsgi = AsgiToWsgi(app)
    call(wsgi, PATH_INFO="/background")
    outcome = on_thread(call, wsgi)
    waiting.wait()
    assert wsgi.close(0.01) is False
    with pytest.raises(LoopStopped, match="closed before the response was complete"):
        outcome.result()
    assert order == ["cancelled", "cancelled", "shutdown"]


@rule("A2W-LIFE-15-drains")
def test_close_waits_for_requests(_rule: None) -> None:
    """Those that run end as usual, and only later ones are refused."""
    waiting, may_go_on, closing = Gate("the request"), Gate(), Gate("the closing")

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        waiting.open()
        await may_go_on.passed()
        await streams(b"a", b"b")(scope, receive, send)

    def close() -> Any:
        closing.open()
        return wsgi.close()

    wsgi = AsgiToWsgi(app)
    outcome = on_thread(call, wsgi)
    waiting.wait()
    closed = on_thread(close)
    closing.wait()
    assert not outcome.over
    may_go_on.open()
    assert outcome.result().chunks == [b"a", b"b"]
    assert closed.result() is True


# Applications of all kinds


class Old:
    """An application of ASGI 2.0."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    async def __call__(self, receive: Receive, send: Send) -> None:
        await says_hello(self.scope, receive, send)


def old_function(scope: Scope) -> Callable[[Receive, Send], Any]:
    async def instance(receive: Receive, send: Send) -> None:
        await says_hello(scope, receive, send)

    return instance


class Old2:
    """An object whose methods are applications."""

    def old(self, scope: Scope) -> Any:
        return old_function(scope)

    async def new(self, scope: Scope, receive: Receive, send: Send) -> None:
        await says_hello(scope, receive, send)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await says_hello(scope, receive, send)

    @staticmethod
    async def static(scope: Scope, receive: Receive, send: Send) -> None:
        await says_hello(scope, receive, send)

    @classmethod
    async def of_class(cls, scope: Scope, receive: Receive, send: Send) -> None:
        await says_hello(scope, receive, send)


async def with_more(more: Any, scope: Scope, receive: Receive, send: Send, *, option: int = 0) -> None:
    await says_hello(scope, receive, send)


def plain(scope: Scope, receive: Receive, send: Send) -> Any:
    return says_hello(scope, receive, send)


class Awaited:
    """What it returns is awaitable, and no coroutine."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.coroutine = says_hello(scope, receive, send)

    def __await__(self) -> Any:
        return self.coroutine.__await__()


def future(scope: Scope, receive: Receive, send: Send) -> Any:
    return asyncio.ensure_future(says_hello(scope, receive, send))


@pytest.mark.parametrize(
    "app",
    [
        pytest.param(Old, id="A2W-LIFE-16"),
        pytest.param(old_function, id="A2W-LIFE-16-function"),
        pytest.param(Old2().old, id="A2W-LIFE-16-method"),
        pytest.param(functools.partial(old_function), id="A2W-LIFE-16-partial"),
        pytest.param(lambda scope: old_function(scope), id="A2W-LIFE-16-lambda"),
        pytest.param(says_hello, id="A2W-LIFE-17"),
        pytest.param(Old2(), id="A2W-LIFE-17-instance"),
        pytest.param(Old2().new, id="A2W-LIFE-17-method"),
        pytest.param(Old2.static, id="A2W-LIFE-17-static"),
        pytest.param(Old2.of_class, id="A2W-LIFE-17-classmethod"),
        pytest.param(functools.partial(with_more, 1), id="A2W-LIFE-17-partial"),
        pytest.param(functools.partial(with_more, 1, option=1), id="A2W-LIFE-17-partial-keyword"),
        pytest.param(plain, id="A2W-LIFE-17-plain"),
        pytest.param(lambda *args: says_hello(*args), id="A2W-LIFE-17-any-arguments"),
        pytest.param(
            lambda scope, receive, send, more=None: says_hello(scope, receive, send), id="A2W-LIFE-17-four"
        ),
        pytest.param(Awaited, id="A2W-LIFE-17-awaitable"),
        pytest.param(future, id="A2W-LIFE-17-future"),
    ],
)
def test_applications_of_all_kinds_are_served(app: Any) -> None:
    """Of ASGI 3.0 and 2.0; what counts is what they take."""
    with AsgiToWsgi(app) as wsgi:
        assert call(wsgi).body == b"hello"


@rule("A2W-LIFE-16-lifespan")
def test_an_old_application_may_refuse_the_lifespan_in_its_first_call(_rule: None) -> None:
    """As such applications did."""

    def app(scope: Scope) -> Any:
        assert scope["type"] == "http"
        return old_function(scope)

    with AsgiToWsgi(app) as wsgi:
        assert call(wsgi).body == b"hello"


@rule("A2W-LIFE-16-error")
def test_an_error_in_the_first_call_of_an_old_application_leaves_the_call(_rule: None) -> None:
    """As one in the second does."""

    def app(scope: Scope) -> Any:
        raise KeyError("on purpose")

    with AsgiToWsgi(app) as wsgi:
        with pytest.raises(KeyError, match="on purpose"):
            call(wsgi)


@rule("A2W-LIFE-18")
def test_the_tools_of_asyncio_work_in_the_application(_rule: None) -> None:
    """Its own task, time limits, task groups, threads, and what else a loop has."""

    async def gives(value: Any) -> Any:
        await asyncio.sleep(0)
        return value

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        assert task in asyncio.all_tasks()
        assert task.cancelling() == 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(gives(number)) for number in range(3)]
        assert [task.result() for task in tasks] == [0, 1, 2]
        assert await asyncio.gather(gives(1), gives(2)) == [1, 2]
        assert await asyncio.to_thread(threading.get_ident) != threading.get_ident()
        assert await asyncio.shield(gives(3)) == 3
        # The body that is waited for with a limit is still there afterwards.
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await receive()
        await echoes(scope, receive, send)

    with AsgiToWsgi(app) as wsgi:
        assert call(wsgi, b"data").body == b"data"


@rule("A2W-LIFE-18-send-in-a-task")
def test_any_task_may_send(_rule: None) -> None:
    """The application's own need not be the one."""

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(sends(start(), body(b"a", more=True), body(b"b"))(scope, receive, send))

    with AsgiToWsgi(app) as wsgi:
        assert call(wsgi).body == b"ab"


@rule("A2W-LIFE-18-own-timeout")
def test_a_time_limit_around_a_send_that_waits_is_kept(_rule: None) -> None:
    """The application learns that its client is slow, and can end the response by failing."""
    limited = Gate("the time limit")

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        try:
            async with asyncio.timeout(0.01):
                while True:
                    await send(body(b"x" * 64 * 1024, more=True))
        finally:
            limited.open()

    with AsgiToWsgi(app) as wsgi, Request(wsgi) as request:
        request.begin()
        limited.wait()
        with pytest.raises(TimeoutError):
            request.read_to_end()


@rule("A2W-LIFE-03-nothing-sent")
def test_an_application_that_ends_at_once_frees_the_thread(_rule: None) -> None:
    """Many times in a row, without a thread or a task left."""
    with AsgiToWsgi(returns_nothing) as wsgi:
        before = set(threading.enumerate())
        for _ in range(100):
            with pytest.raises(RuntimeError, match="has returned although"):
                call(wsgi)
        assert set(threading.enumerate()) <= before
