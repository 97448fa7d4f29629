"""The example of docs/testing.md as a user runs it: the wheel with the extra `testing` in a fresh environment."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from deploy.local.home import jar_cache
from tests.containers.engine import need_docker, offline_images

ROOT = Path(__file__).resolve().parents[2]
UV = ROOT / ".tools" / "uv" / "bin" / "uv"
DOCUMENT = (ROOT / "docs" / "testing.md").read_text()
# Warnings are errors: what a strict project of a user would see, the package must not cause.
PYTEST = ("-m", "pytest", "-W", "error", "-ra", "-p", "no:cacheprovider", "test_orders.py")


def ran(*command: str | Path, cwd: Path) -> None:
    ended = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{command}: {ended.stdout}{ended.stderr}"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a user with the documented test file and an environment that knows Penstock from its wheel alone."""
    folder = tmp_path_factory.mktemp("project")
    ran(UV, "build", "--quiet", "--wheel", "--out-dir", folder, ROOT, cwd=folder)
    ran(UV, "venv", "--quiet", "--python", sys.executable, "environment", cwd=folder)
    (wheel,) = folder.glob("*.whl")
    python = folder / "environment" / "bin" / "python"
    lock = ROOT / "requirements.lock"
    ran(UV, "pip", "install", "--quiet", "--python", python, "--constraint", lock, f"{wheel}[testing]", cwd=folder)
    blocks = re.findall(r"^```python\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    (example,) = (block for block in blocks if block.startswith("# test_orders.py\n"))
    (folder / "test_orders.py").write_text(example)
    return folder


def run_example(project: Path, settings: Mapping[str, str]) -> str:
    """What pytest printed; three tests must have passed."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PENSTOCK_"))}
    python = project / "environment" / "bin" / "python"
    ended = subprocess.run(
        [python, *PYTEST],
        cwd=project,
        env={**inherited, "PENSTOCK_JARS": str(jar_cache().resolve()), **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "3 passed" in ended.stdout, ended.stdout
    return ended.stdout


def test_the_documented_example_passes_without_docker(project: Path) -> None:
    """On the jars that are cached here, and nothing else of the repository."""
    assert "penstock ran on the embedded stack, 5 processes" in run_example(project, {"PENSTOCK_TESTING": "embedded"})


def test_the_documented_example_passes_in_containers(project: Path) -> None:
    """On the images of this machine."""
    need_docker()
    chosen = {name: os.environ[name] for name in ("PENSTOCK_IMAGE",) if name in os.environ}
    output = run_example(project, {**offline_images(), **chosen, "PENSTOCK_TESTING": "docker"})
    assert re.search(r"penstock ran on Docker \S+, 5 containers", output), output
