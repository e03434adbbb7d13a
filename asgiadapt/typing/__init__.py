"""The typed vocabulary of ASGI and WSGI."""

from asgiadapt.typing.asgi import Event, Receive, Scope, Send
from asgiadapt.typing.wsgi import Environ, StartResponse, WSGIApplication

__all__ = [
    "Environ",
    "Event",
    "Receive",
    "Scope",
    "Send",
    "StartResponse",
    "WSGIApplication",
]
