"""The Flask application behind real servers, under wrk."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
UVICORN = "uvicorn --log-level critical --no-access-log --port {port} benchmarks.apps:asgi_"
COMMANDS = {
    "asgiadapt": UVICORN + "asgiadapt",
    "a2wsgi": UVICORN + "a2wsgi",
    "asgiref": UVICORN + "asgiref",
    "gunicorn gthread": "gunicorn -k gthread --threads 40 -b 127.0.0.1:{port} benchmarks.apps:flask_app",
    "waitress": "waitress --host 127.0.0.1 --port {port} --threads 40 benchmarks.apps:flask_app",
    "granian wsgi": "granian --interface wsgi --host 127.0.0.1 --port {port} --blocking-threads 40 "
    "--no-access-log --log-level critical benchmarks.apps:flask_app",
}
PAGES = {"Flask hello": "/", "20 ms of sleep": "/sleep", "4 MiB streamed": "/stream"}


def _pinned(core: int) -> list[str]:
    if shutil.which("taskset") and (os.cpu_count() or 1) > 1:
        return ["taskset", "-c", str(core)]
    return []


@contextlib.contextmanager
def _server(name: str) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [*_pinned(0), sys.executable, "-m", *COMMANDS[name].format(port=port).split()]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
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
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _requests_per_second(port: int, path: str, seconds: float) -> float:
    command = [*_pinned(1), "wrk", "-t1", "-c64", f"-d{seconds:g}s", f"http://127.0.0.1:{port}{path}"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    done = re.search(r"(\d+) requests in ([\d.]+)s", output)
    assert done, output
    # Only good answers count.
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    return (int(done[1]) - (int(bad[1]) if bad else 0)) / float(done[2])


def measure(page: str, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Requests per second of each server in each round; they take turns within a round."""
    values: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with contextlib.ExitStack() as stack:
        ports = {name: stack.enter_context(_server(name)) for name in COMMANDS}
        for port in ports.values():
            _requests_per_second(port, PAGES[page], 1)
        for _ in range(rounds):
            for name, port in ports.items():
                values[name].append(_requests_per_second(port, PAGES[page], seconds))
    return values
