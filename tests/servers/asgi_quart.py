"""The site in Quart."""

from collections.abc import AsyncIterator
from typing import Any

from quart import Quart, Response, redirect, request, url_for

from tests.servers import asgi_common, files

app = Quart(__name__, static_folder=str(files.FOLDER), static_url_path="/files")
kept: dict[str, asgi_common.Started] = {}


@app.before_serving
async def startup() -> None:
    kept["started"] = asgi_common.Started()


@app.get("/")
async def index() -> str:
    return "index"


@app.post("/form")
async def form() -> dict[str, str]:
    return dict(await request.form)


@app.post("/upload")
async def upload() -> dict[str, Any]:
    file = (await request.files)["file"]
    return asgi_common.facts(file.read())


@app.post("/raw")
async def raw() -> dict[str, Any]:
    return await asgi_common.read_in_pieces(request.body)


@app.get("/cookies")
async def cookies() -> Response:
    visits = str(int(request.cookies["visits"]) + 1)
    response = Response(f"{visits} {request.cookies['other']}")
    response.set_cookie("visits", visits)
    response.set_cookie("other", "1")
    return response


@app.get("/stream")
async def stream() -> AsyncIterator[bytes]:
    return asgi_common.lines()


@app.get("/events")
async def events() -> Response:
    return Response(asgi_common.events(request.args["gate"]), mimetype="text/event-stream")


@app.get("/endless")
async def endless() -> AsyncIterator[bytes]:
    return asgi_common.endless(request.args["gate"])


@app.get("/wait")
async def wait() -> str:
    return await asgi_common.wait(request.args["gate"])


@app.post("/half")
async def half() -> str:
    return await asgi_common.half(request.body, request.args["gate"])


@app.get("/text")
async def text() -> Response:
    status, headers, content = files.text(request.headers.get("Accept-Encoding"))
    return Response(content, status, headers)


@app.get("/background")
async def background() -> str:
    app.add_background_task(asgi_common.background, request.args["gate"])
    return "answered"


@app.get("/state")
async def state() -> dict[str, Any]:
    return kept["started"].shown()


@app.get("/error")
async def error() -> str:
    raise RuntimeError("provoked")


@app.get("/redirect")
async def redirects() -> Any:
    return redirect(url_for("index"), 303)


@app.get("/caf\u00e9/<name>")
def cafe(name: str) -> str:  # a plain function: Quart calls it on a thread
    return f"{name} {request.args['q']}"
