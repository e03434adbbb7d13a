"""The matrix: a pairing for each gateway, wrong sites, what explains a step, and the page."""

import contextlib
import io
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

from tests.matrix import page, run, scenario
from tests.matrix.__main__ import pairings
from tests.matrix.reasons import Reason
from tests.matrix.run import NOT_STARTED, REFERENCES, Kept, Matrix, Outcome, Pairing
from tests.matrix.scenario import Scenario, Target
from tests.matrix.served import site
from tests.matrix.servers import APPLICATIONS, LEFT_OUT, SERVERS, Server
from tests.servers import files, wsgi_common, wsgi_plain


def server(name: str, interface: str) -> Server:
    return next(each for each in SERVERS if (each.name, each.interface) == (name, interface))


@pytest.mark.server
@pytest.mark.parametrize(
    ("name", "interface", "application"),
    [("hypercorn-asyncio-h2c", "asgi", "wsgi_flask"), ("gunicorn-gthread", "wsgi", "asgi_starlette")],
)
def test_a_pairing_passes_every_step(name: str, interface: str, application: str, tmp_path: Path) -> None:
    """Each has its verdict, and all are well."""
    outcome = Matrix(tmp_path, Kept()).run(server(name, interface), application)
    assert outcome.symptoms == {}, outcome.details
    assert list(outcome.steps) == list(scenario.WHAT_HOLDS)
    assert outcome.passed == outcome.counted >= 20


Environ = dict[str, Any]
WrongSite = Callable[[Environ, Any], Any]


def without(*keys: str) -> WrongSite:
    """The site, to which some of the request does not come through."""

    def called(environ: Environ, start_response: Any) -> Any:
        for key in keys:
            environ.pop(key, None)
        return plain(environ, start_response)

    return called


def which_has(**wrong: Any) -> WrongSite:
    """The site, to which something else comes than what was sent."""
    return lambda environ, start_response: plain({**environ, **wrong}, start_response)


def plain(environ: Environ, start_response: Any) -> Any:
    return site("wsgi_plain", "wsgi")(environ, start_response)


def fails(environ: Environ, start_response: Any) -> Any:
    start_response("500 Internal Server Error", [])
    return [b""]


def reads_another_body(environ: Environ, start_response: Any) -> Any:
    body = io.BytesIO(b"another" if environ.get("CONTENT_LENGTH") else b"")
    return plain({**environ, "wsgi.input": body, "wsgi.input_terminated": True}, start_response)


def takes_what_there_is(environ: Environ, start_response: Any) -> Any:
    return plain({**environ, "wsgi.input_terminated": True}, start_response)


def has_no_fields(environ: Environ, start_response: Any) -> Any:
    return plain(environ, lambda status, headers: start_response(status, []))


def sets_one_cookie(environ: Environ, start_response: Any) -> Any:
    return plain(environ, lambda status, headers: start_response(status, [*dict(headers).items()]))


def sends_all_at_the_end(environ: Environ, start_response: Any) -> Any:
    return [b"".join(plain(environ, start_response))]


def tells_that_all_was_sent(environ: Environ, start_response: Any) -> Any:
    if environ["PATH_INFO"] != "/endless":
        return plain(environ, start_response)
    start_response("200 OK", [])
    with wsgi_common.gate(wsgi_plain.gate(environ)) as test:
        test.tell(b"whole")
    return [b"x"]


one_at_a_time = threading.Lock()


def lets_others_wait(environ: Environ, start_response: Any) -> Any:
    with one_at_a_time:
        return plain(environ, start_response)


class StaysForever:
    """Does not leave with the client, but when the test is over."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def __call__(self, environ: Environ, start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/wait":
            with wsgi_common.gate(wsgi_plain.gate(environ)) as test:
                test.tell(b"begun")
                self.over.wait()
        return plain(environ, start_response)


class QuietHandler(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None: ...


class ThreadedServer(ThreadingMixIn, WSGIServer):
    def handle_error(self, *_: Any) -> None:
        """Clients leave as they like."""


@contextlib.contextmanager
def served_here(app: WrongSite) -> Iterator[int]:
    with make_server("127.0.0.1", 0, app, ThreadedServer, QuietHandler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield running.server_port
        finally:
            if isinstance(app, StaysForever):
                app.over.set()
            running.shutdown()
            thread.join()


def symptoms_of(app: WrongSite, folder: Path, steps: list[str], patience: float) -> dict[str, str]:
    outcome = Outcome()
    with served_here(app) as port:
        for step in steps:
            run.attempt(step, Scenario(Target(port, folder, patience=patience)), outcome)
    return outcome.symptoms


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "file.bin").write_bytes(scenario.FILE)
    monkeypatch.setattr(files, "FILE", tmp_path / "file.bin")
    return tmp_path


# What the standard library's server does wrong by itself.
WSGIREF = {
    "keep-alive": "the connection ends",
    "pipelining": "the connection ends",
    "chunked upload": "the body arrives empty",
    "expect-continue": "the body is not asked for",
    "cut in the head": "the application is called",
}
WRONG: list[tuple[str, WrongSite, str]] = [
    ("upload with a length", reads_another_body, "the body arrives changed"),
    ("unread upload", fails, "answered 500"),
    ("range", without("HTTP_RANGE"), "answered 200"),
    ("HEAD", has_no_fields, "a wrong Content-Length"),
    ("304", without("HTTP_IF_NONE_MATCH"), "answered 200"),
    ("compression", without("HTTP_ACCEPT_ENCODING"), "not compressed"),
    ("cookies", sets_one_cookie, "the cookies are not set"),
    ("mount", wsgi_plain.app, "answered 404"),
    ("non-ASCII path", which_has(QUERY_STRING="q=e"), "the path arrives changed"),
    ("server-sent events", sends_all_at_the_end, "no answer in time"),
    ("huge head", fails, "answered 500"),
    ("slow requests together", lets_others_wait, "a request waits for another"),
    ("cut in the upload", takes_what_there_is, "the application takes the body for whole"),
    ("cut while waiting", StaysForever(), "the application is not told"),
    ("cut in the download", tells_that_all_was_sent, "the application is not told"),
]


def test_a_server_fails_in_the_steps_that_it_does_not_do(folder: Path) -> None:
    """The plain site passes on it in all the others."""
    assert symptoms_of(plain, folder, list(WSGIREF), patience=0.2) == WSGIREF
    assert symptoms_of(plain, folder, [*scenario.STEPS.keys() - WSGIREF.keys()], patience=10) == {}


@pytest.mark.parametrize(("step", "app", "symptom"), WRONG, ids=[step for step, _, _ in WRONG])
def test_a_wrong_site_fails(step: str, app: WrongSite, symptom: str, folder: Path) -> None:
    """Each step finds what it is there for."""
    assert symptoms_of(app, folder, [step], patience=0.2) == {step: symptom}


def test_every_step_has_been_seen_to_fail() -> None:
    """By a wrong server or a wrong site; the first step and the last have tests of their own."""
    assert WSGIREF.keys() | {step for step, _, _ in WRONG} == scenario.STEPS.keys()


def test_a_server_that_does_not_start_is_tried_again_and_told(tmp_path: Path) -> None:
    """The run goes on: it is a symptom like others, and its output is kept."""
    broken = replace(server("uvicorn-h11", "asgi"), command="uvicorn --no-such-option {app}")
    tries = []

    class Counting(Matrix):
        def _run(self, *args: Any) -> Outcome:
            tries.append(args)
            return super()._run(*args)

    outcome = Counting(tmp_path, Kept()).run(broken, "wsgi_plain")
    assert outcome.symptoms == {scenario.START: NOT_STARTED}
    assert "No such option" in outcome.details[scenario.START]
    assert len(tries) == 2


@pytest.mark.parametrize(
    ("only", "some", "others"),
    [
        ("uvicorn-*", {"uvicorn-h11+wsgi_flask", "uvicorn-httptools+wsgi_django"}, {"waitress+asgi_quart"}),
        ("asgi_quart", {"waitress+asgi_quart", "cheroot+asgi_quart"}, {"waitress+asgi_starlette"}),
        ("*+wsgi_flask", {"uvicorn-h11+wsgi_flask"}, {"uvicorn-h11+wsgi_django", "waitress+wsgi_flask"}),
        ("waitress+asgi_quart", {"waitress+asgi_quart"}, {"waitress+asgi_starlette", "cheroot+asgi_quart"}),
    ],
)
def test_a_pattern_names_pairings(only: str, some: set[str], others: set[str]) -> None:
    """By the server, the application or both; a server never has one of its own kind."""
    found = {f"{server.name}+{name}" for server, names in pairings([only]).items() for name in names}
    assert some <= found
    assert not others & found


class Ended:
    """A server as `run.end` sees it."""

    def __init__(self, output: str, error: Exception | None = None) -> None:
        self._output, self._error = output, error

    def stop(self) -> None:
        if self._error is not None:
            raise self._error

    def output(self) -> str:
        return self._output


@pytest.mark.parametrize(
    ("ended", "symptom"),
    [
        (Ended("Traceback of a client that has left"), None),
        (Ended("", TimeoutError()), "it does not end"),
        (Ended("coroutine 'x' was never awaited"), "it has written 'never awaited'"),
    ],
)
def test_the_end_of_a_server_is_a_step(ended: Any, symptom: str | None) -> None:
    """It ends in time, and has lost nothing."""
    assert run.end(ended) == symptom


class Canned(Matrix):
    """Steps that pass, but for those that the test has named; several at a time are those of one try each."""

    def __init__(self, symptoms: dict[str, str], kept: Kept | None = None) -> None:
        super().__init__(Path(), kept or Kept())
        self._symptoms = symptoms
        self.runs: list[str] = []

    def run(self, server: Server, application: str, hurry: Any = (), steps: Any = ()) -> Outcome:
        name = f"{server.name}+{application}"
        tries = self._symptoms.get(name, "").split(", ")
        symptom = tries[min(self.runs.count(name), len(tries) - 1)] or None
        self.runs.append(name)
        return Outcome({**dict.fromkeys(scenario.WHAT_HOLDS), "range": symptom})


def test_a_server_is_looked_at_again_for_what_it_does_by_chance() -> None:
    """Until it shows the same; the pairing is not tried again then."""
    canned = Canned({"waitress+asgi_quart": "ends", "waitress+wsgi_plain": ", hangs, , ends, "})
    found = canned.pairing(server("waitress", "wsgi"), "asgi_quart")
    assert (found.blame, found.outcome.first) == ({"range": "waitress"}, {})
    assert canned.runs.count("waitress+wsgi_plain") == 4
    assert canned.runs.count("waitress+asgi_quart") == 1


def test_what_is_not_explained_is_tried_again() -> None:
    """Once; what was there at first is told."""
    canned = Canned({"waitress+asgi_quart": "hangs, "})
    found = canned.pairing(server("waitress", "wsgi"), "asgi_quart")
    assert (found.outcome.symptoms, found.outcome.first) == ({}, {"range": "hangs"})
    assert canned.runs.count("waitress+asgi_quart") == 2


def test_a_run_goes_on_where_it_was(tmp_path: Path) -> None:
    """What is kept is not run again, but for what has no explanation."""
    names = ["waitress+asgi_quart", "waitress+asgi_falcon"]
    symptoms = {"waitress+wsgi_plain": "ends", names[0]: "ends", names[1]: "hangs"}
    for again in (False, True):
        canned = Canned(symptoms, Kept(tmp_path / "kept.json"))
        found = [canned.pairing(server("waitress", "wsgi"), name.split("+")[1]) for name in names]
        assert [each.blame for each in found] == [{"range": "waitress"}, {}]
        assert found[1].outcome.first == {"range": "hangs"}
        assert [canned.runs.count(name) for name in names] == ([0, 1] if again else [1, 2])


@pytest.mark.parametrize(
    ("symptoms", "blamed"),
    [
        ({"waitress+wsgi_plain": "ends"}, {"range": "waitress"}),
        ({"waitress+wsgi_plain": "hangs"}, {}),
        ({"waitress+wsgi_lengthless": "ends"}, {"range": "waitress without a length"}),
        ({"uvicorn-h11+asgi_quart": "ends"}, {"range": "asgi_quart"}),
        ({"uvicorn-h11+asgi_quart": "ends", "waitress+wsgi_plain": "ends"}, {"range": "asgi_quart"}),
        ({"uvicorn-h11+asgi_quart": "hangs"}, {}),
        ({"uvicorn-h11+asgi_quart": "ends", "uvicorn-h11+asgi_plain": "ends"}, {}),
        ({"uvicorn-h11-raising+asgi_quart": "ends"}, {"range": "asgi_quart"}),
        ({"gevent+wsgi_flask": "ends"}, {}),
    ],
    ids=[
        "the server does the same",
        "the server does something else",
        "the server does the same without a length",
        "the application does the same",
        "both do the same",
        "the application does something else",
        "the application does the same where its server is at fault",
        "the application does the same where send() raises",
        "another application does the same",
    ],
)
def test_a_step_is_explained_by_what_fails_without_an_adapter(
    symptoms: dict[str, str], blamed: dict[str, str]
) -> None:
    """In the same way, by the server alone or by the application alone; by nothing else."""
    pairing = Canned({"waitress+asgi_quart": "ends", **symptoms}).pairing(
        server("waitress", "wsgi"), "asgi_quart"
    )
    assert pairing.blame == blamed
    assert pairing.unexplained == ({} if blamed else {"range": "ends"})


def test_there_is_a_reference_for_each_kind_of_application() -> None:
    """Applications show there what they do by themselves."""
    assert {each.interface for each in REFERENCES} == {"asgi", "wsgi"}


def pairing(application: str, symptom: str | None, blamed: str | None) -> Pairing:
    steps = {"keep-alive": symptom, scenario.END: None}
    return Pairing(
        server("uwsgi", "wsgi"), application, Outcome(steps), {"keep-alive": blamed} if blamed else {}
    )


@pytest.mark.parametrize(
    ("pairings", "problem"),
    [
        (
            [pairing("asgi_quart", "no answer in time", None)],
            "uwsgi+asgi_quart: keep-alive: no answer in time: unexplained",
        ),
        (
            [pairing("asgi_quart", "no answer in time", "asgi_quart")],
            "uwsgi+asgi_quart: keep-alive: asgi_quart is to blame, and reasons.py does not say why",
        ),
        (
            [pairing("asgi_quart", "no answer in time", "uwsgi"), pairing("asgi_falcon", None, None)],
            "uwsgi+asgi_quart: keep-alive: uwsgi is to blame, but does it for others",
        ),
    ],
)
def test_a_step_without_a_good_reason_is_a_problem(pairings: list[Pairing], problem: str) -> None:
    """The run fails, and says where."""
    assert page.problems(pairings, whole=False) == [problem]


def test_a_reason_that_nothing_needs_is_a_problem() -> None:
    """After a whole run: what is mended elsewhere leaves the page."""
    found = page.problems([pairing("asgi_quart", "no answer in time", "uwsgi")], whole=True)
    assert "the reason is not needed any more: wsgiref speaks HTTP/1.0." in found
    assert not [problem for problem in found if "uWSGI leaves nginx" in problem]  # this comes by chance
    assert "the reason is not needed any more: uWSGI closes the connection after each response." not in found


def test_a_cell_is_a_mark_or_the_numbers_of_its_reasons() -> None:
    """One without a reason has what was seen in place of it."""
    notes = page.Notes()
    assert notes.cell(pairing("asgi_quart", None, None)) == '<td class="well">\u2713 2</td>'
    first, second = (
        notes.cell(pairing("asgi_quart", "no answer in time", blamed)) for blamed in ("uwsgi", None)
    )
    assert first == '<td>1/2 <sup><a href="#reason-1">1</a></sup></td>'
    assert second == '<td class="bad">1/2 <sup><a href="#reason-2">2</a></sup></td>'
    assert notes.listed().splitlines()[1:-1] == [
        '<li id="reason-1">uWSGI closes the connection after each response.</li>',
        '<li id="reason-2">Not explained: keep-alive: no answer in time.</li>',
    ]


def test_code_in_a_reason_is_code_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list is HTML, where Markdown has no meaning."""
    monkeypatch.setattr(page, "REASONS", [])
    monkeypatch.setattr(page, "reason_for", lambda *_: Reason("", "", "`a` < `b`"))
    notes = page.Notes()
    notes.cell(pairing("asgi_quart", "no answer in time", "uwsgi"))
    assert "<code>a</code> &lt; <code>b</code>" in notes.listed()


def test_a_server_that_is_not_installed_says_so() -> None:
    """What is missing is named in place of the figures."""
    installed = server("uvicorn-h11", "asgi")
    assert installed.missing is None
    absent = replace(installed, packages=("uvicorn", "no-such-package"))
    assert page.absent(absent, "wsgi_flask") == "no-such-package is not installed"
    assert page.absent(installed, "wsgi_flask") == "flask is not installed"


def test_the_page_is_that_of_these_servers_applications_and_steps() -> None:
    """Each has its row or column; every step that does not pass has its reason."""
    text = page.FILE.read_text()
    tables = text.split('<table class="matrix">')[1:]
    for interface, table in zip(page.TITLES, tables, strict=True):
        titles = [title for name, (title, _) in APPLICATIONS.items() if not name.startswith(interface)]
        protocol = ["HTTP"] if interface == "asgi" else []
        assert re.findall('<th scope="col">(.*?)</th>', table) == ["server", *protocol, *titles]
        servers = [each.title for each in SERVERS if each.interface == interface]
        assert re.findall('<th scope="row">(.*?)</th>', table) == servers
        cells = re.findall(r"<td[^>]*>(?:\u2713 \d+|\d+/\d+ <sup>)", table)
        assert len(cells) == len(servers) * len(titles)
    for name in [*scenario.WHAT_HOLDS, *LEFT_OUT]:
        assert f"\n| {name} |" in text
    assert page.UNEXPLAINED not in text
