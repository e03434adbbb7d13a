"""Who may import whom: `_sansio` knows no threads, `_threads` knows no HTTP, the gateways hold no locks."""

import ast
import sys
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path

import pytest

import asgiadapt

PACKAGE = Path(asgiadapt.__file__).parent
WSGI_TO_ASGI = {"asgiadapt._wsgi_to_asgi", "asgiadapt._wsgi_exchange", "asgiadapt._wsgi_streams"}
ASGI_TO_WSGI = {"asgiadapt._asgi_to_wsgi", "asgiadapt._asgi_exchange", "asgiadapt._asgi_site"}
GATEWAYS = WSGI_TO_ASGI | ASGI_TO_WSGI
BRIDGES = {"asgiadapt._sync_to_async", "asgiadapt._async_to_sync", "asgiadapt._local"}
# What is public is for those outside; inside, each name is imported from where it is made.
PUBLIC = {f"asgiadapt.{name}" for name in asgiadapt.__all__}
LOOPS = {"asyncio", "trio", "anyio", "uvloop"}
THREADS = {"threading", "_thread", "queue", "_queue", "concurrent", "multiprocessing"}
CONCURRENCY = LOOPS | THREADS | {"contextvars"}
DYNAMIC = {"importlib", "imp", "runpy"}  # they would get around this check
RULES_AND_THREADS = {"asgiadapt._sansio", "asgiadapt._threads"}
EVERYWHERE = PUBLIC | DYNAMIC | {"asgiadapt.compat"}

# part of the package -> what it may not import, anywhere in its text
FORBIDDEN = {
    "_sansio": EVERYWHERE
    | CONCURRENCY
    | GATEWAYS
    | BRIDGES
    | {"time", "logging", "os", "io", "socket", "selectors", "signal", "select", "asgiadapt._threads"},
    "_threads": EVERYWHERE
    | GATEWAYS
    | BRIDGES
    | {"asgiadapt._sansio", "asgiadapt.typing", "http", "wsgiref"},
    "typing": EVERYWHERE | CONCURRENCY | GATEWAYS | RULES_AND_THREADS,
    "validate.py": EVERYWHERE | CONCURRENCY | GATEWAYS | BRIDGES | {"asgiadapt._threads"},
    "testing.py": EVERYWHERE | CONCURRENCY | GATEWAYS | BRIDGES | RULES_AND_THREADS,
    "_testing_request.py": EVERYWHERE | CONCURRENCY | GATEWAYS | BRIDGES | RULES_AND_THREADS,
    "_testing_asgi.py": EVERYWHERE
    | GATEWAYS
    | BRIDGES
    | THREADS
    | RULES_AND_THREADS
    | {"trio", "anyio", "uvloop", "contextvars"},
    "_testing_call.py": EVERYWHERE
    | GATEWAYS
    | BRIDGES
    | THREADS
    | RULES_AND_THREADS
    | {"trio", "anyio", "uvloop", "contextvars"},
    "_testing_websocket.py": EVERYWHERE | CONCURRENCY | GATEWAYS | BRIDGES | RULES_AND_THREADS,
    "_testing_communicator.py": EVERYWHERE
    | GATEWAYS
    | BRIDGES
    | THREADS
    | RULES_AND_THREADS
    | {"trio", "anyio", "uvloop"},
    "_testing_wsgi.py": EVERYWHERE | CONCURRENCY | GATEWAYS | BRIDGES | {"asgiadapt._threads"},
    "_errors.py": EVERYWHERE | CONCURRENCY | GATEWAYS | RULES_AND_THREADS,
    "_wsgi_streams.py": EVERYWHERE | CONCURRENCY | RULES_AND_THREADS,
    "_wsgi_exchange.py": EVERYWHERE | LOOPS | THREADS | ASGI_TO_WSGI | {"asgiadapt._wsgi_to_asgi"},
    "_wsgi_to_asgi.py": EVERYWHERE | CONCURRENCY | ASGI_TO_WSGI,
    "_asgi_site.py": EVERYWHERE
    | LOOPS
    | THREADS
    | WSGI_TO_ASGI
    | {"asgiadapt._asgi_to_wsgi", "asgiadapt._asgi_exchange"},
    "_asgi_exchange.py": EVERYWHERE | LOOPS | THREADS | WSGI_TO_ASGI | {"asgiadapt._asgi_to_wsgi"},
    "_asgi_to_wsgi.py": EVERYWHERE | THREADS | WSGI_TO_ASGI | {"trio", "anyio", "uvloop"},
    "_dropped_fields.py": EVERYWHERE | CONCURRENCY | GATEWAYS | BRIDGES | RULES_AND_THREADS,
    "_sync_to_async.py": EVERYWHERE
    | GATEWAYS
    | LOOPS
    | {"threading", "_thread", "queue", "asgiadapt._sansio", "asgiadapt._async_to_sync"},
    "_async_to_sync.py": EVERYWHERE
    | GATEWAYS
    | THREADS
    | {"trio", "anyio", "uvloop", "asgiadapt._sansio", "asgiadapt._sync_to_async"},
    "_local.py": EVERYWHERE | GATEWAYS | {"queue", "asgiadapt._sansio"},
    "_markers.py": EVERYWHERE | GATEWAYS | BRIDGES | THREADS | RULES_AND_THREADS,
    "_public.py": DYNAMIC | CONCURRENCY | RULES_AND_THREADS - {"asgiadapt._threads"},
    # The translations stand on the public names, on what a call of a bridge is, and on one rule.
    "compat/__init__.py": EVERYWHERE | CONCURRENCY | GATEWAYS | BRIDGES | RULES_AND_THREADS,
    "compat/_install.py": PUBLIC | CONCURRENCY | GATEWAYS | BRIDGES | RULES_AND_THREADS,
    "compat/a2wsgi.py": DYNAMIC | GATEWAYS | BRIDGES | RULES_AND_THREADS,
    "compat/asgiref": DYNAMIC
    | GATEWAYS
    | {
        "trio",
        "anyio",
        "uvloop",
        "asgiadapt._threads",
        "asgiadapt._errors",
        "asgiadapt._markers",
        "asgiadapt._local",
    },
    "_version.py": EVERYWHERE | CONCURRENCY | GATEWAYS | RULES_AND_THREADS,
}
ALLOWED_PACKAGES = {"asgiadapt"}
WHERE_THEY_RUN = {"loops.py": {"trio"}, "greenlets.py": {"eventlet"}}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def statements(node: ast.AST, *, enter_functions: bool) -> Iterator[ast.AST]:
    """All below *node*, in functions or not; an import below ``if``, ``try`` or ``class`` runs at once."""
    for child in ast.iter_child_nodes(node):
        yield child
        if enter_functions or not isinstance(child, FUNCTIONS):
            yield from statements(child, enter_functions=enter_functions)


def imports(source: str, package: str = "asgiadapt", *, anywhere: bool = True) -> set[str]:
    """The modules that a text imports, *anywhere* or as soon as it is imported itself."""
    found = set()
    for node in statements(ast.parse(source), enter_functions=anywhere):
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = resolve_name("." * node.level + (node.module or ""), package)
            found.add(module)
            found.update(f"{module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Name) and node.id == "__import__":
            found.add("importlib")
    return found


def package_of(file: Path) -> str:
    """What the dots of a relative import in *file* stand for."""
    return ".".join(file.relative_to(PACKAGE.parent).parent.parts)


def wrong(part: str, source: str, package: str = "asgiadapt") -> set[str]:
    """What *source* imports although it belongs to *part*."""
    return {
        name
        for name in imports(source, package)
        for forbidden in FORBIDDEN[part]
        if name == forbidden or name.startswith(forbidden + ".")
    }


def foreign(source: str, package: str = "asgiadapt", *, anywhere: bool = True) -> set[str]:
    """What *source* imports that is neither of the standard library, nor allowed."""
    names = {name.partition(".")[0] for name in imports(source, package, anywhere=anywhere)}
    return names - sys.stdlib_module_names - ALLOWED_PACKAGES


def files_of(part: str) -> list[Path]:
    path = PACKAGE / part
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


@pytest.mark.parametrize("part", FORBIDDEN)
def test_each_part_imports_what_it_may(part: str) -> None:
    """Every module of it."""
    assert files_of(part)
    for file in files_of(part):
        assert wrong(part, file.read_text(), package_of(file)) == set(), file


def test_every_module_belongs_to_a_part() -> None:
    """A new one needs a row of its own; only the package's own face has none."""
    known = {file for part in FORBIDDEN for file in files_of(part)}
    assert set(PACKAGE.rglob("*.py")) - known == {PACKAGE / "__init__.py"}


@pytest.mark.parametrize(
    "file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: package_of(file) + "." + file.stem
)
def test_nothing_but_the_standard_library_is_imported(file: Path) -> None:
    """Trio and eventlet are imported where they run already, inside a function, and nowhere else."""
    source, package = file.read_text(), package_of(file)
    assert foreign(source, package, anywhere=False) == set()
    assert foreign(source, package) <= WHERE_THEY_RUN.get(file.name, set())


@pytest.mark.parametrize(
    ("part", "source", "found"),
    [
        ("_sansio", "import asyncio.events", {"asyncio.events"}),
        ("_sansio", "import re, os.path as path", {"os.path"}),
        ("_sansio", "from time import monotonic", {"time", "time.monotonic"}),
        ("_sansio", "def f():\n    import logging", {"logging"}),
        ("_sansio", "try:\n    import queue\nexcept ImportError:\n    pass", {"queue"}),
        ("_sansio", "from asgiadapt import _threads", {"asgiadapt._threads"}),
        ("_sansio", "from asgiadapt import WsgiToAsgi", {"asgiadapt.WsgiToAsgi"}),
        ("_sansio", "from .. import _wsgi_exchange", {"asgiadapt._wsgi_exchange"}),
        ("_sansio", "__import__('threading')", {"importlib"}),
        ("_threads", "from .._sansio import body", {"asgiadapt._sansio", "asgiadapt._sansio.body"}),
        ("_threads", "from asgiadapt.typing import Scope", {"asgiadapt.typing", "asgiadapt.typing.Scope"}),
        ("_wsgi_to_asgi.py", "import _thread", {"_thread"}),
        ("_wsgi_exchange.py", "async def f():\n    import trio", {"trio"}),
        ("_wsgi_exchange.py", "from asyncio import Future", {"asyncio", "asyncio.Future"}),
        (
            "_threads",
            "from asgiadapt.compat import asgiref",
            {"asgiadapt.compat", "asgiadapt.compat.asgiref"},
        ),
        (
            "compat/asgiref",
            "from asgiadapt._local import Local",
            {"asgiadapt._local", "asgiadapt._local.Local"},
        ),
    ],
)
def test_the_check_sees_what_is_wrong(part: str, source: str, found: set[str]) -> None:
    """In each of the ways to write an import."""
    package = f"asgiadapt.{part}" if (PACKAGE / part).is_dir() else "asgiadapt"
    assert wrong(part, source, package) == found


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("_sansio", "import re\nfrom asgiadapt._errors import ServerError\nfrom . import headers"),
        ("_sansio", "import timeit"),  # not what it begins with
        ("_threads", "import asyncio, threading\nfrom asgiadapt._errors import PoolFull"),
        ("_wsgi_exchange.py", "import contextvars\nfrom asgiadapt._sansio import body"),
    ],
)
def test_the_check_lets_pass_what_is_right(part: str, source: str) -> None:
    """Or it would say nothing."""
    package = f"asgiadapt.{part}" if (PACKAGE / part).is_dir() else "asgiadapt"
    assert wrong(part, source, package) == set()


def test_the_check_sees_foreign_packages() -> None:
    """And tells those that come with the module from those that a function imports."""
    assert foreign("import flask") == {"flask"}
    assert foreign("class C:\n    import trio", anywhere=False) == {"trio"}
    assert foreign("if True:\n    import trio", anywhere=False) == {"trio"}
    assert foreign("def f():\n    import trio", anywhere=False) == set()
    assert foreign("def f():\n    import trio") == {"trio"}
    assert foreign("from typing_extensions import override") == {"typing_extensions"}
    assert foreign("import re\nfrom . import _errors") == set()


# Modules that talk to the adapters behind a validator of their own, call none, run where speed matters, or
# show what users have.
WITHOUT_VALIDATOR = {
    "static", "soak", "matrix", "validated.py", "test_adapters.py", "test_docs.py",
    "asgi_exchange.py", "wsgi_exchange.py",
}  # fmt: skip


def test_the_tests_have_the_adapters_behind_the_validator() -> None:
    """They import them from ``tests.validated``; so do the sites on real servers."""
    tests = Path(__file__).parent
    taken = {
        file.relative_to(tests).as_posix()
        for file in tests.rglob("*.py")
        if not WITHOUT_VALIDATOR.intersection(file.relative_to(tests).parts)
        and imports(file.read_text()) & {"asgiadapt.AsgiToWsgi", "asgiadapt.WsgiToAsgi"}
    }
    assert taken == set()
