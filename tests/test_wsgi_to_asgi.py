"""`WsgiToAsgi` as a whole: its arguments, applications behind the validator, and what a request costs."""

import asyncio
import contextlib
import io
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import pytest

from asgiadapt import WorkerPool
from tests.apps import Closing, Keeps, echoes, returns, says_hello
from tests.fakes import connection, request, scope_for
from tests.validated import WsgiToAsgi

TEXT = [("Content-Type", "text/plain")]
CHUNKED = [(b"host", b"testserver"), (b"transfer-encoding", b"chunked")]


# Arguments


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        pytest.param({"app": None}, TypeError, "cannot be called", id="no-callable"),
        pytest.param({"app": "module:app"}, TypeError, "'module:app', which cannot be called", id="a-name"),
        pytest.param({"pool": "POOL", "max_workers": 2}, TypeError, "pool's affair", id="pool-and-workers"),
        pytest.param({"pool": "POOL", "max_waiting": 2}, TypeError, "pool's affair", id="pool-and-waiting"),
        pytest.param({"max_workers": 0}, ValueError, "max_workers is 0; give at least 1", id="no-worker"),
        pytest.param({"max_waiting": -1}, ValueError, "max_waiting is -1; give 0 or more", id="waiting"),
        pytest.param({"window": -1}, ValueError, "window is -1; give 0 or more", id="window"),
        pytest.param(
            {"allowed_headers": "X_User"}, TypeError, "a list of names, such as \\['X_User'\\]", id="one-name"
        ),
        pytest.param({"first_window": -1}, ValueError, "first_window is -1", id="first-window"),
        pytest.param({"max_body_size": -1}, ValueError, "max_body_size is -1", id="body"),
        pytest.param({"queue_timeout": -1}, ValueError, "queue_timeout is -1", id="queue"),
        pytest.param({"receive_timeout": -0.5}, ValueError, "receive_timeout is -0.5", id="receive"),
        pytest.param({"send_timeout": -0.5}, ValueError, "send_timeout is -0.5", id="send"),
        pytest.param({"cancel_grace": -1}, ValueError, "cancel_grace is -1", id="grace"),
    ],
)
def test_wrong_arguments_are_told(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    """At the call, not at the first request."""
    with WorkerPool(1) as pool:
        given = {name: pool if value == "POOL" else value for name, value in arguments.items()}
        with pytest.raises(error, match=text):
            WsgiToAsgi(**{"app": says_hello, **given})


def test_options_are_given_by_name() -> None:
    """A number in second place would tell nobody what it stands for."""
    make: Any = WsgiToAsgi
    with pytest.raises(TypeError, match="positional argument"):
        make(says_hello, 10)


def test_the_pool_is_that_of_the_adapter_or_that_which_it_was_given() -> None:
    """40 threads and 1000 requests in the queue by default; none of them is started yet."""
    own = WsgiToAsgi(says_hello).pool
    assert (own.max_workers, own.max_waiting, own.stats().threads) == (40, 1000, 0)
    small = WsgiToAsgi(says_hello, max_workers=3, max_waiting=0).pool
    assert (small.max_workers, small.max_waiting) == (3, 0)
    with WorkerPool(2) as pool:
        assert WsgiToAsgi(says_hello, pool=pool).pool is pool


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"window": 0}, id="no-window"),
        pytest.param({"first_window": 0}, id="no-first-window"),
        pytest.param({"window": 0, "first_window": 0}, id="neither"),
        pytest.param({"window": 0, "lazy_body": True}, id="lazy"),
        pytest.param(
            {"queue_timeout": None, "receive_timeout": None, "send_timeout": None}, id="no-time-limits"
        ),
        pytest.param({"cancel_grace": 0, "retry_after": 0, "max_waiting": 0}, id="zeros"),
    ],
)
async def test_the_smallest_and_the_largest_limits_work(options: dict[str, Any]) -> None:
    """Bodies and answers of several pieces pass, one after the other."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        write = start_response("200 OK", TEXT)
        write(b"w")
        while piece := environ["wsgi.input"].read(3):
            yield piece

    adapter = WsgiToAsgi(app, **options)
    for _ in range(3):
        assert (await request(adapter, b"abcd", b"", b"efg")).body == b"wabcdefg"


# Applications behind the validator of the standard library


def generates(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", TEXT)
    yield b""
    yield b"a"
    yield b"b"


def writes(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    write = start_response("200 OK", TEXT)
    write(b"a")
    return [b"b"]


def redirects(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("302 Found", [*TEXT, ("Location", "/elsewhere")])
    return []


def has_nothing(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("204 No Content", [])
    return []


def changes_its_mind(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", TEXT)
    try:
        raise ValueError
    except ValueError as error:
        start_response("500 Sorry", TEXT, (ValueError, error, error.__traceback__))
    return [b"ab"]


def reads(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    body = b"".join(iter(lambda: environ["wsgi.input"].read(2), b""))
    environ["wsgi.errors"].write("")
    environ["wsgi.errors"].flush()
    start_response("200 OK", TEXT)
    return [body]


MODES = pytest.mark.parametrize(
    ("options", "scope"),
    [
        pytest.param({}, {}, id="without-a-body"),
        pytest.param({}, {"method": "POST", "headers": CHUNKED}, id="complete"),
        pytest.param({"first_window": 1}, {"method": "POST", "headers": CHUNKED}, id="streamed"),
        pytest.param({"lazy_body": True}, {"method": "POST", "headers": CHUNKED}, id="lazy"),
        pytest.param({"max_workers": 1, "strict": True}, {}, id="strict"),
        pytest.param({}, {"http_version": "2", "scheme": "https"}, id="http-2"),
        pytest.param({}, {"extensions": {"http.response.pathsend": {}}}, id="extensions"),
    ],
)


@MODES
@pytest.mark.parametrize(
    ("app", "status", "body"),
    [
        pytest.param(says_hello, 200, b"hello", id="list"),
        pytest.param(generates, 200, b"ab", id="generator"),
        pytest.param(writes, 200, b"ab", id="write"),
        pytest.param(redirects, 302, b"", id="redirect"),
        pytest.param(has_nothing, 204, b"", id="no-content"),
        pytest.param(changes_its_mind, 500, b"ab", id="exc-info"),
        pytest.param(reads, 200, None, id="read"),
        pytest.param(returns(Closing(b"a", b"b"), headers=TEXT), 200, b"ab", id="close"),
    ],
)
async def test_the_validator_has_no_complaint(
    app: Any,
    status: int,
    body: bytes | None,
    options: dict[str, Any],
    scope: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It checks environ, streams, calls and the end; an iterable that is not closed is told on stderr."""
    async with connection(WsgiToAsgi(validator(app), **options), body=[b"abc", b"de"], **scope) as opened:
        answer = await opened.result()
    assert answer.status == status
    assert answer.body == (b"abcde" if body is None else body)
    assert capsys.readouterr().err == ""


async def test_the_validator_takes_head_requests() -> None:
    """The application answers as for GET, and the body is left out."""
    app = returns(Closing(b"abc"), headers=[*TEXT, ("Content-Length", "3")])
    answer = await request(WsgiToAsgi(validator(app)), method="HEAD")
    assert (answer.body, answer.complete) == (b"", True)
    assert (b"content-length", b"3") in answer.headers


async def test_a_file_goes_through_the_validator(tmp_path: Path) -> None:
    """Which is middleware: what it returns is not the wrapper, and goes in chunks."""
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    files: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        files.append(path.open("rb"))
        start_response("200 OK", TEXT)
        return environ["wsgi.file_wrapper"](files[0], 4)

    offered = {"http.response.pathsend": {}, "http.response.zerocopysend": {}}
    answer = await request(WsgiToAsgi(validator(app)), extensions=offered)
    assert answer.chunks == [b"0123", b"4567", b"89"]
    assert files[0].closed


# What a request costs


class Wakes:
    """How often threads have woken the running loop since this was made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        loop = asyncio.get_running_loop()
        self.original = loop.call_soon_threadsafe
        monkeypatch.setattr(loop, "call_soon_threadsafe", self.call_soon_threadsafe)

    def call_soon_threadsafe(self, *args: Any, **options: Any) -> Any:
        self.count += 1
        return self.original(*args, **options)


@pytest.mark.parametrize(
    "app",
    [
        pytest.param(says_hello, id="single"),
        pytest.param(returns([]), id="empty"),
        pytest.param(returns([b"x"], headers=[("Content-Length", "1")]), id="length"),
        pytest.param(echoes, id="echo"),
    ],
)
async def test_a_small_response_wakes_the_loop_once(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Head, body and end cross together, and nobody watches the client meanwhile."""
    wakes = Wakes(monkeypatch)
    entered, may_go_on = threading.Event(), threading.Event()

    def waits(environ: dict[str, Any], start_response: Any) -> Any:
        entered.set()
        may_go_on.wait(10)
        return app(environ, start_response)

    async with connection(WsgiToAsgi(waits), body=[b"abc"], method="POST", headers=CHUNKED) as opened:
        while not entered.is_set():
            await asyncio.sleep(0)
        may_go_on.set()
        await opened.result()
        assert opened.receives == 1
    assert wakes.count == 1


async def test_chunks_that_wait_wake_the_loop_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the loop is busy with one chunk, the next ones need not call it."""
    wakes = Wakes(monkeypatch)
    made = threading.Event()

    class Result(Closing):
        def close(self) -> None:
            super().close()
            made.set()

    iterable = Result(*[b"%d" % n for n in range(200)])
    async with connection(WsgiToAsgi(returns(iterable))) as opened:
        opened.gate.clear()
        while not made.is_set():
            await asyncio.sleep(0)
        opened.gate.set()
        assert (await opened.result()).chunks == [b"%d" % n for n in range(200)]
    assert wakes.count <= 3  # the first, the rest, and perhaps the end


async def test_a_large_download_takes_little_memory() -> None:
    """64 MiB pass through while no more than the window is held."""
    held = peak = 0

    class Piece(bytes):
        def __new__(cls) -> "Piece":
            nonlocal held, peak
            with mutex:
                held += 1
                peak = max(peak, held)
            return super().__new__(cls, 65536)

        def __del__(self) -> None:
            nonlocal held
            with mutex:
                held -= 1

    mutex = threading.Lock()
    received = 0

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError("never reached")

    async def send(event: dict[str, Any]) -> None:
        nonlocal received
        await asyncio.sleep(0)
        received += len(event.get("body", b""))

    app = returns(Piece() for _ in range(1024))
    await WsgiToAsgi(app)(scope_for(), receive, send)
    assert received == 64 * 1024 * 1024
    assert peak <= 8 + 4  # the window, and what passes at both of its ends
    assert held == 0


# What several requests share, and what they do not

USER: ContextVar[str] = ContextVar("USER", default="nobody")


async def test_each_request_has_the_context_of_its_caller() -> None:
    """In both directions: nothing of one request is seen by another on the same worker."""
    seen: list[tuple[str, str]] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        before = USER.get()
        USER.set(f"{before}, changed")
        seen.append((environ["PATH_INFO"], before))
        return says_hello(environ, start_response)

    adapter = WsgiToAsgi(app, max_workers=1)

    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/nobody":
            USER.set(scope["path"])
        await adapter(scope, receive, send)
        assert USER.get() == (scope["path"] if scope["path"] != "/nobody" else "nobody")

    await asyncio.gather(*[request(middleware, path=f"/{n}") for n in range(5)])
    await request(middleware, path="/nobody")
    assert sorted(seen) == [*[(f"/{n}", f"/{n}") for n in range(5)], ("/nobody", "nobody")]
    assert USER.get() == "nobody"


async def test_the_hook_shares_the_context_of_the_application() -> None:
    """What it sets is seen there, and in each step; that is how tracing follows a request."""
    seen: list[str] = []

    @contextlib.contextmanager
    def around(environ: dict[str, Any]) -> Iterator[None]:
        token = USER.set("the hook's")
        yield
        USER.reset(token)

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        for _ in range(3):
            seen.append(USER.get())
            yield b"x"

    assert (await request(WsgiToAsgi(app, around=around))).body == b"xxx"
    assert seen == ["the hook's"] * 3


async def test_one_application_behind_two_adapters() -> None:
    """Each has its own options."""
    app = Keeps(echoes)
    small, large = WsgiToAsgi(app, max_body_size=1), WsgiToAsgi(app, max_body_size=10)
    assert (await request(small, b"abc")).status == 413
    assert (await request(large, b"abc")).body == b"abc"
    assert type(app.environ["wsgi.input"]) is io.BytesIO


async def test_an_adapter_serves_after_every_kind_of_failure() -> None:
    """With a single worker, none of them takes it away."""

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        if path == "/call":
            raise ValueError(path)
        if path == "/type":
            return None
        if path == "/start":
            start_response("nonsense", [])
        if path == "/step":
            return returns(Closing(b"x", ValueError(path)))(environ, start_response)
        if path == "/close":
            return returns(Closing(b"x", close_error=ValueError(path)))(environ, start_response)
        if path == "/read":
            environ["wsgi.input"].fileno()
        return says_hello(environ, start_response)

    adapter = WsgiToAsgi(app, max_workers=1)
    for path in ("/call", "/type", "/start", "/step", "/close", "/read"):
        with pytest.raises((ValueError, TypeError, OSError)):
            await request(adapter, path=path)
        assert (await request(adapter)).body == b"hello"
    assert adapter.pool.stats().threads == 1


async def test_an_endless_stream_leaves_the_loop_to_others() -> None:
    """Although ``send()`` never waits, and the worker has the next chunk in time."""
    over = threading.Event()

    def endless(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        for _ in range(20_000):  # so that the test ends where this fails
            if over.is_set():
                return
            yield b"x" * 1024

    sent = 0

    async def send(event: dict[str, Any]) -> None:
        nonlocal sent
        sent += 1

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError("nobody feeds it")

    serving = asyncio.create_task(WsgiToAsgi(endless)(scope_for(), receive, send))
    while not sent:
        await asyncio.sleep(0)
    turns = 0
    while turns < 100:
        await asyncio.sleep(0)
        turns += 1
    over.set()
    await serving
    assert sent < 20_000
