"""`install_as_asgiref`, each time in a Python of its own."""

import os
import subprocess
import sys
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
        f"from asgiref import {', '.join(MODULES)}\n"
        "try:\n"
        "    import asgiref.other\n"
        "except ModuleNotFoundError as error:\n"
        "    assert error.name == 'asgiref.other'\n"
        "else:\n"
        "    raise AssertionError\n"
        "files = [module.__file__ for name, module in sys.modules.items() if name.startswith('asgiref')]\n"
        "assert files and all('compat' in file for file in files), files\n"
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


def test_a_module_that_is_not_there_is_not_found() -> None:
    """Nor is one that others have put there."""
    assert (
        output_of(
            "import asgiadapt\n"
            "asgiadapt.install_as_asgiref()\n"
            "from importlib.util import find_spec\n"
            "print(find_spec('asgiref').name, find_spec('asgiref.sync').name, find_spec('asgiref.other'))\n"
        )
        == "asgiref asgiref.sync None\n"
    )


def test_the_modules_keep_what_python_knows_of_them() -> None:
    """Whoever looks finds where they are, and may import them by both names."""
    assert not output_of(
        "import asgiadapt\n"
        "asgiadapt.install_as_asgiref()\n"
        "import asgiref.sync, asgiadapt.compat.asgiref.sync\n"
        "assert asgiref.sync is asgiadapt.compat.asgiref.sync\n"
        "assert asgiref.sync.__spec__.name == asgiref.sync.__name__ == 'asgiadapt.compat.asgiref.sync'\n"
        "assert asgiref.__path__ == asgiadapt.compat.asgiref.__path__\n"
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


@pytest.fixture(scope="module")
def python_with_the_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One in which the package is installed, from its wheel, beside what the system has."""
    folder = tmp_path_factory.mktemp("installed")
    python = folder / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    for command in (
        [*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT)],
        [sys.executable, "-m", "venv", "--without-pip", "--system-site-packages", str(folder / "venv")],
    ):
        subprocess.run(command, check=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    install = [*pip, "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, timeout=120)
    return python


@pytest.mark.server
@pytest.mark.parametrize(("value", "ours"), [("1", True), ("0", False), (None, False)])
def test_the_installed_file_puts_us_in_its_place(
    python_with_the_package: Path, value: str | None, ours: bool, tmp_path: Path
) -> None:
    """As Python starts, nothing is imported but the finder; without the variable, not even that."""
    (tmp_path / "asgiref").mkdir()
    (tmp_path / "asgiref" / "__init__.py").write_text("")
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("PYTHON", "ASGI"))}
    if value is not None:
        environment["ASGIADAPT_AS_ASGIREF"] = value
    program = (
        "import sys\n"
        "print([name for name in sys.modules if name.partition('.')[0] in ('asgiadapt', 'asgiref')])\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "import asgiref\n"
        "print(asgiref.__name__)\n"
    )
    done = subprocess.run(
        [python_with_the_package, "-W", "error", "-c", program],
        env=environment,
        cwd=tmp_path.parent,
        capture_output=True,
        text=True,
        timeout=60,
    )
    finder = ["asgiadapt._version", "asgiadapt", "asgiadapt.compat", "asgiadapt.compat._install"]
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        str([] if value is None else finder),
        "asgiadapt.compat.asgiref" if ours else "asgiref",
    ]
