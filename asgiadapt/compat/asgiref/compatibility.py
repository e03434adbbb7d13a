"""``asgiref.compatibility``: applications of ASGI 2, which take the scope first and the rest later."""

import inspect
from typing import Any

from asgiadapt import iscoroutinefunction

__all__ = [
    "double_to_single_callable",
    "guarantee_single_callable",
    "is_double_callable",
    "iscoroutinefunction",
]


def is_double_callable(application: Any) -> bool:
    """Whether *application* is called twice: with the scope, and what that gives with the rest."""
    if getattr(application, "_asgi_single_callable", False):
        return False
    if getattr(application, "_asgi_double_callable", False) or inspect.isclass(application):
        return True
    return not any(map(iscoroutinefunction, (application, getattr(application, "__call__", None))))  # noqa: B004  of the instance, which may have its own


def double_to_single_callable(application: Any) -> Any:
    """One of ASGI 3 for one of ASGI 2."""

    async def new_application(scope: Any, receive: Any, send: Any) -> Any:
        return await application(scope)(receive, send)

    return new_application


def guarantee_single_callable(application: Any) -> Any:
    """*application* itself where it is of ASGI 3, and one made of it where it is of ASGI 2."""
    return double_to_single_callable(application) if is_double_callable(application) else application
