"""The programs in ``examples``, run as their users run them."""

import hashlib
import signal

import httpx
import pytest

from tests.processes import ROOT, free_port, program

pytestmark = pytest.mark.server
EXAMPLES = ROOT / "examples"


def test_flask_on_uvicorn_serves_every_page() -> None:
    """Index, upload, stream, events, error and a slow page answer as a person expects."""
    port = free_port()
    with program(str(EXAMPLES / "flask_on_uvicorn.py"), str(port), port=port) as running:
        assert f"http://127.0.0.1:{port}/" in running.output()
        with httpx.Client(base_url=running.url, timeout=30) as client:
            index = client.get("/").text
            for link in ("/form", "/stream", "/events", "/slow", "/error"):
                assert f'href="{link}"' in index
            assert 'type="file"' in client.get("/form").text
            content = bytes(range(256)) * 2000
            answer = client.post("/form", files={"file": content}, follow_redirects=True)
            assert f"{len(content)} bytes" in answer.text
            assert hashlib.sha256(content).hexdigest() in answer.text
            assert "row 10" in client.get("/stream").text
            assert "EventSource" in client.get("/events").text
            with client.stream("GET", "/ticks") as ticks:
                lines = ticks.iter_lines()
                assert next(lines).startswith("data: ")
                assert next(lines) == ""
                assert next(lines).startswith("data: ")
            assert "two seconds" in client.get("/slow").text
            assert client.get("/error").status_code == 500
            assert "this page always fails" in running.output()


def test_ctrl_c_ends_the_demo_cleanly_while_an_event_stream_is_open() -> None:
    """SIGINT ends the program by itself, without a traceback, although a client still listens."""
    port = free_port()
    with program(str(EXAMPLES / "flask_on_uvicorn.py"), str(port), port=port) as running:
        with httpx.Client(base_url=running.url, timeout=30) as client:
            with client.stream("GET", "/ticks") as ticks:
                assert next(ticks.iter_lines()).startswith("data: ")
                code = running.stop(signal.SIGINT)
        # uvicorn raises the signal again when it has shut down; Python makes 130 of it.
        assert code in (0, 130, -signal.SIGINT)
        assert "RuntimeError" not in running.output()
        assert "Exception in ASGI" not in running.output()


def uvicorn(name: str, port: int) -> tuple[str, ...]:
    return ("-m", "uvicorn", "--app-dir", str(EXAMPLES), "--port", str(port), f"{name}:app")


def test_flask_in_fastapi_serves_both_sides() -> None:
    """Asynchronous routes and the mounted application answer; URLs and redirects keep the prefix."""
    port = free_port()
    with program(*uvicorn("flask_in_fastapi", port), port=port) as running:
        with httpx.Client(base_url=running.url, timeout=30) as client:
            assert client.get("/new").json() == {"page": "a new one"}
            assert "/legacy/page/about" in client.get("/legacy/").text
            assert client.get("/legacy/page/about").text == "the old page about\n"
            redirect = client.get("/legacy/start")
            assert redirect.status_code == 302
            assert redirect.headers["location"] == "/legacy/"
        running.check_output()


def test_django_on_uvicorn_keeps_a_session() -> None:
    """The session cookie comes back, and the streamed page is whole."""
    port = free_port()
    with program(*uvicorn("django_on_uvicorn", port), port=port) as running:
        with httpx.Client(base_url=running.url, timeout=30) as client:
            assert client.get("/").text == "visit 1\n"
            assert client.get("/").text == "visit 2\n"
            assert client.get("/count").text == "0\n1\n2\n3\n4\n"
        running.check_output()
