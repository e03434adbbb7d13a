"""A FastAPI application on gunicorn's threads: state of its lifespan, a background task, server-sent events.

python examples/fastapi_on_gunicorn.py [PORT]
or: gunicorn --chdir examples -k gthread --threads 16 fastapi_on_gunicorn:app
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

from fastapi import BackgroundTasks, FastAPI, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, StreamingResponse
from gunicorn.app import wsgiapp

from asgiadapt import AsgiToWsgi

PING = 1.0  # seconds; a WSGI server notices that a client has gone when it writes to it, and not before

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>FastAPI on gunicorn</title>
<link rel="icon" href="data:,">
<style>:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif } body { margin: 2rem }</style>
<h1>FastAPI on gunicorn</h1>
<form method="post" action="/notes">
  <label>A note: <input name="text" required></label> <button>Add</button>
</form>
<ul id="notes"></ul>
<script>
new EventSource("/events").onmessage = event => {
  const item = document.createElement("li")
  item.textContent = JSON.parse(event.data)
  document.getElementById("notes").append(item)
}
</script>
"""


class Board:
    """Belongs to one event loop, as most of what is asynchronous: all requests have to run on that one."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.changed = asyncio.Condition()

    async def add(self, text: str) -> None:
        await asyncio.sleep(0.2)  # stands for work that nobody should have to wait for
        async with self.changed:
            self.notes.append(text)
            self.changed.notify_all()

    async def events(self) -> AsyncIterator[str]:
        yield ": the notes so far, and each new one\n\n"
        seen = 0
        while True:
            for note in self.notes[seen:]:
                seen += 1
                yield f"data: {json.dumps(note)}\n\n"
            try:
                async with asyncio.timeout(PING), self.changed:
                    if len(self.notes) == seen:
                        await self.changed.wait()
            except TimeoutError:
                yield ": nothing new\n\n"


@contextlib.asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Board]]:
    board = Board()
    print("the board is set up", flush=True)
    yield {"board": board}
    print(f"the board is taken down, with {len(board.notes)} notes", flush=True)


fastapi_app = FastAPI(lifespan=lifespan)


@fastapi_app.get("/", response_class=HTMLResponse)
async def index() -> str:
    return PAGE


@fastapi_app.post("/notes")
async def add(request: Request, text: Annotated[str, Form()], tasks: BackgroundTasks) -> RedirectResponse:
    tasks.add_task(request.state.board.add, text)  # goes on after the response, and holds no thread
    return RedirectResponse("/", status_code=303)


@fastapi_app.get("/events")
async def events(request: Request) -> StreamingResponse:
    # The events are made on the loop, but the server needs one of its threads for each client that listens.
    return StreamingResponse(request.state.board.events(), media_type="text/event-stream")


app = AsgiToWsgi(fastapi_app)

if __name__ == "__main__":
    port = sys.argv[1] if len(sys.argv) > 1 else "8000"
    options = ["-k", "gthread", "--threads", "16", "--graceful-timeout", "3", "-b", f"127.0.0.1:{port}"]
    sys.argv = ["gunicorn", *options, "--chdir", str(Path(__file__).parent), "fastapi_on_gunicorn:app"]
    wsgiapp.run()
