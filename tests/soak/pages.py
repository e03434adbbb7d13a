"""What both sides serve and the client expects: numbers, bodies, and what comes of each breach."""

import random
import zlib
from collections.abc import Iterator

PATTERN_BYTES = 8 << 20
PATTERN = memoryview(random.Random(0).randbytes(PATTERN_BYTES))
CHUNK = 65536
# The limits of the adapters' own, so far above all that a request takes that even on a machine with much else
# to do none is reached.
LIMIT_SECONDS = 600


def body_of(number: int, size: int) -> memoryview:
    """The body of request or response *number*: another one for each."""
    offset = number * 7919 % (PATTERN_BYTES - size)
    return PATTERN[offset : offset + size]


def chunks_of(number: int, size: int) -> Iterator[bytes]:
    body = body_of(number, size)
    return (bytes(body[start : start + CHUNK]) for start in range(0, size, CHUNK))


FLOOD_CHUNK = bytes(PATTERN[:CHUNK])


class Flood:
    """A body of so many mebibytes, which nobody holds in memory."""

    def __init__(self, mebibytes: int) -> None:
        self._size = mebibytes << 20

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return iter([FLOOD_CHUNK] * (self._size // CHUNK))

    def __getitem__(self, part: slice) -> bytes:
        offset = part.start % CHUNK
        pieces = -(-(offset + part.stop - part.start) // CHUNK)
        return (FLOOD_CHUNK * pieces)[offset : offset + part.stop - part.start]


def hello(number: int) -> bytes:
    return b"hello %d" % number


def receipt(number: int, size: int, checksum: int) -> bytes:
    """What an upload is answered with."""
    return b"%d %d %d" % (number, size, checksum)


def expected_receipt(number: int, size: int) -> bytes:
    return receipt(number, size, zlib.crc32(body_of(number, size)))


def event(number: int, index: int) -> bytes:
    return b"id: %d\ndata: %d\n\n" % (index, number)


def events(number: int, count: int) -> bytes:
    return b"".join(event(number, index) for index in range(count))


class OnPurposeError(Exception):
    """What the pages raise."""


# What applications do against the rules, and what the client then gets: a whole answer, a refusal (a whole
# answer of status 500), or a cut.
WSGI_BREACHES = {
    "starts twice": "refused",
    "yields text": "refused",
    "does not start": "refused",
    "ends short of its length": "cut",
    "goes on past its length": "whole",
    "has a line break in a header": "refused",
    "returns None": "refused",
    "yields text after bytes": "cut",
}
ASGI_BREACHES = {
    "starts twice": "refused",
    "sends text": "refused",
    "does not start": "refused",
    "ends short of its length": "cut",
    "goes on past its length": "refused",
    "has a line break in a header": "refused",
    "sends nothing": "refused",
    "sends a type of WebSockets amid the body": "cut",
    "lets out a CancelledError": "refused",
    "ends amid the body": "cut",
}
