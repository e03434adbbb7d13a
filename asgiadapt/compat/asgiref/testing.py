"""``asgiref.testing``: an application run by a test, message by message."""

import asyncio
import contextvars
import time
from typing import Any

from asgiadapt.compat.asgiref.compatibility import guarantee_single_callable

__all__ = ["ApplicationCommunicator", "guarantee_single_callable"]


class ApplicationCommunicator:
    """Runs *application* with *scope*, from the first message on, in an empty context."""

    def __init__(self, application: Any, scope: Any) -> None:
        self._future: asyncio.Task[Any] | None = None
        self.application = guarantee_single_callable(application)
        self.scope = scope
        self.input_queue: asyncio.Queue[Any] = asyncio.Queue()
        self.output_queue: asyncio.Queue[Any] = asyncio.Queue()

    @property
    def future(self) -> "asyncio.Task[Any]":
        """The task of the application, started where it was not."""
        if self._future is None:
            running = self.application(self.scope, self.input_queue.get, self.output_queue.put)
            self._future = asyncio.create_task(running, context=contextvars.Context())
        return self._future

    async def wait(self, timeout: float | None = 1) -> None:
        """Wait for the end of the application; raises what it raised."""
        try:
            async with asyncio.timeout(timeout):
                try:
                    await self.future
                except asyncio.CancelledError:
                    pass
        finally:
            await self._cancel()

    def stop(self, exceptions: bool = True) -> None:
        """Cancel the application; where it has ended already, raise what it raised."""
        future = self._future
        if future is None:
            return
        if not future.done():
            future.cancel()
        elif exceptions:
            future.result()

    def __del__(self) -> None:
        try:
            self.stop(exceptions=False)
        except RuntimeError:
            pass  # its loop has closed, and the application with it

    async def send_input(self, message: Any) -> None:
        """Send a message to the application."""
        self._raise_what_it_raised()
        await self.input_queue.put(message)

    async def receive_output(self, timeout: float | None = 1) -> Any:
        """Wait for a message of the application."""
        self._raise_what_it_raised()
        try:
            async with asyncio.timeout(timeout):
                return await self.output_queue.get()
        except TimeoutError:
            self._raise_what_it_raised()
            await self._cancel()
            raise

    async def receive_nothing(self, timeout: float = 0.1, interval: float = 0.01) -> bool:
        """Whether the application sends nothing for *timeout* seconds."""
        self._raise_what_it_raised()
        ends = time.monotonic() + timeout
        while time.monotonic() < ends:
            if not self.output_queue.empty():
                return False
            await asyncio.sleep(interval)
        return self.output_queue.empty()

    def _raise_what_it_raised(self) -> None:
        if self.future.done():
            self.future.result()

    async def _cancel(self) -> None:
        if not self.future.done():
            self.future.cancel()
            try:
                await self.future
            except asyncio.CancelledError:
                pass
