"""The scripts of deploy/airgap: an engine that is not theirs stays, and all images go through one archive."""

import os
import subprocess
from pathlib import Path

from tests.containers.engine import ROOT, docker

VALKEY = "penstock-standin/valkey:dev"


def run(script: str, *arguments: str, **environment: str) -> str:
    """What a script prints."""
    command = [str(ROOT / "deploy" / "airgap" / script), *arguments]
    variables = {**os.environ, **environment}
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=True, timeout=300).stdout


def test_an_engine_that_answers_is_used_and_never_ended(tmp_path: Path) -> None:
    """`down` ends what `up` started, and `up` has started nothing."""
    assert run("engine.sh", "up", ENGINE_STATE=str(tmp_path)) == "a Docker engine answers\n"
    assert run("engine.sh", "down", ENGINE_STATE=str(tmp_path)) == "no engine was started here\n"
    assert docker("version", "--format", "{{.Server.Version}}")


def test_every_image_goes_through_one_archive(tmp_path: Path) -> None:
    """Own images, stand-ins of both lines of ActiveMQ, and what images are built on; one is removed and comes back."""
    archive = tmp_path / "images.tar"
    saved = run("archive.sh", "save", str(archive))
    assert saved.endswith(", 10 images\n")
    before = docker("image", "inspect", "--format", "{{.Id}}", VALKEY)
    docker("rmi", "--force", VALKEY)
    loaded = run("archive.sh", "load", str(archive))
    assert docker("image", "inspect", "--format", "{{.Id}}", VALKEY) == before
    names = ("penstock/services", "penstock/tools", "penstock/lambda", "activemq:5.18", "activemq:6.1", "python:3.11")
    assert [name for name in names if name not in loaded] == []


def test_a_stand_in_says_what_it_stands_in_for() -> None:
    """By a label, the one that others are built on included; none has an upstream name."""
    label = '{{index .Config.Labels "penstock.stand-in"}}'
    assert docker("image", "inspect", "--format", label, VALKEY).strip() == "valkey/valkey"
    assert docker("image", "inspect", "--format", label, "penstock-standin/python:3.11").strip().startswith("python:")
