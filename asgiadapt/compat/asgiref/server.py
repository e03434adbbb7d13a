"""``asgiref.server``: a base for servers of protocols without connections."""

import asyncio
import logging
import time
import traceback
from typing import Any

from asgiadapt.compat.asgiref.compatibility import guarantee_single_callable

__all__ = ["StatelessServer", "guarantee_single_callable", "logger"]

logger: logging.Logger = logging.getLogger("asgiref.server")


class StatelessServer:
    """Runs one instance of an application for each *scope_id* that its `handle` names.

    Derive from it, with `handle` and `application_send`. `handle` asks `get_or_create_application_instance`
    for the queue from which the instance receives, and puts messages there. Of more than *max_applications*
    instances, the one that was not used for the longest time ends. Those that have ended are taken out every
    `application_checker_interval` seconds, and their errors given to `application_exception`.
    """

    application_checker_interval: float = 0.1

    def __init__(self, application: Any, max_applications: int = 1000) -> None:
        self.application = application
        self.max_applications = max_applications
        self.application_instances: dict[Any, dict[str, Any]] = {}

    def run(self) -> None:
        """`arun`, on an event loop of its own, until Ctrl-C."""
        try:
            asyncio.run(self.arun())
        except KeyboardInterrupt:
            logger.info("Exiting due to Ctrl-C/interrupt")

    async def arun(self) -> None:
        """`handle`, and meanwhile the checker."""
        checker = asyncio.ensure_future(self.application_checker())
        handler = asyncio.ensure_future(self.handle())
        try:
            await asyncio.wait((checker, handler), return_when=asyncio.FIRST_COMPLETED)
            for task in (checker, handler):
                if task.done():
                    task.result()
        finally:
            for task in (checker, handler):
                task.cancel()
            await asyncio.gather(checker, handler, return_exceptions=True)

    async def handle(self) -> None:
        """What the server does. To be written by those who derive."""
        raise NotImplementedError("You must implement handle()")

    async def application_send(self, scope: Any, message: Any) -> None:
        """Take what an application sends. To be written by those who derive."""
        raise NotImplementedError("You must implement application_send()")

    def get_or_create_application_instance(self, scope_id: Any, scope: Any) -> "asyncio.Queue[Any]":
        """The queue of the instance for *scope_id*, which is started with *scope* where there is none."""
        details = self.application_instances.get(scope_id)
        if details is None:
            while len(self.application_instances) > self.max_applications:
                self.delete_oldest_application_instance()
            queue: asyncio.Queue[Any] = asyncio.Queue()
            application = guarantee_single_callable(self.application)
            future = asyncio.ensure_future(
                application(
                    scope=scope,
                    receive=queue.get,
                    send=lambda message: self.application_send(scope, message),
                )
            )
            details = {"input_queue": queue, "future": future, "scope": scope}
            self.application_instances[scope_id] = details
        details["last_used"] = time.time()
        found: asyncio.Queue[Any] = details["input_queue"]
        return found

    def delete_oldest_application_instance(self) -> None:
        """End the instance that was not used for the longest time."""
        instances = self.application_instances
        self.delete_application_instance(min(instances, key=lambda key: instances[key]["last_used"]))

    def delete_application_instance(self, scope_id: Any) -> None:
        """End an instance."""
        self.application_instances.pop(scope_id)["future"].cancel()

    async def application_checker(self) -> None:
        """Take out the instances that have ended, and tell of their errors, again and again."""
        while True:
            await asyncio.sleep(self.application_checker_interval)
            for scope_id, details in list(self.application_instances.items()):
                future = details["future"]
                if not future.done():
                    continue
                error = None if future.cancelled() else future.exception()
                if error is not None:
                    await self.application_exception(error, details)
                self.application_instances.pop(scope_id, None)

    async def application_exception(self, exception: BaseException, application_details: Any) -> None:
        """Take the error of an application: it is logged."""
        frames = "".join(traceback.format_tb(exception.__traceback__))
        logging.error("Exception inside application: %s\n%s  %s", exception, frames, exception)
