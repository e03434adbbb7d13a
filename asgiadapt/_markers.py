"""Which callables are async, and what a wrapper takes over from what it wraps."""

import asyncio
import functools
import inspect
import sys
from collections.abc import Callable
from types import BuiltinMethodType, MethodType
from typing import Any, Final, TypeVar, final

F = TypeVar("F", bound=Callable[..., Any])


@final
class Nothing:
    """What no function gives. For type checkers: what derives from Any passes for it, nothing else does."""


Unknown = TypeVar("Unknown", bound=Nothing)

if sys.version_info >= (3, 12):
    iscoroutinefunction: Final = inspect.iscoroutinefunction
    markcoroutinefunction: Final = inspect.markcoroutinefunction
else:

    def iscoroutinefunction(func: Any, /) -> bool:
        """Whether *func* is an ``async def`` function, or marked as one with `markcoroutinefunction`."""
        return asyncio.iscoroutinefunction(func)

    def markcoroutinefunction(func: F, /) -> F:
        """Mark *func*, which gives an awaitable without being an ``async def`` function. Returns *func*."""
        marked: Any = getattr(func, "__func__", func)
        marked._is_coroutine = getattr(asyncio.coroutines, "_is_coroutine")  # noqa: B009  unknown to checkers
        return func


# By these attributes a function says that it is async; what wraps it is not.
_MARKS = ("_is_coroutine", "_is_coroutine_marker", "_is_coroutine_mark")


def is_async_callable(function: Any) -> bool:
    """Whether a call of *function* gives something to await, as far as can be told without a call."""
    while isinstance(function, functools.partial):
        function = function.func
    # Of the type, since a class may have instances that are async and not be so itself.
    call = getattr(type(function), "__call__", None)  # noqa: B004
    return any(map(iscoroutinefunction, (function, call))) or any(
        map(inspect.isasyncgenfunction, (function, call))
    )


def code_of(function: Any) -> Any:
    """The code that runs when *function* is called, or None."""
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(getattr(function, "__func__", function), "__code__", None)


def keep_metadata(wrapper: Any, function: Any) -> None:
    """Give *wrapper* the name, docs and attributes of *function*, and the object it is bound to."""
    functools.update_wrapper(wrapper, function)
    if isinstance(function, MethodType | BuiltinMethodType):
        wrapper.__self__ = function.__self__


def keep_metadata_but_marks(wrapper: Any, function: Any) -> None:
    """For a wrapper that is not async, of what is."""
    keep_metadata(wrapper, function)
    for mark in _MARKS:
        vars(wrapper).pop(mark, None)
