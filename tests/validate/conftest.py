"""Rules of ASGI are broken on purpose here."""

import pytest


@pytest.fixture
def _no_broken_rule() -> None:
    """In place of the one for all tests."""
