"""The pages as an ASGI application behind `AsgiToWsgi`."""

import asyncio
import os
import tempfile
import threading
import time
import zlib
from typing import Any

from asgiadapt import AsgiToWsgi
from tests.soak import inside
from tests.soak.pages import (
    ASGI_BREACHES,
    CHUNK,
    LIMIT_SECONDS,
    Flood,
    OnPurposeError,
    chunks_of,
    event,
    hello,
    receipt,
)

_PLAIN = [(b"content-type", b"application/octet-stream")]
_BREACHES = list(ASGI_BREACHES)
_BACKGROUND_SECONDS = 0.02


def _framed(size: int) -> list[tuple[bytes, bytes]]:
    return [*_PLAIN, (b"content-length", b"%d" % size)]


async def _start(send: Any, headers: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def _body(send: Any, body: Any, *, more: bool = False) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def _hello(number: int, _receive: Any, send: Any) -> None:
    body = hello(number)
    # Each second one without a length: the server makes it a chunked answer.
    await _start(send, _framed(len(body)) if number % 2 else _PLAIN)
    await _body(send, body)


class _ClientHasLeft(Exception):
    """Amid its upload."""


async def _pieces(receive: Any) -> Any:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientHasLeft
        yield message["body"]
        more = message["more_body"]


async def _post(number: int, receive: Any, send: Any) -> None:
    body = b"".join([piece async for piece in _pieces(receive)])
    await _start(send, _PLAIN)
    await _body(send, hello(number), more=True)
    await _body(send, body)


async def _wait(number: int, receive: Any, send: Any, milliseconds: int) -> None:
    await asyncio.sleep(milliseconds / 1000)
    await _hello(number, receive, send)


async def _background(number: int, receive: Any, send: Any) -> None:
    """Goes on after its response."""
    await _hello(number, receive, send)
    await asyncio.sleep(_BACKGROUND_SECONDS)
    journal.note(inside.BACKGROUND_DONE, number)


async def _upload(number: int, receive: Any, send: Any) -> None:
    size = checksum = 0
    async for piece in _pieces(receive):
        size += len(piece)
        checksum = zlib.crc32(piece, checksum)
    await _start(send, _PLAIN)
    await _body(send, receipt(number, size, checksum))


async def _download(number: int, _receive: Any, send: Any, size: int, framed: int) -> None:
    await _start(send, _framed(size) if framed else _PLAIN)
    for chunk in chunks_of(number, size):
        await _body(send, chunk, more=True)
    await _body(send, b"")


async def _flood(_number: int, _receive: Any, send: Any, mebibytes: int) -> None:
    await _start(send, _PLAIN)
    for chunk in Flood(mebibytes):
        await _body(send, chunk, more=True)
    await _body(send, b"")


async def _events(number: int, receive: Any, send: Any, count: int, ms: int) -> None:
    """Listens for the client's leaving beside sending, as frameworks do."""
    await receive()
    leaving = asyncio.ensure_future(receive())
    try:
        await _start(send, [(b"content-type", b"text/event-stream")])
        for index in range(count):
            await _body(send, event(number, index), more=True)
            await asyncio.sleep(ms / 1000)
        await _body(send, b"")
    finally:
        leaving.cancel()


async def _spool(_number: int, receive: Any, send: Any) -> None:
    """Gives back what was uploaded, from a file that the server sends."""
    handle, path = tempfile.mkstemp(prefix=f"{os.getpid()}-")
    try:
        with open(handle, "wb", buffering=0) as file:
            async for piece in _pieces(receive):
                view = memoryview(piece)
                while view:
                    view = view[file.write(view) :]
        await _start(send, _PLAIN)
        await send({"type": "http.response.pathsend", "path": path})
    finally:
        os.unlink(path)


async def _memory(number: int, receive: Any, send: Any, mebibytes: int) -> None:
    len(bytes(mebibytes << 20))  # which touches none of it
    await _hello(number, receive, send)


async def _stall(number: int, receive: Any, send: Any, milliseconds: int) -> None:
    time.sleep(milliseconds / 1000)  # as code does that was taken for asynchronous
    await _hello(number, receive, send)


async def _fail_before(_number: int, _receive: Any, send: Any) -> None:
    await _start(send, _PLAIN)
    raise OnPurposeError("before the response")


async def _fail_amid(number: int, _receive: Any, send: Any, size: int, framed: int) -> None:
    await _start(send, _framed(size + 1) if framed else _PLAIN)
    for chunk in chunks_of(number, size):
        await _body(send, chunk, more=True)
    raise OnPurposeError("amid the response")


async def _fail_after(number: int, receive: Any, send: Any) -> None:
    await _hello(number, receive, send)
    raise OnPurposeError("after the response")


async def _breach(number: int, _receive: Any, send: Any, index: int) -> None:
    breach = _BREACHES[index]
    if breach == "lets out a CancelledError":
        raise asyncio.CancelledError
    if breach == "sends nothing":
        return
    if breach == "does not start":
        await _body(send, b"body")
    elif breach == "has a line break in a header":
        await _start(send, [(b"x-field", b"a\r\nb: c")])
        await _body(send, b"body")
    elif breach == "ends short of its length":
        await _start(send, _framed(CHUNK * 3))
        await _body(send, next(chunks_of(number, CHUNK)), more=True)
        await _body(send, b"")
    elif breach == "goes on past its length":
        await _start(send, _framed(4))
        await _body(send, hello(number))
    elif breach == "starts twice":
        await _start(send, _PLAIN)
        await _start(send, _PLAIN)
    elif breach == "sends text":
        await _start(send, _PLAIN)
        await _body(send, "text")
    else:
        await _start(send, _PLAIN)
        await _body(send, bytes(CHUNK), more=True)
        if breach == "sends a type of WebSockets amid the body":
            await send({"type": "websocket.send", "bytes": b""})


_PAGES = {
    "/hello": _hello,
    "/post": _post,
    "/wait": _wait,
    "/background": _background,
    "/upload": _upload,
    "/download": _download,
    "/flood": _flood,
    "/events": _events,
    "/spool": _spool,
    "/memory": _memory,
    "/stall": _stall,
    "/fail_before": _fail_before,
    "/fail_amid": _fail_amid,
    "/fail_after": _fail_after,
    "/breach": _breach,
}


async def _lifespan(receive: Any, send: Any) -> None:
    await receive()
    journal.note(inside.STARTED_UP)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    journal.note(inside.SHUT_DOWN)
    await send({"type": "lifespan.shutdown.complete"})


_loop: asyncio.AbstractEventLoop | None = None


async def application(scope: Any, receive: Any, send: Any) -> None:
    global _loop
    _loop = asyncio.get_running_loop()
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    number, *arguments = map(int, scope["query_string"].split(b","))
    journal.note(inside.ENTERED, number)
    try:
        await _PAGES[scope["path"]](number, receive, send, *arguments)
    except _ClientHasLeft:
        pass
    finally:
        journal.note(inside.LEFT, number)


def _figures() -> dict[str, Any]:
    of_server = [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")]
    return {"of a pool": len(of_server), **inside.tasks_of(_loop)}


journal = inside.begin(_figures)
app = AsgiToWsgi(application, startup_timeout=LIMIT_SECONDS, shutdown_timeout=LIMIT_SECONDS)
