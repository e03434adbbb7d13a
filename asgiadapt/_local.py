"""`Local`: attributes that follow the flow of the code, through threads and tasks."""

from asyncio import _get_running_loop
from contextvars import ContextVar
from threading import local
from typing import Any, final

from asgiadapt._threads.context import Owned, OwnedForGood, use

_NO_VALUES: dict[str, Any] = {}


class _OfEachThread(local):
    """What a thread-critical `Local` keeps for code outside of an event loop."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}


@final
class Local:
    """A namespace whose attributes belong to the flow of the code, as those of `threading.local` to a thread.

    In async code, what is set is seen by all that is awaited from there, by tasks started there, and by
    sync code called through `sync_to_async`; what sync code sets in such a call is seen by its caller
    afterwards. A task that sets or deletes an attribute does so for itself. In a thread without a loop,
    attributes belong to the thread, and to the async code that it calls through `async_to_sync`. Other
    threads do not see them, not even with a copy of the context.

    With *thread_critical* nothing crosses between threads: in a thread without a loop it is a
    `threading.local`, and on a loop's thread attributes belong to the task. Use it for what must not leave
    its thread, such as database connections.

    An attribute that is not set raises AttributeError. The class cannot be subclassed. All of it may be used
    from any thread.
    """

    # A context variable, and for a thread-critical one what threads without a loop keep.
    __slots__ = ("_asgiadapt_threads", "_asgiadapt_variable")

    def __init__(self, thread_critical: bool = False) -> None:
        variable: ContextVar[Owned | None] = ContextVar("asgiadapt.Local", default=None)
        object.__setattr__(self, "_asgiadapt_variable", variable)
        object.__setattr__(self, "_asgiadapt_threads", _OfEachThread() if thread_critical else None)

    def __init_subclass__(cls) -> None:
        raise TypeError("asgiadapt.Local cannot be subclassed; keep one as an attribute instead.")

    def __getattr__(self, key: str) -> Any:
        try:
            return _values_of(self)[key]
        except KeyError:
            raise AttributeError(f"{self!r} object has no attribute {key!r}") from None

    def __setattr__(self, key: str, value: Any) -> None:
        if key in Local.__slots__:
            raise AttributeError(f"Cannot set attribute {key!r} on Local")
        _replace(self, {**_values_of(self), key: value})

    def __delattr__(self, key: str) -> None:
        values = _values_of(self).copy()
        if key not in values:
            raise AttributeError(f"{self!r} object has no attribute {key!r}")
        del values[key]
        _replace(self, values)


# Not methods, since their names would stand in the way of attributes. Values are replaced and never changed,
# so that a task changes its own only.


def _values_of(namespace: Local) -> dict[str, Any]:
    threads = namespace._asgiadapt_threads
    if threads is not None and _get_running_loop() is None:
        return threads.values  # type: ignore[no-any-return]
    owned = namespace._asgiadapt_variable.get()
    return _NO_VALUES if owned is None or not owned.is_mine() else owned.values


def _replace(namespace: Local, values: dict[str, Any]) -> None:
    threads = namespace._asgiadapt_threads
    if threads is None:
        use.of_locals = True
        namespace._asgiadapt_variable.set(Owned(values))
    elif _get_running_loop() is None:
        threads.values = values
    else:
        namespace._asgiadapt_variable.set(OwnedForGood(values))
