"""Tools for tests: ASGI and WSGI applications called in process, by something that acts as their server."""

from asgiadapt._testing_asgi import AsgiClient, AsgiExchange
from asgiadapt._testing_communicator import ApplicationCommunicator
from asgiadapt._testing_request import Response
from asgiadapt._testing_websocket import AsgiWebSocket
from asgiadapt._testing_wsgi import WsgiClient, WsgiExchange

__all__ = [
    "ApplicationCommunicator",
    "AsgiClient",
    "AsgiExchange",
    "AsgiWebSocket",
    "Response",
    "WsgiClient",
    "WsgiExchange",
]

for _name in __all__:
    # Let tracebacks and docs show the name that people know.
    globals()[_name].__module__ = __name__
