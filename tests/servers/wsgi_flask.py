"""The site in Flask."""

from typing import Any

from flask import Flask, Response, make_response, redirect, request, url_for

from tests.servers import files, wsgi_common

app = Flask(__name__, static_folder=files.FOLDER, static_url_path="/files")


@app.get("/")
def index() -> str:
    return "index"


@app.post("/raw")
def raw() -> dict[str, Any]:
    return wsgi_common.read_in_pieces(request.stream)


@app.get("/cookies")
def cookies() -> Response:
    visits = str(int(request.cookies["visits"]) + 1)
    response = make_response(f"{visits} {request.cookies['other']}")
    response.set_cookie("visits", visits)
    response.set_cookie("other", "1")
    return response


@app.get("/stream")
def stream() -> Response:
    return Response(iter(wsgi_common.LINES), mimetype="text/plain")


@app.get("/events")
def events() -> Response:
    return Response(wsgi_common.events(request.args["gate"]), mimetype="text/event-stream")


@app.get("/endless")
def endless() -> Response:
    return Response(wsgi_common.endless(request.args["gate"]))


@app.get("/wait")
def wait() -> str:
    return wsgi_common.wait(request.environ, request.args["gate"])


@app.post("/half")
def half() -> str:
    return wsgi_common.half(request.stream, request.args["gate"])


@app.get("/text")
def text() -> Response:
    status, headers, content = files.text(request.headers.get("Accept-Encoding"))
    return Response(content, status, headers)


@app.get("/redirect")
def redirects() -> Any:
    return redirect(url_for("index"), 303)


@app.get("/caf\u00e9/<name>")
def cafe(name: str) -> str:
    return f"{name} {request.args['q']}"
