"""Which futures a task waits for: asked when a thread seems to wait for a call that waits for the thread.

asyncio does not say who completes a future. A task that is awaited is known; other futures are completed by
a callback of some task's (``gather``, ``wait``, ``shield``, ``as_completed``, ``wait_for``), which refers to
them. What waits for an event or a lock waits for nobody in particular, and the answer is no.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from functools import partial
from types import FunctionType, MethodType
from typing import Any

from asgiadapt._threads.calls import waiting_origins

# From a callback to the future: a method, its object, the attributes.
_DEPTH = 4


def awaited_by(task: Any) -> dict[int, Any]:
    """The futures without which *task* cannot go on, by their ids. On the loop of all."""
    seen: dict[int, Any] = {}
    to_see: list[Any] = [task]
    while to_see:
        waiting = to_see.pop()
        awaited = getattr(waiting, "_fut_waiter", None)
        if awaited is None or id(awaited) in seen:
            continue
        seen[id(awaited)] = awaited
        if isinstance(awaited, asyncio.Task):
            to_see.append(awaited)
        else:
            to_see.extend(_who_completes(awaited))
            # The future of a sync call, which waits for async code itself.
            to_see.extend(
                origin.task_inside()
                for origin in list(waiting_origins)
                if getattr(origin, "waiter", None) is awaited
            )
    return seen


def _who_completes(future: Any) -> Iterable[Any]:
    for task in asyncio.all_tasks():
        for callback, _ in getattr(task, "_callbacks", None) or ():
            if _refers_to(callback, future, _DEPTH):
                yield task
                break


def _refers_to(thing: Any, future: Any, depth: int) -> bool:
    if thing is future:
        return True
    return depth > 0 and any(_refers_to(part, future, depth - 1) for part in _parts(thing))


def _parts(thing: Any) -> Iterable[Any]:
    if isinstance(thing, MethodType):
        return (thing.__self__, thing.__func__)
    if isinstance(thing, FunctionType):
        return [cell.cell_contents for cell in thing.__closure__ or () if _is_filled(cell)]
    if isinstance(thing, partial):
        return (thing.func, *thing.args, *thing.keywords.values())
    if isinstance(thing, list | tuple | set | frozenset | deque):
        return list(thing)
    if isinstance(thing, dict):
        return list(thing.values())
    if isinstance(thing, asyncio.Future | asyncio.AbstractEventLoop | type):
        return ()
    return list(getattr(thing, "__dict__", {}).values())


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True
