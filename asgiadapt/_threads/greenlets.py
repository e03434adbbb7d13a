"""Where threads are greenlets in disguise: gevent's and eventlet's monkey patches.

All greenlets of a thread share one running event loop, by asyncio's account; so the second that starts one is
refused. A loop needs a real thread, and both libraries have some to spare: the greenlet waits, and its
hub goes on with others.
"""

import sys
from collections.abc import Callable
from typing import Any, Final

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
