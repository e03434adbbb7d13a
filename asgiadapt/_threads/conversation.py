"""A task on a loop that takes one step after another, each for a thread that waits for it.

Async generators and context managers need it: time limits and task groups in them have to be entered and left
by one and the same task.

Guarantees
    Each step sees the context variables of the thread that asks for it, and that thread what the step sets.
    A step that is cancelled is cancelled inside, and waited for.
    A cancellation between two steps (a time limit, a task group that fails) is thrown into the next one.
"""

from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from typing import Any

from asgiadapt._errors import LoopStopped
from asgiadapt._threads.calls import without_our_frames
from asgiadapt._threads.context import bring_back
from asgiadapt._threads.loops import Spawned, Waiter, running_loop

Instead = Callable[[BaseException], Awaitable[Any]]


class _Step:
    def __init__(
        self,
        function: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        instead: Instead | None,
        waiter: Waiter,
    ) -> None:
        self.function = function
        self.args = args
        self.instead = instead
        self.context = copy_context()
        self.waiter = waiter
        self.over = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.before = self.after = Context()


class Conversation:
    def __init__(self) -> None:
        self._task: Spawned | None = None
        self._idle: Waiter | None = None
        self._step: _Step | None = None
        self._ended = False

    async def take_step(
        self, function: Callable[..., Awaitable[Any]], *args: Any, instead: Instead | None = None
    ) -> Any:
        """``await function(*args)`` in the task of the conversation. On its loop.

        Where that was cancelled since the step before: ``await instead(cancellation)``.
        """
        loop = running_loop()
        if self._ended:
            raise LoopStopped(
                "the event loop of this generator or context manager was closed before its end."
            )
        step = self._step = _Step(function, args, instead, loop.waiter())
        if self._task is None:
            self._task = loop.spawn(self._work, copy_context(), self._end)
        elif self._idle is not None and not self._idle.done():
            self._idle.set_result(None)
        try:
            await step.waiter
        except GeneratorExit:
            raise
        except BaseException:
            # A loop that ends has cancelled both, and the step may be cleaning up by now.
            if not step.over and not (self._task.cancelling() and loop.is_ending()):
                self._task.cancel()
            await loop.outlast(step)
            raise
        finally:
            if step.over:
                bring_back(step.before, step.after)
        error, step.error = step.error, None
        if error is None:
            return step.result
        __traceback_hide__ = __tracebackhide__ = True
        try:
            raise error
        finally:
            del error, step  # the traceback holds this frame

    def finish(self) -> None:
        """There are no more steps. On the loop."""
        self._ended = True
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def _work(self) -> None:
        loop = running_loop()
        cancellation: BaseException | None = None
        while True:
            step, self._step = self._step, None
            if step is not None:
                bring_back(copy_context(), step.context, places=True)
                step.before = copy_context()
                try:
                    if cancellation is not None and step.instead is not None:
                        step.result = await step.instead(cancellation)
                    else:
                        step.result = await step.function(*step.args)
                except BaseException as error:
                    step.error = without_our_frames(error)
                    loop.forget_cancellation()
                step.after = copy_context()
                step.over = True
                if not step.waiter.done():
                    step.waiter.set_result(None)
                step = cancellation = None
            if self._ended:
                return
            if self._step is None:
                self._idle = loop.waiter()
                try:
                    await self._idle
                except GeneratorExit:
                    raise
                except BaseException as error:
                    if loop.is_ending():
                        raise
                    cancellation = error

    def _end(self, task: Any) -> None:
        self._ended = True
        self._task = self._idle = None  # they know this object
        step, self._step = self._step, None
        if step is not None:
            step.error = LoopStopped("the event loop was closed before the step had begun.")
            step.over = True
            if not step.waiter.done():
                step.waiter.set_result(None)
