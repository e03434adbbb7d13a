"""The site in Bottle."""

from typing import Any

from bottle import Bottle, HTTPResponse, redirect, request, response, static_file

from tests.servers import files, wsgi_common

app = Bottle()


@app.get("/", name="index")
def index() -> str:
    return "index"


@app.post("/raw")
def raw() -> dict[str, Any]:
    # request.body is a file that Bottle has read to its end
    return wsgi_common.read_in_pieces(request.environ["wsgi.input"])


@app.get("/cookies")
def cookies() -> str:
    visits = str(int(request.get_cookie("visits")) + 1)
    response.set_cookie("visits", visits)
    response.set_cookie("other", "1")
    return f"{visits} {request.get_cookie('other')}"


@app.get("/stream")
def stream() -> Any:
    response.content_type = "text/plain"
    return iter(wsgi_common.LINES)


@app.get("/events")
def events() -> Any:
    response.content_type = "text/event-stream"
    return wsgi_common.events(request.query["gate"])


@app.get("/endless")
def endless() -> Any:
    return wsgi_common.endless(request.query["gate"])


@app.get("/wait")
def wait() -> str:
    return wsgi_common.wait(request.environ, request.query["gate"])


@app.post("/half")
def half() -> str:
    return wsgi_common.half(request.environ["wsgi.input"], request.query["gate"])


@app.get("/text")
def text() -> Any:
    status, headers, content = files.text(request.get_header("Accept-Encoding"))
    return HTTPResponse(content, status, headers)


@app.get("/files/<name>")
def file(name: str) -> Any:
    return static_file(name, root=str(files.FOLDER))


@app.get("/redirect")
def redirects() -> None:
    redirect(app.get_url("index"), 303)


@app.get("/caf\u00e9/<name>")
def cafe(name: str) -> str:
    return f"{name} {request.query.q}"
