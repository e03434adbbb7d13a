"""The programs in ``examples``, run as their users run them."""

import concurrent.futures
import contextlib
import hashlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.processes import ROOT, Program, free_port, program, wait_until

pytestmark = pytest.mark.server
EXAMPLES = ROOT / "examples"

# uvicorn raises the signal again when it has shut down; what becomes of it depends on the version.
ENDED_BY_UVICORN = (0, 130, -signal.SIGINT)


def client_of(running: Program) -> httpx.Client:
    return httpx.Client(base_url=running.url, timeout=30)


def links(text: str) -> list[str]:
    return re.findall(r'href="(/[^"]*)"', text)


def test_the_index_of_the_demo_links_every_page() -> None:
    """Each link of the index leads to a page; one of them fails on purpose, and its traceback is written."""
    port = free_port()
    with program(str(EXAMPLES / "flask_on_uvicorn.py"), str(port), port=port) as running:
        assert f"http://127.0.0.1:{port}/" in running.output()
        with client_of(running) as client:
            pages = set(links(client.get("/").text))
            assert pages == {"/", "/upload", "/rows", "/events", "/slow", "/error"}
            statuses = {page: client.get(page).status_code for page in sorted(pages)}
        assert statuses == dict.fromkeys(pages, 200) | {"/error": 500}
        assert "this page always fails" in running.output()


def test_the_demo_reports_an_upload() -> None:
    """The form's target tells the size and the digest of what was sent."""
    port = free_port()
    content = bytes(range(256)) * 8000
    with program(str(EXAMPLES / "flask_on_uvicorn.py"), str(port), port=port) as running:
        with client_of(running) as client:
            assert 'type="file"' in client.get("/upload").text
            answer = client.post("/upload", files={"file": ("<data>.bin", content)}).text
        assert f"{len(content)} bytes" in answer
        assert hashlib.sha256(content).hexdigest() in answer
        assert "&lt;data&gt;.bin" in answer
        running.check_output()


def test_the_rows_of_the_demo_arrive_one_by_one() -> None:
    """The page comes in as many chunks as it has rows, and is whole."""
    port = free_port()
    with program(str(EXAMPLES / "flask_on_uvicorn.py"), str(port), port=port) as running:
        with client_of(running) as client, client.stream("GET", "/rows") as answer:
            chunks = list(answer.iter_text())
        assert [number for number in range(1, 11) if f"<li>row {number}," in "".join(chunks)] == list(
            range(1, 11)
        )
        assert len(chunks) >= 10
        assert chunks[-1].endswith("That was all.</p>")
        running.check_output()


def test_the_events_of_the_demo_tell_the_threads() -> None:
    """The page shows what the stream sends: the time, and the figures of the pool."""
    port = free_port()
    with program(str(EXAMPLES / "flask_on_uvicorn.py"), str(port), port=port) as running:
        with client_of(running) as client:
            assert 'new EventSource("/ticks")' in client.get("/events").text
            with client.stream("GET", "/ticks") as ticks:
                assert ticks.headers["content-type"].startswith("text/event-stream")
                lines = ticks.iter_lines()
                for _ in range(2):
                    figures = json.loads(next(lines).removeprefix("data: "))
                    assert set(figures) == {"time", "threads", "busy", "waiting"}
                    assert figures["threads"] >= figures["busy"] >= 1
                    assert next(lines) == ""
        running.check_output()


def test_the_port_of_the_demo_may_come_from_the_environment() -> None:
    """Without an argument the variable PORT is used."""
    port = free_port()
    with program(str(EXAMPLES / "flask_on_uvicorn.py"), port=port, PORT=str(port)) as running:
        assert f"http://127.0.0.1:{port}/" in running.output()


def test_the_demo_takes_a_free_port_for_0() -> None:
    """The URL that is printed is one that it listens on already."""
    command = [sys.executable, str(EXAMPLES / "flask_on_uvicorn.py"), "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:[1-9]\d*/", process.stdout.readline())
            assert found is not None
            assert "Flask on uvicorn" in httpx.get(found[0], timeout=30).text
        finally:
            process.terminate()


def test_ctrl_c_ends_the_demo_while_an_event_stream_is_open() -> None:
    """SIGINT ends the program by itself, without a traceback, although a client still listens."""
    port = free_port()
    with program(str(EXAMPLES / "flask_on_uvicorn.py"), str(port), port=port) as running:
        with client_of(running) as client, client.stream("GET", "/ticks") as ticks:
            assert next(ticks.iter_lines()).startswith("data: ")
            assert running.stop(signal.SIGINT) == 0
        running.check_output()
        assert "ERROR" not in running.output()


def test_flask_in_fastapi_serves_both_sides() -> None:
    """Both sides answer; URLs, redirects and static files of the mounted one have its prefix."""
    port = free_port()
    with program(str(EXAMPLES / "mounted_in_fastapi.py"), str(port), port=port) as running:
        with client_of(running) as client:
            assert "made by FastAPI" in client.get("/").text
            old = client.get("/legacy/").text
            assert "made by Flask" in old
            style, greeting, start, new = links(old)
            assert (style, greeting, start, new) == (
                "/legacy/static/plain.css",
                "/legacy/greet/you",
                "/legacy/start",
                "/",
            )
            assert client.get(style).headers["content-type"].startswith("text/css")
            assert "Hello you!" in client.get(greeting).text
            redirect = client.get(start)
            assert (redirect.status_code, redirect.headers["location"]) == (302, "/legacy/")
        assert running.stop(signal.SIGINT) in ENDED_BY_UVICORN
        running.check_output()


def test_django_on_uvicorn_keeps_a_session() -> None:
    """The session cookie comes back, and the streamed page is whole."""
    port = free_port()
    with program(str(EXAMPLES / "django_on_uvicorn.py"), str(port), port=port) as running:
        with client_of(running) as client:
            assert "visit number 1;" in client.get("/").text
            assert "visit number 2;" in client.get("/").text
            assert client.get("/count").text == "0\n1\n2\n3\n4\n"
        assert running.stop(signal.SIGINT) in ENDED_BY_UVICORN
        running.check_output()


@pytest.mark.parametrize("side", ["flask", "starlette"])
def test_events_come_both_ways_and_end_with_their_client(side: str) -> None:
    """A page and its events, one after the other; the generator is closed when its client has gone."""
    port = free_port()
    with program(str(EXAMPLES / "sse_both_ways.py"), side, str(port), port=port) as running:
        with client_of(running) as client:
            assert 'new EventSource("/events")' in client.get("/").text
            with client.stream("GET", "/events") as stream:
                assert stream.headers["x-accel-buffering"] == "no"
                numbers = data_lines(stream)
                assert [next(numbers) for _ in range(3)] == ["1", "2", "3"]
                assert "is closed" not in running.output()
        closed = f"the stream of {side.title()} is closed"
        wait_until(lambda: closed in running.output(), running.output)
        assert running.output().count(closed) == 1
        running.check_output()


def test_blocking_code_in_asynchronous_views_holds_nobody_up() -> None:
    """Who waits for an order gets the one that another request brings meanwhile."""
    port = free_port()
    with program(str(EXAMPLES / "blocking_in_async_view.py"), str(port), port=port) as running:
        with client_of(running) as client, concurrent.futures.ThreadPoolExecutor(3) as threads:
            waiting = [threads.submit(client.get, "/orders/next") for _ in range(3)]
            assert client.get("/orders").json() == []
            for number, what in enumerate(("tea", "milk", "cake"), 1):
                assert client.post("/orders", params={"what": what}).json() == {"number": number}
            answers = [answer.result().json()["number"] for answer in waiting]
            assert sorted(answers) == [1, 2, 3]
            assert client.get("/orders").json() == ["tea", "milk", "cake"]
        assert running.stop(signal.SIGINT) in ENDED_BY_UVICORN
        running.check_output()


def test_django_beside_fastapi_keeps_its_prefix() -> None:
    """Both answer; links and redirects of Django have the prefix, and its session is kept."""
    port = free_port()
    with program(str(EXAMPLES / "django_beside_fastapi.py"), str(port), port=port) as running:
        with client_of(running) as client:
            assert client.get("/api/stock").json() == {"apples": 3, "pears": 5}
            page = client.get("/shop/").text
            assert "In your basket: 0." in page
            assert links(page) == ["/shop/add", "/api/stock"]
            redirect = client.get("/shop/add")
            assert (redirect.status_code, redirect.headers["location"]) == (302, "/shop/")
            assert "In your basket: 1." in client.get("/shop/").text
        assert running.stop(signal.SIGINT) in ENDED_BY_UVICORN
        running.check_output()


def test_asynchronous_code_is_called_from_a_program_and_from_a_view() -> None:
    """The program prints what the view shows; who does not answer in time is left out of neither."""
    port = free_port()
    with program(str(EXAMPLES / "call_async.py"), str(port), port=port) as running:
        assert "north: 5.50\nsouth: 5.50\nfar away: no answer\n" in running.output()
        with client_of(running) as client:
            page = client.get("/").text
            assert "<li>north: 5.50</li><li>south: 5.50</li><li>far away: no answer</li>" in page
            assert client.get("/offers").text.splitlines() == [f"offer {number}" for number in range(1, 6)]
        assert running.stop(signal.SIGINT) in ENDED_BY_UVICORN
        running.check_output()


def test_synchronous_code_is_called_on_threads_and_cancelled() -> None:
    """The program prints each step, the refused word and the end of what was cancelled among them."""
    command = [sys.executable, "-W", "error", str(EXAMPLES / "call_sync.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        "refused: a word has letters",
        "words: apple, pear, quince",
        "weights: [5, 4, 6]",
        "nobody waits any more: the counting ends",
        "cancelled, and the thread is free again",
    ]


def gunicorn_of(module: str, port: int) -> list[str]:
    options = ["-k", "gthread", "--threads", "16", "--graceful-timeout", "3", "-b", f"127.0.0.1:{port}"]
    return ["-m", "gunicorn", *options, "--chdir", str(EXAMPLES), module]


@pytest.mark.parametrize("start", ["by itself", "with gunicorn's command"])
def test_fastapi_on_gunicorn_tells_every_listener_of_a_new_note(start: str) -> None:
    """A note that a background task adds comes to those who listen already, and to those who come later."""
    port = free_port()
    command = [str(EXAMPLES / "fastapi_on_gunicorn.py"), str(port)]
    if start != "by itself":
        command = gunicorn_of("fastapi_on_gunicorn:app", port)
    with program(*command, port=port) as running:
        with client_of(running) as client, contextlib.ExitStack() as stack:
            assert 'new EventSource("/events")' in client.get("/").text
            listeners = [stack.enter_context(client.stream("GET", "/events")) for _ in range(3)]
            lines = [data_lines(listener) for listener in listeners]
            for text in ("first", "grüße"):
                added = client.post("/notes", data={"text": text})
                assert (added.status_code, added.headers["location"]) == (303, "/")
                assert [json.loads(next(own)) for own in lines] == [text] * 3
            late = data_lines(stack.enter_context(client.stream("GET", "/events")))
            assert [json.loads(next(late)) for _ in range(2)] == ["first", "grüße"]
        running.check_output()


def test_fastapi_on_gunicorn_starts_and_ends_its_lifespan() -> None:
    """Once each, in the worker; a note whose task still runs when the server is told to end is not lost."""
    port = free_port()
    with program(str(EXAMPLES / "fastapi_on_gunicorn.py"), str(port), port=port) as running:
        with client_of(running) as client:
            assert client.post("/notes", data={"text": "last"}).status_code == 303
        assert running.stop(signal.SIGTERM) == 0
        running.check_output()
        assert running.output().count("the board is set up") == 1
        assert running.output().count("the board is taken down, with 1 notes") == 1


def data_lines(answer: httpx.Response) -> Iterator[str]:
    """The data of each event; what only keeps the stream open is left out."""
    assert answer.headers["content-type"].startswith("text/event-stream")
    for line in answer.iter_lines():
        if line.startswith("data: "):
            yield line.removeprefix("data: ")


class McpSession:
    """A client with an open stream, which it reads event by event."""

    def __init__(self, client: httpx.Client, stream: httpx.Response) -> None:
        self.client = client
        self.events = data_lines(stream)
        self.endpoint = next(self.events)

    def call(self, method: str, *params: str) -> dict[str, Any]:
        """Post the call, and read its answer from the stream."""
        number = secrets.token_hex(4)
        call = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        assert self.client.post(self.endpoint, json=call).status_code == 202
        answer: dict[str, Any] = json.loads(next(self.events))
        assert answer.pop("jsonrpc") == "2.0"
        assert answer.pop("id") == number
        return answer


MCP_SERVERS = {
    "werkzeug": lambda port: [str(EXAMPLES / "mcp_in_flask.py"), str(port)],
    "gunicorn": lambda port: gunicorn_of("mcp_in_flask:app", port),
    "waitress": lambda port: [
        "-m",
        "waitress",
        f"--listen=127.0.0.1:{port}",
        "--threads=16",
        "mcp_in_flask:app",
    ],
}


@contextlib.contextmanager
def mcp_in_flask(server: str) -> Iterator[tuple[Program, httpx.Client]]:
    port = free_port()
    with program(*MCP_SERVERS[server](port), port=port, path=str(EXAMPLES)) as running:
        with client_of(running) as client:
            yield running, client
        running.check_output()


def open_sessions(client: httpx.Client) -> int:
    found = re.search(r"Open sessions before this one: (\d+)", client.get("/").text)
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize("server", MCP_SERVERS)
def test_sessions_in_flask_answer_over_their_own_streams(server: str) -> None:
    """What is posted to a session's address reaches that session, and its answer comes over its stream."""
    with mcp_in_flask(server) as (_, client), contextlib.ExitStack() as stack:
        streams = [stack.enter_context(client.stream("GET", "/mcp/sse")) for _ in range(4)]
        sessions = [McpSession(client, stream) for stream in streams]
        assert open_sessions(client) == 4
        assert len({session.endpoint for session in sessions}) == 4
        assert all(session.endpoint.startswith("/mcp/post/") for session in sessions)
        for turn in ("a", "b"):
            for number, session in enumerate(sessions):
                kept = [f"{number} {earlier}" for earlier in "ab" if earlier <= turn]
                assert session.call("remember", kept[-1]) == {"result": kept}
        unknown = sessions[0].call("forget")
        assert unknown == {"error": {"code": -32601, "message": "there is no method forget"}}


@pytest.mark.parametrize("server", MCP_SERVERS)
def test_a_session_in_flask_is_gone_with_its_client(server: str) -> None:
    """Nothing is left of a session whose stream has been closed; the others go on."""
    with mcp_in_flask(server) as (_, client), client.stream("GET", "/mcp/sse") as staying:
        stays = McpSession(client, staying)
        with client.stream("GET", "/mcp/sse") as leaving:
            leaves = McpSession(client, leaving)
            assert leaves.call("remember", "it") == {"result": ["it"]}
        wait_until(lambda: open_sessions(client) <= 1, lambda: open_sessions(client))
        assert open_sessions(client) == 1
        gone = client.post(leaves.endpoint, json={"jsonrpc": "2.0", "id": 1, "method": "remember"})
        assert (gone.status_code, gone.text) == (404, "there is no such session")
        assert stays.call("remember", "still here") == {"result": ["still here"]}


@pytest.mark.parametrize("server", MCP_SERVERS)
def test_a_server_with_open_sessions_ends(server: str) -> None:
    """Ctrl-C ends the program by itself, although a client still listens."""
    with mcp_in_flask(server) as (running, client), client.stream("GET", "/mcp/sse") as stream:
        McpSession(client, stream)
        assert running.stop(signal.SIGINT) == 0
        running.forgive()  # some servers tell of a stream that is cut short
