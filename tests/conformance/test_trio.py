"""The same gateway on trio."""

import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import trio

from asgiadapt import ClientTimeout
from tests.apps import Closing, echoes, returns, says_hello
from tests.fakes import scope_for
from tests.validated import WsgiToAsgi

CHUNKED = [(b"host", b"testserver"), (b"transfer-encoding", b"chunked")]


class Client:
    """The server and the client of one request, in trio."""

    def __init__(self, **scope: Any) -> None:
        self.scope = scope_for(**scope)
        self.sent: list[dict[str, Any]] = []
        self.to_app, self.incoming = trio.open_memory_channel[dict[str, Any]](1000)
        self.gate = trio.Event()
        self.gate.set()
        self.receives = 0

    def feed(self, *events: dict[str, Any]) -> None:
        for event in events:
            self.to_app.send_nowait(event)

    async def receive(self) -> dict[str, Any]:
        self.receives += 1
        return await self.incoming.receive()

    async def send(self, event: dict[str, Any]) -> None:
        await self.gate.wait()
        self.sent.append(event)

    @property
    def body(self) -> bytes:
        return b"".join(event.get("body", b"") for event in self.sent)

    async def call(self, app: Any) -> None:
        assert await app(self.scope, self.receive, self.send) is None


def on_trio(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def limited() -> None:
        with trio.fail_after(20):
            await main()

    trio.run(limited)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await trio.lowlevel.checkpoint()


def test_a_small_response() -> None:
    """Start and body, as on asyncio."""

    async def main() -> None:
        client = Client()
        await client.call(WsgiToAsgi(says_hello))
        assert client.sent[0]["status"] == 200
        assert client.body == b"hello"

    on_trio(main)


@pytest.mark.parametrize("options", [{}, {"first_window": 1, "window": 1}, {"lazy_body": True}])
def test_a_streamed_body(options: dict[str, Any]) -> None:
    """Complete, in part, or not there yet when the application is called."""

    async def main() -> None:
        client = Client(method="POST", headers=CHUNKED)
        for n in range(20):
            client.feed({"type": "http.request", "body": b"%d" % n, "more_body": n < 19})
        await client.call(WsgiToAsgi(echoes, **options))
        assert client.body == b"".join(b"%d" % n for n in range(20))

    on_trio(main)


def test_a_client_that_leaves_stops_the_stream() -> None:
    """The iterable is closed, and the call returns."""
    iterable = Closing(*[b"x" * 1000] * 10_000)

    async def main() -> None:
        client = Client()
        client.feed({"type": "http.request"})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.call, WsgiToAsgi(returns(iterable), window=2000))
            await until(lambda: len(client.body) > 0)
            client.gate = trio.Event()
            client.feed({"type": "http.disconnect"})
            await until(lambda: iterable.closed == 1)
            client.gate.set()
        assert not any(event.get("more_body") is False for event in client.sent)

    on_trio(main)
    assert iterable.closed == 1


def test_cancellation_frees_the_worker() -> None:
    """The scope is left, the iterable closed before."""
    iterable = Closing(*[b"x" * 1000] * 10_000)

    async def main() -> None:
        client = Client()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.call, WsgiToAsgi(returns(iterable), window=2000))
                await until(lambda: len(client.body) > 0)
                client.gate = trio.Event()
                scope.cancel()
        assert scope.cancelled_caught
        assert iterable.closed == 1

    on_trio(main)


def test_an_application_error_is_not_wrapped() -> None:
    """The object itself, and no group around it."""
    original = ValueError("broken")

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise original

    async def main() -> None:
        with pytest.raises(ValueError, match="broken") as caught:
            await Client().call(WsgiToAsgi(app))
        assert caught.value is original

    on_trio(main)


def test_an_error_of_send_is_not_wrapped() -> None:
    """It comes out as it went in, after the iterable was closed."""
    iterable = Closing(*[b"x" * 1000] * 1000)

    async def main() -> None:
        client = Client()

        async def send(event: dict[str, Any]) -> None:
            raise OSError("connection lost")

        client.send = send  # type: ignore[method-assign]
        with pytest.raises(OSError, match="connection lost"):
            await client.call(WsgiToAsgi(returns(iterable), window=2000))
        assert iterable.closed == 1

    on_trio(main)


def test_time_limits() -> None:
    """A client that takes nothing is cut off, one that sends nothing gets 408."""

    async def main() -> None:
        stalled = Client()
        stalled.gate = trio.Event()
        with pytest.raises(ClientTimeout, match="took nothing"):
            await stalled.call(WsgiToAsgi(says_hello, send_timeout=0.01))
        silent = Client(method="POST", headers=CHUNKED)
        await silent.call(WsgiToAsgi(echoes, receive_timeout=0.01))
        assert silent.sent[0]["status"] == 408

    on_trio(main)


def test_no_time_limits() -> None:
    """None waits as long as it takes."""

    async def main() -> None:
        client = Client(method="POST", headers=CHUNKED)
        client.feed({"type": "http.request", "body": b"x"})
        await client.call(WsgiToAsgi(echoes, receive_timeout=None, send_timeout=None))
        assert client.body == b"x"

    on_trio(main)


def test_overload() -> None:
    """A request that waits too long for a worker gets 503."""
    release = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        release.wait(20)
        return says_hello(environ, start_response)

    async def main() -> None:
        adapter = WsgiToAsgi(app, max_workers=1, queue_timeout=0.01)
        first, second = Client(), Client()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first.call, adapter)
            await until(lambda: adapter.pool.stats().busy == 1)
            await second.call(adapter)
            assert second.sent[0]["status"] == 503
            release.set()
        assert first.body == b"hello"

    on_trio(main)


def test_many_at_a_time() -> None:
    """Requests overlap, and each gets its own answer."""
    barrier = threading.Barrier(10)

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        barrier.wait(20)
        start_response("200 OK", [])
        return [environ["PATH_INFO"].encode()]

    async def main() -> None:
        adapter = WsgiToAsgi(app)
        clients = [Client(path=f"/{n}") for n in range(10)]
        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(client.call, adapter)
        assert [client.body for client in clients] == [b"/%d" % n for n in range(10)]

    on_trio(main)


def test_lifespan_with_hooks() -> None:
    """Hooks run on a worker, or on the loop where they are asynchronous."""
    calls: list[str] = []

    async def stop() -> None:
        await trio.lowlevel.checkpoint()
        calls.append("stop")

    async def main() -> None:
        client = Client()
        client.scope = {"type": "lifespan", "asgi": {"version": "3.0"}}
        client.feed({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
        await client.call(WsgiToAsgi(says_hello, on_startup=lambda: calls.append("start"), on_shutdown=stop))
        assert [event["type"] for event in client.sent] == [
            "lifespan.startup.complete",
            "lifespan.shutdown.complete",
        ]

    on_trio(main)
    assert calls == ["start", "stop"]
