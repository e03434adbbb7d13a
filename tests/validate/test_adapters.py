"""The adapters of this package behind the validator: one as the application, the other as the server."""

from typing import Any

import pytest

from asgiadapt import AsgiToWsgi, WsgiToAsgi
from asgiadapt.testing import AsgiClient, WsgiClient
from asgiadapt.validate import validator
from tests.apps import echoes, returns, says_hello
from tests.validate.cases import lives


async def echoes_asgi(scope: Any, receive: Any, send: Any) -> None:
    """Echoes the request body, piece by piece; has a lifespan."""
    if scope["type"] == "lifespan":
        await lives(scope, receive, send)
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    more = True
    while more:
        event = await receive()
        more = event["more_body"]
        await send({"type": "http.response.body", "body": event["body"], "more_body": more})
    assert (await receive())["type"] == "http.disconnect"


@pytest.mark.parametrize("body", [b"", b"abc", [b"abc", b"", b"d"]])
async def test_a_wsgi_application_is_a_good_asgi_application(body: Any) -> None:
    """With a lifespan, bodies whole and in pieces, HEAD, and a client that leaves."""
    whole = body if isinstance(body, bytes) else b"".join(body)
    async with AsgiClient(WsgiToAsgi(echoes), validate=True) as client:
        assert (await client.request("POST", "/", body=body)).body == whole
    async with AsgiClient(WsgiToAsgi(says_hello), validate=True) as client:
        assert (await client.request("HEAD", "/")).header("content-length") == "5"
    headers = [("Content-Type", "text/plain"), ("Set-Cookie", "a=b")]
    async with AsgiClient(WsgiToAsgi(returns([b"a", b"b"], headers=headers)), validate=True) as client:
        async with client.stream("GET", "/") as exchange:
            assert await exchange.chunk() in (b"a", b"ab")
        assert exchange.headers == [("content-type", "text/plain"), ("set-cookie", "a=b")]


@pytest.mark.parametrize("body", [b"", b"abc", [b"abc", b"", b"d"]])
def test_the_other_adapter_is_a_good_asgi_server(body: Any) -> None:
    """And a good WSGI application, says the standard library's validator."""
    whole = body if isinstance(body, bytes) else b"".join(body)
    adapter = AsgiToWsgi(validator(echoes_asgi))
    try:
        client = WsgiClient(adapter, validate=True)
        assert client.request("POST", "/caf\u00e9?a=b", headers={"X-A": "b"}, body=body).body == whole
        with client.stream("POST", "/", body=body) as exchange:
            exchange.chunk()
    finally:
        adapter.close()
