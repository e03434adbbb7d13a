"""The plain site, which reads as much of a body as its length says, as WSGI does; its end may come later."""

from typing import Any

from tests.servers import asgi_plain


async def app(scope: Any, receive: Any, send: Any) -> None:
    left = int(dict(scope.get("headers", ())).get(b"content-length", 0))

    async def receive_the_length() -> Any:
        nonlocal left
        event = await receive()
        if left and event["type"] == "http.request":
            left -= len(event.get("body", b""))
            return event if left else {**event, "more_body": False}
        return event

    await asgi_plain.app(scope, receive_the_length, send)
