"""pytest fixtures: write `pytest_plugins = ["penstock.testing.fixtures"]` into the root conftest.py or a test file.

The suite starts once a session, when the first test asks for it; tests share it and use names of their own.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pytest
from penstock.testing.errors import EngineUnavailableError
from penstock.testing.mode import VARIABLE
from penstock.testing.recorder import Recorder
from penstock.testing.suite import PenstockSuite
from penstock.testing.workspace import Workspace

INI_OPTION = "penstock_testing"
_RAN_ON = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option of pytest's configuration file that chooses the mode."""
    parser.addini(
        INI_OPTION, f"Where Penstock runs: embedded, docker or auto. The variable {VARIABLE} wins.", default=""
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Tell where the suite ran: nobody should have to guess."""
    if ran_on := config.stash.get(_RAN_ON, ""):
        terminalreporter.write_line(f"penstock ran on {ran_on}")


@pytest.fixture(scope="session")
def penstock_parts() -> Sequence[str]:
    """Which parts to run, with what these need: all. Override it to start only what your tests use."""
    return ()


@pytest.fixture(scope="session")
def penstock(
    request: pytest.FixtureRequest, penstock_parts: Sequence[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PenstockSuite]:
    """The running suite, shared by all tests of the session. What a test stops it starts again.

    Where Docker is chosen and no engine answers its tests are skipped with the reason; REQUIRE_DOCKER=1 fails them.
    """
    suite = PenstockSuite(
        penstock_parts, mode=str(request.config.getini(INI_OPTION)), home=tmp_path_factory.mktemp("penstock")
    )
    with ExitStack() as resources:
        try:
            resources.enter_context(suite)
        except EngineUnavailableError as error:
            if os.environ.get("REQUIRE_DOCKER") == "1":
                pytest.fail(f"REQUIRE_DOCKER=1: {error}", pytrace=False)
            pytest.skip(str(error))
        request.config.stash[_RAN_ON] = suite.description
        yield suite


@pytest.fixture
def penstock_workspace(penstock: PenstockSuite, request: pytest.FixtureRequest) -> Iterator[Workspace]:
    """Unique names for this test; its routes, subscriptions and recorders are removed at the end."""
    with Workspace(penstock, request.node.name) as workspace:
        yield workspace


@pytest.fixture
def penstock_recorder(penstock_workspace: Workspace) -> Recorder:
    """A target of this test: keeps what the bridge delivers, accepts unless told otherwise."""
    return penstock_workspace.recorder()
