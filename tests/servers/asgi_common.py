"""What the sites in ASGI frameworks share: bodies of responses, and the gate.

The gate is a connection from the application to the test, beside the request. The two wait for each other
there, also where the server takes one request at a time, or has several processes.
"""

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

FRAMEWORKS = ["starlette", "fastapi", "quart", "django", "sanic", "asgineer"]
LINES = 200
ENDLESS = 2_000


class Gate:
    """A connection to the test that listens on *port*. The test sees when the block ends.

    No stream of asyncio's: one that the garbage collector finds, in whatever thread, may stay open. And no
    generator: a page that is left to the collector has to find its gate as it was.
    """

    def __init__(self, port: str | int) -> None:
        self._port = int(port)
        self._connection = socket.socket()

    async def __aenter__(self) -> "Gate":
        self._connection.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(self._connection, ("127.0.0.1", self._port))
        except BaseException:
            self._connection.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._connection.close()

    async def told(self) -> bytes:
        """Wait for the test; ``b""`` where it has left."""
        return await asyncio.get_running_loop().sock_recv(self._connection, 1)

    async def tell(self, word: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._connection, word + b"\n")


async def lines() -> AsyncIterator[bytes]:
    for number in range(LINES):
        yield b"%d\n" % number


async def events(port: str) -> AsyncIterator[bytes]:
    """The second is made when the test says so."""
    yield b"data: one\n\n"
    async with Gate(port) as test:
        await test.told()
    yield b"data: two\n\n"


async def endless(port: str) -> AsyncIterator[bytes]:
    """Goes on until the client leaves, or it is clear that nobody will tell."""
    async with Gate(port) as test:
        for _ in range(ENDLESS):
            yield b"x" * 10_000
            await asyncio.sleep(0)  # some servers take all, and never wait, when the client has left
        await test.tell(b"whole")


async def background(port: str) -> None:
    """What goes on after the response, until the test says so."""
    async with Gate(port) as test:
        await test.told()
        await test.tell(b"done")


async def wait(port: str) -> str:
    """Answers when the test says so, or has left."""
    async with Gate(port) as test:
        await test.tell(b"begun")
        await test.told()
    return "waited"


async def half(pieces: AsyncIterator[bytes], port: str) -> str:
    """Tells the test of the first piece of a body, and of its end if it comes to that."""
    async with Gate(port) as test:
        begun = False
        async for _ in pieces:
            if not begun:
                await test.tell(b"begun")
                begun = True
        await test.tell(b"whole")
    return "whole"


def without_root(app: Any) -> Any:
    """*app* for frameworks that know no root_path, and ask for a raw_path, which is optional."""

    async def called(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            root = scope["root_path"]
            path = scope["path"].removeprefix(root)
            scope = {
                **scope,
                "root_path": "",
                "mounted": root,
                "path": path,
                "raw_path": quote(path).encode(),
            }
        await app(scope, receive, send)

    return called


def facts(content: bytes) -> dict[str, Any]:
    return {"size": len(content), "digest": hashlib.sha256(content).hexdigest()}


async def read_in_pieces(pieces: AsyncIterator[bytes]) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    async for piece in pieces:
        digest.update(piece)
        size += len(piece)
    return {"size": size, "digest": digest.hexdigest()}


class Started:
    """What a framework makes at start-up and keeps for its requests."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()

    def shown(self) -> dict[str, Any]:
        """For a request: whether it runs where start-up did."""
        return {"started": True, "same_loop": asyncio.get_running_loop() is self.loop}
