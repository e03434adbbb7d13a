"""The programs in ``examples``, run as their users run them."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys

import httpx
import pytest

from tests.processes import ROOT, Program, free_port, program

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
