"""The fuzz targets with what is kept for them, with what hypothesis makes up, and with faults planted."""

import importlib.util
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.__main__ import main
from tests.fuzz.faults import FAULTS, Fault
from tests.fuzz.grow import finds
from tests.fuzz.targets import TARGETS, corpus

named = pytest.mark.parametrize("name", TARGETS)


@named
def test_nothing_that_is_kept_finds_anything(name: str) -> None:
    """Each input that comes into a corner of its own, and each that has found something once."""
    inputs = corpus(name)
    assert len(inputs) > 10
    for data in inputs:
        TARGETS[name](data)


@named
@settings(max_examples=settings().max_examples // 3)
@given(data=st.binary(max_size=200))
def test_no_bytes_find_anything(name: str, data: bytes) -> None:
    """Whatever they are."""
    TARGETS[name](data)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.target}-{fault.where}")
def test_a_planted_fault_is_found(fault: Fault) -> None:
    """By one of the inputs that are kept: the targets do not let everything pass."""
    with fault.planted():
        assert any(finds(TARGETS[fault.target], data) for data in corpus(fault.target))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "atheris is not installed; pip install -e .[fuzz]"),
        (["heads"], f"there is no target heads; there are {', '.join(TARGETS)}"),
    ],
)
def test_the_command_says_what_is_missing(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The fuzzer is not among what the other tests need."""
    monkeypatch.setattr(sys, "argv", ["fuzz", *arguments])
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SystemExit):
        main()
    assert said in capsys.readouterr().err
