"""What the validator does with what it finds, and what it leaves alone."""

import asyncio
import pickle
import re
from typing import Any

import pytest

from asgiadapt._sansio.validation import RULES
from asgiadapt.validate import ApplicationViolation, AsgiViolation, ServerViolation, validator
from tests.processes import ROOT
from tests.validate.cases import (
    GONE,
    LEFT,
    RECEIVE,
    REQUEST,
    SHUTDOWN,
    STARTUP,
    Case,
    Lives,
    body,
    does,
    gives,
    http,
    ignores,
    lifespan,
    lives,
    responds,
    responds_alone,
    start,
    websocket,
)


def run(case: Case, **options: Any) -> list[dict[str, Any]]:
    return asyncio.run(case.run(validator, **options))


def test_violations_are_assertion_errors() -> None:
    """A test framework shows them as what they are; each side has its class."""
    assert issubclass(AsgiViolation, AssertionError)
    assert ServerViolation.__bases__ == ApplicationViolation.__bases__ == (AsgiViolation,)
    assert {kind.__module__ for kind in (AsgiViolation, ServerViolation)} == {"asgiadapt.validate"}


def test_a_violation_can_be_pickled() -> None:
    """As test runners with several processes do."""
    with pytest.raises(AsgiViolation) as caught:
        run(Case(does()))
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again)) == (ApplicationViolation, str(caught.value))
    assert (again.rule, again.side) == ("response-complete", "application")


def test_the_violation_of_a_server_says_how_to_let_it_pass() -> None:
    """The application can do nothing about it."""
    with pytest.raises(ServerViolation, match=re.escape("let it pass with ignore={'scope-path'}")):
        run(Case(responds, http(path=b"/")))


def test_an_application_is_not_called_with_a_scope_that_is_wrong() -> None:
    """It could do nothing about it."""
    called = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        called.append(scope)

    with pytest.raises(ServerViolation, match="scope-method"):
        run(Case(app, http(method="get")))
    assert called == []


def test_a_message_that_is_wrong_does_not_reach_the_server() -> None:
    """It gets what was right before."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    with pytest.raises(ApplicationViolation, match="response-length"):
        run(Case(does(start(headers=[(b"content-length", b"1")]), body(b"ab")), send=send))
    assert [message["type"] for message in sent] == ["http.response.start"]


def test_after_a_wrong_message_the_right_one_can_be_sent() -> None:
    """An application may answer its own error."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await send(start(99))
        except ApplicationViolation:
            await send(start(500))
            await send(body())
            raise

    case = Case(app)
    with pytest.raises(ApplicationViolation, match="the status 99"):
        run(case)


class Swallows:
    """Sends what is wrong, and goes on as if nothing was."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.swallowed: list[AsgiViolation] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        for message in [body(), start(99)]:
            try:
                await send(message)
            except AsgiViolation as violation:
                self.swallowed.append(violation)
        await responds_alone(scope, receive, send)
        if self.error is not None:
            raise self.error


def test_a_violation_that_is_swallowed_is_raised_at_the_end() -> None:
    """The first of them."""
    app = Swallows()
    with pytest.raises(ApplicationViolation, match="message-order") as caught:
        run(Case(app))
    assert caught.value is app.swallowed[0]
    assert [violation.rule for violation in app.swallowed] == ["message-order", "response-status"]


def test_an_error_of_the_application_passes_unchanged() -> None:
    """Also where a violation was swallowed before; that was logged."""
    app = Swallows(LookupError("its own"))
    with pytest.raises(LookupError) as caught:
        run(Case(app))
    assert caught.value is app.error


def test_an_application_that_raises_need_not_have_answered() -> None:
    """The server answers for it."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError("its own")

    for case in [Case(app), Case(app, websocket()), Case(app, lifespan())]:
        with pytest.raises(LookupError, match="its own"):
            run(case)


def test_an_error_of_the_server_passes_unchanged() -> None:
    """Out of receive() and out of send()."""
    error = LookupError("the server's own")

    async def fails(*args: Any) -> Any:
        raise error

    for case in [Case(does(start()), send=fails), Case(responds, receive=fails)]:
        with pytest.raises(LookupError) as caught:
            run(case)
        assert caught.value is error


def test_who_learns_from_send_that_the_client_has_gone_may_return() -> None:
    """Since ASGI HTTP 2.4 a server may raise an OSError there."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with pytest.raises(BrokenPipeError):
            await send(start())

    async def send(message: Any) -> None:
        raise BrokenPipeError

    run(Case(app, send=send))


def test_receiving_after_the_disconnect_is_fine() -> None:
    """And so is sending."""
    steps = does(*[start(), body()])
    run(Case(steps, events=(GONE,)))
    run(gives(REQUEST, GONE, GONE))


def test_events_and_messages_pass_as_they_are() -> None:
    """Unknown entries among them."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(await receive())
        await send({**start(), "extra": 1})
        await send({"type": "http.response.body"})

    sent = run(Case(app, http(extra=2), ({**REQUEST, "extra": 3},)))
    assert seen == [{"type": "http.request", "extra": 3}]
    assert sent == [{**start(), "extra": 1}, {"type": "http.response.body"}]


def test_the_application_gets_the_scope_itself() -> None:
    """Servers and middleware look there for what it leaves."""
    scope = http()
    seen = []

    async def app(given: Any, receive: Any, send: Any) -> None:
        seen.append(given)
        await responds_alone(given, receive, send)

    run(Case(app, scope))
    assert seen[0] is scope


def test_iterables_that_can_be_read_once_are_not_used_up() -> None:
    """The application gets the headers of the scope, and the server those of the response."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend(scope["headers"])
        await send(start(headers=iter([iter([b"c", b"d"])])))
        await send(body())

    sent = run(Case(app, http(headers=iter([iter([b"a", b"b"])]))))
    assert seen == [[b"a", b"b"]]
    assert sent[0]["headers"] == [[b"c", b"d"]]


@pytest.mark.parametrize(
    "scope",
    [{"type": "mqtt"}, {"type": "mqtt", "headers": 5, "state": None}],
)
def test_another_protocol_is_left_alone(scope: Any) -> None:
    """What all protocols have in common is checked."""
    steps = does({"type": "mqtt.pub"}, {"type": "http.response.body"})
    assert len(run(Case(steps, scope))) == 2
    with pytest.raises(ApplicationViolation, match="message-dict"):
        run(Case(does("text"), scope))
    with pytest.raises(ServerViolation, match="event-dict"):
        run(Case(does_receive, scope, ["text"]))


async def does_receive(scope: Any, receive: Any, send: Any) -> None:
    await receive()


def test_a_request_may_come_where_the_lifespan_was_not_answered() -> None:
    """By an application that takes no part in it and has raised."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise LookupError("takes no part")
        await responds_alone(scope, receive, send)

    async def server() -> None:
        validated = validator(app)
        with pytest.raises(LookupError):
            await validated(lifespan(), ignores, ignores)
        await validated(http(), ignores, ignores)

    asyncio.run(server())


def test_requests_of_one_loop_do_not_wait_for_the_lifespan_of_another() -> None:
    """A server may have one for each of its loops."""

    async def server() -> None:
        release = asyncio.Event()

        async def receive() -> Any:
            await release.wait()
            return dict(STARTUP)

        validated = validator(Lives())
        await Case(Lives(), lifespan(), (STARTUP, SHUTDOWN)).run(lambda app: validated)
        other = asyncio.create_task(validated(lifespan(), receive, ignores))
        await asyncio.sleep(0)
        await validated(http(), ignores, ignores)
        other.cancel()
        await asyncio.wait([other])

    asyncio.run(server())


async def test_tasks_may_await_for_the_application() -> None:
    """What receive() and send() give are coroutines, for tasks too."""
    sent = []

    async def receive() -> Any:
        return dict(REQUEST)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        event = await asyncio.create_task(receive())
        assert event == REQUEST
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(send(start()))
        await asyncio.wait_for(send(body()), 20)

    await validator(app)(http(), receive, send)
    assert sent == ["http.response.start", "http.response.body"]


async def test_a_task_that_outlives_the_call_gets_the_violation() -> None:
    """It is logged, so that it is not lost there."""
    tasks: list[asyncio.Task[Any]] = []
    ended = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def later() -> None:
            await ended.wait()
            await send(body(b"late"))

        tasks.append(asyncio.create_task(later()))
        await responds_alone(scope, receive, send)

    await validator(app)(http(), ignores, ignores)
    ended.set()
    with pytest.raises(ApplicationViolation, match="call-ended"):
        await tasks[0]


def test_a_cancelled_receive_leaves_the_next_one_alone() -> None:
    """It waits no longer."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await receive()
        await responds_alone(scope, receive, send)

    async def receive() -> Any:
        await asyncio.Event().wait()

    run(Case(app, receive=receive))


@pytest.mark.parametrize("ignore", ["scope-path", {"scope-path"}, ["scope-path"], ("scope-path",)])
def test_rules_to_ignore_are_given_by_their_ids(ignore: Any) -> None:
    """One, or several."""
    run(Case(responds, http(path=None)), ignore=ignore)


def test_a_client_has_gone_also_where_it_was_not_due() -> None:
    """The order being ignored, an application that answers nothing to it does right."""
    case = Case(does(RECEIVE), websocket(), (LEFT,))
    with pytest.raises(ServerViolation, match="event-order"):
        run(case)
    assert run(case, ignore="event-order") == []


def test_wrong_arguments_are_refused() -> None:
    """Where the validator is made, and not with the first request."""
    with pytest.raises(TypeError, match="which cannot be called"):
        validator("module:app")  # as a server would take it
    with pytest.raises(ValueError, match=re.escape("ignore has ['scope-paths'], which are no rules")):
        validator(lives, ignore=["scope-path", "scope-paths"])


def test_the_page_has_every_rule() -> None:
    """With its side and its text, in the same order."""
    page = (ROOT / "docs" / "validate.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| (server|application) \| (.*) \|$", page, re.M)
    assert rows == [(name, rule.side, rule.text) for name, rule in RULES.items()]
