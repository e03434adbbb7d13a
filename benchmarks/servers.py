"""Applications behind real servers, under wrk: requests in a second.

Each server is one process on a core of its own, and wrk is on another, where there are two and taskset is
installed. The Flask application: servers with threads of their own get 40, which is what asgiadapt has by
default, so that the page that sleeps compares like with like; the peers behind an ASGI server keep their
defaults, 10 threads for a2wsgi, one for asgiref. The ASGI applications: 8 threads of the server, and the same
page of a plain WSGI application beside them, which shows what is the server's own.
"""

import contextlib
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import apps
from benchmarks.results import Result

ROOT = Path(__file__).parent.parent
UVICORN = "uvicorn --host 127.0.0.1 --port {port} --log-level critical --no-access-log benchmarks."
GRANIAN = "granian --host 127.0.0.1 --port {port} --no-access-log --log-level critical --interface "
GUNICORN = "gunicorn -b 127.0.0.1:{port} --log-level critical -k "
FLASK_ON_GTHREAD = GUNICORN + "gthread --threads 40 benchmarks.apps:flask_app"
FLASK_ON_GRANIAN = GRANIAN + "wsgi --blocking-threads 40 benchmarks.apps:flask_app"


def _flask(server: str) -> dict[str, str]:
    return {name: f"{server}apps:asgi_{name}" for name in ("asgiadapt", "a2wsgi", "asgiref")}


FLASK = {
    **_flask(UVICORN),
    "gunicorn gthread": FLASK_ON_GTHREAD,
    "waitress": "waitress --host 127.0.0.1 --port {port} --threads 40 benchmarks.apps:flask_app",
    "granian wsgi": FLASK_ON_GRANIAN,
}
FLASK_BEHIND_GRANIAN = {**_flask(GRANIAN + "asgi benchmarks."), "granian wsgi": FLASK_ON_GRANIAN}
FLASK_BEHIND_GUNICORN = {**_flask(GUNICORN + "asgi benchmarks."), "gunicorn gthread": FLASK_ON_GTHREAD}


def _reverse(app: str, server: str = GUNICORN + "gthread --threads 8 benchmarks.") -> dict[str, str]:
    return {
        "asgiadapt": f"{server}reverse:wsgi_{app}_asgiadapt",
        "a2wsgi": f"{server}reverse:wsgi_{app}_a2wsgi",
        "plain WSGI": f"{server}apps:hello",
    }


def _django(command: str, app: str) -> dict[str, str]:
    return {name: f"{command}benchmarks.django_{name}:{app}" for name in ("asgiadapt", "asgiref")}


_ON_UVICORN = "uvicorn --host 127.0.0.1 --port {port} --log-level critical --no-access-log --lifespan off "
_ON_GUNICORN = "gunicorn -b 127.0.0.1:{port} -k gthread --threads 8 --log-level critical "


@dataclass(frozen=True)
class Page:
    title: str
    path: str
    size: int  # bytes of the answer
    commands: dict[str, str]  # contender -> what python -m runs


PAGES = {
    "server.flask": Page("Flask hello behind uvicorn, and other servers", "/", 5, FLASK),
    "server.sleep": Page("20 ms of sleep behind uvicorn, and other servers", "/sleep", 5, FLASK),
    "server.stream": Page("4 MiB streamed behind uvicorn, and other servers", "/stream", apps.PAGE, FLASK),
    "server.flask.granian": Page("Flask hello behind granian's ASGI", "/", 5, FLASK_BEHIND_GRANIAN),
    "server.flask.gunicorn": Page("Flask hello behind gunicorn's ASGI", "/", 5, FLASK_BEHIND_GUNICORN),
    "server.a2w.hello": Page("ASGI hello behind gunicorn gthread", "/", 5, _reverse("hello")),
    "server.django.plain": Page(
        "Django: a plain view behind uvicorn", "/plain", 5, _django(_ON_UVICORN, "asgi")
    ),
    "server.django.orm": Page(
        "Django: an async view with three calls of the ORM behind uvicorn",
        "/orm",
        5,
        _django(_ON_UVICORN, "asgi"),
    ),
    "server.django.wsgi": Page(
        "Django: an async view behind gunicorn gthread", "/async", 5, _django(_ON_GUNICORN, "wsgi")
    ),
    "server.a2w.starlette": Page("Starlette hello behind gunicorn gthread", "/", 5, _reverse("starlette")),
    "server.a2w.granian": Page(
        "ASGI hello behind granian's WSGI",
        "/",
        5,
        _reverse("hello", GRANIAN + "wsgi --blocking-threads 8 benchmarks."),
    ),
}
CONNECTIONS = 64


def _cores() -> list[int]:
    """The cores that may be used, where processes can be bound to them."""
    return sorted(os.sched_getaffinity(0)) if shutil.which("taskset") else []


def _on_core(number: int) -> list[str]:
    cores = _cores()
    return ["taskset", "-c", str(cores[number])] if len(cores) > 1 else []


@contextlib.contextmanager
def _server(name: str, arguments: str) -> Iterator[int]:
    """Gives the port of a server that accepts connections, and stops it afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    command = [*_on_core(0), sys.executable, "-m", *arguments.format(port=port).split()]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{name} does not start: {' '.join(command)}") from None
                time.sleep(0.05)
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _check(name: str, port: int, path: str, size: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        found = answer.status, len(answer.read())
    if found != (200, size):
        raise RuntimeError(f"{name} answers {path} with status and length {found}")


def _requests_per_second(port: int, path: str, seconds: int) -> float:
    url = f"http://127.0.0.1:{port}{path}"
    command = [*_on_core(1), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", url]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    done = re.search(r"(\d+) requests in ([\d.]+)(s|m)", output)
    assert done, output
    # Only good answers count.
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    taken = float(done[2]) * (60 if done[3] == "m" else 1)  # minutes, where the machine is very busy
    return (int(done[1]) - (int(bad[1]) if bad else 0)) / taken


def measure(name: str, rounds: int, *, seconds: int) -> Result:
    """*seconds* of wrk for each server in each round; they take turns within a round."""
    page = PAGES[name]
    values: dict[str, list[float]] = {contender: [] for contender in page.commands}
    with contextlib.ExitStack() as stack:
        ports = {
            contender: stack.enter_context(_server(contender, arguments))
            for contender, arguments in page.commands.items()
        }
        for contender, port in ports.items():
            _check(contender, port, page.path, page.size)
            _requests_per_second(port, page.path, 1)
        for number in range(rounds):
            for contender, port in list(ports.items())[:: -1 if number % 2 else 1]:
                values[contender].append(_requests_per_second(port, page.path, seconds))
    return Result(name, page.title, "req/s", values)
