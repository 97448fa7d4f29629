"""The folder of one embedded stack: who uses it, and what it runs."""

import contextlib
import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]


class HomeInUseError(Exception):
    """Another stack runs on the same folder."""


def default_home(environ: Mapping[str, str]) -> Path:
    """PENSTOCK_HOME, else `.penstock` below the repository, else (an installed package) below the working directory."""
    if chosen := environ.get("PENSTOCK_HOME"):
        return Path(chosen).resolve()
    return (_root() / ".penstock").resolve()


def jar_cache() -> Path:
    """Where fetched broker jars are kept between runs; shared by all homes. PENSTOCK_JARS names another folder."""
    chosen = os.environ.get("PENSTOCK_JARS")
    return Path(chosen) if chosen else _root() / ".cache" / "jars"


def _root() -> Path:
    return REPOSITORY if (REPOSITORY / "pyproject.toml").exists() else Path.cwd()


class Home:
    """`lock` (held as long as the stack lives, its owner's pid within), `stack.json`, `data/<process>`, `logs/`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def data(self, name: str) -> Path:
        return self.path / "data" / name

    def acquire(self) -> None:
        """Make this process the folder's owner until `release` or its end. Raises `HomeInUseError`."""
        self.path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.read(descriptor, 32).decode().strip() or "unknown"
            os.close(descriptor)
            advice = "end it with `penstock down`, or give this one its own --home and --port-offset"
            raise HomeInUseError(f"a stack (pid {owner}) already runs on {self.path}: {advice}") from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._lock = descriptor

    def release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def owner(self) -> int | None:
        """The pid of the process that holds the folder; None when nobody does."""
        try:
            descriptor = os.open(self.path / "lock", os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            text = os.read(descriptor, 32).strip()
            return int(text) if text else None
        finally:
            os.close(descriptor)
        return None

    def write_state(self, state: Mapping[str, Any]) -> None:
        """Replace `stack.json`; readers see the old or the new one, never a half."""
        partial = self.path / "stack.json.partial"
        partial.write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
        partial.replace(self.path / "stack.json")

    def read_state(self) -> Mapping[str, Any] | None:
        """What the last owner wrote; None when there is nothing."""
        with contextlib.suppress(FileNotFoundError):
            state: Mapping[str, Any] = json.loads((self.path / "stack.json").read_text(encoding="utf-8"))
            return state
        return None
