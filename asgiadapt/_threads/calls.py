"""A call of a plain function, on the way to another thread and back to the loop that awaits it.

Guarantees
    A call runs once or not at all: whoever takes its first token runs it, or withdraws it.
    It ends once: whoever takes its second token has it, the thread that ran it, or the task that leaves it.
    What it was given is let go of as soon as it has run, and its outcome as soon as that is taken.

`here` says, on each thread, for which loop it works at the moment: `async_to_sync` goes back there.
"""

import logging
import os
import sys
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future
from contextlib import AbstractContextManager
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Final, Protocol

from asgiadapt._errors import PoolClosed
from asgiadapt._threads.context import run_moved, use
from asgiadapt._threads.loops import Loop
from asgiadapt._threads.primitives import local
from asgiadapt._threads.workers import WorkerPool

Hook = Callable[[], AbstractContextManager[Any]]
_log = logging.getLogger("asgiadapt")


class Cancellable(Protocol):
    def cancel(self) -> None:
        """Any thread."""


class Origin:
    """Async code that has called sync code, and awaits it."""

    __slots__ = ("_cancellation", "_inner", "cancelled", "loop", "pool")

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.cancelled = False
        self.pool: WorkerPool | None = None  # whose thread it has
        self._inner: Cancellable | None = None  # what the sync code itself waits for
        self._cancellation: list[bool] = _NO_TOKEN

    def begin_to_wait(self, inner: Cancellable) -> bool:
        """The sync code waits for *inner*; returns whether that is cancelled already. On its thread."""
        self._inner = inner
        waiting_origins.add(self)
        if self.pool is not None:
            self.pool.lend_thread()
        return self._cancellation is not _NO_TOKEN and _taken(self._cancellation)

    def end_to_wait(self) -> None:
        waiting_origins.discard(self)
        self._inner = None
        if self.pool is not None:
            self.pool.take_thread_back()

    def waits_inside(self) -> bool:
        """Whether the sync code waits for async code."""
        return self._inner is not None

    def task_inside(self) -> Any:
        """The task of what the sync code waits for, or none."""
        return getattr(self._inner, "task", None)

    def cancel_inside(self) -> None:
        """Cancel what the sync code waits for, or what it will wait for next. On the loop."""
        self.cancelled = True
        self._cancellation = [True]
        if (inner := self._inner) is not None and _taken(self._cancellation):
            inner.cancel()


_NO_TOKEN: Final[list[bool]] = []
# Those whose sync code waits for async code: a task may wait for the one through the other.
waiting_origins: Final[set[Origin]] = set()


class Interruptible(Protocol):
    """What a thread waits for."""

    def interrupt(self) -> bool:
        """Take note of Ctrl-C; false to have KeyboardInterrupt raised."""
        ...


class Wakeable(Protocol):
    def wake(self) -> None: ...


class Waiting(Protocol):
    """Where calls wait for a thread."""

    # While that thread waits for something else, what to wake when calls come.
    inner: Wakeable | None

    def has_calls(self) -> bool: ...
    def withdraw(self, chosen: Callable[[Any], bool]) -> list[Any]: ...


class _Here(local):
    origin: Origin | None = None
    # Where calls wait that only this thread runs.
    places: tuple[Waiting, ...] = ()
    # What is to end before KeyboardInterrupt is raised. While the thread runs sync code, nothing is.
    waits_for: Interruptible | None = None


here: Final = _Here()


class Call(Origin):
    __slots__ = (
        "_args",
        "_begin",
        "_context",
        "_end",
        "_function",
        "_hook",
        "_kwargs",
        "_surrounding",
        "error",
        "over",
        "result",
        "waiter",
    )

    def __init__(
        self,
        loop: Loop,
        context: Context,
        function: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        surrounding: BaseException | None = None,
        hook: Hook | None = None,
    ) -> None:
        super().__init__(loop)
        self.over = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.waiter = loop.waiter()
        self._function: Callable[..., Any] = function
        self._args = args
        self._kwargs = kwargs or _NO_KWARGS
        self._context = context
        self._surrounding = (
            surrounding  # what the caller is handling; the function finds it in sys.exc_info()
        )
        self._hook = hook
        self._begin = [True]
        self._end = [True]

    def run(self) -> bool:
        if not _taken(self._begin):
            return True
        try:
            self.result = self()
        except BaseException as error:
            self.error = without_our_frames(error)
        if _taken(self._end):
            self.loop.post(self._resolve_on_loop)
            return True
        self._report_loss()
        return False

    def __call__(self) -> Any:
        """Do it, here and now."""
        function, args, kwargs, context = self._function, self._args, self._kwargs, self._context
        hook, surrounding = self._hook, self._surrounding
        self._let_go()
        if hook is not None or surrounding is not None or use.of_locals:
            function, args, kwargs = partial(function, *args, **kwargs), (), _NO_KWARGS
            if surrounding is not None:
                function = partial(run_while_handling, surrounding, function)
            if hook is not None:
                function = partial(_run_within, hook, function)
            if use.of_locals:
                function = partial(run_moved, context, function)
        origin, waits_for = here.origin, here.waits_for
        try:
            here.origin, here.waits_for = self, None
            return context.run(function, *args, **kwargs)
        finally:
            here.origin, here.waits_for = origin, waits_for

    def __reduce__(self) -> Any:
        # In another process: the plain call, and nothing of ours.
        return partial(_by_name(self._function), *self._args, **self._kwargs).__reduce__()

    def drop(self) -> None:
        self.error = PoolClosed("the worker pool was closed before the call began.")
        self._let_go()
        self.loop.post(self._resolve_on_loop)

    def submit_to(self, executor: Executor) -> None:
        """Have it run by *executor*, in this process or another."""
        future = executor.submit(self)
        self._begin = _FutureToken(future)
        future.add_done_callback(self._take_from)

    def _take_from(self, future: "Future[Any]") -> None:
        if future.cancelled():
            # By the executor; nobody asks for the outcome where it was by us.
            self.error = CancelledError("the executor has dropped the call before it began")
        else:
            error = future.exception()
            if error is None:
                self.result = future.result()
            else:
                self.error = without_our_frames(error)
            self._let_go()
        self._begin = _NO_TOKEN  # which knows the future, which knows this method
        del future
        if _taken(self._end):
            self.loop.post(self._resolve_on_loop)
        else:
            self._report_loss()

    def _resolve_on_loop(self) -> None:
        self.over = True
        if not self.waiter.done():
            self.waiter.set_result(None)

    def take(self) -> Any:
        """The outcome, once."""
        error, result = self.error, self.result
        self.error = self.result = None
        if error is None:
            return result
        __traceback_hide__ = __tracebackhide__ = True
        try:
            raise error
        finally:
            del error, self  # the traceback holds this frame

    async def leave(self, *, abandon: bool, certain: bool = False) -> bool:
        """The task that awaits the call was cancelled. Returns whether the thread goes on without it.

        A call that has not begun never will, unless it is *certain*. Otherwise what it waits for itself is
        cancelled; then the task waits for the end all the same, or abandons the call.
        """
        if not certain and self.withdraw():
            return False
        self.cancel_inside()
        if abandon:
            return self.abandon()
        await self.loop.outlast(self)
        return False

    def abandon(self) -> bool:
        """Wait for it no longer; false where it has ended already."""
        self.cancelled = True
        return not self.withdraw() and _taken(self._end)

    def withdraw(self) -> bool:
        """Let it never begin; false where it has begun."""
        if not _taken(self._begin):
            return False
        self._let_go()
        return True

    def lose(self, cancellation: BaseException) -> None:
        """*cancellation* is raised instead of the outcome; an error stays with it."""
        error, self.error, self.result = self.error, None, None
        if error is not None and not isinstance(error, type(cancellation)):
            cancellation.__context__ = error

    def _let_go(self) -> None:
        self._function = _nothing
        self._args = ()
        self._kwargs = _NO_KWARGS
        self._surrounding = self._hook = None

    def _report_loss(self) -> None:
        error, self.error, self.result = self.error, None, None
        if isinstance(error, Exception):
            _log.error("a call failed after its caller had abandoned it", exc_info=error)


class _FutureToken(list[bool]):
    """The first token of a call that an executor runs: whoever cancels its future has taken it."""

    def __init__(self, future: "Future[Any]") -> None:
        super().__init__([True])
        self._future = future

    def pop(self, index: Any = -1) -> bool:
        if not self._future.cancel():
            raise IndexError
        return super().pop(index)


def _taken(token: list[bool]) -> bool:
    """Take *token*; false where somebody else has it."""
    try:
        token.pop()  # one step, for all threads
    except IndexError:
        return False
    return True


class _Unwrapped:
    """Becomes what a decorator has wrapped, where it is unpickled."""

    def __init__(self, wrapper: Any) -> None:
        self._wrapper = wrapper

    def __call__(self) -> None:
        """A partial takes nothing else."""

    def __reduce__(self) -> Any:
        return getattr, (self._wrapper, "__wrapped__")


def _by_name(function: Callable[..., Any]) -> Callable[..., Any]:
    """*function*, so that it can be pickled although its name stands for what decorates it."""
    found: Any = sys.modules.get(getattr(function, "__module__", None) or "")
    for name in getattr(function, "__qualname__", "").split("."):
        found = getattr(found, name, None)
    if found is not function and getattr(found, "__wrapped__", None) is function:
        return _Unwrapped(found)
    return function


def _nothing() -> None:
    """In the place of a function that has been called."""


_NO_KWARGS: Final[dict[str, Any]] = {}


def _run_within(hook: Hook, function: Callable[[], Any]) -> Any:
    with hook():
        return function()


def run_while_handling(surrounding: BaseException, function: Callable[[], Any]) -> Any:
    """``function()``, which finds *surrounding* in ``sys.exc_info()``."""
    traceback, cause = surrounding.__traceback__, surrounding.__context__
    try:
        raise surrounding
    except BaseException:
        surrounding.__traceback__, surrounding.__context__ = traceback, cause
        try:
            return function()
        finally:
            del surrounding, traceback, cause


def without_our_frames(error: BaseException) -> BaseException:
    """*error*, its traceback without the part by which we have called what raised it.

    Nor does the traceback hold what that part has in its variables.
    """
    traceback = error.__traceback__
    while traceback is not None and _is_ours(traceback.tb_frame.f_globals.get("__name__")):
        traceback = traceback.tb_next
    return error.with_traceback(traceback)


def _is_ours(module: object) -> bool:
    return isinstance(module, str) and module.startswith(("asgiadapt._", "concurrent.futures."))


async def call_on_worker(pool: WorkerPool, loop: Loop, function: Callable[[], Any]) -> Any:
    """What *function* returns or raises, called on a thread of *pool*. A cancelled caller leaves it there."""
    call = Call(loop, copy_context(), function)
    pool.submit(call)
    try:
        await call.waiter
    except BaseException:
        call.abandon()
        raise
    return call.take()


def _after_fork_in_child() -> None:
    # Whoever called the thread that forked has stayed with the parent.
    here.origin = here.waits_for = None
    here.places = ()


os.register_at_fork(after_in_child=_after_fork_in_child)
