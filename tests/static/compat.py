"""Read by the type checkers, never run: asgiref's names keep the signatures."""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from typing import assert_type

from asgiadapt import install_as_asgiref
from asgiadapt.compat.a2wsgi import ASGIMiddleware, WSGIMiddleware
from asgiadapt.compat.asgiref.sync import SyncToAsync, async_to_sync, sync_to_async
from asgiadapt.compat.asgiref.typing import HTTPDisconnectEvent

install_as_asgiref()


def plain(number: int) -> str:
    return str(number)


async def coroutine(number: int) -> str:
    return str(number)


assert_type(async_to_sync(coroutine)(1), str)
assert_type(async_to_sync(force_new_loop=True)(coroutine)(1), str)


async def awaited() -> None:
    assert_type(await sync_to_async(plain)(1), str)
    assert_type(await sync_to_async(thread_sensitive=False)(plain)(1), str)
    assert_type(await SyncToAsync(plain)(1), str)
    await sync_to_async(plain)("1")  # type: ignore[arg-type]


async_to_sync(coroutine)("1")  # type: ignore[arg-type]

WSGIMiddleware(print, workers=1, send_queue_size=1)
ASGIMiddleware(print, wait_time=1.0, loop=None)
ASGIMiddleware(print, wait_time="1")  # type: ignore[arg-type]
HTTPDisconnectEvent(type="http.disconnect")
