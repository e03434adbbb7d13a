"""What the soak run of `AsgiToWsgi` serves: pages that count, and ``/stats`` among them."""

import asyncio
import gc
import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

from asgiadapt import AsgiToWsgi

CHUNK = b"0123456789abcdef" * 4096
counts = {"entered": 0, "left": 0, "disconnects": 0, "refused_sends": 0, "background": 0}


def stats() -> dict[str, Any]:
    gc.collect()
    memory = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        **counts,
        "threads": threading.active_count(),
        "tasks": len(asyncio.all_tasks()),
        "files": len(os.listdir("/proc/self/fd")),
        "rss_kib": int(memory["VmRSS"].split()[0]),
        "peak_kib": int(memory["VmHWM"].split()[0]),
    }


async def respond(send: Any, body: bytes) -> None:
    # Without a length: gunicorn makes it a chunked answer, and one that is cut short does not look whole.
    headers = [(b"content-type", b"application/octet-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def upload(receive: Any, send: Any) -> None:
    digest, size, more = hashlib.sha256(), 0, True
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            counts["disconnects"] += 1
            return
        digest.update(event["body"])
        size += len(event["body"])
        more = event["more_body"]
    await respond(send, f"{size} {digest.hexdigest()}".encode())


async def stream(scope: Any, receive: Any, send: Any) -> None:
    """Sends until it may not, and beside that listens for the client's leaving, as many applications do."""
    await receive()
    leaving = asyncio.ensure_future(receive())
    try:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(int(scope["query_string"])):
            await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
        await send({"type": "http.response.body"})
    except OSError:
        counts["refused_sends"] += 1
        raise
    finally:
        leaving.cancel()


async def page(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"] == "/upload":
        await upload(receive, send)
    elif scope["path"] == "/stream":
        await stream(scope, receive, send)
    elif scope["path"] == "/wait":
        await asyncio.sleep(0.02)
        await respond(send, b"waited")
    elif scope["path"] == "/background":
        await respond(send, b"begun")
        await asyncio.sleep(0.02)
        counts["background"] += 1
    else:
        await respond(send, scope["state"]["greeting"])


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    scope["state"]["greeting"] = b"hello"
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def site(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
    elif scope["path"] == "/stats":
        await respond(send, json.dumps(stats()).encode())
    else:
        counts["entered"] += 1
        try:
            await page(scope, receive, send)
        finally:
            counts["left"] += 1


app = AsgiToWsgi(site)
