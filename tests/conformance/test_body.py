"""W2A-BODY: ``wsgi.input``, complete, streamed and lazy."""

import asyncio
import contextlib
import io
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.validate import validator

import pytest

from asgiadapt import ClientDisconnected, ClientTimeout, RequestTooLarge, ServerError
from tests.apps import Keeps, echoes, says_hello
from tests.conformance.rules import rule
from tests.fakes import Connection, connection, drop_loop, request, scope_for
from tests.validated import WsgiToAsgi

CHUNKED = [(b"host", b"testserver"), (b"transfer-encoding", b"chunked")]

# How the adapter can come to the same bytes: the whole at once, a part of it at first, none of it.
MODES = pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="complete"),
        pytest.param({"first_window": 1, "window": 1}, id="streamed"),
        pytest.param({"lazy_body": True}, id="lazy"),
    ],
)


async def result_of(read: Callable[[Any], Any], *chunks: bytes, **options: Any) -> tuple[Any, Connection]:
    """What *read* returns for ``wsgi.input`` on a worker, and the connection."""
    results: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        results.append(read(environ["wsgi.input"]))
        start_response("200 OK", [])
        return [b""]

    async with connection(WsgiToAsgi(app, **options), body=chunks, method="POST", headers=CHUNKED) as opened:
        await opened.result()
    return results[0], opened


READS = [
    pytest.param(lambda f: f.read(), id="W2A-BODY-02"),
    pytest.param(lambda f: f.read(-1), id="W2A-BODY-02-minus-one"),
    pytest.param(lambda f: f.read(None), id="W2A-BODY-02-none"),
    pytest.param(lambda f: f.read(-2), id="W2A-BODY-02-minus-two"),
    pytest.param(lambda f: [f.read(3), f.read(3), f.read(100)], id="W2A-BODY-03"),
    pytest.param(lambda f: [f.read(0), f.read(2)], id="W2A-BODY-04"),
    pytest.param(lambda f: [f.read(), f.read(), f.read(1), f.readline()], id="W2A-BODY-05"),
    pytest.param(lambda f: [f.read(), f.readlines(), list(f)], id="W2A-BODY-05-lines"),
    pytest.param(lambda f: [f.readline() for _ in range(6)], id="W2A-BODY-06"),
    pytest.param(lambda f: [f.readline(2) for _ in range(12)], id="W2A-BODY-07"),
    pytest.param(lambda f: [f.readline(0), f.readline(-1), f.readline(None)], id="W2A-BODY-07-limits"),
    pytest.param(lambda f: f.readlines(), id="W2A-BODY-08"),
    pytest.param(lambda f: [f.readlines(5), f.read()], id="W2A-BODY-08-hint"),
    pytest.param(lambda f: [f.readlines(4), f.read()], id="W2A-BODY-08-exact"),
    pytest.param(lambda f: f.readlines(0), id="W2A-BODY-08-zero"),
    pytest.param(lambda f: f.readlines(-1), id="W2A-BODY-08-negative"),
    pytest.param(lambda f: f.readlines(None), id="W2A-BODY-08-none"),
    pytest.param(lambda f: list(f), id="W2A-BODY-09"),
    pytest.param(
        lambda f: [f.readline(), f.read(2), next(f), f.readlines(1), f.read()],
        id="W2A-BODY-09-mixed",
    ),
    pytest.param(lambda f: [f.readinto(b := bytearray(7)), bytes(b)], id="W2A-BODY-01-readinto"),
    pytest.param(lambda f: [f.readable(), f.closed], id="W2A-BODY-01-file"),
    pytest.param(lambda f: io.TextIOWrapper(f, "latin-1", newline="").readlines(), id="W2A-BODY-01-text"),
    pytest.param(lambda f: io.BufferedReader(f).read(), id="W2A-BODY-01-buffered"),
    pytest.param(lambda f: in_with(f), id="W2A-BODY-01-with"),
    pytest.param(
        lambda f: [type(f.read(2)), type(f.readline()), type(f.readlines())], id="W2A-BODY-01-types"
    ),
]


def in_with(file: Any) -> Any:
    with file as entered:
        return entered.read()


BODY = b"abc\ndefgh\r\n\n\rlast line"
CUTS = {
    "whole": [BODY],
    "bytes": [BODY[n : n + 1] for n in range(len(BODY))],
    "threes": [BODY[n : n + 3] for n in range(0, len(BODY), 3)],
    "W2A-BODY-11": [b"", BODY[:5], b"", b"", BODY[5:], b""],
}


@MODES
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("read", READS)
async def test_reads_are_those_of_a_file(
    read: Callable[[Any], Any], cut: str, options: dict[str, Any]
) -> None:
    """However the body was cut up, and however much of it has come, io.BytesIO does the same."""
    result, _ = await result_of(read, *CUTS[cut], **options)
    assert result == read(io.BytesIO(BODY))


@MODES
async def test_reads_behind_the_validator(options: dict[str, Any]) -> None:
    """The stream gives what the standard library's validator asks for, under each of its methods."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"]
        got = [body.read(2), body.readline(), *body.readlines(1), next(iter(body)), body.read(1000)]
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"|".join(got)]

    answer = await request(WsgiToAsgi(validator(app), **options), b"abc\nde\n", b"f", b"gh\nij\nk")
    assert answer.body == b"ab|c\n|de\n|fgh\n|ij\nk"


@MODES
@rule("W2A-BODY-05-receive")
async def test_nothing_is_fetched_after_the_end(_rule: None, options: dict[str, Any]) -> None:
    """At most once more, to learn that the client has left; no read waits for that."""
    _, opened = await result_of(lambda f: [f.read(), f.read(), f.read(5)], b"a", b"b", **options)
    assert opened.receives <= (3 if options else 2)


@pytest.mark.parametrize(
    "event",
    [
        pytest.param({"type": "http.request"}, id="W2A-BODY-10"),
        pytest.param({"type": "http.request", "body": b""}, id="W2A-BODY-10-body"),
        pytest.param({"type": "http.request", "more_body": False}, id="W2A-BODY-10-more"),
        pytest.param({"type": "http.request", "extra": 1}, id="W2A-BODY-17-extra"),
    ],
)
@MODES
async def test_missing_keys_have_their_defaults(event: dict[str, Any], options: dict[str, Any]) -> None:
    """A single event without either key is an empty body."""
    async with connection(WsgiToAsgi(echoes, **options), body=None, method="POST", headers=CHUNKED) as opened:
        opened.feed(event)
        assert (await opened.result()).body == b""


@rule("W2A-BODY-12")
async def test_a_body_that_no_header_announces_is_read(_rule: None) -> None:
    """The events say where the end is, whatever the head says; from HTTP/2 on, none announces it."""
    for version in ("1.1", "2"):
        async with connection(
            WsgiToAsgi(echoes), body=[b"ab", b"cd"], method="POST", http_version=version
        ) as opened:
            assert (await opened.result()).body == b"abcd"


@MODES
@rule("W2A-BODY-23")
async def test_the_events_decide_where_the_body_ends(_rule: None, options: dict[str, Any]) -> None:
    """Not the declared length, which the server has compared with its framing already."""
    headers = [(b"content-length", b"3")]
    async with connection(
        WsgiToAsgi(echoes, ignore={"request-length"}, **options),
        body=[b"ab", b"cd"],
        method="POST",
        headers=headers,
    ) as opened:
        assert (await opened.result()).body == b"abcd"


@MODES
@rule("W2A-BODY-18")
async def test_one_event_is_awaited_at_a_time(_rule: None, options: dict[str, Any]) -> None:
    """By whoever reads, and whoever asks after the client, at the same time (the validator checks it)."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        asks = threading.Thread(target=environ["asgiadapt.disconnected"].wait)
        asks.start()
        while piece := environ["wsgi.input"].read(10):
            environ["asgiadapt.disconnected"].is_set()
            yield piece
        environ["test.asks"] = asks

    kept = Keeps(app)
    answer = await request(WsgiToAsgi(kept, **options), *[b"x" * 7] * 50)
    assert answer.body == b"x" * 350
    kept.environ["test.asks"].join(10)
    assert not kept.environ["test.asks"].is_alive()  # freed by the end of the request


@pytest.mark.parametrize(
    ("options", "headers"),
    [
        pytest.param({"lazy_body": True}, [], id="W2A-BODY-13"),
        pytest.param({}, [(b"expect", b"100-Continue")], id="W2A-BODY-13-expect"),
    ],
)
async def test_lazy_reading_fetches_nothing_ahead(
    options: dict[str, Any], headers: list[tuple[bytes, bytes]]
) -> None:
    """The first event is fetched by the first read, the second by the next."""
    counts: list[int] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"]
        counts.append(opened.receives)
        body.read(0)
        counts.append(opened.receives)
        body.readline()
        counts.append(opened.receives)
        rest = body.read()
        start_response("200 OK", [])
        return [rest]

    async with connection(
        WsgiToAsgi(app, **options),
        body=[b"a\n", b"b\n", b"c\n"],
        method="POST",
        headers=[*CHUNKED, *headers],
    ) as opened:
        assert (await opened.result()).body == b"b\nc\n"
    assert counts == [0, 0, 1]


@rule("W2A-BODY-13-complete")
async def test_a_small_body_is_there_before_the_application_is_called(_rule: None) -> None:
    """It is a plain io.BytesIO, and no worker was taken while it came."""
    app = Keeps(echoes)
    adapter = WsgiToAsgi(app)
    async with connection(adapter, body=None, method="POST", headers=CHUNKED) as opened:
        for _ in range(10):
            opened.feed({"type": "http.request", "body": b"x", "more_body": True})
        while opened.receives < 11:
            await asyncio.sleep(0)
        assert adapter.pool.stats().threads == 0
        assert app.calls == 0
        opened.feed({"type": "http.request", "body": b"y"})
        assert (await opened.result()).body == b"x" * 10 + b"y"
    assert type(app.environ["wsgi.input"]) is io.BytesIO


@rule("W2A-BODY-13-window")
async def test_a_large_body_starts_the_application_before_its_end(_rule: None) -> None:
    """As soon as the first window is full."""
    called = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        called.set()
        return echoes(environ, start_response)

    adapter = WsgiToAsgi(app, first_window=100)
    async with connection(adapter, body=None, method="POST", headers=CHUNKED) as opened:
        opened.feed({"type": "http.request", "body": b"x" * 100, "more_body": True})
        assert await asyncio.to_thread(called.wait, 10)
        opened.feed({"type": "http.request", "body": b"y"})
        assert (await opened.result()).body == b"x" * 100 + b"y"


async def test_slow_uploads_hold_no_worker() -> None:
    """With one worker and five clients that have not sent all yet, another one is served."""
    adapter = WsgiToAsgi(echoes, max_workers=1)

    async def upload() -> bytes:
        async with connection(adapter, body=None, method="POST", headers=CHUNKED) as opened:
            opened.feed({"type": "http.request", "body": b"x" * 1000, "more_body": True})
            while opened.receives < 2:
                await asyncio.sleep(0)
            begun.append(opened)
            await may_finish.wait()
            opened.feed({"type": "http.request", "body": b"y"})
            return (await opened.result()).body

    begun: list[Connection] = []
    may_finish = asyncio.Event()
    uploads = [asyncio.create_task(upload()) for _ in range(5)]
    while len(begun) < 5:
        await asyncio.sleep(0)
    assert (adapter.pool.stats().threads, adapter.pool.stats().waiting) == (0, 0)
    assert (await request(adapter)).complete
    may_finish.set()
    assert await asyncio.gather(*uploads) == [b"x" * 1000 + b"y"] * 5


@pytest.mark.parametrize(
    ("size", "streamed"),
    [
        pytest.param(64 * 1024 - 1, False, id="below"),
        pytest.param(64 * 1024, True, id="first-window"),
    ],
)
async def test_the_first_window_is_64_kib(size: int, streamed: bool) -> None:
    """By default; the application is called once it is full, or once the body is complete."""
    called = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        called.set()
        return echoes(environ, start_response)

    adapter = WsgiToAsgi(app)
    async with connection(adapter, body=None, method="POST", headers=CHUNKED) as opened:
        opened.feed({"type": "http.request", "body": b"x" * size, "more_body": True})
        if streamed:
            assert await asyncio.to_thread(called.wait, 10)
        else:
            while opened.receives < 2:
                await asyncio.sleep(0)
            assert adapter.pool.stats().threads == 0
        opened.feed({"type": "http.request", "body": b"y"})
        assert len((await opened.result()).body) == size + 1


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([], id="W2A-BODY-13-no-body"),
        pytest.param([(b"content-length", b"0")], id="W2A-BODY-13-length-0"),
    ],
)
async def test_no_event_is_fetched_where_there_can_be_no_body(
    headers: list[tuple[bytes, bytes]],
) -> None:
    """A GET costs no receive()."""
    async with connection(WsgiToAsgi(says_hello), body=None, headers=headers) as opened:
        await opened.result()
        assert opened.receives == 0


@rule("W2A-BODY-14")
async def test_memory_is_bounded_while_the_application_does_not_read(_rule: None) -> None:
    """No more than two windows and an event are fetched for it, of a body of any size."""
    reading, may_read = threading.Event(), threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        first = environ["wsgi.input"].read(1)
        reading.set()
        may_read.wait(10)
        rest = environ["wsgi.input"].read()
        start_response("200 OK", [])
        return [b"%d" % len(first + rest)]

    adapter = WsgiToAsgi(app, first_window=1000, window=10_000)
    async with connection(adapter, body=[b"x" * 1000] * 1000, method="POST", headers=CHUNKED) as opened:
        await asyncio.to_thread(reading.wait, 10)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert opened.receives <= 1 + 2 * 10 + 1
        may_read.set()
        assert (await opened.result()).body == b"1000000"


@pytest.mark.parametrize("options", [{}, {"lazy_body": True}])
@rule("W2A-BODY-14-peak")
async def test_a_large_upload_takes_little_memory(_rule: None, options: dict[str, Any]) -> None:
    """64 MiB pass through in pieces, and what is held at any time is a small part of it."""
    pieces = 1024

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        size = 0
        while piece := environ["wsgi.input"].read(65536):
            size += len(piece)
        start_response("200 OK", [])
        return [b"%d" % size]

    async def receive() -> dict[str, Any]:
        nonlocal pieces
        pieces -= 1
        if pieces < 0:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": bytes(65536), "more_body": pieces > 0}

    sent: list[dict[str, Any]] = []

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        await WsgiToAsgi(app, **options)(scope_for(method="POST", headers=CHUNKED), receive, send)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sent[-1]["body"] == b"67108864"
    assert peak - before < 4 * 1024 * 1024


async def test_many_small_events_cross_in_few_hops(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker wakes the loop to have them fetched, and not for each of them."""
    loop = asyncio.get_running_loop()
    wakes = 0

    def call_soon_threadsafe(*args: Any, **options: Any) -> Any:
        nonlocal wakes
        wakes += 1
        return original(*args, **options)

    original = loop.call_soon_threadsafe
    monkeypatch.setattr(loop, "call_soon_threadsafe", call_soon_threadsafe)
    answer = await request(WsgiToAsgi(echoes, first_window=1), *[b"x" * 100] * 1000)
    assert answer.body == b"x" * 100_000
    assert wakes <= 3  # the first read, the answer, and perhaps its end


@rule("W2A-BODY-15")
async def test_a_waiting_read_does_not_block_the_loop(_rule: None) -> None:
    """Another request is served while the first one waits for its body."""
    adapter = WsgiToAsgi(echoes, lazy_body=True)
    async with connection(adapter, body=None, method="POST", headers=CHUNKED) as opened:
        while not opened.receiving:
            await asyncio.sleep(0)
        assert (await request(WsgiToAsgi(says_hello))).body == b"hello"
        opened.feed_body(b"late")
        assert (await opened.result()).body == b"late"


@MODES
@rule("W2A-BODY-16")
async def test_a_truncated_body_raises_on_every_read(_rule: None, options: dict[str, Any]) -> None:
    """An OSError, again and again; the call ends quietly."""
    errors: list[BaseException] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        for _ in range(3):
            try:
                environ["wsgi.input"].read()
            except OSError as error:
                errors.append(error)
        start_response("200 OK", [])
        return [b"stored"]

    async with connection(WsgiToAsgi(app, **options), body=None, method="POST", headers=CHUNKED) as opened:
        opened.feed({"type": "http.request", "body": b"half", "more_body": True})
        opened.disconnect()
        await opened.result()
    assert [type(error) for error in errors] == [ClientDisconnected] * 3
    assert isinstance(errors[0], ConnectionError)
    assert "went away" in str(errors[0]) or "gone away" in str(errors[0])


@MODES
@rule("W2A-BODY-16-known")
async def test_the_disconnect_event_is_taken_once(_rule: None, options: dict[str, Any]) -> None:
    """It is known from then on; a server may not give it again."""
    asked: list[bool] = []
    receives_after_it = 0

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        with pytest.raises(ClientDisconnected):
            environ["wsgi.input"].read()
        asked.append(environ["asgiadapt.disconnected"].wait(5))
        start_response("200 OK", [])
        yield b"x"
        yield b"y"

    adapter = WsgiToAsgi(app, **options)

    async def forgetful(scope: Any, receive: Any, send: Any) -> None:
        left = False

        async def receive_once() -> Any:
            nonlocal left, receives_after_it
            if left:
                receives_after_it += 1
                await asyncio.Event().wait()
            event = await receive()
            left = event["type"] == "http.disconnect"
            return event

        await adapter(scope, receive_once, send)

    async with connection(forgetful, body=None, method="POST", headers=CHUNKED) as opened:
        opened.feed({"type": "http.request", "body": b"half", "more_body": True})
        opened.disconnect()
        await opened.result()
    assert asked == [True]
    assert receives_after_it == 0


@MODES
@rule("W2A-BODY-16-uncaught")
async def test_an_application_that_does_not_catch_it_ends_quietly(
    _rule: None, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody is left to answer, and it is no failure of the application."""
    async with connection(WsgiToAsgi(echoes, **options), body=None, method="POST", headers=CHUNKED) as opened:
        opened.feed({"type": "http.request", "body": b"half", "more_body": True})
        opened.disconnect()
        assert (await opened.result()).events == []
    assert not [record for record in caplog.records if record.name == "asgiadapt"]


@MODES
@rule("W2A-BODY-17")
async def test_an_event_out_of_place_raises_from_the_read(_rule: None, options: dict[str, Any]) -> None:
    """The server is named as the one at fault."""
    async with connection(
        WsgiToAsgi(echoes, ignore={"event-type"}, **options), body=None, method="POST", headers=CHUNKED
    ) as opened:
        opened.feed({"type": "websocket.receive"})
        with pytest.raises(ServerError, match=r"websocket\.receive"):
            await opened.result()


@MODES
@rule("W2A-BODY-26")
async def test_an_error_of_receive_passes_unchanged(_rule: None, options: dict[str, Any]) -> None:
    """The very object comes out of the read."""
    original = KeyError("from receive")
    caught: list[BaseException] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            environ["wsgi.input"].read()
        except KeyError as error:
            caught.append(error)
        start_response("200 OK", [])
        return [b"x"]

    async with connection(WsgiToAsgi(app, **options), body=None, method="POST", headers=CHUNKED) as opened:
        opened.feed({"type": "raises", "raises": original})
        await opened.result()
    assert caught == [original]


@MODES
@rule("W2A-BODY-19")
async def test_a_body_that_nobody_reads_is_left(_rule: None, options: dict[str, Any]) -> None:
    """The application answers, and nothing is drained."""
    async with connection(
        WsgiToAsgi(says_hello, **options), body=None, method="POST", headers=CHUNKED
    ) as opened:
        for _ in range(50):
            opened.feed({"type": "http.request", "body": b"x" * 2000, "more_body": True})
        assert (await opened.result()).body == b"hello"
        assert opened.receives <= 40


@MODES
@rule("W2A-BODY-20")
async def test_the_body_can_be_read_while_the_response_goes_out(_rule: None, options: dict[str, Any]) -> None:
    """After start_response, after write() and from within the iterable."""

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        body = environ["wsgi.input"]
        write = start_response("200 OK", [])
        write(body.read(1))

        def rest() -> Any:
            while piece := body.read(1):
                yield piece

        return rest()

    async with connection(
        WsgiToAsgi(app, **options), body=[b"ab", b"c", b"def"], method="POST", headers=CHUNKED
    ) as opened:
        assert (await opened.result()).chunks == [b"a", b"b", b"c", b"d", b"e", b"f"]


@rule("W2A-BODY-20-echo")
async def test_reading_goes_on_while_the_client_does_not_take_the_answer(_rule: None) -> None:
    """A client that sends all before it reads cannot lock itself out."""
    finished = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [])
        write(b"early")
        rest = environ["wsgi.input"].read()
        finished.set()
        return [rest]

    adapter = WsgiToAsgi(app, lazy_body=True)
    async with connection(adapter, body=[b"ab", b"c"], method="POST", headers=CHUNKED) as opened:
        opened.gate.clear()
        assert await asyncio.to_thread(finished.wait, 10)
        opened.gate.set()
        assert (await opened.result()).body == b"earlyabc"


@pytest.mark.parametrize("options", [{"lazy_body": True}, {"first_window": 1}])
@rule("W2A-BODY-21")
async def test_cancellation_frees_a_worker_that_waits_for_the_body(
    _rule: None, options: dict[str, Any]
) -> None:
    """The read raises, and the worker ends."""
    errors: list[BaseException] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            environ["wsgi.input"].read()
        except OSError as error:
            errors.append(error)
            raise
        return []

    adapter = WsgiToAsgi(app, **options)
    async with connection(adapter, body=None, method="POST", headers=CHUNKED) as opened:
        opened.feed({"type": "http.request", "body": b"x", "more_body": True})
        while opened.receives < 2:
            await asyncio.sleep(0)
        opened.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opened.result()
    assert await asyncio.to_thread(adapter.pool.close, 10)
    assert "cancelled" in str(errors[0])


@rule("W2A-BODY-21-loop-closed")
def test_a_worker_that_waits_for_the_body_is_freed_from_a_closed_loop(_rule: None) -> None:
    """Nobody is left to tell it; it looks by itself."""
    errors: list[BaseException] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            environ["wsgi.input"].read()
        except RuntimeError as error:
            errors.append(error)
            raise
        return []

    adapter = WsgiToAsgi(app, lazy_body=True)
    loop = asyncio.new_event_loop()
    opened = Connection(scope_for(method="POST", headers=CHUNKED))

    async def begin() -> asyncio.Task[None]:
        task = asyncio.create_task(adapter(opened.scope, opened.receive, opened.send))
        while not opened.receiving:
            await asyncio.sleep(0)
        return task

    task = loop.run_until_complete(begin())
    loop.close()
    assert adapter.pool.close(20)
    assert "closed or stopped" in str(errors[0])
    assert not task.done()
    drop_loop(loop)


@pytest.mark.parametrize("options", [{"lazy_body": True}, {"first_window": 1}])
@rule("W2A-BODY-22-waiting")
async def test_a_read_that_waits_at_the_end_of_the_request_is_freed(
    _rule: None, options: dict[str, Any]
) -> None:
    """A thread of the application that reads on while the application is through gets an error."""
    errors: list[BaseException] = []
    strays: list[threading.Thread] = []
    waiting = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"]
        body.read(1)

        def read() -> None:
            try:
                body.read()
            except OSError as error:
                errors.append(error)

        strays.append(threading.Thread(target=read))
        strays[0].start()
        waiting.wait(10)
        return says_hello(environ, start_response)

    adapter = WsgiToAsgi(app, **options)
    async with connection(adapter, body=None, method="POST", headers=CHUNKED) as opened:
        opened.feed({"type": "http.request", "body": b"x", "more_body": True})
        while opened.receives < 2:
            await asyncio.sleep(0)
        waiting.set()
        assert (await opened.result()).body == b"hello"
    await asyncio.to_thread(strays[0].join, 10)
    assert not strays[0].is_alive()
    assert "has ended" in str(errors[0])


@pytest.mark.parametrize("options", [{"lazy_body": True}, {"first_window": 1}, {}])
@rule("W2A-BODY-22")
async def test_a_read_after_the_request_is_prompt(_rule: None, options: dict[str, Any]) -> None:
    """Whoever kept the stream gets an error, or the rest of what had come; no event is fetched."""
    kept: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        kept.append(environ["wsgi.input"])
        return says_hello(environ, start_response)

    async with connection(
        WsgiToAsgi(app, **options), body=[b"a", b"b", b"c"], method="POST", headers=CHUNKED
    ) as opened:
        await opened.result()
        before = opened.receives
        if options:
            with pytest.raises(OSError, match="has ended"):
                await asyncio.to_thread(kept[0].read)
        else:
            assert await asyncio.to_thread(kept[0].read) == b"abc"
        assert opened.receives == before


@rule("W2A-BODY-24")
async def test_a_body_over_the_limit_gets_413(_rule: None) -> None:
    """Counted as it comes, before the application is called; a body of exactly the limit passes."""
    app = Keeps(echoes)
    adapter = WsgiToAsgi(app, max_body_size=10)
    answer = await request(adapter, b"x" * 6, b"x" * 5)
    assert answer.status == 413
    assert b"more than the 10 bytes" in answer.body
    assert app.calls == 0
    assert (await request(adapter, b"x" * 6, b"x" * 4)).body == b"x" * 10


@rule("W2A-BODY-24-header")
async def test_the_limit_does_not_trust_the_header(_rule: None) -> None:
    """A large Content-Length with a small body passes, a small one with a large body does not."""
    adapter = WsgiToAsgi(echoes, ignore={"request-length"}, max_body_size=10)
    small = await request(adapter, b"ab", headers=[(b"content-length", b"1000")], method="POST")
    assert small.body == b"ab"
    large = await request(adapter, b"x" * 20, headers=[(b"content-length", b"5")], method="POST")
    assert large.status == 413


def answers_whatever_happens(status: str) -> Any:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            environ["wsgi.input"].read()
        except RequestTooLarge:
            pass
        start_response(status, [])
        return [b"own page"]

    return app


def writes_whatever_happens(headers: list[tuple[str, str]]) -> Any:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("200 OK", headers)
        for step in (environ["wsgi.input"].read, lambda: write(b"own page")):
            with contextlib.suppress(OSError):
                step()
        return []

    return app


STREAMED = {"first_window": 1, "window": 1, "max_body_size": 10}


@pytest.mark.parametrize(
    ("app", "body"),
    [
        pytest.param(echoes, b"413 Content Too Large", id="W2A-BODY-24-streamed"),
        pytest.param(
            answers_whatever_happens("500 Sorry"),
            b"413 Content Too Large",
            id="W2A-BODY-24-swallowed",
        ),
        pytest.param(answers_whatever_happens("413 Too much"), b"own page", id="W2A-BODY-24-own"),
        pytest.param(
            writes_whatever_happens([]),
            b"413 Content Too Large",
            id="W2A-BODY-24-written",
        ),
        pytest.param(
            writes_whatever_happens([("Content-Length", "8")]),
            b"413 Content Too Large",
            id="W2A-BODY-24-written-whole",
        ),
    ],
)
async def test_a_streamed_body_over_the_limit_gets_413(app: Any, body: bytes) -> None:
    """Whatever the application makes of the failed read, but for a 413 of its own."""
    answer = await request(WsgiToAsgi(app, **STREAMED), b"x" * 6, b"x" * 6)
    assert answer.status == 413
    assert answer.body.startswith(body)


@rule("W2A-BODY-24-error")
async def test_a_body_over_the_limit_raises_an_oserror_out_of_the_read(_rule: None) -> None:
    """What was within the limit is read before; frameworks take the error for a broken upload."""
    errors: list[BaseException] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        assert environ["wsgi.input"].read(6) == b"x" * 6
        for _ in range(2):
            try:
                environ["wsgi.input"].read(1)
            except OSError as error:
                errors.append(error)
        start_response("413 Too much", [])
        return [b"own page"]

    assert (await request(WsgiToAsgi(app, **STREAMED), b"x" * 6, b"x" * 6)).body == b"own page"
    assert [type(error) for error in errors] == [RequestTooLarge] * 2
    assert "max_body_size" in str(errors[0])


@rule("W2A-BODY-24-lazy")
async def test_a_lazy_body_over_the_limit_gets_413(_rule: None) -> None:
    """It is counted when it is fetched."""
    assert (await request(WsgiToAsgi(echoes, lazy_body=True, max_body_size=3), b"ab", b"cd")).status == 413
    assert (await request(WsgiToAsgi(echoes, lazy_body=True, max_body_size=4), b"ab", b"cd")).status == 200


@rule("W2A-BODY-24-none")
async def test_a_limit_of_zero_lets_no_byte_pass(_rule: None) -> None:
    """None is what lifts it."""
    assert (await request(WsgiToAsgi(echoes, max_body_size=0), b"a")).status == 413
    assert (await request(WsgiToAsgi(echoes, max_body_size=0), b"")).status == 200


@rule("W2A-BODY-24-committed")
async def test_a_body_over_the_limit_breaks_a_response_that_has_begun(_rule: None) -> None:
    """Its head is out already, so the error propagates and the server cuts the connection."""

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])(b"begun")
        return [environ["wsgi.input"].read()]

    adapter = WsgiToAsgi(app, **STREAMED)
    async with connection(adapter, body=[b"x" * 6, b"x" * 6], method="POST", headers=CHUNKED) as opened:
        with pytest.raises(RequestTooLarge, match="more than the 10 bytes"):
            await opened.result()
        assert not opened.answer.complete


@MODES
@rule("W2A-BODY-25")
async def test_close_has_no_effect(_rule: None, options: dict[str, Any]) -> None:
    """The request goes on, and is answered."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read()
        environ["wsgi.input"].close()
        start_response("200 OK", [])
        return [body]

    answer = await request(WsgiToAsgi(app, **options), b"ab", b"c")
    assert answer.body == b"abc"


async def test_a_client_that_stops_sending_gets_408() -> None:
    """While the body is collected, receive_timeout ends the wait without the application."""
    app = Keeps(echoes)
    adapter = WsgiToAsgi(app, receive_timeout=0.01)
    async with connection(adapter, body=None, method="POST", headers=CHUNKED) as opened:
        opened.feed({"type": "http.request", "body": b"x", "more_body": True})
        answer = await opened.result()
    assert answer.status == 408
    assert b"did not arrive in time" in answer.body
    assert app.calls == 0


async def test_a_read_that_waits_too_long_breaks_a_response_that_has_begun() -> None:
    """It is too late for 408; the error propagates, and the server cuts the connection."""

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])(b"begun")
        return [environ["wsgi.input"].read()]

    adapter = WsgiToAsgi(app, lazy_body=True, receive_timeout=0.01)
    async with connection(adapter, body=None, method="POST", headers=CHUNKED) as opened:
        with pytest.raises(ClientTimeout, match="receive_timeout"):
            await opened.result()
        assert opened.answer.body == b"begun"
        assert not opened.answer.complete


@pytest.mark.parametrize("options", [{"lazy_body": True}, {"first_window": 1}])
async def test_a_read_that_waits_too_long_raises(options: dict[str, Any]) -> None:
    """ClientTimeout, an OSError; left alone it makes a 408."""
    errors: list[BaseException] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            environ["wsgi.input"].read()
        except OSError as error:
            errors.append(error)
            raise
        return []

    adapter = WsgiToAsgi(app, receive_timeout=0.01, **options)
    async with connection(adapter, body=None, method="POST", headers=CHUNKED) as opened:
        opened.feed({"type": "http.request", "body": b"x", "more_body": True})
        assert (await opened.result()).status == 408
    assert type(errors[0]) is ClientTimeout
    assert "receive_timeout" in str(errors[0])


async def test_sixteen_thousand_small_events_take_linear_time() -> None:
    """The body is joined once; a quadratic way does not end within the time limit of a test."""
    chunks = [b"x" * 4096] * 16_000
    answer = await request(
        WsgiToAsgi(lambda e, s: (s("200 OK", []), [b"%d" % len(e["wsgi.input"].read())])[1]),
        *chunks,
    )
    assert answer.body == b"%d" % (4096 * 16_000)
