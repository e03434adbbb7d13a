"""Runs pairings of server and application, and finds what explains a step that has gone wrong.

A step that goes wrong is run without an adapter, too: with the plain site of the server's own world on
the same server, and with the same application on a server of its own world, where the plain site passes.
Where one of the two shows the same symptom, that one is to blame; `reasons.py` has the text. All else is
unexplained.
"""

import contextlib
import json
import os
import ssl
import tempfile
import threading
import time
import traceback
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from tests.matrix import scenario
from tests.matrix.clients import ENDED, Failed
from tests.matrix.scenario import DavScenario, Scenario, Target
from tests.matrix.servers import REFERENCES, Server, serving
from tests.processes import START_SECONDS, TROUBLE, Program

PATIENCE = 10.0
LITTLE_PATIENCE = 3.0  # where the server is known not to do it
LOOKS = 10  # at a server, for what it may do by chance
NOT_THERE = "not there"
NOT_STARTED = "it does not start"
OUTPUT = 6_000
# The sites by which a server shows what it does by itself, and how it is named then. The second of each is
# for what it does with answers, or with requests, of some kind alone.
SITES = {
    "asgi": {"asgi_plain": "", "asgi_unended": " without the end"},
    "wsgi": {"wsgi_plain": "", "wsgi_lengthless": " without a length"},
}
UNREAD_UPLOAD = " unread"
# Here the application answers without having read anything, as in the step "unread upload".
UNREAD = {("wsgi_django", "chunked upload")}
# A traceback may be there: clients that leave are logged by many.
LOST = [sign for sign in TROUBLE if sign != "Traceback"]


@dataclass
class Outcome:
    """What came of the steps: None for one that passed, a symptom, or NOT_THERE."""

    steps: dict[str, str | None] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)  # what was unexplained before it was tried again
    also: dict[str, list[str]] = field(default_factory=dict)  # what came of steps that were tried again
    seconds: float = 0

    @property
    def counted(self) -> int:
        return sum(symptom != NOT_THERE for symptom in self.steps.values())

    @property
    def passed(self) -> int:
        return sum(symptom is None for symptom in self.steps.values())

    @property
    def symptoms(self) -> dict[str, str]:
        return {step: symptom for step, symptom in self.steps.items() if symptom not in (None, NOT_THERE)}

    def shows(self, step: str, symptom: str) -> bool:
        return self.steps.get(step) == symptom or symptom in self.also.get(step, [])


@contextlib.contextmanager
def site_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chmod(folder, 0o755)  # servers that give up being root read it, too
        (folder / "file.bin").write_bytes(scenario.FILE)
        with (folder / "big.bin").open("wb") as big:
            big.truncate(scenario.BIG)
        yield folder


def attempt(step: str, steps: Scenario, outcome: Outcome) -> None:
    try:
        getattr(steps, scenario.STEPS[step].method)()
        outcome.steps[step] = None
    except scenario.NotThere:
        outcome.steps[step] = NOT_THERE
    except Failed as failed:
        outcome.steps[step] = str(failed)
        outcome.details[step] = traceback.format_exc(limit=-3)
    except (ConnectionError, ssl.SSLError):
        # How the end of a server is seen is chance.
        outcome.steps[step] = ENDED
        outcome.details[step] = traceback.format_exc(limit=-4)
    except Exception as error:
        outcome.steps[step] = f"the client fails with {type(error).__name__}"
        outcome.details[step] = traceback.format_exc(limit=-4)


def answers(steps: Scenario) -> bool:
    """Whether the server still does."""
    try:
        steps.goes_on()
    except Exception:
        return False
    return True


def end(running: Program) -> str | None:
    """Stop the server; the symptom, if it has one."""
    try:
        running.stop()
    except Exception:
        return "it does not end"
    output = running.output()
    return next((f"it has written {sign!r}" for sign in LOST if sign in output), None)


class Kept:
    """Outcomes by name, also in a file where there is one, so that a run can be continued."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._outcomes: dict[str, Outcome] = {}
        self._mutex = threading.Lock()
        if file is not None and file.exists():
            known = json.loads(file.read_text())
            self._outcomes = {name: Outcome(**outcome) for name, outcome in known.items()}

    def get(self, name: str) -> Outcome | None:
        return self._outcomes.get(name)

    def put(self, name: str, outcome: Outcome) -> None:
        with self._mutex:
            self._outcomes[name] = outcome
            if self._file is not None:
                text = json.dumps({name: asdict(each) for name, each in self._outcomes.items()})
                new = self._file.with_suffix(".new")
                new.write_text(text)
                new.replace(self._file)


class Matrix:
    """Runs pairings, and keeps what they, the servers and the applications do."""

    def __init__(self, keys: Path, kept: Kept) -> None:
        self._keys = keys  # the folder with key.pem and cert.pem
        self._kept = kept
        self._locks: dict[str, threading.Lock] = {}
        self._mutex = threading.Lock()

    def run(
        self,
        server: Server,
        application: str,
        hurry: frozenset[str] = frozenset(),
        steps: Collection[str] = tuple(scenario.STEPS),
    ) -> Outcome:
        """The steps for this pairing; in a *hurry* where nothing is to be expected of one.

        One that does not start is tried again, once.
        """
        began = time.monotonic()
        for _ in range(2):
            try:
                outcome = self._run(server, application, hurry, steps)
                break
            except Exception:
                outcome = Outcome({scenario.START: NOT_STARTED}, {scenario.START: traceback.format_exc()})
        outcome.seconds = round(time.monotonic() - began, 1)
        return outcome

    def _run(
        self, server: Server, application: str, hurry: frozenset[str], steps: Collection[str]
    ) -> Outcome:
        outcome = Outcome({scenario.START: None})
        kind = DavScenario if application == "wsgi_wsgidav" else Scenario
        adapted = not application.startswith(server.interface)
        with site_folder() as folder:
            environment = {
                "MATRIX_APPLICATION": application,
                "MATRIX_SERVED_AS": server.interface,
                "SITE_FOLDER": str(folder),
                **({"MATRIX_SEND_RAISES": "1"} if server.send_raises else {}),
            }
            with contextlib.ExitStack() as stack:
                running, port = stack.enter_context(serving(server, environment, self._keys))
                # Some listen before they have loaded the application.
                answers(kind(Target(port, folder, server.http, patience=START_SECONDS)))
                for step in [each for each in scenario.STEPS if each in steps]:
                    target = Target(
                        port,
                        folder,
                        server.http,
                        patience=LITTLE_PATIENCE if step in hurry else PATIENCE,
                        told=server.interface == "asgi" and (adapted or application == "asgi_plain"),
                        compresses=server.behind_nginx,
                    )
                    attempt(step, kind(target), outcome)
                    if outcome.steps[step] not in (None, NOT_THERE):
                        outcome.details["output"] = running.output()[-OUTPUT:]
                        if not answers(kind(replace(target, patience=LITTLE_PATIENCE))):
                            # One step's trouble is not the next one's.
                            stack.close()
                            running, port = stack.enter_context(serving(server, environment, self._keys))
                outcome.steps[scenario.END] = end(running)
                outcome.details.setdefault("output", running.output()[-OUTPUT:])
        return outcome

    def own(self, server: Server, application: str | None = None) -> Outcome:
        """What the server does by itself, with the plain site or with an *application* of its own world."""
        application = application or f"{server.interface}_plain"
        name = f"{server.name}+{application}"
        with self._mutex:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            outcome = self._kept.get(name)
            if outcome is None:
                outcome = self.run(server, application)
                self._kept.put(name, outcome)
        return outcome

    def pairing(self, server: Server, application: str) -> "Pairing":
        """What has come of the pairing; where that is not explained, what comes of it at a second try."""
        name = f"{server.name}+{application}"
        hurry = frozenset(self.own(server).symptoms)
        outcome = self._kept.get(name) or self.run(server, application, hurry)
        pairing = Pairing(server, application, outcome, self._blame(server, application, outcome))
        if pairing.unexplained:
            self._look_again(server, pairing.unexplained)
            pairing = Pairing(server, application, outcome, self._blame(server, application, outcome))
        if pairing.unexplained:
            first = outcome.first or pairing.unexplained
            outcome = self.run(server, application, hurry)
            outcome.first = first
            pairing = Pairing(server, application, outcome, self._blame(server, application, outcome))
        self._kept.put(name, outcome)
        return pairing

    def _look_again(self, server: Server, symptoms: dict[str, str]) -> None:
        """Have the server do by itself what it may do by chance."""
        sites = list(SITES[server.interface])

        def is_shown(step: str, symptom: str) -> bool:
            return any(self.own(server, site).shows(step, symptom) for site in sites)

        for site in sites * LOOKS:
            if all(is_shown(step, symptom) for step, symptom in symptoms.items()):
                break
            own = self.own(server, site)
            again = self.run(server, site, steps=symptoms)
            for step, symptom in again.symptoms.items():
                own.also[step] = [*own.also.get(step, []), symptom]
            self._kept.put(f"{server.name}+{site}", own)

    def _blame(self, server: Server, application: str, outcome: Outcome) -> dict[str, str]:
        """For each symptom that there is without an adapter, too: the application or server that has it."""
        blame = {}
        for step, symptom in outcome.symptoms.items():
            if self._is_shown_by(application, step, symptom):
                blame[step] = application
                continue
            for site, how in SITES[server.interface].items():
                if self.own(server, site).shows(step, symptom):
                    blame[step] = server.name + how
                    break
            else:
                if (application, step) in UNREAD and self.own(server).shows("unread upload", symptom):
                    blame[step] = server.name + UNREAD_UPLOAD
        return blame

    def _is_shown_by(self, application: str, step: str, symptom: str) -> bool:
        """Whether the application has the symptom by itself, on a server that is not to blame for it."""
        return any(
            application.startswith(server.interface)
            and self.own(server).steps.get(step, NOT_STARTED) is None
            and self.own(server, application).shows(step, symptom)
            for server in REFERENCES
        )


@dataclass
class Pairing:
    server: Server
    application: str
    outcome: Outcome
    blame: dict[str, str]  # step: the server or the application that shows the same by itself

    @property
    def name(self) -> str:
        return f"{self.server.name}+{self.application}"

    @property
    def unexplained(self) -> dict[str, str]:
        return {step: text for step, text in self.outcome.symptoms.items() if step not in self.blame}
