"""The streams that a WSGI application finds in its environ: input, errors, and files to send."""

import io
import sys
from collections.abc import Callable, Iterator
from typing import IO, Any, Protocol

_BUFFER_BYTES = 65536


class ErrorStream:
    """``wsgi.errors``: whatever ``sys.stderr`` is at the time, and no text that it cannot take."""

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"wsgi.errors takes text, not {type(text).__name__}; decode or format it first.")
        stream = sys.stderr
        if stream is None:  # a process without a console
            return len(text)
        try:
            stream.write(text)
        except UnicodeEncodeError:
            encoding = stream.encoding or "ascii"
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if sys.stderr is not None:
            sys.stderr.flush()


class Source(Protocol):
    """Whoever brings the chunks of a request body."""

    def take_on_worker(self) -> list[bytes]:
        """What has come, or waits for it; nothing at the end."""
        ...


class _RawBody(io.RawIOBase):
    """The chunks of a request body as a file without a buffer."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._chunks: Iterator[bytes] = iter(())
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def _more(self) -> memoryview:
        """What comes next, not empty but at the end."""
        if not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                self._chunks = iter(self._source.take_on_worker())
                chunk = next(self._chunks, b"")
            self._rest = memoryview(chunk)
        return self._rest

    def readinto(self, buffer: Any) -> int:
        rest = self._more()
        size = min(len(rest), len(buffer))
        buffer[:size] = rest[:size]
        self._rest = rest[size:]
        return size

    def readall(self) -> bytes:
        pieces: list[memoryview] = []
        while rest := self._more():
            pieces.append(rest)
            self._rest = memoryview(b"")
        return b"".join(pieces)


class BodyReader(io.BufferedReader):
    """A request body that is still arriving, as a buffered file.

    Behaves as `io.BytesIO` over the same bytes does, however they were cut up. A body that has arrived
    already *is* an `io.BytesIO`, and an application shall not see the difference.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(_RawBody(source), _BUFFER_BYTES)

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(-1 if size is None or size < 0 else size)

    def readline(self, size: int | None = -1, /) -> bytes:
        return super().readline(-1 if size is None else size)

    def readlines(self, hint: int | None = None, /) -> list[bytes]:
        lines: list[bytes] = []
        left = hint or 0
        for line in self:
            lines.append(line)
            left -= len(line)
            if hint is not None and hint > 0 and left <= 0:
                break
        return lines

    def close(self) -> None:
        """Nothing: the request goes on (PEP 3333 leaves closing to the server)."""


class LateBody:
    """``wsgi.input`` of a request that likely has no body, or none yet: a `BodyReader` made at first use."""

    __slots__ = ("_reader", "_source")

    def __init__(self, source: Source) -> None:
        self._source = source
        self._reader: BodyReader | None = None

    def _open(self) -> BodyReader:
        if self._reader is None:
            self._reader = BodyReader(self._source)
        return self._reader

    def read(self, size: int | None = -1, /) -> bytes:
        return self._open().read(size)

    def readline(self, size: int | None = -1, /) -> bytes:
        return self._open().readline(size)

    def readlines(self, hint: int | None = None, /) -> list[bytes]:
        return self._open().readlines(hint)

    def __enter__(self) -> BodyReader:
        return self._open()

    def __exit__(self, *exc_info: object) -> None:
        """Nothing, as for close()."""

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._open())

    def __next__(self) -> bytes:
        return next(self._open())

    def __getattr__(self, name: str) -> Any:
        """Everything else that a buffered file has: ``readinto``, ``peek``, ``closed`` ..."""
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._open(), name)


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class FileWrapper:
    """``wsgi.file_wrapper``: a file as an iterable of blocks (PEP 3333, "Optional Platform-Specific...").

    *filelike* has ``read(size)``; blocks are read from its current position to its end. The wrapper has
    ``close`` where the file has it.
    """

    def __init__(self, filelike: _Readable, block_size: int = _BUFFER_BYTES) -> None:
        self.filelike = filelike
        self.block_size = block_size
        close = getattr(filelike, "close", None)
        if close is not None:
            self.close: Callable[[], object] = close

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        block = self.filelike.read(self.block_size)
        if not block:
            raise StopIteration
        return block

    def regular_file(self) -> IO[bytes] | None:
        """The file, where it is one that a server can send by itself: on disk, and opened by open()."""
        filelike: Any = self.filelike
        # Only the types that open() gives. Others wrap a file that they delete, count or change.
        if type(filelike) in (io.BufferedReader, io.FileIO) and not filelike.closed:
            return filelike  # type: ignore[no-any-return]
        return None
