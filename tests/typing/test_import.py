"""What it takes to import `asgiadapt.typing`, and that its annotations can be read at run time."""

import inspect
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import pytest

import asgiadapt.typing as ours

ROOT = Path(ours.__file__).parent.parent.parent
PROTOCOLS = [name for name in ours.__all__ if getattr(getattr(ours, name), "_is_protocol", False)]


def run(program: str) -> None:
    """Run *program* on a Python that sees the standard library, this package, and nothing else."""
    text = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{program}"
    command = [sys.executable, "-I", "-S", "-W", "error", "-c", text]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_importing_it_needs_no_other_package() -> None:
    """TYPES-10: there is none to be found."""
    run(
        "import asgiadapt.typing\n"
        "names = {name.partition('.')[0] for name in sys.modules}\n"
        "assert names - sys.stdlib_module_names - {'__main__'} == {'asgiadapt'}, names\n"
    )


def test_importing_it_leaves_the_rest_of_the_package_alone() -> None:
    """Neither threads nor event loops are imported, and no hook is set for the end of the interpreter."""
    run(
        "import atexit\n"
        "hooks = atexit._ncallbacks()\n"
        "import asgiadapt.typing\n"
        "loaded = {name for name in sys.modules if name.startswith('asgiadapt')}\n"
        "parts = {'', '._version', '.typing', '.typing.asgi', '.typing.wsgi'}\n"
        "assert loaded == {f'asgiadapt{part}' for part in parts}, loaded\n"
        "heavy = {'asyncio', 'threading', 'concurrent.futures', 'logging', 'socket', 'wsgiref', 'inspect'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "assert atexit._ncallbacks() == hooks\n"
    )


def test_the_rest_is_imported_when_it_is_asked_for() -> None:
    """By any of its names, once, and under the module that people know."""
    run(
        "import asgiadapt\n"
        "assert 'WsgiToAsgi' in dir(asgiadapt)\n"
        "assert 'asyncio' not in sys.modules\n"
        "from asgiadapt import WsgiToAsgi\n"
        "assert WsgiToAsgi is asgiadapt.WsgiToAsgi\n"
        "assert WsgiToAsgi.__module__ == 'asgiadapt'\n"
        "assert vars(asgiadapt).keys() >= set(asgiadapt.__all__)\n"
    )


def test_a_name_that_is_not_there_is_not_there() -> None:
    """The error says so, and to ask for it imports nothing."""
    run(
        "import asgiadapt\n"
        "try:\n"
        "    asgiadapt.WsgiToAgsi\n"
        "except AttributeError as error:\n"
        "    assert str(error) == \"module 'asgiadapt' has no attribute 'WsgiToAgsi'\", error\n"
        "else:\n"
        "    raise AssertionError\n"
        "assert 'asyncio' not in sys.modules\n"
    )


@pytest.mark.parametrize("name", ours.__all__)
def test_an_annotation_with_it_can_be_read(name: str) -> None:
    """``get_type_hints`` works on functions that use it, and on the class itself."""
    value = getattr(ours, name)

    def function(argument: Any) -> None: ...

    function.__annotations__["argument"] = f"ours.{name}"
    assert typing.get_type_hints(function, {"ours": ours})["argument"] == value
    if isinstance(value, type) and typing.get_origin(value) is None:
        assert typing.get_type_hints(value).keys() == typing.get_type_hints(value, include_extras=True).keys()


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_annotations_of_a_protocol_can_be_read(name: str) -> None:
    """Those of each method, with its result."""
    own = [value for value in vars(getattr(ours, name)).values() if inspect.isfunction(value)]
    mine = [method for method in own if method.__module__.startswith("asgiadapt.")]
    assert mine
    for method in mine:
        assert "return" in typing.get_type_hints(method)
        parameters = list(inspect.signature(method).parameters)[1:]
        assert typing.get_type_hints(method).keys() == {*parameters, "return"}


def test_the_protocols_are_found() -> None:
    """The test above looks at something."""
    assert PROTOCOLS == [
        "ASGI2Protocol",
        "ErrorStream",
        "FileWrapper",
        "HasFileno",
        "InputStream",
        "Readable",
        "StartResponse",
    ]
