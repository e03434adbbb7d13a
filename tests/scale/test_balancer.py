"""Two instances behind nginx, configured as docs/scale.md has it; where there is none, none is asked for."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.scale import nginx_configuration
from tests.processes import Program, free_port, program

pytestmark = pytest.mark.server

MODULE = """
import os
from flask import Flask, Response, request
from asgiadapt import WsgiToAsgi

flask_app = Flask(__name__)

@flask_app.route("/", methods=["GET", "POST"])
def index():
    return f"{os.getpid()} {request.remote_addr} {request.host}"

@flask_app.get("/events")
def events():
    disconnected = request.environ["asgiadapt.disconnected"]

    def messages():
        yield "data: first\\n\\n"
        disconnected.wait()

    return Response(messages(), mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"})

async def full(scope, receive, send):
    headers = [(b"retry-after", b"7"), (b"content-length", b"4")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": b"full"})

app = WsgiToAsgi(flask_app)
"""


class Site:
    """The two ports of the instances, and a client of the balancer."""

    def __init__(self, folder: Path, ports: list[int], client: httpx.Client) -> None:
        self.client = client
        self._folder = folder
        self._ports = ports

    def instance(self, number: int, app: str = "app") -> contextlib.AbstractContextManager[Program]:
        port = self._ports[number]
        command = ["-m", "uvicorn", f"module:{app}", "--port", str(port), "--lifespan", "off"]
        return program(*command, port=port, path=str(self._folder))

    def answering(self, requests: int = 8) -> set[str]:
        """The processes that answer these requests, all of them well."""
        answers = [self.client.get("/") for _ in range(requests)]
        assert {answer.status_code for answer in answers} == {200}
        return {answer.text.split()[0] for answer in answers}


@pytest.fixture
def site() -> Iterator[Site | None]:
    if shutil.which("nginx") is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # nginx gives up being root
        balancer, *ports = free_port(), free_port(), free_port()
        (folder / "module.py").write_text(MODULE)
        (folder / "nginx.conf").write_text(nginx_configuration(name, balancer, ports))
        command = ["nginx", "-c", f"{name}/nginx.conf", "-e", f"{name}/log"]
        with (
            program("-c", f"import os; os.execvp('nginx', {command!r})", port=balancer) as running,
            httpx.Client(base_url=running.url, timeout=30) as client,
        ):
            yield Site(folder, ports, client)


def test_both_machines_answer_until_one_is_gone(site: Site | None) -> None:
    """Then the other one answers everything; and when it is back, both do again, at once."""
    if site is None:
        return
    with site.instance(0) as first:
        with site.instance(1) as second:
            assert site.answering() == {str(first.process.pid), str(second.process.pid)}
        assert site.answering() == {str(first.process.pid)}
        with site.instance(1) as second:
            assert site.answering() == {str(first.process.pid), str(second.process.pid)}


def test_the_machines_know_the_client_from_the_balancer_alone(site: Site | None) -> None:
    """What the client claims to be is replaced, and the host is the one that it asked for."""
    if site is None:
        return
    with site.instance(0):
        answer = site.client.get("/", headers={"X-Forwarded-For": "203.0.113.9"})
        assert answer.text.split()[1:] == ["127.0.0.1", site.client.base_url.netloc.decode()]


def test_what_one_machine_refuses_the_other_one_answers(site: Site | None) -> None:
    """But for a POST, which gets the refusal as it is."""
    if site is None:
        return
    with site.instance(0) as first, site.instance(1, "full"):
        assert site.answering() == {str(first.process.pid)}
        posted = [site.client.post("/", content=b"x") for _ in range(2)]
        refused = [answer for answer in posted if answer.status_code != 200]
        assert [(one.status_code, one.headers["Retry-After"], one.text) for one in refused] == [
            (503, "7", "full")
        ]


def test_a_refusal_of_all_machines_reaches_the_client(site: Site | None) -> None:
    """Again and again, with what it tells."""
    if site is None:
        return
    with site.instance(0, "full"), site.instance(1, "full"):
        for _ in range(4):
            answer = site.client.get("/")
            assert (answer.status_code, answer.headers["Retry-After"], answer.text) == (503, "7", "full")


def test_events_pass_the_balancer_as_they_are_made(site: Site | None) -> None:
    """The first one is there while the stream is open."""
    if site is None:
        return
    with site.instance(0), site.client.stream("GET", "/events") as answer:
        assert next(answer.iter_text()) == "data: first\n\n"
