"""W2A-RESP: start_response, write, the iterable, and the events that come of them.

Each row bears the id of its rule.
"""

import asyncio
import gc
import gzip
import io
import os
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from asgiadapt import (
    ApplicationError,
    ApplicationOrderError,
    ApplicationTypeError,
    ApplicationValueError,
    ClientDisconnected,
)
from tests.apps import Closing, echoes, returns, says_hello
from tests.conformance.rules import rule
from tests.fakes import connection, request, scope_for
from tests.validated import WsgiToAsgi

App = Callable[[dict[str, Any], Any], Any]


async def answer_of(app: App, *, method: str = "GET", **options: Any) -> Any:
    return await request(WsgiToAsgi(app, **options), method=method)


# Calling the application


@rule("W2A-RESP-01")
async def test_any_callable_is_called_once_with_two_positional_arguments(_rule: None) -> None:
    """Functions, classes and instances: none is looked at, each is called once."""
    calls: list[tuple[Any, ...]] = []

    class Instance:
        def __call__(self, *args: Any, **kwargs: Any) -> list[bytes]:
            calls.append((len(args), kwargs))
            args[1]("200 OK", [])
            return [b"instance"]

    class Class:
        def __init__(self, environ: dict[str, Any], start_response: Any) -> None:
            calls.append((2, {}))
            self.start_response = start_response

        def __iter__(self) -> Iterator[bytes]:
            self.start_response("200 OK", [])
            yield b"class"

    assert (await answer_of(Instance())).body == b"instance"
    assert (await answer_of(Class)).body == b"class"
    assert calls == [(2, {}), (2, {})]


@rule("W2A-RESP-02")
async def test_call_iteration_and_close_share_one_worker_thread(_rule: None) -> None:
    """None of them runs on the loop's thread, and all of them run on the same one."""
    threads: list[int] = []

    class Result:
        def __iter__(self) -> Iterator[bytes]:
            for _ in range(3):
                threads.append(threading.get_ident())
                yield b"x"

        def close(self) -> None:
            threads.append(threading.get_ident())

    def app(environ: dict[str, Any], start_response: Any) -> Result:
        threads.append(threading.get_ident())
        start_response("200 OK", [])
        return Result()

    await answer_of(app)
    assert len(threads) == 5
    assert len(set(threads)) == 1
    assert threading.get_ident() not in threads


VARIABLE: ContextVar[str] = ContextVar("VARIABLE", default="unset")


@rule("W2A-RESP-03")
async def test_the_application_sees_the_callers_context_and_keeps_its_own(_rule: None) -> None:
    """One context for call, iteration and close; nothing of it reaches the caller or another request."""
    seen: list[str] = []

    class Result:
        def __iter__(self) -> Iterator[bytes]:
            seen.append(VARIABLE.get())
            VARIABLE.reset(token)
            yield b"x"

        def close(self) -> None:
            seen.append(VARIABLE.get())

    token: Any = None

    def app(environ: dict[str, Any], start_response: Any) -> Result:
        nonlocal token
        seen.append(VARIABLE.get())
        token = VARIABLE.set("the application's")
        start_response("200 OK", [])
        return Result()

    VARIABLE.set("the caller's")
    adapter = WsgiToAsgi(app, max_workers=1)
    await request(adapter)
    assert seen == ["the caller's", "the application's", "the caller's"]
    assert VARIABLE.get() == "the caller's"
    seen.clear()
    await request(adapter)
    assert seen[0] == "the caller's"


@rule("W2A-RESP-04")
async def test_requests_at_the_same_time_share_no_state(_rule: None) -> None:
    """Ten requests meet inside the application, and each gets its own answer."""
    barrier = threading.Barrier(10)

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        barrier.wait(10)
        start_response("200 OK", [("X-Path", environ["PATH_INFO"])])
        barrier.wait(10)
        return [environ["PATH_INFO"].encode()]

    adapter = WsgiToAsgi(app)
    answers = await asyncio.gather(*[request(adapter, path=f"/{n}") for n in range(10)])
    for n, answer in enumerate(answers):
        assert answer.body == b"/%d" % n
        assert answer.headers == [(b"x-path", b"/%d" % n)]


@rule("W2A-RESP-05")
async def test_one_worker_serves_one_request_after_the_other(_rule: None) -> None:
    """With max_workers=1 no two calls overlap, and wsgi.multithread says so."""
    inside = 0
    overlaps = 0
    multithread: set[bool] = set()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        nonlocal inside, overlaps
        inside += 1
        overlaps += inside > 1
        multithread.add(environ["wsgi.multithread"])
        os.sched_yield()
        inside -= 1
        start_response("200 OK", [])
        return [b""]

    adapter = WsgiToAsgi(app, max_workers=1)
    await asyncio.gather(*[request(adapter) for _ in range(50)])
    assert overlaps == 0
    assert multithread == {False}


# start_response


@rule("W2A-RESP-06")
async def test_start_response_takes_two_or_three_arguments_and_gives_write(_rule: None) -> None:
    """Both forms are accepted, and what comes back can be called."""
    writers: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        writers.append(start_response("200 OK", []))
        writers.append(start_response("201 Created", [], (None, None, None)))
        return [b"x"]

    answer = await answer_of(app)
    assert answer.status == 201
    assert all(callable(write) for write in writers)


@rule("W2A-RESP-07")
async def test_the_head_leaves_with_the_first_chunk_that_is_not_empty(_rule: None) -> None:
    """Neither start_response nor empty chunks send anything."""
    may_go_on = threading.Event()
    waiting = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b""
        yield b""
        waiting.set()
        may_go_on.wait(10)
        yield b"x"

    async with connection(WsgiToAsgi(app)) as opened:
        await asyncio.to_thread(waiting.wait, 10)
        assert opened.answer.events == []
        may_go_on.set()
        assert (await opened.result()).body == b"x"


@rule("W2A-RESP-07-write")
async def test_write_sends_the_head_even_without_data(_rule: None) -> None:
    """write(b"") is enough to commit the response."""
    may_go_on = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])(b"")
        may_go_on.wait(10)
        return []

    async with connection(WsgiToAsgi(app)) as opened:
        await opened.until(lambda answer: answer.started)
        may_go_on.set()
        assert (await opened.result()).body == b""


@pytest.mark.parametrize(
    ("line", "code"),
    [
        pytest.param("200 OK", 200, id="W2A-RESP-09"),
        pytest.param("999 What", 999, id="W2A-RESP-09-any-code"),
        pytest.param("204", 204, id="W2A-RESP-11"),
        pytest.param("204 ", 204, id="W2A-RESP-11-space"),
        pytest.param(f"{HTTPStatus.OK}", 200, id="W2A-RESP-11-HTTPStatus"),
        pytest.param("404 Nicht gefunden \u00e9", 404, id="W2A-RESP-09-latin-1"),
    ],
)
async def test_status_lines_become_codes(line: str, code: int) -> None:
    """The first three characters count, the phrase is dropped."""
    answer = await answer_of(returns([b"x"], status=line))
    assert answer.status == code
    assert type(answer.status) is int


@pytest.mark.parametrize(
    ("line", "text"),
    [
        pytest.param(200, "give a str", id="W2A-RESP-10-int"),
        pytest.param(b"200 OK", "give a str", id="W2A-RESP-10-bytes"),
        pytest.param("OK", "not a status line", id="W2A-RESP-10-no-digits"),
        pytest.param("20 OK", "not a status line", id="W2A-RESP-10-two-digits"),
        pytest.param("2000 X", "not a status line", id="W2A-RESP-10-four-digits"),
        pytest.param("200 OK\r\n", "not a status line", id="W2A-RESP-10-line-end"),
        pytest.param("200 O\0K", "not a status line", id="W2A-RESP-10-control"),
        pytest.param("\u0662\u0660\u0660 OK", "not a status line", id="W2A-RESP-10-arabic"),
        pytest.param("200OK", "not a status line", id="W2A-RESP-10-no-space"),
        pytest.param("101 Switching", "interim response", id="W2A-RESP-12"),
        pytest.param("099 Low", "interim response", id="W2A-RESP-12-low"),
    ],
)
async def test_a_bad_status_line_raises_from_start_response(line: Any, text: str) -> None:
    """The application itself gets the error, and nothing is sent."""
    raised: list[Exception] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            start_response(line, [])
        except ApplicationError as error:
            raised.append(error)
            raise
        return [b"x"]

    with pytest.raises(ApplicationError, match=text):
        await answer_of(app)
    assert len(raised) == 1


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        pytest.param([("X-N", "\u00e9")], [(b"x-n", b"\xe9")], id="W2A-RESP-13"),
        pytest.param([("X", "  a \t")], [(b"x", b"a")], id="W2A-RESP-16"),
        pytest.param([("X", "a\tb")], [(b"x", b"a\tb")], id="W2A-RESP-15-tab"),
        pytest.param([("X", "")], [(b"x", b"")], id="W2A-RESP-13-empty"),
        pytest.param(
            [("Set-Cookie", "a=1"), ("X", "y"), ("Set-Cookie", "b=2")],
            [(b"set-cookie", b"a=1"), (b"x", b"y"), (b"set-cookie", b"b=2")],
            id="W2A-RESP-17",
        ),
        pytest.param((["X", "y"],), [(b"x", b"y")], id="W2A-RESP-18-tuple-of-lists"),
        pytest.param(
            [("Connection", "close"), ("Keep-Alive", "1"), ("X", "y"), ("Upgrade", "h2c")],
            [(b"x", b"y")],
            id="W2A-RESP-19",
        ),
        pytest.param([("Transfer-Encoding", "chunked")], [], id="W2A-RESP-19-te"),
        pytest.param([("Proxy-Authenticate", "Basic")], [], id="W2A-RESP-19-200"),
        pytest.param(
            [("Content-Length", "1"), ("Content-Length", "1")],
            [(b"content-length", b"1")],
            id="W2A-RESP-20-equal",
        ),
        pytest.param([], [], id="W2A-RESP-21"),
        pytest.param([("Status", "200 OK")], [(b"status", b"200 OK")], id="W2A-RESP-22-default"),
    ],
)
async def test_headers_go_out(given: Any, sent: list[tuple[bytes, bytes]]) -> None:
    """Names in lower case, values in latin-1, order and repetition kept, nothing added."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", given)
        return [b"x"]

    assert (await answer_of(app)).headers == sent


@rule("W2A-RESP-19-407")
async def test_a_407_keeps_its_challenge(_rule: None) -> None:
    """Proxy-Authenticate is the point of such a response."""
    app = returns([b"x"], status="407 Who", headers=[("Proxy-Authenticate", "Basic")])
    assert (await answer_of(app)).headers == [(b"proxy-authenticate", b"Basic")]


@rule("W2A-RESP-19-once")
async def test_a_dropped_header_is_warned_of_once(
    _rule: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line in the log, for any number of responses and spellings."""
    monkeypatch.setattr("asgiadapt._dropped_fields._warned", set())
    for name in ("Proxy-Connection", "proxy-connection", "PROXY-CONNECTION"):
        await answer_of(returns([b"x"], headers=[(name, "close")]))
    (warning,) = [record for record in caplog.records if record.name == "asgiadapt"]
    assert warning.levelname == "WARNING"
    assert "'Proxy-Connection'" in warning.getMessage()
    assert "left to the server" in warning.getMessage()


@pytest.mark.parametrize(
    ("header", "text"),
    [
        pytest.param((1, "x"), "give a str", id="W2A-RESP-14-name"),
        pytest.param((b"X", "x"), "give a str", id="W2A-RESP-14-bytes-name"),
        pytest.param(([], "x"), "give a str", id="W2A-RESP-14-unhashable-name"),
        pytest.param(("X", 1), "give a str", id="W2A-RESP-14-value"),
        pytest.param(("X", b"x"), "give a str", id="W2A-RESP-14-bytes-value"),
        pytest.param(("X", "\u20ac"), "U\\+00FF", id="W2A-RESP-14-beyond-latin-1"),
        pytest.param(("", "x"), "made of ASCII letters", id="W2A-RESP-15-empty-name"),
        pytest.param(("X Y", "x"), "made of ASCII letters", id="W2A-RESP-15-space"),
        pytest.param(("X:", "x"), "made of ASCII letters", id="W2A-RESP-15-colon"),
        pytest.param(("X\u00e9", "x"), "made of ASCII letters", id="W2A-RESP-15-no-ascii"),
        pytest.param(("X", "a\r\nB: c"), "control", id="W2A-RESP-15-line-end"),
        pytest.param(("X", "a\nb"), "control", id="W2A-RESP-15-lf"),
        pytest.param(("X", "a\0b"), "control", id="W2A-RESP-15-nul"),
        pytest.param(("X", "a\x7f"), "control", id="W2A-RESP-15-del"),
        pytest.param(("Content-Length", "-1"), "decimal number", id="W2A-RESP-20-sign"),
        pytest.param(("Content-Length", "1 0"), "decimal number", id="W2A-RESP-20-space"),
        pytest.param(("Content-Length", "1_0"), "decimal number", id="W2A-RESP-20-underscore"),
        pytest.param(("Content-Length", ""), "decimal number", id="W2A-RESP-20-empty"),
        pytest.param(("Content-Length", "\u00b2"), "decimal number", id="W2A-RESP-20-no-digit"),
        pytest.param(("X",), "pairs of a name and a value", id="W2A-RESP-18-no-pair"),
        pytest.param(None, "pairs of a name and a value", id="W2A-RESP-18-none"),
    ],
)
async def test_a_bad_header_raises_from_start_response(header: Any, text: str) -> None:
    """The application itself gets the error, which names what was wrong."""
    raised: list[Exception] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            start_response("200 OK", [header])
        except ApplicationError as error:
            raised.append(error)
            raise
        return [b"x"]

    with pytest.raises(ApplicationError, match=text):
        await answer_of(app)
    assert len(raised) == 1


@rule("W2A-RESP-20")
async def test_two_different_lengths_raise(_rule: None) -> None:
    """Which of the two would be right cannot be told."""
    app = returns([b"x"], headers=[("Content-Length", "1"), ("content-length", "2")])
    with pytest.raises(ApplicationValueError, match="two different lengths, 1 and 2"):
        await answer_of(app)


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(("Connection", "close"), id="W2A-RESP-19-strict"),
        pytest.param(("Trailer", "x"), id="W2A-RESP-19-strict-trailer"),
        pytest.param(("Status", "200 OK"), id="W2A-RESP-22"),
    ],
)
async def test_strict_mode_refuses_what_pep_3333_refuses(header: tuple[str, str]) -> None:
    """With strict=True such headers raise instead of being dropped or passed."""
    with pytest.raises(ApplicationValueError, match=header[0]):
        await answer_of(returns([b"x"], headers=[header]), strict=True)


@rule("W2A-RESP-18")
async def test_the_header_list_is_copied_at_the_call(_rule: None) -> None:
    """What the application does to its list afterwards has no effect."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        headers = [("X", "y")]
        start_response("200 OK", headers)
        headers.append(("Late", "1"))
        headers[0] = ("Z", "z")
        return [b"x"]

    assert (await answer_of(app)).headers == [(b"x", b"y")]


@pytest.mark.parametrize(
    "given",
    [
        pytest.param((("X", "y"),), id="W2A-RESP-18-tuple"),
        pytest.param({"X": "y"}.items(), id="W2A-RESP-18-items"),
        pytest.param(iter([("X", "y")]), id="W2A-RESP-18-iterator"),
    ],
)
async def test_headers_need_not_be_a_list(given: Any) -> None:
    """Any iterable of pairs is taken, also one that can be iterated only once."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", given)
        return [b"x"]

    assert (await answer_of(app)).headers == [(b"x", b"y")]


# Calling it again


@rule("W2A-RESP-23")
async def test_a_second_call_without_exc_info_raises(_rule: None) -> None:
    """The first start stays in force."""
    errors: list[Exception] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("X", "first")])
        try:
            start_response("201 Created", [("X", "second")])
        except ApplicationOrderError as error:
            errors.append(error)
        return [b"x"]

    answer = await answer_of(app)
    assert (answer.status, answer.headers) == (200, [(b"x", b"first")])
    assert "a second time without exc_info" in str(errors[0])


@rule("W2A-RESP-23-after-failure")
async def test_a_call_that_failed_counts_as_a_call(_rule: None) -> None:
    """After a call with bad arguments, another without exc_info raises too; one with exc_info stands."""
    errors: list[Exception] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            start_response("bad", [])
        except ApplicationValueError:
            try:
                start_response("200 OK", [])
            except ApplicationOrderError as error:
                errors.append(error)
            start_response("500 Sorry", [], sys.exc_info())
        return [b"x"]

    assert (await answer_of(app)).status == 500
    assert len(errors) == 1


@rule("W2A-RESP-24")
async def test_exc_info_before_the_commit_replaces_status_and_headers(_rule: None) -> None:
    """Nothing of the first start is left, even after empty chunks."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("A", "1")])
        yield b""
        try:
            raise ValueError
        except ValueError:
            start_response("500 Sorry", [("B", "2")], sys.exc_info())
        yield b"error page"

    answer = await answer_of(app)
    assert (answer.status, answer.headers, answer.body) == (500, [(b"b", b"2")], b"error page")


@rule("W2A-RESP-25")
async def test_exc_info_after_the_commit_raises_it(_rule: None) -> None:
    """The same object, with its traceback, out of start_response; the body is not completed."""
    original = ValueError("late")
    inside: list[BaseException] = []

    def fails() -> None:
        raise original

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"x"
        try:
            fails()
        except ValueError:
            try:
                start_response("500 Sorry", [], sys.exc_info())
            except ValueError as error:
                inside.append(error)
                raise

    async with connection(WsgiToAsgi(app)) as opened:
        with pytest.raises(ValueError, match="late") as caught:
            await opened.result()
        assert caught.value is original
        assert inside == [original]
        names = []
        traceback = caught.value.__traceback__
        while traceback is not None:
            names.append(traceback.tb_frame.f_code.co_name)
            traceback = traceback.tb_next
        assert "fails" in names
        assert opened.answer.chunks == [b"x"]
        assert not opened.answer.complete


@rule("W2A-RESP-26")
async def test_an_empty_exc_info_after_the_commit_raises_runtime_error(_rule: None) -> None:
    """There is nothing to raise, and going on would be wrong."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"x"
        start_response("500 Sorry", [], (None, None, None))

    with pytest.raises(RuntimeError, match="empty exc_info"):
        await answer_of(app)


@rule("W2A-RESP-26-type")
async def test_exc_info_has_to_be_a_tuple(_rule: None) -> None:
    """Anything else is a mistake of the application."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [], ValueError())
        return [b"x"]

    with pytest.raises(TypeError, match=r"sys\.exc_info\(\)"):
        await answer_of(app)


@rule("W2A-RESP-27")
async def test_no_reference_to_exc_info_outlives_the_call(_rule: None) -> None:
    """With the garbage collector off, the exception is gone when the request is."""

    class Failure(Exception):
        pass

    kept: list[weakref.ref[Failure]] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            raise Failure
        except Failure as error:
            kept.append(weakref.ref(error))
            start_response("500 Sorry", [], sys.exc_info())
        return [b"x"]

    gc.collect()
    gc.disable()
    try:
        await answer_of(app)
        assert kept[0]() is None
    finally:
        gc.enable()


@rule("W2A-RESP-27-committed")
async def test_no_reference_to_exc_info_outlives_a_call_that_raises_it(_rule: None) -> None:
    """Not even in the frames that its own traceback has."""

    class Failure(Exception):
        pass

    kept: list[weakref.ref[Failure]] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"x"
        try:
            raise Failure
        except Failure as error:
            kept.append(weakref.ref(error))
            try:
                start_response("500 Sorry", [], sys.exc_info())
            except Failure:
                pass

    gc.collect()
    gc.disable()
    try:
        await answer_of(app)
        assert kept[0]() is None
    finally:
        gc.enable()


@rule("W2A-RESP-28")
async def test_an_old_write_writes_under_the_new_start(_rule: None) -> None:
    """The first call's write stays usable after a replacing call."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [])
        start_response("500 Sorry", [], (None, None, None))
        write(b"x")
        return []

    answer = await answer_of(app)
    assert (answer.status, answer.body) == (500, b"x")


@rule("W2A-RESP-29")
async def test_a_call_after_the_response_raises(_rule: None) -> None:
    """Nothing can be started once everything has been sent."""
    kept: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        kept.append(start_response)
        kept.append(start_response("200 OK", []))
        return [b"x"]

    answer = await answer_of(app)
    with pytest.raises(ApplicationOrderError, match="the response is complete"):
        kept[0]("200 OK", [])
    with pytest.raises(OSError, match="has ended"):
        kept[1](b"more")
    assert answer.body == b"x"


@rule("W2A-RESP-29-exc_info")
async def test_a_call_with_exc_info_after_the_response_raises_it(_rule: None) -> None:
    """It comes too late, as it does after the first chunk, and nothing is sent."""
    original = ValueError("in the last step")

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        write = start_response("200 OK", [("Content-Length", "1")])
        write(b"x")
        try:
            raise original
        except ValueError:
            start_response("500 Sorry", [], sys.exc_info())
        yield b"never"

    async with connection(WsgiToAsgi(app)) as opened:
        with pytest.raises(ValueError, match="in the last step") as caught:
            await opened.result()
        assert caught.value is original
        assert opened.answer.status == 200
        assert opened.answer.body == b"x"


# write


@pytest.mark.parametrize(
    "data",
    [
        pytest.param("text", id="W2A-RESP-30-str"),
        pytest.param(None, id="W2A-RESP-30-none"),
        pytest.param(bytearray(b"x"), id="W2A-RESP-30-bytearray"),
    ],
)
async def test_write_takes_bytes_only(data: Any) -> None:
    """Anything else raises TypeError in the application."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])(data)
        return []

    with pytest.raises(ApplicationTypeError, match="give bytes"):
        await answer_of(app)


@rule("W2A-RESP-30-position")
async def test_write_takes_its_argument_by_position(_rule: None) -> None:
    """Its name is nobody's affair."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])(data=b"x")
        return []

    with pytest.raises(TypeError, match="positional"):
        await answer_of(app)


@rule("W2A-RESP-31")
async def test_write_waits_where_the_client_is_slow(_rule: None) -> None:
    """What is held for the client stays within the window and one chunk."""
    written = 0

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        nonlocal written
        write = start_response("200 OK", [])
        for _ in range(100):
            write(b"x" * 1000)
            written += 1000
        return []

    async with connection(WsgiToAsgi(app, window=5000)) as opened:
        opened.gate.clear()
        while written < 5000:
            await asyncio.sleep(0)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert written <= 6000
        opened.gate.set()
        assert len((await opened.result()).body) == 100_000


@rule("W2A-RESP-32")
async def test_written_bytes_come_before_those_of_the_iterable(_rule: None) -> None:
    """Both are sent, in this order."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [])
        write(b"a")
        write(b"b")
        return [b"c", b"d"]

    assert (await answer_of(app)).body == b"abcd"


@rule("W2A-RESP-33")
async def test_a_write_past_the_length_raises_after_what_fits(_rule: None) -> None:
    """The declared bytes are sent, the application gets an error, nothing follows."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [("Content-Length", "3")])
        write(b"ab")
        write(b"cd")
        return []

    async with connection(WsgiToAsgi(app)) as opened:
        with pytest.raises(ApplicationValueError, match="room for 1"):
            await opened.result()
        assert opened.answer.body == b"abc"


@rule("W2A-RESP-34")
async def test_write_raises_an_oserror_once_the_client_has_gone(_rule: None) -> None:
    """The application learns of it, and the call ends quietly."""
    errors: list[BaseException] = []
    gone = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [])
        write(b"x")
        environ["asgiadapt.disconnected"].wait(10)
        gone.set()
        try:
            write(b"y")
        except OSError as error:
            errors.append(error)
        return []

    async with connection(WsgiToAsgi(app)) as opened:
        await opened.chunks(1)
        opened.disconnect()
        await opened.result()
        assert gone.is_set()
    assert isinstance(errors[0], ClientDisconnected)
    assert "gone away" in str(errors[0])


# The iterable


@rule("W2A-RESP-35")
async def test_start_response_may_come_with_the_first_step(_rule: None) -> None:
    """A generator calls it only when it is iterated."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("202 Later", [])
        yield b"x"

    assert (await answer_of(app)).status == 202


@pytest.mark.parametrize(
    "result",
    [
        pytest.param([b"x"], id="W2A-RESP-36-chunk"),
        pytest.param([], id="W2A-RESP-36-end"),
        pytest.param([b"", b""], id="W2A-RESP-37-then-end"),
    ],
)
async def test_a_body_without_start_response_is_an_error(result: list[bytes]) -> None:
    """It is named, and close() runs."""
    iterable = Closing(*result)
    with pytest.raises(ApplicationOrderError, match="before it called start_response"):
        await answer_of(lambda environ, start_response: iterable)
    assert iterable.closed == 1


@rule("W2A-RESP-37")
async def test_empty_chunks_before_start_response_are_skipped(_rule: None) -> None:
    """Middleware may yield them while it waits."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        yield b""
        start_response("200 OK", [])
        yield b"x"

    assert (await answer_of(app)).body == b"x"


@rule("W2A-RESP-38")
async def test_empty_chunks_do_not_commit(_rule: None) -> None:
    """After any number of them the application may still change its mind."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        for _ in range(5):
            yield b""
        start_response("503 Later", [], (None, None, None))
        yield b"x"

    assert (await answer_of(app)).status == 503


@rule("W2A-RESP-39")
async def test_empty_chunks_after_the_commit_send_nothing(_rule: None) -> None:
    """There is no information in them."""
    answer = await answer_of(returns(iter([b"x", b"", b"", b"y", b""])))
    assert [event.get("body") for event in answer.events[1:]] == [b"x", b"y", b""]


@rule("W2A-RESP-40")
async def test_each_chunk_is_one_event_unchanged(_rule: None) -> None:
    """No merging, no splitting, empty ones left out (W2A-RESP-39), one empty final event (W2A-RESP-42)."""
    chunks = [b"a", b"", b"bc", b"d" * 100_000, b"", b"e"]
    answer = await answer_of(returns(iter(chunks)))
    bodies = [event for event in answer.events if event["type"] == "http.response.body"]
    assert [event["body"] for event in bodies] == [b"a", b"bc", b"d" * 100_000, b"e", b""]
    assert [event["more_body"] for event in bodies] == [True, True, True, True, False]


@rule("W2A-RESP-40-waiting")
async def test_chunks_that_wait_cross_together_and_stay_apart(_rule: None) -> None:
    """Held back by the client, several chunks cross at once, each in its own event."""
    app = returns(iter([b"%d" % n for n in range(50)]))
    async with connection(WsgiToAsgi(app)) as opened:
        opened.gate.clear()
        for _ in range(100):
            await asyncio.sleep(0)
        opened.gate.set()
        assert (await opened.result()).chunks == [b"%d" % n for n in range(50)]


@rule("W2A-RESP-41")
async def test_a_slow_client_slows_the_application_down(_rule: None) -> None:
    """The iterable is asked for no more than the window and one chunk ahead of the client."""
    iterable = Closing(*[b"x" * 1000] * 100)
    async with connection(WsgiToAsgi(returns(iterable), window=5000)) as opened:
        opened.gate.clear()
        while iterable.given < 6:
            await asyncio.sleep(0)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert iterable.given <= 7
        opened.gate.set()
        assert len((await opened.result()).body) == 100_000
    assert iterable.closed == 1


@rule("W2A-RESP-41-first-chunk")
async def test_a_chunk_leaves_before_the_next_is_made(_rule: None) -> None:
    """The client has the first chunk while the application still waits with the second."""
    may_go_on = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        yield b"data: 1\n\n"
        may_go_on.wait(10)
        yield b"data: 2\n\n"

    async with connection(WsgiToAsgi(app)) as opened:
        assert await opened.chunks(1) == [b"data: 1\n\n"]
        may_go_on.set()
        assert len((await opened.result()).chunks) == 2


@rule("W2A-RESP-42")
async def test_an_empty_iterable_gives_start_and_one_final_event(_rule: None) -> None:
    """A redirect without a body is a whole response."""
    answer = await answer_of(returns([], status="302 Found", headers=[("Location", "/x")]))
    assert [event["type"] for event in answer.events] == [
        "http.response.start",
        "http.response.body",
    ]
    assert answer.events[1]["body"] == b""
    assert answer.complete


@rule("W2A-RESP-43")
async def test_a_single_chunk_carries_the_final_marker(_rule: None) -> None:
    """One event less on the commonest kind of response."""
    answer = await answer_of(returns([b"x"]))
    assert answer.events[1:] == [{"type": "http.response.body", "body": b"x", "more_body": False}]


@pytest.mark.parametrize(
    ("method", "status", "headers", "added"),
    [
        pytest.param("GET", "200 OK", [], True, id="W2A-RESP-44"),
        pytest.param("GET", "200 OK", [("Content-Length", "4")], False, id="W2A-RESP-44-given"),
        pytest.param("HEAD", "200 OK", [], False, id="W2A-RESP-44-HEAD"),
        pytest.param("GET", "204 No Content", [], False, id="W2A-RESP-44-204"),
        pytest.param("GET", "304 Not Modified", [], False, id="W2A-RESP-44-304"),
    ],
)
async def test_the_length_is_added_on_request_only(
    method: str, status: str, headers: list[tuple[str, str]], added: bool
) -> None:
    """With add_content_length=True, for one chunk of a response that has a body."""
    app = returns([b"body"], status=status, headers=headers)
    answer = await answer_of(app, method=method, add_content_length=True)
    assert ((b"content-length", b"4") in answer.headers) == (added or bool(headers))
    assert sum(name == b"content-length" for name, _ in answer.headers) <= 1
    if not headers:
        plain = await answer_of(app, method=method)
        assert not any(name == b"content-length" for name, _ in plain.headers)


@rule("W2A-RESP-44-len-raises")
async def test_a_len_that_raises_counts_as_unknown(_rule: None) -> None:
    """The response goes out as a stream."""

    class Result(list[bytes]):
        def __len__(self) -> int:
            raise ValueError

    assert (await answer_of(returns(Result([b"x"])), add_content_length=True)).headers == []


@pytest.mark.parametrize(
    "chunk",
    [
        pytest.param("text", id="W2A-RESP-45-str"),
        pytest.param(65, id="W2A-RESP-45-int"),
        pytest.param(None, id="W2A-RESP-45-none"),
        pytest.param(bytearray(b"x"), id="W2A-RESP-46-bytearray"),
        pytest.param(memoryview(b"x"), id="W2A-RESP-46-memoryview"),
    ],
)
async def test_a_chunk_has_to_be_bytes(chunk: Any) -> None:
    """The error tells the type; close() runs."""
    iterable = Closing(chunk)
    with pytest.raises(ApplicationTypeError, match=type(chunk).__name__):
        await answer_of(returns(iterable))
    assert iterable.closed == 1


@rule("W2A-RESP-46")
async def test_subclasses_of_bytes_are_taken(_rule: None) -> None:
    """They are bytes."""

    class Special(bytes):
        pass

    assert (await answer_of(returns([Special(b"x")]))).body == b"x"


@pytest.mark.parametrize(
    "result",
    [
        pytest.param(None, id="W2A-RESP-47-none"),
        pytest.param("page", id="W2A-RESP-47-str"),
        pytest.param(b"page", id="W2A-RESP-47-bytes"),
    ],
)
async def test_a_result_that_is_no_iterable_of_bytes_is_an_error(result: Any) -> None:
    """Not an empty page, and not a page of numbers."""
    with pytest.raises(ApplicationTypeError, match="return an iterable of bytes"):
        await answer_of(returns(result))


class OldSequence:
    def __getitem__(self, index: int) -> bytes:
        return (b"a", b"b")[index]


@pytest.mark.parametrize(
    "result",
    [
        pytest.param([b"a", b"b"], id="W2A-RESP-48-list"),
        pytest.param((b"a", b"b"), id="W2A-RESP-48-tuple"),
        pytest.param(OldSequence(), id="W2A-RESP-48-getitem"),
        pytest.param({b"a": 1, b"b": 2}, id="W2A-RESP-48-dict"),
        pytest.param(Closing(b"a", b"b"), id="W2A-RESP-48-object"),
    ],
)
async def test_any_iterable_works(result: Any) -> None:
    """Whatever can be iterated."""
    assert (await answer_of(returns(result))).body == b"ab"


@rule("W2A-RESP-49")
async def test_nothing_else_of_the_result_is_used(_rule: None) -> None:
    """Attributes other than iteration, len() and close are left alone."""

    class Shy:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"x"])

        def __getattr__(self, name: str) -> Any:
            assert name == "close", name
            raise AttributeError(name)

    assert (await answer_of(returns(Shy()))).body == b"x"


# Lengths, and responses without a body


@rule("W2A-RESP-50")
async def test_no_more_than_the_declared_length_is_sent(_rule: None) -> None:
    """The chunk that crosses it is cut, next() is not called again, and close() runs."""
    iterable = Closing(b"abc", b"defg", b"never", AssertionError("asked once more"))
    answer = await answer_of(returns(iterable, headers=[("Content-Length", "5")]))
    assert answer.body == b"abcde"
    assert answer.complete
    assert (iterable.given, iterable.closed) == (2, 1)


@rule("W2A-RESP-50-exact")
async def test_at_the_declared_length_the_end_is_not_looked_for(_rule: None) -> None:
    """Not even once."""
    iterable = Closing(b"abc", AssertionError("asked once more"))
    answer = await answer_of(returns(iterable, headers=[("Content-Length", "3")]))
    assert answer.events[-1] == {"type": "http.response.body", "body": b"abc", "more_body": False}
    assert iterable.closed == 1


@rule("W2A-RESP-50-write")
async def test_an_iterable_is_not_asked_once_write_has_sent_the_declared_length(_rule: None) -> None:
    """Nothing more is wanted of it; it is closed."""
    iterable = Closing(b"never", b"never")

    def app(environ: dict[str, Any], start_response: Any) -> Closing:
        start_response("200 OK", [("Content-Length", "3")])(b"abc")
        return iterable

    answer = await answer_of(app)
    assert (answer.body, answer.complete) == (b"abc", True)
    assert (iterable.given, iterable.closed) == (0, 1)


@rule("W2A-RESP-50-single")
async def test_a_single_chunk_is_cut_at_the_declared_length(_rule: None) -> None:
    """Although it is known to be the whole body."""
    answer = await answer_of(returns([b"abcdef"], headers=[("Content-Length", "4")]))
    assert answer.events[1:] == [{"type": "http.response.body", "body": b"abcd", "more_body": False}]


@rule("W2A-RESP-51")
async def test_a_body_shorter_than_declared_is_not_ended(_rule: None) -> None:
    """The call raises and there is no final event, so that the server cuts the connection."""
    iterable = Closing(b"abc")
    async with connection(WsgiToAsgi(returns(iterable, headers=[("Content-Length", "5")]))) as opened:
        with pytest.raises(ApplicationValueError, match="2 bytes short"):
            await opened.result()
        assert opened.answer.body == b"abc"
        assert not opened.answer.complete
    assert iterable.closed == 1


@rule("W2A-RESP-51-single")
async def test_a_single_chunk_shorter_than_declared_is_not_ended(_rule: None) -> None:
    """The shortcut for single chunks makes the same check."""
    async with connection(WsgiToAsgi(returns([b"abc"], headers=[("Content-Length", "5")]))) as opened:
        with pytest.raises(ApplicationValueError, match="2 bytes short"):
            await opened.result()
        assert not opened.answer.complete


@rule("W2A-RESP-51-write")
async def test_written_bytes_short_of_the_declared_length_are_not_ended(_rule: None) -> None:
    """They count as those of the iterable do."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "5")])(b"ab")
        return [b"c"]

    async with connection(WsgiToAsgi(app)) as opened:
        with pytest.raises(ApplicationValueError, match="2 bytes short"):
            await opened.result()
        assert opened.answer.body == b"abc"
        assert not opened.answer.complete


@pytest.mark.parametrize(
    ("method", "status", "keeps_length"),
    [
        pytest.param("HEAD", "200 OK", True, id="W2A-RESP-52-HEAD"),
        pytest.param("GET", "204 No Content", False, id="W2A-RESP-53-204"),
        pytest.param("GET", "205 Reset", False, id="W2A-RESP-52-205"),
        pytest.param("GET", "304 Not Modified", True, id="W2A-RESP-53-304"),
    ],
)
@pytest.mark.parametrize("chunks", [[], [b"abc"], [b"abc", b"d"]], ids=["none", "one", "two"])
async def test_some_responses_have_no_body(
    method: str, status: str, keeps_length: bool, chunks: list[bytes]
) -> None:
    """Start and one empty final event; the iterable is consumed and closed, lengths are not checked."""
    iterable = Closing(*chunks)
    app = returns(iterable, status=status, headers=[("Content-Length", "9"), ("X", "y")])
    answer = await answer_of(app, method=method)
    assert answer.body == b""
    assert len(answer.events) == 2
    assert answer.complete
    assert ((b"content-length", b"9") in answer.headers) == keeps_length
    assert (b"x", b"y") in answer.headers
    assert (iterable.given, iterable.closed) == (len(chunks), 1)


# Files and hints


@rule("W2A-RESP-54")
async def test_the_file_wrapper_gives_blocks(_rule: None, tmp_path: Path) -> None:
    """From the current position to the end, in blocks of the size asked for."""
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        file = path.open("rb")
        file.seek(1)
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](file, 4)

    assert (await answer_of(app)).chunks == [b"1234", b"5678", b"9"]


@rule("W2A-RESP-55")
async def test_the_file_wrapper_closes_what_can_be_closed(_rule: None) -> None:
    """It has close() exactly where the file has it, and calls that one."""
    closed = 0

    class Readable:
        def __init__(self) -> None:
            self.left = [b"x", b""]

        def read(self, size: int) -> bytes:
            return self.left.pop(0)

    class Closable(Readable):
        def close(self) -> None:
            nonlocal closed
            closed += 1

    wrappers: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        file = Closable() if environ["PATH_INFO"] == "/closable" else Readable()
        wrappers.append(environ["wsgi.file_wrapper"](file))
        return wrappers[-1]

    adapter = WsgiToAsgi(app)
    assert (await request(adapter)).body == b"x"
    assert not hasattr(wrappers[-1], "close")
    assert (await request(adapter, path="/closable")).body == b"x"
    assert closed == 1


@rule("W2A-RESP-54-default")
async def test_blocks_have_a_size_where_none_is_asked_for(_rule: None) -> None:
    """The file is read in blocks, on the worker, to the first empty one."""
    sizes: list[int] = []
    threads: set[int] = set()

    class Readable:
        def read(self, size: int) -> bytes:
            sizes.append(size)
            threads.add(threading.get_ident())
            return b"x" if len(sizes) < 3 else b""

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](Readable())

    assert (await answer_of(app)).body == b"xx"
    assert len(sizes) == 3
    assert len(set(sizes)) == 1
    assert sizes[0] >= 4096
    assert threading.get_ident() not in threads


PATHSEND = {"extensions": {"http.response.pathsend": {}}}
ZERO_COPY = {"extensions": {"http.response.zerocopysend": {}}}
BOTH = {"extensions": {**PATHSEND["extensions"], **ZERO_COPY["extensions"]}}


class SendsFile:
    """Sends the file at *path* from *start*, with *length* declared, perhaps through middleware."""

    def __init__(self, path: Path, *, start: int = 0, length: int | None = None, wrap: bool = False) -> None:
        self.path, self.start, self.length, self.wrap = path, start, length, wrap
        self.file: Any = None

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        self.file = self.path.open("rb")
        self.file.seek(self.start)
        headers = [] if self.length is None else [("Content-Length", str(self.length))]
        start_response("200 OK", headers)
        result = environ["wsgi.file_wrapper"](self.file)
        return (chunk for chunk in result) if self.wrap else result

    @property
    def closed(self) -> bool:
        return bool(self.file.closed)


@pytest.fixture
def ten_bytes(tmp_path: Path) -> Path:
    path = tmp_path / "ten"
    path.write_bytes(b"0123456789")
    return path


@rule("W2A-RESP-58")
async def test_a_whole_file_goes_by_its_path(_rule: None, ten_bytes: Path) -> None:
    """One pathsend event, no body event, and the file is closed after it was sent."""
    app = SendsFile(ten_bytes)
    async with connection(WsgiToAsgi(app), **PATHSEND) as opened:
        opened.gate.clear()
        while app.file is None:
            await asyncio.sleep(0)
        for _ in range(500):
            await asyncio.sleep(0)
        assert not app.closed  # the server has yet to open it
        opened.gate.set()
        answer = await opened.result()
    assert answer.events[1:] == [{"type": "http.response.pathsend", "path": str(ten_bytes)}]
    assert app.closed


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"start": 3}, id="W2A-RESP-58-position"),
        pytest.param({"length": 4}, id="W2A-RESP-58-length"),
        pytest.param({"wrap": True}, id="W2A-RESP-56-middleware"),
    ],
)
async def test_part_of_a_file_does_not_go_by_its_path(options: dict[str, Any], ten_bytes: Path) -> None:
    """A position, a shorter length or middleware around it make it an ordinary iterable."""
    app = SendsFile(ten_bytes, **options)
    answer = await request(WsgiToAsgi(app), **PATHSEND)
    assert answer.body == b"0123456789"[options.get("start", 0) :][: options.get("length", 10)]
    assert app.closed != options.get("wrap", False)  # a generator has a close() of its own
    app.file.close()


@pytest.mark.parametrize(
    ("options", "offset", "count"),
    [
        pytest.param({}, 0, 10, id="W2A-RESP-57"),
        pytest.param({"start": 3}, 3, 7, id="W2A-RESP-57-position"),
        pytest.param({"length": 4}, 0, 4, id="W2A-RESP-57-length"),
        pytest.param({"start": 3, "length": 4}, 3, 4, id="W2A-RESP-57-range"),
    ],
)
async def test_a_file_goes_by_its_descriptor(
    options: dict[str, Any], offset: int, count: int, ten_bytes: Path
) -> None:
    """One zerocopysend event tells the server where to begin and how much to send."""
    app = SendsFile(ten_bytes, **options)
    answer = await request(WsgiToAsgi(app), **ZERO_COPY)
    (event,) = answer.events[1:]
    assert event["type"] == "http.response.zerocopysend"
    assert (event["offset"], event["count"], event["more_body"]) == (offset, count, False)
    assert event["file"] is app.file
    assert app.closed


@rule("W2A-RESP-57-close")
@pytest.mark.parametrize("end", ["sent", "failed"])
async def test_a_file_is_closed_once_the_server_has_done_with_it(
    _rule: None, end: str, ten_bytes: Path
) -> None:
    """By the adapter, and not while the server reads it."""
    app = SendsFile(ten_bytes)
    async with connection(WsgiToAsgi(app), **ZERO_COPY) as opened:
        opened.gate.clear()
        while app.file is None:
            await asyncio.sleep(0)
        for _ in range(500):
            await asyncio.sleep(0)
        assert not app.closed
        if end == "failed":
            opened.send_error = OSError("connection lost")
        opened.gate.set()
        if end == "failed":
            with pytest.raises(OSError, match="connection lost"):
                await opened.result()
        else:
            await opened.result()
        assert opened.answer.complete == (end == "sent")
    assert app.closed


def in_memory(path: Path) -> Any:
    return io.BytesIO(path.read_bytes())


def named_temporary(path: Path) -> Any:
    file = tempfile.NamedTemporaryFile(dir=path.parent)  # noqa: SIM115 - the adapter closes it
    file.write(path.read_bytes())
    file.seek(0)
    return file


def written_and_read(path: Path) -> Any:
    return path.open("r+b")


def gzipped(path: Path) -> Any:
    path.write_bytes(gzip.compress(path.read_bytes()))
    return gzip.open(path)


def from_a_pipe(path: Path) -> Any:
    reader, writer = os.pipe()
    os.write(writer, path.read_bytes())
    os.close(writer)
    return os.fdopen(reader, "rb", buffering=0)


@pytest.mark.parametrize(
    "opener",
    [
        pytest.param(in_memory, id="W2A-RESP-57-BytesIO"),
        pytest.param(named_temporary, id="W2A-RESP-57-tempfile"),
        pytest.param(written_and_read, id="W2A-RESP-57-read-and-write"),
        pytest.param(gzipped, id="W2A-RESP-57-gzip"),
    ],
)
async def test_what_is_not_a_plain_file_goes_in_chunks(
    opener: Callable[[Path], Any], ten_bytes: Path
) -> None:
    """Its bytes are not those on the disk, or are not there for long."""
    files: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        files.append(opener(ten_bytes))
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](files[0])

    answer = await request(WsgiToAsgi(app), **BOTH)
    assert answer.chunks == [b"0123456789"]
    assert files[0].closed


@rule("W2A-RESP-57-pipe")
@pytest.mark.parametrize("offered", [{}, PATHSEND, ZERO_COPY], ids=["none", "path", "descriptor"])
async def test_a_pipe_goes_in_chunks(_rule: None, offered: dict[str, Any], ten_bytes: Path) -> None:
    """It has a descriptor, and neither a position nor a size."""

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](from_a_pipe(ten_bytes))

    assert (await request(WsgiToAsgi(app), **offered)).chunks == [b"0123456789"]


@rule("W2A-RESP-57-closed")
async def test_a_closed_file_is_an_error_of_the_application(_rule: None, ten_bytes: Path) -> None:
    """Its own, as reading it gives it; nothing was sent."""

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        with ten_bytes.open("rb") as file:
            start_response("200 OK", [])
            return environ["wsgi.file_wrapper"](file)

    async with connection(WsgiToAsgi(app), **BOTH) as opened:
        with pytest.raises(ValueError, match="closed file"):
            await opened.result()
        assert opened.answer.events == []


@rule("W2A-RESP-57-empty")
async def test_an_empty_file_gives_a_plain_final_event(_rule: None, ten_bytes: Path) -> None:
    """There is nothing to be sent by the server, also where the file is at its end."""
    for start in (0, 10):
        if not start:
            ten_bytes.write_bytes(b"")
        app = SendsFile(ten_bytes, start=start)
        answer = await request(WsgiToAsgi(app), **BOTH)
        assert answer.events[1:] == [{"type": "http.response.body", "body": b"", "more_body": False}]
        assert app.closed


@rule("W2A-RESP-57-short")
async def test_a_file_shorter_than_declared_is_not_ended(_rule: None, ten_bytes: Path) -> None:
    """Neither way of sending it makes up for what is missing."""
    app = SendsFile(ten_bytes, length=11)
    async with connection(WsgiToAsgi(app), **BOTH) as opened:
        with pytest.raises(ApplicationValueError, match="1 bytes short"):
            await opened.result()
        assert not opened.answer.complete
    assert app.closed


@rule("W2A-RESP-57-after-write")
async def test_a_file_after_written_bytes_goes_in_chunks(_rule: None, ten_bytes: Path) -> None:
    """It is not the whole body."""

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])(b"first ")
        return environ["wsgi.file_wrapper"](ten_bytes.open("rb"))

    assert (await request(WsgiToAsgi(app), **BOTH)).body == b"first 0123456789"


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        pytest.param({}, "pathsend", id="W2A-RESP-58-both"),
        pytest.param({"length": 10}, "pathsend", id="W2A-RESP-58-exact-length"),
        pytest.param({"start": 1}, "zerocopysend", id="W2A-RESP-57-both"),
    ],
)
async def test_the_path_is_preferred_where_the_whole_file_is_sent(
    options: dict[str, Any], kind: str, ten_bytes: Path
) -> None:
    """The descriptor is for the rest."""
    answer = await request(WsgiToAsgi(SendsFile(ten_bytes, **options)), **BOTH)
    assert [event["type"] for event in answer.events[1:]] == [f"http.response.{kind}"]


@rule("W2A-RESP-58-relative")
async def test_a_relative_path_is_not_sent(
    _rule: None, ten_bytes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server may be in another folder."""
    monkeypatch.chdir(ten_bytes.parent)
    answer = await request(WsgiToAsgi(SendsFile(Path(ten_bytes.name))), **PATHSEND)
    assert answer.body == b"0123456789"


@rule("W2A-RESP-56-unused")
async def test_a_wrapper_that_is_not_returned_sends_nothing(_rule: None, ten_bytes: Path) -> None:
    """To make one is not to use it."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        with ten_bytes.open("rb") as file:
            environ["wsgi.file_wrapper"](file)
        start_response("200 OK", [])
        return [b"own body"]

    assert (await request(WsgiToAsgi(app), **BOTH)).body == b"own body"


@rule("W2A-RESP-58-replaced")
async def test_a_file_that_was_replaced_does_not_go_by_its_path(_rule: None, ten_bytes: Path) -> None:
    """The path leads to another file than the one that is open."""

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        file = ten_bytes.open("rb")
        ten_bytes.unlink()
        ten_bytes.write_bytes(b"another!!!")
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](file)

    assert (await request(WsgiToAsgi(app), **PATHSEND)).body == b"0123456789"


@rule("W2A-RESP-58-HEAD")
async def test_a_file_is_not_sent_for_head(_rule: None, ten_bytes: Path) -> None:
    """HEAD has no body, by path or otherwise."""
    answer = await request(WsgiToAsgi(SendsFile(ten_bytes)), method="HEAD", **PATHSEND)
    assert [event["type"] for event in answer.events] == [
        "http.response.start",
        "http.response.body",
    ]


HINTS = {"extensions": {"http.response.early_hint": {}}}


@rule("W2A-RESP-59")
async def test_early_hints_leave_before_the_head(_rule: None) -> None:
    """One event a call with the values of its Link pairs; calls after the head are ignored."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        hint = environ["wsgi.early_hints"]
        hint([("Link", "</a.css>; rel=preload"), ("X", "y"), ("link", "</b.js>")])
        hint([("X", "no link")])
        start_response("200 OK", [])
        yield b"x"
        hint([("Link", "</late>")])

    answer = await request(WsgiToAsgi(app), **HINTS)
    assert answer.events[0] == {
        "type": "http.response.early_hint",
        "links": [b"</a.css>; rel=preload", b"</b.js>"],
    }
    assert [event["type"] for event in answer.events[1:]] == [
        "http.response.start",
        "http.response.body",
        "http.response.body",
    ]


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        pytest.param([("Link", "a\r\nb")], "control characters", id="W2A-RESP-59-line-end"),
        pytest.param([("Link", b"</a>")], "give a str", id="W2A-RESP-59-bytes"),
        pytest.param([("Bad Name", "x")], "made of ASCII letters", id="W2A-RESP-59-name"),
    ],
)
async def test_early_hints_are_checked(headers: Any, text: str) -> None:
    """A bad pair raises in the application, before anything is sent."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["wsgi.early_hints"](headers)
        start_response("200 OK", [])
        return [b"x"]

    async with connection(WsgiToAsgi(app), **HINTS) as opened:
        with pytest.raises(ApplicationError, match=text):
            await opened.result()
        assert opened.answer.events == []


@rule("W2A-RESP-59-at-once")
async def test_early_hints_leave_while_the_application_works(_rule: None) -> None:
    """That is what they are for."""
    may_go_on = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["wsgi.early_hints"]([("Link", "</a.css>")])
        may_go_on.wait(10)
        start_response("200 OK", [])
        return [b"x"]

    async with connection(WsgiToAsgi(app), **HINTS) as opened:
        await opened.until(lambda answer: len(answer.events) == 1)
        may_go_on.set()
        assert (await opened.result()).body == b"x"


@rule("W2A-RESP-71")
async def test_no_extension_event_without_its_extension(_rule: None, ten_bytes: Path) -> None:
    """The keys are absent, and files go as chunks."""
    keys: set[str] = set()

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        keys.update(environ)
        return SendsFile(ten_bytes)(environ, start_response)

    assert (await answer_of(app)).body == b"0123456789"
    assert not keys & {"wsgi.early_hints", "asgiadapt.send_trailers"}


TRAILERS = {"extensions": {"http.response.trailers": {}}}


@rule("W2A-RESP-70")
async def test_trailers_are_not_announced_by_themselves(_rule: None) -> None:
    """Even where the server offers them."""
    answer = await request(WsgiToAsgi(says_hello), **TRAILERS)
    assert not answer.events[0].get("trailers", False)


@rule("W2A-RESP-70-not-offered")
async def test_trailers_that_the_server_does_not_offer_are_not_announced(_rule: None) -> None:
    """A Trailer header is dropped like every field of the connection."""
    answer = await answer_of(returns([b"x"], headers=[("Trailer", "X-Sum")]))
    assert answer.headers == []
    assert not answer.events[0].get("trailers", False)


@rule("W2A-RESP-71-never")
async def test_push_and_debug_are_never_sent(_rule: None) -> None:
    """Although the server offers them."""
    extensions = {f"http.response.{name}": {} for name in ("push", "debug", "early_hint", "trailers")}
    answer = await request(WsgiToAsgi(says_hello), extensions=extensions)
    assert [event["type"] for event in answer.events] == ["http.response.start", "http.response.body"]


@pytest.mark.parametrize("announced_by", ["header", "call"])
async def test_trailers_follow_the_body(announced_by: str) -> None:
    """Announced by a Trailer header or an early call, set until the end of the body."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        trailers = environ["asgiadapt.send_trailers"]
        if announced_by == "call":
            trailers([])
            start_response("200 OK", [])
        else:
            start_response("200 OK", [("Trailer", "X-Sum")])
        yield b"x"
        trailers([("X-Sum", "1")])

    answer = await request(WsgiToAsgi(app), **TRAILERS)
    assert answer.events[0]["trailers"] is True
    assert answer.events[-1] == {"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]}


async def test_the_last_call_for_trailers_stands() -> None:
    """It replaces what was set before; what it is given is checked."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        trailers = environ["asgiadapt.send_trailers"]
        trailers([("X-Sum", "0"), ("X-Old", "1")])
        start_response("200 OK", [])
        yield b"x"
        trailers([("X-Sum", "1")])
        with pytest.raises(ApplicationValueError, match="control characters"):
            trailers([("X-Sum", "a\nb")])

    answer = await request(WsgiToAsgi(app), **TRAILERS)
    assert answer.events[-1] == {"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]}


async def test_trailers_that_were_not_announced_raise() -> None:
    """The head has gone without them."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"x"
        environ["asgiadapt.send_trailers"]([("X-Sum", "1")])

    with pytest.raises(ApplicationOrderError, match="announce trailers"):
        await request(WsgiToAsgi(app), **TRAILERS)


# Errors and the end


def fails_in_call(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    raise ERROR


def fails_after_start(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    raise ERROR


def fails_in_first_step(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [])
    yield b""
    raise ERROR


class Failure(Exception):
    pass


ERROR = Failure("broken")


@pytest.mark.parametrize(
    "app",
    [
        pytest.param(fails_in_call, id="W2A-RESP-62-call"),
        pytest.param(fails_after_start, id="W2A-RESP-62-started"),
        pytest.param(fails_in_first_step, id="W2A-RESP-62-first-step"),
    ],
)
async def test_an_error_before_the_commit_passes_unchanged(app: App) -> None:
    """The same object comes out of the ASGI call, and no event was sent."""
    async with connection(WsgiToAsgi(app)) as opened:
        with pytest.raises(Failure) as caught:
            await opened.result()
        assert caught.value is ERROR
        assert opened.answer.events == []


@rule("W2A-RESP-62-foreign")
async def test_an_error_of_another_request_passes_while_the_client_is_there(_rule: None) -> None:
    """ClientDisconnected is kept quiet only where this request's client has gone."""
    kept: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if kept:
            kept[0].read()
        kept.append(environ["wsgi.input"])
        return says_hello(environ, start_response)

    adapter = WsgiToAsgi(app, lazy_body=True)
    await request(adapter, b"first")
    with pytest.raises(ClientDisconnected, match="the request has ended"):
        await request(adapter, b"second")


@rule("W2A-RESP-63")
async def test_an_error_after_the_commit_leaves_the_body_open(_rule: None) -> None:
    """It propagates, and no final event makes the response look whole."""
    iterable = Closing(b"x", ERROR)
    async with connection(WsgiToAsgi(returns(iterable))) as opened:
        with pytest.raises(Failure) as caught:
            await opened.result()
        assert caught.value is ERROR
        assert opened.answer.chunks == [b"x"]
        assert not opened.answer.complete
    assert iterable.closed == 1


@rule("W2A-RESP-64")
async def test_stop_iteration_surfaces_as_runtime_error(_rule: None) -> None:
    """Neither a future nor a coroutine could carry it."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise StopIteration("empty")

    with pytest.raises(RuntimeError, match="StopIteration") as caught:
        await answer_of(app)
    assert isinstance(caught.value.__cause__, StopIteration)


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(SystemExit, id="W2A-RESP-64-SystemExit"),
        pytest.param(KeyboardInterrupt, id="W2A-RESP-64-KeyboardInterrupt"),
    ],
)
def test_exits_reach_the_caller(kind: type[BaseException]) -> None:
    """They end the loop that serves the request, as in any task."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise kind

    with pytest.raises(kind):
        asyncio.run(answer_of(app))


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(GeneratorExit("mine"), id="W2A-RESP-64-GeneratorExit"),
        pytest.param(asyncio.CancelledError("mine"), id="W2A-RESP-64-CancelledError"),
    ],
)
async def test_what_usually_ends_coroutines_reaches_the_caller(error: BaseException) -> None:
    """The object that the application raised, and no task is left (the fake checks it)."""
    iterable = Closing(b"x", error)
    async with connection(WsgiToAsgi(returns(iterable))) as opened:
        with pytest.raises(type(error), match="mine"):
            await opened.result()
        assert not opened.answer.complete
    assert iterable.closed == 1


@rule("W2A-RESP-64-receiver")
async def test_a_generator_exit_of_the_application_leaves_no_task_behind(_rule: None) -> None:
    """It is told from that of a loop that goes down, where nothing can be awaited."""

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(event: Any) -> None:
        pass

    before = asyncio.all_tasks()
    with pytest.raises(GeneratorExit, match="mine"):
        await WsgiToAsgi(returns(Closing(b"x", GeneratorExit("mine"))))(scope_for(), receive, send)
    assert asyncio.all_tasks() == before


@rule("W2A-RESP-61")
async def test_close_is_that_of_the_returned_object(_rule: None) -> None:
    """Not that of its iterator; its error propagates when nothing else does."""
    closed: list[str] = []

    class Inner:
        def __iter__(self) -> "Inner":
            return self

        def __next__(self) -> bytes:
            raise StopIteration

        def close(self) -> None:
            closed.append("iterator")

    class Outer:
        def __iter__(self) -> Inner:
            return Inner()

        def close(self) -> None:
            closed.append("result")
            raise ERROR

    async with connection(WsgiToAsgi(returns(Outer()))) as opened:
        with pytest.raises(Failure) as caught:
            await opened.result()
        assert caught.value is ERROR
        assert opened.answer.complete
    assert closed == ["result"]


@rule("W2A-RESP-61-second")
async def test_an_error_of_close_does_not_hide_the_first(
    _rule: None, caplog: pytest.LogCaptureFixture
) -> None:
    """The application's error propagates, that of close() is logged."""
    iterable = Closing(b"x", ERROR, close_error=ValueError("second"))
    with pytest.raises(Failure):
        await answer_of(returns(iterable))
    assert iterable.closed == 1
    assert any("close()" in record.getMessage() for record in caplog.records)


@rule("W2A-RESP-60-iter")
async def test_close_runs_where_iter_fails(_rule: None) -> None:
    """The result was never iterated, and is closed all the same."""
    closed = 0

    class Result:
        def __iter__(self) -> Iterator[bytes]:
            raise ERROR

        def close(self) -> None:
            nonlocal closed
            closed += 1

    with pytest.raises(Failure):
        await answer_of(returns(Result()))
    assert closed == 1


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(OSError("connection lost"), id="W2A-RESP-65"),
        pytest.param(RuntimeError("middleware failed"), id="W2A-RESP-65-any"),
        pytest.param(TimeoutError("its own"), id="W2A-RESP-65-timeout"),
    ],
)
async def test_an_error_of_send_stops_the_application(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Iteration stops, close() runs, the same error is raised again, nothing is logged."""
    iterable = Closing(*[b"x" * 1000] * 10_000)
    async with connection(WsgiToAsgi(returns(iterable), window=4000)) as opened:
        opened.send_error = error
        with pytest.raises(type(error)) as caught:
            await opened.result()
        assert caught.value is error
    assert iterable.closed == 1
    assert iterable.given < 100
    assert not [record for record in caplog.records if record.name == "asgiadapt"]


@rule("W2A-RESP-66")
async def test_a_client_that_leaves_stops_the_stream(_rule: None) -> None:
    """Although send() says nothing: the disconnect event is watched for."""
    left = threading.Event()

    def wait() -> bytes:
        left.wait(10)
        return b"y"

    iterable = Closing(b"x", wait, *[b"z"] * 1000)
    async with connection(WsgiToAsgi(returns(iterable))) as opened:
        await opened.chunks(1)
        opened.disconnect()
        while opened.receives < 2:
            await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)
        left.set()
        await opened.result()
        assert not opened.answer.complete
    assert iterable.given <= 2
    assert iterable.closed == 1


@rule("W2A-RESP-67")
async def test_cancellation_stops_the_worker_which_closes(_rule: None) -> None:
    """CancelledError comes out; the iterable is closed on the worker."""
    closed_on: list[int] = []

    class Result(Closing):
        def close(self) -> None:
            super().close()
            closed_on.append(threading.get_ident())

    iterable = Result(*[b"x" * 1000] * 1000)
    adapter = WsgiToAsgi(returns(iterable), window=2000)
    async with connection(adapter) as opened:
        opened.gate.clear()
        while iterable.given < 3:
            await asyncio.sleep(0)
        opened.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opened.result()
    assert iterable.closed == 1
    assert closed_on[0] != threading.get_ident()
    assert adapter.pool.stats().busy == 0 or adapter.pool.close(10)


@rule("W2A-RESP-68")
async def test_nothing_is_sent_after_the_call_has_returned(_rule: None) -> None:
    """A worker that was left behind by a cancelled call sends nothing (the fake would fail)."""
    may_go_on = threading.Event()
    entered = threading.Event()
    raised: list[BaseException] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        entered.set()
        may_go_on.wait(10)
        try:
            start_response("200 OK", [])(b"x")
        except OSError as error:
            raised.append(error)
        return [b"y"]

    adapter = WsgiToAsgi(app, cancel_grace=0)
    async with connection(adapter) as opened:
        await asyncio.to_thread(entered.wait, 10)
        opened.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opened.result()
        may_go_on.set()
        assert await asyncio.to_thread(adapter.pool.close, 10)
        assert opened.answer.events == []
    assert "cancelled" in str(raised[0])


@rule("W2A-RESP-69")
async def test_the_call_returns_none(_rule: None) -> None:
    """The validator checks it for every call; here for the one that has a value to return."""
    async with connection(WsgiToAsgi(echoes), body=[b"x"], method="POST") as opened:
        assert (await opened.result()).complete


@rule("W2A-RESP-08")
async def test_a_declared_length_of_zero_is_a_whole_response(_rule: None) -> None:
    """What the application yields in spite of it is cut off."""
    answer = await answer_of(returns(iter([b"abc"]), headers=[("Content-Length", "0")]))
    assert answer.body == b""
    assert answer.complete
