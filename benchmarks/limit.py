"""The bare limit: the least that any adapter has to do for a small request, without a single check.

A complete environ, the context copied, the application on a thread, everything handed back at once, the loop
woken where no wake-up is pending, two calls of send(). No streams, no errors, no limits.
"""

import asyncio
import io
import sys
import threading
from collections import deque
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any

THREADS = 4


class Keys(dict[bytes, str]):
    """The environ key of a header name, worked out once for each name."""

    def __missing__(self, name: bytes) -> str:
        key = self[name] = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
        return key


class Limit:
    def __init__(self, app: Any) -> None:
        self.app = app
        self.keys = Keys({b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"})
        self.jobs: SimpleQueue[Any] = SimpleQueue()
        self.done: deque[Any] = deque()
        self.wake_up_pending = False
        for _ in range(THREADS):
            threading.Thread(target=self.work, daemon=True).start()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        server, client, keys = scope["server"], scope["client"], self.keys
        environ = {
            "REQUEST_METHOD": scope["method"],
            "SCRIPT_NAME": "",
            "PATH_INFO": scope["path"],
            "QUERY_STRING": scope["query_string"].decode("latin-1"),
            "SERVER_NAME": server[0],
            "SERVER_PORT": str(server[1]),
            "SERVER_PROTOCOL": "HTTP/" + scope["http_version"],
            "REMOTE_ADDR": client[0],
            "REMOTE_PORT": str(client[1]),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": scope["scheme"],
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        for name, value in scope["headers"]:
            environ[keys[name]] = value.decode("latin-1")
        body, more = b"", "CONTENT_LENGTH" in environ
        while more:
            event = await receive()
            body += event["body"]
            more = event["more_body"]
        environ["wsgi.input"] = io.BytesIO(body)

        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self.jobs.put((loop, future, copy_context(), environ))
        status, headers, body = await future
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    def work(self) -> None:
        while True:
            loop, future, context, environ = self.jobs.get()
            result = context.run(self.call, environ)
            self.done.append((future, result))
            if not self.wake_up_pending:
                self.wake_up_pending = True
                loop.call_soon_threadsafe(self.drain)

    def call(self, environ: dict[str, Any]) -> Any:
        started: list[Any] = []

        def start_response(status: str, headers: Any, exc_info: Any = None) -> None:
            started.append(int(status[:3]))
            started.append([(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in headers])

        result = self.app(environ, start_response)
        body = b"".join(result)
        if hasattr(result, "close"):
            result.close()
        return started[0], started[1], body

    def drain(self) -> None:
        self.wake_up_pending = False
        while self.done:
            future, result = self.done.popleft()
            future.set_result(result)
