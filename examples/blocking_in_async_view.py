"""Blocking code in asynchronous views of FastAPI: a database of one thread, and a queue that is waited for.

python examples/blocking_in_async_view.py [PORT]
or: uvicorn --app-dir examples blocking_in_async_view:app
"""

import contextlib
import queue
import sqlite3
import sys
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI, HTTPException

from asgiadapt import sync_to_async


class Orders:
    """Plain synchronous code, which knows of no event loop."""

    def __init__(self) -> None:
        self.database = sqlite3.connect(":memory:")  # refuses to be used on another thread
        self.database.execute("create table orders (number integer primary key, what text)")
        self.arrived: queue.SimpleQueue[int] = queue.SimpleQueue()

    def add(self, what: str) -> int:
        with self.database:
            number = self.database.execute("insert into orders (what) values (?)", [what]).lastrowid
        assert number is not None
        self.arrived.put(number)
        return number

    def all(self) -> list[str]:
        return [what for (what,) in self.database.execute("select what from orders order by number")]

    def next(self, patience: float) -> int:
        return self.arrived.get(timeout=patience)  # blocks its thread

    def close(self) -> None:
        self.database.close()


@contextlib.asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    # Thread-sensitive, as calls are by default: the connection is opened, used and closed on one thread.
    app.state.orders = await sync_to_async(Orders)()
    yield
    await sync_to_async(app.state.orders.close)()


app = FastAPI(lifespan=lifespan)


@app.post("/orders")
async def add(what: str) -> dict[str, int]:
    return {"number": await sync_to_async(app.state.orders.add)(what)}


@app.get("/orders")
async def everything() -> list[str]:
    found: list[str] = await sync_to_async(app.state.orders.all)()
    return found


@app.get("/orders/next")
async def wait_for_the_next() -> dict[str, int]:
    # A queue may be used by any thread. So this call waits beside the others, and holds none of them up.
    wait = sync_to_async(app.state.orders.next, thread_sensitive=False)
    try:
        return {"number": await wait(patience=20)}
    except queue.Empty:
        raise HTTPException(504, "no order has come") from None


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
