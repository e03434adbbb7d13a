"""Who may import whom: `_sansio` knows no threads, `_threads` knows no HTTP, the gateways hold no locks."""

import ast
import sys
from pathlib import Path

import pytest

import asgiadapt

PACKAGE = Path(asgiadapt.__file__).parent
CONCURRENCY = {"asyncio", "threading", "_thread", "queue", "contextvars", "concurrent", "trio"}
GATEWAYS = {"asgiadapt._wsgi_to_asgi", "asgiadapt._wsgi_exchange", "asgiadapt._wsgi_streams"}

# part of the package -> what it may not import
FORBIDDEN = {
    "_sansio": CONCURRENCY | GATEWAYS | {"time", "os", "io", "logging", "asgiadapt._threads"},
    "_threads": GATEWAYS | {"asgiadapt._sansio", "asgiadapt.typing"},
    "typing": CONCURRENCY | GATEWAYS | {"asgiadapt._sansio", "asgiadapt._threads"},
    "_errors.py": CONCURRENCY | GATEWAYS | {"asgiadapt._sansio", "asgiadapt._threads"},
    "_wsgi_streams.py": CONCURRENCY | {"asgiadapt._sansio", "asgiadapt._threads"},
    "_wsgi_exchange.py": (CONCURRENCY - {"contextvars"}) | {"asgiadapt._wsgi_to_asgi"},
    "_wsgi_to_asgi.py": CONCURRENCY,
}
ALLOWED_PACKAGES = {"asgiadapt", "typing_extensions"}


def imports(source: str, *, whole: bool = False) -> set[str]:
    """The modules that a text imports at its top level, or anywhere in the *whole* of it."""
    tree = ast.parse(source)
    found = set()
    for node in ast.walk(tree) if whole else tree.body:
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
            found.update(f"{node.module}.{name.name}" for name in node.names)
    return found


def wrong(part: str, source: str) -> set[str]:
    """What *source* imports although it belongs to *part*."""
    return {
        name
        for name in imports(source)
        for forbidden in FORBIDDEN[part]
        if name == forbidden or name.startswith(forbidden + ".")
    }


@pytest.mark.parametrize("part", FORBIDDEN)
def test_each_part_imports_what_it_may(part: str) -> None:
    """Every module of it."""
    path = PACKAGE / part
    files = [path] if path.is_file() else sorted(path.glob("*.py"))
    assert files
    for file in files:
        assert wrong(part, file.read_text()) == set(), file


def test_the_check_sees_what_is_wrong() -> None:
    """In each of the ways to write an import."""
    assert wrong("_sansio", "import asyncio.events") == {"asyncio.events"}
    assert wrong("_sansio", "from asgiadapt import _threads") == {"asgiadapt._threads"}
    assert wrong("_threads", "from asgiadapt._sansio.body import RequestBody") == {
        "asgiadapt._sansio.body",
        "asgiadapt._sansio.body.RequestBody",
    }
    assert wrong("_sansio", "import re") == set()


def test_nothing_but_the_standard_library_is_imported() -> None:
    """Trio is imported where trio runs, inside a function, and nowhere else."""
    for file in sorted(PACKAGE.rglob("*.py")):
        source = file.read_text()
        names = {name.partition(".")[0] for name in imports(source)}
        assert names <= sys.stdlib_module_names | ALLOWED_PACKAGES, file
        inside = {name.partition(".")[0] for name in imports(source, whole=True)} - names
        assert inside <= sys.stdlib_module_names | {"trio"}, file
