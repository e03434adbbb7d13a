"""A Flask and a Django site on every real server, talked to as clients do."""

import concurrent.futures
import contextlib
import hashlib
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.processes import ROOT, Program, free_port, program
from tests.servers.sites import FILE, OVERLAP

pytestmark = pytest.mark.server

# name: the command, and what the server does not have. Daphne reads a request to its end before it calls the
# application, and leaves the connection open where an application fails in the middle of a response.
SERVERS: dict[str, tuple[str, frozenset[str]]] = {
    "uvicorn-h11": ("uvicorn --port {port} --loop asyncio --http h11 {app}", frozenset()),
    "uvicorn-httptools": ("uvicorn --port {port} --loop uvloop --http httptools {app}", frozenset()),
    "hypercorn-asyncio": ("hypercorn --bind 127.0.0.1:{port} {app}", frozenset()),
    "hypercorn-uvloop": ("hypercorn -k uvloop --bind 127.0.0.1:{port} {app}", frozenset()),
    "hypercorn-trio": ("hypercorn -k trio --bind 127.0.0.1:{port} {app}", frozenset()),
    "hypercorn-h2": ("hypercorn --keep-alive 1 --bind 127.0.0.1:{port} {app}", frozenset({"http/1.1"})),
    "hypercorn-trio-h2": (
        "hypercorn --keep-alive 1 -k trio --bind 127.0.0.1:{port} {app}",
        frozenset({"http/1.1"}),
    ),
    "daphne": (
        "daphne -b 127.0.0.1 -p {port} {app}",
        frozenset({"lifespan", "streamed uploads", "cutting off"}),
    ),
    "granian": ("granian --interface asgi --host 127.0.0.1 --port {port} {app}", frozenset()),
}
SITES = ["flask", "django_"]


def needs(*features: str) -> pytest.MarkDecorator:
    """Marks a test as one for servers that have *features*; conftest.py leaves the others out."""
    return pytest.mark.needs(*features)


class Site:
    """A site on a server, with what the tests want to know of the two."""

    def __init__(self, server: str, name: str, running: Program) -> None:
        self.name = name
        self.running = running
        self.port = running.port
        self.http2 = "http/1.1" in SERVERS[server][1]

    def client(self) -> httpx.Client:
        return httpx.Client(
            base_url=self.running.url,
            timeout=30,
            http1=not self.http2,
            http2=self.http2,
            limits=httpx.Limits(max_connections=None),
        )

    def state(self) -> dict[str, Any]:
        with self.client() as client:
            answer: dict[str, Any] = client.get("/state").json()
            return answer

    def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Ask for the state until *condition* holds."""
        deadline = time.monotonic() + 20
        while True:
            state = self.state()
            if condition(state):
                return state
            assert time.monotonic() < deadline, state
            time.sleep(0.02)  # polls another process, which cannot tell us

    def raw(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)


@pytest.fixture(scope="module", params=[f"{server}+{site}" for server in SERVERS for site in SITES])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    server, _, name = request.param.partition("+")
    port = free_port()
    command = SERVERS[server][0].format(port=port, app=f"tests.servers.sites:{name}")
    with program("-m", *command.split(), port=port, path=str(ROOT)) as running:
        yield Site(server, name, running)


@pytest.fixture(autouse=True)
def _no_trouble(site: Site) -> Iterator[None]:
    """The server's output has no traceback, but where the test has forgiven it."""
    yield
    site.running.check_output()


def test_forms_cookies_and_small_pages(site: Site) -> None:
    """A form, a session, redirects, names outside ASCII, and responses without a body."""
    with site.client() as client:
        assert client.get("/").text == "index"
        assert client.post("/form", data={"a": "\u00e9", "b": "2"}).json() == {"a": "\u00e9", "b": "2"}
        first = client.get("/session")
        assert len(first.headers.get_list("set-cookie")) == 2
        assert (first.text, client.get("/session").text) == ("1", "2")
        redirect = client.get("/redirect")
        assert (redirect.status_code, redirect.headers["location"]) == (302, "/")
        assert client.get("/caf\u00e9/\u00fc", params={"q": "\u20ac"}).text == "\u00fc \u20ac"
        assert client.get("/nowhere").status_code == 404
        head = client.head("/")
        assert (head.status_code, head.content) == (200, b"")
        empty = client.get("/empty")
        assert (empty.status_code, empty.content) == (204, b"")
        cached = client.get("/cached")
        assert (cached.status_code, cached.headers["etag"], cached.content) == (304, '"x"', b"")
        assert client.get("/").text == "index"


def test_uploads(site: Site) -> None:
    """A file in a form, a body with a length, and one in chunks arrive whole."""
    content = bytes(range(251)) * 1200
    expected = {"size": len(content), "digest": hashlib.sha256(content).hexdigest()}

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(content), 7777):
            yield content[start : start + 7777]

    with site.client() as client:
        assert client.post("/upload", files={"file": content}).json() == expected
        assert client.post("/raw", content=content).json() == expected
        assert client.post("/raw", content=b"abc").json()["size"] == 3
        if site.name == "flask":  # Django reads no body without a Content-Length
            assert client.post("/raw", content=pieces()).json() == expected


def test_streams_and_files(site: Site) -> None:
    """Many chunks in order; a file from the disk."""
    with site.client() as client:
        assert client.get("/stream").text == "".join(f"{number}\n" for number in range(1000))
        assert client.get("/file").content == FILE.read_bytes()
        assert client.head("/file").headers["content-length"] == str(FILE.stat().st_size)


def test_an_event_leaves_before_the_next_is_made(site: Site) -> None:
    """The second event is made only after the client, which has the first, says so."""
    with site.client() as client, client.stream("GET", "/events") as events:
        lines = events.iter_lines()
        assert next(lines) == "data: one"
        with site.client() as other:
            assert other.get("/signal").text == "ok"
        assert [line for line in lines if line] == ["data: two"]
    site.until(lambda state: state["opened"] == state["closed"])


def test_slow_requests_overlap(site: Site) -> None:
    """A hundred of them meet inside the application, or none is answered."""
    with contextlib.ExitStack() as stack:
        # Ten clients: over HTTP/2 each has one connection, and servers limit what one may ask for.
        clients = [stack.enter_context(site.client()) for _ in range(10)]
        threads = stack.enter_context(concurrent.futures.ThreadPoolExecutor(OVERLAP))
        answers = list(threads.map(lambda n: clients[n % 10].get("/slow").text, range(OVERLAP)))
    assert answers == ["together"] * OVERLAP


def test_a_client_that_leaves_a_stream_frees_its_worker(site: Site) -> None:
    """Each iterable is closed once, and only the request that asks is busy."""
    before = site.state()
    for _ in range(5):
        with site.client() as client, client.stream("GET", "/endless") as endless:
            assert next(endless.iter_raw())
    state = site.until(lambda state: state["closed"] == before["closed"] + 5 and state["busy"] == 1)
    assert state["opened"] == state["closed"]
    assert state["waiting"] == 0


@needs("http/1.1", "streamed uploads")
def test_a_broken_upload_is_not_taken_for_a_whole_one(site: Site) -> None:
    """The client cuts the connection in the middle: the application's read raises."""
    before = site.state()["broken_uploads"]
    with site.raw() as connection:
        connection.sendall(
            b"POST /raw HTTP/1.1\r\nHost: a\r\nContent-Type: application/octet-stream\r\n"
            b"Content-Length: 1000000\r\n\r\n" + b"x" * 200_000
        )
    site.until(lambda state: state["broken_uploads"] == before + 1 and state["busy"] == 1)
    site.running.forgive()  # Flask logs every error that a view lets out


@needs("http/1.1")
def test_expect_100_continue(site: Site) -> None:
    """The server asks for the body when the application reads it."""
    with site.raw() as connection:
        connection.sendall(
            b"POST /raw HTTP/1.1\r\nHost: a\r\nContent-Type: application/octet-stream\r\n"
            b"Content-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        got = b""
        while b"\r\n\r\n" not in got:
            got += connection.recv(1000)
        assert got.startswith(b"HTTP/1.1 100")
        connection.sendall(b"abc")
        while piece := connection.recv(1000):
            got += piece
    assert b'"size":3' in got.replace(b" ", b"")


def test_an_application_error_is_a_500_and_no_more(site: Site) -> None:
    """The next request is answered as ever."""
    with site.client() as client:
        assert client.get("/error").status_code == 500
        assert client.get("/").text == "index"
    site.running.forgive()


@needs("cutting off")
@pytest.mark.parametrize("page", ["/short", "/breaks"])
def test_a_response_that_breaks_off_does_not_look_whole(site: Site, page: str) -> None:
    """A body shorter than declared, or an error in its middle: the client gets an error, too."""
    with site.client() as client:
        with pytest.raises(httpx.RemoteProtocolError):
            client.get(page)
        assert client.get("/").text == "index"
    site.running.forgive()


@needs("lifespan")
def test_lifespan_hooks_have_run(site: Site) -> None:
    """Start-up came before the first request."""
    assert site.state()["started"] == ["started"]


@needs("http/1.1")
def test_websockets_are_refused(site: Site) -> None:
    """With 403, or without an answer that could be taken for a connection."""
    with site.raw() as connection:
        connection.sendall(
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        head = connection.recv(1000)
    assert head.startswith(b"HTTP/1.1 403"), head


def test_nothing_is_left_busy(site: Site) -> None:
    """After all of the above, only the request that asks has a worker, and every iterable is closed."""
    state = site.until(lambda state: state["busy"] == 1)
    assert state["opened"] == state["closed"]
