"""The site in Django, whose views are asynchronous but for the first. Django knows no lifespan."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse, StreamingHttpResponse
from django.urls import path, reverse
from django.views.decorators.gzip import gzip_page

from tests.servers import asgi_common, files

tasks: set[asyncio.Task[None]] = set()


def index(request: HttpRequest) -> HttpResponse:
    return HttpResponse("index")


async def form(request: HttpRequest) -> HttpResponse:
    return JsonResponse(request.POST.dict())


async def upload(request: HttpRequest) -> HttpResponse:
    return JsonResponse(asgi_common.facts(request.FILES["file"].read()))


async def raw(request: HttpRequest) -> HttpResponse:
    return JsonResponse(asgi_common.facts(request.read()))


async def cookies(request: HttpRequest) -> HttpResponse:
    visits = str(int(request.COOKIES["visits"]) + 1)
    response = HttpResponse(f"{visits} {request.COOKIES['other']}")
    response.set_cookie("visits", visits)
    response.set_cookie("other", "1")
    return response


async def stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(asgi_common.lines(), content_type="text/plain")


async def events(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(asgi_common.events(request.GET["gate"]), content_type="text/event-stream")


async def endless(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(asgi_common.endless(request.GET["gate"]))


async def wait(request: HttpRequest) -> HttpResponse:
    return HttpResponse(await asgi_common.wait(request.GET["gate"]))


async def half(request: HttpRequest) -> HttpResponse:
    async def pieces() -> AsyncIterator[bytes]:
        while piece := request.read(10_000):
            yield piece

    return HttpResponse(await asgi_common.half(pieces(), request.GET["gate"]))


@gzip_page
async def text(request: HttpRequest) -> HttpResponse:
    return HttpResponse(files.TEXT, content_type="text/plain")


async def file(request: HttpRequest) -> HttpResponse:
    status, headers, content = files.file(request.headers.get("Range"), request.headers.get("If-None-Match"))
    return HttpResponse(content, status=status, headers=headers)


async def background(request: HttpRequest) -> HttpResponse:
    task = asyncio.create_task(asgi_common.background(request.GET["gate"]))
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return HttpResponse("answered")


async def error(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("provoked")


async def redirect(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect(reverse("index"))


async def cafe(request: HttpRequest, name: str) -> HttpResponse:
    return HttpResponse(f"{name} {request.GET['q']}")


urlpatterns: list[Any] = [
    path("", index, name="index"),
    path("form", form),
    path("upload", upload),
    path("raw", raw),
    path("cookies", cookies),
    path("stream", stream),
    path("events", events),
    path("endless", endless),
    path("wait", wait),
    path("half", half),
    path("text", text),
    path("files/file.bin", file),
    path("background", background),
    path("error", error),
    path("redirect", redirect),
    path("caf\u00e9/<name>", cafe),
]

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATA_UPLOAD_MAX_MEMORY_SIZE=None,
    MIDDLEWARE=[],
    ROOT_URLCONF=__name__,
    SECRET_KEY="for tests only",
)
django.setup()
app = get_asgi_application()
