"""What is carried across with a context, and what is brought back."""

import asyncio
import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, ContextVar, copy_context
from typing import Any

import pytest

from asgiadapt._threads.context import Owned, OwnedForGood, bring_back, move_in, place_variable, run_moved

first: ContextVar[Any] = ContextVar("first")
second: ContextVar[Any] = ContextVar("second")
place = place_variable("a place of these tests")


def on_thread(function: Callable[..., Any], *args: Any) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *args).result()


def context_with(values: dict[ContextVar[Any], Any]) -> Context:
    context = Context()
    for variable, value in values.items():
        context.run(variable.set, value)
    return context


def after_bringing_back(
    current: dict[ContextVar[Any], Any],
    before: dict[ContextVar[Any], Any],
    after: dict[ContextVar[Any], Any],
    **options: Any,
) -> dict[ContextVar[Any], Any]:
    context = context_with(current)
    context.run(bring_back, context_with(before), context_with(after), **options)
    return dict(context.items())


@pytest.mark.parametrize(
    ("current", "before", "after", "expected"),
    [
        pytest.param({}, {}, {}, {}, id="nothing"),
        pytest.param({first: 1}, {first: 1}, {first: 1}, {first: 1}, id="the same"),
        pytest.param({first: 1}, {first: 1}, {first: 2}, {first: 2}, id="changed"),
        pytest.param({}, {}, {first: 1}, {first: 1}, id="new"),
        pytest.param({first: 3}, {first: 1}, {first: 1}, {first: 3}, id="changed here, and not there"),
        pytest.param({first: 3}, {first: 1}, {first: 2}, {first: 2}, id="changed here and there"),
        pytest.param({first: 1}, {first: 1}, {}, {first: 1}, id="gone there"),
        pytest.param(
            {first: 1, second: 5}, {first: 1}, {first: 2}, {first: 2, second: 5}, id="set here meanwhile"
        ),
        pytest.param({first: None}, {first: None}, {first: 0}, {first: 0}, id="None and zero"),
        pytest.param({place: 1}, {place: 1}, {place: 2}, {place: 1}, id="a place"),
    ],
)
def test_what_was_changed_is_brought_back(
    current: dict[ContextVar[Any], Any],
    before: dict[ContextVar[Any], Any],
    after: dict[ContextVar[Any], Any],
    expected: dict[ContextVar[Any], Any],
) -> None:
    """And nothing else is touched."""
    assert after_bringing_back(current, before, after) == expected


def test_an_equal_object_that_is_another_is_a_change() -> None:
    """Equality is not asked for."""

    class Odd:
        def __eq__(self, other: object) -> bool:
            raise AssertionError("compared")

        __hash__ = object.__hash__

    old, new = Odd(), Odd()
    context = context_with({first: old})
    context.run(bring_back, context_with({first: old}), context_with({first: new}))
    assert context[first] is new


def test_places_are_brought_back_where_that_is_asked_for() -> None:
    """By tasks that work for one place after the other."""
    assert after_bringing_back({place: 1}, {place: 1}, {place: 2}, places=True) == {place: 2}


def test_a_place_is_none_at_first() -> None:
    """And known by its name."""
    assert Context().run(place.get) is None
    assert place.name == "a place of these tests"


# The values of a Local.


def test_values_belong_to_the_thread_that_they_were_set_on() -> None:
    """In whatever context that looks at them."""
    owned = Owned({})
    assert owned.is_mine()
    assert Context().run(owned.is_mine)
    assert not on_thread(owned.is_mine)


def test_values_belong_to_the_loop_that_they_were_set_on() -> None:
    """On whatever thread it goes on, and to no other loop there."""
    loop = asyncio.new_event_loop()

    async def make() -> Owned:
        return Owned({})

    async def asks(owned: Owned) -> bool:
        return owned.is_mine()

    owned = loop.run_until_complete(make())
    try:
        assert owned.is_mine()
        assert on_thread(loop.run_until_complete, asks(owned)) is True
        assert on_thread(asyncio.run, asks(owned)) is False
        assert on_thread(owned.is_mine) is False
    finally:
        loop.close()
    del loop
    gc.collect()
    assert on_thread(asyncio.run, asks(owned)) is False
    assert on_thread(owned.is_mine) is False


def test_values_change_hands_where_a_context_is_moved_in() -> None:
    """Those of a thread-critical Local stay with their owner, and other variables as they are."""
    plain, critical = Owned({"x": 1}), OwnedForGood({"x": 2})
    context = context_with({first: plain, second: critical, place: "here"})

    def moved() -> None:
        move_in(context)
        assert first.get().is_mine()
        assert first.get().values is plain.values
        assert second.get() is critical
        assert place.get() == "here"

    on_thread(context.run, moved)
    assert plain.is_mine()
    assert not context[first].is_mine()


def test_a_function_is_run_with_the_context_moved_in() -> None:
    """Its result and its errors come out."""
    context = context_with({first: Owned({})})

    def fails() -> None:
        raise KeyError("no")

    assert on_thread(context.run, run_moved, context, lambda: first.get().is_mine()) is True
    with pytest.raises(KeyError, match="no"):
        context.run(run_moved, context, fails)


def test_values_that_were_changed_elsewhere_are_brought_back_as_ones_own() -> None:
    """They are those of the thread that brings them back."""
    before = context_with({first: Owned({})})
    after = before.copy()

    def change() -> None:
        first.set(Owned({"x": 1}))

    on_thread(after.run, change)
    current = before.copy()
    current.run(bring_back, before, after)
    assert current[first].values == {"x": 1}
    assert current[first].is_mine()


def test_values_that_have_only_changed_hands_are_left_as_they_are() -> None:
    """The caller may have changed them meanwhile."""
    values: dict[str, Any] = {}
    before = context_with({first: Owned(values)})
    after = before.copy()
    on_thread(after.run, move_in, after)
    assert after[first] is not before[first]
    newer = Owned({"x": "meanwhile"})
    current = context_with({first: newer})
    current.run(bring_back, before, after)
    assert current[first] is newer


def test_thread_critical_values_are_never_brought_back() -> None:
    """They are another thread's."""
    before = Context()
    after = context_with({first: OwnedForGood({"x": 1})})
    current = copy_context()
    current.run(bring_back, before, after)
    assert first not in current
