"""What the soak run's client makes of answers: only a whole one may pass for one."""

import asyncio
import re
from pathlib import Path

import pytest

from tests.processes import ROOT
from tests.soak.client import AnswerCut, NoAnswer, WrongAnswer, read_answer
from tests.soak.faults import END, FAULTS
from tests.soak.inside import ENTERED, LEFT, Journal, read_journal

HEAD = b"HTTP/1.1 200 OK\r\n"


async def read(data: bytes) -> int:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return (await read_answer(reader, b"0123456789")).status


@pytest.mark.parametrize(
    "answer",
    [
        HEAD + b"Content-Length: 10\r\n\r\n0123456789",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"Content-Length: 10\r\n\r\n0123456789",
    ],
)
async def test_a_whole_answer_passes_and_each_part_of_it_is_known_to_be_cut(answer: bytes) -> None:
    """Wherever the connection ends, but at the very end."""
    assert await read(answer) == 200
    with pytest.raises(NoAnswer):
        await read(b"")
    for size in range(1, len(answer)):
        with pytest.raises((AnswerCut, NoAnswer)):
            await read(answer[:size])


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (HEAD + b"Content-Length: 4\r\n\r\n0123", "an answer that looks whole has 4 bytes of 10"),
        (
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n0\r\n\r\n",
            "an answer that looks whole has 4 bytes of 10",
        ),
        (HEAD + b"Content-Length: 10\r\n\r\n0123456780", "another body from byte 0 on: b'0123456780'"),
        (HEAD + b"\r\n0123456789", "nothing tells the end of the body, or too much does: "),
        (b"0123456789\r\n\r\n", "no HTTP: "),
    ],
)
async def test_what_looks_whole_and_is_not_is_wrong(answer: bytes, text: str) -> None:
    """A shorter body, another body, or one whose end nobody can tell."""
    with pytest.raises(WrongAnswer, match=f"^{re.escape(text)}"):
        await read(answer)


def test_a_journal_gives_back_its_notes_and_goes_on_from_where_it_was_read(tmp_path: Path) -> None:
    """What is noted later is read later, and nothing twice."""
    path = tmp_path / "journal"
    journal = Journal(path)
    journal.note(ENTERED, 1)
    journal.note(LEFT, 1)
    notes, place = read_journal(path)
    assert list(notes) == [(ENTERED, 1), (LEFT, 1)]
    journal.note(ENTERED, 1 << 40)
    notes, place = read_journal(path, place)
    assert list(notes) == [(ENTERED, 1 << 40)]
    assert list(read_journal(path, place)[0]) == []


def test_the_page_tells_what_each_fault_may_cost() -> None:
    """All faults stand in its first table, in their order."""
    page = (ROOT / "docs/soak.md").read_text().split("## The faults")[1]
    table = page.strip().split("\n\n")[0].splitlines()[2:]
    assert [row.split("|")[1].strip() for row in table] == [*FAULTS, END]
