"""The types of the adapters' own parameters.

The exact types would not do there: TypedDicts with different keys do not stand in for each other, and each
framework has its own, a mapping, or nothing. So messages and scopes are Any, and only what is called with
how many arguments, and what comes of it, is said. Applications with less or more are still refused.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeAlias

from asgiadapt.typing.wsgi import WSGIEnvironment

LooseScope: TypeAlias = Any
LooseReceive: TypeAlias = Callable[[], Awaitable[Any]]
LooseSend: TypeAlias = Callable[[Any], Awaitable[Any]]
# Of ASGI 3.0, or else of ASGI 2.0.
LooseASGIApplication: TypeAlias = (
    Callable[[Any, Any, Any], Awaitable[Any]] | Callable[[Any], Callable[[Any, Any], Awaitable[Any]]]
)

LooseStartResponse: TypeAlias = Callable[..., Any]
# An application may say of its start_response what it likes, or nothing.
LooseWSGIApplication: TypeAlias = Callable[[WSGIEnvironment, Any], Iterable[bytes]]
