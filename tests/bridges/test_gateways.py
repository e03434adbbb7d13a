"""`async_to_sync` in an application that `WsgiToAsgi` serves: its async code runs on the server's loop."""

import asyncio
import threading
from contextvars import ContextVar
from typing import Any

import trio

from asgiadapt import Local, async_to_sync, sync_to_async
from tests.apps import says_hello
from tests.conformance.test_trio import Client
from tests.fakes import request
from tests.validated import WsgiToAsgi

variable: ContextVar[str] = ContextVar("variable")


async def test_async_code_of_an_application_runs_on_the_servers_loop() -> None:
    """What is bound to that loop, such as a client or a lock, can be used there."""
    lock = asyncio.Lock()
    found: list[Any] = []

    async def asks() -> None:
        async with lock:
            found.append(asyncio.get_running_loop())

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        async_to_sync(asks)()
        return says_hello(environ, start_response)

    async with lock:
        answer = asyncio.create_task(request(WsgiToAsgi(app)))
        await asyncio.sleep(0)
    assert (await answer).body == b"hello"
    assert found == [asyncio.get_running_loop()]


async def test_the_async_code_shares_the_context_of_the_application() -> None:
    """Variables and the values of a Local, there and back."""
    local = Local()
    found: list[Any] = []

    async def changes() -> None:
        found.append((variable.get(), local.value))
        variable.set("of the code")
        local.value = "too"

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        variable.set("of the application")
        local.value = 1
        async_to_sync(changes)()
        found.append((variable.get(), local.value))
        return says_hello(environ, start_response)

    assert (await request(WsgiToAsgi(app))).status == 200
    assert found == [("of the application", 1), ("of the code", "too")]


async def test_sensitive_calls_come_back_to_the_applications_thread() -> None:
    """It waits, and so it can run them."""
    found: list[int] = []

    async def calls() -> None:
        found.append(await sync_to_async(threading.get_ident)())

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        found.append(threading.get_ident())
        async_to_sync(calls)()
        return says_hello(environ, start_response)

    assert (await request(WsgiToAsgi(app))).status == 200
    assert found[0] == found[1] != threading.get_ident()


async def test_a_worker_forgets_the_loop_when_the_request_has_ended() -> None:
    """The next job of the thread may have nothing to do with it."""
    adapter = WsgiToAsgi(says_hello, max_workers=1)
    await request(adapter)
    found: list[Any] = []
    ended = threading.Event()

    async def this_loop() -> None:
        found.append(asyncio.get_running_loop())

    class Job:
        def run(self) -> None:
            async_to_sync(this_loop)()
            ended.set()

        def drop(self) -> None:
            raise AssertionError

    adapter.pool.submit(Job())
    assert await asyncio.to_thread(ended.wait, 20)
    assert found != [asyncio.get_running_loop()]


def test_async_code_of_an_application_runs_on_trio() -> None:
    """Where trio serves it."""
    found: list[bool] = []

    async def asks() -> None:
        await trio.sleep(0)
        found.append(trio.lowlevel.in_trio_task())

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        async_to_sync(asks)()
        return says_hello(environ, start_response)

    async def main() -> None:
        client = Client()
        with trio.fail_after(20):
            await client.call(WsgiToAsgi(app))
        assert client.body == b"hello"

    trio.run(main)
    assert found == [True]
