"""W2A-LIFE: the lifespan protocol, its hooks, and what shutdown does to the threads."""

import asyncio
import functools
import threading
from typing import Any

import pytest

from asgiadapt import ServerError, StartupFailed, WorkerPool
from asgiadapt.testing import AsgiClient
from tests.apps import Keeps, says_hello
from tests.conformance.rules import rule
from tests.fakes import Protocol, request
from tests.validated import WsgiToAsgi


def lifespan(app: Any, **changes: Any) -> Protocol:
    return Protocol(app, {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}, **changes})


@rule("W2A-LIFE-01")
async def test_the_application_is_not_called_for_lifespan(_rule: None) -> None:
    """It knows requests only."""
    app = Keeps()
    async with AsgiClient(WsgiToAsgi(app)):
        pass
    assert app.calls == 0


@rule("W2A-LIFE-02")
async def test_the_protocol_is_answered(_rule: None) -> None:
    """Each event by its answer, and the call returns after the last."""
    protocol = lifespan(WsgiToAsgi(says_hello))
    protocol.feed("lifespan.startup")
    protocol.feed("lifespan.shutdown")
    await protocol.task
    assert protocol.sent == [{"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"}]


@rule("W2A-LIFE-03")
async def test_each_answer_comes_once_and_after_its_event(_rule: None) -> None:
    """Nothing is sent before startup, and nothing between the two."""
    protocol = lifespan(WsgiToAsgi(says_hello))
    assert await protocol.settled() == []
    protocol.feed("lifespan.startup")
    assert await protocol.settled() == ["lifespan.startup.complete"]
    protocol.feed("lifespan.shutdown")
    await protocol.task
    assert await protocol.settled() == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@rule("W2A-LIFE-04")
async def test_the_state_is_left_alone(_rule: None) -> None:
    """It belongs to ASGI applications."""
    state: dict[str, Any] = {"kept": 1}
    protocol = lifespan(WsgiToAsgi(says_hello, ignore={"scope-state-empty"}), state=state)
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
    async with AsgiClient(adapter) as client:
        await client.request("GET", "/")
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
        async with AsgiClient(adapter) as client:
            await client.request("GET", "/")
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
    protocol = lifespan(WsgiToAsgi(says_hello, ignore={"event-order"}))
    for event in events:
        protocol.feed(event)
    with pytest.raises(ServerError, match=f"{due}' was due"):
        await protocol.task


@pytest.mark.parametrize("state", [None, {}])
@rule("W2A-LIFE-04-missing")
async def test_the_state_need_not_be_there(_rule: None, state: Any) -> None:
    """Older servers have none."""
    protocol = Protocol(
        WsgiToAsgi(says_hello, ignore={"scope-required"}),
        {"type": "lifespan"} if state is None else {"type": "lifespan", "state": state},
    )
    protocol.feed("lifespan.startup")
    protocol.feed("lifespan.shutdown")
    await protocol.task
    assert protocol.sent[-1] == {"type": "lifespan.shutdown.complete"}


@rule("W2A-LIFE-08")
async def test_cancellation_ends_the_wait_for_shutdown(_rule: None) -> None:
    """At once."""
    protocol = lifespan(WsgiToAsgi(says_hello))
    protocol.feed("lifespan.startup")
    await protocol.settled()
    protocol.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await protocol.task


@rule("W2A-LIFE-08-hook")
async def test_cancellation_ends_the_wait_for_a_hook(_rule: None) -> None:
    """The hook runs to its end on its worker; nothing is sent for it."""
    entered, may_end = threading.Event(), threading.Event()

    def start() -> None:
        entered.set()
        may_end.wait(20)

    adapter = WsgiToAsgi(says_hello, on_startup=start)
    protocol = lifespan(adapter)
    protocol.feed("lifespan.startup")
    await asyncio.to_thread(entered.wait, 10)
    protocol.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await protocol.task
    may_end.set()
    assert await asyncio.to_thread(adapter.pool.close, 10)
    assert protocol.sent == []


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

    async with AsgiClient(WsgiToAsgi(says_hello, on_startup=start, on_shutdown=stop)):
        assert [place[0] for place in places] == ["start"]
        assert places[0][1] != threading.get_ident()
    assert places[1:] == [("stop", threading.get_ident())]


async def test_a_hook_may_give_something_to_await() -> None:
    """A callable that is no coroutine function itself, but makes a coroutine."""
    done: list[int] = []

    async def start() -> None:
        done.append(threading.get_ident())

    async with AsgiClient(WsgiToAsgi(says_hello, on_startup=lambda: start())):
        assert done == [threading.get_ident()]


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


class AsyncHook:
    """An object that is called as an async function is."""

    def __init__(self) -> None:
        self.ran_on: list[int] = []

    async def __call__(self) -> None:
        await asyncio.sleep(0)
        self.ran_on.append(threading.get_ident())

    async def method(self) -> None:
        await self()


@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(lambda hook: hook.method, id="method"),
        pytest.param(lambda hook: functools.partial(hook.method), id="partial"),
        pytest.param(lambda hook: hook, id="object"),
        pytest.param(lambda hook: lambda: hook(), id="lambda"),
    ],
)
async def test_an_async_hook_is_awaited_whatever_its_kind(wrap: Any) -> None:
    """On the loop; a coroutine that nobody awaits would be a hook that did not run."""
    hook = AsyncHook()
    async with AsgiClient(WsgiToAsgi(says_hello, on_startup=wrap(hook))):
        assert hook.ran_on == [threading.get_ident()]


async def test_no_shutdown_hook_runs_after_a_failed_start_up() -> None:
    """The protocol is over; the server goes down."""
    calls: list[str] = []

    def fails() -> None:
        raise ValueError("no database")

    adapter = WsgiToAsgi(says_hello, on_startup=fails, on_shutdown=lambda: calls.append("stop"))
    with pytest.raises(StartupFailed, match="ValueError: no database"):
        async with AsgiClient(adapter):
            pass
    assert calls == []


async def test_a_hook_that_no_worker_can_take_is_reported_to_the_server() -> None:
    """The pool was closed before."""
    with WorkerPool(1) as pool:
        adapter = WsgiToAsgi(says_hello, pool=pool, on_startup=lambda: None)
    with pytest.raises(StartupFailed, match="PoolClosed"):
        async with AsgiClient(adapter):
            pass


async def test_own_threads_leave_after_a_failed_shutdown_too() -> None:
    """The hook's failure is the application's affair."""

    async def fails() -> None:
        raise ValueError("no database")

    adapter = WsgiToAsgi(says_hello, on_shutdown=fails)
    with pytest.raises(RuntimeError, match="no database"):
        async with AsgiClient(adapter) as client:
            await client.request("GET", "/")
    while adapter.pool.stats().threads:
        await asyncio.sleep(0)
    assert (await request(adapter)).body == b"hello"
