"""Synchronous and asynchronous web code, living together."""

from asgiadapt._errors import (
    ApplicationError,
    ApplicationOrderError,
    ApplicationTypeError,
    ApplicationValueError,
    ClientDisconnected,
    ClientTimeout,
    PoolClosed,
    PoolFull,
    RequestTooLarge,
    ServerError,
)
from asgiadapt._threads.workers import PoolStats, WorkerPool
from asgiadapt._version import __version__
from asgiadapt._wsgi_to_asgi import WsgiToAsgi

__all__ = [
    "ApplicationError",
    "ApplicationOrderError",
    "ApplicationTypeError",
    "ApplicationValueError",
    "ClientDisconnected",
    "ClientTimeout",
    "PoolClosed",
    "PoolFull",
    "PoolStats",
    "RequestTooLarge",
    "ServerError",
    "WorkerPool",
    "WsgiToAsgi",
    "__version__",
]


def _rename() -> None:
    """Let tracebacks and docs show the name that people know."""
    for name in __all__:
        if isinstance(globals()[name], type):
            globals()[name].__module__ = __name__


_rename()
