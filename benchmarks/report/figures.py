"""The plots of the page that are drawn of curves, in their order."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.report.plot import short


@dataclass(frozen=True)
class Figure:
    name: str  # of the curve, and of the file
    title: str
    label: str  # of what is measured, in a sentence
    along: str  # what grows
    kind: str = "cost"  # or "rate", or "memory"
    base: float | None = None  # the point that is 1; by default the first
    text: Callable[[float], str] = short  # of a point


def size_text(size: float) -> str:
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << power:
            return f"{size / (1 << power):g} {unit}"
    return f"{size:g} B"


_ADAPTERS = {"wsgi": "WsgiToAsgi", "asgi": "AsgiToWsgi"}


def _chunks(name: str, way: str, pieces: str) -> Figure:
    return Figure(
        f"{name}-chunks-{way}",
        f"{_ADAPTERS[name]}: rate of a body {way}",
        f"a body {way}",
        f"size of the pieces that {pieces}",
        "rate",
        base=65536,
        text=size_text,
    )


def _memory(name: str, way: str) -> Figure:
    return Figure(
        f"{name}-memory-{way}",
        f"{_ADAPTERS[name]}: memory for a body {way}",
        f"`{_ADAPTERS[name]}`",
        "size of the body",
        "memory",
        text=size_text,
    )


FIGURES = [
    Figure("wsgi-in-flight", "WsgiToAsgi: cost of a request", "a request", "requests in flight"),
    Figure("sync-to-async-in-flight", "sync_to_async: cost of a call", "a call", "calls in flight"),
    Figure("wsgi-threads", "WsgiToAsgi: requests that sleep 1 ms", "a request", "worker threads"),
    Figure("asgi-threads", "AsgiToWsgi: cost of a request", "a request", "threads of the server"),
    Figure("async-to-sync-threads", "async_to_sync: cost of a call", "a call", "threads that call"),
    Figure("nested", "Bridges in bridges: cost of a bridge", "a bridge", "bridges, one in the other"),
    _chunks("wsgi", "down", "the application sends"),
    _chunks("wsgi", "up", "the server receives"),
    _chunks("asgi", "down", "the application sends"),
    _chunks("asgi", "up", "the server receives"),
    *(_memory(name, way) for name in _ADAPTERS for way in ("up", "down")),
]
