"""What the type checkers make of the WSGI half of `asgiadapt.typing`. Never run.

A wrong line has an ignore that must be needed, by both of them.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true

import io
import sys
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, assert_type
from wsgiref import types as stdlib

from asgiadapt.typing import (
    ErrorStream,
    ExcInfo,
    FileWrapper,
    InputStream,
    OptExcInfo,
    Readable,
    StartResponse,
    WriteCallable,
    WSGIApplication,
    WSGIEnvironment,
)


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    assert_type(environ, dict[str, Any])
    body: InputStream = environ["wsgi.input"]
    assert_type(body.read(), bytes)
    assert_type(body.read(5), bytes)
    assert_type(body.readline(), bytes)
    assert_type(body.readlines(5), list[bytes])
    for line in body:
        assert_type(line, bytes)
    errors: ErrorStream = environ["wsgi.errors"]
    errors.write("text")
    errors.writelines(["text"])
    errors.flush()
    errors.write(b"bytes")  # type: ignore[arg-type]
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    assert_type(write, WriteCallable)
    write(b"")
    write("")  # type: ignore[arg-type]
    try:
        wrapper: FileWrapper = environ["wsgi.file_wrapper"]
        return wrapper(io.BytesIO(), 8192)
    except OSError:
        assert_type(
            sys.exc_info(),
            tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None],
        )
        start_response("500 Internal Server Error", [], sys.exc_info())
        start_response("500 Internal Server Error", [], None)
    return []


def wrong_calls(start_response: StartResponse) -> None:
    start_response("200 OK")  # type: ignore[call-arg]
    start_response(200, [])  # type: ignore[arg-type]
    start_response(b"200 OK", [])  # type: ignore[arg-type]
    start_response("200 OK", ())  # type: ignore[arg-type]
    start_response("200 OK", [(b"a", b"b")])  # type: ignore[list-item]
    start_response("200 OK", [], ValueError())  # type: ignore[arg-type]
    start_response("200 OK", [], exc_info=None)  # type: ignore[call-arg]


def generator(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", [])
    yield b""


def caught() -> OptExcInfo:
    info: OptExcInfo = sys.exc_info()
    if info[0] is not None:
        whole: ExcInfo = info
        return whole
    return (None, None, None)


no_error: OptExcInfo = (None, None, ValueError())  # type: ignore[assignment]


# It makes no difference whether the standard library's names are used, or ours.


def of_the_standard_library(
    environ: stdlib.WSGIEnvironment, start_response: stdlib.StartResponse
) -> Iterable[bytes]:
    return [b""]


def of_either(app: stdlib.WSGIApplication, ours: WSGIApplication) -> None:
    to_ours: WSGIApplication = app
    to_theirs: stdlib.WSGIApplication = ours
    del to_ours, to_theirs


def there_and_back(
    start: stdlib.StartResponse,
    body: stdlib.InputStream,
    errors: stdlib.ErrorStream,
    wrapper: stdlib.FileWrapper,
    our_start: StartResponse,
    our_body: InputStream,
    our_errors: ErrorStream,
    our_wrapper: FileWrapper,
) -> None:
    our_start, start = start, our_start
    our_body, body = body, our_body
    our_errors, errors = errors, our_errors
    our_wrapper, wrapper = wrapper, our_wrapper


applications: list[WSGIApplication] = [application, generator, of_the_standard_library]
theirs: list[stdlib.WSGIApplication] = [application, generator]
streams: list[InputStream] = [io.BytesIO(), sys.stdin.buffer]
error_streams: list[ErrorStream] = [sys.stderr, io.StringIO()]
readable: list[Readable] = [io.BytesIO(), sys.stdin.buffer]


def middleware(app: WSGIApplication) -> WSGIApplication:
    def wrapped(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(
            status: str, headers: list[tuple[str, str]], exc_info: OptExcInfo | None = None, /
        ) -> WriteCallable:
            return start_response(status, [*headers, ("X-Seen", "1")], exc_info)

        return app(environ, start)

    return wrapped


def without_exc_info(status: str, headers: list[tuple[str, str]], /) -> WriteCallable:
    return print


def of_text(environ: WSGIEnvironment, start_response: StartResponse) -> list[str]:
    return []


def of_bytes(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    return []


def of_one(environ: WSGIEnvironment) -> list[bytes]:
    return []


def loosely(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    return []


more: list[WSGIApplication] = [middleware(application), of_bytes, loosely]
short_start: StartResponse = without_exc_info  # type: ignore[assignment]
text_body: WSGIApplication = of_text  # type: ignore[assignment]
one_parameter: WSGIApplication = of_one  # type: ignore[assignment]
text_stream: InputStream = io.StringIO()  # type: ignore[assignment]
bytes_stream: ErrorStream = io.BytesIO()  # type: ignore[assignment]
