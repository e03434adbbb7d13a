"""What the figures were measured on."""

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import time
from pathlib import Path

import asgiadapt

PACKAGES = ("asgiref", "a2wsgi", "anyio", "starlette", "flask", "uvicorn", "uvloop", "httptools")
SERVERS = ("django", "gunicorn", "waitress", "granian")


def packages() -> dict[str, str]:
    """The version of each package that takes part."""
    return {name: _version(name) for name in PACKAGES + SERVERS}


def python() -> str:
    return f"{platform.python_implementation()} {platform.python_version()}"


def facts() -> dict[str, str]:
    """What else is worth knowing of the machine, as far as the system tells."""
    found = {"cores": str(os.cpu_count()), "Python": python()}
    if model := _line_of("/proc/cpuinfo", r"model name\s*: (.*)"):
        found["processor"] = model
    if memory := _line_of("/proc/meminfo", r"MemTotal:\s+(\d+) kB"):
        found["memory"] = f"{int(memory) / 2**20:.0f} GiB"
    found["system"] = f"{platform.system()} {platform.release()}"
    if shutil.which("wrk") is not None:
        told = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False)
        if version := re.search(r"wrk (\S+)", told.stdout + told.stderr):
            found["wrk"] = version[1]
    return found


def code() -> str:
    """The commit that asgiadapt was changed by last, or its version where there is no repository."""
    here = Path(__file__).parent.parent

    def git(*command: str) -> str:
        told = ["git", *command, "--", "asgiadapt"]
        return subprocess.run(told, cwd=here, capture_output=True, text=True, check=True).stdout

    try:
        commit = git("log", "-1", "--format=%h").strip()
        changed = git("status", "--porcelain")
    except (OSError, subprocess.CalledProcessError):
        commit = changed = ""
    if not commit:
        return asgiadapt.__version__
    return f"{commit}, with changes" if changed else commit


class Others:
    """How much of the machine goes to what is not ours, from now on."""

    def __init__(self) -> None:
        self._busy, self._ours, self._started = _busy_seconds(), _our_seconds(), time.monotonic()

    def share(self) -> float | None:
        """None where the system does not tell."""
        if self._busy is None or (busy := _busy_seconds()) is None:
            return None
        theirs = busy - self._busy - (_our_seconds() - self._ours)
        return max(0.0, theirs / ((time.monotonic() - self._started) * (os.cpu_count() or 1)))


def _busy_seconds() -> float | None:
    """What all cores have done since the machine was started."""
    if (line := _line_of("/proc/stat", r"cpu +(.*)")) is None:
        return None
    user, nice, system, _idle, _wait, *interrupts_and_stolen = (int(part) for part in line.split()[:8])
    return (user + nice + system + sum(interrupts_and_stolen)) / os.sysconf("SC_CLK_TCK")


def _our_seconds() -> float:
    """What this process and its children have done, of which those count that have ended."""
    return sum(os.times()[:4])


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def _line_of(file: str, pattern: str) -> str | None:
    try:
        found = re.search(pattern, Path(file).read_text())
    except OSError:
        return None
    return found[1] if found else None
