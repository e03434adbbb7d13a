"""``asgiref.timeout``, which asgiref deprecates itself: `asyncio.timeout` does the same."""

import asyncio
import warnings
from types import TracebackType
from typing import Any, Self

__all__ = ["timeout"]


class timeout:  # noqa: N801  as asgiref has it
    """A limit of *timeout* seconds for a block, ``with`` or ``async with``; None is no limit."""

    def __init__(self, timeout: float | None, *, loop: asyncio.AbstractEventLoop | None = None) -> None:
        warnings.warn(
            "asgiref.timeout.timeout is deprecated. Use asyncio.timeout() instead.",
            DeprecationWarning,
            stacklevel=2,
        )
        if loop is not None:
            warnings.warn("The loop argument to timeout() is deprecated.", DeprecationWarning, stacklevel=2)
        self._timeout = timeout
        self._loop = loop or asyncio.get_running_loop()
        self._task: asyncio.Task[Any] | None = None
        self._handle: asyncio.Handle | None = None
        self._ends: float | None = None
        self._expired = False

    def __enter__(self) -> Self:
        if self._timeout is None:
            return self
        self._task = asyncio.current_task(self._loop)
        if self._task is None:
            raise RuntimeError("Timeout context manager should be used inside a task")
        if self._timeout <= 0:
            self._handle = self._loop.call_soon(self._expire)
        else:
            self._ends = self._loop.time() + self._timeout
            self._handle = self._loop.call_at(self._ends, self._expire)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        if self._handle is not None:
            self._handle.cancel()
        # Where somebody else has cancelled the task too, that goes on.
        if self._expired and task is not None and task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise TimeoutError

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)

    @property
    def expired(self) -> bool:
        """Whether the time was over before the block was."""
        return self._expired

    @property
    def remaining(self) -> float | None:
        """The seconds that are left; None without a limit."""
        return None if self._ends is None else max(self._ends - self._loop.time(), 0.0)

    def _expire(self) -> None:
        if self._task is not None:
            self._expired = True
            self._task.cancel()
