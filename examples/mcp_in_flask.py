"""An ASGI application below /mcp of a Flask application, with sessions as MCP has them over HTTP and SSE.

GET /mcp/sse opens a session. Its stream first tells where to post to, then brings the answers to what is
posted there. The stream and the posts have different threads of the WSGI server; they meet on one event loop.

python examples/mcp_in_flask.py [PORT]      or: flask --app examples/mcp_in_flask.py run
or: gunicorn --chdir examples -k gthread --threads 32 mcp_in_flask:app      (one worker: it has the sessions)
"""

import asyncio
import json
import secrets
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from flask import Flask
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from asgiadapt import AsgiToWsgi

PING = 1.0  # seconds; a WSGI server notices that a client has gone when it writes to it, and not before

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sessions in Flask</title>
<link rel="icon" href="data:,">
<style>:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif } body { margin: 2rem }</style>
<h1>Sessions in Flask</h1>
<p>Open sessions before this one: {sessions}</p>
<form><label>Remember: <input name="text" required></label> <button>Send</button></form>
<pre></pre>
<script>
const form = document.forms[0], stream = new EventSource("/mcp/sse")
let number = 0
stream.addEventListener("endpoint", endpoint => form.onsubmit = event => {
  event.preventDefault()
  const call = {jsonrpc: "2.0", id: ++number, method: "remember", params: [form.elements.text.value]}
  fetch(endpoint.data, {method: "POST", body: JSON.stringify(call)})
})
stream.addEventListener("message", message =>
  document.querySelector("pre").append(message.data + "\\n"))
</script>
"""


@dataclass
class Session:
    answers: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)
    remembered: list[Any] = field(default_factory=list)

    async def events(self, endpoint: str) -> AsyncIterator[str]:
        yield f"event: endpoint\ndata: {endpoint}\n\n"
        while True:
            try:
                async with asyncio.timeout(PING):
                    answer = await self.answers.get()
            except TimeoutError:
                yield ": are you there?\n\n"
            else:
                yield f"event: message\ndata: {json.dumps(answer)}\n\n"

    async def call(self, call: dict[str, Any]) -> None:
        answer = {"jsonrpc": "2.0", "id": call["id"]}
        if call["method"] == "remember":
            await asyncio.sleep(0.1)  # stands for asynchronous work
            self.remembered += call["params"]
            self.answers.put_nowait({**answer, "result": self.remembered.copy()})
        else:
            error = {"code": -32601, "message": f"there is no method {call['method']}"}
            self.answers.put_nowait({**answer, "error": error})


sessions: dict[str, Session] = {}


class Stream:
    """An endpoint that is an ASGI application: it knows when the client has gone."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        name, session = secrets.token_urlsafe(), Session()
        # With the prefix of the mount, which comes from SCRIPT_NAME.
        endpoint = Request(scope).url_for("post", name=name).path
        sessions[name] = session
        try:
            response = StreamingResponse(session.events(endpoint), media_type="text/event-stream")
            await response(scope, receive, send)
        finally:
            del sessions[name]


async def post(request: Request) -> Response:
    session = sessions.get(request.path_params["name"])
    if session is None:
        return PlainTextResponse("there is no such session", 404)
    return Response(status_code=202, background=BackgroundTask(session.call, await request.json()))


mcp = Starlette(routes=[Route("/sse", Stream()), Route("/post/{name}", post, methods=["POST"])])

app = Flask(__name__)
mounted = AsgiToWsgi(mcp, shutdown_timeout=1.0)  # at the exit; a stream does not end by itself
app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/mcp": mounted})


@app.get("/")
def index() -> str:
    return PAGE.replace("{sessions}", str(len(sessions)))


if __name__ == "__main__":
    app.run(port=int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
