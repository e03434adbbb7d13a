"""Context variables, carried across to another thread or task, and brought back.

A call runs in a copy of its caller's context. What it has changed there is set in the caller's context
afterwards; what it has left alone is not, so that nothing is undone that others have set meanwhile.

The values of a `Local` are a context variable's too, with one difference: they have an owner, the thread
and the event loop that they were set for. Who comes by a copy of the context in some other way, on another
thread, does not see them. When we carry a context across, they change hands; those of a thread-critical
`Local` do not.
"""

from asyncio import _get_running_loop
from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import Any, Final, TypeVar

from asgiadapt._threads.primitives import get_ident

T = TypeVar("T")


class Owned:
    """The values of a `Local`, and who may see them. Never changed, only replaced."""

    __slots__ = ("_loop", "_thread", "values")

    def __init__(self, values: dict[str, Any]) -> None:
        self.values: Final = values
        self._thread = get_ident()
        # A loop that `async_to_sync` has started may go on on another thread.
        self._loop = _get_running_loop()

    def is_mine(self) -> bool:
        """Whether this thread owns them, or the loop that it runs."""
        if self._thread == get_ident():
            return True
        return self._loop is not None and self._loop is _get_running_loop()


class OwnedForGood(Owned):
    """Those of a thread-critical `Local`."""

    __slots__ = ()


class _Use:
    """Whether there is a `Local` with values at all: without one, no context has to be searched for them."""

    __slots__ = ("of_locals",)

    def __init__(self) -> None:
        self.of_locals = False


use: Final = _Use()
# Variables that say where code runs. They are carried across, and never brought back.
_PLACES: Final[set[ContextVar[Any]]] = set()


def place_variable(name: str) -> "ContextVar[Any]":
    """A context variable that says where code runs."""
    variable: ContextVar[Any] = ContextVar(name, default=None)
    _PLACES.add(variable)
    return variable


def leave_places() -> None:
    """Let the running code, and what it calls, be nowhere in particular."""
    for variable in _PLACES:
        if variable.get() is not None:
            variable.set(None)


def move_in(context: Context) -> None:
    """Let the values of each `Local` belong to the running code. Inside *context*."""
    for variable, value in list(context.items()):
        if type(value) is Owned:
            variable.set(Owned(value.values))


def run_moved(context: Context, function: Callable[[], T]) -> T:
    """``function()`` inside *context*, which comes from elsewhere."""
    move_in(context)
    return function()


def bring_back(before: Context, after: Context, *, places: bool = False) -> None:
    """Set what was changed between *before* and *after*, in the current context; with *places* also those."""
    for variable, value in after.items():
        old = before.get(variable, _NOTHING)
        if old is value or (variable in _PLACES and not places):
            continue
        if isinstance(value, Owned):
            if type(value) is OwnedForGood or (isinstance(old, Owned) and old.values is value.values):
                continue  # they stay where they are, or have only changed hands
            value = Owned(value.values)
        variable.set(value)


_NOTHING: Final = object()
