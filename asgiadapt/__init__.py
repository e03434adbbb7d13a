"""Synchronous and asynchronous web code, living together."""

from typing import TYPE_CHECKING

from asgiadapt._version import __version__

if TYPE_CHECKING:
    from asgiadapt._public import *
else:

    def __getattr__(name):
        # All of them at the first use of one, and not before: whoever imports asgiadapt.typing gets neither
        # event loops nor threads, and no hooks at fork and exit.
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import asgiadapt._public as public

        globals().update({name: value for name, value in vars(public).items() if name in __all__})
        return globals()[name]

    def __dir__():
        return sorted({*globals(), *__all__})


del TYPE_CHECKING

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
    "install_as_asgiref",
    "iscoroutinefunction",
    "markcoroutinefunction",
    "set_default_loop",
    "set_loop_factory",
    "sync_to_async",
]
