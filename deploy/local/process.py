"""One child process: in a session of its own, tied to this process's life, its output in a file."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

from deploy.local.launch import tied_to_parent
from deploy.local.part import PartSpec


class ChildProcess:
    """Runs `spec` once: `start`, then `wait` for the end or cause it by `stop` or `send`.

    Output goes straight to `log_path` (appended), so a child never waits for this process to read it.
    """

    def __init__(self, spec: PartSpec, *, working_directory: Path, log_path: Path) -> None:
        self.spec = spec
        self.log_path = log_path
        self._working_directory = working_directory
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self) -> None:
        """Start it. A command that cannot be run shows as exit code 127 with a line in the log."""
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *tied_to_parent(self.spec.argv),
                cwd=self._working_directory,
                env={**os.environ, **_without_proxy(), **self.spec.environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def wait(self) -> int:
        """Wait for the end, then end whatever else is left of its group. The exit code, negative for a signal."""
        if self._process is None:
            raise RuntimeError(f"{self.spec.name} was not started")
        code = await self._process.wait()
        self._signal_group(self._process.pid, signal.SIGKILL)
        return code

    async def stop(self, grace: float) -> int:
        """Ask the group to end, kill it after `grace` seconds; the exit code."""
        self.send(self.spec.stop_signal)
        try:
            async with asyncio.timeout(grace):
                return await self.wait()
        except TimeoutError:
            self.send(signal.SIGKILL)
            return await self.wait()

    def send(self, number: int) -> None:
        """Send a signal to the whole group; nothing happens when the process has ended."""
        if self.pid is not None:
            self._signal_group(self.pid, number)

    @staticmethod
    def _signal_group(group: int, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies
            os.killpg(group, number)


def _without_proxy() -> dict[str, str]:
    """Variables that keep what the processes tell each other away from the machine's HTTP proxy."""
    # Of the two spellings some programs know only one.
    given = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    return dict.fromkeys(("no_proxy", "NO_PROXY"), ",".join(filter(None, (given, "127.0.0.1,localhost"))))
