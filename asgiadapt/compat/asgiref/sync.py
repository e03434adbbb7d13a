"""``asgiref.sync``: the two bridges as classes, which can be derived from, and as functions that make them.

Where the bridges of `asgiadapt` do more than asgiref's, the narrower meaning holds here: generator functions
and context managers are called like any function, and what they give is given on.
"""

import asyncio
import functools
import inspect
import sys
import warnings
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Executor, Future
from contextvars import Context
from typing import Any, Final, Generic, ParamSpec, TypeVar, cast, overload

import asgiadapt
from asgiadapt import (
    AsyncSingleThreadContext,
    Local,
    ThreadSensitiveContext,
    iscoroutinefunction,
    markcoroutinefunction,
)
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
            self.__self__ = awaitable.__self__
        self._call: Callable[..., Any] | None = None
        if _is_async(awaitable):
            self._call = asgiadapt.async_to_sync(awaitable, force_new_loop=force_new_loop)
        else:
            warnings.warn("async_to_sync was passed a non-async-marked callable", stacklevel=2)
        self._wait = asgiadapt.async_to_sync(_await, force_new_loop=force_new_loop)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        __traceback_hide__ = __tracebackhide__ = True
        if self._call is not None:
            return cast(R, self._call(*args, **kwargs))
        # It may give any awaitable; asgiref calls it here, and only awaits on the loop.
        return self._wait(self.awaitable(*args, **kwargs))

    def __get__(self, parent: Any, objtype: Any) -> Callable[..., R]:
        return functools.update_wrapper(functools.partial(self.__call__, parent), self.awaitable)


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
            self.__self__ = getattr(function, "__self__")  # noqa: B009  unknown to checkers
        markcoroutinefunction(self)
        # Derived classes have their own; tools that watch programs put one into the class itself.
        handled = type(self).thread_handler is not _THREAD_HANDLER
        self._call: Callable[..., Any] = asgiadapt.sync_to_async(
            self._call_handled if handled else _called(func),
            thread_sensitive=thread_sensitive,
            executor=_as_executor(executor),
            context=context,
        )
        self._handled = handled

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        __traceback_hide__ = __tracebackhide__ = True
        if self._handled:
            child = functools.partial(self.func, *args, **kwargs)
            return cast(R, await self._call(asyncio.get_running_loop(), child))
        return cast(R, await self._call(*args, **kwargs))

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


class _Executor(Executor):
    """Of whatever has a ``submit``: asgiref asks for no more."""

    def __init__(self, executor: Any) -> None:
        self._executor = executor

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> "Future[R]":
        future: Future[R] = self._executor.submit(fn, *args, **kwargs)
        return future


def _as_executor(executor: Any) -> Executor | None:
    return executor if executor is None or isinstance(executor, Executor) else _Executor(executor)


def _called(func: Callable[P, R]) -> Callable[P, R]:
    # A plain function of whatever can be called: of a generator function too, that asgiadapt would iterate.
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        __traceback_hide__ = __tracebackhide__ = True
        return func(*args, **kwargs)

    return call


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
