"""a2wsgi's two classes: that they have its parameters is told by the names."""

import asyncio
import io
import threading
from typing import Any

import a2wsgi
import pytest

import asgiadapt
from asgiadapt.compat import a2wsgi as ours

both = pytest.mark.parametrize("library", [a2wsgi, ours], ids=["a2wsgi", "asgiadapt"])


def hello(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("content-type", "text/plain")])
    return [environ["PATH_INFO"].encode(), environ["wsgi.input"].read()]


async def hello_async(scope: Any, receive: Any, send: Any) -> None:
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode() + body})


@both
async def test_a_wsgi_application_is_served(library: Any) -> None:
    """Its response comes in the messages of ASGI."""
    messages: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"body"}

    async def send(message: Any) -> None:
        messages.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/here",
        "raw_path": b"/here",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"content-length", b"4")],
        "server": ("localhost", 80),
        "client": ("localhost", 1),
    }
    await library.WSGIMiddleware(hello, workers=1, send_queue_size=2)(scope, receive, send)
    assert messages[0]["status"] == 200
    assert b"".join(message.get("body", b"") for message in messages[1:]) == b"/herebody"


@both
def test_an_asgi_application_is_served(library: Any) -> None:
    """Its response comes as that of a WSGI application, from a loop that is given too."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        started: list[str] = []
        environ = {
            "REQUEST_METHOD": "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": "/here",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "CONTENT_LENGTH": "4",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(b"body"),
        }
        app = library.ASGIMiddleware(hello_async, wait_time=1.0, loop=loop)
        answer = app(environ, lambda status, headers, exc_info=None: started.append(status))
        assert b"".join(answer) == b"/herebody"
        getattr(answer, "close", lambda: None)()
        assert started == ["200 OK"]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


ENVIRON = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "PATH_INFO": "/here",
    "SERVER_NAME": "localhost",
    "SERVER_PORT": "80",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "wsgi.url_scheme": "http",
}


@both
def test_the_environ_is_in_the_scope(library: Any) -> None:
    """The object itself."""
    found: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found.append(scope["wsgi_environ"])
        await hello_async(scope, receive, send)

    environ = {**ENVIRON, "wsgi.input": io.BytesIO()}
    assert b"".join(library.ASGIMiddleware(app)(environ, lambda *_: None)) == b"/here"
    assert found[0] is environ


@both
async def test_the_scope_is_in_the_environ(library: Any) -> None:
    """The object itself."""
    found: list[Any] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        found.append(environ["asgi.scope"])
        return hello(environ, start_response)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": "/here",
        "query_string": b"",
        "headers": [],
    }

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        pass

    await library.WSGIMiddleware(app)(scope, receive, send)
    assert found[0] is scope


@both
def test_background_work_is_cancelled_after_the_wait_time(library: Any) -> None:
    """And not before the response has ended."""
    ended: list[str] = []
    done = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.02)
        await hello_async(scope, receive, send)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        finally:
            done.set()

    environ = {**ENVIRON, "wsgi.input": io.BytesIO()}
    answer = library.ASGIMiddleware(app, wait_time=0.01)(environ, lambda *_: None)
    assert b"".join(answer) == b"/here"
    getattr(answer, "close", lambda: None)()
    assert done.wait(20)
    assert ended == ["cancelled"]


def test_a_time_limit_of_the_application_s_own_is_its_error() -> None:
    """It is not taken for the end of the wait."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        ours.ASGIMiddleware(app, wait_time=5)({**ENVIRON, "wsgi.input": io.BytesIO()}, lambda *_: None)


def test_they_are_our_adapters() -> None:
    """With the limits that were given."""
    middleware = ours.WSGIMiddleware(hello, workers=3)
    assert isinstance(middleware, asgiadapt.WsgiToAsgi)
    assert (middleware.pool.max_workers, middleware.app, middleware.send_queue_size) == (3, hello, 10)
    other = ours.ASGIMiddleware(hello_async, 2.5)
    assert isinstance(other, asgiadapt.AsgiToWsgi)
    assert (other.app, other.wait_time) == (hello_async, 2.5)
