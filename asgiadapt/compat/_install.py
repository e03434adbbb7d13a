"""`install_as_asgiref`: from then on, whoever imports asgiref gets `asgiadapt.compat.asgiref`."""

import os
import sys
from types import FunctionType, ModuleType
from typing import Final

VARIABLE: Final = "ASGIADAPT_AS_ASGIREF"
_OFF: Final = {"", "0", "false", "no", "off"}


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
    loaded = [name for name in sys.modules if name.partition(".")[0] == "asgiref"]
    # The package alone has nothing that could be kept but its version.
    if set(loaded) - {"asgiref"} and not _is_ours(sys.modules.get("asgiref")):
        raise RuntimeError(_too_late())
    from asgiadapt.compat import asgiref
    from asgiadapt.compat.asgiref import (
        compatibility,
        current_thread_executor,
        local,
        server,
        sync,
        testing,
        timeout,
        typing,
        wsgi,
    )

    sys.modules["asgiref"] = asgiref
    for module in (
        compatibility,
        current_thread_executor,
        local,
        server,
        sync,
        testing,
        timeout,
        typing,
        wsgi,
    ):
        sys.modules["asgiref." + module.__name__.rpartition(".")[2]] = module


def install_if_the_environment_says_so() -> None:
    """For ``asgiadapt_as_asgiref.pth``, which each Python reads as it starts."""
    if os.environ.get(VARIABLE, "").strip().lower() not in _OFF:
        install_as_asgiref()


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
