"""What the package shows to the outside."""

import inspect
import pickle
import subprocess
import sys
import typing
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

import asgiadapt
import asgiadapt.typing

CLASSES = [name for name in asgiadapt.__all__ if inspect.isclass(getattr(asgiadapt, name))]
ERRORS = [name for name in CLASSES if issubclass(getattr(asgiadapt, name), BaseException)]


@pytest.mark.parametrize("module", [asgiadapt, asgiadapt.typing], ids=lambda module: module.__name__)
def test_all_is_sorted_and_there(module: Any) -> None:
    """Every public name exists, and nothing public is missing from the list."""
    assert sorted(module.__all__) == module.__all__
    assert len(set(module.__all__)) == len(module.__all__)
    submodules = {name for name, value in vars(module).items() if inspect.ismodule(value)}
    public = {name for name in vars(module) if not name.startswith("_")} - submodules
    assert public == set(module.__all__) - {"__version__"}
    assert all(hasattr(module, name) for name in module.__all__)


def test_the_public_submodules() -> None:
    """The others are free to change."""
    folder = files(asgiadapt)
    names = {entry.name.removesuffix(".py") for entry in folder.iterdir()}
    public = {name for name in names if not name.startswith("_") and name != "py.typed"}
    assert public == {"compat", "testing", "typing", "validate"}


@pytest.mark.parametrize("name", CLASSES)
def test_classes_are_shown_under_the_name_that_people_know(name: str) -> None:
    """They have their docstring, and so do their methods and properties."""
    cls = getattr(asgiadapt, name)
    assert (cls.__module__, cls.__qualname__) == ("asgiadapt", name)
    assert cls.__doc__
    for member, value in vars(cls).items():
        shown = not member.startswith("_") or member == "__call__"
        if shown and (inspect.isfunction(value) or isinstance(value, property)):
            assert inspect.getdoc(value), f"{name}.{member}"


def test_functions_have_their_docstring() -> None:
    """All that are public, and the package and its submodule too."""
    for module in (asgiadapt, asgiadapt.typing):
        assert inspect.getdoc(module)
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isfunction(value):
                # From Python 3.12 on, the standard library has the markers itself.
                borrowed = sys.version_info >= (3, 12) and hasattr(inspect, name)
                assert value.__module__ == ("inspect" if borrowed else "asgiadapt"), name
                assert inspect.getdoc(value), name


@pytest.mark.parametrize("name", CLASSES)
def test_annotations_can_be_resolved(name: str) -> None:
    """Although the classes say that they live in another module than they do."""
    cls = getattr(asgiadapt, name)
    typing.get_type_hints(cls)
    for _, member in inspect.getmembers(cls, inspect.isfunction):
        typing.get_type_hints(member)


@pytest.mark.parametrize(
    ("name", "bases"),
    [
        ("ApplicationError", (Exception,)),
        ("ApplicationOrderError", (asgiadapt.ApplicationError, RuntimeError)),
        ("ApplicationTypeError", (asgiadapt.ApplicationError, TypeError)),
        ("ApplicationValueError", (asgiadapt.ApplicationError, ValueError)),
        ("ClientDisconnected", (ConnectionError,)),
        ("ClientTimeout", (TimeoutError,)),
        ("DeadlockError", (RuntimeError,)),
        ("LoopStopped", (RuntimeError,)),
        ("PoolClosed", (RuntimeError,)),
        ("PoolFull", (RuntimeError,)),
        ("RequestTooLarge", (OSError,)),
        ("ServerError", (RuntimeError,)),
        ("StartupFailed", (RuntimeError,)),
    ],
)
def test_errors_are_what_people_catch_already(name: str, bases: tuple[type, ...]) -> None:
    """Each inherits from the builtin that fits, and from nothing else."""
    assert getattr(asgiadapt, name).__bases__ == bases


def test_no_error_is_missing_from_that_list() -> None:
    """A new one needs its row; what concerns the client is an OSError, and not the application's fault."""
    rows = test_errors_are_what_people_catch_already.pytestmark[0].args[1]
    assert [name for name, _ in rows] == ERRORS
    for name in ("ClientDisconnected", "ClientTimeout", "RequestTooLarge"):
        assert issubclass(getattr(asgiadapt, name), OSError)
        assert not issubclass(getattr(asgiadapt, name), asgiadapt.ApplicationError)


@pytest.mark.parametrize("name", ERRORS)
def test_errors_can_be_sent_to_another_process(name: str) -> None:
    """With class and text."""
    error = getattr(asgiadapt, name)("what happened")
    copied = pickle.loads(pickle.dumps(error))
    assert type(copied) is type(error)
    assert str(copied) == "what happened"


def test_live_figures_can_be_sent_to_another_process() -> None:
    """For instance to one that collects them."""
    stats = asgiadapt.WorkerPool(3).stats()
    assert pickle.loads(pickle.dumps(stats)) == stats
    assert repr(stats) == "PoolStats(threads=0, busy=0, waiting=0, longest_wait=0.0)"


def test_the_package_is_marked_as_typed() -> None:
    """For type checkers."""
    assert files(asgiadapt).joinpath("py.typed").is_file()


def run(program: str) -> None:
    """Run *program* on a Python of its own, in which each warning is an error."""
    root = Path(asgiadapt.__file__).parent.parent
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


HEAVY = (
    {"trio", "uvloop", "anyio", "sniffio"}
    | {"flask", "werkzeug", "django", "starlette", "fastapi", "asgiref", "a2wsgi"}
    | {"uvicorn", "hypercorn", "wsgiref", "http.server", "multiprocessing"}
)


@pytest.mark.parametrize("module", ["asgiadapt", "asgiadapt.typing"])
def test_importing_it_is_cheap_and_starts_nothing(module: str) -> None:
    """No thread, no framework, no server, no other event loop, and no event loop made."""
    run(
        f"import asyncio, sys, threading\n"
        f"asyncio.events.new_event_loop = asyncio.new_event_loop = None\n"
        f"import {module}\n"
        f"assert threading.active_count() == 1, threading.enumerate()\n"
        f"assert not {HEAVY} & set(sys.modules), {HEAVY} & set(sys.modules)\n"
    )


def test_making_an_adapter_starts_nothing_either() -> None:
    """Threads come with the first request."""
    run(
        "import threading\n"
        "from asgiadapt import AsgiToWsgi, WorkerPool, WsgiToAsgi\n"
        "adapters = WsgiToAsgi(print), WsgiToAsgi(print, pool=WorkerPool(5)), AsgiToWsgi(print)\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
    )
