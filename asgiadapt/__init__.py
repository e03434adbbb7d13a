"""Synchronous and asynchronous web code, living together."""

from asgiadapt._asgi_to_wsgi import AsgiToWsgi
from asgiadapt._async_to_sync import AsyncSingleThreadContext, async_to_sync
from asgiadapt._errors import (
    ApplicationError,
    ApplicationOrderError,
    ApplicationTypeError,
    ApplicationValueError,
    ClientDisconnected,
    ClientTimeout,
    DeadlockError,
    LoopStopped,
    PoolClosed,
    PoolFull,
    RequestTooLarge,
    ServerError,
    StartupFailed,
)
from asgiadapt._local import Local
from asgiadapt._markers import iscoroutinefunction, markcoroutinefunction
from asgiadapt._sync_to_async import ThreadSensitiveContext, cancelled, sync_to_async
from asgiadapt._threads.kept_loop import set_loop_factory
from asgiadapt._threads.loop_thread import LoopThread, set_default_loop
from asgiadapt._threads.workers import PoolStats, WorkerPool
from asgiadapt._version import __version__
from asgiadapt._wsgi_to_asgi import WsgiToAsgi

__all__ = [
    "ApplicationError",
    "ApplicationOrderError",
    "ApplicationTypeError",
    "ApplicationValueError",
    "AsgiToWsgi",
    "AsyncSingleThreadContext",
    "ClientDisconnected",
    "ClientTimeout",
    "DeadlockError",
    "Local",
    "LoopStopped",
    "LoopThread",
    "PoolClosed",
    "PoolFull",
    "PoolStats",
    "RequestTooLarge",
    "ServerError",
    "StartupFailed",
    "ThreadSensitiveContext",
    "WorkerPool",
    "WsgiToAsgi",
    "__version__",
    "async_to_sync",
    "cancelled",
    "iscoroutinefunction",
    "markcoroutinefunction",
    "set_default_loop",
    "set_loop_factory",
    "sync_to_async",
]


def _rename() -> None:
    """Let tracebacks and docs show the name that people know."""
    for name in __all__:
        if getattr(globals()[name], "__module__", "").startswith(__name__ + "."):
            globals()[name].__module__ = __name__


_rename()
