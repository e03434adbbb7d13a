"""What the workers have noted, compared with what the clients have got."""

from collections import Counter
from pathlib import Path

from tests.soak.client import KIND_NAMES, OUTCOMES, REFUSED, WHOLE, Totals
from tests.soak.inside import BACKGROUND_DONE, ENTERED, LEFT, SHUT_DOWN, STARTED_UP, read_journal
from tests.soak.sites import Site

_BACKGROUND = KIND_NAMES.index("background")
# These do not go to the application itself on one side.
_STALLS = {KIND_NAMES.index("stall"), KIND_NAMES.index("long stall")}


class Comparison:
    """Adds to *totals* what is wrong. *tallies* counts the notes of each site."""

    def __init__(self, sites: list[Site], totals: Totals) -> None:
        self._sites = sites
        self._totals = totals
        self._entered = bytearray(len(totals.kind_of))
        self._left = bytearray(len(totals.kind_of))
        self.tallies: dict[str, dict[str, int]] = {}
        for site in sites:
            self._read_site(site)
        for number in range(1, len(totals.kind_of)):
            self._compare(number)

    def _read_site(self, site: Site) -> None:
        tally = Counter[int]()
        journals = site.journals()
        for path in journals:
            tally += self._read_worker(site, path)
        self.tallies[site.name] = {
            "workers": len(journals),
            "workers killed": len(site.killed),
            "workers shut down": tally[SHUT_DOWN],
            "requests entered": tally[ENTERED],
            "requests left": tally[LEFT],
            "background work done": tally[BACKGROUND_DONE],
        }

    def _read_worker(self, site: Site, path: Path) -> Counter[int]:
        totals = self._totals
        tally = Counter[int]()
        still_open: set[int] = set()
        to_be_done: set[int] = set()
        for what, number in read_journal(path)[0]:
            tally[what] += 1
            if what == ENTERED:
                self._entered[number] += 1
                still_open.add(number)
                if totals.kind_of[number] == _BACKGROUND and site.kind.gateway == "AsgiToWsgi":
                    to_be_done.add(number)
            elif what == LEFT:
                self._left[number] += 1
                still_open.discard(number)
            elif what == BACKGROUND_DONE:
                to_be_done.discard(number)
        if path in site.killed or not tally[STARTED_UP]:
            return tally
        if not tally[SHUT_DOWN]:
            totals.wrong.append(f"{path.stem} ended without a shutdown of the application")
        if still_open:
            totals.wrong.append(f"{path.stem} ended amid the requests {sorted(still_open)}")
        totals.wrong += [
            f"{path.stem}: the work after the response of request {number} was not done"
            for number in to_be_done
            if _outcome(totals, number) in (WHOLE, REFUSED)
        ]
        return tally

    def _compare(self, number: int) -> None:
        totals = self._totals
        kind, outcome = totals.kind_of[number], _outcome(totals, number)
        entered, left = self._entered[number], self._left[number]
        problem = None
        if outcome is None:
            problem = "has had no end"
        elif entered > 1 or left > entered:
            problem = f"was entered {entered} times, left {left} times"
        elif not entered and outcome == WHOLE and kind not in _STALLS:
            problem = "has reached no application"
        elif entered and number in totals.unless_entered:
            problem = f"has reached the application, although: {totals.unless_entered[number]}"
        if problem:
            site = self._sites[totals.site_of[number]].name
            totals.wrong.append(f"{site}: request {number} ({KIND_NAMES[kind]}, {outcome}) {problem}")


def _outcome(totals: Totals, number: int) -> str | None:
    code = totals.outcome_of[number]
    return OUTCOMES[code] if code < len(OUTCOMES) else None
