"""The benchmark report: the page is that of its figures, and whatever it measures can be measured."""

import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.report import __main__ as report
from benchmarks.report import page, plot
from benchmarks.results import Result
from benchmarks.targets import FASTEST, Target
from tests.processes import ROOT

DOCS = ROOT / "docs"
DATA = json.loads((DOCS / "benchmarks" / "data.json").read_text())
PLOTS = sorted((DOCS / "benchmarks").glob("*.svg"))


def test_the_committed_page_and_plots_are_those_of_the_figures() -> None:
    """Drawn again, they are the same, and there are no others: python -m benchmarks.report --render."""
    drawn = page.files(DATA)
    assert {str(file.relative_to(DOCS)) for file in PLOTS} == drawn.keys() - {page.PAGE}
    assert [path for path, text in drawn.items() if (DOCS / path).read_text() != text] == []


def test_the_committed_report_is_whole() -> None:
    """Everything has been measured."""
    assert "not measured" not in (DOCS / page.PAGE).read_text().lower()


@pytest.mark.parametrize("file", PLOTS, ids=lambda file: file.stem)
def test_a_plot_is_small_and_everybody_can_read_it(file: Path) -> None:
    """It is XML of less than 30 KiB, with a title, a description, its words as text, and dark colours too."""
    assert file.stat().st_size < 30 << 10
    root = ElementTree.parse(file).getroot()
    tags = [element.tag.rpartition("}")[2] for element in root.iter()]
    assert tags.count("title") == tags.count("desc") == 1
    assert tags.count("text") > 5
    light, _, dark = file.read_text().partition("@media (prefers-color-scheme: dark)")
    used = re.findall(r'<g class="([a-z-]+)">', dark)
    assert len(used) > 1
    assert all(f".{style} .line {{ stroke: #" in colours for style in used for colours in (light, dark))


# One of each kind: of the benchmarks, parts, curves, memory, and overload.
KINDS = [
    "w2a.get.seq",
    "a2w.get.seq.uvloop",
    "bridge.local.get.task",
    "profile.bridge.a2s.plain",
    "sync-to-async-in-flight",
    "asgi-memory-up",
    "overload",
]


def run_report(*arguments: str) -> str:
    command = [sys.executable, "-m", "benchmarks.report", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_each_kind_of_benchmark_can_be_measured_and_drawn(tmp_path: Path) -> None:
    """A tiny run of one of each; what it has not measured, the page says."""
    told = run_report("--tiny", "--into", str(tmp_path), "--only", *KINDS)
    assert [line.split()[-1] for line in told.splitlines()] == KINDS
    data = json.loads((tmp_path / "benchmarks" / "data.json").read_text())
    measured = [name for section in ("workloads", "profiles", "curves", "overload") for name in data[section]]
    assert measured == list(data["runs"]) == KINDS
    assert (tmp_path / page.PAGE).read_text() == page.files(data)[page.PAGE]
    assert "WsgiToAsgi: cost of a request: not measured." in (tmp_path / page.PAGE).read_text()


def test_what_has_been_measured_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--resume measures the rest."""
    arguments = ["--tiny", "--into", str(tmp_path), "--only"]
    report.main([*arguments, "bridge.local.get.thread"])
    first = report.read(tmp_path)
    capsys.readouterr()
    report.main([*arguments, "bridge.local.get", "--resume"])
    assert capsys.readouterr().out.split()[2:] == ["bridge.local.get.task"]
    both = report.read(tmp_path)["workloads"]
    assert list(both) == ["bridge.local.get.task", "bridge.local.get.thread"]
    assert both.items() > first["workloads"].items()


def test_a_benchmark_that_fails_does_not_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others are measured, and it is told which one failed."""

    def fails(*arguments: object) -> None:
        raise RuntimeError("it does not start")

    monkeypatch.setattr(report.profiles, "measure", fails)
    names = ["bridge.a2s.plain", "bridge.local.get.task"]
    with pytest.raises(SystemExit, match=r"^profile.bridge.a2s.plain: failed; --resume tries again"):
        report.main(["--tiny", "--into", str(tmp_path), "--only", *names])
    assert "RuntimeError: it does not start" in capsys.readouterr().err
    assert list(report.read(tmp_path)["runs"]) == names


def test_figures_of_two_machines_do_not_stand_on_one_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was measured elsewhere has to be measured anew."""
    elsewhere = {**DATA, "machine": {**DATA["machine"], "cores": "1000"}}
    report.write(elsewhere, tmp_path)
    with pytest.raises(SystemExit):
        report.main(["--tiny", "--into", str(tmp_path), "--only", "bridge.local.get.task"])
    assert "is of another machine, or of other packages; measure everything" in capsys.readouterr().err
    assert report.read(tmp_path) == elsewhere


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.0, "0"), (0.1234, "0.123"), (1.0, "1"), (2.345, "2.35"), (45.67, "45.7"), (12345.6, "12,346")],
)
def test_a_number_is_told_with_three_digits(number: float, text: str) -> None:
    """And with all those before the point."""
    assert plot.short(number) == text


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.9, 45, [0.5, 1, 2, 5, 10, 20, 50]),
        (1, 1, [1]),
        (3, 90_000, [1, 10, 100, 1000, 10_000, 100_000]),
    ],
)
def test_ticks_of_a_logarithmic_axis_enclose_the_values(low: float, high: float, ticks: list[float]) -> None:
    """They are round, and few."""
    assert plot.log_ticks(low, high) == pytest.approx(ticks)


def test_a_plot_leaves_out_lines_without_points_and_escapes_names() -> None:
    """Nothing is drawn for a contender that has failed."""
    axis = plot.Axis("n < 3", log=False, ticks=(0, 1, 2))
    lines = [plot.Line("a & b", "ours", [(0, 0), (2, 2)]), plot.Line("absent", "first", [])]
    drawn = plot.svg("title", "description", axis, axis, lines)
    words = [
        element.text for element in ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")
    ]
    assert words.count("a & b") == 1
    assert words.count("n < 3") == 2
    assert "absent" not in words


@pytest.mark.parametrize(
    ("target", "measured", "reached"),
    [
        (Target("", "", "slow", at_least=4), 4.0, True),
        (Target("", "", "slow", at_least=4.1), 4.0, False),
        (Target("", "", FASTEST, at_least=2), 1.5, False),
        (Target("", "", "limit", at_most=2), 2.0, True),
        (Target("", "", "limit", at_most=1.9), 2.0, False),
    ],
)
def test_a_target_is_held_against_the_median_of_the_ratios(
    target: Target, measured: float, reached: bool
) -> None:
    """Of the peer that it names, of the fastest, or the other way round for the limit."""
    costs = {
        "asgiadapt": [2.0, 4.0, 8.0],
        "slow": [8.0, 16.0, 99.0],
        "fast": [3.0, 6.0, 1.0],
        "limit": [1.0, 2.0, 4.0],
    }
    result = Result("", "", "us", costs)
    assert target.measured(result) == measured
    assert target.is_reached(result) is reached
