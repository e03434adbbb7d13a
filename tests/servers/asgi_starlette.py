"""The site in Starlette."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from tests.servers import asgi_common, files


async def index(request: Request) -> PlainTextResponse:
    return PlainTextResponse("index")


async def form(request: Request) -> JSONResponse:
    async with request.form() as fields:
        return JSONResponse(dict(fields))


async def upload(request: Request) -> JSONResponse:
    async with request.form() as fields:
        file: Any = fields["file"]
        return JSONResponse(asgi_common.facts(await file.read()))


async def raw(request: Request) -> JSONResponse:
    return JSONResponse(await asgi_common.read_in_pieces(request.stream()))


async def cookies(request: Request) -> PlainTextResponse:
    visits = str(int(request.cookies["visits"]) + 1)
    response = PlainTextResponse(f"{visits} {request.cookies['other']}")
    response.set_cookie("visits", visits)
    response.set_cookie("other", "1")
    return response


async def stream(request: Request) -> StreamingResponse:
    return StreamingResponse(asgi_common.lines(), media_type="text/plain")


async def events(request: Request) -> StreamingResponse:
    return StreamingResponse(asgi_common.events(request.query_params["gate"]), media_type="text/event-stream")


async def endless(request: Request) -> StreamingResponse:
    return StreamingResponse(asgi_common.endless(request.query_params["gate"]))


async def wait(request: Request) -> PlainTextResponse:
    return PlainTextResponse(await asgi_common.wait(request.query_params["gate"]))


async def half(request: Request) -> PlainTextResponse:
    return PlainTextResponse(await asgi_common.half(request.stream(), request.query_params["gate"]))


async def text(request: Request) -> PlainTextResponse:
    return PlainTextResponse(files.TEXT)


async def background(request: Request) -> PlainTextResponse:
    task = BackgroundTask(asgi_common.background, request.query_params["gate"])
    return PlainTextResponse("answered", background=task)


async def state(request: Request) -> JSONResponse:
    return JSONResponse(request.state.started.shown())


async def error(request: Request) -> PlainTextResponse:
    raise RuntimeError("provoked")


async def redirect(request: Request) -> RedirectResponse:
    return RedirectResponse(request.url_for("index"), 303)


async def cafe(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{request.path_params['name']} {request.query_params['q']}")


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
    yield {"started": asgi_common.Started()}


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/", index, name="index"),
        Route("/form", form, methods=["POST"]),
        Route("/upload", upload, methods=["POST"]),
        Route("/raw", raw, methods=["POST"]),
        Route("/cookies", cookies),
        Route("/stream", stream),
        Route("/events", events),
        Route("/endless", endless),
        Route("/wait", wait),
        Route("/half", half, methods=["POST"]),
        Route("/text", text, middleware=[Middleware(GZipMiddleware)]),
        Mount("/files", StaticFiles(directory=files.FOLDER)),
        Route("/background", background),
        Route("/state", state),
        Route("/error", error),
        Route("/redirect", redirect),
        Route("/caf\u00e9/{name}", cafe),
    ],
)
