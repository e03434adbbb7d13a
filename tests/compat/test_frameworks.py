"""Django with Channels, and Flask, with asgiref and with what stands in for it: they answer the same."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.compat.both import OURS, THEIRS
from tests.processes import ROOT, free_port, program

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
    "uvicorn": ["-m", "uvicorn", f"{SITES}.asgi:channels_application", "--log-level", "warning", "--port"],
    # It imports asgiref before the project, and so needs the environment variable.
    "daphne": ["-m", "daphne", f"{SITES}.asgi:channels_application", "-p"],
    # Channels has daphne run it; the one that reloads starts a second Python, which serves.
    "runserver": ["-m", f"{SITES}.manage", "runserver"],
}
PAGES = ("/sync", "/async", "/orm", "/rolled_back", "/atomic", "/sessions", "/async_sessions", "/login")
PAGES += ("/sessions", "/signals", "/caching", "/stream", "/async_stream", "/gathered", "/class")


def environment_of(server: str, stand_in: str, folder: Path) -> dict[str, str]:
    by_variable = server == "daphne"
    (folder / "sitecustomize.py").write_text(
        f"import site; site.addsitedir({str(ROOT / 'asgiadapt' / 'compat')!r})"
    )
    return {
        "PROJECT_FOLDER": str(folder),
        "STAND_IN": "" if by_variable else stand_in,
        "ASGIADAPT_AS_ASGIREF": stand_in if by_variable else "",
    }


def asked(url: str) -> list[Any]:
    """What a browser gets: pages with its cookies, a form, a consumer's page, and two WebSockets."""
    with httpx.Client(base_url=url, timeout=30) as client:
        answers: list[Any] = []
        for page in PAGES:
            answer = client.get(page)
            assert answer.status_code == 200, answer.text
            answers.append([page, answer.text, answer.headers.get("x-sync"), answer.headers.get("x-async")])
        form = client.post("/class", data={"a": "1"}, files={"file": b"content"})
        answers += [form.json(), client.post("/page", content=b"body").text]
    ws = url.replace("http:", "ws:")
    with connect(f"{ws}/echo") as echo:
        echo.send("hello")
        answers.append(echo.recv(timeout=30))
    with connect(f"{ws}/room") as one, connect(f"{ws}/room") as other:
        one.send('{"said": "hello"}')
        answers += [one.recv(timeout=30), other.recv(timeout=30)]
    return answers


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's, with its tables."""
    folder = tmp_path_factory.mktemp("database")
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "PROJECT_FOLDER": str(folder)}
    migrate = [sys.executable, "-m", f"{SITES}.manage", "migrate", "-v0"]
    subprocess.run(migrate, check=True, env=variables, timeout=60)
    return folder / "db.sqlite3"


@pytest.mark.server
@pytest.mark.timeout(240)
@pytest.mark.parametrize("server", SERVERS)
def test_each_server_gives_the_same_with_both(server: str, database: Path, tmp_path: Path) -> None:
    """Page for page, message for message."""
    with contextlib.ExitStack() as stack:
        running = {}
        for name, stand_in in STAND_IN.items():
            folder = tmp_path / name
            folder.mkdir()
            shutil.copy(database, folder)
            port = free_port()
            environment = environment_of(server, stand_in, folder)
            running[name] = stack.enter_context(
                program(*SERVERS[server], str(port), port=port, path=str(folder), **environment)
            )
        found = {name: asked(each.url) for name, each in running.items()}
        for each in running.values():
            each.check_output()
    assert found["asgiadapt"] == found["asgiref"]
    assert found["asgiadapt"][-4:] == [
        "of a consumer: body",
        "hello 0 False",
        *['[{"said": "hello"}, 0]'] * 2,
    ]
