"""Fuzz targets for request bodies: ``wsgi_input`` (events to stream) and ``asgi_receive`` (stream to events).

Neither has threads: the events of the first come when the stream asks for them, the reads of the second are
answered at once. What a read has to give is said by `PlainFile`, with slices of the whole body.
"""

from collections.abc import Callable
from typing import Any

from asgiadapt import ClientDisconnected, RequestTooLarge, ServerError
from asgiadapt._sansio.body import InputBody, RequestBody
from asgiadapt._sansio.validation import conversation_for
from asgiadapt._wsgi_streams import BodyReader, LateBody
from tests.fuzz.choices import Choices

PIECES = [b"a", b"\n", b"", b"bc", b"\r\n", b"\r", b"line\n", b"\n\n", b"x" * 50, b"y" * 70_000]

# From events to a stream


class PlainFile:
    """What the reads of a file give that has *whole* for its bytes."""

    def __init__(self, whole: bytes) -> None:
        self.whole = whole
        self.at = 0

    def take(self, end: int) -> bytes:
        taken = self.whole[self.at : end]
        self.at += len(taken)
        return taken

    def read(self, size: int | None) -> bytes:
        return self.take(len(self.whole) if size is None or size < 0 else self.at + size)

    def readline(self, size: int | None) -> bytes:
        end = self.whole.find(b"\n", self.at) + 1 or len(self.whole)
        return self.take(end if size is None or size < 0 else min(end, self.at + size))

    def readlines(self, hint: int | None) -> list[bytes]:
        lines: list[bytes] = []
        while line := self.readline(None):
            lines.append(line)
            if hint is not None and 0 < hint <= sum(map(len, lines)):
                break
        return lines

    def list(self, _: int) -> list[bytes]:
        return self.readlines(None)

    def readinto(self, size: int) -> bytes:
        return self.read(size)

    def next(self, _: int) -> bytes:
        return self.readline(None)


def is_enough(name: str, size: Any, come: bytes) -> bool:
    """Whether the read can be answered with *come*, and needs neither more nor the end."""
    if name == "read1":
        return bool(come) or size == 0
    if name in ("read", "readinto"):
        return size is not None and 0 <= size <= len(come)
    if name in ("readlines", "list"):
        return name == "readlines" and size is not None and 0 < size <= come.rfind(b"\n") + 1
    has_size = name == "readline" and size is not None and size >= 0
    return b"\n" in come or (has_size and size <= len(come))


class Events:
    """The server's side: gives the bytes of one event, or of some, when the stream wants more.

    ``has_enough`` tells of what has come whether it is enough for the read that is going on.
    """

    def __init__(self, c: Choices, events: list[dict[str, Any]], max_size: int | None) -> None:
        self.c = c
        self.events = events
        self.body = RequestBody(max_size)
        self.come = b""  # what was given to the stream
        self.broken: Exception | None = None
        self.has_enough: Callable[[bytes], bool]
        self.faults: list[str] = []

    def take_on_worker(self) -> list[bytes]:
        if self.body.ended:
            return []
        if self.has_enough(self.come):
            # Waiting for more could be waiting for ever.
            self.faults.append("more was fetched than the read asked for")
        chunks: list[bytes] = []
        while not self.body.ended and self.broken is None:
            size, event = self.body.size, self.events.pop(0)
            try:
                chunk = self.body.accept(event)
            except Exception as error:
                self.broken = error
                break
            assert self.body.size == size + len(chunk)
            if chunk:
                chunks.append(chunk)
                if self.c.flag():
                    break
        self.come += b"".join(chunks)
        if self.broken is not None and not chunks:
            raise self.broken
        return chunks


SIZES = [1, None, -2, -1, 0, 2, 3, 7, 100, 70_000]
READS = ["read", "readline", "readlines", "next", "readinto", "read1", "list"]


def perform(stream: Any, name: str, size: Any) -> Any:
    if name == "next":
        return next(iter(stream), b"")
    if name == "readinto":
        buffer = bytearray(size)
        return bytes(buffer[: stream.readinto(buffer)])
    return list(stream) if name == "list" else getattr(stream, name)(size)


ENDS: list[dict[str, Any]] = [
    {"type": "http.request"},
    {"type": "http.request", "body": b"", "more_body": False},
    {"type": "http.disconnect"},
    {"type": "http.response.start"},
]
ERRORS = {"http.disconnect": ClientDisconnected, "http.response.start": ServerError}


def events_for(c: Choices, pieces: list[bytes]) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    for piece in pieces:
        event = {"type": "http.request", "body": piece, "more_body": True}
        if not piece:
            event |= c.pick([{"body": b""}, {"body": None}])
        events.append(event)
    end = c.pick(ENDS)
    if events and end["type"] == "http.request" and c.flag():
        del events[-1]["more_body"]
        return events
    return [*events, end]


def wsgi_input(data: bytes) -> None:
    """However the events cut the body up, the stream reads like a file that has it."""
    c = Choices(data)
    pieces = c.several(lambda: c.raw(20) if c.seldom() else c.pick(PIECES), 7)
    events = events_for(c, pieces)
    error: type[Exception] | None = ERRORS.get(events[-1]["type"])
    max_size = c.pick([None, None, 0, 3, 60])
    if max_size is not None and len(b"".join(pieces)) > max_size:
        error = RequestTooLarge
        while len(b"".join(pieces)) > max_size:
            pieces.pop()  # and with it those that follow
    source = Events(c, events, max_size)
    stream: Any = LateBody(source) if c.flag() else BodyReader(source)
    plain = PlainFile(b"".join(pieces))
    for name, size in c.several(lambda: (c.pick(READS), c.pick(SIZES)), 7):
        sized = abs(size or 5) if name in ("readinto", "read1") else size
        check_read(source, plain, stream, name, sized, error)
    stream.close()  # which means nothing (W2A-BODY-25)
    for name in ("read", "read", "readline"):
        check_read(source, plain, stream, name, None, error)
    assert not source.faults, source.faults
    if error is None:
        assert source.body.ended
        assert source.come == plain.whole
        assert not source.events  # and so none was asked for after the end


def check_read(
    source: Events, plain: PlainFile, stream: Any, name: str, size: Any, error: type[Exception] | None
) -> None:
    at = plain.at
    rest = plain.whole[at:]
    expected = plain.read(size) if name == "read1" else getattr(plain, name)(size)
    source.has_enough = lambda come: is_enough(name, size, come[at:])
    try:
        got = perform(stream, name, size)
    except Exception as raised:
        assert error is not None
        assert type(raised) is error, raised
        assert raised is source.broken
        assert not is_enough(name, size, rest)
        plain.at = len(plain.whole)  # what had come is gone with it
        return
    if name == "read1":  # what is there already, and so perhaps less
        assert expected.startswith(got)
        plain.at = at + len(got)
    else:
        assert got == expected, (name, size)
        assert type(got) is type(expected)
    # A body that breaks off is not at its end.
    assert error is None or is_enough(name, size, rest), (name, size)


# From a stream to events

LENGTHS = [0, 1, 5, 30, 200, 65536, 65537, 200_000, 1_000_000]
PIECE = 65536


class Pieces:
    """A ``wsgi.input`` with *left* bytes, of which *awaited* belong to the body; None: all of them.

    It gives as many of them as it likes, or says too early that there are none; or it is ``wrong``, and gives
    what it must not give.
    """

    def __init__(self, c: Choices, left: int, awaited: int | None) -> None:
        self.c = c
        self.left = left
        self.awaited = awaited
        self.most = PIECE  # that a read may ask for
        self.reads = 0
        self.given = 0
        self.wrong = False

    def read(self, size: int) -> Any:
        self.reads += 1
        assert type(size) is int
        assert 0 < size <= self.most  # A2W-RECV-06, -23
        assert self.awaited is None or size <= self.awaited - self.given  # A2W-RECV-02
        kind = self.c.byte() % 32
        if kind == 31:
            self.wrong = True
            return self.c.pick(["text", None, bytearray(b"a"), b"z" * (size + 1)])
        if kind == 30:
            return b""
        most = min(size, self.left)
        size = most if kind < 8 else min(most, kind)
        self.left -= size
        data = bytes([97 + self.given % 26]) * size
        self.given += size
        return data


def framing_for(c: Choices, declared: int) -> tuple[dict[str, Any], int | None]:
    """An environ, and how many bytes its body has; None: as many as the stream (A2W-RECV-02 to -04)."""
    environ: dict[str, Any] = {}
    has_length, terminated, chunked = c.flag(), c.flag(), c.flag()
    if has_length:
        texts = [str(declared), f"{declared}, {declared}", declared or "0", f"0{declared}"]
        environ["CONTENT_LENGTH"] = c.pick(texts)
    elif c.flag():
        environ["CONTENT_LENGTH"] = ""
    if terminated:
        environ["wsgi.input_terminated"] = True
    if chunked:
        environ["HTTP_TRANSFER_ENCODING"] = "chunked"
    if terminated and (chunked or not has_length):
        return environ, None
    return environ, declared if has_length else 0


def asgi_receive(data: bytes) -> None:
    """Each byte once; no read past the declared length, and no body that was cut off looks whole."""
    c = Choices(data)
    declared = c.pick(LENGTHS)
    environ, awaited = framing_for(c, declared)
    missing = c.pick([0, 0, 1, 100])
    if c.seldom():  # A2W-RECV-22
        awaited = 0
        environ |= c.pick([{}, {"wsgi.input": None}])
        stream = Pieces(c, 0, 0)
    else:
        come = declared if awaited is None else awaited
        stream = environ["wsgi.input"] = Pieces(c, max(0, come - missing), awaited)
    headers = [(b"content-length", b"%d" % awaited)] if awaited is not None else []
    conversation = conversation_for({"type": "http", "method": "POST", "headers": headers})
    body = InputBody(environ)
    total = 0
    while not body.ended:
        wanted = body.wanted()
        given = stream.read(wanted) if wanted else b""
        try:
            event = body.event(given)
        except ServerError:
            assert stream.wrong
            return
        except ClientDisconnected:
            assert given == b""
            assert awaited is not None
            assert stream.given < awaited  # A2W-RECV-09
            return
        if stream.wrong:
            # More than was asked for is a fault of the server's, and may still be a part of the body.
            assert given == b"z" * (wanted + 1)
            assert awaited is None or len(given) <= awaited - stream.given
            return
        total += len(given)
        more = given != b"" if awaited is None else total < awaited  # A2W-RECV-05, -08
        assert event == {"type": "http.request", "body": given, "more_body": more}
        assert given or not more  # A2W-RECV-01
        faults = [fault.rule for fault in conversation.event(event)]
        assert not faults, faults
        step = c.byte() % 3
        if step == 1:
            top = c.pick([0, PIECE, 100_000, 1_000_000])
            body.grow(top)
            stream.most = max(PIECE, min(2 * stream.most, top))
        elif step == 2:
            body.shrink()
            stream.most = PIECE
    assert total == stream.given
    assert awaited is None or total == awaited
    assert awaited != 0 or not stream.reads  # A2W-RECV-03
