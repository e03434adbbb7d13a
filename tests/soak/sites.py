"""The servers: how each is started, which workers it has, and what it promises when they are replaced."""

import asyncio
import contextlib
import json
import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.processes import Program, free_port, program
from tests.soak.inside import STACKS_SIGNAL
from tests.soak.pages import ASGI_BREACHES, WSGI_BREACHES

WORKERS = 2
# So long a worker that is told to end waits for its requests. None of ours takes as long, even where the
# machine has much else to do.
GRACE_SECONDS = 120
# So long a worker may be silent before its master takes it for dead, and a connection may be idle.
PATIENCE_SECONDS = 600
# uvicorn asks its workers, and waits so long in vain for one that is killed as it is asked.
_HEALTHCHECK_SECONDS = 60
SPOOL_BYTES = 48 << 20
# In a server's output: what no client has seen go wrong.
TROUBLE = (
    "was destroyed but it is pending",
    "never retrieved",
    "never awaited",
    "jobs have to keep their errors",
    "Fatal Python error",
    "failed after its request had been given up",
    "cancelled, since they have not ended in time",
)


@dataclass(frozen=True)
class Kind:
    """A server with one of the adapters."""

    gateway: str
    command: tuple[str, ...]
    breaches: dict[str, str]


_GUNICORN = (
    *("-m", "gunicorn", "--workers", str(WORKERS), "--graceful-timeout", str(GRACE_SECONDS)),
    *("--keep-alive", str(PATIENCE_SECONDS), "--timeout", str(PATIENCE_SECONDS), "--log-level", "error"),
)
KINDS = {
    "uvicorn": Kind(
        "WsgiToAsgi",
        (
            *("-m", "uvicorn", "--workers", str(WORKERS), "--loop", "uvloop", "--http", "httptools"),
            *("--timeout-graceful-shutdown", str(GRACE_SECONDS), "--log-level", "error", "--no-access-log"),
            *(
                "--timeout-keep-alive",
                str(PATIENCE_SECONDS),
                "--timeout-worker-healthcheck",
                str(_HEALTHCHECK_SECONDS),
            ),
            "tests.soak.wsgi_site:app",
        ),
        WSGI_BREACHES,
    ),
    "uvicorn_worker": Kind(
        "WsgiToAsgi",
        (*_GUNICORN, "-k", "uvicorn_worker.UvicornH11Worker", "tests.soak.wsgi_site:app"),
        WSGI_BREACHES,
    ),
    "gthread": Kind(
        "AsgiToWsgi",
        (*_GUNICORN, "-k", "gthread", "--threads", "24", "tests.soak.asgi_site:app"),
        ASGI_BREACHES,
    ),
}


@dataclass
class Window:
    """The time during which a fault excuses what happens to requests."""

    fault: str
    allows: frozenset[str]
    begin: float
    end: float = float("inf")
    only: frozenset[str] | None = None  # the kinds of requests that it excuses
    unless_entered: bool = False  # an application that was entered answers in whole all the same


@dataclass
class Site:
    """A running server."""

    name: str
    kind: Kind
    running: Program
    folder: Path
    spool: Path
    spool_is_small: bool
    windows: list[Window] = field(default_factory=list)
    killed: set[Path] = field(default_factory=set)  # the journals of those that a fault has killed
    told_to_end: bool = False
    refuses: bool = False  # connections, since it has been told to end

    @property
    def port(self) -> int:
        return self.running.port

    def workers(self) -> list[int]:
        """The children of the server that live and have imported the site.

        Children alone: the number of one that has ended may be that of any process by now.
        """
        master = self.running.process.pid
        children = map(int, Path(f"/proc/{master}/task/{master}/children").read_text().split())
        return [pid for pid in sorted(children) if self.file_of(pid, "socket").exists() and is_alive(pid)]

    def file_of(self, pid: int, suffix: str) -> Path:
        return self.folder / f"{self.name}-{pid}.{suffix}"

    def journals(self) -> list[Path]:
        """One for each worker that there has been."""
        return list(self.folder.glob(f"{self.name}-*.journal"))

    def journal_of(self, pid: int) -> Path:
        # The system may have given the number to an earlier worker too.
        return max(self.folder.glob(f"{self.name}-{pid}-*.journal"))

    def left_over(self) -> list[str]:
        """The spooled files, but for those of workers that were killed: nobody is left to remove them."""
        killed = {path.stem.rsplit("-", 2)[1] for path in self.killed}
        return [
            path.name
            for path in self.spool.iterdir()
            if (pid := path.name.split("-")[0]) not in killed or is_alive(int(pid))
        ]

    async def figures_of(self, pid: int) -> dict[str, Any]:
        async with asyncio.timeout(60):
            reader, writer = await asyncio.open_unix_connection(str(self.file_of(pid, "socket")))
            try:
                found: dict[str, Any] = json.loads(await reader.read())
                return found
            finally:
                writer.close()

    async def figures(self) -> dict[int, dict[str, Any]]:
        found = {}
        for pid in self.workers():
            with contextlib.suppress(OSError, ValueError, TimeoutError):
                found[pid] = await self.figures_of(pid)
        return found

    async def wait_for_workers(self, gone: set[int], seconds: float = 300) -> bool:
        """Wait until the server has all its workers, none of them in *gone* or about to end."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            pids = self.workers()
            if len(pids) == WORKERS and not gone.intersection(pids):
                with contextlib.suppress(OSError, ValueError, TimeoutError):
                    if not any([(await self.figures_of(pid))["ending"] for pid in pids]):
                        return True
            await asyncio.sleep(0.05)  # polls another process, which cannot tell us
        return False

    async def stacks(self) -> str:
        """Where all threads and tasks of the workers are."""
        texts = []
        for pid in self.workers():
            os.kill(pid, STACKS_SIGNAL)
        await asyncio.sleep(0.5)  # no worker tells when it has written
        for pid in self.workers():
            texts.append(f"--- {self.name}, worker {pid}, threads:")
            texts.append(self.file_of(pid, "stacks").read_text()[-20_000:])
            with contextlib.suppress(OSError, ValueError, TimeoutError):
                texts += ["tasks:", *(await self.figures_of(pid))["where"]]
        return "\n".join(texts)

    def stop(self) -> int | None:
        """Have the server end; its exit code, if it has ended."""
        self.running.process.terminate()
        try:
            return self.running.process.wait(2 * GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            return None

    def trouble(self) -> str | None:
        """What is wrong with the output since the last call."""
        try:
            self.running.check_output(TROUBLE)
        except AssertionError as error:
            return str(error)
        finally:
            self.running.forgive()
        return None


def is_alive(pid: int) -> bool:
    """Whether any of its threads is: the last of them to end closes its connections."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return False
    return any(map(_is_alive, threads))


def _is_alive(thread: Path) -> bool:
    try:
        return (thread / "stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


@contextlib.contextmanager
def _spool(folder: Path) -> Iterator[bool]:
    """Make *folder* a small file system of its own, where we may; whether it is one."""
    folder.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", f"size={SPOOL_BYTES}", "none", str(folder))
    try:
        small = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        small = False
    try:
        yield small
    finally:
        if small:
            subprocess.run(("umount", "--lazy", str(folder)), check=False)


@contextlib.contextmanager
def site(name: str, folder: Path) -> Iterator[Site]:
    kind = KINDS[name]
    port = free_port()
    where = ("--port", str(port)) if name == "uvicorn" else ("--bind", f"127.0.0.1:{port}")
    spool = folder / f"{name}-spool"
    with _spool(spool) as small:
        environment = {"SOAK_FOLDER": str(folder), "SOAK_SITE": name, "TMPDIR": str(spool)}
        with program(*kind.command, *where, port=port, **environment) as running:
            yield Site(name, kind, running, folder, spool, small)


@contextlib.contextmanager
def limited(pid: int, what: int, soft: int) -> Iterator[None]:
    """Lower a limit of a running process."""
    before = resource.prlimit(pid, what)
    hard = before[1]
    resource.prlimit(pid, what, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, what, before)


def send_signal(pid: int, number: int) -> bool:
    """Whether there was such a process."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def kill(at: Site, pid: int) -> None:
    at.killed.add(at.journal_of(pid))
    send_signal(pid, signal.SIGKILL)
