"""What the sites in WSGI frameworks share. The gate is that of `asgi_common`, for threads."""

import contextlib
import hashlib
import select
import socket
from collections.abc import Iterator
from typing import Any

LINES = [b"%d\n" % number for number in range(200)]
CHUNK = 10_000


class Gate:
    """The application's end."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def told(self, within: float | None = None) -> bool:
        """Wait for the test; whether it has said something, or has left, within that time."""
        readable, _, _ = select.select([self._connection], [], [], within)
        if readable:
            self._connection.recv(1)
        return bool(readable)

    def tell(self, word: bytes) -> None:
        self._connection.sendall(word + b"\n")


@contextlib.contextmanager
def gate(port: str) -> Iterator[Gate]:
    """A connection to the test that listens on *port*. The test sees when the block ends."""
    with socket.create_connection(("127.0.0.1", int(port))) as connection:
        yield Gate(connection)


def events(port: str) -> Iterator[bytes]:
    """The second is made when the test says so."""
    yield b"data: one\n\n"
    with gate(port) as test:
        test.told()
    yield b"data: two\n\n"


def endless(port: str) -> Iterator[bytes]:
    """Goes on until the client leaves, or it is clear that nobody will tell."""
    with gate(port) as test:
        for _ in range(2_000):
            yield b"x" * CHUNK
        test.tell(b"whole")


def wait(environ: dict[str, Any], port: str) -> str:
    """Answers when the test says so, or has left; or when it is told that the client has left."""
    disconnected = environ.get("asgiadapt.disconnected")
    with gate(port) as test:
        test.tell(b"begun")
        while not test.told(within=0.02):
            if disconnected is not None and disconnected.is_set():
                return "left"
    return "waited"


def half(body: Any, port: str) -> str:
    """Tells the test of the first piece of a body, and of its end if it comes to that."""
    with gate(port) as test:
        if body.read(CHUNK):
            test.tell(b"begun")
        while body.read(CHUNK):
            pass
        test.tell(b"whole")
    return "whole"


def read_in_pieces(body: Any) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    while piece := body.read(CHUNK):
        digest.update(piece)
        size += len(piece)
    return {"size": size, "digest": digest.hexdigest()}
