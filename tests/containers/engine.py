"""Whether there is a Docker engine with the images, and how to ask it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OFFLINE = ROOT / "deploy" / "airgap" / "offline.env"
_COMMAND_SECONDS = 300.0
# A digest of the product's own Python files, as they are in the image's packages or in this repository.
_DIGEST = """
import hashlib, pathlib, sysconfig
root = pathlib.Path(sysconfig.get_paths()["purelib"])
root = root if (root / "services").is_dir() else pathlib.Path.cwd()
digest = hashlib.sha256()
for package in ("broker_bridge", "cli", "deploy", "services"):
    for file in sorted((root / package).rglob("*.py")):
        digest.update(str(file.relative_to(root)).encode() + file.read_bytes())
print(digest.hexdigest())
"""


class CommandError(Exception):
    """A docker command failed; the message is what it said."""


def docker(*arguments: str, environment: Mapping[str, str] | None = None, seconds: float = _COMMAND_SECONDS) -> str:
    """Run `docker` in the repository and return what it printed. Raises `CommandError`."""
    done = subprocess.run(
        ["docker", *arguments],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if done.returncode:
        raise CommandError(f"docker {' '.join(arguments)}: {done.stderr.strip()[-2000:]}{done.stdout[-2000:]}")
    return done.stdout


@cache
def missing_docker() -> str:
    """Why container tests cannot run; empty when they can."""
    try:
        docker("version", "--format", "{{.Server.Version}}", seconds=20)
        docker("compose", "version", seconds=20)
        image = os.environ.get("PENSTOCK_IMAGE", "penstock/services:dev")
        inside = docker("run", "--rm", "--network", "none", "--entrypoint", "python", image, "-c", _DIGEST, seconds=60)
    except (CommandError, OSError, subprocess.TimeoutExpired) as error:
        return f"no Docker engine with the images: {str(error).strip().splitlines()[-1]}; `make airgap` brings them"
    if inside != _digest_here():
        return f"{image} was made from other sources than these: `deploy/airgap/images.sh` makes the images anew"
    return ""


def _digest_here() -> str:
    command = [sys.executable, "-c", _DIGEST]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def missing_means() -> str:
    """Why containers cannot be broken from outside; empty when they can."""
    if os.geteuid() != 0:
        return "killing a container's process and cutting its network take root"
    lacking = [tool for tool in ("nsenter", "iptables") if not shutil.which(tool)]
    return f"a container's network cannot be cut without {' and '.join(lacking)}" if lacking else ""


def need_docker() -> None:
    """Skip the test, with the reason, where containers cannot be run; REQUIRE_DOCKER=1 makes that a failure."""
    _demand(missing_docker())


def need_means() -> None:
    """The same where a test breaks containers from outside."""
    _demand(missing_docker() or missing_means())


def _demand(reason: str) -> None:
    if reason:
        if os.environ.get("REQUIRE_DOCKER") == "1":
            pytest.fail(f"REQUIRE_DOCKER=1: {reason}")
        pytest.skip(reason)


def offline_images() -> Mapping[str, str]:
    """The variables of deploy/airgap/offline.env that the environment does not set otherwise."""
    pairs = (line.partition("=") for line in OFFLINE.read_text().splitlines() if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs if name not in os.environ}
