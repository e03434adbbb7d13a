"""`install_as_asgiref`: from then on, whoever imports asgiref gets `asgiadapt.compat.asgiref`.

What is installed is a finder, which Python asks for each module that is imported for the first time. The
modules that stand in are imported when asgiref is, and not before: as Python starts, not all is in place that
they need.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import FunctionType, ModuleType
from typing import Any, Final

VARIABLE: Final = "ASGIADAPT_AS_ASGIREF"
_OFF: Final = {"", "0", "false", "no", "off"}
_HERE: Final = "asgiadapt.compat."


def install_as_asgiref() -> None:
    """Make ``import asgiref`` and its submodules give asgiadapt, for this process, from now on.

    Django, Flask, Channels and others import asgiref by themselves; they then run on `sync_to_async`,
    `async_to_sync` and `Local` of this library. All public names of asgiref 3.13 are there, with their
    parameters. asgiref need not be installed for it.

    Call it before anything imports asgiref: first thing in ``manage.py``, ``asgi.py``, ``wsgi.py`` or
    ``conftest.py``. Where a program of somebody else's comes first, set the environment variable
    ``ASGIADAPT_AS_ASGIREF`` to ``1``: each Python then calls it as it starts. May be called again.

    Raises RuntimeError where asgiref has been imported already, and changes nothing then.
    """
    loaded = sys.modules.get("asgiref")
    if loaded is not None and not _is_ours(loaded):
        # The package alone has nothing that could be kept but its version.
        if any(name.startswith("asgiref.") for name in sys.modules):
            raise RuntimeError(_too_late())
        del sys.modules["asgiref"]
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


def install_if_the_environment_says_so() -> None:
    """For ``asgiadapt_as_asgiref.pth``, which each Python reads as it starts."""
    if os.environ.get(VARIABLE, "").strip().lower() not in _OFF:
        install_as_asgiref()


class _Finder:
    """Finds the modules of asgiref: those of `asgiadapt.compat.asgiref`. Also their loader."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] != "asgiref" or find_spec(_HERE + name) is None:
            return None
        loader: Any = self
        return ModuleSpec(name, loader)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(_HERE + spec.name)
        spec.loader_state = module.__spec__  # in whose place Python puts *spec*
        return module

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state


_FINDER: Final = _Finder()


def _is_ours(module: ModuleType | None) -> bool:
    return module is not None and module.__name__ == "asgiadapt.compat.asgiref"


def _too_late() -> str:
    holders = sorted(name for name, module in list(sys.modules.items()) if _keeps_asgiref(name, module))
    kept = f", and these keep what they took from it: {', '.join(holders)}" if holders else ""
    return (
        f"install_as_asgiref() was called too late: asgiref has been imported already{kept}. That would go "
        f"on with asgiref beside asgiadapt, and neither sees the calls of the other. Call it before anything "
        f"else is imported, or set the environment variable {VARIABLE}=1, which works as Python starts."
    )


def _keeps_asgiref(name: str, module: ModuleType) -> bool:
    if name.partition(".")[0] == "asgiref":
        return False
    # Some of what is in there is no module. And what modules hold may be lazy and raise whatever it likes as
    # soon as it is asked for its class: so ask for the type alone.
    for value in list(getattr(module, "__dict__", {}).values()):
        kind = type(value)
        if issubclass(kind, ModuleType):
            origin: object = value.__name__
        elif issubclass(kind, type | FunctionType):
            origin = value.__module__
        else:
            origin = kind.__module__
        if isinstance(origin, str) and origin.partition(".")[0] == "asgiref":
            return True
    return False
