"""Lifespan: what may follow what, for the side of the application and for that of the server."""

from collections.abc import Mapping
from enum import Enum
from typing import Any

from asgiadapt._errors import ApplicationOrderError, ServerError
from asgiadapt._sansio.messages import kind_of


def check_lifespan_event(event: Mapping[str, Any], due: str) -> None:
    """`ServerError` where *event* is not the one that is *due*: startup first, then shutdown."""
    if event["type"] != due:
        raise ServerError(
            f"the ASGI server gave the lifespan event {event['type']!r} where {due!r} was due; report "
            f"this to the server's authors."
        )


class LifespanPhase(Enum):
    STARTING = "it has not answered lifespan.startup yet"
    RUNNING = "its start-up is complete and no shutdown has begun"
    FAILED = "its start-up has failed"
    UNSUPPORTED = "it has ended without an answer to lifespan.startup"
    STOPPING = "it has not answered lifespan.shutdown yet"
    STOPPED = "its shutdown is over"


class Lifespan:
    """The server's side: which message of the application may come when, and what it means.

    *required* makes the start-up of an application that does not answer one that has failed. ``message`` says
    why the last step has ``failed``, or that the application takes no part.
    """

    def __init__(self, *, required: bool) -> None:
        self._required = required
        self.phase = LifespanPhase.STARTING
        self.started = self.failed = False
        self.message = ""
        self._shutdown_is_due = False

    def accept(self, message: Mapping[str, Any]) -> None:
        """What the application has sent."""
        kind = kind_of(message)
        step = _STEPS.get((self.phase, kind))
        if step is None:
            raise ApplicationOrderError(
                f"the application sent {kind!r} in its lifespan although {self.phase.value}; send "
                f"lifespan.startup.complete or .failed once, and lifespan.shutdown.complete or .failed once "
                f"after lifespan.shutdown."
            )
        self.phase = step
        if kind.endswith(".failed"):
            self._fail(str(message.get("message", "")))
        elif step is LifespanPhase.RUNNING:
            self.started = True

    def _fail(self, message: str) -> None:
        self.failed = True
        self.message = message

    def stop(self) -> None:
        """Shutdown begins; ``lifespan.shutdown`` is due."""
        self.phase = LifespanPhase.STOPPING
        self._shutdown_is_due = True

    def take_shutdown(self) -> bool:
        """Whether ``lifespan.shutdown`` is to be given now, which it is once."""
        due, self._shutdown_is_due = self._shutdown_is_due, False
        return due

    def give_up(self, message: str) -> None:
        """The answer that is due has taken too long."""
        self._fail(message)
        starting = self.phase is LifespanPhase.STARTING
        self.phase = LifespanPhase.FAILED if starting else LifespanPhase.STOPPED

    def end(self, error: BaseException | None) -> None:
        """The application has returned, or raised *error*."""
        if self.phase is LifespanPhase.STARTING:
            # What is no Exception, such as SystemExit, was not raised for want of support.
            self.failed = self._required or not isinstance(error, Exception | None)
            self.phase = LifespanPhase.FAILED if self.failed else LifespanPhase.UNSUPPORTED
            reason = (
                "returned without an answer" if error is None else f"raised {type(error).__name__}: {error}"
            )
            self.message = f"the application {reason}"
        elif self.phase in (LifespanPhase.RUNNING, LifespanPhase.STOPPING):
            # There is nobody left to tell of the shutdown.
            self.phase = LifespanPhase.STOPPED


_STEPS = {
    (LifespanPhase.STARTING, "lifespan.startup.complete"): LifespanPhase.RUNNING,
    (LifespanPhase.STARTING, "lifespan.startup.failed"): LifespanPhase.FAILED,
    (LifespanPhase.STOPPING, "lifespan.shutdown.complete"): LifespanPhase.STOPPED,
    (LifespanPhase.STOPPING, "lifespan.shutdown.failed"): LifespanPhase.STOPPED,
}
