"""A validator for ASGI: what ``wsgiref.validate`` is for WSGI.

It runs on asyncio and on trio alike: it awaits what the server gives it, and nothing else.
"""

import inspect
import logging
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Final, TypeAlias

from asgiadapt._sansio.validation import (
    RULES,
    ApplicationViolation,
    AsgiViolation,
    Faults,
    History,
    ServerViolation,
    conversation_for,
    has_to_be_held,
    held,
    scope_faults,
    violation,
)

__all__ = ["ApplicationViolation", "AsgiViolation", "ServerViolation", "validator"]

for _class in (AsgiViolation, ApplicationViolation, ServerViolation):
    # Let tracebacks and docs show the name that people know.
    _class.__module__ = __name__

_log = logging.getLogger("asgiadapt.validate")

# Loose, since applications annotate it in many ways.
_Application: TypeAlias = Callable[..., Any]
_Validated: TypeAlias = Callable[[Any, Any, Any], Coroutine[Any, Any, None]]


def validator(app: _Application, /, *, ignore: Collection[str] = ()) -> _Validated:
    """An ASGI application that gives what *app* gives, and checks on the way that both sides keep to ASGI.

    Where a rule is broken, an `AsgiViolation` is raised in the call that does so: out of ``receive`` and
    ``send`` in the application, and out of the call of the application where the scope is wrong or an end is
    missing. It names the rule and the side at fault. It is logged on ``asgiadapt.validate`` as well, and one
    that the application swallows is raised again when the application returns.

    *ignore* has the ids of rules that are not checked, for what cannot be mended at once.
    """
    if not callable(app):
        raise TypeError(f"validator was given {app!r}, which cannot be called; give an ASGI application.")
    ignored = frozenset((ignore,) if isinstance(ignore, str) else ignore)
    unknown = ignored - RULES.keys()
    if unknown:
        raise ValueError(f"ignore has {sorted(unknown)}, which are no rules; give ids of rules.")
    history = History()

    async def validated(scope: Any, receive: Any, send: Any) -> None:
        await _Call(history, ignored, scope, receive, send).run(app)

    return validated


class _Call:
    """One call of the application. Gives it `receive` and `send` in place of the server's."""

    def __init__(
        self, history: History, ignored: frozenset[str], scope: Any, receive: Any, send: Any
    ) -> None:
        self._history = history
        self._ignored = ignored
        self._server_receive = receive
        self._server_send = send
        self._first: AsgiViolation | None = None
        self._receiving = self._sending = self._returned = False
        self._unawaited: dict[object, str] = {}
        self._given: Any = None  # the last event, as the server has it
        self._given_then: Any = None  # and as it was
        # Only where looking would use it up: the application and the server may share their scope.
        self._scope = held(scope) if has_to_be_held(scope) else scope
        self._conversation: Final = conversation_for(scope if isinstance(scope, dict) else {})

    async def run(self, app: _Application) -> None:
        self._check(scope_faults(held(self._scope)))
        self._check_callables()
        if isinstance(self._scope, dict):
            self._check(self._history.begin(self._scope, self._conversation))
        try:
            awaitable = app(self._scope, self.receive, self.send)
            if not inspect.isawaitable(awaitable):
                self._fail(
                    "call-awaitable",
                    f"the application returned {_short(awaitable)}, which cannot be awaited, from its call; "
                    f"make it an async function of (scope, receive, send).",
                )
                return
            result = await awaitable
        finally:
            self._returned = True
            self._history.end(self._conversation)
        self._check_end(result)

    def _check_callables(self) -> None:
        for name, given in (("receive", self._server_receive), ("send", self._server_send)):
            if not callable(given):
                self._fail(
                    "server-callables",
                    f"the server gave {_short(given)} for {name}; it has to be an async function.",
                )

    def _check_end(self, result: Any) -> None:
        if self._first is not None:
            raise self._first  # the application has swallowed it
        self._check_given()
        for name in self._unawaited.values():
            self._fail(
                "call-unawaited",
                f"the application called {name}() and returned without awaiting what that gave; write "
                f"'await {name}(...)'.",
            )
        self._check(self._conversation.end())
        if result is not None:
            self._fail("call-result", f"the application returned {_short(result)}; return nothing.")

    # Faults

    def _check(self, faults: Faults) -> None:
        """Raise the first of *faults*, unless it is to be ignored."""
        for fault in faults:
            if fault.rule not in self._ignored:
                _log.error("%s", fault)
                self._first = self._first or fault
                raise fault

    def _fail(self, rule: str, text: str) -> None:
        self._check(iter([violation(rule, text)]))

    def _check_call(self, name: str) -> None:
        if self._returned:
            self._fail(
                "call-ended",
                f"{name}() was used after the application had returned; await all that uses it before that.",
            )

    # For the application. Each gives a coroutine, as an async function does, and notes whether that was run.

    def receive(self) -> Coroutine[Any, Any, Any]:
        call = object()
        self._unawaited[call] = "receive"
        return self._receive(call)

    def send(self, message: Any) -> Coroutine[Any, Any, None]:
        call = object()
        self._unawaited[call] = "send"
        return self._send(call, message)

    async def _receive(self, call: object) -> Any:
        del self._unawaited[call]
        self._check_call("receive")
        if self._receiving:
            self._fail(
                "receive-concurrent",
                "the application awaited receive() while another receive() was waiting, so that it is open "
                "which of them gets what; await one at a time.",
            )
        self._check(self._conversation.receive())
        self._check_given()
        before, self._receiving = self._receiving, True
        try:
            event = await self._awaitable("receive", self._server_receive())
        finally:
            self._receiving = before
        if event is self._given and event is not None:
            self._fail(
                "event-new",
                f"the server gave the same dict {_short(event)} twice; each event has to be a new one.",
            )
        self._check(self._conversation.event(event))
        if not isinstance(event, dict):
            return event
        self._given, self._given_then = event, dict(event)
        return event.copy()

    async def _send(self, call: object, message: Any) -> None:
        del self._unawaited[call]
        self._check_call("send")
        if self._sending and self._conversation.one_message_at_a_time:
            self._fail(
                "send-concurrent",
                "the application awaited send() while another send() was waiting, so that it is open which "
                "message is first; await one after the other.",
            )
        passed = held(message)
        self._check(self._conversation.message(passed))
        sent_then, passed_then = _snapshot(message), _snapshot(passed)
        before, self._sending = self._sending, True
        try:
            await self._awaitable("send", self._server_send(passed))
        except OSError:
            # ASGI HTTP 2.4: this is how a server says that the client has gone.
            self._conversation.gone = True
            raise
        finally:
            self._sending = before
        if not _is_same(passed, passed_then):
            self._fail(
                "message-kept",
                f"the server changed a message of the application to {_short(passed)}; it has to leave it.",
            )
        if not _is_same(message, sent_then):
            self._fail(
                "message-unchanged",
                f"the application changed a message to {_short(message)} while send() was waiting; send a "
                f"new dict each time.",
            )

    def _awaitable(self, name: str, given: Any) -> Any:
        if not inspect.isawaitable(given):
            self._fail(
                "server-callables",
                f"the server's {name}() gave {_short(given)}, which cannot be awaited; it has to be an "
                f"async function.",
            )
            return _already(given)
        return given

    def _check_given(self) -> None:
        """Whether the server has left the last event as it was."""
        given, self._given_then, then = self._given, None, self._given_then
        if then is not None and not _is_same(given, then):
            self._fail(
                "event-unchanged",
                f"the server changed an event that it had given to {_short(given)}; it has to leave it.",
            )


async def _already(value: Any) -> Any:
    return value


def _snapshot(message: Any) -> Any:
    """*message* as it is now; of its headers too."""
    if not isinstance(message, dict):
        return None
    return {key: list(value) if isinstance(value, list) else value for key, value in message.items()}


def _is_same(message: Any, then: Any) -> bool:
    return then is None or bool(message == then)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
