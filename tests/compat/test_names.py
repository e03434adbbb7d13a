"""The names of asgiref, compared with the asgiref that is installed."""

import inspect
from importlib import import_module
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import a2wsgi
import asgiref
import pytest
from packaging.requirements import Requirement

import asgiadapt.compat.a2wsgi
from asgiadapt.compat import asgiref as stand_in
from tests.compat.both import MODULES, ours, theirs

# What asgiref's classes have for themselves, and nobody is told to use.
INTERNAL = {
    "AsyncToSync": {
        "async_single_thread_context",
        "context_to_thread_executor",
        "executors",
        "loop_thread_executors",
        "main_wrap",
    },
    "SyncToAsync": {
        "context_to_thread_executor",
        "deadlock_context",
        "single_thread_executor",
        "thread_sensitive_context",
        "threadlocal",
    },
    "WsgiToAsgiInstance": {"run_wsgi_app"},
}


def names_of(module: Any) -> set[str]:
    """What a module of asgiref makes itself, or takes from another one of its own."""
    if hasattr(module, "__all__"):
        return set(module.__all__)
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not inspect.ismodule(value)
        and (
            str(getattr(value, "__module__", "")).startswith("asgiref")
            or name in ("iscoroutinefunction", "markcoroutinefunction", "logger")
        )
    }


ALL = [(module, name) for module in MODULES for name in sorted(names_of(theirs(module)))]
every_name = pytest.mark.parametrize(("module", "name"), ALL, ids=[f"{m}.{n}" for m, n in ALL])


def test_there_is_a_module_for_each_of_asgiref() -> None:
    """And none besides."""
    there = {file.stem for file in Path(asgiref.__path__[0]).glob("*.py")} - {"__init__"}
    here = {file.stem for file in Path(stand_in.__path__[0]).glob("*.py")} - {"__init__"}
    assert here == there == set(MODULES)


@every_name
def test_each_public_name_is_there(module: str, name: str) -> None:
    """In the module where asgiref has it, and told in ``__all__``."""
    assert hasattr(ours(module), name)
    assert name in ours(module).__all__


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    found = inspect.signature(function).parameters.values()
    # By position, by keyword, and with a default: not where the default is an object of its own.
    return [
        (parameter.name.strip("_"), parameter.kind, parameter.default)
        for parameter in found
        if parameter.name not in ("self", "cls", "args", "kwargs")
    ]


CALLED = [
    (m, n)
    for m, n in ALL
    if callable(getattr(theirs(m), n)) and m != "typing" and not n.endswith("coroutinefunction")
]


@pytest.mark.parametrize(("module", "name"), CALLED, ids=[f"{m}.{n}" for m, n in CALLED])
def test_each_can_be_called_as_there(module: str, name: str) -> None:
    """With the same parameters, in the same order, with the same defaults."""
    assert parameters(getattr(ours(module), name)) == parameters(getattr(theirs(module), name))


CLASSES = [
    (m, n) for m, n in CALLED if inspect.isclass(getattr(theirs(m), n)) and n not in ("Local", "typing")
]


@pytest.mark.parametrize(("module", "name"), CLASSES, ids=[f"{m}.{n}" for m, n in CLASSES])
def test_each_class_has_the_methods_that_it_has_there(module: str, name: str) -> None:
    """With the same parameters too."""
    there, here = getattr(theirs(module), name), getattr(ours(module), name)
    for member, value in vars(there).items():
        if member.startswith("_") or member in INTERNAL.get(name, ()):
            continue
        if inspect.isfunction(value):
            assert parameters(getattr(here, member)) == parameters(value), member
        elif name == "ApplicationCommunicator" and member.endswith("_queue"):
            assert hasattr(here(print, {}), member)
        else:
            assert hasattr(here, member), member


def test_the_version_is_that_of_the_names() -> None:
    """The one that they were compared with."""
    assert stand_in.__version__.split(".")[:2] == asgiref.__version__.split(".")[:2] == ["3", "13"]


@pytest.mark.parametrize("library", ["django", "flask", "channels", "daphne"])
def test_the_version_is_what_each_library_asks_for(library: str) -> None:
    """Whatever it says of asgiref in its own metadata."""
    wanted = [Requirement(text) for text in requires(library) or ()]
    specifiers = [each.specifier for each in wanted if each.name == "asgiref"]
    assert specifiers
    assert all(specifier.contains(stand_in.__version__) for specifier in specifiers)


@pytest.mark.parametrize("name", ["ASGIMiddleware", "WSGIMiddleware"])
def test_a2wsgi_s_classes_can_be_called_as_there(name: str) -> None:
    """With the same parameters, in the same order, with the same defaults."""
    here = getattr(asgiadapt.compat.a2wsgi, name)
    assert parameters(here) == parameters(getattr(a2wsgi, name))
    assert set(a2wsgi.__all__) == set(asgiadapt.compat.a2wsgi.__all__)


def test_modules_say_what_they_stand_for() -> None:
    """In their docstring."""
    for name in MODULES:
        assert f"``asgiref.{name}``" in str(import_module(f"asgiadapt.compat.asgiref.{name}").__doc__)
