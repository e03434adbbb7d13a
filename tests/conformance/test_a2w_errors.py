"""A2W-ERR: an ASGI application that fails, and whom its errors reach.

Each row bears the id of its rule.
"""

import asyncio
import gc
import logging
import traceback
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from asgiadapt import ApplicationError, ApplicationOrderError, ClientDisconnected
from tests.asgi_apps import (
    Receive,
    Scope,
    Send,
    answers,
    body,
    for_http,
    raises,
    returns_nothing,
    says_hello,
    sends,
    start,
)
from tests.conformance.rules import rule
from tests.gates import Gate
from tests.validated import AsgiToWsgi
from tests.wsgi_fakes import Request, call, environ_for


class Failure(Exception):
    """Raised by applications."""


class BadFailure(BaseException):
    """No `Exception`."""


def names_in(error: BaseException) -> list[str]:
    """The functions that the traceback of *error* shows."""
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


def logged(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[logging.LogRecord]:
    """What was logged on the project's logger, from *level* on."""
    return [record for record in caplog.records if record.name == "asgiadapt" and record.levelno >= level]


@pytest.fixture
def no_collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What dies does so by its last reference; and nothing is kept because it was logged."""
    monkeypatch.setattr(logging.getLogger("asgiadapt"), "disabled", True)
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def all_logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The log with what is told quietly, too."""
    caplog.set_level(logging.INFO, "asgiadapt")
    return caplog


# Before the commit


@pytest.mark.parametrize(
    "original",
    [
        pytest.param(Failure("on purpose"), id="A2W-ERR-01"),
        pytest.param(OSError("on purpose"), id="A2W-ERR-01-OSError"),
        pytest.param(TimeoutError("on purpose"), id="A2W-ERR-01-TimeoutError"),
        pytest.param(BadFailure("on purpose"), id="A2W-ERR-01-BaseException"),
        pytest.param(ExceptionGroup("on purpose", [Failure()]), id="A2W-ERR-01-group"),
        pytest.param(GeneratorExit("on purpose"), id="A2W-ERR-01-GeneratorExit"),
        pytest.param(StopAsyncIteration("on purpose"), id="A2W-ERR-11-StopAsyncIteration"),
        pytest.param(KeyboardInterrupt("on purpose"), id="A2W-ERR-10-KeyboardInterrupt"),
        pytest.param(SystemExit("on purpose"), id="A2W-ERR-10-SystemExit"),
    ],
)
@pytest.mark.parametrize(
    "before",
    [
        pytest.param([], id="at once"),
        pytest.param([start()], id="after start"),
    ],
)
def test_an_error_before_the_first_body_event_leaves_the_call(
    original: BaseException, before: list[Any]
) -> None:
    """The same object with its traceback; start_response was not called, and the adapter still works."""
    failing = True

    async def fails() -> None:
        raise original

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if failing:
            for event in before:
                await send(event)
            await fails()
        await says_hello(scope, receive, send)

    with AsgiToWsgi(app) as wsgi:
        with Request(wsgi) as request:
            with pytest.raises(type(original), match="on purpose") as caught:
                request.begin()
            assert not request.answer.started
        assert caught.value is original
        assert names_in(original)[-2:] == ["app", "fails"]
        failing = False
        assert call(wsgi).body == b"hello"


@rule("A2W-ERR-01-after-receive")
def test_an_error_after_the_body_was_read_leaves_the_call(_rule: None) -> None:
    """The place in the application makes no difference."""

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        event = await receive()
        assert event["body"] == b"data"
        await asyncio.sleep(0)
        raise Failure("on purpose")

    with AsgiToWsgi(app) as wsgi:
        with pytest.raises(Failure, match="on purpose"):
            call(wsgi, b"data")


@rule("A2W-ERR-01-cause")
def test_an_error_keeps_its_cause_and_its_context(_rule: None) -> None:
    """The adapter adds none of its own."""
    cause, context = ValueError("cause"), KeyError("context")

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            raise context
        except KeyError:
            raise Failure("on purpose") from cause

    with AsgiToWsgi(app) as wsgi:
        with pytest.raises(Failure, match="on purpose") as caught:
            call(wsgi)
    assert caught.value.__cause__ is cause
    assert caught.value.__context__ is context


@rule("A2W-ERR-01-no-context")
def test_an_error_without_context_gets_none(_rule: None) -> None:
    """Whatever the adapter was doing."""
    with AsgiToWsgi(raises(Failure("on purpose"))) as wsgi:
        with pytest.raises(Failure, match="on purpose") as caught:
            call(wsgi)
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


@rule("A2W-ERR-01-log")
def test_an_error_that_the_server_gets_is_not_logged_too(
    _rule: None, caplog: pytest.LogCaptureFixture
) -> None:
    """The server logs it; once is enough."""
    with AsgiToWsgi(raises(Failure("on purpose"))) as wsgi:
        with pytest.raises(Failure, match="on purpose"):
            call(wsgi)
    assert logged(caplog) == []


# After the commit


@pytest.mark.parametrize(
    "original",
    [
        pytest.param(Failure("on purpose"), id="A2W-ERR-03"),
        pytest.param(OSError("on purpose"), id="A2W-ERR-03-OSError"),
        pytest.param(BadFailure("on purpose"), id="A2W-ERR-03-BaseException"),
        pytest.param(StopAsyncIteration("on purpose"), id="A2W-ERR-11-StopAsyncIteration"),
        pytest.param(KeyboardInterrupt("on purpose"), id="A2W-ERR-10-KeyboardInterrupt"),
        pytest.param(SystemExit("on purpose"), id="A2W-ERR-10-SystemExit"),
    ],
)
@pytest.mark.parametrize("chunks", [1, 3])
def test_an_error_after_the_first_body_event_leaves_next(original: BaseException, chunks: int) -> None:
    """After all chunks that came before it; then the iterable is over, and the adapter still works."""
    app = sends(start(), *[body(b"%d" % number, more=True) for number in range(chunks)], original)
    hello = True

    @for_http
    async def both(scope: Scope, receive: Receive, send: Send) -> None:
        await (says_hello if hello else app)(scope, receive, send)

    with AsgiToWsgi(both) as wsgi:
        hello = False
        with Request(wsgi) as request:
            assert request.begin().status == 200
            for number in range(chunks):
                assert request.next() == b"%d" % number
            with pytest.raises(type(original), match="on purpose") as caught:
                request.next()
        assert caught.value is original
        assert "app" in names_in(original)
        hello = True
        assert call(wsgi).body == b"hello"


@rule("A2W-ERR-03-over")
def test_after_its_error_the_iterable_is_over(_rule: None) -> None:
    """A server that asks again does not wait for ever."""
    with AsgiToWsgi(sends(start(), body(b"x", more=True), Failure("on purpose"))) as wsgi:
        result = wsgi(environ_for(), lambda *args: None)
        assert next(result) == b"x"
        with pytest.raises(Failure, match="on purpose"):
            next(result)
        assert list(result) == []
        result.close()
        result.close()


@rule("A2W-ERR-03-closed-first")
def test_an_error_that_nobody_took_does_not_leave_close(_rule: None) -> None:
    """The server has decided to end the response already."""
    ended = Gate("the application")

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"x", more=True))
        ended.open()
        raise Failure("on purpose")

    with AsgiToWsgi(app) as wsgi, Request(wsgi) as request:
        request.begin()
        ended.wait()
        request.close()


# After the last event


@pytest.mark.parametrize(
    "original",
    [
        pytest.param(Failure("on purpose"), id="A2W-ERR-04"),
        pytest.param(OSError("on purpose"), id="A2W-ERR-04-OSError"),
        pytest.param(SystemExit("on purpose"), id="A2W-ERR-10-SystemExit"),
        pytest.param(KeyboardInterrupt("on purpose"), id="A2W-ERR-10-KeyboardInterrupt"),
    ],
)
@pytest.mark.parametrize(
    "events",
    [
        pytest.param([body(b"x")], id="one event"),
        pytest.param([body(b"x", more=True), body()], id="streamed"),
    ],
)
def test_an_error_after_the_response_is_logged(
    original: BaseException, events: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    """The client gets its response whole; the log has the traceback, and the adapter still works."""
    with AsgiToWsgi(sends(start(), *events, original)) as wsgi:
        for _ in range(2):
            answer = call(wsgi)
            assert (answer.status, answer.body) == (200, b"x")
    records = logged(caplog)
    assert [record.levelname for record in records] == ["ERROR"] * 2
    assert "has failed after its response was complete" in records[0].getMessage()
    exc_info = records[0].exc_info
    assert isinstance(exc_info, tuple)
    assert exc_info[1] is original


# Applications that end too early


@rule("A2W-ERR-05")
def test_an_application_that_sends_nothing_raises_from_the_call(_rule: None) -> None:
    """The error says what it should have sent."""
    with AsgiToWsgi(returns_nothing) as wsgi, Request(wsgi) as request:
        with pytest.raises(RuntimeError, match="has returned although no http") as caught:
            request.begin()
        assert not request.answer.started
    assert isinstance(caught.value, ApplicationOrderError)
    assert "has returned although" in str(caught.value)


@rule("A2W-ERR-06-start")
def test_an_application_that_only_starts_raises_from_the_call(_rule: None) -> None:
    """Nothing was committed, so the server answers 500."""
    with AsgiToWsgi(sends(start())) as wsgi, Request(wsgi) as request:
        with pytest.raises(RuntimeError, match="was sent, and no part of the body") as caught:
            request.begin()
        assert not request.answer.started
    assert isinstance(caught.value, ApplicationOrderError)


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([b"x"], id="A2W-ERR-06-body"),
        pytest.param([b""], id="A2W-ERR-06-empty-body"),
        pytest.param([b"x"] * 100, id="A2W-ERR-06-long-body"),
    ],
)
def test_an_application_without_a_last_event_raises_from_next(chunks: list[bytes]) -> None:
    """After all that it has sent, so that the response is not taken for a whole one."""
    app = sends(start(), *[body(chunk, more=True) for chunk in chunks])
    with AsgiToWsgi(app) as wsgi, Request(wsgi) as request:
        request.begin()
        with pytest.raises(RuntimeError, match="a part of the body was sent") as caught:
            request.read_to_end()
        assert request.answer.chunks == chunks
        assert not request.ended
    assert isinstance(caught.value, ApplicationOrderError)


# After the client has gone


def give_up(app: Any) -> None:
    """Serve one request by *app*; the server closes it after the first chunk."""
    with AsgiToWsgi(app, disconnect_grace=20) as wsgi, Request(wsgi) as request:
        request.begin()
        assert request.next() == b"x"


async def until_left(receive: Receive, send: Send) -> None:
    """Send the first chunk, and wait until the server has closed the response."""
    await send(start())
    await send(body(b"x", more=True))
    while (await receive())["type"] != "http.disconnect":
        pass


@rule("A2W-ERR-07")
def test_the_adapters_own_disconnect_error_is_swallowed(
    _rule: None, all_logged: pytest.LogCaptureFixture
) -> None:
    """It has come back to where it came from."""
    seen: list[BaseException] = []

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await until_left(receive, send)
        try:
            await send(body(b"y", more=True))
        except OSError as error:
            seen.append(error)
            raise

    give_up(app)
    assert isinstance(seen[0], ClientDisconnected)
    assert [record for record in logged(all_logged, logging.INFO) if "lifespan" not in record.msg] == []


@pytest.mark.parametrize(
    ("how", "level"),
    [
        pytest.param("from", "INFO", id="A2W-ERR-07-cause"),
        pytest.param("while", "INFO", id="A2W-ERR-07-context"),
        pytest.param("group", "INFO", id="A2W-ERR-07-group"),
        pytest.param("unrelated", "ERROR", id="A2W-ERR-07-unrelated"),
    ],
)
def test_an_error_after_the_disconnect_is_logged(
    how: str, level: str, all_logged: pytest.LogCaptureFixture
) -> None:
    """Quietly if it came of the disconnect."""

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await until_left(receive, send)
        if how == "unrelated":
            raise Failure("on purpose")
        if how == "group":
            async with asyncio.TaskGroup() as group:
                group.create_task(send(body(b"y", more=True)))
        try:
            await send(body(b"y", more=True))
        except OSError as error:
            if how == "from":
                raise Failure("on purpose") from error
            raise Failure("on purpose")  # noqa: B904 - the point of the row

    give_up(app)
    (record,) = [record for record in logged(all_logged, logging.INFO) if "lifespan" not in record.msg]
    assert record.levelname == level
    assert "has failed after the client was gone" in record.getMessage()


@rule("A2W-ERR-07-untold")
def test_an_error_that_the_server_does_not_come_to_is_logged(
    _rule: None, caplog: pytest.LogCaptureFixture
) -> None:
    """It waits behind the chunks of a response that is given up."""
    app = sends(start(), body(b"x", more=True), body(b"y", more=True), Failure("on purpose"))
    with AsgiToWsgi(app) as wsgi, Request(wsgi) as request:
        request.begin()
        assert request.next() == b"x"
        wsgi.close()  # waits until the application has ended
    (record,) = logged(caplog)
    assert "has failed after the client was gone" in record.getMessage()
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "on purpose"


@rule("A2W-ERR-07-returns")
def test_an_application_that_returns_after_the_disconnect_is_right(
    _rule: None, all_logged: pytest.LogCaptureFixture
) -> None:
    """Its response is not complete, and it cannot be."""

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await until_left(receive, send)

    give_up(app)
    assert [record for record in logged(all_logged, logging.INFO) if "lifespan" not in record.msg] == []


@rule("A2W-ERR-08")
def test_a_result_is_warned_of_and_ignored(_rule: None, caplog: pytest.LogCaptureFixture) -> None:
    """The response stands."""

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await says_hello(scope, receive, send)

    async def returns(scope: Scope, receive: Receive, send: Send) -> Any:
        await app(scope, receive, send)
        return ["a result"]

    with AsgiToWsgi(returns, validated=False) as wsgi:
        assert call(wsgi).body == b"hello"
    warning = logged(caplog)[0]
    assert warning.levelname == "WARNING"
    assert "has returned a list; it should return None" in warning.getMessage()


# Errors that mean something else to Python


@pytest.mark.parametrize(
    "committed", [pytest.param(False, id="A2W-ERR-09"), pytest.param(True, id="A2W-ERR-09-in-body")]
)
@pytest.mark.parametrize("how", ["raises", "cancels itself", "awaits a cancelled task"])
def test_a_cancellation_by_the_application_itself_is_an_error(committed: bool, how: str) -> None:
    """It comes to the thread of the request as an Exception, and names the cause."""

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if committed:
            await send(start())
            await send(body(b"x", more=True))
        if how == "raises":
            raise asyncio.CancelledError
        if how == "cancels itself":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)
        other = asyncio.ensure_future(asyncio.sleep(20))
        other.cancel()
        await other

    with AsgiToWsgi(app) as wsgi, Request(wsgi) as request:
        with pytest.raises(ApplicationError, match="raised CancelledError") as caught:
            request.begin()
            request.read_to_end()
        assert request.answer.started is committed
        assert isinstance(caught.value, RuntimeError)
        assert isinstance(caught.value.__cause__, asyncio.CancelledError)


@pytest.mark.parametrize(
    "before",
    [
        pytest.param([], id="A2W-ERR-11"),
        pytest.param([start()], id="A2W-ERR-11-after-start"),
        pytest.param([start(), body(b"x", more=True)], id="A2W-ERR-11-in-body"),
    ],
)
def test_stop_iteration_is_no_end(before: list[dict[str, Any]]) -> None:
    """Python makes a RuntimeError of it, and the server gets that."""
    with AsgiToWsgi(sends(*before, StopIteration("on purpose"))) as wsgi, Request(wsgi) as request:
        with pytest.raises(RuntimeError, match="StopIteration") as caught:
            request.begin()
            request.read_to_end()
        assert isinstance(caught.value.__cause__, StopIteration)
        assert not request.ended


@pytest.mark.parametrize(
    "before",
    [
        pytest.param([start()], id="A2W-ERR-11-plain-function"),
        pytest.param([start(), body(b"x", more=True)], id="A2W-ERR-11-plain-function-in-body"),
    ],
)
def test_stop_iteration_of_something_awaited_by_hand_is_no_end(before: list[dict[str, Any]]) -> None:
    """An awaitable of one's own has no coroutine around it that would change the error."""

    class Awaitable:
        def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
            self.send = send

        def __await__(self) -> Any:
            return self

        def __iter__(self) -> Any:
            return self

        def __next__(self) -> Any:
            raise StopIteration("a result")  # which is how an awaitable ends

    with AsgiToWsgi(Awaitable, lifespan="off") as wsgi, Request(wsgi) as request:
        with pytest.raises(ApplicationOrderError, match="has returned although"):
            request.begin()
        assert not request.answer.started


# A strict server


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([body(b"x")], id="A2W-ERR-12"),
        pytest.param([body(b"x", more=True), body(b"y")], id="A2W-ERR-12-streamed"),
    ],
)
@pytest.mark.parametrize(
    "original",
    [
        pytest.param(AssertionError("too strict"), id="AssertionError"),
        pytest.param(OSError("too strict"), id="OSError"),
        pytest.param(BadFailure("too strict"), id="BaseException"),
        pytest.param(KeyboardInterrupt("too strict"), id="KeyboardInterrupt"),
    ],
)
def test_an_error_of_start_response_ends_the_request(
    events: list[dict[str, Any]], original: BaseException
) -> None:
    """It leaves the call as it was raised."""

    def start_response(*args: Any) -> None:
        raise original

    with AsgiToWsgi(sends(start(), *events), disconnect_grace=20) as wsgi:
        with pytest.raises(type(original), match="too strict") as caught:
            wsgi(environ_for(), start_response)
    assert caught.value is original


@rule("A2W-ERR-12-send")
def test_an_error_of_start_response_is_raised_in_send(_rule: None, caplog: pytest.LogCaptureFixture) -> None:
    """In the first that waits or comes later; when it leaves the application it is not reported again."""
    raised: list[BaseException] = []
    original = AssertionError("too strict")
    ended = Gate("the application")

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        try:
            while True:
                await send(body(b"x" * 64 * 1024, more=True))
        except Exception as error:
            raised.append(error)
            raise
        finally:
            ended.open()

    def start_response(*args: Any) -> None:
        raise original

    with AsgiToWsgi(app, disconnect_grace=20) as wsgi:
        with pytest.raises(AssertionError, match="too strict"):
            wsgi(environ_for(), start_response)
        ended.wait()
    assert raised == [original]
    assert logged(caplog) == []


@rule("A2W-ERR-12-receive")
def test_an_application_that_waits_learns_of_a_start_response_that_failed(_rule: None) -> None:
    """Nobody takes its response any more: that is a disconnect."""
    events: list[Any] = []
    ended = Gate("the application")

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(start())
        await send(body(b"x", more=True))
        events.append(await receive())
        ended.open()

    def start_response(*args: Any) -> None:
        raise AssertionError("too strict")

    with AsgiToWsgi(app, disconnect_grace=20) as wsgi:
        with pytest.raises(AssertionError, match="too strict"):
            wsgi(environ_for(), start_response)
        ended.wait()
    assert events == [{"type": "http.disconnect"}]


# References


class Marker:
    """Something that a weak reference can point to."""


FAILING = {
    "at once": [Failure],
    "after start": [start(), Failure],
    "in the body": [start(), body(b"x", more=True), Failure],
    "BaseException": [start(), BadFailure],
    "cancelled": [start(), asyncio.CancelledError],
    "returns": [start(), body(b"x", more=True)],
    "breaks a rule": [start(), start()],
    "breaks a rule in the body": [start(), body(b"x", more=True), body("x")],
    "too short": [start(headers=[(b"content-length", b"5")]), body(b"x")],
    "after the end": [start(), body(b"x"), Failure],
    "not at all": [start(), body(b"x", more=True), body(b"x")],
}


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("events", FAILING.values(), ids=[f"A2W-ERR-13-{name}" for name in FAILING])
def test_nothing_of_a_failed_request_outlives_it(events: list[Any]) -> None:
    """With the collector off, the scope, the error and what its frames held are gone once it was handled."""
    kept: list[weakref.ref[Any]] = []

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        marker = scope["marker"] = Marker()
        kept.append(weakref.ref(marker))
        for event in events:
            if isinstance(event, type):
                raise event("on purpose")
            await send(event)

    with AsgiToWsgi(app) as wsgi:
        try:
            result = wsgi(environ_for(), lambda *args: None)
            try:
                list(result)
            finally:
                result.close()
                del result
        except BaseException as error:
            kept.append(weakref.ref(error))
    assert kept
    assert [reference() for reference in kept] == [None] * len(kept)


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    "fails",
    [pytest.param(False, id="A2W-ERR-13-given-up"), pytest.param(True, id="A2W-ERR-13-given-up-fails")],
)
def test_nothing_of_a_request_that_was_given_up_outlives_it(fails: bool) -> None:
    """Whether the application returns then, or fails with what send() raised."""
    kept: list[weakref.ref[Any]] = []

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        marker = scope["marker"] = Marker()
        kept.append(weakref.ref(marker))
        await until_left(receive, send)
        if fails:
            await send(body(b"y", more=True))

    with AsgiToWsgi(app, disconnect_grace=20) as wsgi:
        result = wsgi(environ_for(), lambda *args: None)
        assert next(result) == b"x"
        result.close()
        del result
    assert [reference() for reference in kept] == [None]


@pytest.mark.usefixtures("no_collector")
@rule("A2W-ERR-13-start_response")
def test_nothing_of_a_request_outlives_an_error_of_start_response(_rule: None) -> None:
    """Neither the error nor the scope."""
    kept: list[weakref.ref[Any]] = []

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        marker = scope["marker"] = Marker()
        kept.append(weakref.ref(marker))
        await send(start())
        while True:
            await send(body(b"x" * 1024 * 1024, more=True))

    def start_response(*args: Any) -> None:
        raise Failure("on purpose")

    with AsgiToWsgi(app, disconnect_grace=20) as wsgi:
        try:
            wsgi(environ_for(), start_response)
        except Failure as error:
            kept.append(weakref.ref(error))
    assert [reference() for reference in kept] == [None, None]


# Other requests


@rule("A2W-ERR-14")
@pytest.mark.parametrize(
    "original",
    [
        pytest.param(Failure("on purpose"), id="Exception"),
        pytest.param(BadFailure("on purpose"), id="BaseException"),
        pytest.param(SystemExit("on purpose"), id="SystemExit"),
        pytest.param(KeyboardInterrupt("on purpose"), id="KeyboardInterrupt"),
        pytest.param(asyncio.CancelledError("on purpose"), id="CancelledError"),
    ],
)
@pytest.mark.parametrize("before", [[], [start(), body(b"x", more=True)]], ids=["before", "after"])
def test_a_failure_leaves_the_other_requests_alone(
    _rule: None, original: BaseException, before: list[dict[str, Any]]
) -> None:
    """One that was open at the same time, on the same loop, goes on."""
    may_go_on = Gate()
    fails = sends(*before, original)

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/fails":
            await fails(scope, receive, send)
        await send(start())
        await send(body(b"a", more=True))
        await may_go_on.passed()
        await send(body(b"b"))

    with AsgiToWsgi(app) as wsgi, Request(wsgi) as request:
        request.begin()
        assert request.next() == b"a"
        with pytest.raises(BaseException, match=r"on purpose|CancelledError"):
            call(wsgi, PATH_INFO="/fails")
        may_go_on.open()
        assert request.read_to_end().body == b"ab"
        assert call(wsgi).body == b"ab"


@rule("A2W-ERR-14-task")
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_a_task_of_the_application_that_exits_leaves_the_loop_alone(
    _rule: None, kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody awaits it; the loop that all requests share goes on."""

    async def exits() -> None:
        raise kind("on purpose")

    tasks: set[Any] = set()

    @for_http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.create_task(exits())
        tasks.add(task)
        await asyncio.wait([task])
        assert isinstance(task.exception(), kind)
        await says_hello(scope, receive, send)

    with AsgiToWsgi(app) as wsgi:
        assert call(wsgi).body == b"hello"
        assert call(wsgi).body == b"hello"


@rule("A2W-ERR-01-bad-request")
def test_a_request_that_cannot_be_mapped_does_not_reach_the_application(_rule: None) -> None:
    """It gets an answer in plain text."""
    with AsgiToWsgi(answers(content=b"reached")) as wsgi:
        answer = call(wsgi, validated=False, REQUEST_METHOD="POST", CONTENT_LENGTH="abc")
    assert answer.status == 400
    assert answer.header("content-type") == "text/plain; charset=utf-8"
    assert b"reached" not in answer.body
