"""ASGI: scopes, events and callables.

The types of the adapters' own parameters. They are as loose as the frameworks' own, so that an adapter
can be mounted in each of them: TypedDicts with different keys do not stand in for each other.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Event: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Event]]
Send: TypeAlias = Callable[[Event], Awaitable[None]]
