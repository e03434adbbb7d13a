"""Blocking code, called from asynchronous code: on one thread, on many, with a hook, and cancelled.

python examples/call_sync.py
"""

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator

from asgiadapt import cancelled, sync_to_async

database = threading.local()  # what SQLite opens on a thread has to stay there


@contextlib.contextmanager
def transaction() -> Iterator[None]:
    """The hook: entered on the thread of each call, around it."""
    if not hasattr(database, "connection"):
        database.connection = sqlite3.connect(":memory:")
        database.connection.execute("create table words (word)")
    with database.connection:  # commits, or rolls back where the call raises
        yield


# Thread-sensitive, as all calls are by default: one thread runs them, one after the other.
@sync_to_async(hook=transaction)
def add(word: str) -> None:
    if not word:
        raise ValueError("a word has letters")
    database.connection.execute("insert into words values (?)", [word])


@sync_to_async(hook=transaction)
def words() -> list[str]:
    return [word for (word,) in database.connection.execute("select word from words order by word")]


@sync_to_async
def close() -> None:
    database.connection.close()


# Any thread will do: up to 40 of these run at the same time.
@sync_to_async(thread_sensitive=False)
def weigh(word: str) -> int:
    time.sleep(0.2)  # stands for whatever blocks
    return len(word)


started = asyncio.Event()


@sync_to_async(thread_sensitive=False)
def count_to_the_end(loop: asyncio.AbstractEventLoop) -> None:
    """Has no end, but asks whether anybody still waits for it."""
    loop.call_soon_threadsafe(started.set)
    while not cancelled():
        time.sleep(0.01)
    print("nobody waits any more: the counting ends")


async def main() -> None:
    await asyncio.gather(add("pear"), add("apple"), add("quince"))
    try:
        await add("")
    except ValueError as error:
        print(f"refused: {error}")
    found = await words()
    print(f"words: {', '.join(found)}")

    print(f"weights: {await asyncio.gather(*(weigh(word) for word in found))}")

    endless = asyncio.create_task(count_to_the_end(asyncio.get_running_loop()))
    await started.wait()
    endless.cancel()
    try:
        await endless
    except asyncio.CancelledError:
        print("cancelled, and the thread is free again")
    await close()


if __name__ == "__main__":
    asyncio.run(main())
