"""Random nestings of the bridges do what a simple model says, wherever they begin.

Results and errors, context variables and a `Local`, threads and loops, cancellation; and nothing is left.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.nestings import (
    Node,
    Root,
    check,
    check_together,
    debugged_loop,
    loop_thread,
    main_thread,
    main_thread_with_uvloop,
    other_thread,
    running_loop,
    running_uvloop,
    trees,
)

# An example is a small program of its own, with some ten threads.
fewer = settings(max_examples=settings().max_examples // 3)


@pytest.mark.parametrize("root", [main_thread, main_thread_with_uvloop, other_thread, loop_thread])
@fewer
@given(data=st.data())
def test_a_nesting_below_sync_code(
    root: Root, data: st.DataObject, capfd: pytest.CaptureFixture[str]
) -> None:
    """The main thread or another, with a loop that it keeps, with uvloop, or with a `LoopThread`."""
    check(data.draw(trees(sync=True)), root, capfd)


@pytest.mark.parametrize("root", [running_loop, debugged_loop, running_uvloop])
@fewer
@given(data=st.data())
def test_a_nesting_below_a_running_loop(
    root: Root, data: st.DataObject, capfd: pytest.CaptureFixture[str]
) -> None:
    """asyncio's own, also in debug mode, or a uvloop."""
    check(data.draw(trees(sync=False)), root, capfd)


@fewer
@given(
    programs=st.lists(trees(sync=True), min_size=1, max_size=2), loops=st.lists(trees(sync=False), max_size=2)
)
def test_nestings_beside_each_other(
    programs: list[Node], loops: list[Node], capfd: pytest.CaptureFixture[str]
) -> None:
    """Programs and loops on threads of their own share the library's threads, and nothing else."""
    check_together(
        [*((tree, main_thread) for tree in programs), *((tree, running_loop) for tree in loops)], capfd
    )
