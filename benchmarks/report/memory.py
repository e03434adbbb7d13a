"""Memory against the size of a body: how much a process grows while one request passes.

Each size, each way and each adapter has a process of its own, which serves a small request first. The body
comes in chunks of 64 KiB that exist nowhere else. What is sent goes to a client that takes 100 MB/s, as over
a gigabit line.

    python -m benchmarks.report.memory wsgi down asgiadapt 1048576

is such a process; it prints by how many bytes it has grown at the most, and the seconds that the request has
taken. It needs the /proc of Linux.
"""

import asyncio
import re
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report.curve import Measured
from benchmarks.report.effort import Effort
from benchmarks.report.figures import size_text
from benchmarks.results import OURS

SIZES = tuple(1024 * 32**power for power in range(5))  # 1 KiB to 1 GiB
CHUNK = 64 << 10
REST_EACH = 1 << 20
REST_SECONDS = REST_EACH / 100e6
# A process that takes longer is given up, and a large size is not tried where that can be foreseen.
LIMIT_SECONDS = 60.0


@dataclass(frozen=True)
class Kind:
    arrow: str  # the kind of application: "wsgi" or "asgi"
    way: str  # "up" or "down"
    contenders: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.arrow}-memory-{self.way}"


KINDS = [
    *(Kind("wsgi", way, ("asgiadapt", "a2wsgi", "asgiref", "starlette")) for way in ("up", "down")),
    *(Kind("asgi", way, ("asgiadapt", "a2wsgi")) for way in ("up", "down")),
]


def measure(kind: Kind, effort: Effort) -> Measured:
    """Bytes of growth."""
    sizes = list(SIZES[: effort.sizes])
    measured = Measured(sizes, {name: [[] for _ in sizes] for name in kind.contenders})
    for number in range(effort.curve_rounds):
        for name in kind.contenders:
            seconds = 0.0
            for index, size in enumerate(sizes):
                if number and size == SIZES[-1]:
                    continue  # once is enough
                # A small body takes as long as the process does to begin.
                foreseen = seconds * size / sizes[index - 1] if size > SIZES[2] else 0.0
                outcome = _grown(kind, name, size) if foreseen < LIMIT_SECONDS else None
                if outcome is None:
                    if name == OURS:
                        raise RuntimeError(f"{kind.name}: {size} bytes take more than {LIMIT_SECONDS:g} s")
                    reason = f"more than {LIMIT_SECONDS:g} s for {size_text(size)}"
                    measured.failures.setdefault(name, reason)
                    break
                grown, seconds = outcome
                measured.values[name][index].append(grown)
    return measured


def _grown(kind: Kind, name: str, size: int) -> tuple[int, float] | None:
    """The bytes of growth, and the seconds; none where it takes too long."""
    command = [sys.executable, "-m", __name__, kind.arrow, kind.way, name, str(size)]
    root = Path(__file__).parent.parent.parent
    try:
        done = subprocess.run(
            command, cwd=root, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS
        )
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} has failed:\n{done.stderr}")
    grown, seconds = done.stdout.split()
    return int(grown), float(seconds)


# The process.


def _chunks(size: int) -> Iterator[bytes]:
    for start in range(0, size, CHUNK):
        yield b"x" * min(CHUNK, size - start)


class _Client:
    """Takes the body, slowly."""

    def __init__(self) -> None:
        self.size = 0

    def rest_after(self, chunk: bytes) -> float:
        """The seconds to rest."""
        before = self.size
        self.size += len(chunk)
        return REST_SECONDS if self.size // REST_EACH > before // REST_EACH else 0.0


def _serve_wsgi(name: str, way: str) -> Callable[[int], None]:
    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        size = 0
        while piece := environ["wsgi.input"].read(CHUNK):
            size += len(piece)
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"%d" % size
        yield from _chunks(int(environ["QUERY_STRING"]))

    adapter = _wsgi_adapter(name, app)
    runner = asyncio.Runner()

    async def request(size: int) -> None:
        up = size if way == "up" else 0
        body = _chunks(up)
        left = up
        client = _Client()

        async def receive() -> dict[str, Any]:
            nonlocal left
            chunk = next(body, b"")
            left -= len(chunk)
            return {"type": "http.request", "body": chunk, "more_body": left > 0}

        async def send(event: dict[str, Any]) -> None:
            await asyncio.sleep(client.rest_after(event.get("body", b"")))

        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/",
            "raw_path": b"/",
            "query_string": b"%d" % (size - up),
            "root_path": "",
            "headers": [(b"host", b"localhost"), (b"content-length", b"%d" % up)],
            "client": ("127.0.0.1", 51234),
            "server": ("127.0.0.1", 8000),
        }
        await adapter(scope, receive, send)
        assert client.size == size - up + len(str(up))

    return lambda size: runner.run(request(size))


def _wsgi_adapter(name: str, app: Any) -> Any:
    # Each process imports its own adapter alone.
    if name == "asgiadapt":
        from asgiadapt import WsgiToAsgi

        return WsgiToAsgi(app)
    if name == "asgiref":
        from asgiref.wsgi import WsgiToAsgi as Asgiref

        return Asgiref(app)
    if name == "a2wsgi":
        from a2wsgi import WSGIMiddleware

        return WSGIMiddleware(app)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated
        from starlette.middleware.wsgi import WSGIMiddleware as Starlette

        return Starlette(app)


class _Input:
    """A body that is made as it is read."""

    def __init__(self, size: int) -> None:
        self._left = size

    def read(self, size: int = -1) -> bytes:
        taken = self._left if size < 0 else min(size, self._left)
        self._left -= taken
        return b"x" * taken


def _serve_asgi(name: str, way: str) -> Callable[[int], None]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise RuntimeError("there is nothing to start")
        size, more = 0, True
        while more:
            event = await receive()
            size += len(event["body"])
            more = event["more_body"]
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}
        )
        await send({"type": "http.response.body", "body": b"%d" % size, "more_body": True})
        for chunk in _chunks(int(scope["query_string"])):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    adapter = _asgi_adapter(name, app)

    def request(size: int) -> None:
        up = size if way == "up" else 0
        environ = {
            "wsgi.errors": sys.stderr,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": _Input(up),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "REQUEST_METHOD": "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": "/",
            "QUERY_STRING": str(size - up),
            "CONTENT_LENGTH": str(up),
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "8000",
            "REMOTE_ADDR": "127.0.0.1",
            "REMOTE_PORT": "51234",
            "HTTP_HOST": "localhost",
        }
        client = _Client()
        iterable = adapter(environ, lambda status, headers, exc_info=None: None)
        try:
            for chunk in iterable:
                if rest := client.rest_after(chunk):
                    time.sleep(rest)
        finally:
            if hasattr(iterable, "close"):
                iterable.close()
        assert client.size == size - up + len(str(up))

    return request


def _asgi_adapter(name: str, app: Any) -> Any:
    if name == "asgiadapt":
        from asgiadapt import AsgiToWsgi

        return AsgiToWsgi(app)
    from a2wsgi import ASGIMiddleware

    return ASGIMiddleware(app)


def _memory(line: str) -> int:
    found = re.search(rf"{line}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) << 10


def main(arrow: str, way: str, name: str, size: int) -> None:
    request = (_serve_wsgi if arrow == "wsgi" else _serve_asgi)(name, way)
    request(1024)
    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    started = time.perf_counter()
    request(size)
    seconds = time.perf_counter() - started
    print(max(0, _memory("VmHWM") - before), seconds)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
