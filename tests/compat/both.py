"""The two asgirefs, side by side in one process: nothing here installs ours."""

from importlib import import_module
from types import ModuleType
from typing import Any

import pytest

MODULES = (
    "compatibility",
    "current_thread_executor",
    "local",
    "server",
    "sync",
    "testing",
    "timeout",
    "typing",
    "wsgi",
)
THEIRS, OURS = "asgiref", "asgiadapt.compat.asgiref"


def theirs(module: str) -> ModuleType:
    return import_module(f"{THEIRS}.{module}")


def ours(module: str) -> ModuleType:
    return import_module(f"{OURS}.{module}")


class Side:
    """All names of one of them, as attributes."""

    def __init__(self, package: str) -> None:
        self.is_ours = package == OURS
        self._modules = [import_module(f"{package}.{name}") for name in MODULES]

    def __getattr__(self, name: str) -> Any:
        for module in self._modules:
            if hasattr(module, name):
                return getattr(module, name)
        raise AttributeError(name)


on_both_sides = pytest.mark.parametrize("side", [Side(THEIRS), Side(OURS)], ids=["asgiref", "asgiadapt"])
