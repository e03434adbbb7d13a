"""LIFESPAN: the protocol that `AsgiToWsgi` speaks to an ASGI application at its start and its end.

Each row bears the id of its rule.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from asgiadapt import ApplicationOrderError, StartupFailed
from tests.asgi_apps import Receive, Scope, Send, body, for_http, says_hello, start, with_lifespan
from tests.conformance.rules import rule
from tests.gates import Gate, on_thread
from tests.validated import AsgiToWsgi
from tests.wsgi_fakes import Request, call

PATIENCE = 20.0
STARTED = {"type": "lifespan.startup.complete"}
STOPPED = {"type": "lifespan.shutdown.complete"}


def startup_failed(**more: Any) -> dict[str, Any]:
    return {"type": "lifespan.startup.failed", **more}


def logged(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    """What was logged on the project's logger, from *level* on."""
    return [
        f"{record.levelname} {record.getMessage()}"
        for record in caplog.records
        if record.name == "asgiadapt" and record.levelno >= level
    ]


class Lives:
    """An application whose lifespan is *life*, a coroutine function; requests get *app*.

    ``calls`` has the types of its scopes, ``scope`` that of the lifespan.
    """

    def __init__(self, life: Callable[[Scope, Receive, Send], Any], app: Any = says_hello) -> None:
        self.calls: list[str] = []
        self.scope: Any = None
        self._life = life
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls.append(scope["type"])
        if scope["type"] == "lifespan":
            self.scope = scope
            await self._life(scope, receive, send)
        else:
            await self._app(scope, receive, send)


# The scope


@pytest.mark.parametrize("mode", ["auto", "on"])
@rule("LIFESPAN-01")
def test_the_scope_has_its_type_its_versions_and_an_empty_state(_rule: None, mode: Any) -> None:
    """And nothing else."""
    scopes: list[Any] = []

    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(
            {key: dict(value) if isinstance(value, dict) else value for key, value in scope.items()}
        )
        await with_lifespan()(scope, receive, send)

    with AsgiToWsgi(Lives(life), lifespan=mode):
        pass
    assert scopes == [
        {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}},
    ]


@rule("LIFESPAN-01-fresh")
def test_each_adapter_has_a_state_of_its_own(_rule: None) -> None:
    """Also of the same application."""
    states: list[Any] = []

    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["state"] == {}
        states.append(scope["state"])
        await with_lifespan(kept=len(states))(scope, receive, send)

    app = Lives(life)
    with AsgiToWsgi(app), AsgiToWsgi(app):
        assert states == [{"kept": 1}, {"kept": 2}]


@rule("LIFESPAN-02")
def test_the_protocol_runs_once_in_one_task_on_the_loop_of_the_requests(_rule: None) -> None:
    """The task lives until the shutdown."""
    tasks: list[Any] = []
    loops: list[Any] = []

    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        tasks.append(asyncio.current_task())
        await with_lifespan()(scope, receive, send)
        tasks.append(asyncio.current_task())

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        loops.append(asyncio.get_running_loop())
        assert not tasks[0].done()
        assert asyncio.current_task() is not tasks[0]
        await says_hello(scope, receive, send)

    lives = Lives(life, app)
    with AsgiToWsgi(lives) as wsgi:
        wsgi.start()
        for _ in range(3):
            assert call(wsgi).body == b"hello"
        assert len(tasks) == 1
    assert lives.calls == ["lifespan", "http", "http", "http"]
    assert tasks[0] is tasks[1]
    assert tasks[0].done()
    assert {tasks[0].get_loop()} == set(loops)


# Startup


@pytest.mark.parametrize(
    "eager", [pytest.param(True, id="LIFESPAN-03-start"), pytest.param(False, id="LIFESPAN-03")]
)
def test_no_request_comes_before_the_startup_is_complete(eager: bool) -> None:
    """Those that arrive earlier wait."""
    events: list[Any] = []
    starting, may_start = Gate("the start-up"), Gate()

    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        events.append(await receive())
        starting.open()
        await may_start.passed()
        events.append("complete")
        await send(STARTED)
        events.append(await receive())
        await send(STOPPED)

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        events.append("request")
        await says_hello(scope, receive, send)

    wsgi = AsgiToWsgi(Lives(life, app))
    try:
        started = on_thread(wsgi.start) if eager else None
        outcomes = [on_thread(call, wsgi) for _ in range(3)]
        starting.wait()
        assert not any(outcome.over for outcome in outcomes)
        may_start.open()
        for outcome in outcomes:
            assert outcome.result().body == b"hello"
        if started is not None:
            assert started.result() is None
    finally:
        may_start.open()
        wsgi.close()
    assert events == [
        {"type": "lifespan.startup"},
        "complete",
        *["request"] * 3,
        {"type": "lifespan.shutdown"},
    ]


async def raises_at_once(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("only http")


async def raises_after_startup(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    raise ValueError("does not know lifespan.startup")


async def returns_at_once(scope: Scope, receive: Receive, send: Send) -> None:
    return


async def returns_after_startup(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()


async def takes_it_for_http(scope: Scope, receive: Receive, send: Send) -> None:
    await send(start())
    await send(body(b"x"))


async def looks_for_a_path(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["path"]


async def cancels_itself(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    raise asyncio.CancelledError


UNSUPPORTED = [
    pytest.param(raises_at_once, id="LIFESPAN-04"),
    pytest.param(raises_after_startup, id="LIFESPAN-04-after-startup"),
    pytest.param(takes_it_for_http, id="LIFESPAN-04-wrong-message"),
    pytest.param(looks_for_a_path, id="LIFESPAN-04-wrong-scope"),
    pytest.param(returns_at_once, id="LIFESPAN-05"),
    pytest.param(returns_after_startup, id="LIFESPAN-05-after-startup"),
]


@pytest.mark.parametrize("life", UNSUPPORTED)
def test_an_application_without_lifespan_is_served(life: Any) -> None:
    """It is not asked again, neither for the next request nor at the end; its scopes have no state."""
    states: list[bool] = []

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        states.append("state" in scope)
        await says_hello(scope, receive, send)

    lives = Lives(life, app)
    wsgi = AsgiToWsgi(lives)
    try:
        for _ in range(2):
            assert call(wsgi).body == b"hello"
        wsgi.start()
    finally:
        assert wsgi.close()
    assert lives.calls == ["lifespan", "http", "http"]
    assert states == [False, False]


@rule("LIFESPAN-04-log")
def test_an_application_without_lifespan_is_no_trouble(_rule: None, caplog: pytest.LogCaptureFixture) -> None:
    """Most have none; the log tells those who ask."""
    caplog.set_level(logging.INFO, "asgiadapt")
    with AsgiToWsgi(Lives(raises_at_once)) as wsgi:
        call(wsgi)
    assert logged(caplog) == []
    assert logged(caplog, logging.INFO) == [
        "INFO the ASGI application takes no part in lifespan: "
        "the application raised AssertionError: only http"
    ]


@pytest.mark.parametrize("life", UNSUPPORTED)
def test_with_on_an_application_without_lifespan_has_failed(life: Any) -> None:
    """It was to take part."""
    lives = Lives(life)
    wsgi = AsgiToWsgi(lives, lifespan="on")
    try:
        for _ in range(2):
            with pytest.raises(
                StartupFailed, match="start-up of the ASGI application has failed: the application"
            ):
                call(wsgi)
    finally:
        wsgi.close()
    assert lives.calls == ["lifespan"]


@rule("LIFESPAN-04-cancelled")
def test_an_application_that_cancels_itself_at_its_start_does_not_hang(_rule: None) -> None:
    """Nor does its request."""
    wsgi = AsgiToWsgi(Lives(cancels_itself))
    try:
        with pytest.raises(StartupFailed, match="CancelledError"):
            call(wsgi)
    finally:
        wsgi.close()


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
@rule("LIFESPAN-04-exit")
def test_an_application_that_exits_at_its_start_has_failed(_rule: None, kind: type[BaseException]) -> None:
    """That is no want of support; the loop goes on."""

    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise kind("on purpose")

    wsgi = AsgiToWsgi(Lives(life))
    try:
        with pytest.raises((StartupFailed, kind), match="on purpose"):
            call(wsgi)
    finally:
        wsgi.close()
    with AsgiToWsgi(says_hello) as other:
        assert call(other).body == b"hello"


@pytest.mark.parametrize(
    ("event", "text"),
    [
        pytest.param(startup_failed(message="no database"), "has failed: no database", id="LIFESPAN-06"),
        pytest.param(startup_failed(), "has failed: ", id="LIFESPAN-06-no-message"),
        pytest.param(startup_failed(message=""), "has failed: ", id="LIFESPAN-06-empty"),
    ],
)
@pytest.mark.parametrize("mode", ["auto", "on"])
@pytest.mark.parametrize("raises", [True, False], ids=["raises", "returns"])
def test_a_failed_startup_fails_every_request(
    event: dict[str, Any], text: str, mode: Any, raises: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """By an error with the message, which is logged once; the application is not called again."""

    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(event)
        if raises:
            raise ValueError("as frameworks do afterwards")

    lives = Lives(life)
    wsgi = AsgiToWsgi(lives, lifespan=mode)
    try:
        with pytest.raises(StartupFailed) as caught:
            call(wsgi)
        assert text in str(caught.value)
        assert isinstance(caught.value, RuntimeError)
        with pytest.raises(StartupFailed) as again:
            call(wsgi)
        assert str(again.value) == str(caught.value)
        with pytest.raises(StartupFailed):
            wsgi.start()
    finally:
        wsgi.close()
    assert lives.calls == ["lifespan"]
    assert [line.rstrip() for line in logged(caplog)] == [
        f"ERROR the start-up of the ASGI application {text}".rstrip()
    ]


@rule("LIFESPAN-06-eager")
def test_start_raises_where_the_startup_fails(_rule: None) -> None:
    """So that a server's hook ends the worker."""

    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(startup_failed(message="no database"))

    with pytest.raises(StartupFailed, match="no database"):
        with AsgiToWsgi(Lives(life)):
            raise AssertionError("the block was entered")


# Shutdown


@rule("LIFESPAN-07")
def test_the_shutdown_is_given_once_and_only_when_it_begins(_rule: None) -> None:
    """The application waits for it in the meantime."""
    events: list[Any] = []
    waiting = Gate("the second receive()")

    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(STARTED)
        task = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        waiting.open()
        events.append(await task)
        third = asyncio.ensure_future(receive())
        for _ in range(10):
            await asyncio.sleep(0)
        assert not third.done()
        third.cancel()
        await send(STOPPED)

    with AsgiToWsgi(Lives(life)) as wsgi:
        waiting.wait()
        call(wsgi)
        assert events == []
    assert events == [{"type": "lifespan.shutdown"}]


@rule("LIFESPAN-07-cancelled-receive")
def test_a_cancelled_receive_loses_no_shutdown(_rule: None) -> None:
    """The next one gets it."""
    events: list[Any] = []
    cancelled = Gate("the first receive()")

    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(STARTED)
        waits = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        waits.cancel()
        await asyncio.wait([waits])
        cancelled.open()
        events.append(await receive())
        await send(STOPPED)

    with AsgiToWsgi(Lives(life)):
        cancelled.wait()
    assert events == [{"type": "lifespan.shutdown"}]


@rule("LIFESPAN-08")
def test_the_shutdown_comes_after_requests_and_background_work(_rule: None) -> None:
    """All of them have ended by then."""
    order: list[str] = []
    waiting, may_go_on, closing = Gate("the request"), Gate(), Gate("the closing")

    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        await with_lifespan()(scope, receive, send)
        order.append("shutdown")

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            waiting.open()
            await may_go_on.passed()
        await says_hello(scope, receive, send)
        await may_go_on.passed()
        order.append(scope["path"])

    def close() -> Any:
        closing.open()
        return wsgi.close()

    wsgi = AsgiToWsgi(Lives(life, app))
    call(wsgi, PATH_INFO="/background")
    slow = on_thread(lambda: call(wsgi, PATH_INFO="/slow"))
    waiting.wait()
    closed = on_thread(close)
    closing.wait()
    may_go_on.open()
    assert slow.result().body == b"hello"
    assert closed.result() is True
    assert order[-1] == "shutdown"
    assert order.count("shutdown") == 1
    assert {"/slow", "/background"} <= set(order)


@rule("LIFESPAN-08-grace-over")
def test_the_shutdown_does_not_wait_for_ever_for_requests(_rule: None) -> None:
    """What is over its time is cancelled first."""
    order: list[str] = []
    waiting = Gate("the request")

    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        await with_lifespan()(scope, receive, send)
        order.append("shutdown")

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        waiting.open()
        try:
            await asyncio.Event().wait()
        finally:
            order.append("cancelled")

    wsgi = AsgiToWsgi(Lives(life, app), shutdown_timeout=0.01)
    outcome = on_thread(call, wsgi)
    waiting.wait()
    assert wsgi.close() is False
    with pytest.raises(RuntimeError, match="closed before the response was complete"):
        outcome.result()
    assert order == ["cancelled", "shutdown"]


@rule("LIFESPAN-08-open-iterable")
def test_the_shutdown_waits_for_a_response_that_is_still_sent(_rule: None) -> None:
    """Its chunks are taken before the application hears of the shutdown."""
    order: list[Any] = []
    closing = Gate("the closing")

    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        await with_lifespan()(scope, receive, send)
        order.append("shutdown")

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        for _ in range(64):
            await send(body(b"x" * 64 * 1024, more=True))
        await send(body())
        order.append("sent")

    def close() -> Any:
        closing.open()
        return wsgi.close()

    wsgi = AsgiToWsgi(Lives(life, app))
    with Request(wsgi) as request:
        request.begin()
        closed = on_thread(close)
        closing.wait()
        assert len(request.read_to_end().body) == 64 * 64 * 1024
    assert closed.result() is True
    assert order == ["sent", "shutdown"]


@pytest.mark.parametrize("life", UNSUPPORTED)
def test_nothing_is_sent_at_the_end_to_an_application_without_lifespan(life: Any) -> None:
    """Its call has ended long ago."""
    lives = Lives(life)
    with AsgiToWsgi(lives):
        pass
    assert lives.calls == ["lifespan"]


@rule("LIFESPAN-08-failed")
def test_no_shutdown_after_a_failed_startup(_rule: None) -> None:
    """An application that waits for it is cancelled."""
    how: list[str] = []

    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(startup_failed(message="no database"))
        try:
            await receive()
            how.append("shutdown")
        except asyncio.CancelledError:
            how.append("cancelled")
            raise

    wsgi = AsgiToWsgi(Lives(life))
    with pytest.raises(StartupFailed):
        wsgi.start()
    wsgi.close()
    assert how == ["cancelled"]


@rule("LIFESPAN-09")
def test_close_waits_for_the_answer(_rule: None) -> None:
    """And so does the loop."""
    stopping, may_stop = Gate("the shutdown"), Gate()

    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(STARTED)
        await receive()
        stopping.open()
        await may_stop.passed()
        await send(STOPPED)

    wsgi = AsgiToWsgi(Lives(life), loop_factory=asyncio.new_event_loop)
    wsgi.start()
    closed = on_thread(wsgi.close)
    stopping.wait()
    assert not closed.over
    may_stop.open()
    assert closed.result() is True


@rule("LIFESPAN-09-clean-up")
def test_what_the_application_does_after_its_answer_is_not_cut_short(_rule: None) -> None:
    """It has a moment to return."""
    ended: list[str] = []

    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(STARTED)
        await receive()
        await send(STOPPED)
        await asyncio.sleep(0)
        ended.append("returned")

    with AsgiToWsgi(Lives(life)):
        pass
    assert ended == ["returned"]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        pytest.param({"message": "lost a table"}, "has failed: lost a table", id="LIFESPAN-09-failed"),
        pytest.param({}, "has failed", id="LIFESPAN-09-failed-no-message"),
    ],
)
def test_a_failed_shutdown_is_logged(
    message: dict[str, str], text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """close() returns, and says that not all went well."""

    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(STARTED)
        await receive()
        await send({"type": "lifespan.shutdown.failed", **message})

    wsgi = AsgiToWsgi(Lives(life))
    wsgi.start()
    assert wsgi.close() is False
    (line,) = logged(caplog)
    assert line.startswith("ERROR the shutdown of the ASGI application")
    assert text in line


@rule("LIFESPAN-09-limit")
def test_close_does_not_wait_for_ever_for_the_answer(_rule: None, caplog: pytest.LogCaptureFixture) -> None:
    """The application is cancelled then."""
    how: list[str] = []

    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(STARTED)
        await receive()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            how.append("cancelled")
            raise

    wsgi = AsgiToWsgi(Lives(life), shutdown_timeout=0.01)
    wsgi.start()
    assert wsgi.close() is False
    assert how == ["cancelled"]
    (line,) = logged(caplog)
    assert "has not answered within 0.01 seconds" in line


@pytest.mark.parametrize(
    "how",
    [
        pytest.param("raise", id="LIFESPAN-10"),
        pytest.param("return", id="LIFESPAN-10-returns"),
        pytest.param("cancel", id="LIFESPAN-10-cancels"),
        pytest.param("exit", id="LIFESPAN-10-exits"),
    ],
)
def test_an_application_that_ends_in_its_shutdown_does_not_hang_it(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What it raised is logged."""

    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(STARTED)
        await receive()
        if how == "raise":
            raise ValueError("on purpose")
        if how == "cancel":
            raise asyncio.CancelledError
        if how == "exit":
            raise SystemExit("on purpose")

    wsgi = AsgiToWsgi(Lives(life), shutdown_timeout=None)
    wsgi.start()
    assert on_thread(wsgi.close).result() in (True, False)
    if how == "raise":
        (line,) = logged(caplog)
        assert "the ASGI application has failed in its lifespan" in line


@pytest.mark.parametrize(
    "how",
    [pytest.param("raise", id="LIFESPAN-10-early"), pytest.param("return", id="LIFESPAN-10-early-returns")],
)
def test_an_application_whose_lifespan_ends_early_is_served_on(how: str) -> None:
    """It was started up; there is nobody to tell of the shutdown."""

    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        scope["state"]["kept"] = 1
        await send(STARTED)
        if how == "raise":
            raise ValueError("on purpose")

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["state"] == {"kept": 1}
        await says_hello(scope, receive, send)

    wsgi = AsgiToWsgi(Lives(life, app), shutdown_timeout=None)
    for _ in range(2):
        assert call(wsgi).body == b"hello"
    on_thread(wsgi.close).result()


# State


@rule("LIFESPAN-11")
def test_each_request_has_a_shallow_copy_of_the_state(_rule: None) -> None:
    """Keys are its own, objects are everyone's."""
    pool: list[str] = []
    states: list[Any] = []

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        state = scope["state"]
        states.append(dict(state))
        state[scope["path"]] = "mine"
        state["replaced"] = "mine"
        del state["deleted"]
        state["pool"].append(scope["path"])
        await says_hello(scope, receive, send)

    lives = Lives(with_lifespan(pool=pool, replaced="startup's", deleted=1), app)
    with AsgiToWsgi(lives) as wsgi:
        call(wsgi, PATH_INFO="/a")
        call(wsgi, PATH_INFO="/b")
        assert lives.scope["state"] == {"pool": pool, "replaced": "startup's", "deleted": 1}
    assert [set(state) for state in states] == [{"pool", "replaced", "deleted"}] * 2
    assert all(state["pool"] is pool for state in states)
    assert {state["replaced"] for state in states} == {"startup's"}
    assert pool == ["/a", "/b"]


@rule("LIFESPAN-11-empty")
def test_an_empty_state_is_there(_rule: None) -> None:
    """The application takes part, and has put nothing in."""
    states: list[Any] = []

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        states.append(scope["state"])
        await says_hello(scope, receive, send)

    with AsgiToWsgi(Lives(with_lifespan(), app)) as wsgi:
        call(wsgi)
        call(wsgi)
    assert states == [{}, {}]
    assert states[0] is not states[1]


@rule("LIFESPAN-12")
def test_what_is_added_later_is_seen_by_later_requests(_rule: None) -> None:
    """Between the start and the answer, and after it."""
    seen: list[Any] = []

    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["before"] = 1
        await receive()
        await asyncio.sleep(0)
        scope["state"]["between"] = 2
        await send(STARTED)
        await receive()
        await send(STOPPED)

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(dict(scope["state"]))
        lives.scope["state"]["after"] = 3
        await says_hello(scope, receive, send)

    lives = Lives(life, app)
    with AsgiToWsgi(lives) as wsgi:
        call(wsgi)
        call(wsgi)
    assert seen == [{"before": 1, "between": 2}, {"before": 1, "between": 2, "after": 3}]


@rule("LIFESPAN-13")
def test_with_off_there_is_no_lifespan_and_no_state(_rule: None) -> None:
    """Requests only."""
    states: list[bool] = []

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        states.append("state" in scope)
        await says_hello(scope, receive, send)

    lives = Lives(with_lifespan(kept=1), app)
    with AsgiToWsgi(lives, lifespan="off") as wsgi:
        call(wsgi)
    assert lives.calls == ["http"]
    assert states == [False]


@rule("LIFESPAN-18")
def test_what_the_state_holds_is_not_looked_at(_rule: None) -> None:
    """Keys of any type, and values that allow nothing."""

    class Untouchable:
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(name)

        def __eq__(self, other: object) -> bool:
            raise AssertionError

        def __copy__(self) -> Any:
            raise AssertionError

        __hash__: Any = None

    kept = Untouchable()

    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        scope["state"][5] = scope["state"]["kept"] = kept
        await send(STARTED)
        await receive()
        assert list(scope["state"]) == [5, "kept"]
        await send(STOPPED)

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert list(scope["state"]) == [5, "kept"]
        assert scope["state"]["kept"] is kept
        await says_hello(scope, receive, send)

    wsgi = AsgiToWsgi(Lives(life, app))
    assert call(wsgi).body == b"hello"
    assert wsgi.close() is True


# Wrong messages


@pytest.mark.parametrize(
    ("events", "text"),
    [
        pytest.param(
            [{"type": "lifespan.nonsense"}], "has not answered lifespan.startup yet", id="LIFESPAN-14"
        ),
        pytest.param([{}], "the type None", id="LIFESPAN-14-no-type"),
        pytest.param([None], "send a dict", id="LIFESPAN-14-no-message"),
        pytest.param([start()], "'http.response.start' in its lifespan", id="LIFESPAN-14-http"),
        pytest.param([{"type": "lifespan.startup"}], "'lifespan.startup' in", id="LIFESPAN-14-event"),
        pytest.param([STOPPED], "'lifespan.shutdown.complete' in", id="LIFESPAN-14-shutdown-first"),
        pytest.param(
            [{"type": "lifespan.shutdown.failed"}],
            "'lifespan.shutdown.failed'",
            id="LIFESPAN-14-shutdown-failed",
        ),
        pytest.param([STARTED, STARTED], "no shutdown has begun", id="LIFESPAN-14-twice"),
        pytest.param([STARTED, startup_failed()], "no shutdown has begun", id="LIFESPAN-14-failed-later"),
        pytest.param([STARTED, STOPPED], "no shutdown has begun", id="LIFESPAN-14-shutdown-before"),
        pytest.param([startup_failed(), STARTED], "its start-up has failed", id="LIFESPAN-14-after-failure"),
        pytest.param(["shutdown", STARTED], "has not answered lifespan.shutdown", id="LIFESPAN-14-late"),
        pytest.param(["shutdown", STOPPED, STOPPED], "its shutdown is over", id="LIFESPAN-14-shutdown-twice"),
    ],
)
def test_a_wrong_message_raises_from_send(events: list[Any], text: str) -> None:
    """The error says which would be right; the application can go on."""
    errors: list[Exception] = []

    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        script = list(events)
        if script[0] == "shutdown":
            await send(STARTED)
            await receive()
            del script[0]
        for event in script[:-1]:
            await send(event)
        try:
            await send(script[-1])
        except Exception as error:
            errors.append(error)
            raise

    wsgi = AsgiToWsgi(Lives(life), startup_timeout=PATIENCE)
    try:
        wsgi.start()
    except StartupFailed:
        assert events[0]["type"] == "lifespan.startup.failed"
    finally:
        wsgi.close()
    assert len(errors) == 1
    assert text in str(errors[0])


@rule("LIFESPAN-14-goes-on")
def test_an_application_that_catches_the_error_is_started_up(_rule: None) -> None:
    """The wrong message counts for nothing."""

    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        with pytest.raises(ApplicationOrderError, match=r"or [.]failed once, and"):
            await send(STOPPED)
        await send(STARTED)
        with pytest.raises(ApplicationOrderError, match="no shutdown has begun"):
            await send(STARTED)
        await receive()
        await send(STOPPED)

    wsgi = AsgiToWsgi(Lives(life), lifespan="on")
    assert call(wsgi).body == b"hello"
    assert wsgi.close() is True


# Modes and limits


@pytest.mark.parametrize("mode", ["auto", "on"])
@rule("LIFESPAN-16")
def test_an_application_with_lifespan_is_served_in_both_modes(_rule: None, mode: Any) -> None:
    """Started up, and shut down."""
    lives = Lives(with_lifespan(kept=1))
    wsgi = AsgiToWsgi(lives, lifespan=mode)
    assert call(wsgi).body == b"hello"
    assert wsgi.close() is True
    assert lives.calls == ["lifespan", "http"]


@pytest.mark.parametrize("mode", ["auto", "on"])
@rule("LIFESPAN-17")
def test_a_startup_that_takes_too_long_has_failed(
    _rule: None, mode: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The application is cancelled, and not served."""
    cancelled = Gate("the cancellation")

    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.open()

    wsgi = AsgiToWsgi(Lives(life), lifespan=mode, startup_timeout=0.01)
    try:
        for _ in range(2):
            with pytest.raises(StartupFailed, match=r"has not answered within 0\.01 seconds"):
                call(wsgi)
        cancelled.wait()
    finally:
        wsgi.close()
    assert len(logged(caplog)) == 1


@rule("LIFESPAN-17-late")
def test_an_answer_after_the_time_limit_comes_too_late(_rule: None) -> None:
    """The application is told so, if it still sends one."""
    errors: list[Any] = []
    told = Gate("the application")

    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            try:
                await send(STARTED)
            except ApplicationOrderError as error:
                errors.append(error)
            told.open()

    wsgi = AsgiToWsgi(Lives(life), startup_timeout=0.01)
    try:
        with pytest.raises(StartupFailed):
            wsgi.start()
        told.wait()
        with pytest.raises(StartupFailed):
            call(wsgi)
    finally:
        wsgi.close()
    assert "its start-up has failed" in str(errors[0])


@rule("LIFESPAN-17-none")
def test_there_need_be_no_limits(_rule: None) -> None:
    """None is as long as it takes."""
    wsgi = AsgiToWsgi(Lives(with_lifespan()), startup_timeout=None, shutdown_timeout=None)
    assert call(wsgi).body == b"hello"
    assert wsgi.close() is True
