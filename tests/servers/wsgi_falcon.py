"""The site in Falcon, as WSGI."""

from typing import Any

import falcon

from tests.servers import files, wsgi_common


class Page:
    """A resource whose methods are functions: Falcon wants a class for each."""

    def __init__(self, **methods: Any) -> None:
        for name, function in methods.items():
            setattr(self, f"on_{name}", function)


def index(req: Any, resp: Any) -> None:
    resp.content_type, resp.text = "text/plain", "index"


def raw(req: Any, resp: Any) -> None:
    resp.media = wsgi_common.read_in_pieces(req.stream)


def cookies(req: Any, resp: Any) -> None:
    visits = str(int(req.cookies["visits"]) + 1)
    resp.set_cookie("visits", visits, secure=False)
    resp.set_cookie("other", "1", secure=False)
    resp.content_type, resp.text = "text/plain", f"{visits} {req.cookies['other']}"


def stream(req: Any, resp: Any) -> None:
    resp.content_type, resp.stream = "text/plain", iter(wsgi_common.LINES)


def events(req: Any, resp: Any) -> None:
    resp.content_type, resp.stream = "text/event-stream", wsgi_common.events(req.get_param("gate"))


def endless(req: Any, resp: Any) -> None:
    resp.stream = wsgi_common.endless(req.get_param("gate"))


def wait(req: Any, resp: Any) -> None:
    resp.content_type, resp.text = "text/plain", wsgi_common.wait(req.env, req.get_param("gate"))


def half(req: Any, resp: Any) -> None:
    resp.content_type, resp.text = "text/plain", wsgi_common.half(req.stream, req.get_param("gate"))


def text(req: Any, resp: Any) -> None:
    _, headers, resp.data = files.text(req.get_header("Accept-Encoding"))
    resp.set_headers(headers)


def redirect(req: Any, resp: Any) -> None:
    raise falcon.HTTPSeeOther(req.root_path + "/")


def cafe(req: Any, resp: Any, name: str) -> None:
    resp.content_type, resp.text = "text/plain", f"{name} {req.get_param('q')}"


app: Any = falcon.App()
app.add_route("/", Page(get=index))
app.add_route("/raw", Page(post=raw))
app.add_route("/cookies", Page(get=cookies))
app.add_route("/stream", Page(get=stream))
app.add_route("/events", Page(get=events))
app.add_route("/endless", Page(get=endless))
app.add_route("/wait", Page(get=wait))
app.add_route("/half", Page(post=half))
app.add_route("/text", Page(get=text))
app.add_route("/redirect", Page(get=redirect))
app.add_route("/caf\u00e9/{name}", Page(get=cafe))
app.add_static_route("/files", files.FOLDER)
