"""A call of an async function, awaited on some loop while the thread that made it waits.

Who runs what
    The function is called and awaited on the loop, in a copy of the caller's context. The thread meanwhile
    runs the sync calls that are sent back to it.
    An interrupt of the thread (Ctrl-C, or what a signal handler raises) cancels the async side and is raised
    when that has ended. A second one is raised at once.
"""

import sys
from asyncio import CancelledError
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from time import monotonic
from typing import Any, Final

from asgiadapt._errors import LoopStopped
from asgiadapt._threads import interrupts
from asgiadapt._threads.calling_thread import CallingThread, nearest_waiting_thread, waiting_thread
from asgiadapt._threads.calls import Waiting, here, without_our_frames
from asgiadapt._threads.context import bring_back, move_in, use
from asgiadapt._threads.dependencies import awaited_by
from asgiadapt._threads.loops import Loop, Spawned, StandStill

# So long the thread waits before it asks whether calls that wait for it further out are needed; then
# twice as long each time.
_PATIENCE: Final = 0.02


class AsyncCall:
    __slots__ = (
        "_args",
        "_before",
        "_function",
        "_kwargs",
        "_look_at",
        "_loop",
        "_outer",
        "_patience",
        "_surrounding",
        "caller",
        "cancelled",
        "context",
        "error",
        "given_up",
        "interruption",
        "over",
        "result",
        "task",
    )

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._function: Callable[..., Any] = function
        self._args = args
        self._kwargs = kwargs
        self._surrounding = sys.exception()
        self.caller = CallingThread(nearest_waiting_thread())
        self.context = copy_context()
        self.context.run(waiting_thread.set, self.caller)
        self._before = self.context.copy()
        self._loop: Loop | None = None
        self._patience = _PATIENCE
        self._look_at: float | None = None
        self._outer: tuple[Waiting, ...] = ()  # where other calls wait for the thread that waits here
        self.task: Spawned | None = None  # which runs `run_on_loop`
        self.cancelled = self.given_up = False
        self.interruption: BaseException | None = None
        self.over = False
        self.result: Any = None
        # Until the function has an outcome: it may be cancelled before it is called.
        self.error: BaseException | None = CancelledError()

    # On the loop

    async def run_on_loop(self, at_end: Callable[[], None]) -> None:
        """Call and await the function, in a task of its own with the call's context; and then *at_end*.

        Nothing is raised.
        """
        function, args, kwargs, surrounding = self._function, self._args, self._kwargs, self._surrounding
        self._let_go()
        try:
            if use.of_locals:
                move_in(self.context)
            if surrounding is None:
                self.result = await function(*args, **kwargs)
            else:
                self.result = await _await_while_handling(surrounding, function, args, kwargs)
            self.error = None
        except BaseException as error:
            self.error = without_our_frames(error)
        at_end()

    def _start_on_loop(self) -> None:
        if self.given_up or self._loop is None:
            return
        if self.cancelled:
            self._end_on_loop()
            return
        try:
            self.task = self._loop.spawn(partial(self.run_on_loop, self._end_on_loop), self.context)
        except BaseException as error:  # by a task factory of the loop's
            self.error = error
            self._end_on_loop()

    # The thread lets go of the loop and the task when it goes on; it may have done so by now, or do so here.

    def cancel_on_loop(self) -> None:
        self.cancelled = True
        if (task := self.task) is not None:
            task.cancel()

    def _cancel_with_caller_on_loop(self) -> None:
        loop, task = self._loop, self.task
        # A loop that ends has cancelled both, and this task may be cleaning up by now.
        if task is None or not task.cancelling() or loop is None or not loop.is_ending():
            self.cancel_on_loop()

    def _take_over_on_loop(self) -> None:
        """Let the thread run calls that wait for it further out, where the function waits for them."""
        if self.over:
            return  # so the thread is there again
        awaited = awaited_by(self.task)
        for place in self._outer:
            for call in place.withdraw(lambda call: id(call.waiter) in awaited):
                self.caller.submit(call)

    def _end_on_loop(self) -> None:
        self.over = True
        self.caller.wake()

    # On any thread

    def cancel(self) -> None:
        """Cancel the async side soon, since whoever awaits this thread was cancelled."""
        if (loop := self._loop) is not None:
            loop.post(self._cancel_with_caller_on_loop)

    # On the thread that waits

    def run_elsewhere(self, loop: Loop) -> None:
        """Run on *loop*, which another thread runs, until the call is over."""

        def run() -> None:
            loop.post(self._start_on_loop)
            self.serve()

        self.run(loop, run)

    def run(self, loop: Loop, run: Callable[[], None]) -> None:
        """``run()``, after which the call is over."""
        self._loop = loop
        origin, places = here.origin, here.places
        self._outer = places
        inners = [place.inner for place in places]
        for place in places:
            place.inner = self.caller
        here.places = (*places, self.caller)
        begun = interrupts.begin(self)
        try:
            if origin is not None and origin.begin_to_wait(self):
                self.cancelled = True
            try:
                run()
            finally:
                if origin is not None:
                    origin.end_to_wait()
                self.caller.close()
                # For tasks of others that have this thread in their context.
                self.run_what_was_sent()
        finally:
            interrupts.end(begun)
            here.places = places
            for place, inner in zip(places, inners, strict=True):
                place.inner = inner
            self._let_go()
            self._loop = self.task = None
            bring_back(self._before, self.context)

    def serve(self) -> None:
        """Run what is sent to this thread until the call is over."""
        assert self._loop is not None
        stand_still = StandStill(self._loop)
        while not self.over:
            try:
                call = self.caller.next_call(self._look_outside(stand_still.look_seconds))
                if call is not None:
                    call.run()
                elif self.task is not None and self.task.done():
                    # Cancelled by others before it began, it has told nobody. (A callback of every task would
                    # cost every call an iteration of the loop.)
                    self.over = True
                elif self.caller.is_inherited() or stand_still.is_lasting():
                    # Unless it was over in this very moment.
                    self.given_up = not self.over
                    break
            except BaseException as error:
                # Neither the call nor a sync call raises here: it comes from a signal handler.
                if not self.interrupted_by(error):
                    self.given_up = True
                    raise
            finally:
                call = None
        if self.given_up:
            raise LoopStopped(
                "the event loop that runs the async function was closed or stopped, or has stayed behind in "
                "the parent process, before the function had ended; keep it running until then."
            )

    def _look_outside(self, longest: float) -> float:
        """See to calls that wait for this thread further out, now and then; for how long to wait."""
        if not any(place.has_calls() for place in self._outer):
            return longest
        now = monotonic()
        if self._look_at is None:
            self._look_at = now + self._patience
        elif now >= self._look_at:
            assert self._loop is not None
            self._loop.post(self._take_over_on_loop)
            self._patience = min(2 * self._patience, longest)
            self._look_at = now + self._patience
        return self._look_at - now

    def run_what_was_sent(self) -> None:
        while self.caller.has_calls():
            if (call := self.caller.next_call()) is not None:
                call.run()
            del call

    def interrupt(self) -> bool:
        return self.interrupted_by(KeyboardInterrupt())

    def interrupted_by(self, error: BaseException) -> bool:
        """Cancel the async side, and raise *error* after it; false where there is such an error already."""
        if self.interruption is not None:
            return False
        self.interruption = error
        if self._loop is not None:
            # In the midst of anything, where a signal has interrupted it.
            self._loop.post_from_signal(self.cancel_on_loop)
        return True

    def take(self) -> Any:
        """The outcome, once. Not called further down, so that a traceback shows none of it."""
        error, result, interruption = self.error, self.result, self.interruption
        self.error = self.result = self.interruption = None
        if interruption is not None:
            if error is not None and not isinstance(error, CancelledError):
                interruption.__context__ = error
            error = interruption
        if error is None:
            return result
        __traceback_hide__ = __tracebackhide__ = True
        try:
            raise error
        finally:
            del error, interruption, self  # the traceback holds this frame

    def _let_go(self) -> None:
        self._function = _nothing
        self._args = ()
        self._kwargs = {}
        self._surrounding = None


def _nothing() -> Any:
    """In the place of a function that has been called."""


async def _await_while_handling(
    surrounding: BaseException, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """``await function(*args, **kwargs)``, which finds *surrounding* in ``sys.exc_info()``."""
    traceback, cause = surrounding.__traceback__, surrounding.__context__
    try:
        raise surrounding
    except BaseException:
        surrounding.__traceback__, surrounding.__context__ = traceback, cause
        try:
            return await function(*args, **kwargs)
        finally:
            del surrounding, traceback, cause
