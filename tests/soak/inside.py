"""What runs in each worker beside the site: a journal of its requests, and a thread to ask for figures."""

import asyncio
import ctypes
import faulthandler
import gc
import itertools
import json
import mmap
import os
import signal
import socket
import struct
import sys
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# What a journal says of a request; the last two are of the worker itself.
ENTERED, LEFT, BACKGROUND_DONE, STARTED_UP, SHUT_DOWN = range(1, 6)

_JOURNAL_BYTES = 1 << 27  # sparse: room for 16 million notes
STACKS_SIGNAL = signal.SIGRTMIN + 1


class Journal:
    """Notes in a mapped file: what a worker wrote is there even if the worker is killed in the next moment.

    A mapped file needs no space on the disk that a fault has filled, and is not under RLIMIT_FSIZE.
    """

    def __init__(self, path: Path) -> None:
        with path.open("w+b") as file:
            file.truncate(_JOURNAL_BYTES)
            self._notes = mmap.mmap(file.fileno(), _JOURNAL_BYTES)
        self._places = itertools.count(0, 8)  # next() is one step: no two threads get the same place

    def note(self, what: int, number: int = 0) -> None:
        struct.pack_into("=Q", self._notes, next(self._places), number << 3 | what)


def read_journal(path: Path, start: int = 0) -> tuple[Iterator[tuple[int, int]], int]:
    """The notes from byte *start* on, as (what, number), and where the next ones will be."""
    notes = array("Q")
    with path.open("rb") as file:
        file.seek(start)
        while piece := file.read(1 << 16):
            notes.frombytes(piece)
            if not any(notes[-64:]):
                break
    end = len(notes)
    while end and not notes[end - 1]:
        end -= 1
    # A worker that was killed may have left a place empty; so may a thread that is about to write.
    found = ((note & 7, note >> 3) for note in notes[:end] if note)
    return found, start + 8 * end


class _MallocInfo(ctypes.Structure):
    """``struct mallinfo2`` of glibc."""

    _names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in _names.split()]


def _malloc_kib() -> int:
    """What is in use of malloc's memory; 0 where it cannot be asked.

    Of what was freed glibc keeps some for the next calls, for each thread its own: so the process may grow
    for long, up to what each thread has once needed, and nothing has leaked.
    """
    try:
        ask = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        return 0
    ask.restype = _MallocInfo
    info = ask()
    return int(info.uordblks + info.hblkhd) >> 10


def _figures(more: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    gc.collect()
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    found = {
        "rss_anon_kib": int(lines["RssAnon"].split()[0]),
        "malloc_kib": _malloc_kib(),
        "objects": len(gc.get_objects()),
        "blocks": sys.getallocatedblocks(),
        "ending": not threading.main_thread().is_alive(),
        "all threads": int(lines["Threads"]),
        "files": len(os.listdir("/proc/self/fd")),
        **more(),
    }
    # A pool may keep more threads or fewer; the others shall stay as many as they are.
    found["threads"] = found["all threads"] - found["of a pool"]
    return found


def _serve_figures(listener: socket.socket, more: Callable[[], dict[str, Any]]) -> None:
    while True:
        try:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(json.dumps(_figures(more)).encode())
        except (OSError, MemoryError):
            continue  # no file descriptor is left, say: whoever asks will ask again


def begin(more: Callable[[], dict[str, Any]]) -> Journal:
    """Set this worker up; *more* gives its figures besides memory, threads and files."""
    name = Path(os.environ["SOAK_FOLDER"]) / f"{os.environ['SOAK_SITE']}-{os.getpid()}"
    journal = Journal(name.with_name(f"{name.name}-{time.time_ns()}.journal"))
    # It works even where the interpreter itself hangs.
    faulthandler.register(STACKS_SIGNAL, file=name.with_suffix(".stacks").open("w"), all_threads=True)
    listener = socket.socket(socket.AF_UNIX)
    name.with_suffix(".socket").unlink(missing_ok=True)
    listener.bind(str(name.with_suffix(".socket")))
    listener.listen()
    threading.Thread(target=_serve_figures, args=(listener, more), daemon=True, name="figures").start()
    return journal


def tasks_of(loop: asyncio.AbstractEventLoop | None) -> dict[str, Any]:
    """How many tasks there are on *loop*, and where each of them waits."""
    if loop is None:
        return {"tasks": 0, "where": []}
    tasks = asyncio.all_tasks(loop)
    return {"tasks": len(tasks), "where": sorted(repr(task)[:200] for task in tasks)}
