"""WSGI: environ and callables (PEP 3333).

The names are those of the standard library's ``wsgiref.types``, and what is annotated with the one is
accepted where the other is asked for. Importing that module would import ``wsgiref`` with it.
"""

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Protocol, TypeAlias

# The protocols are called with positional arguments only, as PEP 3333 has it.

ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType]
OptExcInfo: TypeAlias = ExcInfo | tuple[None, None, None]
WriteCallable: TypeAlias = Callable[[bytes], object]


class StartResponse(Protocol):
    """Takes status and headers of the response; with *exc_info* they replace those given before."""

    def __call__(
        self, status: str, headers: list[tuple[str, str]], exc_info: OptExcInfo | None = ..., /
    ) -> WriteCallable:
        """The result is ``write``, which takes parts of the body; for old applications."""
        ...


WSGIEnvironment: TypeAlias = dict[str, Any]
WSGIApplication: TypeAlias = Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]


class InputStream(Protocol):
    """``environ["wsgi.input"]``: the request body."""

    def read(self, size: int = ..., /) -> bytes:
        """At most *size* bytes, or all; ``b""`` at the end."""
        ...

    def readline(self, size: int = ..., /) -> bytes:
        """A line, or *size* bytes of it."""
        ...

    def readlines(self, hint: int = ..., /) -> list[bytes]:
        """The lines, or as many as come to *hint* bytes."""
        ...

    def __iter__(self) -> Iterator[bytes]: ...


class ErrorStream(Protocol):
    """``environ["wsgi.errors"]``: where the application writes what went wrong."""

    def flush(self) -> object:
        """Let what has been written be seen."""
        ...

    def write(self, s: str, /) -> object:
        """Write *s*."""
        ...

    def writelines(self, seq: list[str], /) -> object:
        """Write each of *seq*."""
        ...


class Readable(Protocol):
    """What a file wrapper takes; it is closed afterwards if it has a ``close()``."""

    def read(self, size: int = ..., /) -> bytes:
        """At most *size* bytes, or all; ``b""`` at the end."""
        ...


class FileWrapper(Protocol):
    """``environ["wsgi.file_wrapper"]``: makes a response of a file, for the server to send in its own way."""

    def __call__(self, file: Readable, block_size: int = ..., /) -> Iterable[bytes]:
        """The iterable that the application returns."""
        ...
