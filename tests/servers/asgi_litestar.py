"""The site in Litestar."""

from typing import Annotated, Any

from litestar import HttpMethod, Litestar, Request, Response, get, post, route
from litestar.params import Parameter
from litestar.response import Redirect, ServerSentEvent, Stream

from tests.servers import asgi_common, files


@get("/", media_type="text/plain", name="index")
async def index() -> str:
    return "index"


@post("/raw", status_code=200)
async def raw(request: Request[Any, Any, Any]) -> dict[str, Any]:
    return await asgi_common.read_in_pieces(request.stream())


@get("/cookies", media_type="text/plain")
async def cookies(
    visits: Annotated[int, Parameter(cookie="visits")], other: Annotated[str, Parameter(cookie="other")]
) -> Response[str]:
    response = Response(f"{visits + 1} {other}")
    response.set_cookie("visits", str(visits + 1))
    response.set_cookie("other", "1")
    return response


@get("/stream")
async def stream() -> Stream:
    return Stream(asgi_common.lines(), media_type="text/plain")


@get("/events")
async def events(gate: str) -> ServerSentEvent:
    return ServerSentEvent(_events(gate))


async def _events(port: str) -> Any:
    async for event in asgi_common.events(port):
        yield event.decode().removeprefix("data: ").strip()


@get("/endless")
async def endless(gate: str) -> Stream:
    return Stream(asgi_common.endless(gate))


@get("/wait", media_type="text/plain")
async def wait(gate: str) -> str:
    return await asgi_common.wait(gate)


@post("/half", media_type="text/plain", status_code=200)
async def half(gate: str, request: Request[Any, Any, Any]) -> str:
    return await asgi_common.half(request.stream(), gate)


@get("/text")
async def text(request: Request[Any, Any, Any]) -> Response[bytes]:
    status, headers, content = files.text(request.headers.get("accept-encoding"))
    return Response(content, status_code=status, headers=headers, media_type=headers["Content-Type"])


@route("/files/file.bin", http_method=[HttpMethod.GET, HttpMethod.HEAD])
async def file(request: Request[Any, Any, Any]) -> Response[bytes]:
    status, headers, content = files.file(request.headers.get("range"), request.headers.get("if-none-match"))
    return Response(content, status_code=status, headers=headers, media_type="application/octet-stream")


@get("/redirect")
async def redirect(request: Request[Any, Any, Any]) -> Redirect:
    return Redirect(str(request.url_for("index")), status_code=303)


@get("/caf\u00e9/{name:str}", media_type="text/plain")
async def cafe(name: str, q: str) -> str:
    return f"{name} {q}"


app = Litestar(
    [index, raw, cookies, stream, events, endless, wait, half, text, file, redirect, cafe],
    # Its thread is started here, and waited for at the exit: in vain, where uWSGI has forked in between
    logging_config=None,
    openapi_config=None,
)
