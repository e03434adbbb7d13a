"""Servers and applications that break one rule each, beside those that keep it.

A case runs on any event loop, and on none: nothing in it waits.
"""

import types
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from typing import Any

Scope = dict[str, Any]
Event = dict[str, Any]

ASGI = {"version": "3.0", "spec_version": "2.5"}
ABSENT: Any = object()
"""As the value of a change, it takes the key away."""


def changed(base: Scope, changes: Scope) -> Scope:
    return {key: value for key, value in {**base, **changes}.items() if value is not ABSENT}


def http(**changes: Any) -> Scope:
    """The scope of a request; *changes* replace its entries, `ABSENT` removes them."""
    scope = {
        "type": "http",
        "asgi": dict(ASGI),
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/caf\u00e9",
        "raw_path": b"/caf%C3%A9",
        "query_string": b"a=%20",
        "root_path": "",
        "headers": [(b"host", b"testserver")],
        "client": ("192.0.2.1", 50000),
        "server": ("testserver", 80),
        "state": {},
        "extensions": {},
    }
    return changed(scope, changes)


def offers(*extensions: str, **changes: Any) -> Scope:
    return http(extensions={name: {} for name in extensions}, **changes)


def websocket(**changes: Any) -> Scope:
    scope = {
        "type": "websocket",
        "asgi": dict(ASGI),
        "http_version": "1.1",
        "scheme": "ws",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"testserver")],
        "client": ("192.0.2.1", 50000),
        "server": ("testserver", 80),
        "subprotocols": ["chat", "news"],
        "extensions": {},
    }
    return changed(scope, changes)


def lifespan(**changes: Any) -> Scope:
    return changed({"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}}, changes)


# Events

REQUEST: Event = {"type": "http.request"}
GONE: Event = {"type": "http.disconnect"}
CONNECT: Event = {"type": "websocket.connect"}
LEFT: Event = {"type": "websocket.disconnect", "code": 1000, "reason": ""}
STARTUP: Event = {"type": "lifespan.startup"}
SHUTDOWN: Event = {"type": "lifespan.shutdown"}


def part(body: bytes = b"", *, more: bool = False, **changes: Any) -> Event:
    """A part of a request's body."""
    return changed({"type": "http.request", "body": body, "more_body": more}, changes)


def frame(**data: Any) -> Event:
    return {"type": "websocket.receive", **data}


# Messages


def start(status: Any = 200, headers: Any = (), **more: Any) -> Event:
    return {"type": "http.response.start", "status": status, "headers": headers, **more}


def body(content: Any = b"", *, more: bool = False) -> Event:
    return {"type": "http.response.body", "body": content, "more_body": more}


def length(number: int | str) -> list[tuple[bytes, bytes]]:
    return [(b"content-length", str(number).encode())]


ACCEPT: Event = {"type": "websocket.accept"}
CLOSE: Event = {"type": "websocket.close"}
STARTED: Event = {"type": "lifespan.startup.complete"}
STOPPED: Event = {"type": "lifespan.shutdown.complete"}


# Applications

RECEIVE: Any = object()
"""Among the steps of an application: it awaits an event."""


def does(*steps: Any) -> Any:
    """An application that sends *steps* one after the other, and awaits an event where one is `RECEIVE`."""

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        for step in steps:
            await (receive() if step is RECEIVE else send(step))

    return app


responds = does(RECEIVE, start(), body(b"hello"))
connects = does(RECEIVE, ACCEPT, RECEIVE)
lives = does(RECEIVE, STARTED, RECEIVE, STOPPED)


async def drains(scope: Scope, receive: Any, send: Any) -> None:
    """Receives to the end of the body, and once more."""
    while (await receive()).get("more_body"):
        pass
    await send(start())
    await send(body())
    await receive()


# Servers


@types.coroutine
def suspends() -> Generator[None, None, None]:
    """Waits until it is resumed, on whatever loop, or by hand."""
    yield


@dataclass
class Case:
    """One call, or several: *scopes* for *app*. The server gives *events*, to each call the same.

    *receive* and *send* replace the server's.
    """

    app: Any
    scopes: Scope | Iterable[Any] = field(default_factory=http)
    events: Iterable[Any] = (REQUEST, GONE)
    receive: Callable[..., Any] | None = None
    send: Callable[..., Any] | None = None
    validated: Any = None

    async def run(self, validator: Callable[..., Any], **options: Any) -> list[Event]:
        """What the server gets."""
        self.validated = validator(self.app, **options)
        scopes = [self.scopes] if isinstance(self.scopes, dict) else list(self.scopes)
        sent: list[Event] = []
        for scope in scopes:
            # Each event is a new dict, as long as it is no case for the rule that says so.
            events = [dict(event) if type(event) is dict else event for event in self.events]

            async def receive(events: list[Any] = events) -> Any:
                return events.pop(0)

            async def send(message: Event) -> None:
                sent.append(message)

            await self.validated(scope, self.receive or receive, self.send or send)
        return sent


# Rows


def scope_case(**changes: Any) -> Case:
    return Case(responds, http(**changes))


def socket_case(**changes: Any) -> Case:
    return Case(connects, websocket(**changes), (CONNECT, LEFT))


def sends(*messages: Any, scope: Scope | None = None) -> Case:
    """A request that is answered with *messages*."""
    return Case(does(RECEIVE, *messages), scope or http())


def talks(*steps: Any, events: Iterable[Any] = (CONNECT,), **scope: Any) -> Case:
    """A WebSocket; the application awaits websocket.connect first."""
    return Case(does(RECEIVE, *steps), websocket(**scope), events)


def living(*steps: Any, events: Iterable[Any] = (STARTUP, SHUTDOWN), **scope: Any) -> Case:
    return Case(does(*steps), lifespan(**scope), events)


def gives(*events: Any, app: Any = drains, **scope: Any) -> Case:
    """A server that gives *events* to an application that takes them."""
    return Case(app, http(**scope), events)


TLS = {"server_cert": None, "tls_version": 0x0304, "cipher_suite": 0x1301}
CHAIN = {"client_cert_chain": ["PEM"]}


def with_tls(**changes: Any) -> Case:
    return scope_case(extensions={"tls": changed(TLS, changes)})


# Applications and servers for the rules of the call


async def keeps_receive_waiting(scope: Scope, receive: Any, send: Any) -> None:
    first = receive()
    first.send(None)  # it waits inside the server's
    try:
        await receive()
    finally:
        first.close()


async def cancels_the_first(scope: Scope, receive: Any, send: Any) -> None:
    first = receive()
    first.send(None)
    first.close()
    second = receive()
    second.send(None)
    second.close()
    await responds_alone(scope, receive, send)


async def responds_alone(scope: Scope, receive: Any, send: Any) -> None:
    await send(start())
    await send(body())


async def sends_two_at_a_time(scope: Scope, receive: Any, send: Any) -> None:
    first = send(start())
    first.send(None)  # it waits inside the server's
    try:
        await send(body())
    finally:
        first.close()


async def frames_two_at_a_time(scope: Scope, receive: Any, send: Any) -> None:
    """What an application may do where several tasks talk to one client."""
    await receive()
    for waiting in [send(ACCEPT), send({"type": "websocket.send", "text": "a"})]:
        waiting.send(None)
        waiting.close()


async def waits(*args: Any) -> Any:
    await suspends()


async def ignores(*args: Any) -> None:
    """A server's send() that does nothing."""


class Twice:
    """Calls ``receive`` or ``send`` in its second call with those of the first."""

    def __init__(self, steps: Any, *, keeps: bool) -> None:
        self._app = does(*steps)
        self._keeps = keeps
        self._kept: Any = None

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if self._kept is not None and self._keeps:
            await self._kept(body())
        self._kept = send
        await self._app(scope, receive, send)


def forgets(name: str) -> Any:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await responds(scope, receive, send)
        forgotten = receive() if name == "receive" else send(body())
        # Or Python would complain too, when it is collected.
        _keep.append(forgotten)

    return app


_keep: list[Any] = []


def close_forgotten() -> None:
    while _keep:
        _keep.pop().close()


def not_async(scope: Scope, receive: Any, send: Any) -> None:
    """An application that was not written as an async function."""


async def returns_text(scope: Scope, receive: Any, send: Any) -> str:
    await responds(scope, receive, send)
    return "done"


async def changes_its_message(message: Event) -> None:
    """A server's send()."""
    message["seen"] = True


def changing(*, while_waiting: bool) -> Case:
    """An application that uses one dict for two messages."""
    message = start()

    async def server_send(passed: Event) -> None:
        if while_waiting and passed["type"] == "http.response.start":
            message["status"] = 500  # as another task of the application would

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await send(message)
        message.clear()
        message.update(body())
        await send(message)

    return Case(app, send=server_send)


def same_event(*, anew: bool) -> Case:
    """A server with one dict for several events."""
    event = part(b"a", more=True)
    left = [3]

    async def receive() -> Event:
        left[0] -= 1
        event["more_body"] = left[0] > 0
        return dict(event) if anew else event

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        await responds_alone(scope, receive, send)

    # Looked at here: the dict is the same one and has its value of the moment.
    return Case(app, receive=receive, send=ignores)


def event_is_changed(*, changes: bool) -> Case:
    event = part(b"a", more=True)

    async def receive() -> Event:
        return event

    async def send(message: Event) -> None:
        if changes:
            event["body"] = b""

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        (await receive()).clear()  # which an application may do
        await responds_alone(scope, receive, send)

    return Case(app, receive=receive, send=send)


class Lives:
    """Lives through a lifespan, and answers requests without an event."""

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        await (lives if scope["type"] == "lifespan" else responds_alone)(scope, receive, send)


def shared_state(*, copied: bool) -> Case:
    state: dict[str, Any] = {}
    of_request = dict(state) if copied else state
    return Case(Lives(), [lifespan(state=state), http(state=of_request)], (STARTUP, SHUTDOWN))


def early_request(*, answered: bool) -> Case:
    """While a lifespan is going on, its server calls for a request."""

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await responds_alone(scope, receive, send)
            return
        await receive()
        if answered:
            await send(STARTED)
        await case.validated(http(), ignores, ignores)
        if not answered:
            await send(STARTED)
        await receive()
        await send(STOPPED)

    case = Case(app, lifespan(), (STARTUP, SHUTDOWN))
    return case
