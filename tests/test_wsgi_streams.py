"""The streams of an environ by themselves: a body that is still arriving, errors, files."""

import io
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asgiadapt._wsgi_streams import BodyReader, ErrorStream, FileWrapper, LateBody


class Chunks:
    """A source that gives *takes* one after the other, then nothing; an exception among them is raised."""

    def __init__(self, *takes: list[bytes] | Exception) -> None:
        self.takes = list(takes)
        self.taken = 0

    def take_on_worker(self) -> list[bytes]:
        self.taken += 1
        take = self.takes.pop(0) if self.takes else []
        if isinstance(take, Exception):
            raise take
        return take


BODY = b"one\ntwo and a half\n\nthree\r\nno end"
KINDS = pytest.mark.parametrize("kind", [BodyReader, LateBody])
CUTS = pytest.mark.parametrize(
    "takes",
    [
        pytest.param([[BODY]], id="whole"),
        pytest.param([[BODY[n : n + 1] for n in range(len(BODY))]], id="bytes-at-once"),
        pytest.param([[BODY[n : n + 1]] for n in range(len(BODY))], id="bytes-one-by-one"),
        pytest.param([[BODY[:4]], [BODY[4:9], BODY[9:10]], [BODY[10:]]], id="mixed"),
    ],
)
READS: list[Callable[[Any], Any]] = [
    lambda f: f.read(),
    lambda f: f.read(None),
    lambda f: f.read(-5),
    lambda f: [f.read(n) for n in (0, 1, 5, 3, 100, 1, 0)],
    lambda f: [f.readline(n) for n in (-1, None, 3, 100, 0, 1, 1, 1)],
    lambda f: [f.readline(-7), f.readline()],
    lambda f: [f.readlines(n) for n in (1, 19, None)],
    lambda f: [f.readlines(20), f.readlines(0)],
    lambda f: [f.readlines(-1), f.readlines()],
    lambda f: [*f, *f],
    lambda f: [next(f), f.read(2), next(f), f.readlines()],
    lambda f: [f.readinto(buffer := bytearray(6)), bytes(buffer), f.readinto(bytearray())],
    lambda f: [f.read1(0), b"".join(iter(lambda: f.read1(4), b""))],
    lambda f: [f.readable(), f.closed, f.isatty()],
]


@KINDS
@CUTS
@pytest.mark.parametrize("read", READS)
def test_a_body_reads_like_a_file_in_memory(
    read: Callable[[Any], Any], takes: list[list[bytes]], kind: Any
) -> None:
    """However it is cut up, and however much comes at a time."""
    assert read(kind(Chunks(*takes))) == read(io.BytesIO(BODY))


@KINDS
@pytest.mark.parametrize("size", ["3", 1.5, b"1"])
@pytest.mark.parametrize("method", ["read", "readline"])
def test_a_size_has_to_be_a_number(method: str, size: Any, kind: Any) -> None:
    """As for any file."""
    for file in (kind(Chunks([BODY])), io.BytesIO(BODY)):
        with pytest.raises(TypeError):
            getattr(file, method)(size)


@KINDS
def test_nothing_is_taken_before_the_first_read_and_nothing_for_no_bytes(kind: Any) -> None:
    """Whoever only makes a reader, asks what it can do or reads nothing waits for nobody."""
    source = Chunks([BODY])
    body = kind(source)
    assert body.read(0) == b""
    assert body.readline(0) == b""
    assert body.readable()
    assert source.taken == 0
    assert body.read(1) == b"o"
    assert source.taken == 1


@KINDS
def test_the_end_is_asked_for_again_and_stays_the_end(kind: Any) -> None:
    """Every method says so, each time."""
    body = kind(Chunks([b"x"]))
    assert body.read() == b"x"
    for _ in range(2):
        assert (body.read(), body.read(1), body.readline(), body.readlines(), [*body]) == (
            b"",
            b"",
            b"",
            [],
            [],
        )


@KINDS
def test_what_the_source_raises_comes_out_of_the_read(kind: Any) -> None:
    """After what came before it; the next read asks again."""
    first, second = OSError("first"), OSError("second")
    body = kind(Chunks([b"ab\n"], first, second))
    assert body.readline() == b"ab\n"
    for error in (first, second):
        with pytest.raises(OSError, match=str(error)) as caught:
            body.read()
        assert caught.value is error


@KINDS
def test_closing_has_no_effect(kind: Any) -> None:
    """Neither close(), nor a with block, nor a wrapper that goes and closes what it wraps."""
    body = kind(Chunks([b"ab", b"cd"]))
    body.close()
    with body as entered:
        assert entered.read(1) == b"a"
    text = io.TextIOWrapper(body, "ascii")
    text.close()
    assert not body.closed
    assert body.read() == b"bcd"


@KINDS
def test_what_a_stream_cannot_do_is_told_as_usual(kind: Any) -> None:
    """It has no position, no descriptor, and takes nothing."""
    body = kind(Chunks([BODY]))
    for operation in (body.fileno, body.tell, lambda: body.seek(0), lambda: body.write(b"x")):
        with pytest.raises(OSError):
            operation()
    assert not body.seekable()
    assert not body.writable()
    assert not hasattr(body, "no_such_thing")


def test_a_large_piece_is_not_copied_more_than_needed() -> None:
    """A body in one piece comes out of read() by one join, with no growing buffer before it."""
    piece = bytes(1_000_000)
    source = Chunks([piece, piece])
    assert BodyReader(source).read() == piece + piece
    assert source.taken == 2  # the pieces, and the end


def test_a_late_body_asks_nobody_for_names_of_the_language() -> None:
    """Those that copy, pickle or inspect it do not open it."""
    source = Chunks([BODY])
    body = LateBody(source)
    assert not hasattr(body, "__copy__")
    with pytest.raises(AttributeError, match="__deepcopy__"):
        body.__getattr__("__deepcopy__")
    assert source.taken == 0


# wsgi.errors


def plain_stderr(monkeypatch: pytest.MonkeyPatch) -> io.TextIOWrapper:
    """Make ``sys.stderr`` what it is where the locale is C."""
    stream = io.TextIOWrapper(io.BytesIO(), "ascii", newline="")
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def written(stream: io.TextIOWrapper) -> bytes:
    stream.flush()
    buffer: Any = stream.buffer
    return bytes(buffer.getvalue())


def test_errors_go_to_whatever_stderr_is_at_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream was made before."""
    stream = ErrorStream()
    errors = plain_stderr(monkeypatch)
    assert stream.write("a\n") == 2
    stream.writelines(["b", "c\n"])
    print("d", file=stream)
    stream.flush()
    assert written(errors) == b"a\nbc\nd\n"


def test_no_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the encoding lacks is written as an escape; the length is that of the text."""
    errors = plain_stderr(monkeypatch)
    assert ErrorStream().write("caf\u00e9 \u20ac \udcff\n") == 9
    assert written(errors) == b"caf\\xe9 \\u20ac \\udcff\n"


def test_bytes_are_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to do."""
    errors = plain_stderr(monkeypatch)
    stream: Any = ErrorStream()
    with pytest.raises(TypeError, match="takes text, not bytes; decode"):
        stream.write(b"x")
    assert written(errors) == b""


def test_a_process_without_a_console_has_nowhere_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is raised."""
    monkeypatch.setattr(sys, "stderr", None)
    stream = ErrorStream()
    assert stream.write("lost") == 4
    stream.flush()


class WithoutEncoding(io.StringIO):
    """A stand-in for stderr, of the kind that tests and services install."""

    encoding = None

    def write(self, text: str) -> int:
        text.encode("ascii")
        return super().write(text)


def test_a_stream_without_an_encoding_gets_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it refuses more."""
    stream = WithoutEncoding()
    monkeypatch.setattr(sys, "stderr", stream)
    ErrorStream().write("\u20ac")
    assert stream.getvalue() == "\\u20ac"


# wsgi.file_wrapper


def test_a_wrapper_gives_blocks_of_its_size() -> None:
    """From where the file stands, to the first empty one."""
    file = io.BytesIO(b"0123456789")
    file.seek(2)
    wrapper = FileWrapper(file, 3)
    assert iter(wrapper) is wrapper
    assert list(wrapper) == [b"234", b"567", b"89"]
    assert list(wrapper) == []


def test_a_wrapper_closes_the_file() -> None:
    """By the file's own close(), and only where it has one."""
    file = io.BytesIO()
    FileWrapper(file).close()
    assert file.closed

    class Readable:
        def read(self, size: int, /) -> bytes:
            return b""

    assert not hasattr(FileWrapper(Readable()), "close")


def test_only_plain_files_are_sent_by_the_server(tmp_path: Path) -> None:
    """Those that open() gives for reading bytes, while they are open."""
    path = tmp_path / "file"
    path.write_bytes(b"x")
    for buffering in (-1, 0):
        with path.open("rb", buffering=buffering) as file:
            assert FileWrapper(file).regular_file() is file
        assert FileWrapper(file).regular_file() is None
    with path.open("r+b") as changing, path.open() as text:
        assert FileWrapper(changing).regular_file() is None
        wrapped: Any = text
        assert FileWrapper(wrapped).regular_file() is None

    class Counting(io.FileIO):
        """One that does more than its type's name says."""

    with Counting(path) as counting:
        assert FileWrapper(counting).regular_file() is None
    assert FileWrapper(io.BytesIO(b"x")).regular_file() is None


def test_a_body_can_be_handed_to_another_thread() -> None:
    """Which reads on where the first one stopped."""
    body = BodyReader(Chunks([b"ab"], [b"cd"]))
    got = [body.read(1)]
    other = threading.Thread(target=lambda: got.append(body.read()))
    other.start()
    other.join(10)
    assert got == [b"a", b"bcd"]
