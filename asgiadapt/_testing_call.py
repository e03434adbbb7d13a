"""A call of an ASGI application in a task, as the test clients make it, and waiting for what it does."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from asgiadapt._errors import ClientDisconnected

# Loose, since applications annotate it in many ways.
Application: TypeAlias = Callable[..., Any]


class News:
    """Wakes those who wait until something holds."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()

    def tell(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)


class Call:
    """A call of the application, and those who wait for what it does."""

    def __init__(self, timeout: float | None) -> None:
        self.news: Final = News()
        self._timeout = timeout
        self._task: asyncio.Task[None] | None = None
        self.error: BaseException | None = None  # that the call has raised
        self.reported = False  # that, or what is missing, was raised in the test
        self._refusal: ClientDisconnected | None = None

    def begin(self, app: Application, scope: dict[str, Any], receive: Any, send: Any) -> None:
        async def run() -> None:
            try:
                await app(scope, receive, send)
            except BaseException as error:
                # For the test to raise; as the task's, asyncio would make another one of some.
                self.error = error

        self._task = asyncio.create_task(run())
        self._task.add_done_callback(lambda task: self.news.tell())

    def is_over(self) -> bool:
        return self._task is not None and self._task.done()

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for *condition*; TimeoutError with *what* it has not done."""
        try:
            async with asyncio.timeout(self._timeout):
                await self.news.until(condition)
        except TimeoutError:
            raise TimeoutError(f"the application has not {what} within {self._timeout} s.") from None

    async def until_over(self) -> None:
        """Wait for the end of the call, and cancel it where that takes too long."""
        try:
            await self.until(self.is_over, "ended")
        finally:
            await self.cancel()

    async def cancel(self) -> None:
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    async def finish(self, error: BaseException | None) -> None:
        """Wait for the end, and raise the application's error; what has failed in the test comes first."""
        try:
            await self.until_over()
        except TimeoutError:
            if error is None:
                raise
        if error is None and not self.reported:
            self.raise_error()

    def refuse(self) -> ClientDisconnected:
        """What ``send`` raises where the client has gone (ASGI HTTP 2.4, "Disconnected Client")."""
        # One for all, so that it is known again.
        if self._refusal is None:
            self._refusal = ClientDisconnected("the client has gone; give the response up.")
        return self._refusal

    def raise_error(self) -> None:
        # That the client has gone is no news to the test.
        if self.error is not None and self.error is not self._refusal:
            self.reported = True
            raise self.error
