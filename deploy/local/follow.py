"""Shows what processes write to their log files, each line with the process's name in front."""

import asyncio
from collections.abc import Callable
from pathlib import Path

POLL_SECONDS = 0.2


class LogFollower:
    """Reads what is appended to `<directory>/*.log` and hands it on line by line; files that appear later as well."""

    def __init__(self, directory: Path, *, show: Callable[[str, str], None]) -> None:
        """`show(process, line)` gets each complete line without its end."""
        self._directory = directory
        self._show = show
        self._positions: dict[Path, int] = {}

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            self.poll()
            await asyncio.sleep(POLL_SECONDS)

    def poll(self) -> None:
        """Show what has come since the last time."""
        for path in sorted(self._directory.glob("*.log")):
            if path.name != "stack.log":  # where this output itself may go
                self._read(path)

    def _read(self, path: Path) -> None:
        position = self._positions.get(path, 0)
        with path.open("rb") as log:
            size = log.seek(0, 2)
            log.seek(position if position <= size else 0)  # a shorter file is a new one
            text = log.read()
            complete = text.rfind(b"\n") + 1
            self._positions[path] = log.tell() - len(text) + complete
        for line in text[:complete].decode("utf-8", errors="replace").splitlines():
            self._show(path.stem, line)
