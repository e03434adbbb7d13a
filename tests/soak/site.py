"""What the soak run serves: pages that count, behind `WsgiToAsgi`, and ``/stats`` beside them."""

import asyncio
import gc
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asgiadapt import WsgiToAsgi

CHUNK = b"0123456789abcdef" * 4096
counts = {"opened": 0, "closed": 0, "closed_twice": 0, "errors": 0}
_lock = threading.Lock()


def count(what: str) -> None:
    with _lock:
        counts[what] += 1


class Counted:
    """An iterable that counts how often it is closed."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.chunks = chunks
        self.closed = False
        count("opened")

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks

    def close(self) -> None:
        count("closed_twice" if self.closed else "closed")
        self.closed = True


def site(environ: dict[str, Any], start_response: Any) -> Counted:
    page = environ["PATH_INFO"]
    answer: Iterator[bytes]
    if page == "/upload":
        digest, size = hashlib.sha256(), 0
        try:
            while piece := environ["wsgi.input"].read(65536):
                digest.update(piece)
                size += len(piece)
        except OSError:
            count("errors")
            raise
        answer = iter([f"{size} {digest.hexdigest()}".encode()])
    elif page == "/wait":
        environ["asgiadapt.disconnected"].wait(0.02)
        answer = iter([b"waited"])
    elif page == "/stream":
        length = int(environ["QUERY_STRING"])
        answer = (CHUNK for _ in range(length))
    else:
        answer = iter([b"hello"])
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return Counted(answer)


adapter = WsgiToAsgi(site)


def stats() -> dict[str, Any]:
    gc.collect()
    pool = adapter.pool.stats()
    memory = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        **counts,
        "busy": pool.busy,
        "waiting": pool.waiting,
        "threads": threading.active_count(),
        "tasks": len(asyncio.all_tasks()),
        "files": len(os.listdir("/proc/self/fd")),
        "rss_kib": int(memory["VmRSS"].split()[0]),
        "peak_kib": int(memory["VmHWM"].split()[0]),
    }


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http" and scope["path"] == "/stats":
        body = json.dumps(stats()).encode()
        headers = [(b"content-length", str(len(body)).encode()), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
    else:
        await adapter(scope, receive, send)
