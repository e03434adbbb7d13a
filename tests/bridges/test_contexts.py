"""Context variables: what the callee sees, and what it leaves behind."""

import asyncio
import decimal
import functools
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, ContextVar, copy_context
from typing import Any

import pytest
import trio

from asgiadapt import (
    ThreadSensitiveContext,
    async_to_sync,
    sync_to_async,
)
from tests.bridges import ON_LOOP, ON_THREAD, Bridge

request_id: ContextVar[str] = ContextVar("request_id", default="none")
user: ContextVar[Any] = ContextVar("user")


@pytest.fixture(params=ON_THREAD.values(), ids=ON_THREAD)
def on_thread(request: pytest.FixtureRequest) -> Iterator[Bridge]:
    with request.param() as bridge:
        yield bridge


@pytest.fixture(params=ON_LOOP.values(), ids=ON_LOOP)
def on_loop(request: pytest.FixtureRequest) -> Iterator[Bridge]:
    with request.param() as bridge:
        yield bridge


class Refused(Exception):
    """What functions of these tests raise."""


class Odd:
    """A value that must not be compared."""

    def __eq__(self, other: object) -> bool:
        raise AssertionError("values of variables are compared by identity")

    __hash__ = None


def sets(value: str) -> str:
    """Set the variable; gives what was there."""
    before = request_id.get()
    request_id.set(value)
    return before


async def sets_later(value: str) -> str:
    """Set the variable; gives what was there."""
    before = request_id.get()
    await asyncio.sleep(0)
    request_id.set(value)
    return before


# From async to sync code, and back.


async def test_sync_code_sees_the_variables_of_its_caller(on_thread: Bridge) -> None:
    """Whichever thread it runs on."""
    request_id.set("r1")
    assert await on_thread(request_id.get)() == "r1"


async def test_what_sync_code_sets_is_seen_by_its_caller(on_thread: Bridge) -> None:
    """As if it were called without a bridge."""
    request_id.set("r1")
    assert await on_thread(sets)("r2") == "r1"
    assert request_id.get() == "r2"


async def test_what_sync_code_sets_for_the_first_time_is_seen_by_its_caller(
    on_thread: Bridge,
) -> None:
    """A variable that had no value before."""
    await on_thread(user.set)("ada")
    assert user.get() == "ada"


async def test_what_sync_code_sets_before_it_raises_is_seen_by_its_caller(
    on_thread: Bridge,
) -> None:
    """As if it were called without a bridge."""

    def sets_and_raises() -> None:
        request_id.set("r2")
        raise Refused

    with pytest.raises(Refused):
        await on_thread(sets_and_raises)()
    assert request_id.get() == "r2"


async def test_what_sync_code_sets_and_resets_is_as_before(on_thread: Bridge) -> None:
    """With and without an earlier value."""

    def resets() -> None:
        request_id.reset(request_id.set("r2"))
        user.reset(user.set("ada"))

    request_id.set("r1")
    await on_thread(resets)()
    assert request_id.get() == "r1"
    assert user not in copy_context()


async def test_one_call_sees_what_the_last_one_has_set(on_thread: Bridge) -> None:
    """Also where the two run on different threads."""
    assert [await on_thread(sets)(value) for value in ("r1", "r2", "r3")] == ["none", "r1", "r2"]
    assert await sync_to_async(request_id.get)() == "r3"
    assert await sync_to_async(request_id.get, thread_sensitive=False)() == "r3"


async def test_values_are_carried_as_they_are(on_thread: Bridge) -> None:
    """The same objects; nobody compares them."""
    first, second = Odd(), Odd()
    user.set(first)
    assert await on_thread(user.get)() is first
    assert user.get() is first
    await on_thread(user.set)(second)
    assert user.get() is second


async def test_an_equal_value_replaces_the_one_before(on_thread: Bridge) -> None:
    """Equal is not the same."""
    first: list[int] = []
    second: list[int] = []
    user.set(first)
    await on_thread(user.set)(second)
    assert user.get() is second


async def test_the_thread_keeps_nothing_of_a_call() -> None:
    """The next user of an executor's thread finds what was there before."""
    with ThreadPoolExecutor(1) as executor:
        await sync_to_async(sets, thread_sensitive=False, executor=executor)("r1")
        future = executor.submit(request_id.get)
        assert await asyncio.wrap_future(future) == "none"


async def test_one_task_does_not_see_what_sync_code_of_another_has_set(on_thread: Bridge) -> None:
    """Although the threads are the same."""

    async def handles(name: str) -> list[str]:
        first = await on_thread(sets)(name)
        await asyncio.sleep(0)
        return [first, await on_thread(request_id.get)(), request_id.get()]

    names = [f"r{number}" for number in range(20)]
    answers = await asyncio.gather(*(asyncio.create_task(handles(name)) for name in names))
    assert answers == [["none", name, name] for name in names]
    assert request_id.get() == "none"


async def test_what_sync_code_did_not_touch_is_not_set_back() -> None:
    """Two tasks in one context: what the one has set in the meantime stays."""
    entered, may_leave = threading.Event(), threading.Event()

    def sets_user() -> None:
        user.set("ada")
        entered.set()
        may_leave.wait(20)

    shared = copy_context()
    shared.run(request_id.set, "r1")
    loop = asyncio.get_running_loop()
    task = loop.create_task(sync_to_async(sets_user)(), context=shared)
    await asyncio.to_thread(entered.wait, 20)
    shared.run(request_id.set, "r2")
    may_leave.set()
    await task
    assert shared[request_id] == "r2"
    assert shared[user] == "ada"


async def test_variables_are_carried_within_a_sensitive_context() -> None:
    """There and back, like everywhere."""
    request_id.set("r1")
    async with ThreadSensitiveContext():
        assert await sync_to_async(sets)("r2") == "r1"
    assert request_id.get() == "r2"


async def test_the_precision_of_decimals_is_carried() -> None:
    """The standard library keeps it in a context variable."""
    with decimal.localcontext() as local:
        local.prec = 3
        assert str(await sync_to_async(lambda: decimal.Decimal(1) / 3)()) == "0.333"


# A context of one's own.


async def test_a_given_context_is_the_one_that_the_call_runs_in(on_thread: Bridge) -> None:
    """The caller's variables aren't seen, its own are."""
    given = Context()
    given.run(user.set, "ada")
    request_id.set("r1")

    def looks() -> tuple[str, Any]:
        return request_id.get(), user.get()

    assert await on_thread(looks, context=given)() == ("none", "ada")


async def test_nothing_is_brought_back_from_a_given_context(on_thread: Bridge) -> None:
    """What is set stays in it."""
    given = copy_context()
    request_id.set("r1")
    assert await on_thread(sets, context=given)("r2") == "none"
    assert request_id.get() == "r1"
    assert given[request_id] == "r2"


async def test_nothing_is_brought_back_from_a_given_context_after_an_error(
    on_thread: Bridge,
) -> None:
    """What is set stays in it."""
    given = copy_context()

    def sets_and_raises() -> None:
        request_id.set("r2")
        raise Refused

    with pytest.raises(Refused):
        await on_thread(sets_and_raises, context=given)()
    assert request_id.get() == "none"
    assert given[request_id] == "r2"


async def test_a_given_context_is_kept_from_call_to_call(on_thread: Bridge) -> None:
    """Each call sees what the last one has set."""
    wrapped = on_thread(sets, context=Context())
    assert [await wrapped(value) for value in ("r1", "r2", "r3")] == ["none", "r1", "r2"]


async def test_async_code_below_a_given_context_uses_it(on_thread: Bridge) -> None:
    """What it sets goes as far as that context."""
    given = Context()
    given.run(request_id.set, "r1")
    assert await on_thread(async_to_sync(sets_later), context=given)("r2") == "r1"
    assert given[request_id] == "r2"
    assert request_id.get() == "none"


# From sync to async code, and back.


def isolated(test: Callable[..., None]) -> Callable[..., None]:
    """Run a plain test in a context of its own."""

    @functools.wraps(test)
    def runs(*args: Any, **kwargs: Any) -> None:
        copy_context().run(test, *args, **kwargs)

    return runs


@isolated
def test_async_code_sees_the_variables_of_its_caller(on_loop: Bridge) -> None:
    """Also after it has waited."""
    request_id.set("r1")
    assert on_loop(sets_later)("r2") == "r1"


@isolated
def test_what_async_code_sets_is_seen_by_its_caller(on_loop: Bridge) -> None:
    """As if it were awaited."""
    on_loop(sets_later)("r2")
    assert request_id.get() == "r2"


@isolated
def test_what_async_code_sets_for_the_first_time_is_seen_by_its_caller(on_loop: Bridge) -> None:
    """A variable that had no value before."""

    async def sets_user() -> None:
        user.set("ada")

    on_loop(sets_user)()
    assert user.get() == "ada"


@isolated
def test_what_async_code_sets_before_it_raises_is_seen_by_its_caller(on_loop: Bridge) -> None:
    """As if it were awaited."""

    async def sets_and_raises() -> None:
        await sets_later("r2")
        raise Refused

    with pytest.raises(Refused):
        on_loop(sets_and_raises)()
    assert request_id.get() == "r2"


@isolated
def test_what_async_code_sets_and_resets_is_as_before(on_loop: Bridge) -> None:
    """With and without an earlier value."""

    async def resets() -> None:
        token, other = request_id.set("r2"), user.set("ada")
        await asyncio.sleep(0)
        request_id.reset(token)
        user.reset(other)

    request_id.set("r1")
    on_loop(resets)()
    assert request_id.get() == "r1"
    assert user not in copy_context()


@isolated
def test_what_a_task_of_async_code_sets_stays_in_the_task(on_loop: Bridge) -> None:
    """As everywhere in asyncio."""

    async def starts_a_task() -> str:
        await asyncio.create_task(sets_later("r2"))
        return request_id.get()

    request_id.set("r1")
    assert on_loop(starts_a_task)() == "r1"
    assert request_id.get() == "r1"


@isolated
def test_one_async_call_sees_what_the_last_one_has_set(on_loop: Bridge) -> None:
    """From the same sync code."""
    wrapped = on_loop(sets_later)
    assert [wrapped(value) for value in ("r1", "r2", "r3")] == ["none", "r1", "r2"]


@isolated
def test_callers_in_different_contexts_see_nothing_of_each_other(on_loop: Bridge) -> None:
    """Although the thread and its loop are the same."""
    wrapped = on_loop(sets_later)
    first, second = copy_context(), copy_context()
    assert first.run(wrapped, "r1") == "none"
    assert second.run(wrapped, "r2") == "none"
    assert first[request_id] == "r1"
    assert second[request_id] == "r2"
    assert request_id.get() == "none"


def test_callers_in_different_threads_see_nothing_of_each_other(on_loop: Bridge) -> None:
    """They wait at the same time."""
    barrier = threading.Barrier(2)

    def handles(name: str) -> list[str]:
        before = on_loop(sets_later)(name)
        barrier.wait(20)
        return [before, on_loop(sets_later)("last"), request_id.get()]

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(handles, ["r1", "r2"])
    assert first == ["none", "r1", "last"]
    assert second == ["none", "r2", "last"]


@isolated
def test_values_are_carried_to_async_code_as_they_are(on_loop: Bridge) -> None:
    """The same objects; nobody compares them."""
    first, second = Odd(), Odd()

    async def replaces() -> Any:
        before = user.get()
        user.set(second)
        return before

    user.set(first)
    assert on_loop(replaces)() is first
    assert user.get() is second


async def test_async_code_below_a_running_loop_sees_and_sets_the_same_variables(
    on_thread: Bridge, on_loop: Bridge
) -> None:
    """Through the thread between the two, both ways."""
    request_id.set("r1")
    assert await on_thread(on_loop(sets_later))("r2") == "r1"
    assert request_id.get() == "r2"


# Through every nesting.


def sync_level(level: int, seen: list[str], fails: bool) -> None:
    """Look, set, go down, and look again."""
    seen.append(request_id.get())
    request_id.set(f"sync {level}")
    if level:
        async_to_sync(async_level)(level - 1, seen, fails)
        seen.append(request_id.get())
    elif fails:
        raise Refused
    request_id.set(f"sync {level}, left")


async def async_level(level: int, seen: list[str], fails: bool) -> None:
    """Look, set, go down, and look again."""
    seen.append(request_id.get())
    request_id.set(f"async {level}")
    await sync_to_async(sync_level)(level, seen, fails)
    seen.append(request_id.get())
    request_id.set(f"async {level}, left")


def expected(depth: int) -> list[str]:
    """What plain calls would see, from an async level down."""
    down, up = ["top"], ["sync 0, left"]
    for level in range(depth, 0, -1):
        down += [f"async {level}", f"sync {level}"]
    for level in range(1, depth + 1):
        up += [f"async {level - 1}, left", f"sync {level}, left"]
    return [*down, "async 0", *up]


@pytest.mark.parametrize("depth", range(5))
async def test_variables_are_carried_through_every_nesting_from_async_code(depth: int) -> None:
    """Each level sees what the one above it and the one below it have set."""
    seen: list[str] = []
    request_id.set("top")
    await async_level(depth, seen, False)
    assert seen == expected(depth)
    assert request_id.get() == f"async {depth}, left"


@pytest.mark.parametrize("depth", range(5))
@isolated
def test_variables_are_carried_through_every_nesting_from_sync_code(depth: int) -> None:
    """Each level sees what the one above it and the one below it have set."""
    seen: list[str] = []
    request_id.set("top")
    async_to_sync(async_level)(depth, seen, False)
    assert seen == expected(depth)
    assert request_id.get() == f"async {depth}, left"


@pytest.mark.parametrize("depth", range(5))
async def test_an_error_brings_the_variables_up_through_every_nesting(depth: int) -> None:
    """What the lowest level has set is seen at the top."""
    with pytest.raises(Refused):
        await async_level(depth, [], True)
    assert request_id.get() == "sync 0"


@pytest.mark.parametrize("depth", range(5))
@isolated
def test_an_error_brings_the_variables_up_to_sync_code(depth: int) -> None:
    """What the lowest level has set is seen at the top."""
    with pytest.raises(Refused):
        async_to_sync(async_level)(depth, [], True)
    assert request_id.get() == "sync 0"


async def test_many_tasks_carry_their_variables_through_the_nesting() -> None:
    """At once, on the same threads, and each has its own."""

    def below(name: str) -> list[str]:
        seen = [sets(f"{name} below")]
        seen.append(async_to_sync(sets_later)(f"{name} at the bottom"))
        return seen

    async def handles(name: str) -> list[str]:
        request_id.set(name)
        seen = await sync_to_async(below, thread_sensitive=name.endswith("0"))(name)
        return [*seen, request_id.get()]

    names = [f"r{number}" for number in range(40)]
    answers = await asyncio.gather(*map(handles, names))
    assert answers == [[name, f"{name} below", f"{name} at the bottom"] for name in names]


COMBINATORS: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "gather": asyncio.gather,
    "create_task": asyncio.ensure_future,
    "shield": asyncio.shield,
}


@pytest.mark.parametrize("through", COMBINATORS.values(), ids=COMBINATORS)
async def test_a_task_takes_the_variables_along_and_keeps_what_it_sets(
    through: Callable[[Any], Awaitable[Any]],
) -> None:
    """As everywhere in asyncio: its context is a copy."""
    seen: list[str] = []

    async def runs() -> None:
        seen.append(await sync_to_async(sets)("r2"))
        seen.append(request_id.get())

    request_id.set("r1")
    await through(runs())
    assert seen == ["r1", "r2"]
    assert request_id.get() == "r1"


# On trio.


@pytest.mark.parametrize("depth", range(5))
def test_on_trio_variables_are_carried_through_every_nesting(depth: int) -> None:
    """Each level sees what the one above it and the one below it have set."""
    seen: list[str] = []

    async def main() -> str:
        request_id.set("top")
        await async_level(depth, seen, False)
        return request_id.get()

    assert trio.run(main) == f"async {depth}, left"
    assert seen == expected(depth)


def test_on_trio_tasks_see_nothing_of_each_other() -> None:
    """Although the threads are the same."""
    answers: dict[str, list[str]] = {}

    async def handles(name: str) -> None:
        answers[name] = [await sync_to_async(sets)(name), await sync_to_async(request_id.get)()]

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(handles, f"r{number}")

    trio.run(main)
    assert answers == {f"r{number}": ["none", f"r{number}"] for number in range(20)}
