"""What a fuzz target does is chosen by bytes: `Choices` reads them.

The first of the options stands for 0, which is what comes once the bytes are used up; so programs end, and
short inputs are simple ones.
"""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


class Choices:
    """*data*, taken from its front."""

    def __init__(self, data: bytes) -> None:
        self._rest = iter(data)

    def byte(self) -> int:
        return next(self._rest, 0)

    def flag(self) -> bool:
        return self.byte() & 1 == 1

    def seldom(self) -> bool:
        """True for one byte of sixteen."""
        return self.byte() & 15 == 15

    def pick(self, options: Sequence[T]) -> T:
        return options[self.byte() % len(options)]

    def raw(self, most: int) -> bytes:
        """Up to *most* bytes as they stand in the data."""
        return bytes(islice(self._rest, self.byte() % (most + 1)))

    def several(self, make: Callable[[], T], most: int) -> list[T]:
        """What *make* gives, up to *most* times."""
        return [make() for _ in range(self.byte() % (most + 1))]
