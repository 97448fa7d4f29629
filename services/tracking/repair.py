"""Making a damaged log usable again: every intact frame stays, and the file as it was is kept beside it.

An intake does not start on damage by itself: somebody should know that a disk returned what was not written to it.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import BinaryIO

from services.tracking.frames import BadFrameError, Frame, frame_after, read_frame
from services.tracking.inspection import SegmentState, inspect
from services.tracking.log import Position, locked, segment_path, sync_directory
from services.tracking.shipping import CursorFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """One segment: the events that stay in it, the bytes that do not, and where the file as it was lies now."""

    number: int
    events: int
    lost_bytes: int
    kept_as: Path


def repair(data_directory: Path) -> list[Repaired]:
    """Repairs the damaged segments in the data directory of an intake that is not running.

    What was shipped from a repaired segment is shipped again; the store keeps one row per message id. How many events
    the bytes that are left out held is not known.

    Raises:
        FileNotFoundError: there is no log.
        LogInUseError: the intake is running.
    """
    reports = inspect(data_directory)
    lock = locked(data_directory / "log" / "lock")
    try:
        damaged = [report.number for report in reports if report.state is SegmentState.DAMAGED]
        return [_repaired(data_directory, number) for number in damaged]
    finally:
        os.close(lock)


def _repaired(data_directory: Path, number: int) -> Repaired:
    path = segment_path(data_directory / "log", number)
    cursor = CursorFile(data_directory / "cursor.json")
    if cursor.load().segment == number:
        # Places in the segment change; from its beginning on nothing is passed over. Saved before they do.
        cursor.save(Position(segment=number, offset=0))
    new = path.with_suffix(".repaired")
    names = (path.with_suffix(f".damaged-{copy}") for copy in count(1))
    kept_as = next(name for name in names if not name.exists())
    events = 0
    with path.open("rb") as old, new.open("wb") as file:
        for frame, content in _intact_frames(old):
            file.write(content)
            events += frame.count
        lost_bytes = path.stat().st_size - file.tell()
        file.flush()
        os.fsync(file.fileno())
    kept_as.hardlink_to(path)
    new.replace(path)
    sync_directory(path.parent)
    return Repaired(number=number, events=events, lost_bytes=lost_bytes, kept_as=kept_as)


def _intact_frames(file: BinaryIO) -> Iterator[tuple[Frame, bytes]]:
    """Every frame that is what was written, and its bytes."""
    offset: int | None = 0
    while offset is not None:
        file.seek(offset)
        try:
            frame = read_frame(file, offset)
        except BadFrameError:
            offset = frame_after(file, offset)
            continue
        file.seek(offset)
        yield frame, file.read(frame.end - offset)
        offset = frame.end
