"""Whether tests can use containers here: an engine that answers, and the images that the tests are run with."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.containers.engine import missing_docker

OFFLINE = Path(__file__).resolve().parents[2] / "deploy" / "airgap" / "offline.env"


def offline_images() -> Mapping[str, str]:
    """The variables of deploy/airgap/offline.env that the environment does not set otherwise."""
    pairs = (line.partition("=") for line in OFFLINE.read_text().splitlines() if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs if name not in os.environ}


def require_docker() -> None:
    """Skip the test with the reason where containers cannot be used; fail it where REQUIRE_DOCKER=1."""
    reason = missing_docker()
    if reason and os.environ.get("REQUIRE_DOCKER") == "1":
        pytest.fail(f"REQUIRE_DOCKER=1: {reason}")
    if reason:
        pytest.skip(reason)
