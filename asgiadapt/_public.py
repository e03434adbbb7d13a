"""What `asgiadapt` gives out, imported when the first of it is asked for."""

from asgiadapt._asgi_to_wsgi import AsgiToWsgi as AsgiToWsgi
from asgiadapt._async_to_sync import AsyncSingleThreadContext as AsyncSingleThreadContext
from asgiadapt._async_to_sync import async_to_sync as async_to_sync
from asgiadapt._errors import ApplicationError as ApplicationError
from asgiadapt._errors import ApplicationOrderError as ApplicationOrderError
from asgiadapt._errors import ApplicationTypeError as ApplicationTypeError
from asgiadapt._errors import ApplicationValueError as ApplicationValueError
from asgiadapt._errors import ClientDisconnected as ClientDisconnected
from asgiadapt._errors import ClientTimeout as ClientTimeout
from asgiadapt._errors import DeadlockError as DeadlockError
from asgiadapt._errors import LoopStopped as LoopStopped
from asgiadapt._errors import PoolClosed as PoolClosed
from asgiadapt._errors import PoolFull as PoolFull
from asgiadapt._errors import RequestTooLarge as RequestTooLarge
from asgiadapt._errors import ServerError as ServerError
from asgiadapt._errors import StartupFailed as StartupFailed
from asgiadapt._local import Local as Local
from asgiadapt._markers import iscoroutinefunction as iscoroutinefunction
from asgiadapt._markers import markcoroutinefunction as markcoroutinefunction
from asgiadapt._sync_to_async import ThreadSensitiveContext as ThreadSensitiveContext
from asgiadapt._sync_to_async import cancelled as cancelled
from asgiadapt._sync_to_async import sync_to_async as sync_to_async
from asgiadapt._threads.kept_loop import set_loop_factory as set_loop_factory
from asgiadapt._threads.loop_thread import LoopThread as LoopThread
from asgiadapt._threads.loop_thread import set_default_loop as set_default_loop
from asgiadapt._threads.workers import PoolStats as PoolStats
from asgiadapt._threads.workers import WorkerPool as WorkerPool
from asgiadapt._wsgi_to_asgi import WsgiToAsgi as WsgiToAsgi
from asgiadapt.compat._install import install_as_asgiref as install_as_asgiref


def _rename() -> None:
    """Let tracebacks and docs show the name that people know."""
    for value in list(globals().values()):
        if getattr(value, "__module__", "").startswith("asgiadapt.") and value is not _rename:
            value.__module__ = "asgiadapt"


_rename()
