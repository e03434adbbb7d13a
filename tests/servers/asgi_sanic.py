"""The site in Sanic."""

from typing import Any

from sanic import Request, Sanic
from sanic.response import HTTPResponse, empty, json, raw, redirect, text

from tests.servers import asgi_common, files

sanic = Sanic("site", configure_logging=False)
sanic.static("/files", files.FOLDER, use_content_range=True)
sanic.config.MOTD = False  # it runs a program, which gevent's subprocess does on the main thread alone


@sanic.before_server_start
async def startup(app: Any) -> None:
    app.ctx.started = asgi_common.Started()


@sanic.get("/", name="index")
async def index(request: Request) -> HTTPResponse:
    return text("index")


@sanic.head("/")
async def index_head(request: Request) -> HTTPResponse:
    return empty(200)


@sanic.post("/form")
async def form(request: Request) -> HTTPResponse:
    assert request.form is not None
    return json({name: values[0] for name, values in request.form.items()})


@sanic.post("/upload")
async def upload(request: Request) -> HTTPResponse:
    assert request.files is not None
    return json(asgi_common.facts(request.files["file"][0].body))


@sanic.post("/raw", stream=True)
async def body(request: Request) -> HTTPResponse:
    assert request.stream is not None
    return json(await asgi_common.read_in_pieces(request.stream.__aiter__()))


@sanic.get("/cookies")
async def cookies(request: Request) -> HTTPResponse:
    visits = str(int(request.cookies.get("visits", "")) + 1)
    response = text(f"{visits} {request.cookies.get('other')}")
    response.add_cookie("visits", visits, secure=False)
    response.add_cookie("other", "1", secure=False)
    return response


@sanic.get("/stream")
async def stream(request: Request) -> None:
    await _streamed(request, asgi_common.lines(), "text/plain")


@sanic.get("/events")
async def events(request: Request) -> None:
    await _streamed(request, asgi_common.events(request.args["gate"][0]), "text/event-stream")


@sanic.get("/endless")
async def endless(request: Request) -> None:
    await _streamed(request, asgi_common.endless(request.args["gate"][0]), "text/plain")


async def _streamed(request: Request, pieces: Any, content_type: str) -> None:
    response = await request.respond(content_type=content_type)
    async for piece in pieces:
        await response.send(piece)
    await response.eof()


@sanic.get("/wait")
async def wait(request: Request) -> HTTPResponse:
    return text(await asgi_common.wait(request.args["gate"][0]))


@sanic.post("/half", stream=True)
async def half(request: Request) -> HTTPResponse:
    assert request.stream is not None
    return text(await asgi_common.half(request.stream.__aiter__(), request.args["gate"][0]))


@sanic.get("/text")
async def long_text(request: Request) -> HTTPResponse:
    status, headers, content = files.text(request.headers.get("accept-encoding"))
    return raw(content, status, headers)


@sanic.get("/background")
async def background(request: Request) -> HTTPResponse:
    request.app.add_task(asgi_common.background(request.args["gate"][0]))
    return text("answered")


@sanic.get("/state")
async def state(request: Request) -> HTTPResponse:
    return json(request.app.ctx.started.shown())


@sanic.get("/error")
async def error(request: Request) -> HTTPResponse:
    raise RuntimeError("provoked")


@sanic.get("/redirect")
async def redirects(request: Request) -> HTTPResponse:
    # url_for() knows no root_path
    return redirect(request.scope["mounted"] + request.app.url_for("index"), status=303)


@sanic.get("/caf\u00e9/<name>", unquote=True)
async def cafe(request: Request, name: str) -> HTTPResponse:
    return text(f"{name} {request.args['q'][0]}")


app = asgi_common.without_root(sanic)
