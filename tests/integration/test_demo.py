"""`penstock demo` as a person runs it and breaks it off."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_broken_off_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    """Processes and data are gone, the exit code is the signal's."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "cli", "demo", "--story", "restart"],
        env={**os.environ, "PENSTOCK_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        shown = []
        for line in process.stdout:
            shown.append(line)
            if line.startswith("bridge "):  # the table of what runs
                break
        else:
            pytest.fail("".join(shown))
        children = psutil.Process(process.pid).children()
        assert len(children) >= 9
        process.send_signal(number)
        _, told = process.communicate(timeout=120)
    finally:
        process.kill()  # its children die with it
    assert process.returncode == 128 + number
    assert told == f"{number.name}: broken off, every process has ended\n"
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    assert list(tmp_path.iterdir()) == []
