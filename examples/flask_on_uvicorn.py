"""A Flask application of several pages, served by uvicorn through `WsgiToAsgi`.

python examples/flask_on_uvicorn.py [PORT]      port 8000, or that of the variable PORT; 0 takes a free one
"""

import contextlib
import hashlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

import uvicorn
from flask import Flask, Response, render_template_string, request

from asgiadapt import WsgiToAsgi

TOP = """<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }} | Flask on uvicorn</title>
<link rel="icon" href="data:,">
<style>
  :root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
  body { max-width: 40rem; margin: 0 auto; padding: 1rem }
  nav { border-bottom: 1px solid #8888; padding-bottom: .5rem }
  nav a { margin-right: 1rem; white-space: nowrap }
  h1 { font-size: 1.5rem }
  code { overflow-wrap: anywhere }
  li { margin: .3rem 0 }
  dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1rem }
  dd { margin: 0; font-variant-numeric: tabular-nums; min-width: 0 }
  button, input { font: inherit; max-width: 100% }
</style>
<nav>
  <a href="{{ url_for('index') }}">index</a>
  {% for name in pages %}<a href="{{ url_for(name) }}">{{ name }}</a> {% endfor %}
</nav>
<h1>{{ title }}</h1>
"""

PAGES = {
    "upload": "a form that sends a file, of any size",
    "rows": "a page that arrives row by row",
    "events": "server-sent events: the threads at work, each second",
    "slow": "a page that takes two seconds, while others are served",
    "error": "a page that fails",
}

flask_app = Flask(__name__)
ending = threading.Event()  # set when the server is about to end


def page(title: str, body: str, /, **values: object) -> str:
    return render_template_string(TOP + body, title=title, pages=PAGES, **values)


@flask_app.get("/")
def index() -> str:
    body = """
    <p>A synchronous application on an asynchronous server. Its pages:</p>
    <ul>
      {% for name, text in pages.items() %}<li><a href="{{ url_for(name) }}">{{ text }}</a></li>{% endfor %}
    </ul>"""
    return page("Flask on uvicorn", body)


@flask_app.get("/upload")
def upload() -> str:
    body = """
    <form method="post" enctype="multipart/form-data">
      <p><label>A file: <input type="file" name="file" required></label></p><p><button>Send it</button></p>
    </form>"""
    return page("Send a file", body)


@flask_app.post("/upload")
def receive_upload() -> str:
    file = request.files["file"]
    digest, size = hashlib.sha256(), 0
    while chunk := file.read(65536):
        digest.update(chunk)
        size += len(chunk)
    body = """
    <dl><dt>name</dt><dd><code>{{ name }}</code></dd>
    <dt>size</dt><dd>{{ size }} bytes</dd><dt>SHA-256</dt><dd><code>{{ digest }}</code></dd></dl>
    <p><a href="{{ url_for('upload') }}">Send another one</a></p>"""
    return page("Received", body, name=file.filename, size=size, digest=digest.hexdigest())


@flask_app.get("/rows")
def rows() -> Response:
    top = page("Row by row", "<p>Each row leaves as soon as it is made.</p><ol>")

    def parts() -> Iterator[str]:
        yield top
        for number in range(1, 11):
            yield f"<li>row {number}, made at {time.strftime('%X')}</li>\n"
            time.sleep(0.2)
        yield "</ol><p>That was all.</p>"

    return Response(parts())


@flask_app.get("/events")
def events() -> str:
    body = """
    <p>Open <a href="{{ url_for('slow') }}" target="_blank">the slow page</a> in other tabs, and see more
    threads busy.</p>
    <dl><dt>time</dt><dd id="time">…</dd><dt>threads</dt><dd id="threads">…</dd>
    <dt>busy</dt><dd id="busy">…</dd><dt>waiting</dt><dd id="waiting">…</dd></dl>
    <p><button>Stop</button></p>
    <script>
      const source = new EventSource("{{ url_for('ticks') }}");
      source.onmessage = event => {
        for (const [name, value] of Object.entries(JSON.parse(event.data)))
          document.getElementById(name).textContent = value;
      };
      const button = document.querySelector("button");
      button.onclick = () => { source.close(); button.disabled = true; button.textContent = "Stopped"; };
    </script>"""
    return page("Server-sent events", body)


@flask_app.get("/ticks")
def ticks() -> Response:
    disconnected = request.environ["asgiadapt.disconnected"]

    def messages() -> Iterator[str]:
        while not ending.is_set():
            stats = app.pool.stats()
            figures = {"threads": stats.threads, "busy": stats.busy, "waiting": stats.waiting}
            yield f"data: {json.dumps({'time': time.strftime('%X'), **figures})}\n\n"
            # Takes the place of sleeping, and ends the stream at once when the client leaves.
            if disconnected.wait(1):
                return

    return Response(messages(), mimetype="text/event-stream", headers={"Cache-Control": "no-cache"})


@flask_app.get("/slow")
def slow() -> str:
    time.sleep(2)
    return page("Slow", "<p>That took two seconds. Others were served in the meantime.</p>")


@flask_app.get("/error")
def error() -> str:
    raise RuntimeError("this page always fails")


@flask_app.errorhandler(500)
def failed(error: Exception) -> tuple[str, int]:
    return page("That failed", "<p>As it should. The traceback is where the server was started.</p>"), 500


app = WsgiToAsgi(flask_app)


class Server(uvicorn.Server):
    """Lets the application know that the server is about to end: uvicorn waits for open streams."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        ending.set()
        super().handle_exit(sig, frame)


def main() -> None:
    port = int(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("PORT", "8000"))
    listener = socket.create_server(("127.0.0.1", port))
    print(f"Flask on uvicorn: http://127.0.0.1:{listener.getsockname()[1]}/   (Ctrl-C ends it)", flush=True)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5)
    with contextlib.suppress(KeyboardInterrupt):  # which uvicorn raises once it has shut down
        Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
