"""Cancellation, where asgiref's own depends on which thread is the quicker one."""

import asyncio
import threading
from typing import Any

import asgiadapt
from asgiadapt.compat.asgiref.sync import async_to_sync, sync_to_async


async def test_what_a_cancelled_call_waits_for_is_cancelled() -> None:
    """Then its outcome is given, be that a cancellation or not."""

    async def outcome_of(inner: Any) -> str:
        begun = asyncio.Event()

        async def waits() -> None:
            begun.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(sync_to_async(async_to_sync(inner))(waits))
        await begun.wait()
        task.cancel()
        try:
            return str(await task)
        except (asyncio.CancelledError, LookupError) as error:
            return type(error).__name__

    async def catches(waits: Any) -> str:
        try:
            return str(await waits())
        except asyncio.CancelledError:
            return "caught"

    async def lets_pass(waits: Any) -> None:
        await waits()

    async def fails(waits: Any) -> None:
        try:
            await waits()
        except asyncio.CancelledError:
            raise LookupError("while it ended") from None

    assert await outcome_of(catches) == "caught"
    assert await outcome_of(fails) == "LookupError"
    assert await outcome_of(lets_pass) == "CancelledError"


def test_a_call_that_was_left_knows_it() -> None:
    """From `asgiadapt.cancelled`; and what it calls from then on runs as if nothing had happened."""
    entered, may_leave, ended = threading.Event(), threading.Event(), threading.Event()
    found: list[Any] = []

    async def inner() -> str:
        await asyncio.sleep(0)
        return "as usual"

    def blocks() -> None:
        entered.set()
        may_leave.wait(20)
        found.extend([asgiadapt.cancelled(), async_to_sync(inner)()])
        ended.set()

    async def main() -> None:
        task = asyncio.create_task(sync_to_async(blocks)())
        await asyncio.to_thread(entered.wait)
        task.cancel()
        await asyncio.wait([task])
        may_leave.set()
        await asyncio.to_thread(ended.wait)

    asyncio.run(main())
    assert found == [True, "as usual"]
