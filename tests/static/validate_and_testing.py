"""Read by the type checkers, never run. A wrong call has an ignore that must be needed."""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from typing import Any, Literal, TypeAlias, assert_type

from django.core.asgi import get_asgi_application
from fastapi import FastAPI
from flask import Flask
from litestar import Litestar
from quart import Quart
from starlette.applications import Starlette

from asgiadapt import AsgiToWsgi, WsgiToAsgi
from asgiadapt.testing import (
    ApplicationCommunicator,
    AsgiClient,
    AsgiExchange,
    AsgiWebSocket,
    Response,
    WsgiClient,
    WsgiExchange,
)
from asgiadapt.typing import ASGIReceiveCallable, ASGISendCallable, Scope, WSGIEnvironment
from asgiadapt.typing import StartResponse as OurStartResponse
from asgiadapt.validate import ApplicationViolation, AsgiViolation, ServerViolation, validator

flask = Flask(__name__)


async def annotated(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None: ...


async def annotated_loosely(scope: dict[str, Any], receive: Any, send: Any) -> None: ...


def wsgi(environ: WSGIEnvironment, start_response: OurStartResponse) -> Iterable[bytes]:
    return []


# The validator

Validated: TypeAlias = Callable[[Any, Any, Any], Coroutine[Any, Any, None]]


def validating() -> None:
    assert_type(validator(annotated), Validated)
    assert_type(validator(annotated_loosely), Validated)
    assert_type(validator(FastAPI()), Validated)
    assert_type(validator(Starlette()), Validated)
    assert_type(validator(Quart(__name__)), Validated)
    assert_type(validator(Litestar()), Validated)
    assert_type(validator(WsgiToAsgi(flask)), Validated)
    validator(get_asgi_application(), ignore={"header-case"})
    validator(annotated, ignore=["header-case", "scope-path"])
    validator(annotated, ignore="header-case")
    validator()  # type: ignore[call-arg]
    validator(None)  # type: ignore[arg-type]
    validator(annotated, ignore=5)  # type: ignore[arg-type]
    validator(annotated, ["header-case"])  # type: ignore[call-arg]
    # What it gives goes where applications go.
    AsgiToWsgi(validator(FastAPI()))
    FastAPI().mount("/below", validator(annotated))


def violations(
    error: AsgiViolation, by_server: ServerViolation, by_application: ApplicationViolation
) -> None:
    assert_type(error.rule, str)
    assert_type(error.side, Literal["application", "server"])
    parents: list[AsgiViolation] = [by_server, by_application]
    failures: list[AssertionError] = [*parents]
    del failures


# Clients for ASGI


async def pieces() -> AsyncIterator[bytes]:
    yield b"a"


async def clients() -> None:
    AsgiClient(FastAPI())
    AsgiClient(Quart(__name__), validate=True, timeout=None)
    AsgiClient(WsgiToAsgi(flask))
    AsgiClient(None)  # type: ignore[arg-type]
    AsgiClient(annotated, True)  # type: ignore[call-arg]
    async with AsgiClient(annotated) as client:
        assert_type(client, AsgiClient)
        assert_type(client.state, dict[str, Any])
        answer = await client.request("GET", "/", headers={"a": "b"}, body=b"c", scheme="https")
        assert_type(answer, Response)
        assert_type(answer.status, int)
        assert_type(answer.headers, list[tuple[str, str]])
        assert_type(answer.header("a"), str | None)
        assert_type(answer.body, bytes)
        assert_type(answer.text, str)
        answer.status = 5  # type: ignore[misc]
        for body in (b"a", [b"a"], (piece for piece in [b"a"])):
            await client.request("POST", "/", body=body)
        await client.request("POST", "/", body=pieces(), headers=[("a", "b"), ("a", "c")])
        await client.request("POST", "/", body="text")  # type: ignore[arg-type]
        await client.request("GET", "/", headers={"a": 5})  # type: ignore[arg-type]
        await client.request("GET")  # type: ignore[call-arg]


async def exchanges(client: AsgiClient) -> None:
    async with client.stream("GET", "/", buffer=5, client=None) as exchange:
        assert_type(exchange, AsgiExchange)
        await exchange.started()
        assert_type(exchange.status, int)
        assert_type(exchange.headers, list[tuple[str, str]])
        assert_type(await exchange.chunk(), bytes)
        async for chunk in exchange:
            assert_type(chunk, bytes)
        assert_type(await exchange.read(), bytes)
        assert_type(exchange.messages, list[dict[str, Any]])
        exchange.disconnect()
        await exchange.ended()


async def sockets(client: AsgiClient) -> None:
    async with client.websocket("/", subprotocols=("chat",), headers={"a": "b"}, scheme="wss") as socket:
        assert_type(socket, AsgiWebSocket)
        await socket.accepted()
        assert_type(socket.subprotocol, str | None)
        assert_type(socket.headers, list[tuple[str, str]])
        assert_type(socket.response, Response | None)
        socket.send("text")
        socket.send(b"bytes")
        socket.send(5)  # type: ignore[arg-type]
        assert_type(await socket.receive(), str | bytes | None)
        async for message in socket:
            assert_type(message, str | bytes)
        socket.close(3000, "reason")
        socket.disconnect()
        await socket.ended()
        assert_type(socket.messages, list[dict[str, Any]])
        assert_type(socket.close_code, int | None)
        assert_type(socket.close_reason, str | None)


async def communicators() -> None:
    communicator = ApplicationCommunicator(FastAPI(), {"type": "websocket"})
    await communicator.send_input({"type": "websocket.connect"})
    assert_type(await communicator.receive_output(), Any)
    assert_type(await communicator.receive_nothing(0.1, 0.01), bool)
    await communicator.wait(timeout=None)
    communicator.stop(exceptions=False)
    ApplicationCommunicator(FastAPI())  # type: ignore[call-arg]


# The client for WSGI


def wsgi_clients() -> None:
    client = WsgiClient(flask, validate=True)
    WsgiClient(AsgiToWsgi(FastAPI()))
    WsgiClient("module:app")  # type: ignore[arg-type]
    assert_type(client.request("POST", "/", headers={"a": "b"}, body=[b"c"], REMOTE_USER="me"), Response)
    client.request("POST", "/", body=pieces())  # type: ignore[arg-type]
    with WsgiClient(wsgi).stream("GET", "/", body=b"") as exchange:
        assert_type(exchange, WsgiExchange)
        assert_type(exchange.environ, dict[str, Any])
        assert_type(exchange.status, int)
        assert_type(exchange.headers, list[tuple[str, str]])
        assert_type(exchange.chunk(), bytes)
        assert_type(exchange.read(), bytes)
        assert_type(iter(exchange), Iterator[bytes])
        exchange.close()
