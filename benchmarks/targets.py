"""The ratios that are aimed at."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.results import OURS, Result

FASTEST = "whichever peer is fastest"


@dataclass(frozen=True)
class Target:
    text: str
    workload: str
    peer: str  # or FASTEST
    at_least: float | None = None  # how many times better than the peer
    at_most: float | None = None  # how many times the peer's cost

    def peer_in(self, result: Result) -> str:
        """The contender that it is compared with."""
        peers: Iterable[str] = [self.peer] if self.peer != FASTEST else result.values.keys() - {OURS, "limit"}
        return min(peers, key=lambda peer: statistics.median(result.times_better(peer)))

    def measured(self, result: Result) -> float:
        """What is compared with *at_least* or *at_most*."""
        ratio = statistics.median(result.times_better(self.peer_in(result)))
        return ratio if self.at_most is None else 1 / ratio

    def is_reached(self, result: Result) -> bool:
        if self.at_most is not None:
            return self.measured(result) <= self.at_most
        assert self.at_least is not None
        return self.measured(result) >= self.at_least

    def verdict(self, result: Result) -> str:
        reached = "reached" if self.is_reached(result) else "NOT reached"
        return f"{reached:12}{self.measured(result):6.2f}   {self.text}"


TARGETS = [
    Target("5 times a2wsgi at 64 at a time", "w2a.get.64", "a2wsgi", at_least=5),
    Target("2.8 times a2wsgi with Flask", "w2a.flask.64", "a2wsgi", at_least=2.8),
    Target("6 times a2wsgi's download rate", "w2a.down.32m", "a2wsgi", at_least=6),
    Target("1.3 times asgiref's upload rate", "w2a.up.32m", "asgiref", at_least=1.3),
    Target("at most 1.8 times the limit's cost at 64 at a time", "w2a.get.64", "limit", at_most=1.8),
    Target("behind uvicorn, 2 times a2wsgi with Flask hello", "server.flask", "a2wsgi", at_least=2),
    Target(
        "behind uvicorn, 1.5 times gunicorn gthread with Flask hello",
        "server.flask",
        "gunicorn gthread",
        at_least=1.5,
    ),
    Target("an ASGI application: 5 times a2wsgi one at a time", "a2w.get.seq", "a2wsgi", at_least=5),
    Target("an ASGI application: 4 times a2wsgi from 16 threads", "a2w.get.16", "a2wsgi", at_least=4),
    Target("an ASGI application: 4 times a2wsgi's download rate", "a2w.down.32m", "a2wsgi", at_least=4),
    Target("an ASGI application: 3 times a2wsgi's upload rate", "a2w.up.32m", "a2wsgi", at_least=3),
    Target("sync_to_async 2 times the fastest peer at 100 at a time", "bridge.s2a.100", FASTEST, at_least=2),
    Target(
        "sensitive sync_to_async 4 times asgiref at 100 at a time",
        "bridge.s2a.sensitive.100",
        "asgiref",
        at_least=4,
    ),
    Target("async_to_sync 5 times asyncio.run", "bridge.a2s.plain", "asyncio.run", at_least=5),
    Target("async_to_sync 25 times asgiref", "bridge.a2s.plain", "asgiref", at_least=25),
    Target("async_to_sync below a loop 1.8 times asgiref", "bridge.a2s.nested", "asgiref", at_least=1.8),
    Target("there and back to the main thread 1.3 times asgiref", "bridge.sandwich", "asgiref", at_least=1.3),
]
