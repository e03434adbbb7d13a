"""What the servers of the matrix serve: the application that the environment names, also below a mount.

``MATRIX_APPLICATION`` is the name of a module with a site, such as ``wsgi_flask``; ``MATRIX_SERVED_AS`` the
interface that the server wants. Where the two are not the same, an adapter is between them.
"""

import asyncio
import importlib
import os
from typing import Any

from asgiadapt import AsgiToWsgi, WsgiToAsgi
from tests.servers.files import MOUNT


def mounted_asgi(app: Any) -> Any:
    async def mount(scope: Any, receive: Any, send: Any) -> None:
        if scope.get("path", "").startswith(f"{MOUNT}/"):
            scope = {**scope, "root_path": scope.get("root_path", "") + MOUNT}
        await app(scope, receive, send)

    return mount


def raising_asgi(app: Any) -> Any:
    """*app* on a server whose send() raises when the client has gone, as ASGI has it from 2.4 on."""

    async def called(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        events: asyncio.Queue[Any] = asyncio.Queue(1)
        gone = asyncio.Event()

        async def pump() -> None:
            while not gone.is_set():
                event = await receive()
                if event["type"] == "http.disconnect":
                    gone.set()
                await events.put(event)

        async def raising_send(event: Any) -> None:
            await send(event)
            if gone.is_set():
                raise OSError("the client has gone")

        pumping = asyncio.create_task(pump())
        try:
            await app(scope, events.get, raising_send)
        finally:
            pumping.cancel()

    return called


def mounted_wsgi(app: Any) -> Any:
    def mount(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"].startswith(f"{MOUNT}/"):
            environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + MOUNT
            environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix(MOUNT)
        return app(environ, start_response)

    return mount


def site(name: str, served_as: str, send_raises: bool = False) -> Any:
    app = importlib.import_module(f"tests.servers.{name}").app
    if send_raises:
        app = raising_asgi(app)
    if served_as == "asgi":
        return mounted_asgi(WsgiToAsgi(app) if name.startswith("wsgi_") else app)
    return mounted_wsgi(AsgiToWsgi(app) if name.startswith("asgi_") else app)


if "MATRIX_APPLICATION" in os.environ:
    app = site(
        os.environ["MATRIX_APPLICATION"], os.environ["MATRIX_SERVED_AS"], "MATRIX_SEND_RAISES" in os.environ
    )
