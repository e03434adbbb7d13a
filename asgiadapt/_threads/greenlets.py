"""Where threads are greenlets in disguise: gevent's and eventlet's monkey patches.

All greenlets of a thread share one running event loop, by asyncio's account; so the second that starts one is
refused. A loop needs a real thread, and both libraries have some to spare: the greenlet waits, and its
hub goes on with others.
"""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from asgiadapt._threads.handoff import locked
from asgiadapt._threads.loops import Bell
from asgiadapt._threads.primitives import get_ident

LIBRARIES: Final = frozenset({"gevent.monkey", "eventlet.patcher"})


def escape() -> Callable[[Callable[[], Any]], Any] | None:
    """What runs a function on a real thread, and waits as a greenlet; None where threads are real."""
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        pool = sys.modules["gevent"].get_hub().threadpool
        return lambda function: pool.apply(function)
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        from eventlet import tpool  # pyright: ignore[reportMissingImports]

        return lambda function: tpool.execute(function)
    return None


def bell_maker() -> Callable[[], Bell]:
    """What makes the bells by which the code that asks may wait for another thread."""
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        return _GeventBell
    if (escape_to := escape()) is not None:
        return partial(_EscapedBell, escape_to)
    return locked


class _GeventBell:
    """Rung on any thread; the greenlet that waits lets its hub go on with others."""

    def __init__(self) -> None:
        self._event: Any = sys.modules["gevent.event"].Event()
        self._thread = get_ident()
        self._loop: Any = sys.modules["gevent"].get_hub().loop
        # With the one below, the only thing in gevent that may be touched by any thread.
        self._watcher: Any = self._loop.async_()
        self._watcher.start(self._event.set)

    def acquire(self, *, timeout: float) -> bool:
        rung = False
        try:
            rung = bool(self._event.wait(None if timeout < 0 else timeout))
            return rung
        except BaseException:
            rung = True  # nobody comes back for it
            raise
        finally:
            if rung:
                self._watcher.stop()

    def release(self) -> None:
        self._watcher.send()

    def __del__(self) -> None:
        if get_ident() == self._thread:
            self._watcher.close()
        else:
            self._loop.run_callback_threadsafe(self._watcher.close)


class _EscapedBell:
    """Waited for by a real thread of the library's, while its hub goes on."""

    def __init__(self, escape_to: Callable[[Callable[[], Any]], Any]) -> None:
        self._escape_to = escape_to
        self._lock = locked()
        self.release = self._lock.release

    def acquire(self, *, timeout: float) -> bool:
        return bool(self._escape_to(partial(self._lock.acquire, timeout=timeout)))
