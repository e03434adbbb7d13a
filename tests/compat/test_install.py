"""`install_as_asgiref`, each time in a Python of its own."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import asgiadapt.compat
from tests.compat.both import MODULES
from tests.processes import ROOT

PTH = "asgiadapt_as_asgiref.pth"


def run(program: str, *options: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        [sys.executable, *options, "-c", program], env=variables, capture_output=True, text=True, timeout=60
    )


def output_of(program: str, **environment: str) -> str:
    done = run(program, "-W", "error", **environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_every_way_to_import_asgiref_gives_ours() -> None:
    """The package, its modules and their names, from everywhere."""
    assert not output_of(
        "import asgiadapt\n"
        "asgiadapt.install_as_asgiref()\n"
        "import importlib\n"
        "import asgiref, asgiref.sync, asgiref.local as local\n"
        "from asgiref import wsgi\n"
        "from asgiref.sync import sync_to_async\n"
        "assert asgiref.sync.sync_to_async is sync_to_async\n"
        "assert local.Local is asgiadapt.Local\n"
        "assert asgiref.__version__ == '3.13.0'\n"
        f"for name in {MODULES}:\n"
        "    module = importlib.import_module('asgiref.' + name)\n"
        "    assert module is getattr(asgiref, name) is importlib.import_module('asgiref.' + name)\n"
        "    assert module.__name__ == 'asgiadapt.compat.asgiref.' + name\n"
    )


def test_nothing_of_asgiref_itself_is_imported() -> None:
    """What it does not have is not there; nothing is taken from the one that is installed."""
    assert not output_of(
        "import asgiadapt, sys\n"
        "asgiadapt.install_as_asgiref()\n"
        "import asgiref\n"
        "try:\n"
        "    import asgiref.other\n"
        "except ModuleNotFoundError as error:\n"
        "    assert error.name == 'asgiref.other'\n"
        "else:\n"
        "    raise AssertionError\n"
        "files = [module.__file__ for name, module in sys.modules.items() if name.startswith('asgiref')]\n"
        "assert len(files) == 10 and all('compat' in file for file in files), files\n"
    )


def test_it_may_be_called_again() -> None:
    """Nothing changes."""
    assert not output_of(
        "import asgiadapt, sys\n"
        "asgiadapt.install_as_asgiref()\n"
        "from asgiref.sync import sync_to_async\n"
        "asgiadapt.install_as_asgiref()\n"
        "import asgiref.sync\n"
        "assert asgiref.sync.sync_to_async is sync_to_async\n"
    )


def test_too_late_is_told_with_those_who_keep_it() -> None:
    """Modules that have taken functions, made objects, or imported a module of it; nothing is changed."""
    text = output_of(
        "import asgiref.sync, asgiadapt, sys, types\n"
        "for name, kept in {\n"
        "    'function': asgiref.sync.sync_to_async,\n"
        "    'class': asgiref.sync.SyncToAsync,\n"
        "    'object': asgiref.sync.sync_to_async(print),\n"
        "    'module': asgiref.sync,\n"
        "    'nothing': print,\n"
        "}.items():\n"
        "    sys.modules['keeps_' + name] = module = types.ModuleType('keeps_' + name)\n"
        "    module.kept = kept\n"
        "before = dict(sys.modules)\n"
        "del kept, module\n"
        "try:\n"
        "    asgiadapt.install_as_asgiref()\n"
        "except RuntimeError as error:\n"
        "    print(error)\n"
        "assert sys.modules['asgiref.sync'] is before['asgiref.sync']\n"
    )
    assert "called too late: asgiref has been imported already" in text
    holders = "__main__, keeps_class, keeps_function, keeps_module, keeps_object. That"
    assert f"these keep what they took from it: {holders}" in text
    assert "ASGIADAPT_AS_ASGIREF=1" in text


def test_lazy_objects_are_left_alone() -> None:
    """Who keeps asgiref is found out without waking what is asked, as Django's settings."""
    done = output_of(
        "import django.core.handlers.asgi, asgiadapt\n"
        "try:\n"
        "    asgiadapt.install_as_asgiref()\n"
        "except RuntimeError as error:\n"
        "    print('django.core.handlers.asgi' in str(error))\n"
    )
    assert done == "True\n"


def test_the_version_alone_may_have_been_asked_for() -> None:
    """The bare package has nothing that works."""
    assert output_of(
        "import asgiref, asgiadapt\n"
        "asgiadapt.install_as_asgiref()\n"
        "import asgiref.sync\n"
        "print(asgiref.sync.__name__)\n"
    ).startswith("asgiadapt.")


@pytest.mark.parametrize(
    ("value", "ours"),
    [("1", True), ("yes", True), ("0", False), ("", False), ("no", False), (" Off ", False)],
)
def test_the_environment_variable_works_as_python_starts(value: str, ours: bool, tmp_path: Path) -> None:
    """By the file that is installed beside the package; it does nothing where the variable is not set."""
    folder = Path(asgiadapt.compat.__file__).parent
    (tmp_path / "sitecustomize.py").write_text(f"import site; site.addsitedir({str(folder)!r})")
    text = output_of(
        "import sys; print('asgiadapt.compat._install' in sys.modules, end=' ')\n"
        "import asgiref.sync; print(asgiref.sync.__name__)",
        PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT)]),
        ASGIADAPT_AS_ASGIREF=value,
    )
    assert text.split()[1] == ("asgiadapt.compat.asgiref.sync" if ours else "asgiref.sync")
    if not value:
        assert text.split()[0] == "False"


def test_the_file_is_of_one_line() -> None:
    """Python runs lines that begin with ``import``, one by one."""
    (line,) = (Path(asgiadapt.compat.__file__).parent / PTH).read_text().splitlines()
    assert line.startswith("import ")


def test_the_file_is_installed_where_python_reads_it() -> None:
    """Beside the package, and not in it."""
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    assert targets["wheel"]["force-include"] == {f"asgiadapt/compat/{PTH}": PTH}
