"""Locks, queues and threads of the system, also where gevent or eventlet have put greenlets in their place.

Between threads that are real, only locks that are real can be waited for. The names stand for what the
standard library has, as it was before anything was patched.
"""

import sys
import threading
from _thread import LockType
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from queue import Empty, SimpleQueue
    from threading import Lock, get_ident, local
else:
    from _queue import Empty, SimpleQueue  # which nobody patches


def _original(module: str, name: str) -> Any:
    """What *name* stood for in *module* before it was patched."""
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        return gevent.get_original(module, name)
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        return getattr(eventlet.original(module), name)
    return getattr(sys.modules[module], name)


if not TYPE_CHECKING:
    Lock: Final = _original("threading", "Lock")
    get_ident: Final = _original("threading", "get_ident")
    local: Final = _original("threading", "local")


def cooperative_lock() -> LockType:
    """A lock for the threads of whoever calls us: while greenlets wait for it, others run."""
    return threading.Lock()


def start_thread(function: Callable[[], None], name: str) -> threading.Thread | None:
    """Run *function* on a daemon thread, in an empty context. RuntimeError where the system has no more.

    Gives the thread, where `threading` knows it.
    """
    start = _original("_thread", "start_new_thread")
    if start is sys.modules["_thread"].start_new_thread:
        # From Python 3.14 on, threads may inherit the context of whoever starts them.
        thread = threading.Thread(target=Context().run, args=(function,), name=name, daemon=True)
        thread.start()
        return thread
    start(Context().run, (function,))
    return None


__all__ = ["Empty", "Lock", "SimpleQueue", "cooperative_lock", "get_ident", "local", "start_thread"]
