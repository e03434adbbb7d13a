"""Which inputs are worth to be kept: those that take a way through the code that no shorter one takes."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import asgiadapt
from tests.fuzz.faults import FAULTS

PLACES = (str(Path(asgiadapt.__file__).parent), str(Path(__file__).parent))


def ways(target: Callable[[bytes], None], data: bytes) -> set[tuple[str, int, int]]:
    """The pairs of lines that follow each other when the target runs with *data*."""
    found: set[tuple[str, int, int]] = set()
    last: dict[int, int] = {}  # of each frame, which is not kept alive

    def step(frame: FrameType, event: str, argument: Any) -> Any:
        found.add((frame.f_code.co_filename, last.pop(id(frame), 0), frame.f_lineno))
        if event != "return":
            last[id(frame)] = frame.f_lineno
        return step

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        return step(frame, event, argument) if frame.f_code.co_filename.startswith(PLACES) else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        target(data)
    finally:
        sys.settrace(before)
    return found


def finds(target: Callable[[bytes], None], data: bytes) -> bool:
    try:
        target(data)
    except BaseException:
        return True
    return False


def chosen(name: str, target: Callable[[bytes], None], inputs: Iterable[bytes]) -> list[bytes]:
    """The shortest inputs that come into all corners, and find each planted fault that any input finds."""
    ordered = sorted(set(inputs), key=lambda data: (len(data), data))
    seen: set[tuple[str, int, int]] = set()
    kept = []
    for data in ordered:
        new = ways(target, data) - seen
        if new:
            seen |= new
            kept.append(data)
    for fault in FAULTS:
        if fault.target != name:
            continue
        with fault.planted():
            finder = next((data for data in [*kept, *ordered] if finds(target, data)), None)
        if finder is not None and finder not in kept:
            kept.append(finder)
    return kept
