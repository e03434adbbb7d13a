"""The site in FastAPI."""

import contextlib
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import BackgroundTasks, Cookie, FastAPI, Form, Header, Request, Response, UploadFile
from fastapi.responses import PlainTextResponse, RedirectResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles

from tests.servers import asgi_common, files


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    yield {"started": asgi_common.Started()}


app = FastAPI(lifespan=lifespan)
app.mount("/files", StaticFiles(directory=files.FOLDER))


@app.api_route("/", methods=["GET", "HEAD"], response_class=PlainTextResponse)
def index() -> str:  # a plain function: FastAPI calls it on a thread
    return "index"


@app.post("/form")
async def form(a: Annotated[str, Form()], b: Annotated[str, Form()]) -> dict[str, Any]:
    return {"a": a, "b": b}


@app.post("/upload")
async def upload(file: UploadFile) -> dict[str, Any]:
    return asgi_common.facts(await file.read())


@app.post("/raw")
async def raw(request: Request) -> dict[str, Any]:
    return await asgi_common.read_in_pieces(request.stream())


@app.get("/cookies", response_class=PlainTextResponse)
async def cookies(
    visits: Annotated[int, Cookie()], other: Annotated[str, Cookie()], response: Response
) -> str:
    response.set_cookie("visits", str(visits + 1))
    response.set_cookie("other", "1")
    return f"{visits + 1} {other}"


@app.get("/stream")
async def stream() -> StreamingResponse:
    return StreamingResponse(asgi_common.lines(), media_type="text/plain")


@app.get("/events")
async def events(gate: str) -> StreamingResponse:
    return StreamingResponse(asgi_common.events(gate), media_type="text/event-stream")


@app.get("/endless")
async def endless(gate: str) -> StreamingResponse:
    return StreamingResponse(asgi_common.endless(gate))


@app.get("/wait", response_class=PlainTextResponse)
async def wait(gate: str) -> str:
    return await asgi_common.wait(gate)


@app.post("/half", response_class=PlainTextResponse)
async def half(gate: str, request: Request) -> str:
    return await asgi_common.half(request.stream(), gate)


@app.get("/text")
async def text(accept_encoding: Annotated[str | None, Header()] = None) -> Response:
    _, headers, content = files.text(accept_encoding)
    return Response(content, headers=headers)


@app.get("/background", response_class=PlainTextResponse)
async def background(gate: str, tasks: BackgroundTasks) -> str:
    tasks.add_task(asgi_common.background, gate)
    return "answered"


@app.get("/state")
async def state(request: Request) -> dict[str, Any]:
    return request.state.started.shown()


@app.get("/error", response_class=PlainTextResponse)
async def error() -> str:
    raise RuntimeError("provoked")


@app.get("/redirect")
async def redirect(request: Request) -> RedirectResponse:
    return RedirectResponse(request.url_for("index"), 303)


@app.get("/caf\u00e9/{name}", response_class=PlainTextResponse)
async def cafe(name: str, q: str) -> str:
    return f"{name} {q}"
