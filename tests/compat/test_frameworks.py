"""Django with Channels, and Flask, with asgiref and with what stands in for it: they answer the same."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.compat.both import OURS, THEIRS
from tests.processes import ROOT, Program, free_port, program

SITES = "tests.compat.sites"
STAND_IN = {"asgiref": "", "asgiadapt": "1"}


def answers_of(module: str, folder: Path, stand_in: str) -> dict[str, Any]:
    """What ``python -m module`` prints; how the answers came about is looked at, and taken out."""
    folder.mkdir()
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PROJECT_FOLDER": str(folder),
        "STAND_IN": stand_in,
    }
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-m", f"{SITES}.{module}"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "never awaited" not in done.stderr, done.stderr
    answers: dict[str, Any] = json.loads(done.stdout)
    assert answers.pop("asgiref") == f"{OURS if stand_in else THEIRS}.sync"
    return answers


@pytest.fixture(scope="module")
def of_django(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the project answers with each of the two."""
    folder = tmp_path_factory.mktemp("django")
    return {name: answers_of("ask", folder / name, value) for name, value in STAND_IN.items()}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("by", ["async client", "client", "communicators", "test runner"])
def test_django_and_channels_answer_the_same(of_django: dict[str, Any], by: str) -> None:
    """Views, ORM, transactions, middleware, sessions, streams, signals; consumers; Django's test cases."""
    assert of_django["asgiref"][by]
    assert of_django["asgiadapt"][by] == of_django["asgiref"][by]


@pytest.mark.timeout(240)
def test_the_project_does_what_it_should(of_django: dict[str, Any]) -> None:
    """Or both might fail alike."""
    answers = of_django["asgiadapt"]
    for by in ("async client", "client"):
        statuses = {path: answer[0] for path, answer in answers[by].items() if not path.startswith("POST")}
        assert {path for path, status in statuses.items() if status != 200} == {"/error"}
        assert json.loads(answers[by]["/orm"][1])["names"] == ["orm1", "orm2"]
        assert json.loads(answers[by]["/rolled_back"][1]) == {
            "error": "on purpose",
            "after": 0,
            "in": [True, True],
            "left": 0,
        }
        assert json.loads(answers[by]["/atomic"][1]) == {"name": "atomic", "atomic": True}
        assert (answers[by]["/stream"][1], answers[by]["/async_stream"][1]) == ("abc", "abc")
    assert answers["communicators"]["rooms"] == [[{"said": "hello"}, 0]] * 2
    assert answers["test runner"] == ["3 run"]


def test_flask_answers_the_same(tmp_path: Path) -> None:
    """Async views, hooks, error handlers and methods."""
    found = {name: answers_of("flask_site", tmp_path / name, value) for name, value in STAND_IN.items()}
    assert found["asgiadapt"] == found["asgiref"]
    assert found["asgiadapt"]["1 /async"] == [
        200,
        '{"path":"/async","values":[0,1,2],"visits":1}\n',
        "before, view",
    ]
    assert found["asgiadapt"]["3 /error"] == [418, "handled on purpose", "before"]


SERVERS = {
    "uvicorn": [
        "-m",
        "uvicorn",
        f"{SITES}.asgi:channels_application",
        "--port",
        "{port}",
        "--log-level",
        "warning",
    ],
    "uvicorn, WSGI": [
        "-m",
        "uvicorn",
        f"{SITES}.asgi:wsgi_application",
        "--interface",
        "wsgi",
        "--port",
        "{port}",
    ],
    "daphne": ["-m", "daphne", "-p", "{port}", f"{SITES}.asgi:channels_application"],
    "runserver": ["-m", f"{SITES}.manage", "runserver", "{port}", "--noreload"],
    "runserver, reloading": ["-m", f"{SITES}.manage", "runserver", "{port}"],
}


@contextlib.contextmanager
def served(server: str, stand_in: bool, folder: Path) -> Iterator[Program]:
    """The project on a real server; daphne imports asgiref before the project, and needs the variable."""
    port = free_port()
    early = server == "daphne"
    (folder / "sitecustomize.py").write_text(
        f"import site; site.addsitedir({str(ROOT / 'asgiadapt' / 'compat')!r})"
    )
    environment = {"PROJECT_FOLDER": str(folder), "STAND_IN": "1" if stand_in and not early else ""}
    if stand_in and early:
        environment["ASGIADAPT_AS_ASGIREF"] = "1"
    migrate = [sys.executable, "-m", f"{SITES}.manage", "migrate", "-v0"]
    subprocess.run(
        migrate, check=True, env={**os.environ, "PYTHONPATH": str(ROOT), **environment}, timeout=60
    )
    command = [part.format(port=port) for part in SERVERS[server]]
    with program(*command, port=port, path=str(folder), **environment) as running:
        yield running


PAGES = ("/sync", "/async", "/orm", "/rolled_back", "/atomic", "/sessions", "/async_sessions", "/login")
PAGES += ("/sessions", "/signals", "/caching", "/stream", "/gathered", "/class")


def asked(url: str) -> list[Any]:
    with httpx.Client(base_url=url, timeout=30) as client:
        answers: list[Any] = []
        for page in PAGES:
            answer = client.get(page)
            answers.append([page, answer.status_code, answer.text, answer.headers.get("x-sync")])
        form = client.post("/class", data={"a": "1"}, files={"file": b"content"})
        return [*answers, form.json()]


@pytest.mark.server
@pytest.mark.timeout(240)
@pytest.mark.parametrize("server", SERVERS)
def test_each_server_gives_the_same_with_both(server: str, tmp_path: Path) -> None:
    """Page for page; none of them fails."""
    found = {}
    for name, stand_in in (("asgiref", False), ("asgiadapt", True)):
        folder = tmp_path / name
        folder.mkdir()
        with served(server, stand_in, folder) as running:
            found[name] = asked(running.url)
            if server in ("uvicorn", "daphne"):
                found[name].append(httpx.post(f"{running.url}/page", content=b"body", timeout=30).text)
            running.check_output()
    assert found["asgiadapt"] == found["asgiref"]
    assert all(answer[1] == 200 for answer in found["asgiref"] if isinstance(answer, list))
