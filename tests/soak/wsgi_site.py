"""The pages as a WSGI application behind `WsgiToAsgi`."""

import asyncio
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from asgiadapt import WsgiToAsgi
from tests.soak import inside
from tests.soak.pages import (
    CHUNK,
    LIMIT_SECONDS,
    WSGI_BREACHES,
    Flood,
    OnPurposeError,
    chunks_of,
    event,
    hello,
    receipt,
)

_PLAIN = [("Content-Type", "application/octet-stream")]
_BREACHES = list(WSGI_BREACHES)


def _framed(size: int) -> list[tuple[str, str]]:
    return [*_PLAIN, ("Content-Length", str(size))]


def _hello(number: int, _environ: Any, start_response: Any) -> Iterable[bytes]:
    body = hello(number)
    # Each second one without a length: the server makes it a chunked answer.
    start_response("200 OK", _framed(len(body)) if number % 2 else _PLAIN)
    return [body]


def _post(number: int, environ: Any, start_response: Any) -> Iterable[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", _PLAIN)
    return [hello(number), body]


def _wait(number: int, environ: Any, start_response: Any, milliseconds: int) -> Iterable[bytes]:
    environ["asgiadapt.disconnected"].wait(milliseconds / 1000)
    return _hello(number, environ, start_response)


def _upload(number: int, environ: Any, start_response: Any) -> Iterable[bytes]:
    size = checksum = 0
    while piece := environ["wsgi.input"].read(CHUNK):
        size += len(piece)
        checksum = zlib.crc32(piece, checksum)
    start_response("200 OK", _PLAIN)
    return [receipt(number, size, checksum)]


def _download(number: int, _environ: Any, start_response: Any, size: int, framed: int) -> Iterable[bytes]:
    start_response("200 OK", _framed(size) if framed else _PLAIN)
    return chunks_of(number, size)


def _flood(_number: int, _environ: Any, start_response: Any, mebibytes: int) -> Iterable[bytes]:
    start_response("200 OK", _PLAIN)
    return Flood(mebibytes)


def _events(number: int, environ: Any, start_response: Any, count: int, ms: int) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/event-stream")])
    for index in range(count):
        yield event(number, index)
        if environ["asgiadapt.disconnected"].wait(ms / 1000):
            return


def _spool(_number: int, environ: Any, start_response: Any) -> Iterable[bytes]:
    """Gives back what was uploaded, from a file."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the wrapper, or here
    try:
        while piece := environ["wsgi.input"].read(CHUNK):
            file.write(piece)
        file.seek(0)
    except BaseException:
        file.raw.close()  # what is buffered cannot be written
        raise
    start_response("200 OK", _PLAIN)
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](file)
    return wrapped


def _memory(number: int, environ: Any, start_response: Any, mebibytes: int) -> Iterable[bytes]:
    len(bytes(mebibytes << 20))  # which touches none of it
    return _hello(number, environ, start_response)


def _fail_before(_number: int, _environ: Any, _start_response: Any) -> Iterable[bytes]:
    raise OnPurposeError("before the response")


def _fail_amid(number: int, _environ: Any, start_response: Any, size: int, framed: int) -> Iterator[bytes]:
    start_response("200 OK", _framed(size + 1) if framed else _PLAIN)
    yield from chunks_of(number, size)
    raise OnPurposeError("amid the response")


class _FailsToClose:
    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._chunks)

    def close(self) -> None:
        raise OnPurposeError("after the response")


def _fail_after(number: int, environ: Any, start_response: Any) -> Iterable[bytes]:
    return _FailsToClose(_hello(number, environ, start_response))


def _breach(number: int, environ: Any, start_response: Any, index: int) -> Any:
    match _BREACHES[index]:
        case "starts twice":
            start_response("200 OK", _PLAIN)
            start_response("200 OK", _PLAIN)
        case "yields text":
            start_response("200 OK", _PLAIN)
            return ["text"]
        case "ends short of its length":
            start_response("200 OK", _framed(CHUNK * 3))
            return chunks_of(number, CHUNK)
        case "goes on past its length":
            body = hello(number)
            start_response("200 OK", _framed(len(body)))
            return [body, b"more"]
        case "has a line break in a header":
            start_response("200 OK", [("X-Field", "a\r\nb: c")])
            return [b"body"]
        case "returns None":
            start_response("200 OK", _PLAIN)
            return None
        case "yields text after bytes":
            start_response("200 OK", _PLAIN)
            return [bytes(CHUNK), "text"]
    return [b"body"]


_PAGES = {
    "/hello": _hello,
    "/post": _post,
    "/wait": _wait,
    "/background": _hello,
    "/upload": _upload,
    "/download": _download,
    "/flood": _flood,
    "/events": _events,
    "/spool": _spool,
    "/memory": _memory,
    "/fail_before": _fail_before,
    "/fail_amid": _fail_amid,
    "/fail_after": _fail_after,
    "/breach": _breach,
}


class _Noted:
    """An iterable that notes when it is closed."""

    def __init__(self, number: int, chunks: Iterable[bytes]) -> None:
        self._number = number
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._chunks)

    def close(self) -> None:
        journal.note(inside.LEFT, self._number)
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()


def application(environ: Any, start_response: Any) -> Any:
    number, *arguments = map(int, environ["QUERY_STRING"].split(","))
    journal.note(inside.ENTERED, number)
    try:
        chunks = _PAGES[environ["PATH_INFO"]](number, environ, start_response, *arguments)
    except BaseException:
        journal.note(inside.LEFT, number)
        raise
    if chunks is None:
        journal.note(inside.LEFT, number)
        return None
    return _Noted(number, chunks)


adapter = WsgiToAsgi(
    application,
    queue_timeout=LIMIT_SECONDS,
    receive_timeout=LIMIT_SECONDS,
    send_timeout=LIMIT_SECONDS,
    on_startup=lambda: journal.note(inside.STARTED_UP),
    on_shutdown=lambda: journal.note(inside.SHUT_DOWN),
)
_loop: asyncio.AbstractEventLoop | None = None


def _figures() -> dict[str, Any]:
    pool = adapter.pool.stats()
    return {"busy": pool.busy + pool.waiting, "of a pool": pool.threads, **inside.tasks_of(_loop)}


journal = inside.begin(_figures)


async def app(scope: Any, receive: Any, send: Any) -> None:
    global _loop
    _loop = asyncio.get_running_loop()
    if scope["type"] == "http" and scope["path"] == "/stall":
        # As code does that was taken for asynchronous.
        number, milliseconds = map(int, scope["query_string"].split(b","))
        time.sleep(milliseconds / 1000)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": hello(number)})
    else:
        await adapter(scope, receive, send)
