"""`python -m tests`: every check of the repository, then one summary.

Tests wait for processes a good part of their time, so two checks run beside each other, the longest first; what a busy
machine could fail runs alone afterwards. A failing check does not stop the others. Skipped tests are listed with their
reasons. The exit code is 0 only if all checks passed.
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
from queue import Queue
from threading import Lock
from typing import TextIO

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / "build" / "reports"
BIN = Path(sys.executable).parent
INTEGRATION = ROOT / "tests" / "integration"
# Checks that run beside each other choose their free ports apart from each other.
PORTS = ("15000-22999", "23000-31999")


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A named check: commands that must all exit 0, one after the other, with variables of its own.

    Beside one that is `alone` no other runs.
    """

    name: str
    commands: Sequence[Sequence[str]]
    report: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    alone: bool = False


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
    "bridge_acknowledging",
    "bridge_connection",
    "bridge_delivery",
    "bridge_fidelity",
    "bridge_guarded_broker",
    "bridge_lanes",
    "bridge_replies",
    "bridge_retry",
    "bridge_sources",
)
# What a busy machine could fail although it is right: beats of half a second, connections counted on a bad network,
# many kills under load.
ALONE = integration_files("bad_networks", "bench_load", "bridge_chaos", "bridge_pressure", "tracking_durability")
ON_THE_BRIDGE = sorted({f"tests/integration/{file.name}" for file in INTEGRATION.glob("test_bridge_*.py")} - {*ALONE})
# Contracts of adapters on broker, Valkey and AWS emulator in containers.
ON_CONTAINERS = integration_files("bridge_dedup", "redis_program_store", "target_contract")


def checks() -> Sequence[Check]:
    """All of them, in the order in which they are begun."""
    ruff = str(BIN / "ruff")
    others = [f"--ignore={path}" for path in (*ON_THE_BRIDGE, *ALONE)]
    return (
        pytest_check("integration", "tests/integration", *others),
        pytest_check("bridge", *ON_THE_BRIDGE),
        pytest_check("activemq-6.1", *ON_ACTIVEMQ_6, PENSTOCK_ACTIVEMQ="6.1"),
        pytest_check("unit"),
        pytest_check("parts-in-containers", *ON_CONTAINERS, PENSTOCK_TEST_PARTS="containers"),
        Check(name="types", commands=[(str(BIN / "mypy"), ".")]),
        Check(name="lint", commands=[(ruff, "check", "."), (ruff, "format", "--check", ".")]),
        Check(name="imports", commands=[(str(BIN / "lint-imports"),)]),
        Check(name="protos", commands=[("make", "--no-print-directory", "protos-check")]),
        replace(pytest_check("containers"), alone=True),  # its stacks ask for both CPUs when they come up
        replace(pytest_check("alone", *ALONE), alone=True),
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


def run_beside(chosen: Sequence[Check]) -> list[Outcome]:
    """Run as many at once as there are ranges of ports; the output of each is shown in one piece when it has ended."""
    ports: Queue[str] = Queue()
    for between in PORTS:
        ports.put(between)
    printing = Lock()

    def run_one(check: Check) -> Outcome:
        between, log = ports.get(), REPORTS / f"{check.name}.log"
        print(f"{check.name} begins, and writes to {log}", flush=True)
        environment = {"PENSTOCK_FREE_PORTS": between, **check.environment}
        outcome = run(replace(check, environment=environment), log)
        ports.put(between)
        with printing:
            print(f"\n== {check.name}: {outcome.seconds:.0f} s\n{log.read_text(errors='replace')}", flush=True)
        return outcome

    with ThreadPoolExecutor(len(PORTS)) as threads:
        return list(threads.map(run_one, chosen))


def run_alone(check: Check) -> Outcome:
    """Run one with its output shown as it comes."""
    print(f"\n== {check.name}", flush=True)
    return run(check)


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
    beside = [check for check in checks() if check.name in chosen and not check.alone]
    alone = [check for check in checks() if check.name in chosen and check.alone]
    outcomes = run_beside(beside) if len(beside) > 1 else [run_alone(check) for check in beside]
    outcomes += [run_alone(check) for check in alone]
    summarize(outcomes, sys.stdout)
    return 1 if any(outcome.failed for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
