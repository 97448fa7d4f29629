import json
from pathlib import Path

import pytest

from bench import report
from bench.measure import Comparison, Sample, Subject

MACHINE = {
    "measured_at": "2026-01-01T00:00:00+00:00",
    "cpus": 2,
    "system": "Linux 6 x86_64",
    "python": "3.11.7",
    "load_before": 0.1,
    "load_after": 1.9,
    "others_share": 0.25,
}


def comparison(key: str, *, rate: float) -> Comparison:
    subject = Subject(key=key, what="ours against theirs", unit="events/s", floor=0.6)
    ours = [Sample(work=100, seconds=100 / rate, cpu_seconds=0.01)] * 5
    return Comparison(subject=subject, ours=ours, peer=[Sample(work=100, seconds=1.0)] * 5)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(report, "PAGE", tmp_path / "RESULTS.md")


def test_results_are_written_with_ratios_by_key() -> None:
    """A program reads the ratios without knowing the benchmark."""
    report.publish("one", [comparison("a_vs_b", rate=50), comparison("c_vs_d", rate=90)], MACHINE, ["a note"])
    result = json.loads((report.RESULTS / "one.json").read_text())
    assert result["ratios"] == {"a_vs_b": 0.5, "c_vs_d": 0.9}
    assert result["figures"]["a_vs_b"]["ours"]["median"] == 50.0
    assert result["machine"] == MACHINE


def test_the_page_tells_what_missed_its_floor() -> None:
    """As plainly as what reached it."""
    report.publish("one", [comparison("a_vs_b", rate=50), comparison("c_vs_d", rate=90)], MACHINE, ["a note"])
    rows = {line.split("|")[1].strip(): line for line in report.PAGE.read_text().splitlines() if line.startswith("| `")}
    assert "0.50" in rows["`a_vs_b`"]
    assert "below the floor" in rows["`a_vs_b`"]
    assert "100 µs CPU each" in rows["`a_vs_b`"]
    assert "below" not in rows["`c_vs_d`"]


def test_the_page_keeps_the_results_of_other_benchmarks() -> None:
    """It is made of all files, each with its own machine line."""
    report.publish("one", [comparison("a_vs_b", rate=50)], MACHINE, [])
    report.publish("two", [comparison("c_vs_d", rate=90)], {**MACHINE, "load_before": 7.5}, ["a note"])
    page = report.PAGE.read_text()
    assert page.index("## one") < page.index("## two")
    assert "load 0.1 before" in page
    assert "load 7.5 before" in page
    assert "- a note" in page


def test_the_screen_shows_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Key, both rates, ratio and verdict in a row, whole."""
    report.publish("one", [comparison("a_vs_b", rate=50)], MACHINE, [])
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "a_vs_b" in line]
    assert "50 events/s, 100 µs CPU each" in row
    assert "below the floor" in row


def test_the_committed_page_is_made_from_the_committed_results() -> None:
    """Nobody edits it by hand."""
    folder = Path(report.__file__).parent
    results = [json.loads(path.read_text()) for path in sorted((folder / "results").glob("*.json"))]
    assert {result["name"] for result in results} >= {"bridge", "tracking"}
    assert (folder / "RESULTS.md").read_text() == report.page(results)
