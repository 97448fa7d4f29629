"""The client as a user gets it: the wheel in an environment of its own, outside of this repository."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from penstock.config.v1 import config_service_pb2 as pb

from tests.integration.parts import RunningPart
from tests.integration.test_config_service import SECURE, client, put, service

ROOT = Path(__file__).resolve().parents[2]
UV = ROOT / ".tools" / "uv" / "bin" / "uv"
PROGRAM = Path(__file__).with_name("client_program.py")


def ran(*command: str | Path, cwd: Path) -> str:
    """The output of a command that must succeed."""
    ended = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{command}: {ended.stdout}{ended.stderr}"
    return ended.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment with the wheel and what it depends on."""
    folder = tmp_path_factory.mktemp("wheel")
    ran(UV, "build", "--quiet", "--wheel", "--out-dir", folder, ROOT, cwd=folder)
    ran(UV, "venv", "--quiet", "--python", sys.executable, "environment", cwd=folder)
    python = folder / "environment" / "bin" / "python"
    (wheel,) = folder.glob("*.whl")
    lock = ROOT / "requirements.lock"
    ran(UV, "pip", "install", "--quiet", "--python", python, "--constraint", lock, wheel, cwd=folder)
    return python


@pytest.fixture
async def config(tmp_path: Path) -> AsyncIterator[RunningPart]:
    """A config service with what the program reads."""
    async with service(tmp_path / "service") as part:
        async with client(part) as stub:
            await put(stub, "/program/limit", "10")
            await stub.PutParameter(pb.PutParameterRequest(name="/program/secret", value="s3cret-value", type=SECURE))
        yield part


async def run_program(python: Path, part: RunningPart, folder: Path, given: bytes) -> Sequence[str]:
    """The lines that the program printed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        python,
        PROGRAM,
        part.addresses["grpc"],
        folder,
        cwd=folder,
        env=environment,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
    )
    output, errors = await process.communicate(given)
    assert process.returncode == 0, errors.decode()
    return output.decode().splitlines()


async def test_a_program_with_the_wheel_alone_reads_watches_and_starts_without_the_service(
    installed: Path, config: RunningPart, tmp_path: Path
) -> None:
    """Secrets included, of which the snapshots on disk show nothing."""
    folder = tmp_path / "program"
    folder.mkdir()
    assert await run_program(installed, config, folder, b"put\n") == [
        "limit 10 secret s3cret-value",
        "default none",
        "watching 10",
        "wrote 2 10",
        "pushed 11 11",
        "refused ERROR_REASON_PARAMETER_NOT_FOUND",
        "stale False",
        "ended",
    ]
    assert all(b"s3cret" not in path.read_bytes() for path in folder.iterdir())
    await config.kill()
    try:
        assert await run_program(installed, config, folder, b"\n") == [
            "limit 11 secret s3cret-value",
            "default none",
            "watching 11",
            "stale True",
            "ended",
        ]
    finally:
        await config.start()


def test_the_installed_client_is_typed(installed: Path, tmp_path: Path) -> None:
    """Under mypy's strict rules: a conversion gives its own type, a wrong use is found."""
    (tmp_path / "use.py").write_text(
        "from penstock.client import ConfigClient, boolean\n"
        'client = ConfigClient("127.0.0.1:1", ["/a"])\n'
        'number: int = client.get("/a/n", int)\n'
        'text: str | None = client.get("/a/t", default=None)\n'
        'flag: str = client.get("/a/f", boolean)\n'
    )
    checker = (sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--python-executable", installed)
    ended = subprocess.run(
        [str(word) for word in (*checker, "use.py")], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    found = [line for line in ended.stdout.splitlines() if ": error:" in line]
    assert len(found) == 1, ended.stdout + ended.stderr
    assert found[0].startswith("use.py:5:")
