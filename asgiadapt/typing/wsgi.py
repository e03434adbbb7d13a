"""WSGI: environ and callables (PEP 3333)."""

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

Environ: TypeAlias = dict[str, Any]

# Loose, since applications annotate it with the standard library's protocol, with that of their
# framework, or not at all.
StartResponse: TypeAlias = Any
WSGIApplication: TypeAlias = Callable[[Environ, StartResponse], Iterable[bytes]]
