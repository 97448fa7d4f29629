"""`python -m tests`: every check of the repository, then one summary.

Tests wait for processes half of their time, so most checks run in two lanes beside each other; what a busy machine
could fail has it for itself. A failing check does not stop the others. Skipped tests are listed with their reasons.
The exit code is 0 only if all checks passed.
"""

import argparse
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import TextIO

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / "build" / "reports"
BIN = Path(sys.executable).parent
# Lanes choose their free ports apart from each other.
LANE_PORTS = ("15000-22999", "23000-31999")
_printing = Lock()


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A named check: commands that must all exit 0, one after the other, with variables of its own."""

    name: str
    commands: Sequence[Sequence[str]]
    report: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a check said: tests as pytest counted them; a check without tests counts as one."""

    check: str
    passed: int
    failed: int
    seconds: float
    skipped: Sequence[tuple[str, str]] = field(default=())


def pytest_check(name: str, *paths: str, **environment: str) -> Check:
    """Tests of one folder below `tests/`, or of `paths`, with a machine-readable report."""
    report = REPORTS / f"{name}.xml"
    what = paths or (f"tests/{name}",)
    command = (str(BIN / "pytest"), *what, "-q", "--no-header", "--durations=5", f"--junitxml={report}")
    return Check(name=name, commands=[command], report=report, environment=environment)


def integration_files(*names: str) -> list[str]:
    return [f"tests/integration/test_{name}.py" for name in names]


# The bridge's tests that depend on what the broker is, on the line of ActiveMQ that is not the default.
ON_ACTIVEMQ_6 = integration_files(
    "embedded_broker",
    "bridge_connection",
    "bridge_delivery",
    "bridge_fidelity",
    "bridge_guarded_broker",
    "bridge_lanes",
    "bridge_replies",
    "bridge_retry",
    "bridge_sources",
)
# What a busy machine could fail although it is right: deadlines of stops, watchdogs, many kills under load.
ALONE = integration_files("bridge_chaos", "tracking_durability")
# Contracts of adapters on broker, Valkey and AWS emulator in containers.
ON_CONTAINERS = integration_files("bridge_dedup", "redis_program_store", "target_contract")


def checks() -> Sequence[Check]:
    """All of them."""
    return [check for stage in stages() for lane in stage for check in lane]


def stages() -> Sequence[Sequence[Sequence[Check]]]:
    """Stages one after the other, each of lanes beside each other, each of checks one after the other."""
    ruff = str(BIN / "ruff")
    return (
        (
            (
                Check(name="lint", commands=[(ruff, "check", "."), (ruff, "format", "--check", ".")]),
                Check(name="types", commands=[(str(BIN / "mypy"), ".")]),
                Check(name="imports", commands=[(str(BIN / "lint-imports"),)]),
                Check(name="protos", commands=[("make", "--no-print-directory", "protos-check")]),
                pytest_check("unit"),
                pytest_check("containers"),
                pytest_check("parts-in-containers", *ON_CONTAINERS, PENSTOCK_TEST_PARTS="containers"),
                pytest_check("activemq-6.1", *ON_ACTIVEMQ_6, PENSTOCK_ACTIVEMQ="6.1"),
            ),
            (pytest_check("integration", "tests/integration", *(f"--ignore={path}" for path in ALONE)),),
        ),
        ((pytest_check("alone", *ALONE),),),
    )


def run(check: Check, log: Path | None = None) -> Outcome:
    """Run the commands of a check and count; their output is shown, with a `log` only in the end."""
    started = time.monotonic()
    if check.report:
        check.report.unlink(missing_ok=True)
    environment = {**os.environ, **check.environment}
    with log.open("wb") if log else nullcontext() as output:
        codes = [
            subprocess.run(command, cwd=ROOT, env=environment, stdout=output, stderr=output, check=False).returncode
            for command in check.commands
        ]
    seconds = time.monotonic() - started
    if check.report is None:
        good = all(code == 0 for code in codes)
        return Outcome(check=check.name, passed=int(good), failed=int(not good), seconds=seconds)
    return _read_report(check.name, check.report, exit_code=codes[-1], seconds=seconds)


def run_stage(lanes: Sequence[Sequence[Check]]) -> list[Outcome]:
    """Run lanes beside each other; the output of a check stays in one piece. Outcomes in the order of the lanes."""
    if len(lanes) == 1:
        return run_lane(lanes[0], beside_others=False)
    apart = [
        [replace(check, environment={"PENSTOCK_FREE_PORTS": ports, **check.environment}) for check in lane]
        for lane, ports in zip(lanes, LANE_PORTS, strict=True)
    ]
    with ThreadPoolExecutor(len(apart)) as threads:
        outcomes = threads.map(lambda lane: run_lane(lane, beside_others=True), apart)
        return [outcome for lane in outcomes for outcome in lane]


def run_lane(lane: Sequence[Check], *, beside_others: bool) -> list[Outcome]:
    """Run checks one after the other; beside others, each one's output goes to a file that is shown when it ends."""
    outcomes = []
    for check in lane:
        log = REPORTS / f"{check.name}.log" if beside_others else None
        print(f"\n== {check.name}{f': writes to {log}' if log else ''}", flush=True)
        outcomes.append(run(check, log))
        if log:
            with _printing:
                print(f"\n== {check.name}: {outcomes[-1].seconds:.0f} s\n{log.read_text(errors='replace')}", flush=True)
    return outcomes


def _read_report(name: str, report: Path, *, exit_code: int, seconds: float) -> Outcome:
    if not report.exists():
        return Outcome(check=name, passed=0, failed=1, seconds=seconds)
    suite = ET.parse(report).getroot().find("testsuite")
    assert suite is not None
    failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    skipped = [
        (f"{case.get('classname')}::{case.get('name')}", skip.get("message", "no reason given"))
        for case in suite.iter("testcase")
        for skip in case.iter("skipped")
    ]
    passed = int(suite.get("tests", 0)) - failed - len(skipped)
    # pytest's exit code also tells of what no test case stands for: a crash, an interrupt, no tests at all.
    broken = exit_code != 0 and failed == 0
    return Outcome(check=name, passed=passed, failed=failed + broken, seconds=seconds, skipped=skipped)


def summarize(outcomes: Sequence[Outcome], output: TextIO) -> None:
    """Print a table of the checks, the skips with their reasons, and the totals."""
    console = Console(file=output)
    table = Table("check", "passed", "failed", "skipped", "seconds", title="make test")
    for outcome in outcomes:
        style = "red" if outcome.failed else None
        counts = (outcome.passed, outcome.failed, len(outcome.skipped), round(outcome.seconds))
        table.add_row(outcome.check, *map(str, counts), style=style)
    console.print(table)
    for outcome in outcomes:
        for test, reason in outcome.skipped:
            console.print(f"skipped: {test}: {reason}", soft_wrap=True, highlight=False, markup=False)
    passed, failed, skipped = (
        sum(o.passed for o in outcomes),
        sum(o.failed for o in outcomes),
        sum(len(o.skipped) for o in outcomes),
    )
    print(f"{passed} passed, {failed} failed, {skipped} skipped", file=output)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen checks; all of them when none is named."""
    names = [check.name for check in checks()]
    parser = argparse.ArgumentParser(prog="python -m tests", description=__doc__)
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=f"which checks to run, of: {', '.join(names)}")
    chosen = parser.parse_args(arguments).checks or names
    if unknown := set(chosen) - set(names):
        parser.error(f"no such check: {', '.join(sorted(unknown))}; choose of: {', '.join(names)}")
    REPORTS.mkdir(parents=True, exist_ok=True)
    outcomes = []
    for stage in stages():
        wanted = [[check for check in lane if check.name in chosen] for lane in stage]
        if lanes := [lane for lane in wanted if lane]:
            outcomes += run_stage(lanes)
    summarize(outcomes, sys.stdout)
    return 1 if any(outcome.failed for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
