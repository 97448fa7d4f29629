"""`penstock up`, `status` and `down` as a person types them."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from deploy.local.home import Home
from deploy.local.ports import PortTakenError, check_free, default_ports
from deploy.local.stack import DEPENDENCIES

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}


def _penstock(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "cli", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False, env=ENVIRONMENT)


@pytest.fixture
def offset() -> int:
    """A number that moves all default ports to free ones."""
    for candidate in random.sample(range(-3000, 3900), 100):
        try:
            check_free(default_ports(candidate).by_purpose())
        except PortTakenError:
            continue
        return candidate
    raise AssertionError("no free offset was found")


def _processes(state: dict[str, Any]) -> list[psutil.Process]:
    return [psutil.Process(pid) for pid in [state["pid"], *(process["pid"] for process in state["processes"])]]


def _all_gone(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=30)
    return all(process.status() == psutil.STATUS_ZOMBIE for process in alive)


def test_detached_stack_lives_until_it_is_taken_down(tmp_path: Path, offset: int) -> None:
    """Up returns when all is ready, status shows it, a second one is refused, down ends all of it."""
    home, moved = f"--home={tmp_path / 'home'}", f"--port-offset={offset}"
    try:
        started = _penstock("up", "--detach", home, moved)
        assert started.returncode == 0, started.stderr
        for name in DEPENDENCIES:
            assert f"\n{name}  ready  " in started.stdout
        shown = _penstock("status", home, "--json")
        assert shown.returncode == 0
        state = json.loads(shown.stdout)["stack"]
        assert [process["state"] for process in state["processes"]] == ["ready"] * len(DEPENDENCIES)
        processes = _processes(state)
        assert all(process.is_running() for process in processes)

        again = _penstock("up", "--detach", home, "--port-offset=0")
        assert again.returncode == 1
        assert f"a stack (pid {state['pid']}) already runs on {tmp_path / 'home'}" in again.stderr
        beside = _penstock("up", f"--home={tmp_path / 'beside'}", moved)
        assert beside.returncode == 1
        assert f"port {50051 + offset} (config) is taken by python (pid " in beside.stderr
        assert "--port-offset" in beside.stderr
    finally:
        ended = _penstock("down", home)
    assert ended.returncode == 0
    assert "has ended" in ended.stdout
    assert _all_gone(processes)
    assert _penstock("status", home).returncode == 3
    nothing = _penstock("down", home)
    assert (nothing.returncode, nothing.stdout) == (0, f"nothing runs on {tmp_path / 'home'}\n")


@contextmanager
def _foreground(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    argv = [sys.executable, "-m", "cli", "up", "--json", *arguments]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
    try:
        yield process
    finally:
        process.kill()  # its children die with it
        process.communicate()


def _until(process: "subprocess.Popen[str]", event: str) -> dict[str, Any]:
    """Read documents up to the first of a kind."""
    assert process.stdout is not None
    for line in process.stdout:
        document: dict[str, Any] = json.loads(line)
        if document["event"] == event:
            return document
    raise AssertionError(f"it ended with exit code {process.wait()} before {event!r}")


def test_second_interrupt_kills_everything_at_once(tmp_path: Path, offset: int) -> None:
    """A process that does not end keeps the first Ctrl-C waiting, not the second."""
    with _foreground(f"--home={tmp_path}", f"--port-offset={offset}") as process:
        processes = _processes(_until(process, "ready")["stack"])
        frozen = processes[1]
        frozen.suspend()
        process.send_signal(signal.SIGINT)
        assert _until(process, "stopping")["reason"] == "SIGINT"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert _all_gone(processes)


def test_signal_during_the_start_ends_what_has_started(tmp_path: Path, offset: int) -> None:
    """SIGTERM does not have to wait for the stack to be complete; nothing stays."""
    with _foreground(f"--home={tmp_path}", f"--port-offset={offset}") as process:
        _until(process, "process")
        children = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGTERM)
        assert _until(process, "stopped")
        assert process.wait(timeout=60) == 0
    assert _all_gone(children)
    state = Home(tmp_path).read_state()
    assert state is not None
    assert {entry["state"] for entry in state["processes"]} == {"stopped"}
    assert Home(tmp_path).owner() is None


def test_bad_offset_is_wrong_usage(tmp_path: Path) -> None:
    """Exit code 2 and the ports that would not exist."""
    ended = _penstock("up", f"--home={tmp_path}", "--port-offset=60000")
    assert ended.returncode == 2
    assert "stomp 121613" in ended.stderr
