"""`Local`: attributes that follow the flow of the code, through threads and tasks."""

from asyncio import _get_running_loop
from contextvars import ContextVar
from threading import local
from typing import Any, final

from asgiadapt._threads.context import Owned, OwnedForGood, use

_NO_VALUES: dict[str, Any] = {}


class _Values:
    """Attributes in a context variable, as copies: a task that changes them changes its own only."""

    __slots__ = ("_kind", "_variable")

    def __init__(self, kind: type[Owned]) -> None:
        self._kind = kind
        self._variable: ContextVar[Owned | None] = ContextVar("asgiadapt.Local", default=None)

    def all(self) -> dict[str, Any]:
        """Not to be changed."""
        owned = self._variable.get()
        return owned.values if owned is not None and owned.is_mine() else _NO_VALUES

    def replace(self, values: dict[str, Any]) -> None:
        use.of_locals = True
        self._variable.set(self._kind(values))


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

    __slots__ = ("_asgiadapt_threads", "_asgiadapt_values")

    def __init__(self, thread_critical: bool = False) -> None:
        set_slot = object.__setattr__
        set_slot(self, "_asgiadapt_values", _Values(OwnedForGood if thread_critical else Owned))
        set_slot(self, "_asgiadapt_threads", _OfEachThread() if thread_critical else None)

    def __init_subclass__(cls) -> None:
        raise TypeError("asgiadapt.Local cannot be subclassed; keep one as an attribute instead.")

    def __getattr__(self, key: str) -> Any:
        try:
            if (threads := self._asgiadapt_threads) is not None and _get_running_loop() is None:
                return threads.values[key]
            return self._asgiadapt_values.all()[key]
        except KeyError:
            raise AttributeError(f"{self!r} object has no attribute {key!r}") from None

    def __setattr__(self, key: str, value: Any) -> None:
        if key in Local.__slots__:
            raise AttributeError(f"Cannot set attribute {key!r} on Local")
        if (threads := self._asgiadapt_threads) is not None and _get_running_loop() is None:
            threads.values[key] = value
        else:
            self._asgiadapt_values.replace({**self._asgiadapt_values.all(), key: value})

    def __delattr__(self, key: str) -> None:
        on_thread = (threads := self._asgiadapt_threads) is not None and _get_running_loop() is None
        values = threads.values if on_thread else self._asgiadapt_values.all().copy()
        if key not in values:
            raise AttributeError(f"{self!r} object has no attribute {key!r}")
        del values[key]
        if not on_thread:
            self._asgiadapt_values.replace(values)
