"""The summary of `make test`: what it counts, what it shows, when it fails."""

import io
from pathlib import Path

import pytest

from tests.__main__ import INTEGRATION, Check, Outcome, checks, main, run, run_beside, summarize

REPORT = """<testsuites><testsuite errors="0" failures="{failures}" skipped="1" tests="3">
<testcase classname="tests.unit.test_x" name="test_good"/>
<testcase classname="tests.unit.test_x" name="test_other"/>
<testcase classname="tests.unit.test_x" name="test_tmpfs"><skipped message="needs root to mount a tmpfs"/></testcase>
</testsuite></testsuites>"""


def reporting(tmp_path: Path, text: str, exit_code: int) -> Check:
    """A check that writes a report as pytest does and ends with a code."""
    report = tmp_path / "report.xml"
    return Check(
        name="unit", report=report, commands=[("sh", "-c", f"printf '%s' '{text}' > {report}; exit {exit_code}")]
    )


def test_skipped_tests_are_listed_with_their_reasons() -> None:
    """A skip without its reason would hide what was not tested."""
    output = io.StringIO()
    summarize([Outcome(check="unit", passed=2, failed=0, seconds=1, skipped=[("test_tmpfs", "needs root")])], output)
    assert "skipped: test_tmpfs: needs root" in output.getvalue()
    assert output.getvalue().splitlines()[-1] == "2 passed, 0 failed, 1 skipped"


def test_tests_are_counted_from_the_report(tmp_path: Path) -> None:
    """Passed, failed and skipped as pytest counted them."""
    outcome = run(reporting(tmp_path, REPORT.format(failures=1), exit_code=1))
    assert (outcome.passed, outcome.failed) == (1, 1)
    assert outcome.skipped == [("tests.unit.test_x::test_tmpfs", "needs root to mount a tmpfs")]


def test_a_crash_without_failed_tests_is_a_failure(tmp_path: Path) -> None:
    """Pytest that dies at its end has written a good report and is not good."""
    assert run(reporting(tmp_path, REPORT.format(failures=0), exit_code=3)).failed == 1


def test_a_missing_report_is_a_failure(tmp_path: Path) -> None:
    """Nothing was run, so nothing is known."""
    assert run(Check(name="unit", commands=[("true",)], report=tmp_path / "none.xml")).failed == 1


def test_a_stale_report_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    """The report of an earlier run must not hide that this one wrote none."""
    stale = tmp_path / "report.xml"
    stale.write_text(REPORT.format(failures=0))
    assert run(Check(name="unit", commands=[("true",)], report=stale)).failed == 1


def test_a_failing_command_fails_its_check_and_the_next_still_runs(tmp_path: Path) -> None:
    """A check without tests counts as one; both of its commands are run."""
    mark = tmp_path / "mark"
    outcome = run(Check(name="lint", commands=[("false",), ("touch", str(mark))]))
    assert (outcome.passed, outcome.failed) == (0, 1)
    assert mark.exists()


def test_every_integration_test_belongs_to_one_check() -> None:
    """What a check names for itself, the one of all the others leaves out."""
    commands = {check.name: check.commands[0] for check in checks()}
    apart = [word for name in ("bridge", "alone") for word in commands[name] if word.startswith("tests/")]
    left_out = [word.removeprefix("--ignore=") for word in commands["integration"] if word.startswith("--ignore=")]
    assert "tests/integration" in commands["integration"]
    assert sorted(apart) == sorted(left_out)
    assert len(set(apart)) == len(apart) > 0
    assert set(apart) <= {f"tests/integration/{file.name}" for file in INTEGRATION.glob("test_*.py")}


def test_checks_beside_each_other_choose_different_ports_and_show_what_they_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each of two waits for what the other writes; a failure stays with its check, outcomes keep the order."""
    monkeypatch.setattr("tests.__main__.REPORTS", tmp_path)
    meet = (
        'cd "$1"; echo "$PENSTOCK_FREE_PORTS" >"$2"; until [ -s "$3" ]; do sleep 0.01; done; echo "it is $2"; exit "$4"'
    )
    pair = (("one", "two", "1"), ("two", "one", "0"))
    outcomes = run_beside(
        [
            Check(name=name, commands=[("timeout", "60", "sh", "-c", meet, "sh", str(tmp_path), name, other, code)])
            for name, other, code in pair
        ]
    )
    assert [(outcome.check, outcome.failed) for outcome in outcomes] == [("one", 1), ("two", 0)]
    assert (tmp_path / "one").read_text() != (tmp_path / "two").read_text()
    shown = capfd.readouterr().out
    assert "it is one" in shown
    assert "it is two" in shown


def test_an_unknown_check_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A typing error must not look like a good run of nothing."""
    with pytest.raises(SystemExit) as ended:
        main(["lnit"])
    assert ended.value.code == 2
    assert "no such check: lnit" in capsys.readouterr().err
