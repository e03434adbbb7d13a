"""The site in Pyramid."""

from typing import Any

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPSeeOther
from pyramid.response import FileResponse, Response

from tests.servers import files, wsgi_common


def index(request: Any) -> Response:
    return Response("index", content_type="text/plain")


def raw(request: Any) -> Response:
    return Response(json_body=wsgi_common.read_in_pieces(request.body_file))


def cookies(request: Any) -> Response:
    visits = str(int(request.cookies["visits"]) + 1)
    response = Response(f"{visits} {request.cookies['other']}")
    response.set_cookie("visits", visits)
    response.set_cookie("other", "1")
    return response


def stream(request: Any) -> Response:
    return Response(app_iter=iter(wsgi_common.LINES), content_type="text/plain")


def events(request: Any) -> Response:
    return Response(app_iter=wsgi_common.events(request.GET["gate"]), content_type="text/event-stream")


def endless(request: Any) -> Response:
    return Response(app_iter=wsgi_common.endless(request.GET["gate"]))


def wait(request: Any) -> Response:
    return Response(wsgi_common.wait(request.environ, request.GET["gate"]))


def half(request: Any) -> Response:
    return Response(wsgi_common.half(request.body_file, request.GET["gate"]))


def text(request: Any) -> Response:
    response = Response(files.TEXT, content_type="text/plain", vary="Accept-Encoding")
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        response.encode_content("gzip")
    return response


def file(request: Any) -> Response:
    response = FileResponse(files.FILE, request, content_type="application/octet-stream")
    response.conditional_response = True
    return response


def redirect(request: Any) -> Response:
    return HTTPSeeOther(request.route_url("index"))


def cafe(request: Any) -> Response:
    return Response(f"{request.matchdict['name']} {request.GET['q']}")


with Configurator() as config:
    for path, view in {
        "/": index,
        "/raw": raw,
        "/cookies": cookies,
        "/stream": stream,
        "/events": events,
        "/endless": endless,
        "/wait": wait,
        "/half": half,
        "/text": text,
        "/files/file.bin": file,
        "/redirect": redirect,
        "/caf\u00e9/{name}": cafe,
    }.items():
        config.add_route(view.__name__, path)
        config.add_view(view, route_name=view.__name__)
    app = config.make_wsgi_app()
