"""`ApplicationCommunicator`: an ASGI application of any protocol, one event and one message at a time."""

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any, Final, TypeAlias

# Loose, since applications annotate it in many ways.
_Application: TypeAlias = Callable[..., Any]


class ApplicationCommunicator:
    """Calls *application* with *scope* in a task, gives it events and takes its messages.

    The interface is that of ``asgiref.testing``. The call begins with the first use of a method, in an empty
    context. What the application raises is raised in the test, as soon as it is known.
    """

    def __init__(self, application: _Application, scope: Any) -> None:
        self.application: Final = application
        self.scope: Final = scope
        self.input_queue: Final[asyncio.Queue[Any]] = asyncio.Queue()
        self.output_queue: Final[asyncio.Queue[Any]] = asyncio.Queue()
        self._future: asyncio.Task[Any] | None = None

    @property
    def future(self) -> "asyncio.Task[Any]":
        """The task of the call, which begins with it."""
        if self._future is None:
            call = _call(self.application, self.scope, self.input_queue.get, self.output_queue.put)
            self._future = asyncio.create_task(call, context=contextvars.Context())
        return self._future

    async def wait(self, timeout: float | None = 1) -> None:
        """Wait for the end of the call; cancel it and raise TimeoutError where that takes too long."""
        try:
            async with asyncio.timeout(timeout):
                await asyncio.wait([self.future])
        finally:
            await self._cancel()
        if not self.future.cancelled():
            self.future.result()

    def stop(self, exceptions: bool = True) -> None:
        """Cancel the call, if it has begun. Raises what it has raised, with *exceptions*."""
        if self._future is None:
            return
        if not self._future.done():
            self._future.cancel()
        elif exceptions and not self._future.cancelled():
            self._future.result()

    def __del__(self) -> None:
        try:
            self.stop(exceptions=False)
        except RuntimeError:
            pass  # the loop has closed, and the task with it

    async def send_input(self, message: Any) -> None:
        """Give the application an event."""
        self._raise_error()
        await self.input_queue.put(message)

    async def receive_output(self, timeout: float | None = 1) -> Any:
        """The next message of the application.

        TimeoutError, and the call is cancelled, where none has come in time. One that has returned sends no
        more: then it is raised at once.
        """
        self._raise_error()
        taking = asyncio.ensure_future(self.output_queue.get())
        try:
            async with asyncio.timeout(timeout):
                await asyncio.wait([taking, self.future], return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            await self._cancel()
            raise TimeoutError(f"the application has sent nothing within {timeout} s.") from None
        finally:
            taking.cancel()  # without an effect where it is done
        if taking.done():
            return taking.result()
        self._raise_error()
        raise TimeoutError("the application has returned, and sends no more.")

    async def receive_nothing(self, timeout: float = 0.1, interval: float = 0.01) -> bool:
        """Whether the application sends nothing for *timeout* seconds; asks every *interval* seconds."""
        self._raise_error()
        deadline = asyncio.get_running_loop().time() + timeout
        # A queue tells only those who take from it.
        while self.output_queue.empty() and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(interval)
        return self.output_queue.empty()

    def _raise_error(self) -> None:
        if self.future.done():
            self.future.result()

    async def _cancel(self) -> None:
        if not self.future.done():
            self.future.cancel()
            await asyncio.wait([self.future])
            if not self.future.cancelled():
                self.future.result()  # what has gone wrong in its clean-up comes first


async def _call(application: _Application, scope: Any, receive: Any, send: Any) -> Any:
    # Without the communicator, which ends the call when nobody refers to it any more.
    return await application(scope, receive, send)
