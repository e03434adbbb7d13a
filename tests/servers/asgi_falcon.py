"""The site in Falcon, as ASGI."""

from typing import Any

import falcon.asgi

from tests.servers import asgi_common, files


class Page:
    """A resource whose methods are functions: Falcon wants a class for each."""

    def __init__(self, **methods: Any) -> None:
        for name, function in methods.items():
            setattr(self, f"on_{name}", function)


async def index(req: Any, resp: Any) -> None:
    resp.content_type, resp.text = "text/plain", "index"


async def raw(req: Any, resp: Any) -> None:
    resp.media = await asgi_common.read_in_pieces(req.stream)


async def cookies(req: Any, resp: Any) -> None:
    visits = str(int(req.cookies["visits"]) + 1)
    resp.set_cookie("visits", visits, secure=False)
    resp.set_cookie("other", "1", secure=False)
    resp.content_type, resp.text = "text/plain", f"{visits} {req.cookies['other']}"


async def stream(req: Any, resp: Any) -> None:
    resp.content_type, resp.stream = "text/plain", asgi_common.lines()


async def events(req: Any, resp: Any) -> None:
    resp.content_type, resp.stream = "text/event-stream", asgi_common.events(req.get_param("gate"))


async def endless(req: Any, resp: Any) -> None:
    resp.stream = asgi_common.endless(req.get_param("gate"))


async def wait(req: Any, resp: Any) -> None:
    resp.content_type, resp.text = "text/plain", await asgi_common.wait(req.get_param("gate"))


async def half(req: Any, resp: Any) -> None:
    resp.content_type, resp.text = "text/plain", await asgi_common.half(req.stream, req.get_param("gate"))


async def text(req: Any, resp: Any) -> None:
    _, headers, resp.data = files.text(req.get_header("Accept-Encoding"))
    resp.set_headers(headers)


async def redirect(req: Any, resp: Any) -> None:
    raise falcon.HTTPSeeOther(req.scope["mounted"] + "/")


async def cafe(req: Any, resp: Any, name: str) -> None:
    resp.content_type, resp.text = "text/plain", f"{name} {req.get_param('q')}"


site: Any = falcon.asgi.App()
site.add_route("/", Page(get=index))
site.add_route("/raw", Page(post=raw))
site.add_route("/cookies", Page(get=cookies))
site.add_route("/stream", Page(get=stream))
site.add_route("/events", Page(get=events))
site.add_route("/endless", Page(get=endless))
site.add_route("/wait", Page(get=wait))
site.add_route("/half", Page(post=half))
site.add_route("/text", Page(get=text))
site.add_route("/redirect", Page(get=redirect))
site.add_route("/caf\u00e9/{name}", Page(get=cafe))
site.add_static_route("/files", files.FOLDER)
app = asgi_common.without_root(site)
