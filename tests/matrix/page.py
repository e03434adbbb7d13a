"""docs/matrix.md: what the pairings have shown, as a page."""

import html
import re
from collections import Counter
from collections.abc import Iterable

from tests.matrix import scenario
from tests.matrix.reasons import REASONS, reason_for
from tests.matrix.run import Pairing
from tests.matrix.servers import APPLICATIONS, LEFT_OUT, SERVERS, Server, versions
from tests.processes import ROOT

FILE = ROOT / "docs/matrix.md"
UNEXPLAINED = "Not explained"

HEAD = """\
# The matrix

<!-- Written by "python -m tests.matrix": change that, and not this page. -->

Each server with each application, and the adapter between them, through the same
[scenario](#the-scenario). ✓ stands where all steps pass, with their number; elsewhere a cell has how many
pass, out of those that there are for the protocol and the application, and the
[reasons](#reasons) for those that do not.

A step that does not pass is tried without asgiadapt, too: with a plain application of the server's own
kind on the same server, and with the same application on a server of its own kind. What fails there in
the same way is the reason; for what a server does by chance, it is tried up to ten times more. A step for
which there is none is marked as not explained, and the run fails.

{summary}

`make matrix` repeats all of it, and writes this page. A part of it:
`python -m tests.matrix --only daphne "*+wsgi_flask"`. With `--keep FILE` the results are kept, and a run
that was broken off goes on where it was.

WsgiDAV is asked for its own: files are put and fetched, where the others have pages. Sanic and Falcon, as
ASGI, know no `root_path`; they are given their paths without it.
"""
AGAIN = """\
## Tried again

A pairing with a step that is not explained is tried again, once. These were not explained at the first try;
at the second they passed, or their reason was found.

"""
SCENARIO = """\
## The scenario

The clients are made for it: sockets for HTTP/1.1, h2 for HTTP/2, aioquic for HTTP/3. Order is forced by
events, not by time. The HTTP of the second table is 1.1.

"""
TITLES = {
    "asgi": "A WSGI application on an ASGI server",
    "wsgi": "An ASGI application on a WSGI server",
}


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(heads)]
    lines += [["---"] * len(lines[0]), *map(list, rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def absent(server: Server, application: str) -> str:
    missing = server.missing or APPLICATIONS[application][1]
    return f"{missing} is not installed"


class Notes:
    """What the cells refer to, numbered as it comes up: reasons, and symptoms for which there is none."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def cell(self, pairing: Pairing) -> str:
        outcome = pairing.outcome
        texts = []
        for step, symptom in outcome.symptoms.items():
            reason = reason_for(pairing.blame[step], step) if step in pairing.blame else None
            texts.append(reason.text if reason else f"{UNEXPLAINED}: {step}: {symptom}.")
        if not texts:
            return f'<td class="well">\u2713 {outcome.passed}</td>'
        numbers = sorted({self._numbers.setdefault(text, len(self._numbers) + 1) for text in texts})
        links = " ".join(f'<a href="#reason-{number}">{number}</a>' for number in numbers)
        mark = ' class="bad"' if any(text.startswith(UNEXPLAINED) for text in texts) else ""
        return f"<td{mark}>{outcome.passed}/{outcome.counted} <sup>{links}</sup></td>"

    def listed(self) -> str:
        lines = []
        for text, number in self._numbers.items():
            shown = re.sub("`(.+?)`", r"<code>\1</code>", html.escape(text, quote=False))
            lines.append(f'<li id="reason-{number}">{shown}</li>')
        return "\n".join(["<ol>", *lines, "</ol>", ""])


def matrix(interface: str, found: list[Pairing], notes: Notes) -> str:
    """The table for the servers of this kind. As HTML: its cells have colours, and it can be moved."""
    cells = {(each.server.name, each.application): notes.cell(each) for each in found}
    applications = [name for name in APPLICATIONS if not name.startswith(interface)]
    protocols = interface == "asgi"  # the WSGI servers are asked by HTTP/1.1
    heads = ["server", *["HTTP"] * protocols, *(APPLICATIONS[name][0] for name in applications)]
    columns = "".join(f'<th scope="col">{head}</th>' for head in heads)
    lines = ['<table class="matrix">', f"<thead><tr>{columns}</tr></thead>", "<tbody>"]
    for server in SERVERS:
        if server.interface == interface:
            row = [
                cells.get((server.name, name)) or f"<td>{absent(server, name)}</td>" for name in applications
            ]
            http = f"<td>{server.http}</td>" if protocols else ""
            lines.append(f'<tr><th scope="row">{server.title}</th>{http}{"".join(row)}</tr>')
    return "\n".join([*lines, "</tbody>", "</table>", ""])


def text(found: list[Pairing]) -> str:
    notes = Notes()
    parts = [HEAD.format(summary=summary(found))]
    for interface, title in TITLES.items():
        parts.append(f"## {title}\n\n{matrix(interface, found, notes)}")
    parts.append(f"## Reasons\n\n{notes.listed()}")
    again = [
        [each.server.title, each.server.http, APPLICATIONS[each.application][0], step, symptom]
        for each in found
        for step, symptom in each.outcome.first.items()
    ]
    if again:
        parts.append(AGAIN + table(["server", "HTTP", "application", "step", "at the first try"], again))
    parts.append(SCENARIO + table(["step", "what holds"], scenario.WHAT_HOLDS.items()))
    parts.append(f"## Versions\n\n{table(['name', 'version'], versions().items())}")
    parts.append(f"## Left out\n\n{table(['server', 'why'], LEFT_OUT.items())}")
    return "\n".join(parts)


def summary(found: list[Pairing]) -> str:
    steps = Counter[str]()
    for pairing in found:
        steps["passed"] += pairing.outcome.passed
        steps["steps"] += pairing.outcome.counted
        steps["explained"] += len(pairing.blame)
        steps["unexplained"] += len(pairing.unexplained)
    minutes = sum(pairing.outcome.seconds for pairing in found) / 60
    return (
        f"{len(found):,} pairings, {steps['steps']:,} steps: {steps['passed']:,} passed, "
        f"{steps['explained']:,} have a reason, {steps['unexplained']:,} have none. "
        f"The pairings took {minutes:.0f} minutes."
    )


def problems(found: list[Pairing], whole: bool) -> list[str]:
    """Whatever is wrong with these results or with the reasons for them."""
    wrong = []
    used = set()
    passes = {
        (pairing.server.name, step)
        for pairing in found
        for step, symptom in pairing.outcome.steps.items()
        if symptom is None
    }
    for pairing in found:
        for step, symptom in pairing.unexplained.items():
            wrong.append(f"{pairing.name}: {step}: {symptom}: unexplained")
        for step, blamed in pairing.blame.items():
            reason = reason_for(blamed, step)
            if reason is None:
                wrong.append(f"{pairing.name}: {step}: {blamed} is to blame, and reasons.py does not say why")
            elif blamed == pairing.server.name and (blamed, step) in passes and not reason.race:
                wrong.append(f"{pairing.name}: {step}: {blamed} is to blame, but does it for others")
            else:
                used.add(reason)
    if whole:
        wrong += [
            f"the reason is not needed any more: {reason.text}"
            for reason in REASONS
            if reason not in used and not reason.race
        ]
    return wrong
