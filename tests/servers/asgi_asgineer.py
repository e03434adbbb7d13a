"""The site in Asgineer, which is one function. It takes forms apart itself, and knows no state."""

import asyncio
import email
from typing import Any
from urllib.parse import parse_qsl

import asgineer

from tests.servers import asgi_common, files

tasks: set[asyncio.Task[None]] = set()
CAFE = "/caf\u00e9/"


@asgineer.to_asgi
async def app(request: Any) -> Any:
    # request.path has the root twice
    path = request.scope["path"].removeprefix(request.scope["root_path"])
    if path.startswith(CAFE):
        return f"{path.removeprefix(CAFE)} {request.querydict['q']}"
    return await PAGES.get(path, nowhere)(request)


async def nowhere(request: Any) -> Any:
    return 404, {}, "not found"


async def index(request: Any) -> Any:
    return "index"


async def form(request: Any) -> Any:
    return dict(parse_qsl((await request.get_body()).decode()))


async def upload(request: Any) -> Any:
    head = f"Content-Type: {request.headers['content-type']}\n\n".encode()
    message: Any = email.message_from_bytes(head + await request.get_body())
    return asgi_common.facts(message.get_payload()[0].get_payload(decode=True))


async def raw(request: Any) -> Any:
    return await asgi_common.read_in_pieces(request.iter_body())


async def cookies(request: Any) -> Any:
    given = dict(pair.split("=") for pair in request.headers["cookie"].split("; "))
    visits = int(given["visits"]) + 1
    # Headers are a dictionary here: one cookie and no more
    return {"set-cookie": f"visits={visits}"}, f"{visits} {given['other']}"


async def stream(request: Any) -> Any:
    return {"content-type": "text/plain"}, asgi_common.lines()


async def events(request: Any) -> Any:
    return {"content-type": "text/event-stream"}, asgi_common.events(request.querydict["gate"])


async def endless(request: Any) -> Any:
    return asgi_common.endless(request.querydict["gate"])


async def wait(request: Any) -> Any:
    return await asgi_common.wait(request.querydict["gate"])


async def half(request: Any) -> Any:
    return await asgi_common.half(request.iter_body(), request.querydict["gate"])


async def text(request: Any) -> Any:
    return files.text(request.headers.get("accept-encoding"))


async def file(request: Any) -> Any:
    return files.file(request.headers.get("range"), request.headers.get("if-none-match"))


async def background(request: Any) -> Any:
    task = asyncio.create_task(asgi_common.background(request.querydict["gate"]))
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return "answered"


async def error(request: Any) -> Any:
    raise RuntimeError("provoked")


async def redirect(request: Any) -> Any:
    return 303, {"location": request.scope["root_path"] + "/"}, ""


PAGES = {
    "/": index,
    "/form": form,
    "/upload": upload,
    "/raw": raw,
    "/cookies": cookies,
    "/stream": stream,
    "/events": events,
    "/endless": endless,
    "/wait": wait,
    "/half": half,
    "/text": text,
    "/files/file.bin": file,
    "/background": background,
    "/error": error,
    "/redirect": redirect,
}
