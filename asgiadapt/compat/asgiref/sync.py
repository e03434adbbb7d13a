"""``asgiref.sync``: the two bridges as classes, which can be derived from, and as functions that make them.

Where the bridges of `asgiadapt` do more than asgiref's, the narrower meaning holds here: generator functions
and context managers are called like any function, and what they give is given on. And where they decide
otherwise, on cancellation and on the threads of calls that are not sensitive, asgiref's meaning holds.
"""

import asyncio
import functools
import inspect
import sys
import warnings
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Executor
from contextvars import Context
from typing import Any, Final, Generic, ParamSpec, TypeVar, cast, overload

import asgiadapt
from asgiadapt import (
    AsyncSingleThreadContext,
    Local,
    iscoroutinefunction,
    markcoroutinefunction,
)
from asgiadapt._async_to_sync import Options as AsyncOptions
from asgiadapt._async_to_sync import called
from asgiadapt._sync_to_async import Options, awaited
from asgiadapt.compat.asgiref.current_thread_executor import CurrentThreadExecutor

__all__ = [
    "AsyncSingleThreadContext",
    "AsyncToSync",
    "CurrentThreadExecutor",
    "Local",
    "SyncToAsync",
    "ThreadSensitiveContext",
    "async_to_sync",
    "iscoroutinefunction",
    "markcoroutinefunction",
    "sync_to_async",
]

P = ParamSpec("P")
R = TypeVar("R")


def _is_async(function: Any) -> bool:
    call = getattr(function, "__call__", None)  # noqa: B004  of the instance, which may have its own
    return iscoroutinefunction(function) or iscoroutinefunction(call)


async def _await(awaitable: Awaitable[R]) -> R:
    return await awaitable


class AsyncToSync(Generic[P, R]):
    """An async function that is called: `asgiadapt.async_to_sync`."""

    def __init__(
        self,
        awaitable: Callable[P, Coroutine[Any, Any, R]] | Callable[P, Awaitable[R]],
        force_new_loop: bool = False,
    ) -> None:
        self.awaitable = awaitable
        self.force_new_loop = force_new_loop
        if inspect.ismethod(awaitable) or inspect.isbuiltin(awaitable):
            self.__self__: Any = awaitable.__self__
        self._is_async = _is_async(awaitable)
        if not self._is_async:
            warnings.warn("async_to_sync was passed a non-async-marked callable", stacklevel=2)
        # asgiref calls on this thread what may give any awaitable, and only awaits on the loop.
        function: Callable[..., Any] = awaitable if self._is_async else _await
        self._call = called(AsyncOptions(force_new_loop, None), function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        __traceback_hide__ = __tracebackhide__ = True
        if self._is_async:
            return cast(R, self._call(*args, **kwargs))
        return cast(R, self._call(self.awaitable(*args, **kwargs)))

    def __get__(self, parent: Any, objtype: Any) -> Callable[..., R]:
        return functools.update_wrapper(functools.partial(self.__call__, parent), self.awaitable)


class ThreadSensitiveContext(asgiadapt.ThreadSensitiveContext):
    """`asgiadapt.ThreadSensitiveContext`; its end waits for calls whose callers have left."""

    _last: Any = None

    def _submit(self, call: Any) -> Any:
        self._last = call
        return super()._submit(call)

    async def __aexit__(self, kind: Any, error: Any, traceback: Any) -> None:
        try:
            if self._executor is None and self._last is not None and not self._last.over:
                await sync_to_async(_nothing)()  # behind all others, on their thread
        finally:
            self._last = None
            await super().__aexit__(kind, error, traceback)


class _Options(Options):
    """Where a call of asgiref's differs from one of `asgiadapt.sync_to_async`."""

    __slots__ = ("_submits",)

    def __init__(self, sensitive: bool, executor: Any, context: Context | None) -> None:
        if sensitive and executor is not None:
            raise TypeError("executor must not be set when thread_sensitive is True")
        super().__init__(sensitive, None, context, abandon=False, hook=None)
        self._submits = executor

    def submit(self, call: Any) -> Any:
        """An executor is anything with a ``submit``; without one it is the default of the loop."""
        loop = getattr(call.loop, "loop", None)
        if self._sensitive or loop is None:
            return super().submit(call)
        if self._submits is not None:
            call.submit_to(self._submits)
        else:
            loop.run_in_executor(None, call.run)
        return None

    async def leave(self, call: Any, place: Any, *, certain: bool) -> bool:
        """What the function waits for is cancelled; then the caller gets its outcome, whatever that is.

        A function that waits for nothing goes on alone, and the calls after it wait for it.
        """
        if call.withdraw():
            return False
        if not call.waits_inside():
            call.cancelled = True
            return False
        call.cancel_inside()
        await call.loop.outlast(call)
        return True


def _nothing() -> None:
    """What is called to come after others."""


class SyncToAsync(Generic[P, R]):
    """A plain function that is awaited: `asgiadapt.sync_to_async`.

    A class derived from it may have a `thread_handler`, which is called on the thread around each call.
    """

    def __init__(
        self,
        func: Callable[P, R],
        thread_sensitive: bool = True,
        executor: Executor | None = None,
        context: Context | None = None,
    ) -> None:
        function: Any = func
        if not callable(function) or _is_async(function):
            raise TypeError("sync_to_async can only be applied to sync functions.")
        functools.update_wrapper(self, func)
        self.func = func
        self.context = context
        self._thread_sensitive = thread_sensitive
        self._executor = executor
        if hasattr(function, "__self__"):
            self.__self__: Any = getattr(function, "__self__")  # noqa: B009  unknown to checkers
        markcoroutinefunction(self)
        # Derived classes have their own; tools that watch programs put one into the class itself.
        handled = type(self).thread_handler is not _THREAD_HANDLER
        # Not bound to the object, which would then be held by what it holds.
        on_thread: Callable[..., R] = SyncToAsync._call_handled if handled else func
        self._call = awaited(_Options(thread_sensitive, executor, context), on_thread)
        self._handled = handled

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        __traceback_hide__ = __tracebackhide__ = True
        if self._handled:
            child = functools.partial(self.func, *args, **kwargs)
            return await self._call(self, asyncio.get_running_loop(), child)
        return await self._call(*args, **kwargs)

    def __get__(self, parent: Any, objtype: Any) -> Callable[..., Coroutine[Any, Any, R]]:
        return functools.update_wrapper(functools.partial(self.__call__, parent), self.func)

    def _call_handled(self, loop: Any, child: Callable[[], R]) -> R:
        __traceback_hide__ = __tracebackhide__ = True
        return cast(R, self.thread_handler(loop, sys.exc_info(), [], _call_child, child))

    def thread_handler(
        self, loop: Any, exc_info: Any, task_context: Any, func: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Call *func* on the thread. For those who do something before and after it."""
        __traceback_hide__ = __tracebackhide__ = True
        return func(*args, **kwargs)


_THREAD_HANDLER: Final = SyncToAsync.thread_handler


def _call_child(child: Callable[[], R]) -> R:
    __traceback_hide__ = __tracebackhide__ = True
    return child()


@overload
def async_to_sync(
    *, force_new_loop: bool = False
) -> Callable[[Callable[P, Coroutine[Any, Any, R]] | Callable[P, Awaitable[R]]], Callable[P, R]]: ...
@overload
def async_to_sync(
    awaitable: Callable[P, Coroutine[Any, Any, R]] | Callable[P, Awaitable[R]],
    *,
    force_new_loop: bool = False,
) -> Callable[P, R]: ...


def async_to_sync(awaitable: Any = None, *, force_new_loop: bool = False) -> Any:
    """An `AsyncToSync`; as a decorator with options or without."""
    if awaitable is None:
        return lambda function: AsyncToSync(function, force_new_loop=force_new_loop)
    return AsyncToSync(awaitable, force_new_loop=force_new_loop)


@overload
def sync_to_async(
    *, thread_sensitive: bool = True, executor: Executor | None = None, context: Context | None = None
) -> Callable[[Callable[P, R]], Callable[P, Coroutine[Any, Any, R]]]: ...
@overload
def sync_to_async(
    func: Callable[P, R],
    *,
    thread_sensitive: bool = True,
    executor: Executor | None = None,
    context: Context | None = None,
) -> Callable[P, Coroutine[Any, Any, R]]: ...


def sync_to_async(
    func: Any = None,
    *,
    thread_sensitive: bool = True,
    executor: Executor | None = None,
    context: Context | None = None,
) -> Any:
    """A `SyncToAsync`; as a decorator with options or without."""
    make = functools.partial(
        SyncToAsync, thread_sensitive=thread_sensitive, executor=executor, context=context
    )
    return make if func is None else make(func)
