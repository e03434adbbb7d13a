"""One task that takes steps for those who wait for each."""

import asyncio
from contextvars import Context, ContextVar, copy_context
from typing import Any

import pytest

from asgiadapt import LoopStopped
from asgiadapt._threads.context import place_variable
from asgiadapt._threads.conversation import Conversation

variable: ContextVar[str] = ContextVar("variable", default="nothing")
place = place_variable("a place of these tests")


class Refused(Exception):
    """What steps of these tests raise."""


async def some_rounds() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def gives(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


async def fails(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


async def current_task() -> Any:
    return asyncio.current_task()


class Waits:
    """A step that waits until it may go on."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.may_end = asyncio.Event()
        self.steps: list[str] = []

    async def __call__(self, *, swallows: bool = False) -> str:
        self.began.set()
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            self.steps.append("cancelled")
            if not swallows:
                raise
        return "result"


async def test_steps_give_results_and_errors() -> None:
    """The very objects, and the conversation goes on after an error."""
    conversation = Conversation()
    thing, error = object(), Refused("no")
    assert await conversation.take_step(gives, thing) is thing
    with pytest.raises(Refused) as caught:
        await conversation.take_step(fails, error)
    assert caught.value is error
    assert await conversation.take_step(gives, "next") == "next"
    conversation.finish()


async def test_one_task_takes_all_steps() -> None:
    """It is none of those that ask for them."""
    conversation = Conversation()
    first = await conversation.take_step(current_task)
    second = await asyncio.create_task(conversation.take_step(current_task))
    assert first is second
    assert first is not asyncio.current_task()
    assert not first.done()
    conversation.finish()
    await first


async def test_the_task_runs_nothing_between_the_steps() -> None:
    """And has gone after the last one."""
    conversation = Conversation()
    task = await conversation.take_step(current_task)
    await some_rounds()
    assert not task.done()
    conversation.finish()
    await some_rounds()
    assert task.done()
    assert not task.cancelled()


async def test_a_conversation_without_steps_has_no_task() -> None:
    """It may be finished, twice too."""
    before = asyncio.all_tasks()
    conversation = Conversation()
    conversation.finish()
    conversation.finish()
    assert asyncio.all_tasks() == before
    with pytest.raises(LoopStopped, match="closed before its end"):
        await conversation.take_step(gives, 1)


async def test_after_the_end_no_step_is_taken() -> None:
    """The error says so; a step that had begun comes to its end."""
    conversation = Conversation()
    waits = Waits()
    step = asyncio.create_task(conversation.take_step(waits))
    await waits.began.wait()
    conversation.finish()
    with pytest.raises(LoopStopped, match="closed before its end"):
        await conversation.take_step(gives, 1)
    waits.may_end.set()
    assert await step == "result"


# Context variables.


async def test_each_step_sees_the_variables_of_whoever_asks_for_it() -> None:
    """And those who ask see what it sets, also before an error."""
    conversation = Conversation()

    async def sets(value: str) -> str:
        before = variable.get()
        variable.set(value)
        if value == "before the error":
            raise Refused
        return before

    variable.set("the first caller's")
    assert await conversation.take_step(sets, "the step's") == "the first caller's"
    assert variable.get() == "the step's"

    async def another() -> str:
        variable.set("another caller's")
        found = await conversation.take_step(sets, "the second step's")
        assert variable.get() == "the second step's"
        return str(found)

    assert await asyncio.create_task(another()) == "another caller's"
    assert variable.get() == "the step's"
    with pytest.raises(Refused):
        await conversation.take_step(sets, "before the error")
    assert variable.get() == "before the error"
    conversation.finish()


async def test_each_step_has_the_place_of_whoever_asks_for_it() -> None:
    """It is not brought back."""
    conversation = Conversation()

    async def tells() -> Any:
        found = place.get()
        place.set("the step's")
        return found

    for name in ("first", "second"):
        place.set(name)
        assert await conversation.take_step(tells) == name
        assert place.get() == name
    conversation.finish()


async def test_what_a_step_did_not_touch_is_not_set_back() -> None:
    """The caller may have changed it meanwhile, from another task of its context."""
    conversation = Conversation()
    waits = Waits()
    context = copy_context()
    context.run(variable.set, "at first")
    step = asyncio.get_running_loop().create_task(conversation.take_step(waits), context=context)
    await waits.began.wait()
    context.run(variable.set, "meanwhile")
    waits.may_end.set()
    await step
    assert context[variable] == "meanwhile"
    conversation.finish()


# Cancellation.


async def test_a_step_that_is_cancelled_is_cancelled_inside_and_waited_for() -> None:
    """Whoever asked for it gets the cancellation; the conversation goes on."""
    conversation = Conversation()
    waits = Waits()
    step = asyncio.create_task(conversation.take_step(waits))
    await waits.began.wait()
    step.cancel()
    with pytest.raises(asyncio.CancelledError):
        await step
    assert waits.steps == ["cancelled"]
    task = await conversation.take_step(current_task)
    assert task.cancelling() == 0
    conversation.finish()


async def test_a_step_that_swallows_its_cancellation_does_not_keep_it_from_whoever_asked() -> None:
    """Its result is lost, what it has set is not; time limits of later steps are right."""
    conversation = Conversation()
    waits = Waits()

    async def swallows() -> None:
        await waits(swallows=True)
        variable.set("by the step")

    async def asks() -> str:
        with pytest.raises(asyncio.CancelledError):
            await conversation.take_step(swallows)
        return variable.get()

    async def within_limit() -> bool:
        try:
            async with asyncio.timeout(0):
                await asyncio.get_running_loop().create_future()
        except TimeoutError:
            return True
        return False

    step = asyncio.create_task(asks())
    await waits.began.wait()
    step.cancel()
    assert await step == "by the step"
    assert await conversation.take_step(within_limit) is True
    conversation.finish()


async def test_a_step_that_is_cancelled_twice_is_waited_for() -> None:
    """The second time changes nothing."""
    conversation = Conversation()
    may_end = asyncio.Event()
    waits = Waits()

    async def cleans_up() -> None:
        try:
            await waits()
        finally:
            await may_end.wait()

    step = asyncio.create_task(conversation.take_step(cleans_up))
    await waits.began.wait()
    for _ in range(3):
        step.cancel()
        await some_rounds()
        assert not step.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await step
    conversation.finish()


async def test_a_cancellation_at_the_very_end_of_a_step_does_not_end_the_conversation() -> None:
    """The step is over, and whoever asked for it has not yet been woken."""
    conversation = Conversation()
    await conversation.take_step(gives, 1)

    async def cancels() -> None:
        step.cancel()

    async def is_over() -> None:
        # When this one returns, its waiter is done, and the task that waits is not.
        asyncio.get_running_loop().call_soon(step.cancel)

    for function in (is_over, cancels):
        step = asyncio.create_task(conversation.take_step(function))
        await asyncio.wait([step])
        assert step.cancelled()
        assert await conversation.take_step(gives, "next") == "next"
    conversation.finish()


async def test_an_error_of_a_step_that_was_cancelled_is_not_raised() -> None:
    """It was not the outcome that was waited for."""
    conversation = Conversation()
    waits = Waits()

    async def raises() -> None:
        try:
            await waits()
        finally:
            raise Refused("while it is cleaned up")

    step = asyncio.create_task(conversation.take_step(raises))
    await waits.began.wait()
    step.cancel()
    with pytest.raises(asyncio.CancelledError):
        await step
    conversation.finish()


async def test_a_coroutine_that_is_closed_in_the_midst_of_a_step_says_nothing() -> None:
    """The step goes on alone."""
    conversation = Conversation()
    waits = Waits()
    step = conversation.take_step(waits)
    step.send(None)
    await waits.began.wait()
    step.close()
    waits.may_end.set()
    await some_rounds()
    assert waits.steps == []
    conversation.finish()


# The end of the loop.


def test_a_loop_that_ends_between_two_steps_ends_the_conversation() -> None:
    """Without a word; whoever asks later is told."""

    async def begins() -> tuple[Conversation, Any]:
        conversation = Conversation()
        return conversation, await conversation.take_step(current_task)

    async def goes_on(conversation: Conversation) -> None:
        with pytest.raises(LoopStopped, match="closed before its end"):
            await conversation.take_step(gives, 1)

    conversation, task = asyncio.run(begins(), debug=True)
    assert task.done()
    asyncio.run(goes_on(conversation), debug=True)


def test_a_loop_that_ends_in_the_midst_of_a_step_cancels_it() -> None:
    """Before it is closed."""
    steps: list[Waits] = []
    asking: list[asyncio.Task[Any]] = []

    async def begins() -> None:
        waits = Waits()
        steps.append(waits)
        asking.append(asyncio.create_task(asks(Conversation(), waits)))
        await waits.began.wait()

    async def asks(conversation: Conversation, waits: Waits) -> None:
        try:
            await conversation.take_step(waits)
        finally:
            conversation.finish()

    asyncio.run(begins(), debug=True)
    assert steps[0].steps == ["cancelled"]
    assert asking[0].cancelled()


async def test_a_task_that_is_cancelled_before_its_first_step_tells_whoever_asked() -> None:
    """Nothing is left to wait for."""
    conversation = Conversation()
    step = asyncio.create_task(conversation.take_step(gives, 1))
    before = asyncio.all_tasks()
    await asyncio.sleep(0)
    (task,) = asyncio.all_tasks() - before
    task.cancel()
    with pytest.raises(LoopStopped, match="before the step had begun"):
        await step
    with pytest.raises(LoopStopped, match="closed before its end"):
        await conversation.take_step(gives, 1)


async def test_steps_in_a_context_that_knows_nothing() -> None:
    """They begin with that."""
    conversation = Conversation()
    variable.set("the caller's")

    async def tells() -> str:
        return variable.get()

    task = asyncio.get_running_loop().create_task(conversation.take_step(tells), context=Context())
    assert await task == "nothing"
    assert await conversation.take_step(tells) == "the caller's"
    conversation.finish()
