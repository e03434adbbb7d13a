"""Real frameworks on real servers, with the validator between them: neither breaks a rule."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.processes import BREACH, ROOT, Program, free_port, program, wait_until
from tests.validate.sites import FRAMEWORKS

pytestmark = pytest.mark.server

# name: the command, and the rules that the server does not keep; docs/validate.md tells of them
SERVERS = {
    "uvicorn-h11": ("uvicorn --port {port} --loop asyncio --http h11 --ws websockets {app}", ""),
    "uvicorn-httptools": ("uvicorn --port {port} --loop uvloop --http httptools --ws wsproto {app}", ""),
    "hypercorn": ("hypercorn --bind 127.0.0.1:{port} {app}", ""),
    "hypercorn-h2": ("hypercorn --bind 127.0.0.1:{port} {app}", ""),
    "daphne": ("daphne -b 127.0.0.1 -p {port} {app}", ""),
    "granian": (
        "granian --interface asgi --host 127.0.0.1 --port {port} {app}",
        "scope-client scope-server",
    ),
    "gunicorn": ("gunicorn -k asgi -b 127.0.0.1:{port} {app}", ""),
}
# Frameworks likewise.
BROKEN = {"django": "header-case"}
# Of these servers one framework each: daphne has no lifespan, which the site in Starlette needs.
OTHERS = {"daphne": "django", "granian": "starlette", "gunicorn": "quart"}
PAIRS = [
    (server, framework)
    for server in SERVERS
    for framework in FRAMEWORKS
    if OTHERS.get(server, framework) == framework
]


class Site:
    def __init__(self, running: Program, server: str, framework: str) -> None:
        self.running = running
        self.http2 = server.endswith("-h2")
        self.has_websockets = framework != "django"

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.running.url, timeout=30, http1=not self.http2, http2=self.http2)

    def socket(self, path: str) -> Any:
        return connect(f"ws://127.0.0.1:{self.running.port}{path}", subprotocols=["chat"])

    def until_written(self, text: str) -> None:
        with self.client() as client:

            def is_written() -> bool:
                assert client.get("/").status_code == 200  # the page collects garbage
                return text in self.running.output()

            wait_until(is_written, self.running.output)


@pytest.fixture(scope="module", params=PAIRS, ids="+".join)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    server, framework = request.param
    command, broken = SERVERS[server]
    port = free_port()
    with program(
        "-m",
        *command.format(port=port, app="tests.validate.sites:app").split(),
        port=port,
        path=str(ROOT),
        FRAMEWORK=framework,
        BROKEN_ANYWAY=f"{broken} {BROKEN.get(framework, '')}",
    ) as running:
        yield Site(running, server, framework)
        running.stop()
        # Of the shutdown too.
        assert BREACH not in running.output(), running.output()


@pytest.fixture(autouse=True)
def _nothing_is_broken(site: Site) -> Iterator[None]:
    """What the validator finds is written by the server, whatever becomes of the request."""
    yield
    assert BREACH not in site.running.output(), site.running.output()


def test_pages(site: Site) -> None:
    """With a body and without one, found and not found, and one that fails."""
    with site.client() as client:
        assert client.get("/", params={"q": "\u00e9 "}).text == "index of ['kept']"
        assert client.head("/").status_code in (200, 405)
        assert client.get("/stream").text.splitlines()[-1] == "49"
        assert (client.get("/empty").status_code, client.get("/empty").content) == (204, b"")
        assert client.get("/redirect").headers["location"].endswith("/")
        assert client.get("/caf\u00e9").status_code == 404
    with site.client() as client:  # a connection that such a page may end
        assert client.get("/error").status_code == 500


def test_request_bodies(site: Site) -> None:
    """A form, a large body, and one in pieces."""
    with site.client() as client:
        assert client.post("/form", data={"a": "\u00e9"}).json() == {"a": "\u00e9"}
        assert client.post("/size", content=b"x" * 300_000).text == "300000"
        assert client.post("/size", content=iter([b"x" * 1000] * 5)).text == "5000"
        assert client.post("/size").text == "0"


def test_background_work(site: Site) -> None:
    """After the response, before the application returns."""
    with site.client() as client:
        assert "answered" in client.get("/background").text
        site.until_written("done afterwards")


def test_a_client_that_leaves(site: Site) -> None:
    """In the middle of a response, and in the middle of its own body."""
    with site.client() as client:
        with client.stream("GET", "/endless") as answer:
            assert next(answer.iter_raw())
    site.until_written("the stream was ended")
    if not site.http2:
        with socket.create_connection(("127.0.0.1", site.running.port), timeout=20) as half:
            half.sendall(b"POST /size HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nhalf")
    with site.client() as client:
        assert client.get("/").status_code == 200


def test_websockets(site: Site) -> None:
    """Echoed to, closed by either side, left, and refused."""
    if not site.has_websockets:
        return
    with site.socket("/echo") as opened:
        assert opened.subprotocol == "chat"
        opened.send("\u00e9")
        assert [opened.recv(), opened.recv()] == ["\u00e9", "\u00e9".encode()]
        opened.send("bye")
        with pytest.raises(ConnectionClosed) as closed:
            opened.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (3000, "as asked")
    with site.socket("/echo") as opened:
        opened.send(json.dumps([1]))
        assert opened.recv() == "[1]"
    with pytest.raises(InvalidStatus) as refused:
        site.socket("/refuse")
    assert refused.value.response.status_code in (401, 403)
