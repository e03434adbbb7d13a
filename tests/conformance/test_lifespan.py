"""W2A-LIFE and W2A-WS: scopes other than those of requests."""

import asyncio
import threading
from typing import Any

import pytest

from asgiadapt import ServerError, WorkerPool, WsgiToAsgi
from tests.apps import Keeps, says_hello
from tests.conformance.rules import rule
from tests.fakes import request


class Protocol:
    """Plays the server for a lifespan or websocket scope."""

    def __init__(self, app: Any, scope: dict[str, Any]) -> None:
        self.sent: list[dict[str, Any]] = []
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.task = asyncio.create_task(app(scope, self.events.get, self.send))

    async def send(self, event: dict[str, Any]) -> None:
        self.sent.append(event)

    def feed(self, kind: str) -> None:
        self.events.put_nowait({"type": kind})

    async def settled(self) -> list[str]:
        """What was sent once the application waits for the next event, or has ended."""
        while not self.task.done() and not (self.events.empty() and self.events._getters):  # type: ignore[attr-defined]
            await asyncio.sleep(0)
        return [event["type"] for event in self.sent]


def lifespan(app: Any, **changes: Any) -> Protocol:
    return Protocol(app, {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}, **changes})


@rule("W2A-LIFE-02")
async def test_the_protocol_is_answered(_rule: None) -> None:
    """Each answer once, each after its event; the application is not called (W2A-LIFE-01, -03)."""
    app = Keeps()
    protocol = lifespan(WsgiToAsgi(app))
    assert await protocol.settled() == []
    protocol.feed("lifespan.startup")
    assert await protocol.settled() == ["lifespan.startup.complete"]
    protocol.feed("lifespan.shutdown")
    await protocol.task
    assert await protocol.settled() == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert app.calls == 0


@rule("W2A-LIFE-04")
async def test_the_state_is_left_alone(_rule: None) -> None:
    """It belongs to ASGI applications."""
    state: dict[str, Any] = {"kept": 1}
    protocol = lifespan(WsgiToAsgi(says_hello), state=state)
    protocol.feed("lifespan.startup")
    protocol.feed("lifespan.shutdown")
    await protocol.task
    assert state == {"kept": 1}


@rule("W2A-LIFE-05")
def test_requests_need_no_lifespan_and_no_particular_loop(_rule: None) -> None:
    """Several loops in turn are served by one adapter."""
    adapter = WsgiToAsgi(says_hello)
    for _ in range(3):
        assert asyncio.run(request(adapter)).body == b"hello"


@rule("W2A-LIFE-06")
async def test_shutdown_releases_the_own_threads(_rule: None) -> None:
    """Idle ones at once, busy ones after their request; a later request starts new ones."""
    release = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/slow":
            release.wait(20)
        return says_hello(environ, start_response)

    adapter = WsgiToAsgi(app, on_shutdown=lambda: None)  # which takes a thread, too
    slow = asyncio.create_task(request(adapter, path="/slow"))
    await request(adapter)
    protocol = lifespan(adapter)
    protocol.feed("lifespan.startup")
    protocol.feed("lifespan.shutdown")
    await protocol.task
    while adapter.pool.stats().threads > 1:
        await asyncio.sleep(0)
    release.set()
    assert (await slow).body == b"hello"
    while adapter.pool.stats().threads:
        await asyncio.sleep(0)
    assert (await request(adapter)).body == b"hello"


async def test_shutdown_leaves_a_shared_pool_alone() -> None:
    """Others may be using it."""
    with WorkerPool(2) as pool:
        adapter = WsgiToAsgi(says_hello, pool=pool)
        await request(adapter)
        protocol = lifespan(adapter)
        protocol.feed("lifespan.startup")
        protocol.feed("lifespan.shutdown")
        await protocol.task
        assert pool.stats().threads == 1


@pytest.mark.parametrize(
    ("events", "due"),
    [
        pytest.param(["lifespan.shutdown"], "lifespan.startup", id="W2A-LIFE-07"),
        pytest.param(["lifespan.startup", "lifespan.startup"], "lifespan.shutdown", id="W2A-LIFE-07-twice"),
    ],
)
async def test_an_event_out_of_place_raises(events: list[str], due: str) -> None:
    """The error names the event that was due."""
    protocol = lifespan(WsgiToAsgi(says_hello))
    for event in events:
        protocol.feed(event)
    with pytest.raises(ServerError, match=f"{due}' was due"):
        await protocol.task


@rule("W2A-LIFE-08")
async def test_cancellation_ends_the_wait_for_shutdown(_rule: None) -> None:
    """At once."""
    protocol = lifespan(WsgiToAsgi(says_hello))
    protocol.feed("lifespan.startup")
    await protocol.settled()
    protocol.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await protocol.task


@rule("W2A-LIFE-09")
async def test_another_scope_type_raises(_rule: None) -> None:
    """The error names it."""
    with pytest.raises(ValueError, match="'telnet'"):
        await Protocol(WsgiToAsgi(says_hello), {"type": "telnet"}).task


async def test_hooks_run_at_start_up_and_shutdown() -> None:
    """Plain functions on a worker, coroutine functions on the loop."""
    places: list[tuple[str, int]] = []

    def start() -> None:
        places.append(("start", threading.get_ident()))

    async def stop() -> None:
        await asyncio.sleep(0)
        places.append(("stop", threading.get_ident()))

    protocol = lifespan(WsgiToAsgi(says_hello, on_startup=start, on_shutdown=stop))
    protocol.feed("lifespan.startup")
    await protocol.settled()
    while not protocol.sent:
        await asyncio.sleep(0)
    assert [place[0] for place in places] == ["start"]
    assert places[0][1] != threading.get_ident()
    protocol.feed("lifespan.shutdown")
    await protocol.task
    assert places[1] == ("stop", threading.get_ident())
    assert protocol.sent[-1] == {"type": "lifespan.shutdown.complete"}


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("phase", ["startup", "shutdown"])
async def test_a_hook_that_fails_is_reported_to_the_server(
    phase: str, asynchronous: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """With the error as the message, and in the log."""

    def fails() -> None:
        raise ValueError("no database")

    async def fails_too() -> None:
        raise ValueError("no database")

    hook = {f"on_{phase}": fails_too if asynchronous else fails}
    protocol = lifespan(WsgiToAsgi(says_hello, **hook))
    protocol.feed("lifespan.startup")
    protocol.feed("lifespan.shutdown")
    await protocol.task
    assert protocol.sent[-1] == {
        "type": f"lifespan.{phase}.failed",
        "message": "ValueError: no database",
    }
    assert any(f"lifespan.{phase}" in record.getMessage() for record in caplog.records)


# WebSockets


def websocket(app: Any, version: str | None) -> Protocol:
    asgi = {"version": "3.0"} if version is None else {"version": "3.0", "spec_version": version}
    return Protocol(app, {"type": "websocket", "asgi": asgi, "path": "/", "headers": []})


@pytest.mark.parametrize(
    ("version", "has_reason"),
    [
        pytest.param("2.3", True, id="W2A-WS-02"),
        pytest.param("2.5", True, id="W2A-WS-02-new"),
        pytest.param("2.2", False, id="W2A-WS-06"),
        pytest.param(None, False, id="W2A-WS-06-missing"),
        pytest.param("nonsense", False, id="W2A-WS-06-nonsense"),
    ],
)
async def test_the_handshake_is_refused(version: str | None, has_reason: bool) -> None:
    """One close before any accept (W2A-WS-03), which servers answer with 403; the application is not
    called (W2A-WS-01)."""
    app = Keeps()
    protocol = websocket(WsgiToAsgi(app), version)
    protocol.feed("websocket.connect")
    await protocol.task
    (close,) = protocol.sent
    assert close["type"] == "websocket.close"
    assert ("reason" in close) == has_reason
    assert app.calls == 0


@rule("W2A-WS-04")
async def test_a_client_that_has_left_gets_nothing(_rule: None) -> None:
    """The call returns without sending."""
    protocol = websocket(WsgiToAsgi(says_hello), "2.3")
    protocol.feed("websocket.disconnect")
    await protocol.task
    assert protocol.sent == []
