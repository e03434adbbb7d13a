"""Random nestings of the bridges do what a simple model says, wherever they begin.

Results and errors, context variables and a `Local`, threads and loops, cancellation; and nothing is left.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import nestings
from tests.fuzz.nestings import Root, check, trees

# An example is a small program of its own, with some ten threads.
fewer = settings(max_examples=settings().max_examples // 3)


@pytest.mark.parametrize(
    "root", [nestings.main_thread, nestings.other_thread, nestings.loop_thread, nestings.kept_uvloop]
)
@fewer
@given(data=st.data())
def test_a_nesting_below_sync_code(
    root: Root, data: st.DataObject, capfd: pytest.CaptureFixture[str]
) -> None:
    """The main thread or another; on the loop that it keeps, on a uvloop, or on a `LoopThread`."""
    check(data.draw(trees(sync=True)), root, capfd)


@pytest.mark.parametrize("root", [nestings.running_loop, nestings.debugged_loop, nestings.running_uvloop])
@fewer
@given(data=st.data())
def test_a_nesting_below_a_running_loop(
    root: Root, data: st.DataObject, capfd: pytest.CaptureFixture[str]
) -> None:
    """asyncio's own, also in debug mode, or a uvloop."""
    check(data.draw(trees(sync=False)), root, capfd)
