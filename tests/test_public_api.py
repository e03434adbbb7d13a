"""What the package shows to the outside."""

import inspect
import subprocess
import sys
from importlib.resources import files

import pytest

import asgiadapt

CLASSES = [name for name in asgiadapt.__all__ if inspect.isclass(getattr(asgiadapt, name))]


def test_all_is_sorted_and_there() -> None:
    """Every public name exists, and nothing public is missing from the list."""
    assert sorted(asgiadapt.__all__) == asgiadapt.__all__
    public = {name for name in vars(asgiadapt) if not name.startswith("_")} | {"__version__"}
    assert public - {"typing"} == set(asgiadapt.__all__)


@pytest.mark.parametrize("name", CLASSES)
def test_classes_are_shown_under_the_name_that_people_know(name: str) -> None:
    """They have their docstring, and so do their methods."""
    cls = getattr(asgiadapt, name)
    assert cls.__module__ == "asgiadapt"
    assert inspect.getdoc(cls)
    for member, value in vars(cls).items():
        if inspect.isfunction(value) and not member.startswith("_"):
            assert inspect.getdoc(value), f"{name}.{member}"


@pytest.mark.parametrize(
    ("name", "bases"),
    [
        ("ApplicationOrderError", (asgiadapt.ApplicationError, RuntimeError)),
        ("ApplicationTypeError", (asgiadapt.ApplicationError, TypeError)),
        ("ApplicationValueError", (asgiadapt.ApplicationError, ValueError)),
        ("ClientDisconnected", (ConnectionError, OSError)),
        ("ClientTimeout", (TimeoutError, OSError)),
        ("RequestTooLarge", (OSError,)),
        ("PoolClosed", (RuntimeError,)),
        ("PoolFull", (RuntimeError,)),
        ("ServerError", (RuntimeError,)),
    ],
)
def test_errors_are_what_people_catch_already(name: str, bases: tuple[type, ...]) -> None:
    """Each inherits from the builtin that fits."""
    assert all(issubclass(getattr(asgiadapt, name), base) for base in bases)


def test_the_package_is_marked_as_typed() -> None:
    """For type checkers."""
    assert files(asgiadapt).joinpath("py.typed").is_file()


def test_importing_it_is_cheap_and_starts_nothing() -> None:
    """No thread, no framework, no server, no other event loop."""
    program = (
        "import sys, threading, asgiadapt\n"
        "assert threading.active_count() == 1\n"
        "heavy = {'trio', 'uvloop', 'flask', 'django', 'starlette', 'uvicorn', 'asgiref', 'wsgiref'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
