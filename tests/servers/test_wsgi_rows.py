"""What holds on each real WSGI server, with a plain ASGI application: row by row, and byte by byte."""

import concurrent.futures
import json
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.processes import Program, wait_until
from tests.servers.asgi_rows import FILE, FILE_SIZE, TOGETHER
from tests.servers.test_wsgi_servers import SERVERS, Gate, browser, needs, serving

pytestmark = pytest.mark.server


# Python itself ends at once with SIGTERM where nobody handles it, and runs nothing at all then.
ENDS_WITH_SIGINT = {"waitress", "werkzeug", "wsgiref", "wsgiref-threads", "cheroot"}


class Served:
    """The application on the server of this *name*."""

    def __init__(self, name: str, running: Program) -> None:
        self.name = name
        self.port = running.port
        self.url = running.url
        self.output = running.output
        self.check_output = running.check_output
        self.stop = running.stop


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Served]:
    with serving(request.param, "tests.servers.asgi_rows", "rows") as running:
        yield Served(request.param, running)


@pytest.fixture
def client(server: Served) -> Iterator[httpx.Client]:
    with browser(server.url) as client:
        yield client


def raw(server: Served, sent: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    connection.sendall(sent)
    return connection


def answer(connection: socket.socket, body: int = 0) -> tuple[bytes, bytes]:
    """The head of the next response, and *body* bytes."""
    got = b""
    while b"\r\n\r\n" not in got or len(got.partition(b"\r\n\r\n")[2]) < body:
        piece = connection.recv(10_000)
        assert piece, f"the connection ended after {got!r}"
        got += piece
    head, _, rest = got.partition(b"\r\n\r\n")
    return head, rest


# What servers tell of a request differs. Those named here give the target as it was sent; cheroot does, too,
# but leaves "%2F" in the path as it is, and so the two do not agree.
RAW_PATH = {
    *("gunicorn-sync", "gunicorn-preload", "gunicorn-gthread", "gunicorn-gevent", "waitress", "werkzeug"),
    *("uwsgi", "apache"),
}
NO_CLIENT_PORT = {"wsgiref", "wsgiref-threads", "granian", "uwsgi"}
GUNICORN = {"gunicorn-sync", "gunicorn-preload", "gunicorn-gthread", "gunicorn-gevent"}
FILE_WRAPPER = {*GUNICORN, "waitress", "wsgiref", "wsgiref-threads", "uwsgi", "apache"}


def test_a_scope(server: Served) -> None:
    """Path, query, protocol, and the two ends, as far as the server knows them."""
    host = f"127.0.0.1:{server.port}"
    sent = f"GET /a%2Fb/caf%C3%A9?x=%26&y=%C3%A9 HTTP/1.1\r\nHost: {host}\r\n\r\n"
    with raw(server, sent.encode()) as connection:
        head, body = answer(connection)
        size = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        while len(body) < size:
            body += connection.recv(10_000)
        port = connection.getsockname()[1]
    scope = json.loads(body)
    assert scope["path"] == ("/a%2Fb/caf\u00e9" if server.name == "cheroot" else "/a/b/caf\u00e9")
    assert scope.get("raw_path") == ("/a%2Fb/caf%C3%A9" if server.name in RAW_PATH else None)
    assert scope["query_string"] == "x=%26&y=%C3%A9"
    assert (scope["method"], scope["scheme"], scope["root_path"]) == ("GET", "http", "")
    assert scope["http_version"] == "1.1"
    assert scope["client"] == ["127.0.0.1", 0 if server.name in NO_CLIENT_PORT else port]
    assert scope["server"][1] == server.port
    assert scope["headers"][0] == ["host", host]


def test_headers(client: httpx.Client, server: Served) -> None:
    """One that comes twice is joined, as the server does it; latin-1 stays what it is."""
    sent = [("X-Two", "1"), ("X-Two", "2"), ("X-Latin", b"\xe9"), ("X-Empty", "")]
    headers = dict(client.get("/", headers=sent).json()["headers"])
    # cheroot knows the headers that are lists, and keeps the last one of others
    assert headers["x-two"].replace(" ", "") == ("2" if server.name == "cheroot" else "1,2")
    # granian gives none but ASCII to WSGI applications
    assert headers["x-latin"] == ("" if server.name == "granian" else "\u00e9")
    assert headers["x-empty"] == ""


def test_extensions(client: httpx.Client, server: Served) -> None:
    """Those that the server's environ has the means for, and no others."""
    expected = {"asgiadapt.environ"}
    expected |= {"http.response.early_hint"} if server.name in GUNICORN else set()
    expected |= {"http.response.pathsend"} if server.name in FILE_WRAPPER else set()
    assert set(client.get("/").json()["extensions"]) == expected


@needs("keep-alive")
def test_a_connection_is_kept(server: Served) -> None:
    """Also after a request with a body, and after a head alone."""
    with raw(server, b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc") as connection:
        assert answer(connection, 3)[1] == b"abc"
        for method, path, status in [
            (b"HEAD", b"/echo", b"200"),
            (b"GET", b"/echo", b"200"),
        ]:
            connection.sendall(method + b" " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n")
            head, body = answer(connection)
            assert head.split()[1] == status
            assert body == b""


@needs("keep-alive", "keep-alive without a length")
def test_a_connection_is_kept_after_a_response_without_a_body(server: Served) -> None:
    """Nothing of a body is sent that the next response would follow."""
    with raw(server, b"GET /no_content HTTP/1.1\r\nHost: a\r\n\r\n") as connection:
        assert b" 204 " in answer(connection)[0]
        connection.sendall(b"GET /not_modified HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b" 304 " in answer(connection)[0]
        connection.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
        assert answer(connection, 3)[1] == b"abc"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("HEAD", "/echo", 200), ("HEAD", "/", 200), ("GET", "/no_content", 204), ("GET", "/not_modified", 304)],
)
def test_responses_without_a_body(client: httpx.Client, method: str, path: str, status: int) -> None:
    """They have none, and end."""
    answer = client.request(method, path)
    assert (answer.status_code, answer.content) == (status, b"")


def test_bodies_are_echoed(client: httpx.Client) -> None:
    """Empty, small, and larger than what is read at once."""
    for size in (0, 1, 65_536, 300_000):
        body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        assert client.post("/echo", content=body).content == body


@needs("continue")
def test_expect_100_continue(server: Served) -> None:
    """The server asks for the body when the application reads it, or before."""
    with raw(
        server,
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n",
    ) as connection:
        assert answer(connection)[0].startswith(b"HTTP/1.1 100")
        connection.sendall(b"abc")
        got = b""
        while not got.endswith(b"\r\n\r\nabc"):  # Werkzeug says 100 twice
            piece = connection.recv(10_000)
            assert piece, got
            got += piece
        assert b" 200 OK\r\n" in got


def test_a_client_that_leaves_a_download(client: httpx.Client, server: Served) -> None:
    """send() raises, receive() gives a disconnect, and the task comes to its end."""
    with Gate() as gate:
        with client.stream("GET", "/endless", params={"gate": gate.port}) as endless:
            assert next(endless.iter_raw())
        assert gate.words() == ["ClientDisconnected", "http.disconnect"]


def test_an_application_that_stays_is_cancelled(client: httpx.Client, server: Served) -> None:
    """After a time of grace, when its client has left."""
    with Gate() as gate:
        with client.stream("GET", "/stuck", params={"gate": gate.port}) as stuck:
            assert next(stuck.iter_raw())
        assert gate.words() == ["cancelled"]


def test_nothing_was_written_so_far(server: Served) -> None:
    """No traceback is in the server's output. The tests below provoke some."""
    server.check_output()


@needs("streamed uploads")
def test_a_client_that_leaves_an_upload(server: Served) -> None:
    """The application gets a disconnect instead of the rest."""
    with Gate() as gate:
        with raw(
            server,
            b"POST /half?gate=%d HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" % gate.port
            + b"x" * 200_000,
        ):
            assert gate.word() == "begun"
        assert gate.words() == ["http.disconnect"]


@pytest.mark.parametrize("page", ["/breaks", "/short"])
def test_a_response_that_breaks_off_does_not_look_whole(
    client: httpx.Client, server: Served, page: str
) -> None:
    """An error in its middle, or a body shorter than declared: the client gets an error, too."""
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(page)
    assert client.get("/echo").status_code == 200


@needs("cutting off")
def test_a_response_in_chunks_that_breaks_off_does_not_look_whole(
    client: httpx.Client, server: Served
) -> None:
    """The last chunk is missing."""
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/breaks_in_chunks")
    assert client.get("/echo").status_code == 200


@needs("errors")
def test_an_application_without_an_answer_is_a_500(client: httpx.Client, server: Served) -> None:
    """The server's own; it goes on."""
    assert client.get("/silent").status_code == 500
    wait_until(lambda: "although no http.response.start was sent yet" in server.output(), server.output)
    assert client.get("/echo").status_code == 200


@needs("threads")
def test_requests_overlap(client: httpx.Client) -> None:
    """They meet in the application, or none is answered."""
    with concurrent.futures.ThreadPoolExecutor(TOGETHER) as threads:
        answers = list(threads.map(lambda _: client.get("/meet").text, range(TOGETHER)))
    assert answers == ["together"] * TOGETHER


@needs("early hints")
def test_an_early_hint_leaves_before_the_response(server: Served) -> None:
    """As a 103 of its own."""
    with raw(server, b"GET /early HTTP/1.1\r\nHost: a\r\n\r\n") as connection:
        head, rest = answer(connection)
        assert head.startswith(b"HTTP/1.1 103")
        assert b"</style.css>; rel=preload" in head
        while not rest.endswith(b"late"):
            piece = connection.recv(10_000)
            assert piece
            rest += piece


@needs("file wrapper")
def test_a_file_is_sent_by_its_path(client: httpx.Client) -> None:
    """As a whole, through the server's own means."""
    assert client.get("/file").content == bytes(range(256)) * (FILE_SIZE // 256)
    assert FILE.stat().st_size == FILE_SIZE


def test_the_lifespan_is_that_of_the_serving_process(client: httpx.Client) -> None:
    """Where the server forks, after that."""
    assert client.get("/process").text == "own"


def wait_for_idle_uwsgi(port: int) -> None:
    """A worker that is told to end in the last moments of a request leaves out what is to be done at exit."""
    deadline = time.monotonic() + 20
    stats: dict[str, Any] = {}
    while not stats or any(worker["status"] != "idle" for worker in stats["workers"]):
        assert time.monotonic() < deadline, stats
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(f"\0asgiadapt-{port}\0")
            stats = json.load(connection.makefile())


@needs("exit")
def test_the_application_is_shut_down_with_the_server(server: Served) -> None:
    """By the signal that lets the interpreter come to its end. Stops the server."""
    with browser(server.url) as client:
        assert client.get("/echo").status_code == 200  # it has started up
    if server.name == "uwsgi":
        wait_for_idle_uwsgi(server.port)
    server.stop(signal.SIGINT if server.name in ENDS_WITH_SIGINT else signal.SIGTERM)
    assert "the application shuts down" in server.output()


@needs("exit")
def test_the_application_may_use_threads_when_it_is_shut_down(server: Served) -> None:
    """The interpreter still lets it. Looks at what the test before has left."""
    assert "the application has used a thread" in server.output()


def test_an_application_that_served_before_the_fork_serves_after_it() -> None:
    """On a loop and with a lifespan of the worker's own; both processes shut theirs down."""
    with serving("gunicorn-preload", "tests.servers.asgi_preloaded", "application") as running:
        with browser(running.url) as client:
            assert client.get("/process").text == "own"
            assert client.post("/echo", content=b"abc").content == b"abc"
        running.stop()
        assert running.output().count("the application shuts down") == 2
        running.check_output()


if "uwsgi" in SERVERS:

    def test_uwsgi_ends_when_it_is_told_to() -> None:
        """Its handlers of signals are not Python's; what waits on the main thread leaves them alone."""
        with serving("uwsgi", "tests.servers.asgi_main_thread", "application") as running:
            with browser(running.url) as client:
                deadline = time.monotonic() + 20
                while client.get("/echo").status_code != 200:  # each thread takes its turn
                    assert time.monotonic() < deadline
            wait_for_idle_uwsgi(running.port)
            running.stop()
            assert "the application shuts down" in running.output()
