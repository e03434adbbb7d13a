"""What several of these tests are made of: functions that wait, and the places where sync code runs."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import copy_context
from functools import partial
from typing import Any, TypeAlias

import pytest

from asgiadapt import ThreadSensitiveContext, WorkerPool, async_to_sync, sync_to_async
from tests.bridges import Bridge

Scenario: TypeAlias = Callable[[Bridge], Awaitable[None]]
Run: TypeAlias = Callable[[Scenario], None]


class Gate:
    """A function that shows when it has begun, and does not end before it may."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()
        self.ended = threading.Event()

    def __call__(self, outcome: Any = None) -> Any:
        try:
            self.entered.set()
            assert self.open.wait(20)
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome
        finally:
            self.ended.set()


class Log(logging.Handler):
    """What the library logs within the block."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.written = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.written.set()

    def __enter__(self) -> "Log":
        logging.getLogger("asgiadapt").addHandler(self)
        return self

    def __exit__(self, *error: object) -> None:
        logging.getLogger("asgiadapt").removeHandler(self)


async def seen(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 20)


async def some_rounds() -> None:
    """Time enough for all that the loop can do now."""
    for _ in range(20):
        await asyncio.sleep(0)


async def cancel(task: "asyncio.Task[Any]") -> None:
    """Let *task* hear of it."""
    task.cancel()
    await some_rounds()


# Places where sensitive calls, or those given to `executor`, run one after the other.


@asynccontextmanager
async def _shared() -> AsyncIterator[Bridge]:
    yield sync_to_async


@asynccontextmanager
async def _block() -> AsyncIterator[Bridge]:
    async with ThreadSensitiveContext():
        yield sync_to_async


@asynccontextmanager
async def _block_with_executor() -> AsyncIterator[Bridge]:
    with ThreadPoolExecutor(1) as executor:
        async with ThreadSensitiveContext(executor=executor):
            yield sync_to_async


@asynccontextmanager
async def _executor() -> AsyncIterator[Bridge]:
    with ThreadPoolExecutor(1) as executor:
        yield partial(sync_to_async, thread_sensitive=False, executor=executor)


@asynccontextmanager
async def _worker_pool() -> AsyncIterator[Bridge]:
    with WorkerPool(1) as pool:
        yield partial(sync_to_async, thread_sensitive=False, executor=pool)


@asynccontextmanager
async def _anywhere() -> AsyncIterator[Bridge]:
    yield partial(sync_to_async, thread_sensitive=False)


def _on(place: Callable[[], AbstractAsyncContextManager[Bridge]]) -> Run:
    def run(scenario: Scenario) -> None:
        async def main() -> None:
            async with place() as bridge:
                await scenario(bridge)

        asyncio.run(main(), debug=True)

    return run


def _on_calling_thread(scenario: Scenario) -> None:
    # What it sets stays within.
    copy_context().run(async_to_sync(scenario), sync_to_async)


ONE_AT_A_TIME: dict[str, Run] = {
    "the shared thread": _on(_shared),
    "the thread of a block": _on(_block),
    "the executor of a block": _on(_block_with_executor),
    "an executor": _on(_executor),
    "a worker pool": _on(_worker_pool),
    "the calling thread": _on_calling_thread,
}
ALL = {**ONE_AT_A_TIME, "any thread": _on(_anywhere)}
in_order = pytest.mark.parametrize("run", ONE_AT_A_TIME.values(), ids=ONE_AT_A_TIME)
everywhere = pytest.mark.parametrize("run", ALL.values(), ids=ALL)
