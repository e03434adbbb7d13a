"""What is wrong is found by the soak run: mistakes are planted, and each has to come out."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.soak import sites
from tests.soak.client import (
    CUT,
    KIND_NAMES,
    OUTCOMES,
    REFUSED,
    UNANSWERED,
    WHOLE,
    WRONG,
    Client,
    Totals,
)
from tests.soak.inside import BACKGROUND_DONE, ENTERED, LEFT, SHUT_DOWN, STARTED_UP, Journal
from tests.soak.journals import Comparison
from tests.soak.run import GROWTH, Plan, grown, run
from tests.soak.sites import KINDS, Kind, Site, Window


class _Served(Site):
    """A site of which only the port is real."""

    port = 0

    def __init__(self, name: str = "uvicorn", folder: Path = Path()) -> None:
        no_server: Any = None
        super().__init__(name, KINDS[name], no_server, folder, folder, spool_is_small=False)


@pytest.mark.server
@pytest.mark.timeout(120)
def test_every_mistake_of_a_planted_site_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another's answer, half an answer, a cut, a hang, a lost note, and leaks of all that is counted."""
    plain = KINDS["uvicorn_worker"]
    command = (*plain.command[:-1], "tests.soak.planted_site:app")
    monkeypatch.setitem(sites.KINDS, "planted", Kind(plain.gateway, command, plain.breaches))
    plan = Plan(seconds=1.5, rate=200, faults=(), slow=False, time_limit=0.5, settle=0.1, warm_up=0, calm=1)
    wrong = run(["planted"], plan, say=lambda _: None).wrong
    for text in (
        "is wrong after",
        "another body from byte 0 on: b'hello ",
        "an answer that looks whole has 5 bytes of ",
        "is cut after",
        "is hung after",
        "has reached no application",
        "files are left over: ",
        *(f": {what}: " for what in GROWTH if what != "rss_anon_kib"),
    ):
        assert any(text in each for each in wrong), (text, wrong)


@pytest.mark.parametrize("what", GROWTH)
def test_a_worker_may_not_grow_by_more_than_its_limit(what: str) -> None:
    """At its limit nothing is said, one above it is."""
    before = dict.fromkeys(GROWTH, 1000)
    limit = 1000 + GROWTH[what]
    assert grown(before, {**before, what: limit}) == []
    assert grown(before, {**before, what: limit + 1}) == [f"{what}: {limit + 1}, before it was 1000"]


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (HEAD + b"hello 1", WHOLE),
        (b"", UNANSWERED),
        (HEAD + b"hello", CUT),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", REFUSED),
        (HEAD + b"hello 2", WRONG),
        (b"HTTP/1.1 408 Oh\r\nContent-Length: 0\r\n\r\n", WRONG),
    ],
)
@pytest.mark.parametrize(
    ("begin", "end", "excuses"),
    [
        (0.0, float("inf"), frozenset({UNANSWERED, CUT, REFUSED})),
        (float("inf"), float("inf"), frozenset()),  # it comes later
        (-2.0, -1.0, frozenset()),  # it is over
    ],
)
async def test_a_request_fails_unless_a_fault_of_its_time_may_cost_it(
    answer: bytes, outcome: str, begin: float, end: float, excuses: frozenset[str]
) -> None:
    """Before and after the fault nothing is excused, and a wrong answer never is."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    site, totals, now = _Served(), Totals(), time.monotonic()
    allowed = frozenset({UNANSWERED, CUT, REFUSED})
    site.windows.append(Window("a fault", allowed, now + begin, now + end))
    async with await asyncio.start_server(serve, "127.0.0.1") as server:
        site.port = server.sockets[0].getsockname()[1]
        client = Client([site], 1, totals)
        assert await client.call(site, "hello") == outcome
        await client.close_idle()
    if outcome == WHOLE or outcome in excuses:
        assert totals.wrong == []
        assert totals.excused.total() == (outcome != WHOLE)
    else:
        assert [text.split(" after ")[0] for text in totals.wrong] == [
            f"uvicorn: request 1 (hello) is {outcome}"
        ]


_LIFE = [(STARTED_UP, 0), (ENTERED, 1), (LEFT, 1), (SHUT_DOWN, 0)]
_PID = 1 << 30  # no process has that number


@pytest.mark.parametrize(
    ("kind", "outcome", "notes", "wrong"),
    [
        ("hello", WHOLE, _LIFE, []),
        ("hello", WHOLE, [*_LIFE[:1], *_LIFE[3:]], ["request 1 (hello, whole) has reached no application"]),
        ("hello", UNANSWERED, [*_LIFE[:1], *_LIFE[3:]], []),
        ("hello", None, _LIFE, ["request 1 (hello, None) has had no end"]),
        (
            "hello",
            WHOLE,
            [*_LIFE[:3], *_LIFE[1:]],
            ["request 1 (hello, whole) was entered 2 times, left 2 times"],
        ),
        (
            "hello",
            WHOLE,
            [*_LIFE[:3], *_LIFE[2:]],
            ["request 1 (hello, whole) was entered 1 times, left 2 times"],
        ),
        ("hello", WHOLE, [*_LIFE[:2], _LIFE[3]], [f"gthread-{_PID}-1 ended amid the requests [1]"]),
        ("hello", WHOLE, _LIFE[:3], [f"gthread-{_PID}-1 ended without a shutdown of the application"]),
        (
            "background",
            WHOLE,
            _LIFE,
            [f"gthread-{_PID}-1: the work after the response of request 1 was not done"],
        ),
        ("background", WHOLE, [*_LIFE[:3], (BACKGROUND_DONE, 1), _LIFE[3]], []),
    ],
)
def test_the_journals_tell_what_has_not_been_done_once(
    kind: str, outcome: str | None, notes: Sequence[tuple[int, int]], wrong: list[str], tmp_path: Path
) -> None:
    """A request that is lost, made twice or left undone is found, and so is an application's missing end."""
    site, totals = _noted(tmp_path, kind, outcome, notes)
    Comparison([site], totals)
    assert [text.removeprefix("gthread: ") for text in totals.wrong] == wrong


def test_a_worker_that_a_fault_has_killed_need_not_end_well(tmp_path: Path) -> None:
    """Neither its requests nor its application have an end."""
    site, totals = _noted(tmp_path, "hello", UNANSWERED, _LIFE[:2])
    site.killed.update(site.journals())
    Comparison([site], totals)
    assert totals.wrong == []


def test_a_request_that_has_reached_the_application_is_answered_though_its_worker_is_to_end(
    tmp_path: Path,
) -> None:
    """The fault excuses those alone that have not."""
    site, totals = _noted(tmp_path, "hello", UNANSWERED, _LIFE)
    totals.unless_entered[1] = "a worker is told to end"
    Comparison([site], totals)
    assert totals.wrong == [
        "gthread: request 1 (hello, unanswered) has reached the application, "
        "although: a worker is told to end"
    ]


def test_a_spooled_file_may_stay_if_its_worker_was_killed_and_not_otherwise(tmp_path: Path) -> None:
    """Nobody is left to remove it; a worker that has ended had the time to."""
    site, _ = _noted(tmp_path / "journals", "hello", WHOLE, _LIFE)
    site.spool = tmp_path / "spool"
    site.spool.mkdir()
    (site.spool / "0-ended").touch()
    (site.spool / f"{_PID}-killed").touch()
    assert sorted(site.left_over()) == ["0-ended", f"{_PID}-killed"]
    site.killed.update(site.journals())
    assert site.left_over() == ["0-ended"]


def _noted(
    folder: Path, kind: str, outcome: str | None, notes: Sequence[tuple[int, int]]
) -> tuple[Site, Totals]:
    """One request to a site of one worker."""
    site, totals = _Served("gthread", folder), Totals()
    totals.kind_of.append(KIND_NAMES.index(kind))
    totals.outcome_of.append(255 if outcome is None else OUTCOMES.index(outcome))
    totals.site_of.append(0)
    folder.mkdir(exist_ok=True)
    journal = Journal(folder / f"gthread-{_PID}-1.journal")
    for what, number in notes:
        journal.note(what, number)
    return site, totals
