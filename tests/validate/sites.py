"""Sites in real frameworks, each behind the validator; what is broken is written to the output.

The environment's BROKEN_ANYWAY has the ids of rules that are not checked.
"""

import asyncio
import contextlib
import gc
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse, StreamingHttpResponse
from django.urls import path
from fastapi import BackgroundTasks, FastAPI, Request, WebSocket
from fastapi.responses import PlainTextResponse, RedirectResponse, StreamingResponse
from quart import Quart, redirect, request
from quart import Response as QuartResponse
from quart import websocket as quart_websocket
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute

from tests.validated import validator  # it writes each breach to the output


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def numbers() -> AsyncIterator[bytes]:
    for number in range(50):
        yield b"%d\n" % number


async def endless() -> AsyncIterator[bytes]:
    """Goes on until the client leaves, and says so."""
    try:
        while True:
            yield b"x" * 10_000
            await asyncio.sleep(0)
    finally:
        say("the stream was ended")


def afterwards() -> None:
    say("done afterwards")


# Starlette


class OfStarlette:
    """Its views; FastAPI takes them as well."""

    @staticmethod
    async def index(request: Any) -> PlainTextResponse:
        # A stream that was cancelled within send() is part of a cycle, and ends when that is collected.
        gc.collect()
        return PlainTextResponse(f"index of {sorted(request.scope['state'])}")

    @staticmethod
    async def form(request: Any) -> JSONResponse:
        async with request.form() as fields:
            return JSONResponse(dict(fields))

    @staticmethod
    async def size(request: Any) -> PlainTextResponse:
        return PlainTextResponse(str(sum([len(piece) async for piece in request.stream()])))

    @staticmethod
    async def stream(request: Any) -> StreamingResponse:
        return StreamingResponse(numbers())

    @staticmethod
    async def endless(request: Any) -> StreamingResponse:
        return StreamingResponse(endless())

    @staticmethod
    async def empty(request: Any) -> PlainTextResponse:
        return PlainTextResponse(status_code=204)

    @staticmethod
    async def redirects(request: Any) -> RedirectResponse:
        return RedirectResponse("/", 303)

    @staticmethod
    async def fails(request: Any) -> None:
        raise LookupError("provoked")

    @staticmethod
    async def background(request: Any) -> PlainTextResponse:
        return PlainTextResponse("answered", background=BackgroundTask(afterwards))

    @staticmethod
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept("chat" if "chat" in websocket.scope["subprotocols"] else None)
        async for text in websocket.iter_text():
            if text == "bye":
                await websocket.close(3000, "as asked")
                return
            await websocket.send_text(text)
            await websocket.send_bytes(text.encode())

    @staticmethod
    async def refuse(websocket: WebSocket) -> None:
        raise HTTPException(401)


@contextlib.asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
    yield {"kept": object()}


def of_starlette() -> Any:
    views = OfStarlette
    return Starlette(
        lifespan=lifespan,
        routes=[
            Route("/", views.index),
            Route("/form", views.form, methods=["POST"]),
            Route("/size", views.size, methods=["POST"]),
            Route("/stream", views.stream),
            Route("/endless", views.endless),
            Route("/empty", views.empty),
            Route("/redirect", views.redirects),
            Route("/error", views.fails),
            Route("/background", views.background),
            WebSocketRoute("/echo", views.echo),
            WebSocketRoute("/refuse", views.refuse),
        ],
    )


# FastAPI


def of_fastapi() -> Any:
    app = FastAPI(lifespan=lifespan)
    views = OfStarlette

    @app.get("/")
    async def index(request: Request) -> PlainTextResponse:
        return await views.index(request)

    @app.post("/form")
    async def form(request: Request) -> JSONResponse:
        return await views.form(request)

    @app.post("/size")
    async def size(request: Request) -> PlainTextResponse:
        return await views.size(request)

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(numbers())

    @app.get("/endless")
    async def without_end() -> StreamingResponse:
        return StreamingResponse(endless())

    @app.get("/empty", status_code=204)
    def empty() -> None:
        """A plain function: FastAPI calls it on a thread."""

    @app.get("/redirect")
    async def redirects() -> RedirectResponse:
        return RedirectResponse("/", 303)

    @app.get("/error")
    async def fails() -> None:
        raise LookupError("provoked")

    @app.get("/background")
    async def background(tasks: BackgroundTasks) -> str:
        tasks.add_task(afterwards)
        return "answered"

    app.websocket("/echo")(views.echo)
    app.websocket("/refuse")(views.refuse)
    return app


# Quart


def of_quart() -> Any:
    app = Quart(__name__, static_folder=None)

    @app.before_serving
    async def startup() -> None:
        app.config["KEPT"] = True

    @app.get("/")
    async def index() -> str:
        return f"index of {['kept'] if app.config['KEPT'] else []}"

    @app.post("/form")
    async def form() -> Any:
        return dict(await request.form)

    @app.post("/size")
    async def size() -> str:
        total = 0
        async for piece in request.body:
            total += len(piece)
        return str(total)

    @app.get("/stream")
    async def stream() -> Any:
        return numbers()

    @app.get("/endless")
    async def without_end() -> Any:
        return QuartResponse(endless())

    @app.get("/empty")
    async def empty() -> Any:
        return "", 204

    @app.get("/redirect")
    async def redirects() -> Any:
        return redirect("/", 303)

    @app.get("/error")
    async def fails() -> str:
        raise LookupError("provoked")

    @app.get("/background")
    async def background() -> str:
        app.add_background_task(afterwards)
        return "answered"

    @app.websocket("/echo")
    async def echo() -> None:
        await quart_websocket.accept(
            subprotocol="chat" if "chat" in quart_websocket.requested_subprotocols else None
        )
        while (text := await quart_websocket.receive()) != "bye":
            await quart_websocket.send(text)
            await quart_websocket.send(str(text).encode())
        await quart_websocket.close(3000, "as asked")

    @app.websocket("/refuse")
    async def refuse() -> Any:
        return "no", 401

    return app


# Django, which knows neither lifespan nor WebSockets


async def django_index(request: HttpRequest) -> HttpResponse:
    return HttpResponse("index of ['kept']")


async def django_form(request: HttpRequest) -> HttpResponse:
    return JsonResponse(request.POST.dict())


def django_size(request: HttpRequest) -> HttpResponse:
    """A plain function: Django calls it on a thread."""
    return HttpResponse(str(len(request.body)))


async def django_stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(numbers())


async def django_endless(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(endless())


async def django_empty(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=204)


async def django_redirects(request: HttpRequest) -> HttpResponseRedirect:
    response = HttpResponseRedirect("/")
    response.status_code = 303
    return response


async def django_fails(request: HttpRequest) -> HttpResponse:
    raise LookupError("provoked")


async def django_background(request: HttpRequest) -> HttpResponse:
    asyncio.get_running_loop().call_soon(afterwards)
    return HttpResponse("answered")


urlpatterns = [
    path("", django_index),
    path("form", django_form),
    path("size", django_size),
    path("stream", django_stream),
    path("endless", django_endless),
    path("empty", django_empty),
    path("redirect", django_redirects),
    path("error", django_fails),
    path("background", django_background),
]


def of_django() -> Any:
    settings.configure(
        ROOT_URLCONF=__name__,
        SECRET_KEY="test",
        ALLOWED_HOSTS=["*"],
        MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
        LOGGING_CONFIG=None,
        DATA_UPLOAD_MAX_MEMORY_SIZE=None,
    )
    django.setup()
    return get_asgi_application()


FRAMEWORKS = {"starlette": of_starlette, "fastapi": of_fastapi, "quart": of_quart, "django": of_django}
_made = FRAMEWORKS[os.environ["FRAMEWORK"]]() if "FRAMEWORK" in os.environ else None
if _made is not None:
    app = validator(_made, ignore=os.environ.get("BROKEN_ANYWAY", "").split())
