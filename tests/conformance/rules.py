"""Ids of the checklist's rules on tests that are no table."""

from typing import Any

import pytest


def rule(name: str) -> Any:
    """Marks a test as that of one rule, so that ``pytest -k W2A-BODY-05`` finds it."""
    return pytest.mark.parametrize("_rule", [pytest.param(None, id=name)])
