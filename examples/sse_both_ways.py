"""Server-sent events both ways: from Flask on an ASGI server, and from Starlette on a WSGI server.

python examples/sse_both_ways.py flask [PORT]          Flask on uvicorn
python examples/sse_both_ways.py starlette [PORT]      Starlette on Werkzeug's server
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator

import uvicorn
from flask import Flask, Response, request
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, StreamingResponse
from starlette.routing import Route
from werkzeug.serving import run_simple

from asgiadapt import AsgiToWsgi, WsgiToAsgi

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Server-sent events</title>
<link rel="icon" href="data:,">
<style>:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif } body { margin: 2rem }</style>
<h1>Server-sent events</h1>
<p>Counted by the server: <output>nothing yet</output></p>
<script>
new EventSource("/events").onmessage = event => {
  document.querySelector("output").textContent = event.data
}
</script>
"""
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # the second is for nginx in front

# A synchronous generator. Each open stream holds a worker thread of the adapter.
flask_app = Flask(__name__)


@flask_app.get("/")
def index() -> str:
    return PAGE


@flask_app.get("/events")
def events() -> Response:
    disconnected = request.environ["asgiadapt.disconnected"]

    def messages() -> Iterator[str]:
        try:
            number = 0
            yield ": welcome\n\n"
            while not disconnected.wait(0.5):  # in place of time.sleep(0.5): true when the client has gone
                number += 1
                yield f"data: {number}\n\n"
        finally:
            print("the stream of Flask is closed", flush=True)

    return Response(messages(), mimetype="text/event-stream", headers=HEADERS)


# An asynchronous generator. It runs on the adapter's loop; each open stream holds a thread of the server.
async def async_index(_: Request) -> HTMLResponse:
    return HTMLResponse(PAGE)


async def async_events(_: Request) -> StreamingResponse:
    async def messages() -> AsyncIterator[str]:
        try:
            number = 0
            yield ": welcome\n\n"
            while True:
                await asyncio.sleep(0.5)
                number += 1
                yield f"data: {number}\n\n"  # a WSGI server finds here that the client has gone
        finally:
            print("the stream of Starlette is closed", flush=True)

    return StreamingResponse(messages(), media_type="text/event-stream", headers=HEADERS)


on_asgi = WsgiToAsgi(flask_app)
on_wsgi = AsgiToWsgi(Starlette(routes=[Route("/", async_index), Route("/events", async_events)]))

if __name__ == "__main__":
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 8000
    match sys.argv[1:2]:
        case ["flask"]:
            uvicorn.run(on_asgi, port=port, timeout_graceful_shutdown=5)
        case ["starlette"]:
            run_simple("127.0.0.1", port, on_wsgi, threaded=True)
        case _:
            sys.exit(__doc__)
