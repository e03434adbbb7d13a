"""The bridges as their users see them. Here: the kinds of threads and loops that most tests try in turn."""

import functools
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeAlias

from asgiadapt import LoopThread, WorkerPool, async_to_sync, set_default_loop, sync_to_async

Bridge: TypeAlias = Callable[..., Any]
Bridges: TypeAlias = dict[str, Callable[[], AbstractContextManager[Bridge]]]


@contextmanager
def _sensitive() -> Iterator[Bridge]:
    yield sync_to_async


@contextmanager
def _anywhere() -> Iterator[Bridge]:
    yield functools.partial(sync_to_async, thread_sensitive=False)


@contextmanager
def _on_executor() -> Iterator[Bridge]:
    with ThreadPoolExecutor(2) as executor:
        yield functools.partial(sync_to_async, thread_sensitive=False, executor=executor)


@contextmanager
def _on_worker_pool() -> Iterator[Bridge]:
    with WorkerPool(2) as pool:
        yield functools.partial(sync_to_async, thread_sensitive=False, executor=pool)


# ``sync_to_async``, with the options for one kind of thread.
ON_THREAD: Bridges = {
    "the sensitive thread": _sensitive,
    "any thread": _anywhere,
    "an executor": _on_executor,
    "a worker pool": _on_worker_pool,
}


@contextmanager
def _on_kept_loop() -> Iterator[Bridge]:
    yield async_to_sync


@contextmanager
def _on_moved_loop() -> Iterator[Bridge]:
    """The loop has left the calling thread, to give it free for a sync call."""

    def moved(function: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        @async_to_sync
        @functools.wraps(function)
        async def moves(*args: Any) -> Any:
            await sync_to_async(int)()
            return await function(*args)

        return moves

    yield moved


@contextmanager
def _on_new_loop() -> Iterator[Bridge]:
    yield functools.partial(async_to_sync, force_new_loop=True)


@contextmanager
def _on_loop_thread() -> Iterator[Bridge]:
    with LoopThread() as loop:
        yield functools.partial(async_to_sync, loop=loop)


@contextmanager
def _on_default_loop() -> Iterator[Bridge]:
    with LoopThread() as loop:
        set_default_loop(loop)
        try:
            yield async_to_sync
        finally:
            set_default_loop(None)


# ``async_to_sync``, with the options for one kind of loop.
ON_LOOP: Bridges = {
    "kept loop": _on_kept_loop,
    "kept loop that has moved": _on_moved_loop,
    "new loop": _on_new_loop,
    "loop thread": _on_loop_thread,
    "default loop": _on_default_loop,
}
