"""The site in Django."""

from typing import Any

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse, StreamingHttpResponse
from django.urls import path, reverse
from django.views.decorators.gzip import gzip_page

from tests.servers import files, wsgi_common


def index(request: HttpRequest) -> HttpResponse:
    return HttpResponse("index")


def raw(request: HttpRequest) -> HttpResponse:
    return JsonResponse(wsgi_common.read_in_pieces(request))


def cookies(request: HttpRequest) -> HttpResponse:
    visits = str(int(request.COOKIES["visits"]) + 1)
    response = HttpResponse(f"{visits} {request.COOKIES['other']}")
    response.set_cookie("visits", visits)
    response.set_cookie("other", "1")
    return response


def stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(iter(wsgi_common.LINES), content_type="text/plain")


def events(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(wsgi_common.events(request.GET["gate"]), content_type="text/event-stream")


def endless(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(wsgi_common.endless(request.GET["gate"]))


def wait(request: HttpRequest) -> HttpResponse:
    return HttpResponse(wsgi_common.wait(request.META, request.GET["gate"]))


def half(request: HttpRequest) -> HttpResponse:
    return HttpResponse(wsgi_common.half(request, request.GET["gate"]))


@gzip_page
def text(request: HttpRequest) -> HttpResponse:
    return HttpResponse(files.TEXT, content_type="text/plain")


def file(request: HttpRequest) -> HttpResponse:
    status, headers, content = files.file(request.headers.get("Range"), request.headers.get("If-None-Match"))
    return HttpResponse(content, status=status, headers=headers)


def redirect(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect(reverse("index"))


def cafe(request: HttpRequest, name: str) -> HttpResponse:
    return HttpResponse(f"{name} {request.GET['q']}")


urlpatterns: list[Any] = [
    path("", index, name="index"),
    path("raw", raw),
    path("cookies", cookies),
    path("stream", stream),
    path("events", events),
    path("endless", endless),
    path("wait", wait),
    path("half", half),
    path("text", text),
    path("files/file.bin", file),
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
app = get_wsgi_application()
