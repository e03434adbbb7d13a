"""`ApplicationCommunicator`: asgiref's interface, and what comes of applications that end or hang."""

import asyncio
import contextvars
import gc
import inspect
from typing import Any

import asgiref.testing
import pytest

from asgiadapt.testing import ApplicationCommunicator

Scope = dict[str, Any]
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")


class Broken(Exception):
    """Of the application."""


async def echoes(scope: Scope, receive: Any, send: Any) -> None:
    """Until it gets a message without text."""
    while text := (await receive()).get("text"):
        await send({"type": "echo", "text": f"{scope['path']}: {text}"})


async def breaks(scope: Scope, receive: Any, send: Any) -> None:
    await receive()
    raise Broken("on its first event")


async def hangs(scope: Scope, receive: Any, send: Any) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    "name", ["send_input", "receive_output", "receive_nothing", "wait", "stop", "__init__"]
)
def test_a_method_has_the_parameters_that_people_know(name: str) -> None:
    """By name and default."""
    kinds = (ApplicationCommunicator, asgiref.testing.ApplicationCommunicator)
    parameters = [inspect.signature(getattr(kind, name)).parameters.values() for kind in kinds]
    ours, theirs = ([(one.name, one.default) for one in each] for each in parameters)
    assert ours == theirs


async def test_messages_go_to_and_fro() -> None:
    """One at a time."""
    communicator = ApplicationCommunicator(echoes, {"type": "test", "path": "/a"})
    for text in ("one", "two"):
        await communicator.send_input({"type": "test", "text": text})
        assert await communicator.receive_output() == {"type": "echo", "text": f"/a: {text}"}
    await communicator.send_input({"type": "test"})
    await communicator.wait()


async def test_what_is_sent_at_the_very_end_is_received() -> None:
    """Though the application has returned by then."""

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send(1)
        await send(2)

    communicator = ApplicationCommunicator(app, {})
    await communicator.send_input({})
    assert [await communicator.receive_output() for _ in range(2)] == [1, 2]
    with pytest.raises(TimeoutError, match="has returned, and sends no more"):
        await communicator.receive_output(timeout=None)


async def test_nothing_is_received_where_nothing_is_sent() -> None:
    """What is there is left there."""
    communicator = ApplicationCommunicator(echoes, {"path": ""})
    assert await communicator.receive_nothing(timeout=0.01)
    await communicator.send_input({"text": "a"})
    assert not await communicator.receive_nothing(timeout=10)
    assert (await communicator.receive_output())["text"] == ": a"
    communicator.stop()


@pytest.mark.parametrize("method", ["receive_output", "wait"])
async def test_an_error_is_raised_as_soon_as_it_is_there(method: str) -> None:
    """No time has to pass before; and each further use raises it again."""
    communicator = ApplicationCommunicator(breaks, {})
    await communicator.send_input({})
    with pytest.raises(Broken, match="first event"):
        await getattr(communicator, method)(timeout=None)
    for again in (communicator.receive_output(), communicator.send_input({}), communicator.receive_nothing()):
        with pytest.raises(Broken, match="first event"):
            await again
    with pytest.raises(Broken, match="first event"):
        communicator.stop()
    communicator.stop(exceptions=False)


@pytest.mark.parametrize(
    ("method", "text"), [("receive_output", r"sent nothing within 0\.01 s"), ("wait", "")]
)
async def test_an_application_that_hangs_is_cancelled(method: str, text: str) -> None:
    """And the test learns that it has taken too long."""
    communicator = ApplicationCommunicator(hangs, {})
    with pytest.raises(TimeoutError, match=text or None):
        await getattr(communicator, method)(timeout=0.01)
    assert communicator.future.cancelled()


async def test_what_fails_in_the_clean_up_comes_before_the_time() -> None:
    """The application's error, not the test's limit."""

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        try:
            await hangs(scope, receive, send)
        finally:
            raise Broken("in its clean-up")

    communicator = ApplicationCommunicator(app, {})
    with pytest.raises(Broken, match="in its clean-up"):
        await communicator.wait(timeout=0.01)


async def test_a_cancelled_wait_for_output_loses_nothing() -> None:
    """The next one gets it."""
    communicator = ApplicationCommunicator(echoes, {"path": ""})
    waiting = asyncio.ensure_future(communicator.receive_output())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    await communicator.send_input({"text": "a"})
    assert (await communicator.receive_output())["text"] == ": a"
    communicator.stop()


async def test_the_application_has_an_empty_context() -> None:
    """As behind a server."""
    variable.set("of the test")

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await send(variable.get())

    communicator = ApplicationCommunicator(app, {})
    assert await communicator.receive_output() == "none"
    await communicator.wait()


async def test_one_that_was_not_used_has_nothing_to_stop() -> None:
    """The application was not called."""
    called = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        called.append(scope)

    ApplicationCommunicator(app, {}).stop()
    assert called == []


async def test_one_that_is_dropped_ends_its_call() -> None:
    """The task is cancelled."""
    communicator = ApplicationCommunicator(hangs, {})
    task = communicator.future
    await asyncio.sleep(0)
    del communicator
    gc.collect()
    await asyncio.wait([task])
    assert task.cancelled()
