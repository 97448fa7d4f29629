"""`penstock.testing` on the embedded stack, and where it finds nothing to run on."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from penstock.testing import Mode, PartFailedError, PenstockSuite
from penstock.testing.embedded_parts import EmbeddedParts

from tests.contracts.penstock_suite import PenstockSuiteContract


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PenstockSuite]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PENSTOCK_TESTING", raising=False)
        chosen = PenstockSuite(["bridge"], mode=Mode.EMBEDDED, home=tmp_path_factory.mktemp("suite"))
    with chosen as running:
        yield running


class TestEmbeddedSuite(PenstockSuiteContract):
    """The same promises as in containers."""

    def test_a_killed_part_is_not_started_again_by_the_supervisor(self, suite: PenstockSuite) -> None:
        """Which does so for whatever ends by itself."""
        suite.kill("valkey")
        parts = suite._parts
        assert isinstance(parts, EmbeddedParts)
        states = {process["name"]: process["state"] for process in parts._stack.state()["processes"]}
        assert states["valkey"] == "stopped"
        with pytest.raises(PartFailedError, match="valkey is not running"):
            suite.kill("valkey")
        suite.start("valkey")


def test_a_part_that_cannot_start_fails_the_suite_with_the_end_of_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """And leaves no process behind: the thread that owns them has ended."""
    monkeypatch.delenv("PENSTOCK_TESTING", raising=False)
    wrong = {"config": {"PENSTOCK_CONFIG_DRAIN_SECONDS": "soon"}}
    with (
        pytest.raises(PartFailedError, match=r"config ended before it was ready(.|\n)*DRAIN_SECONDS"),
        PenstockSuite(["config"], mode="embedded", environment=wrong),
    ):
        pass


# A file of a user's tests, as small as can be.
USER_TEST = """
pytest_plugins = ["penstock.testing.fixtures"]

def test_it(penstock):
    pass
"""


@pytest.mark.parametrize(("required", "code", "word"), [("", 0, "1 skipped"), ("1", 1, "REQUIRE_DOCKER=1: ")])
def test_without_an_engine_docker_is_skipped_with_the_reason_or_fails_where_it_is_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, required: str, code: int, word: str
) -> None:
    """Port 1 of loopback is no engine. The ini option chooses; pytest itself must not know Docker to refuse it."""
    monkeypatch.delenv("PENSTOCK_TESTING", raising=False)
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.setenv("REQUIRE_DOCKER", required)
    (tmp_path / "test_it.py").write_text(USER_TEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\npenstock_testing = docker\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:valkey", "-rs", "-p", "no:cacheprovider", "test_it.py"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert word in ended.stdout
    assert "no Docker engine answers" in ended.stdout
