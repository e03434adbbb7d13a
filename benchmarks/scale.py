"""More than one process, and more than one machine: the figures of docs/scale.md.

workers   requests a second with one and with two workers of a server, for a page that costs nothing, one that
          computes for some 6 ms, and one that waits for 50 ms; and the memory of the workers
restarts  two instances behind nginx, as docs/scale.md configures it, each ended and started again under load:
          what the clients saw
heavy     how long other requests take while heavy functions run on threads, in a process pool, or on Dask
ray       requests a second with Ray Serve's proxy and two replicas, beside uvicorn with two workers

Servers and clients share the cores of this machine. What takes part in a comparison takes turns within each
round; a ratio is the median over those of the rounds. Left out is what is not installed.
"""

import argparse
import collections
import contextlib
import http.client
import importlib.util
import logging
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
UVICORN = "uvicorn --log-level critical --no-access-log --port {port}"
GUNICORN = "gunicorn --log-level critical --bind 127.0.0.1:{port} --workers {n}"
GTHREAD = f"{GUNICORN} --worker-class gthread --threads 16"
APPS = "benchmarks.scale_apps"
WORKERS = {
    "uvicorn": f"{UVICORN} --workers {{n}} {APPS}:asgi",
    "gunicorn, uvicorn-worker": f"{GUNICORN} --worker-class uvicorn_worker.UvicornWorker {APPS}:asgi",
    "granian": "granian --interface asgi --log-level critical --no-access-log --port {port} --workers {n}"
    f" {APPS}:asgi",
    "gunicorn gthread, AsgiToWsgi": f"{GTHREAD} {APPS}:wsgi",
    "the same with --preload": f"{GTHREAD} --preload {APPS}:wsgi",
}
PAGES = {"/": "costs nothing", "/compute": "computes", "/wait": "waits"}
CONNECTIONS = 64
START_SECONDS = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(command: list[str], port: int, **variables: str) -> "subprocess.Popen[bytes]":
    """Runs the command in a session of its own, until something listens on *port*."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return process
        if process.poll() is not None or time.monotonic() > deadline:
            end(process)
            raise RuntimeError(f"this does not start: {' '.join(command)}")
        time.sleep(0.02)


def end(process: "subprocess.Popen[bytes]", number: int = signal.SIGTERM) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def serving(command: str, workers: int = 1, **variables: str) -> Iterator[tuple[int, int]]:
    """Gives the port and the process id of what ``python -m`` *command* starts."""
    port = free_port()
    arguments = command.format(port=port, n=workers).split()
    process = start([sys.executable, "-m", *arguments], port, **variables)
    try:
        yield port, process.pid
    finally:
        end(process)


def get(port: int, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode()
    if answer.status != 200:
        raise RuntimeError(f"{path} is answered with status {answer.status}")
    return text


def until_it_answers(port: int, path: str) -> None:
    """Serve listens before its replicas are there."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            get(port, path)
            return
        except (OSError, RuntimeError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def requests_per_second(port: int, path: str, seconds: int) -> float:
    url = f"http://127.0.0.1:{port}{path}"
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "30s", url]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        raise RuntimeError(f"not every request was answered:\n{output}")
    done = re.search(r"([1-9]\d*) requests in ([\d.]+)s", output)
    if done is None:
        raise RuntimeError(f"no request was answered; take more seconds:\n{output}")
    return int(done[1]) / float(done[2])


def memory(session: int) -> float:
    """MiB of all processes of the session; what several of them share is counted once."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.getsid(int(folder.name)) == session:
                found = re.search(r"^Pss: +(\d+) kB", (folder / "smaps_rollup").read_text(), re.M)
                total += int(found[1]) if found else 0
    return total / 1024


def ratio(over: list[float], under: list[float]) -> str:
    ratios = [one / other for one, other in zip(over, under, strict=True)]
    return f"{statistics.median(ratios):5.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def compare(one: int, other: int, rounds: int, seconds: int) -> None:
    """Requests a second to each page of the servers on two ports, which take turns."""
    for path, what in PAGES.items():
        values: dict[int, list[float]] = {one: [], other: []}
        for port in values:
            until_it_answers(port, path)
            requests_per_second(port, path, 1)
        for number in range(rounds):
            for port in [one, other][:: -1 if number % 2 else 1]:
                values[port].append(requests_per_second(port, path, seconds))
        rates = [statistics.median(found) for found in values.values()]
        compared = ratio(values[other], values[one])
        print(f"    a page that {what:14}{rates[0]:9,.0f}{rates[1]:9,.0f}   {compared}", flush=True)


def workers(rounds: int, seconds: int) -> None:
    print(f"\nworkers: requests/s of wrk with {CONNECTIONS} connections: one worker, two workers, ratio")
    for name, command in WORKERS.items():
        with serving(command, 1) as (port, one), serving(command, 2) as (other_port, two):
            print(f"  {name}")
            compare(port, other_port, rounds, seconds)
            print(f"    MiB in all {memory(one):24,.0f}{memory(two):9,.0f}", flush=True)


# The balancer's own part of a configuration; the rest is that of docs/scale.md.
NGINX = """\
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {site}
}}
"""
INSTANCE = f"{UVICORN} --timeout-graceful-shutdown 5 {APPS}:asgi"


def nginx_configuration(folder: str, balancer: int, ports: list[int], drop: str = "(?!)") -> str:
    """The site of docs/scale.md on these ports, without what matches *drop*."""
    found = re.search(r"^```nginx\n(.*?)^```$", (ROOT / "docs/scale.md").read_text(), re.M | re.S)
    assert found
    site = re.sub(drop, "", found[1], flags=re.M)
    names = {"listen 80;": f"listen 127.0.0.1:{balancer};"}
    for host, port in zip(("10.0.0.11", "10.0.0.12"), ports, strict=True):
        names[f"{host}:8000"] = f"127.0.0.1:{port}"
    for name, here in names.items():
        assert name in site
        site = site.replace(name, here)
    return NGINX.format(folder=folder, site=site)


class Clients:
    """Send requests without a pause, each on a connection that it keeps, and count what comes back."""

    def __init__(self, port: int, number: int) -> None:
        self.counts: collections.Counter[tuple[str, str]] = collections.Counter()
        self._port = port
        self._stop = threading.Event()
        methods = ["GET", "POST"] * (number // 2)
        self._threads = [threading.Thread(target=self._send, args=[method]) for method in methods]
        for thread in self._threads:
            thread.start()

    def _send(self, method: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        while not self._stop.is_set():
            try:
                connection.request(method, "/wait", b"x" * 100 if method == "POST" else None)
                answer = connection.getresponse()
                answer.read()
                self.counts[method, str(answer.status)] += 1
            except (OSError, http.client.HTTPException) as error:
                self.counts[method, type(error).__name__] += 1
                connection.close()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def restarts(rounds: int, seconds: int) -> None:
    if shutil.which("nginx") is None:
        print("\nrestarts: left out, since nginx is not installed")
        return
    print("\nrestarts: each of two instances behind nginx is ended under load, and started again")
    ways = {"as on the page": "(?!)", "without max_fails=0": " max_fails=0"}
    for name, drop in ways.items():
        for number in (signal.SIGTERM, signal.SIGKILL):
            counts: collections.Counter[tuple[str, str]] = collections.Counter()
            for _ in range(rounds):
                counts += restarted(drop, number, seconds)
            print(f"  {name}, {signal.Signals(number).name}, {rounds} rounds")
            for (method, outcome), count in sorted(counts.items()):
                print(f"    {method:5}{outcome:20}{count:7,}", flush=True)


def restarted(drop: str, number: int, seconds: int) -> "collections.Counter[tuple[str, str]]":
    balancer, *ports = free_port(), free_port(), free_port()

    def instance(port: int) -> "subprocess.Popen[bytes]":
        return start([sys.executable, "-m", *INSTANCE.format(port=port).split()], port)

    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        file = Path(folder) / "nginx.conf"
        file.write_text(nginx_configuration(folder, balancer, ports, drop))
        instances = {port: instance(port) for port in ports}
        for port in ports:
            stack.callback(lambda port=port: end(instances[port]))
        stack.callback(end, start(["nginx", "-c", str(file), "-e", f"{folder}/log"], balancer))
        clients = Clients(balancer, 16)
        time.sleep(1)
        for port in ports:
            end(instances[port], number)
            time.sleep(seconds)
            instances[port] = instance(port)
            time.sleep(1)
        clients.stop()
    return clients.counts


def heavy(rounds: int, seconds: int) -> None:
    print("\nheavy: other requests while 4 heavy functions run all the time, and how many of those are done")
    with contextlib.ExitStack() as stack:
        places = {"nowhere": "", "threads": "", "processes": ""}
        if importlib.util.find_spec("distributed"):
            places["dask"] = stack.enter_context(dask_cluster())
        values: dict[str, list[list[float]]] = {place: [] for place in places}
        for _ in range(rounds):
            for place, scheduler in places.items():
                values[place].append(latencies(place, scheduler, seconds))
    print(f"  {'':12}{'median ms':>10}{'99% ms':>10}{'heavy/s':>10}   times the median of 'nowhere'")
    idle = [found[0] for found in values["nowhere"]]
    for place, found in values.items():
        figures = [statistics.median(column) for column in zip(*found, strict=True)]
        compared = ratio([one[0] for one in found], idle)
        print(f"  {place:12}{figures[0]:10.1f}{figures[1]:10.1f}{figures[2]:10.1f}   {compared}")


@contextlib.contextmanager
def dask_cluster() -> Iterator[str]:
    from dask.distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=logging.ERROR
    ) as cluster:
        yield cluster.scheduler_address


def latencies(place: str, scheduler: str, seconds: int) -> list[float]:
    command = f"{UVICORN} {APPS}:heavy_app"
    with serving(command, HEAVY=place, SCHEDULER=scheduler) as (port, _):
        while place != "nowhere" and get(port, "/done") == "0":
            time.sleep(0.1)
        taken = []
        before, started = int(get(port, "/done")), time.monotonic()
        while time.monotonic() < started + seconds:
            asked = time.perf_counter()
            get(port, "/")
            taken.append((time.perf_counter() - asked) * 1000)
            time.sleep(0.01)
        calls = int(get(port, "/done")) - before
        return [statistics.median(taken), statistics.quantiles(taken, n=100)[-1], calls / seconds]


def ray(rounds: int, seconds: int) -> None:
    if importlib.util.find_spec("ray") is None:
        print("\nray: left out, since ray is not installed")
        return
    print(f"\nray: requests/s of wrk with {CONNECTIONS} connections: uvicorn with two workers, Serve, ratio")
    with (
        serving(WORKERS["uvicorn"], 2) as (port, _),
        serving("benchmarks.scale_ray {port}") as (serve_port, _),
    ):
        compare(port, serve_port, rounds, seconds)


PARTS: dict[str, Callable[[int, int], None]] = {
    "workers": workers,
    "restarts": restarts,
    "heavy": heavy,
    "ray": ray,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all by default")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="3 by default")
    parser.add_argument(
        "--seconds", type=int, default=3, metavar="N", help="of each measurement; 3 by default"
    )
    options = parser.parse_args()
    for part in options.parts or PARTS:
        if part not in PARTS:
            parser.error(f"no part is called {part}; there are {', '.join(PARTS)}")
        PARTS[part](options.rounds, options.seconds)
    print(f"\n{os.cpu_count()} cores")


if __name__ == "__main__":
    main()
