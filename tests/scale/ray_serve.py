"""A real cluster of Ray on this machine, which serves as docs/deployment/ray-serve.md says.

Takes half a minute, and is not part of the gate: ``python -m pytest tests/scale/ray_serve.py``
"""

import hashlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.processes import ROOT, Program, free_port, program, wait_until

pytestmark = [pytest.mark.server, pytest.mark.timeout(180)]

MODULE = """
import hashlib
import os
from pathlib import Path

from flask import Flask, Response, request
from asgiadapt import WsgiToAsgi

flask_app = Flask(__name__)
seen = Path(os.environ["SEEN"])

@flask_app.get("/")
def index():
    return "hello"

@flask_app.get("/pid")
def pid():
    request.environ["asgiadapt.disconnected"].wait(0.02)  # so that requests meet
    return str(os.getpid())

@flask_app.post("/upload")
def upload():
    digest = hashlib.sha256()
    while chunk := request.stream.read(65536):
        digest.update(chunk)
    return digest.hexdigest()

@flask_app.get("/events")
def events():
    disconnected = request.environ["asgiadapt.disconnected"]

    def messages():
        try:
            yield "data: first\\n\\n"
            disconnected.wait()
        finally:
            (seen / "left").touch()

    return Response(messages(), mimetype="text/event-stream")

@flask_app.get("/cut")
def cut():
    def parts():
        yield "begun"
        raise ValueError("in the midst of it")

    return Response(parts())

@flask_app.get("/die")
def die():
    os._exit(1)

app = WsgiToAsgi(
    flask_app,
    on_startup=lambda: (seen / f"started-{os.getpid()}").touch(),
    on_shutdown=lambda: (seen / f"ended-{os.getpid()}").touch(),
)
"""

NEW_VERSION = """
import ray
from ray import serve
from serving import Site

ray.init(address="auto", log_to_driver=False)
serve.run(Site.options(ray_actor_options={"num_cpus": 0.5}).bind())
"""


def serving(port: int) -> str:
    """The program of the page."""
    page = (ROOT / "docs/deployment/ray-serve.md").read_text()
    found = re.search(r"^<!-- program WsgiToAsgi by Ray -->\n```python\n(.*?)^```$", page, re.M | re.S)
    assert found
    assert "8000" in found[1]
    return found[1].replace("8000", str(port))


def until(condition: Callable[[], bool], what: str) -> None:
    wait_until(condition, lambda: f"after a minute still not: {what}", 60)


class Cluster:
    """The program that serves, and a client."""

    def __init__(
        self, running: Program, client: httpx.Client, folder: Path, variables: dict[str, str]
    ) -> None:
        self.running = running
        self.client = client
        self._folder = folder
        self._variables = variables

    def seen(self, pattern: str) -> set[str]:
        return {file.name.partition("-")[2] for file in self._folder.glob(pattern)}

    def replicas(self) -> set[str]:
        """The processes that answer some requests at a time."""
        found: set[str] = set()

        def ask() -> None:
            found.update(self.client.get("/pid").text for _ in range(10))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found

    def run(self, code: str) -> None:
        """Run a program on the cluster."""
        environment = {**os.environ, **self._variables, "PYTHONPATH": f"{self._folder}{os.pathsep}{ROOT}"}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    pytest.importorskip("ray")
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "module.py").write_text(MODULE)
        (folder / "serving.py").write_text(serving(port))
        # What Ray writes stays in the folder.
        variables = {"SEEN": name, "HOME": name, "RAY_TMPDIR": name, "RAY_USAGE_STATS_ENABLED": "0"}
        with (
            program(str(folder / "serving.py"), port=port, **variables) as running,
            httpx.Client(base_url=running.url, timeout=60) as client,
        ):
            until(lambda: client.get("/").status_code == 200, "the replicas answer")
            yield Cluster(running, client, folder, variables)


def test_the_page_is_served_by_both_replicas(cluster: Cluster) -> None:
    """Each has run the start-up."""
    assert cluster.client.get("/").text == "hello"
    until(lambda: len(cluster.replicas()) == 2, "two replicas answer")
    assert cluster.replicas() <= cluster.seen("started-*")


def test_an_upload_in_chunks_arrives_whole(cluster: Cluster) -> None:
    """Of 20 MiB."""
    chunks = [os.urandom(65536)] * 320
    answer = cluster.client.post("/upload", content=iter(chunks))
    assert answer.text == hashlib.sha256(b"".join(chunks)).hexdigest()


def test_events_pass_as_they_are_made_and_the_replica_is_told_when_the_client_leaves(
    cluster: Cluster,
) -> None:
    """The first one is there while the stream is open; then the generator is closed."""
    with cluster.client.stream("GET", "/events") as answer:
        assert next(answer.iter_text()) == "data: first\n\n"
        assert not cluster.seen("left")
    until(lambda: bool(cluster.seen("left")), "the generator is closed")


def test_an_error_in_the_midst_of_a_response_cuts_it_off(cluster: Cluster) -> None:
    """It does not look whole."""
    with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
        cluster.client.get("/cut")


def test_a_websocket_is_refused(cluster: Cluster) -> None:
    """With 403, as everywhere."""
    with pytest.raises(InvalidStatus, match="403"):
        connect(cluster.running.url.replace("http", "ws") + "/")


def test_a_new_version_comes_in_under_load_without_a_loss(cluster: Cluster) -> None:
    """Every request is answered, by the old replicas or the new ones; the old ones run their shutdown."""
    old = cluster.replicas()
    statuses: set[int] = set()
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            statuses.add(cluster.client.get("/pid").status_code)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        cluster.run(NEW_VERSION)
        until(lambda: old <= cluster.seen("ended-*"), "the old replicas have shut down")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert statuses == {200}
    assert not old & cluster.replicas()


def test_a_replica_that_dies_is_replaced(cluster: Cluster) -> None:
    """Its client gets a 500, and soon there are two again."""
    started = len(cluster.seen("started-*"))
    assert cluster.client.get("/die").status_code == 500
    until(lambda: len(cluster.seen("started-*")) > started, "another replica has started")
    until(lambda: len(cluster.replicas() - {"Internal Server Error"}) == 2, "two replicas answer")


def test_ctrl_c_runs_the_shutdown_in_each_replica(cluster: Cluster) -> None:
    """The last test, since nothing serves after it."""
    replicas = cluster.replicas()
    cluster.running.stop(signal.SIGINT)
    assert replicas <= cluster.seen("ended-*")
