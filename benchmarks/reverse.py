"""Requests of a WSGI server in one process: the adapter and an ASGI application, and nothing of a server.

The environ is gunicorn's of a page view in a browser, copied for each request. Each answer is read to its
end, closed and checked. Each contender has one event loop on a thread of its own. a2wsgi takes part twice: as
it is by default, and with ``wait_time=0``, which cancels an application that has not ended with its response.
"""

import asyncio
import contextlib
import gc
import io
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from benchmarks.apps import BIG, CHUNK
from benchmarks.results import Result

ENVIRON: dict[str, Any] = {
    "wsgi.errors": sys.stderr,
    "wsgi.version": (1, 0),
    "wsgi.multithread": True,
    "wsgi.multiprocess": False,
    "wsgi.run_once": False,
    "wsgi.input_terminated": True,
    "SERVER_SOFTWARE": "gunicorn",
    "REQUEST_METHOD": "GET",
    "QUERY_STRING": "",
    "RAW_URI": "/",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "HTTP_HOST": "localhost:8000",
    "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "HTTP_ACCEPT": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "HTTP_ACCEPT_LANGUAGE": "en-US,en;q=0.5",
    "HTTP_ACCEPT_ENCODING": "gzip, deflate, br",
    "HTTP_CONNECTION": "keep-alive",
    "HTTP_COOKIE": "session=0123456789abcdef",
    "HTTP_CACHE_CONTROL": "no-cache",
    "wsgi.url_scheme": "http",
    "REMOTE_ADDR": "127.0.0.1",
    "REMOTE_PORT": "51234",
    "SERVER_NAME": "127.0.0.1",
    "SERVER_PORT": "8000",
    "PATH_INFO": "/",
    "SCRIPT_NAME": "",
}

# The applications.

PLAIN_TEXT = [(b"content-type", b"text/plain")]


async def hello(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        raise RuntimeError("there is nothing to start")
    headers = [*PLAIN_TEXT, (b"content-length", b"5")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello"})


async def download(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        raise RuntimeError("there is nothing to start")
    await send({"type": "http.response.start", "status": 200, "headers": PLAIN_TEXT})
    for _ in range(BIG // len(CHUNK)):
        await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def upload(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        raise RuntimeError("there is nothing to start")
    size, more = 0, True
    while more:
        event = await receive()
        size += len(event["body"])
        more = event["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": PLAIN_TEXT})
    await send({"type": "http.response.body", "body": b"%d" % size})


async def index(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


starlette_app = Starlette(routes=[Route("/", index)])

# The contenders.


@contextlib.contextmanager
def _a2wsgi(app: Any, loop: asyncio.AbstractEventLoop, wait_time: float | None) -> Iterator[Any]:
    from a2wsgi import ASGIMiddleware

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield ASGIMiddleware(app, wait_time=wait_time, loop=loop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextlib.contextmanager
def contenders(app: Any, *, uvloop: bool = False, limit: bool = True) -> Iterator[dict[str, Any]]:
    from asgiadapt import AsgiToWsgi
    from benchmarks.reverse_limit import ReverseLimit

    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    if uvloop:
        from uvloop import new_event_loop as new_loop

    with contextlib.ExitStack() as stack:
        found = {
            "asgiadapt": stack.enter_context(AsgiToWsgi(app, loop_factory=new_loop)),
            "a2wsgi": stack.enter_context(_a2wsgi(app, new_loop(), None)),
            "a2wsgi, no wait": stack.enter_context(_a2wsgi(app, new_loop(), 0.0)),
        }
        if limit:
            found["limit"] = ReverseLimit(app, new_loop())
            stack.callback(found["limit"].close)
        yield found


def __getattr__(name: str) -> Any:
    """``gunicorn benchmarks.reverse:wsgi_hello_asgiadapt`` serves that application through that adapter."""
    if not name.startswith("wsgi_"):
        raise AttributeError(name)
    from a2wsgi import ASGIMiddleware

    from asgiadapt import AsgiToWsgi

    app_name, adapter = name.removeprefix("wsgi_").split("_")
    adapters = {"asgiadapt": AsgiToWsgi, "a2wsgi": ASGIMiddleware}
    return adapters[adapter]({"hello": hello, "starlette": starlette_app}[app_name])


# The workloads.


@dataclass(frozen=True)
class Workload:
    name: str
    title: str
    unit: str  # "us" a request, or "MB/s"
    app: Any
    threads: int
    body: bytes = b""  # of the request
    answer: bytes | int = b"hello"  # the response's body, or only its length
    uvloop: bool = False
    query_string: str = ""
    stream: Callable[[bytes], io.BytesIO] = io.BytesIO

    def value(self, seconds: float, count: int) -> float:
        return count * BIG / seconds / 1e6 if self.unit == "MB/s" else seconds / count * 1e6


WORKLOADS = [
    Workload("a2w.get.seq", "hello, one at a time", "us", hello, 1),
    Workload("a2w.get.16", "hello, from 16 threads", "us", hello, 16),
    Workload("a2w.get.seq.uvloop", "hello, one at a time, on uvloop", "us", hello, 1, uvloop=True),
    Workload("a2w.starlette.seq", "Starlette hello, one at a time", "us", starlette_app, 1),
    Workload("a2w.starlette.16", "Starlette hello, from 16 threads", "us", starlette_app, 16),
    Workload("a2w.down.32m", "32 MiB down", "MB/s", download, 1, answer=BIG),
    Workload("a2w.up.32m", "32 MiB up", "MB/s", upload, 1, CHUNK * (BIG // len(CHUNK)), b"%d" % BIG),
]


def request(app: Any, work: Workload) -> None:
    """Make one request, and check its answer."""
    environ = ENVIRON.copy()
    environ["QUERY_STRING"] = work.query_string
    environ["wsgi.input"] = work.stream(work.body)  # shares the bytes
    if work.body:
        environ["REQUEST_METHOD"] = "POST"
        environ["CONTENT_LENGTH"] = str(len(work.body))
    statuses: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        statuses.append(status)

    size = 0
    start_of_body = b""
    iterable = app(environ, start_response)
    try:
        for chunk in iterable:
            size += len(chunk)
            if size < 100:
                start_of_body += chunk
    finally:
        if hasattr(iterable, "close"):
            iterable.close()
    assert statuses == ["200 OK"]
    assert work.answer == (size if isinstance(work.answer, int) else start_of_body)


def seconds_for(count: int, app: Any, work: Workload) -> float:
    """How long *count* requests take, shared out to as many threads as the workload has."""
    begun: list[float] = []
    barrier = threading.Barrier(work.threads + 1, lambda: begun.append(time.perf_counter()))
    errors: list[BaseException] = []

    def make(number: int) -> None:
        barrier.wait()
        try:
            for _ in range(number):
                request(app, work)
        except BaseException as error:  # raised again by whoever measures
            errors.append(error)

    shares = [count // work.threads + (number < count % work.threads) for number in range(work.threads)]
    threads = [threading.Thread(target=make, args=(share,)) for share in shares]
    for thread in threads:
        thread.start()
    gc.collect()  # nobody pays for what the one before has left
    barrier.wait()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begun[0]
    if errors:
        raise errors[0]
    return seconds


def measure(work: Workload, rounds: int, slice_seconds: float) -> Result:
    """About *slice_seconds* for each adapter in each round."""
    with contenders(work.app, uvloop=work.uvloop) as apps:
        counts: dict[str, int] = {}
        for name, app in apps.items():
            few = 4 * work.threads
            seconds_for(few, app, work)  # threads are started, caches filled
            counts[name] = max(few, round(slice_seconds / seconds_for(few, app, work) * few))
        values: dict[str, list[float]] = {name: [] for name in apps}
        for number in range(rounds):
            # They take turns within a round, and there and back from round to round.
            for name in list(apps)[:: -1 if number % 2 else 1]:
                values[name].append(work.value(seconds_for(counts[name], apps[name], work), counts[name]))
    return Result(work.name, work.title, work.unit, values)
