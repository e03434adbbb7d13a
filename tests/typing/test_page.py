"""The page about the types names each of them."""

import re
from typing import get_args, get_type_hints, is_typeddict

import asgiadapt.typing as ours
from tests.processes import ROOT

PAGE = (ROOT / "docs" / "typing.md").read_text()


def cells(heading: str) -> list[list[str]]:
    """The table below *heading*, without its head."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


TABLES = ("Scopes", "Events that are received", "Events that are sent", "ASGI callables", "WSGI names")


def test_the_tables_have_every_name() -> None:
    """Once, and nothing that does not exist; the two unions of events stand above their tables."""
    named = [row[0].strip("`") for table in TABLES for row in cells(table)]
    assert sorted([*named, "ASGIReceiveEvent", "ASGISendEvent"]) == ours.__all__
    for name in ("ASGIReceiveEvent", "ASGISendEvent"):
        assert f"`{name}` is any of them." in PAGE


def test_the_tables_of_events_have_their_types() -> None:
    """The type that stands beside a name is the one that its dict has."""
    for table in ("Events that are received", "Events that are sent"):
        for name, text, *_ in cells(table):
            kind = getattr(ours, name.strip("`"))
            forms = [kind] if is_typeddict(kind) else get_args(kind)
            shown = re.match(r"`([^`]*)`", text)
            assert shown
            assert {get_args(get_type_hints(form)["type"])[0] for form in forms} == {shown[1]}


def test_the_tables_of_events_are_complete() -> None:
    """Each table has the members of its union."""
    for table, union in (
        ("Events that are received", ours.ASGIReceiveEvent),
        ("Events that are sent", ours.ASGISendEvent),
    ):
        named = {getattr(ours, row[0].strip("`")) for row in cells(table)}
        assert {kind for kind in named if is_typeddict(kind)} == set(get_args(union))
