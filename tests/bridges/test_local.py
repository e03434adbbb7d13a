"""``Local``: values of the thread, or of the task, that go along through the bridges."""

import asyncio
import functools
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from typing import Any

import pytest

from asgiadapt import (
    Local,
    ThreadSensitiveContext,
    async_to_sync,
    sync_to_async,
)
from tests.bridges import ON_LOOP, ON_THREAD, Bridge

MISSING = object()
both_kinds = pytest.mark.parametrize("thread_critical", [False, True], ids=["plain", "thread-critical"])


class Refused(Exception):
    """What functions of these tests raise."""


@pytest.fixture(params=ON_THREAD.values(), ids=ON_THREAD)
def on_thread(request: pytest.FixtureRequest) -> Iterator[Bridge]:
    with request.param() as bridge:
        yield bridge


@pytest.fixture(params=ON_LOOP.values(), ids=ON_LOOP)
def on_loop(request: pytest.FixtureRequest) -> Iterator[Bridge]:
    with request.param() as bridge:
        yield bridge


def reads(local: Local, name: str = "x") -> Any:
    return getattr(local, name, MISSING)


async def reads_later(local: Local) -> Any:
    await asyncio.sleep(0)
    return reads(local)


def writes(local: Local, value: object) -> None:
    local.x = value


async def writes_later(local: Local, value: object) -> None:
    await asyncio.sleep(0)
    local.x = value


def deletes(local: Local) -> None:
    del local.x


async def deletes_later(local: Local) -> None:
    await asyncio.sleep(0)
    del local.x


def on_new_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """What *function* gives on a thread of its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *arguments).result()


# A namespace.


@both_kinds
def test_attributes_are_set_read_and_deleted(thread_critical: bool) -> None:
    """Each by itself."""
    local = Local(thread_critical)
    local.x = 1
    local.y = [2]
    local.x = 3
    assert (local.x, local.y) == (3, [2])
    del local.x
    assert not hasattr(local, "x")
    assert local.y == [2]


@both_kinds
async def test_attributes_are_set_read_and_deleted_in_async_code(thread_critical: bool) -> None:
    """Each by itself."""
    local = Local(thread_critical)
    local.x = 1
    local.y = [2]
    local.x = 3
    assert (local.x, local.y) == (3, [2])
    del local.x
    assert not hasattr(local, "x")
    assert local.y == [2]


@both_kinds
def test_a_missing_attribute_is_named_in_the_error(thread_critical: bool) -> None:
    """Whether it is read or deleted, and also after it was there."""
    local = Local(thread_critical=thread_critical)
    for _ in range(2):
        with pytest.raises(AttributeError, match="colour"):
            _ = local.colour
        with pytest.raises(AttributeError, match="colour"):
            del local.colour
        local.colour = "red"
        del local.colour
    assert getattr(local, "colour", "none") == "none"


@both_kinds
async def test_a_missing_attribute_is_named_in_the_error_in_async_code(thread_critical: bool) -> None:
    """Whether it is read or deleted."""
    local = Local(thread_critical=thread_critical)
    with pytest.raises(AttributeError, match="colour"):
        _ = local.colour
    with pytest.raises(AttributeError, match="colour"):
        del local.colour


@both_kinds
def test_two_locals_have_nothing_in_common(thread_critical: bool) -> None:
    """Not even names."""
    first, second = Local(thread_critical), Local(thread_critical)
    first.x = 1
    assert reads(second) is MISSING
    second.x = 2
    assert (first.x, second.x) == (1, 2)


@both_kinds
def test_every_local_is_an_instance_of_the_class(thread_critical: bool) -> None:
    """Of either kind."""
    assert isinstance(Local(thread_critical), Local)


@both_kinds
def test_an_attribute_may_be_any_object(thread_critical: bool) -> None:
    """None and one that must not be compared, too; it is given back as it is."""

    class Odd:
        def __eq__(self, other: object) -> bool:
            raise AssertionError("values are not compared")

        __hash__ = None

    local = Local(thread_critical)
    odd = Odd()
    local.x = odd
    assert local.x is odd
    local.x = None
    assert local.x is None


def test_it_cannot_be_subclassed() -> None:
    """What a subclass would add could not be kept apart."""
    with pytest.raises(TypeError, match="cannot be subclassed"):
        type("Sub", (Local,), {})()


# Threads without a loop.


@both_kinds
def test_a_thread_has_its_own_values(thread_critical: bool) -> None:
    """It doesn't see those of another, and what it does to its own isn't seen elsewhere."""
    local = Local(thread_critical)
    local.x = "main"

    def elsewhere() -> tuple[Any, Any]:
        before = reads(local)
        local.x = "elsewhere"
        return before, local.x

    assert on_new_thread(elsewhere) == (MISSING, "elsewhere")
    assert local.x == "main"


@both_kinds
def test_a_thread_keeps_its_values_from_call_to_call(thread_critical: bool) -> None:
    """For as long as it lives."""
    local = Local(thread_critical)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(writes, local, "kept").result()
        assert pool.submit(reads, local).result() == "kept"
        pool.submit(deletes, local).result()
        assert pool.submit(reads, local).result() is MISSING


@both_kinds
def test_a_thread_that_copied_a_context_does_not_see_the_values_in_it(thread_critical: bool) -> None:
    """The values belong to the thread that set them, and were not meant to travel."""
    local = Local(thread_critical)
    local.x = "main"
    assert on_new_thread(copy_context().run, reads, local) is MISSING


@both_kinds
def test_a_thread_that_copied_a_context_has_its_own_values_in_it(thread_critical: bool) -> None:
    """They start empty, and are not those of the thread where the context was copied."""
    local = Local(thread_critical)
    local.x = "main"
    local.y = "main"

    def elsewhere() -> tuple[Any, Any]:
        local.x = "elsewhere"
        return local.x, reads(local, "y")

    assert on_new_thread(copy_context().run, elsewhere) == ("elsewhere", MISSING)
    assert (local.x, local.y) == ("main", "main")


async def test_a_thread_of_asyncio_does_not_see_the_values_of_the_task() -> None:
    """It copies the context, but nobody meant these values to travel."""
    local = Local()
    local.x = "task"
    assert await asyncio.to_thread(reads, local) is MISSING
    await asyncio.to_thread(writes, local, "thread")
    assert local.x == "task"


def test_a_copied_context_on_the_same_thread_has_the_values() -> None:
    """What is set in it stays in it."""
    local = Local()
    local.x = "outer"
    local.y = "outer"

    def inside() -> tuple[Any, Any]:
        before = local.x
        local.x = "inner"
        del local.y
        return before, local.x

    assert copy_context().run(inside) == ("outer", "inner")
    assert (local.x, local.y) == ("outer", "outer")


@both_kinds
def test_many_threads_may_use_it_at_once(thread_critical: bool) -> None:
    """Each finds what it has set itself, and nothing else."""
    local = Local(thread_critical)
    start = threading.Barrier(8)

    def uses(name: int) -> bool:
        start.wait(20)
        for count in range(300):
            local.x = (name, count)
            setattr(local, f"own_{name}", count)
            if local.x != (name, count) or hasattr(local, f"own_{name - 1}"):
                return False
            del local.x
            if hasattr(local, "x"):
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(uses, range(8)))


# Tasks.


@both_kinds
async def test_awaited_code_sees_and_changes_the_values(thread_critical: bool) -> None:
    """It is the same task."""
    local = Local(thread_critical)
    local.x = 1
    assert await reads_later(local) == 1
    await writes_later(local, 2)
    assert local.x == 2
    await deletes_later(local)
    assert reads(local) is MISSING


async def in_task_group(coroutine: Any) -> Any:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(coroutine)
    return task.result()


async def in_gather(coroutine: Any) -> Any:
    (result,) = await asyncio.gather(coroutine)
    return result


async def in_wait_for(coroutine: Any) -> Any:
    return await asyncio.wait_for(asyncio.ensure_future(coroutine), 60)


async def in_callback(coroutine: Any) -> Any:
    loop = asyncio.get_running_loop()
    started: asyncio.Future[asyncio.Task[Any]] = loop.create_future()
    loop.call_soon(lambda: started.set_result(loop.create_task(coroutine)))
    return await (await started)


IN_A_TASK: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "create_task": asyncio.ensure_future,
    "gather": in_gather,
    "wait_for": in_wait_for,
    "shield": asyncio.shield,
    "TaskGroup": in_task_group,
    "callback": in_callback,
}
in_a_task = pytest.mark.parametrize("in_task", IN_A_TASK.values(), ids=IN_A_TASK)


@both_kinds
@in_a_task
async def test_a_task_sees_the_values_of_the_one_that_started_it(
    in_task: Callable[[Any], Awaitable[Any]], thread_critical: bool
) -> None:
    """However it was started."""
    local = Local(thread_critical)
    local.x = "parent"
    assert await in_task(reads_later(local)) == "parent"


@both_kinds
@in_a_task
async def test_what_a_task_changes_stays_in_the_task(
    in_task: Callable[[Any], Awaitable[Any]], thread_critical: bool
) -> None:
    """What it sets, and what it deletes."""
    local = Local(thread_critical)
    local.x = local.y = "parent"

    async def changes() -> tuple[Any, Any]:
        local.x = "child"
        del local.y
        await asyncio.sleep(0)
        return local.x, reads(local, "y")

    assert await in_task(changes()) == ("child", MISSING)
    assert (local.x, local.y) == ("parent", "parent")


@both_kinds
async def test_siblings_set_and_delete_without_effect_on_each_other(thread_critical: bool) -> None:
    """Each has its own values, whoever comes first."""
    local = Local(thread_critical)
    local.x = local.y = "parent"
    both = asyncio.Barrier(3)

    async def sets_x() -> tuple[Any, Any]:
        await both.wait()
        local.x = "set"
        await both.wait()
        return reads(local), reads(local, "y")

    async def deletes_x() -> tuple[Any, Any]:
        await both.wait()
        del local.x
        await both.wait()
        return reads(local), reads(local, "y")

    async def sets_y() -> tuple[Any, Any]:
        await both.wait()
        local.y = "set"
        await both.wait()
        return reads(local), reads(local, "y")

    assert await asyncio.gather(sets_x(), deletes_x(), sets_y()) == [
        ("set", "parent"),
        (MISSING, "parent"),
        ("parent", "set"),
    ]
    assert (local.x, local.y) == ("parent", "parent")


async def test_siblings_set_and_delete_in_sync_code(on_thread: Bridge) -> None:
    """On threads that they share, each has its own values."""
    local = Local()
    local.x = "parent"
    both = asyncio.Barrier(2)

    async def deletes_x() -> Any:
        await on_thread(deletes)(local)
        await both.wait()
        return await on_thread(reads)(local), reads(local)

    async def sets_x() -> Any:
        await on_thread(writes)(local, "set")
        await both.wait()
        return await on_thread(reads)(local), reads(local)

    assert await asyncio.gather(deletes_x(), sets_x()) == [(MISSING, MISSING), ("set", "set")]
    assert local.x == "parent"
    assert await on_thread(reads)(local) == "parent"


@both_kinds
def test_loops_in_two_threads_have_nothing_in_common(thread_critical: bool) -> None:
    """Their tasks neither."""
    local = Local(thread_critical)
    both = threading.Barrier(2)

    async def main(name: str) -> tuple[Any, Any]:
        before = reads(local)
        local.x = name
        both.wait(20)
        return before, await asyncio.create_task(reads_later(local))

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda name: asyncio.run(main(name)), ["a", "b"])
    assert (first, second) == ((MISSING, "a"), (MISSING, "b"))


# From async to sync code, and back.


async def test_sync_code_sees_the_values_of_its_caller(on_thread: Bridge) -> None:
    """Whichever thread it runs on."""
    local = Local()
    local.x = "task"
    assert await on_thread(reads)(local) == "task"


async def test_what_sync_code_changes_is_seen_by_its_caller(on_thread: Bridge) -> None:
    """What it sets, and what it deletes."""
    local = Local()
    await on_thread(writes)(local, 1)
    assert local.x == 1
    await on_thread(writes)(local, 2)
    assert local.x == 2
    await on_thread(deletes)(local)
    assert reads(local) is MISSING


async def test_what_sync_code_changes_before_it_raises_is_seen_by_its_caller(
    on_thread: Bridge,
) -> None:
    """What it sets, and what it deletes."""
    local = Local()
    local.x = local.y = "task"

    def changes_and_raises() -> None:
        local.x = "thread"
        del local.y
        raise Refused

    with pytest.raises(Refused):
        await on_thread(changes_and_raises)()
    assert local.x == "thread"
    assert reads(local, "y") is MISSING


async def test_the_thread_keeps_none_of_the_values() -> None:
    """The next user of an executor's thread doesn't see them."""
    local = Local()
    local.x = "task"
    with ThreadPoolExecutor(1) as executor:
        on_executor = functools.partial(sync_to_async, thread_sensitive=False, executor=executor)
        assert await on_executor(reads)(local) == "task"
        await on_executor(writes)(local, "thread")
        assert await asyncio.wrap_future(executor.submit(reads, local)) is MISSING


async def test_values_of_the_thread_are_not_seen_by_a_call_that_comes_to_it() -> None:
    """A call sees what its caller has."""
    local = Local()
    with ThreadPoolExecutor(1) as executor:
        await asyncio.wrap_future(executor.submit(writes, local, "thread"))
        on_executor = functools.partial(sync_to_async, thread_sensitive=False, executor=executor)
        assert await on_executor(reads)(local) is MISSING
        local.x = "task"
        assert await on_executor(reads)(local) == "task"
        assert await asyncio.wrap_future(executor.submit(reads, local)) == "thread"


async def test_a_thread_started_in_sync_code_does_not_see_the_values(on_thread: Bridge) -> None:
    """Not even with the context of the call."""
    local = Local()
    local.x = "task"
    assert await on_thread(on_new_thread)(reads, local) is MISSING

    def starts_with_context() -> Any:
        return on_new_thread(copy_context().run, reads, local)

    assert await on_thread(starts_with_context)() is MISSING


# From sync to async code, and back.


def test_async_code_sees_the_values_of_its_caller(on_loop: Bridge) -> None:
    """And so do the tasks that it starts."""
    local = Local()
    local.x = "thread"

    async def main() -> list[Any]:
        return [reads(local), await asyncio.create_task(reads_later(local))]

    assert on_loop(main)() == ["thread", "thread"]


def test_what_async_code_changes_is_seen_by_its_caller(on_loop: Bridge) -> None:
    """What it sets, and what it deletes."""
    local = Local()
    on_loop(writes_later)(local, 1)
    assert local.x == 1
    on_loop(writes_later)(local, 2)
    assert local.x == 2
    on_loop(deletes_later)(local)
    assert reads(local) is MISSING


def test_what_async_code_changes_before_it_raises_is_seen_by_its_caller(on_loop: Bridge) -> None:
    """What it sets, and what it deletes."""
    local = Local()
    local.x = local.y = "thread"

    async def changes_and_raises() -> None:
        await writes_later(local, "loop")
        del local.y
        raise Refused

    with pytest.raises(Refused):
        on_loop(changes_and_raises)()
    assert local.x == "loop"
    assert reads(local, "y") is MISSING


def test_what_a_task_of_async_code_changes_stays_in_the_task(on_loop: Bridge) -> None:
    """As everywhere in asyncio."""
    local = Local()
    local.x = "thread"

    async def main() -> Any:
        await asyncio.create_task(writes_later(local, "task"))
        return local.x

    assert on_loop(main)() == "thread"
    assert local.x == "thread"


def test_callers_in_different_threads_keep_their_values_apart(on_loop: Bridge) -> None:
    """Although they wait at the same time."""
    local = Local()
    both = threading.Barrier(2)

    def handles(name: str) -> list[Any]:
        before = on_loop(reads_later)(local)
        on_loop(writes_later)(local, name)
        both.wait(20)
        return [before, on_loop(reads_later)(local), local.x]

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(handles, ["a", "b"])) == [[MISSING, "a", "a"], [MISSING, "b", "b"]]


async def test_async_code_below_a_running_loop_sees_and_changes_the_values(
    on_thread: Bridge, on_loop: Bridge
) -> None:
    """Through the thread between the two, both ways."""
    local = Local()
    local.x = "top"
    assert await on_thread(on_loop(reads_later))(local) == "top"
    await on_thread(on_loop(writes_later))(local, "bottom")
    assert local.x == "bottom"
    await on_thread(on_loop(deletes_later))(local)
    assert reads(local) is MISSING


# Through every nesting.


def sync_level(level: int, local: Local, seen: list[Any]) -> None:
    """Look, set, go down, and look again; what is set at the bottom is deleted on the way up."""
    seen.append(reads(local))
    local.x = f"sync {level}"
    if level:
        async_to_sync(async_level)(level - 1, local, seen)
        seen.append(reads(local))
    else:
        local.bottom = "set"


async def async_level(level: int, local: Local, seen: list[Any]) -> None:
    """Look, set, go down, and look again."""
    seen.append(reads(local))
    local.x = f"async {level}"
    await sync_to_async(sync_level)(level, local, seen)
    seen.append(reads(local))


def expected(depth: int) -> list[str]:
    """What plain calls would see, from an async level down."""
    down = ["top"]
    for level in range(depth, 0, -1):
        down += [f"async {level}", f"sync {level}"]
    return [*down, "async 0", *["sync 0"] * (2 * depth + 1)]


@pytest.mark.parametrize("depth", range(5))
async def test_values_go_along_through_every_nesting_from_async_code(depth: int) -> None:
    """Each level sees what the one above it and the one below it have set."""
    local = Local()
    local.x = "top"
    seen: list[Any] = []
    await async_level(depth, local, seen)
    assert seen == expected(depth)
    assert (local.x, local.bottom) == ("sync 0", "set")


@pytest.mark.parametrize("depth", range(5))
def test_values_go_along_through_every_nesting_from_sync_code(depth: int) -> None:
    """Each level sees what the one above it and the one below it have set."""
    local = Local()
    local.x = "top"
    seen: list[Any] = []
    async_to_sync(async_level)(depth, local, seen)
    assert seen == expected(depth)
    assert (local.x, local.bottom) == ("sync 0", "set")


# Thread-critical values, which no bridge carries.


async def test_sync_code_does_not_see_thread_critical_values_of_its_caller(
    on_thread: Bridge,
) -> None:
    """They belong to the thread of the loop."""
    local = Local(thread_critical=True)
    local.x = "task"
    assert await on_thread(reads)(local) is MISSING
    assert local.x == "task"


async def test_thread_critical_values_of_sync_code_are_not_seen_by_its_caller(
    on_thread: Bridge,
) -> None:
    """They belong to the thread that set them."""
    local = Local(thread_critical=True)
    await on_thread(writes)(local, "thread")
    assert reads(local) is MISSING
    local.x = "task"
    await on_thread(writes)(local, "thread")
    assert local.x == "task"


def test_async_code_does_not_see_thread_critical_values_of_its_caller(on_loop: Bridge) -> None:
    """Sync and async code are apart, whichever thread the loop runs on."""
    local = Local(thread_critical=True)
    local.x = "thread"
    assert on_loop(reads_later)(local) is MISSING
    assert local.x == "thread"


def test_thread_critical_values_of_async_code_are_not_seen_by_its_caller(on_loop: Bridge) -> None:
    """Sync and async code are apart, whichever thread the loop runs on."""
    local = Local(thread_critical=True)
    on_loop(writes_later)(local, "loop")
    assert reads(local) is MISSING
    local.x = "thread"
    on_loop(writes_later)(local, "loop")
    assert local.x == "thread"


def test_thread_critical_values_of_one_async_call_are_not_seen_by_the_next(
    on_loop: Bridge,
) -> None:
    """Each call is async code of its own."""
    local = Local(thread_critical=True)
    on_loop(writes_later)(local, "first")
    assert on_loop(reads_later)(local) is MISSING


async def test_thread_critical_values_stay_with_the_sensitive_thread() -> None:
    """Like connections to a database, which one call opens and a later one uses."""
    local = Local(thread_critical=True)
    await sync_to_async(writes)(local, "connection")
    assert await sync_to_async(reads)(local) == "connection"
    assert await sync_to_async(reads, thread_sensitive=False)(local) is MISSING
    await sync_to_async(deletes)(local)
    assert await sync_to_async(reads)(local) is MISSING


def test_thread_critical_values_stay_with_the_calling_thread(on_loop: Bridge) -> None:
    """Sensitive calls below come back to it, and find them."""
    local = Local(thread_critical=True)
    local.x = "connection"

    async def main() -> list[Any]:
        seen = [reads(local), await sync_to_async(reads)(local)]
        await sync_to_async(writes)(local, "changed")
        seen += [reads(local), await sync_to_async(reads)(local)]
        seen.append(await sync_to_async(reads, thread_sensitive=False)(local))
        return seen

    assert on_loop(main)() == [MISSING, "connection", MISSING, "changed", MISSING]
    assert local.x == "changed"


def test_thread_critical_values_are_found_again_at_every_depth() -> None:
    """All sensitive calls run on the outermost thread."""
    local = Local(thread_critical=True)
    local.x = 0

    def counts(level: int) -> None:
        local.x += 1
        if level:
            async_to_sync(descends)(level - 1)

    async def descends(level: int) -> None:
        assert reads(local) is MISSING
        await sync_to_async(counts)(level)

    async_to_sync(descends)(4)
    assert local.x == 5


def test_a_copied_context_makes_no_difference_to_thread_critical_values() -> None:
    """In sync code the thread is all that counts."""
    local = Local(thread_critical=True)
    local.x = "thread"
    assert copy_context().run(reads, local) == "thread"
    assert Context().run(reads, local) == "thread"
    copy_context().run(writes, local, "changed")
    assert local.x == "changed"


def test_a_loop_on_the_same_thread_does_not_see_thread_critical_values() -> None:
    """And what is set on it is gone when it ends."""
    local = Local(thread_critical=True)
    local.x = "thread"

    async def main() -> Any:
        before = reads(local)
        local.x = "task"
        return before

    assert asyncio.run(main()) is MISSING
    assert local.x == "thread"


# Blocks with a thread of their own.


async def test_sensitive_contexts_carry_plain_values() -> None:
    """There and back, like everywhere."""
    plain = Local()
    plain.x = "task"
    async with ThreadSensitiveContext():
        assert await sync_to_async(reads)(plain) == "task"
        await sync_to_async(writes)(plain, "block")
    assert plain.x == "block"
    with ThreadPoolExecutor(1) as executor:
        async with ThreadSensitiveContext(executor=executor):
            assert await sync_to_async(reads)(plain) == "block"
            await sync_to_async(deletes)(plain)
    assert reads(plain) is MISSING


async def test_contexts_with_an_executor_have_thread_critical_values_of_their_own() -> None:
    """Those of the thread, which are there again in a later block on it."""
    local = Local(thread_critical=True)
    with ThreadPoolExecutor(1) as executor:
        async with ThreadSensitiveContext():
            await sync_to_async(writes)(local, "parent")
            async with ThreadSensitiveContext(executor=executor):
                assert await sync_to_async(reads)(local) is MISSING
                await sync_to_async(writes)(local, "child")
            assert await sync_to_async(reads)(local) == "parent"
            async with ThreadSensitiveContext(executor=executor):
                assert await sync_to_async(reads)(local) == "child"


async def test_contexts_at_the_same_time_have_thread_critical_values_of_their_own() -> None:
    """Each has a thread for itself."""
    local = Local(thread_critical=True)
    both = asyncio.Barrier(2)

    async def handles(name: str) -> Any:
        async with ThreadSensitiveContext():
            await sync_to_async(writes)(local, name)
            await both.wait()
            seen = await sync_to_async(reads)(local)
            await both.wait()
            return seen

    assert await asyncio.gather(handles("a"), handles("b")) == ["a", "b"]
