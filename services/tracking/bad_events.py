"""Accepted events that the store refuses for good, set aside on the disk: they must not hold up those behind them."""

import base64
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson
import structlog

from services.tracking.log import sync_directory

MAX_BYTES = 100 * 1024 * 1024


class BadEventFile:
    """One JSON object per line: `time` (s since 1970), `reason`, `event` (the serialized event in base64).

    A file of `max_bytes` is put aside, in the place of the one put aside before it, whose events are gone then: so the
    two never take much more than twice that from the disk.
    """

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES, now: Callable[[], float]) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._now = now

    def add(self, events: Sequence[tuple[bytes, str]]) -> tuple[()]:
        """Appends serialized events with their reasons; returns when they are on the disk."""
        lines = b"".join(
            orjson.dumps(
                {"time": self._now(), "reason": reason, "event": base64.b64encode(event).decode()},
                option=orjson.OPT_APPEND_NEWLINE,
            )
            for event, reason in events
        )
        self._make_room()
        with self._path.open("ab", buffering=0) as file:
            before = file.seek(0, os.SEEK_END)
            try:
                rest = memoryview(lines)
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            except OSError:
                # What is written next must not continue half a line.
                os.ftruncate(file.fileno(), before)
                raise
        if not before:
            sync_directory(self._path.parent)
        return ()

    def _make_room(self) -> None:
        if not self._path.exists() or self._path.stat().st_size < self._max_bytes:
            return
        older = older_file(self._path)
        if older.exists():
            structlog.get_logger(component="shipping").error(
                "the oldest events that were set aside are gone", path=str(older), bytes=older.stat().st_size
            )
        self._path.replace(older)


def older_file(path: Path) -> Path:
    """Where a full file of such events is put aside."""
    return path.with_name(f"{path.name}.1")
