"""What the pages, the README and the changelog say: their code runs, their links lead somewhere, and their
tables are those of the code."""

import asyncio
import contextlib
import importlib
import inspect
import os
import pkgutil
import re
import shlex
import signal
import subprocess
import sys
import sysconfig
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import httpx
import pytest
from flask import Flask

import asgiadapt
from asgiadapt import AsgiToWsgi, _errors
from asgiadapt._asgi_to_wsgi import _ALL
from asgiadapt.testing import AsgiClient, WsgiClient
from tests.processes import ROOT, Program, free_port, program
from tests.servers.test_wsgi_servers import APACHE, MODULES, SERVERS

DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "CHANGELOG.md"]

_FENCE = re.compile(r"^(?:<!-- (complete)(?:: GET (\S+) is (\d+))? -->\n)?```python\n(.*?)^```$", re.M | re.S)
_SERVED = re.compile(
    r"^<!-- (serves|program)(?: (?!by )(\w+))?(?: by (\w+))? -->\n```\w+\n(.*?)^```$", re.M | re.S
)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.M)


class Block(NamedTuple):
    """A fenced block of Python; its *name* has the page and the line."""

    name: str
    code: str
    complete: bool
    path: str | None
    status: int


def blocks() -> list[Block]:
    found = []
    for page in PAGES:
        text = page.read_text()
        for fence in _FENCE.finditer(text):
            complete, path, status, code = fence.groups()
            line = text.count("\n", 0, fence.start(4)) + 1
            name = f"{page.relative_to(ROOT)}:{line}"
            found.append(Block(name, code, bool(complete), path, int(status or 0)))
    return found


def by_name(chosen: list[Block]) -> Any:
    return pytest.mark.parametrize("block", [pytest.param(block, id=block.name) for block in chosen])


@by_name(blocks())
def test_a_block_of_python_compiles(block: Block) -> None:
    """Each block is Python by itself."""
    compile(block.code, block.name, "exec")


def status_from_wsgi(app: Any, path: str) -> int:
    """Asks for the page and takes the first part of its body."""
    with WsgiClient(app, validate=True).stream("GET", path) as exchange:
        assert exchange.chunk()
        return exchange.status


@contextlib.asynccontextmanager
async def closed_adapters() -> AsyncIterator[None]:
    """Those that are made in the block are closed at its end."""
    before = set(_ALL)
    try:
        yield
    finally:
        for adapter in set(_ALL) - before:
            await asyncio.to_thread(adapter.close)


@by_name([block for block in blocks() if block.complete])
async def test_a_complete_block_does_what_the_page_says(
    block: Block, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block that is marked as complete runs, and its application answers what the mark names."""
    async with closed_adapters():
        module = ModuleType("module")
        monkeypatch.setitem(sys.modules, "module", module)  # where frameworks look for names
        names: dict[str, Any] = vars(module)
        exec(compile(block.code, block.name, "exec"), names)
        if block.path is None:
            return
        if isinstance(names["app"], AsgiToWsgi | Flask):
            assert await asyncio.to_thread(status_from_wsgi, names["app"], block.path) == block.status
            return
        # As uvicorn's: with a newer one, a framework may raise for the client that leaves below.
        asgi = {"version": "3.0", "spec_version": "2.3"}
        client = AsgiClient(names["app"], validate=True)
        async with client.stream("GET", block.path, asgi=asgi) as exchange:
            assert await exchange.chunk()
            assert exchange.status == block.status


def test_the_pages_have_blocks_of_python() -> None:
    """The tests above look at something: the expression finds the blocks, complete ones among them."""
    assert len(blocks()) == sum(page.read_text().count("```python") for page in PAGES) > 0
    marks = sum(len(re.findall(r"^<!-- complete", page.read_text(), re.M)) for page in PAGES)
    assert sum(block.complete for block in blocks()) == marks > 0


def anchors(page: Path) -> set[str]:
    """The anchors of the headings of *page*, made as both MkDocs and code hosts make them."""
    headings = _HEADING.findall(re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S))
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file of the repository, and a heading in it where it names one."""
    for target in _LINK.findall(page.read_text()):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        linked = (page.parent / file).resolve() if file else page
        assert linked.is_file(), f"{page.name} links to {target}, which is not there"
        if anchor:
            assert anchor in anchors(linked), f"{page.name} links to {target}, which has no such heading"


def test_every_page_is_in_the_navigation() -> None:
    """A page that is written can be found."""
    navigation = (ROOT / "mkdocs.yml").read_text().partition("nav:")[2]
    written = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    assert set(re.findall(r": (\S+\.md)$", navigation, re.M)) == written


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the table below *heading*."""
    section = (
        (DOCS / page).read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0].partition("\n### ")[0]
    )
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


_UNITS = {"s": 1, "KiB": 1024}


def default(text: str) -> object:
    """The value that *text* stands for in the table of options."""
    if text in ("on", "off"):
        return text == "on"
    if text == "auto":
        return text
    if text == "none":
        return None
    number, _, unit = text.partition(" ")
    return int(number) * (_UNITS[unit] if unit else 1)


def test_the_table_of_options_is_the_signature() -> None:
    """Every option stands in the table, in the same order, with its default."""
    parameters = list(inspect.signature(asgiadapt.WsgiToAsgi).parameters.values())[1:]
    of_pool = inspect.signature(asgiadapt.WorkerPool).parameters
    signature = {}
    for parameter in parameters:
        # Where the default is that of a pool, the table says which one that is.
        shown = of_pool.get(parameter.name, parameter).default
        signature[parameter.name] = None if shown == () else shown
    table = {row[0].strip("`"): default(row[1]) for row in rows("wsgi-to-asgi.md", "Options")}
    assert list(table) == list(signature)
    assert table == signature


def test_every_error_has_its_section() -> None:
    """The page of errors has a section for each exception, and for nothing else."""
    sections = re.findall(r"^### (.*)$", (DOCS / "errors.md").read_text(), re.M)
    public = {name for name, kind in vars(_errors).items() if isinstance(kind, type)}
    assert set(sections) == public
    assert len(sections) == len(public)


def test_an_error_is_said_to_be_what_it_is() -> None:
    """The builtin that the page names is a base class of the exception."""
    text = (DOCS / "errors.md").read_text()
    said = re.findall(r"^### (\w+)\n\nAn? `(\w+)`\.", text, re.M)
    assert len(said) == text.count("\n### ") - 1, "all but ApplicationError name their builtin"
    for name, builtin in said:
        assert builtin in [base.__name__ for base in getattr(asgiadapt, name).__bases__], name


def test_the_key_of_the_environ_that_the_page_names_exists() -> None:
    """Each key in the table is set somewhere in the package."""
    source = "".join(file.read_text() for file in (ROOT / "asgiadapt").rglob("*.py"))
    keys = [key for row in rows("wsgi-to-asgi.md", "What the environ offers") for key in row[0].split(", ")]
    assert len(keys) >= 10
    for key in keys:
        assert f'"{key.strip("`")}"' in source, key


def test_the_commands_of_the_readme_exist() -> None:
    """Every target of make that is named in the README and the pages is in the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    named = {name for page in PAGES for name in re.findall(r"`make ([a-z]+)[` ]", page.read_text())}
    assert {"demo", "test"} <= named
    assert named <= targets


# For tests/test_docs.py: blocks after "<!-- runs -->" are whole programs, and print what their comments say.
_RUNS = re.compile(r"^<!-- runs -->\n```python\n(.*?)^```$", re.M | re.S)
_SAID = re.compile(r"^\s*print\(.*\)  # (.*)$", re.M)


def programs() -> list[Any]:
    found = []
    for page in PAGES:
        text = page.read_text()
        for fence in _RUNS.finditer(text):
            line = text.count("\n", 0, fence.start(1)) + 1
            found.append(pytest.param(fence[1], id=f"{page.relative_to(ROOT)}:{line}"))
    return found


@pytest.mark.parametrize("code", programs())
def test_a_program_prints_what_its_comments_say(code: str, tmp_path: Path) -> None:
    """A block that is marked so runs by itself, without a warning, and prints what it says."""
    file = tmp_path / "program.py"
    file.write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", str(file)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=50)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert sorted(ended.stdout.splitlines()) == sorted(_SAID.findall(code)) != []


@pytest.mark.parametrize(
    ("page", "function"),
    [("sync-to-async.md", asgiadapt.sync_to_async), ("async-to-sync.md", asgiadapt.async_to_sync)],
)
def test_the_table_of_a_bridge_is_its_signature(page: str, function: Any) -> None:
    """Every parameter stands in the table, in the same order, with its default."""
    parameters = inspect.signature(function).parameters
    table = {row[0].strip("`"): default(row[1]) for row in rows(page, "Options")}
    assert list(table) == list(parameters)
    assert table == {name: parameter.default for name, parameter in parameters.items()}


def test_the_options_of_the_other_adapter_are_its_signature() -> None:
    """But for the application, which has no default."""
    _, *parameters = inspect.signature(asgiadapt.AsgiToWsgi).parameters.values()
    table = {row[0].strip("`"): default(row[1]) for row in rows("asgi-to-wsgi.md", "Options")}
    assert list(table) == [parameter.name for parameter in parameters]
    assert table == {parameter.name: parameter.default for parameter in parameters}


class Served(NamedTuple):
    """A command or a program of a page, the ``module.py`` that it serves, and what a client then gets."""

    module: str
    command: str
    answers: dict[str, str]


def module_for(page: str, end: int, adapter: str | None) -> str:
    """The block before the command, or the one of the overview of the servers that has the adapter."""
    text = page[:end] if adapter is None else (DOCS / "deployment/index.md").read_text()
    return [fence[4] for fence in _FENCE.finditer(text) if f"app = {adapter or ''}" in fence[4]][-1]


def served(kind: str, by: str | None = None) -> Any:
    """A parameter for each command (*kind* is "serves"), program or configuration of the pages."""
    found = []
    for page in PAGES:
        text = page.read_text()
        for fence in _SERVED.finditer(text):
            if fence[1] != kind or fence[3] != by:
                continue
            module = module_for(text, fence.start(), fence[2])
            block = re.sub(r"\b10\.0\.0\.\d+\b", "127.0.0.1", fence[4]) if by is None else fence[4]
            commands, answers = [block], {"/": "hello"}
            if kind == "serves" and by is None:
                steps = [step.partition("\n") for step in block.removeprefix("$ ").split("\n$ ")]
                commands = [step for step, _, _ in steps if not step.startswith("curl ")]
                asked = [(step.split()[1], said) for step, _, said in steps if step.startswith("curl ")]
                answers = {url.removeprefix("http://127.0.0.1:8000"): said.strip() for url, said in asked}
            line = text.count("\n", 0, fence.start()) + 1
            for command in commands:
                name = f"{page.relative_to(ROOT)}:{line}"
                found.append(pytest.param(Served(module, command, answers or {"/": "hello"}), id=name))
    assert found
    return pytest.mark.parametrize("block", found)


def check_answers(running: Program, answers: dict[str, str]) -> None:
    with httpx.Client(base_url=running.url, timeout=30) as client:
        for path, said in answers.items():
            answer = client.get(path)
            assert (answer.status_code, answer.text.strip()) == (200, said)
    running.check_output()


def with_variables(command: str) -> tuple[list[str], dict[str, str]]:
    """The words of a command of the shell, and the variables that are set before it."""
    words = shlex.split(command, comments=True)
    variables = {}
    while "=" in words[0]:
        name, _, variables[name] = words.pop(0).partition("=")
    return words, variables


@pytest.mark.server
@served("serves")
def test_a_command_serves_what_the_page_says(block: Served, tmp_path: Path) -> None:
    """The server starts, gives the answers that stand below the command, and ends when it is told to."""
    (tmp_path / "module.py").write_text(block.module)
    port = free_port()
    words, variables = with_variables(block.command.replace("8000", str(port)))
    bin_folder = Path(sysconfig.get_path("scripts"))
    assert (bin_folder / words[0]).exists(), f"{words[0]} is not installed"
    variables["PATH"] = os.pathsep.join([str(bin_folder), os.environ["PATH"]])
    if "PYTHONPATH" in variables:
        variables["PYTHONPATH"] += os.pathsep + str(ROOT)
    start = f"import os; os.chdir({str(tmp_path)!r}); os.execvp({words[0]!r}, {words!r})"
    with program("-c", start, port=port, **variables) as running:
        check_answers(running, block.answers)
        running.stop()


@pytest.mark.server
@served("program")
def test_a_program_that_serves_ends_as_the_page_says(block: Served, tmp_path: Path) -> None:
    """It answers; and where it has a handler for SIGTERM, that ends it without an error."""
    (tmp_path / "module.py").write_text(block.module)
    port = free_port()
    file = tmp_path / "program.py"
    file.write_text(block.command.replace("8000", str(port)))
    with program(str(file), port=port) as running:
        check_answers(running, block.answers)
        if "signal.SIGTERM" in block.command:
            assert running.stop(signal.SIGTERM) == 0
            running.check_output()


@pytest.mark.server
@served("serves", by="Apache")
def test_a_site_of_apache_serves_what_the_page_says(block: Served, tmp_path: Path) -> None:
    """Its configuration is the page's, but for the folders; where there is no Apache, none is asked for."""
    if "apache" not in SERVERS:
        return
    port = free_port()
    frame = APACHE.format(
        port=port, module="", app="", folder=tmp_path, modules=MODULES, root="", packages=""
    )
    site = block.command.replace(" python-home=/srv/site/.venv", f":{ROOT}:{sysconfig.get_path('purelib')}")
    site = site.replace("/srv/site", str(tmp_path))
    (tmp_path / "site.conf").write_text(frame.partition("WSGIDaemonProcess")[0] + site)
    (tmp_path / "module.py").write_text(block.module)
    (tmp_path / "script.py").write_text("from module import app as application\n")
    for folder in [tmp_path, *tmp_path.parents[:3]]:
        folder.chmod(0o755)  # Apache gives up being root
    command = ["apache2", "-f", str(tmp_path / "site.conf"), "-DFOREGROUND"]
    with program("-c", f"import os; os.execvp('apache2', {command!r})", port=port) as running:
        check_answers(running, block.answers)


def resolved(path: str) -> Any:
    """What ``package.module.Name`` stands for; a module for the name of one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of these modules warn of themselves
        try:
            return importlib.import_module(path)
        except ModuleNotFoundError:
            module, _, name = path.rpartition(".")
            return getattr(importlib.import_module(module), name)


# The tables of names, and what their first column leaves out.
TABLES = {"Names of asgiref": "asgiref.", "Names of a2wsgi": "a2wsgi.", "Names of Starlette and FastAPI": ""}
NAMES = [
    (prefix + row[0].strip("`"), "" if row[1] == "none" else "asgiadapt." + row[1].strip("`"))
    for heading, prefix in TABLES.items()
    for row in rows("migrating.md", heading)
]


@pytest.mark.parametrize(("theirs", "ours"), NAMES, ids=[theirs for theirs, _ in NAMES])
def test_a_name_to_migrate_exists_on_both_sides(theirs: str, ours: str) -> None:
    """It is there in the installed package, and what it becomes is public here."""
    assert resolved(theirs) is not None
    if ours:
        module, _, name = ours.rpartition(".")
        assert resolved(ours) is not None
        assert name in resolved(module).__all__ or inspect.ismodule(resolved(ours))


def public_names(module: str) -> set[str]:
    """The classes and functions that *module* makes itself, and those that its package passes on."""
    found = resolved(module)
    return {
        f"{module}.{name}"
        for name, thing in vars(found).items()
        if not name.startswith("_")
        and getattr(thing, "__module__", "").startswith(module.partition(".")[0] + ".")
        and (inspect.isclass(thing) or inspect.isfunction(thing))
    }


@pytest.mark.parametrize(
    "module",
    [
        "asgiref.compatibility",
        "asgiref.current_thread_executor",
        "asgiref.local",
        "asgiref.server",
        "asgiref.sync",
        "asgiref.testing",
        "asgiref.timeout",
        "asgiref.wsgi",
        "a2wsgi",
        "starlette.middleware.wsgi",
    ],
)
def test_no_name_to_migrate_is_left_out(module: str) -> None:
    """Every public name that the module defines has its row; so has every module of asgiref."""
    listed = {theirs for theirs, _ in NAMES}
    inside = {
        name for name in public_names(module) if module == "a2wsgi" or resolved(name).__module__ == module
    }
    assert inside
    assert inside <= listed


def test_no_module_of_asgiref_is_left_out() -> None:
    """All that the installed package has is looked at."""
    modules = {f"asgiref.{found.name}" for found in pkgutil.iter_modules(resolved("asgiref").__path__)}
    listed = {theirs for theirs, _ in NAMES}
    assert {module for module in modules if not any(name.startswith(module) for name in listed)} == set()


def test_the_types_of_asgiref_have_the_same_names_here() -> None:
    """As the table says."""
    assert set(resolved("asgiref.typing").__all__) <= set(resolved("asgiadapt.typing").__all__)


def test_the_parameters_to_migrate_are_those_of_the_signatures() -> None:
    """Every parameter of a2wsgi has its row, with one of ours; those of asgiref's adapter too."""
    pattern = re.compile(r"`(\w+)\((\w+)\)`")
    listed = set()
    for theirs, ours, _ in rows("migrating.md", "Parameters of a2wsgi"):
        (name, parameter), (our_name, our_parameter) = pattern.findall(theirs + ours)
        assert our_parameter in inspect.signature(getattr(asgiadapt, our_name)).parameters
        listed.add((name, parameter))
    assert listed == {
        (name, parameter)
        for name in ("WSGIMiddleware", "ASGIMiddleware")
        for parameter in inspect.signature(resolved(f"a2wsgi.{name}")).parameters
    }
    listed = {row[0].strip("`") for row in rows("migrating.md", "WsgiToAsgi of asgiref")}
    assert listed == set(inspect.signature(resolved("asgiref.wsgi.WsgiToAsgi")).parameters)


@pytest.mark.parametrize(
    ("page", "heading", "adapter"),
    [
        ("security.md", "Limits of WsgiToAsgi", asgiadapt.WsgiToAsgi),
        ("security.md", "Limits of AsgiToWsgi", asgiadapt.AsgiToWsgi),
        ("disconnects.md", "Time limits of the adapters", None),
    ],
)
def test_the_limits_that_a_page_names_are_the_defaults(page: str, heading: str, adapter: Any) -> None:
    """Each limit, with its value."""
    both = [asgiadapt.WorkerPool, asgiadapt.WsgiToAsgi, asgiadapt.AsgiToWsgi]
    known: dict[str, object] = {}
    for source in both if adapter is None else [adapter, asgiadapt.WorkerPool]:
        known.update((name, value.default) for name, value in inspect.signature(source).parameters.items())
    limits = [row for row in rows(page, heading) if len(row) == 3 and re.fullmatch(r"`\w+`", row[0])]
    assert len(limits) >= 4
    for name, said, _ in limits:
        assert default(said) == known[name.strip("`")], name


# What the reference tells of; the types have a page and tests of their own.
PUBLIC = [name for name in asgiadapt.__all__ if name != "__version__"] + [
    f"{module}.{name}"
    for module in ("compat.a2wsgi", "testing", "validate")
    for name in resolved(f"asgiadapt.{module}").__all__
]


def test_the_reference_has_every_public_name() -> None:
    """Once each, and no other; the version is told in the text."""
    text = (DOCS / "api.md").read_text()
    named = re.findall(r"^::: asgiadapt\.([\w.]+)$", text, re.M)
    assert sorted(named) == sorted(PUBLIC)
    assert "`asgiadapt.__version__`" in text


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_has_a_docstring_for_the_reference(name: str) -> None:
    """Of its own, and so has each public method."""
    thing = resolved(f"asgiadapt.{name}")
    assert thing.__doc__
    if inspect.isclass(thing):
        public = {key: value for key, value in vars(thing).items() if not key.startswith("_")}
        methods = {key: value for key, value in public.items() if inspect.isfunction(value)}
        assert [key for key, value in methods.items() if not value.__doc__] == []


def test_the_examples_that_the_pages_name_exist() -> None:
    """And the first page names all of them."""
    programs = {file.name for file in (ROOT / "examples").glob("*.py")}
    listed = {row[0].strip("`") for row in rows("index.md", "Whole programs")}
    assert listed == programs
    named = {
        name for page in PAGES for name in re.findall(r"`(?:examples/)?(\w+_\w+\.py)`", page.read_text())
    }
    modules = {file.name for file in (ROOT / "asgiadapt").rglob("*.py")} | {
        file.name for file in (ROOT / "tests").rglob("*.py")
    }
    assert named <= programs | modules
