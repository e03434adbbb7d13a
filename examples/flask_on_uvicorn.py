"""A Flask application of several pages, served by uvicorn through `WsgiToAsgi`.

python examples/flask_on_uvicorn.py [PORT]
"""

import hashlib
import sys
import time
from collections.abc import Iterator

import uvicorn
from flask import Flask, Response, redirect, render_template_string, request, stream_with_context, url_for

from asgiadapt import WsgiToAsgi

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Flask on uvicorn</title>
<style>
  :root { color-scheme: light dark }
  body { font: 1rem/1.5 system-ui, sans-serif; max-width: 42rem; margin: 2rem auto; padding: 0 1rem }
  code { overflow-wrap: anywhere }
  li { margin: .3rem 0 }
</style>
<h1><a href="{{ url_for('index') }}">Flask on uvicorn</a></h1>
{% block body %}{{ body | safe }}{% endblock %}
</html>"""

flask_app = Flask(__name__)


def page(body: str) -> str:
    return render_template_string(PAGE, body=body)


@flask_app.get("/")
def index() -> str:
    pages = {
        "form": "a form with a file upload",
        "stream": "a page that arrives row by row",
        "events": "server-sent events",
        "slow": "a page that takes two seconds",
        "error": "a page that fails",
    }
    items = "".join(f'<li><a href="{url_for(name)}">{text}</a>' for name, text in pages.items())
    return page(f"<p>A synchronous application on an asynchronous server:</p><ul>{items}</ul>")


@flask_app.route("/form", methods=["GET", "POST"])
def form() -> str | Response:
    if request.method == "GET":
        return page(
            '<form method="post" enctype="multipart/form-data"><p><label>A file: '
            '<input type="file" name="file" required></label> <button>Send it</button></form>'
        )
    content = request.files["file"].read()
    digest = hashlib.sha256(content).hexdigest()
    return redirect(url_for("received", size=len(content), digest=digest), 303)  # type: ignore[return-value]


@flask_app.get("/received/<int:size>/<digest>")
def received(size: int, digest: str) -> str:
    return page(f"<p>{size} bytes have come, with the SHA-256 digest <code>{digest}</code>.</p>")


@flask_app.get("/stream")
def stream() -> Response:
    def rows() -> Iterator[str]:
        yield page("<p>Each row leaves as soon as it is made:</p>")
        for number in range(1, 11):
            yield f"<p>row {number}</p>\n"
            time.sleep(0.2)

    return Response(stream_with_context(rows()))


@flask_app.get("/events")
def events() -> str:
    return page(
        '<p>The time on the server: <strong id="time">…</strong></p><script>'
        f'new EventSource("{url_for("ticks")}").onmessage = '
        'event => document.getElementById("time").textContent = event.data</script>'
    )


@flask_app.get("/ticks")
def ticks() -> Response:
    # Waits for the client to leave instead of sleeping, and so ends at once when it does.
    disconnected = request.environ["asgiadapt.disconnected"]

    def messages() -> Iterator[str]:
        yield f"data: {time.strftime('%X')}\n\n"
        while not disconnected.wait(1):
            yield f"data: {time.strftime('%X')}\n\n"

    return Response(messages(), mimetype="text/event-stream")


@flask_app.get("/slow")
def slow() -> str:
    time.sleep(2)
    return page("<p>That took two seconds. Others were served in the meantime.</p>")


@flask_app.get("/error")
def error() -> str:
    raise RuntimeError("this page always fails")


app = WsgiToAsgi(flask_app)

if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    print(f"Flask on uvicorn: http://127.0.0.1:{port}/   (Ctrl-C ends it)", flush=True)
    # Event streams never end by themselves: give them a second at the end, not for ever.
    uvicorn.run(app, port=port, log_level="warning", timeout_graceful_shutdown=1)
