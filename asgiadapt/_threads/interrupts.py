"""Ctrl-C while the main thread waits for async code: the code is cancelled, and the interrupt raised then.

Raised at once it could hit the event loop between two steps, and a task would never be woken again. So the
default handler gives way for as long as the thread waits, as in `asyncio.run`. A handler of somebody
else's stays, and so does the default one while the thread runs sync code.
"""

# The functions of signal cost 6.5 us a call of async_to_sync, and these 0.5.
import _signal  # pyright: ignore[reportMissingImports]
import sys
from threading import get_ident, main_thread
from typing import Any

from asgiadapt._threads.calls import Interruptible, here


def begin(call: Interruptible) -> tuple[Interruptible | None, bool]:
    """From now on this thread waits for *call*. Gives what `end` needs."""
    outer = here.waits_for
    here.waits_for = call
    if (
        get_ident() != main_thread().ident
        or "uwsgi" in sys.modules  # it has put a handler in its place that Python does not know of
        or _signal.getsignal(_signal.SIGINT) is not _signal.default_int_handler
    ):
        return outer, False
    try:
        _signal.signal(_signal.SIGINT, _on_interrupt)
    except ValueError:
        return outer, False  # the main thread of a subinterpreter
    return outer, True


def end(begun: tuple[Interruptible | None, bool]) -> None:
    outer, installed = begun
    if installed and _signal.getsignal(_signal.SIGINT) is _on_interrupt:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)
    here.waits_for = outer


def _on_interrupt(number: int, frame: Any) -> None:
    call = here.waits_for
    if call is None or not call.interrupt():
        raise KeyboardInterrupt
