"""The application of the rows, for requests on the main thread alone; with a bridge in front of it."""

import asyncio
import threading
from typing import Any

from asgiadapt import async_to_sync
from tests.servers.asgi_rows import rows


def application(environ: dict[str, Any], start_response: Any) -> Any:
    if threading.current_thread() is threading.main_thread():
        async_to_sync(asyncio.sleep)(0)
        return rows(environ, start_response)
    start_response("503 Service Unavailable", [("Content-Length", "0")])
    return []
