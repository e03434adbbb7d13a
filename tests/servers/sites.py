"""The same site three times: in Flask, in Django, and in plain WSGI. Served by the real servers.

Every site has ``/state`` and what it shows; ``/signal`` lets a stream go on that waits for the client.
"""

import hashlib
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django
from django import http
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.urls import path
from flask import Flask, Response, make_response, redirect, request, send_file, session, url_for

from tests.conformance import wire_rows
from tests.validated import WsgiToAsgi

WORKERS = 110
OVERLAP = 100

overlap = threading.Barrier(OVERLAP)
signals = {"go": threading.Event()}
counts = {"opened": 0, "closed": 0, "broken_uploads": 0}
started: list[str] = []
_lock = threading.Lock()

FILE = Path(tempfile.gettempdir()) / f"asgiadapt-site-{os.getuid()}.bin"
FILE.write_bytes(bytes(range(256)) * 1000)


def count(what: str) -> None:
    with _lock:
        counts[what] += 1


def state(adapter: WsgiToAsgi) -> dict[str, Any]:
    stats = adapter.pool.stats()
    return {**counts, "busy": stats.busy, "waiting": stats.waiting, "started": started}


class Events:
    """A stream of server-sent events that counts its close(), and waits for a signal or the client."""

    def __init__(self, disconnected: Any) -> None:
        count("opened")
        self.disconnected = disconnected

    def __iter__(self) -> Iterator[bytes]:
        yield b"data: one\n\n"
        signals["go"].wait(20)
        signals["go"].clear()
        yield b"data: two\n\n"

    def close(self) -> None:
        count("closed")


class Endless(Events):
    """Goes on until the client leaves."""

    def __iter__(self) -> Iterator[bytes]:
        while not self.disconnected.wait(0.01):
            yield b"x" * 10_000


def read_in_pieces(stream: Any) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    try:
        while piece := stream.read(10_000):
            digest.update(piece)
            size += len(piece)
    except OSError:
        count("broken_uploads")
        raise
    return {"size": size, "digest": digest.hexdigest()}


def breaks_off() -> Iterator[bytes]:
    yield b"x" * 1000
    raise RuntimeError("provoked after the first chunk")


# Flask

flask_site = Flask(__name__, static_folder=None)
flask_site.secret_key = "for tests only"


@flask_site.get("/")
def index() -> str:
    return "index"


@flask_site.post("/form")
def form() -> dict[str, str]:
    return dict(request.form)


@flask_site.post("/upload")
def upload() -> dict[str, Any]:
    return read_in_pieces(request.files["file"].stream)


@flask_site.post("/raw")
def raw() -> dict[str, Any]:
    return read_in_pieces(request.stream)


@flask_site.get("/session")
def visit() -> Response:
    session["visits"] = session.get("visits", 0) + 1
    response = make_response(str(session["visits"]))
    response.set_cookie("other", "1")
    return response


@flask_site.get("/stream")
def stream() -> Response:
    return Response(b"%d\n" % number for number in range(1000))


@flask_site.get("/events")
def events() -> Response:
    result = Events(request.environ["asgiadapt.disconnected"])
    return Response(result, mimetype="text/event-stream")


@flask_site.get("/endless")
def endless() -> Response:
    return Response(Endless(request.environ["asgiadapt.disconnected"]))


@flask_site.get("/signal")
def signal() -> str:
    signals["go"].set()
    return "ok"


@flask_site.get("/file")
def file() -> Response:
    return send_file(FILE, mimetype="application/octet-stream")


@flask_site.get("/redirect")
def redirects() -> Any:
    return redirect(url_for("index"))


@flask_site.get("/caf\u00e9/<name>")
def cafe(name: str) -> str:
    return f"{name} {request.args['q']}"


@flask_site.get("/empty")
def empty() -> tuple[str, int]:
    return "", 204


@flask_site.get("/cached")
def cached() -> Response:
    return Response(status=304, headers={"ETag": '"x"'})


@flask_site.get("/error")
def error() -> None:
    raise RuntimeError("provoked")


@flask_site.get("/slow")
def slow() -> str:
    overlap.wait(30)
    return "together"


@flask_site.get("/short")
def short() -> Response:
    return Response(iter([b"x" * 1000]), headers={"Content-Length": "5000"})


@flask_site.get("/breaks")
def breaks() -> Response:
    return Response(breaks_off())


@flask_site.get("/state")
def show_state() -> dict[str, Any]:
    return state(flask)


# Django


def django_session(request: Any) -> Any:
    request.session["visits"] = request.session.get("visits", 0) + 1
    response = http.HttpResponse(str(request.session["visits"]))
    response.set_cookie("other", "1")
    return response


def django_error(request: Any) -> Any:
    raise RuntimeError("provoked")


def django_slow(request: Any) -> Any:
    overlap.wait(30)
    return http.HttpResponse("together")


def django_signal(request: Any) -> Any:
    signals["go"].set()
    return http.HttpResponse("ok")


def django_short(request: Any) -> Any:
    return http.StreamingHttpResponse([b"x" * 1000], headers={"Content-Length": "5000"})


def streams(kind: type[Events], content_type: str) -> Any:
    def view(request: Any) -> Any:
        result = kind(request.environ["asgiadapt.disconnected"])
        return http.StreamingHttpResponse(result, content_type=content_type)

    return view


urlpatterns = [
    path("", lambda request: http.HttpResponse("index"), name="index"),
    path("form", lambda request: http.JsonResponse(request.POST.dict())),
    path("upload", lambda request: http.JsonResponse(read_in_pieces(request.FILES["file"]))),
    path("raw", lambda request: http.JsonResponse(read_in_pieces(request))),
    path("session", django_session),
    path(
        "stream",
        lambda request: http.StreamingHttpResponse(b"%d\n" % number for number in range(1000)),
    ),
    path("events", streams(Events, "text/event-stream")),
    path("endless", streams(Endless, "text/plain")),
    path("signal", django_signal),
    path("file", lambda request: http.FileResponse(FILE.open("rb"))),
    path("redirect", lambda request: http.HttpResponseRedirect("/")),
    path("caf\u00e9/<name>", lambda request, name: http.HttpResponse(f"{name} {request.GET['q']}")),
    path("empty", lambda request: http.HttpResponse(status=204)),
    path("cached", lambda request: http.HttpResponse(status=304, headers={"ETag": '"x"'})),
    path("error", django_error),
    path("slow", django_slow),
    path("short", django_short),
    path("breaks", lambda request: http.StreamingHttpResponse(breaks_off())),
    path("state", lambda request: http.JsonResponse(state(django_))),
]

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATA_UPLOAD_MAX_MEMORY_SIZE=None,
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="for tests only",
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
)
django.setup()


async def note_stop() -> None:
    started.append("stopped")


def adapter(app: Any) -> WsgiToAsgi:
    return WsgiToAsgi(
        app,
        ignore={"scope-client", "scope-server"},  # granian's ports are text
        max_workers=WORKERS,
        on_startup=lambda: started.append("started"),
        on_shutdown=note_stop,
    )


flask = adapter(flask_site)
django_ = adapter(get_wsgi_application())

# The rows that run against the fake, too
rows = adapter(wire_rows.site)
