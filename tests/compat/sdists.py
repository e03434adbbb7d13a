"""The tests of other projects, from their source distributions. Nothing of them is kept."""

import os
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

from tests.processes import ROOT


def fetch_tests(package: str, folder: Path) -> Path:
    """The folder ``tests`` of the version of *package* that is installed, unpacked into *folder*."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    # pip looks at what is needed to build the package, to learn its name, and then builds nothing.
    command += ["--no-deps", "--no-binary", package, f"{package}=={version(package)}", "--dest", str(folder)]
    subprocess.run(command, check=True, timeout=300)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as source:
        source.extractall(folder, filter="data")
    (tests,) = folder.glob("*/tests")
    return tests


def environment(folder: Path, *, stand_in: bool) -> dict[str, str]:
    """For a Python in which asgiref is the one that is installed, or what stands in for it.

    Python reads the same file as it starts as where asgiadapt is installed as a package.
    """
    (folder / "sitecustomize.py").write_text(
        f"import site; site.addsitedir({str(ROOT / 'asgiadapt' / 'compat')!r})"
    )
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
        "ASGIADAPT_AS_ASGIREF": "1" if stand_in else "",
    }
