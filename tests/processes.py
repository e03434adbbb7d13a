"""Programs and servers as child processes, on free loopback ports."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
START_SECONDS = 30.0
STOP_SECONDS = 20.0

# Lines like these in a server's output mean that something went wrong that no client has seen.
TROUBLE = ("Traceback", "was destroyed but it is pending", "never retrieved", "never awaited")
# So each breach of ASGI's rules is written, by tests.validated. No test provokes one on a server.
BREACH = "rule broken:"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Program:
    """A running program that listens on *port*."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._log = log
        self._read = 0

    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def _news(self) -> bytes:
        with self._log.open("rb") as log:
            log.seek(self._read)
            return log.read()

    def forgive(self) -> None:
        """Take no notice of what has been written so far, breaches apart: the test has provoked it."""
        news = self._news()
        assert BREACH.encode() not in news, news.decode(errors="replace")
        self._read += len(news)

    def check_output(self, signs: Sequence[str] = TROUBLE) -> None:
        text = self._news().decode(errors="replace")
        for sign in (*signs, BREACH):
            assert sign not in text, f"the server wrote:\n{text[-4000:]}"

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send the signal and wait; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)


@contextlib.contextmanager
def program(*command: str, port: int, path: str = "", **environment: str) -> Iterator[Program]:
    """Run ``python *command`` until the block ends; at its start it listens on *port*."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "output"
        variables = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": os.pathsep.join([str(ROOT), path]) if path else str(ROOT),
            **environment,
        }
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *command],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=folder,
                env=variables,
            )
        running = Program(process, port, log)
        try:
            _wait_until_it_listens(running)
            yield running
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _wait_until_it_listens(running: Program) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert running.process.poll() is None, f"ended at its start:\n{running.output()}"
        try:
            socket.create_connection(("127.0.0.1", running.port), timeout=1).close()
        except OSError:
            time.sleep(0.02)  # polls another process, which cannot tell us
        else:
            return
    raise AssertionError(f"does not listen after {START_SECONDS} s:\n{running.output()}")


def wait_until(
    condition: Callable[[], object], complaint: Callable[[], object], seconds: float = START_SECONDS
) -> None:
    """Wait for what another process does; *complaint* is what to say where it does not."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, complaint()
        time.sleep(0.02)  # polls another process, which cannot tell us


class Programs:
    """Runs programs, each in an interpreter of its own, after *prelude*."""

    def __init__(self, prelude: str, seconds: float = 50) -> None:
        self._prelude = prelude
        self._seconds = seconds

    def run(self, program: str, *options: str, first: str = "") -> "subprocess.CompletedProcess[str]":
        """Run *program*, and *first* before all; it has to end by itself within the time.

        So have all its children.
        """
        command = [sys.executable, *options, "-c", first + self._prelude + textwrap.dedent(program)]
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            start_new_session=True,
        ) as process:
            try:
                output, complaints = process.communicate(timeout=self._seconds)
            except subprocess.TimeoutExpired:
                # Each says where it hangs; the text is the test's output.
                os.killpg(process.pid, signal.SIGABRT)
                output, complaints = process.communicate()
                raise AssertionError(f"the program hangs: {output}\n{complaints}") from None
        return subprocess.CompletedProcess(command, process.returncode, output, complaints)

    def lines_of(self, program: str, *options: str, first: str = "") -> list[str]:
        """What *program* writes; it has to end well, and complain of nothing."""
        done = self.run(program, *options, first=first)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == "", done.stdout + done.stderr
        return done.stdout.splitlines()
