"""A look at the log of an intake, running or not: it locks nothing and changes nothing."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import orjson
from google.protobuf.message import DecodeError

from services.tracking.bad_events import older_file
from services.tracking.event import TrackingEvent
from services.tracking.frames import BadFrameError, Frame, bodies_of, is_torn_write, read_frames
from services.tracking.log import Position
from services.tracking.shipping import CursorFile


class SegmentState(StrEnum):
    """How a segment ends."""

    WHOLE = "whole"
    """With an intact frame."""
    UNFINISHED = "unfinished"
    """In the middle of the last write: one in progress, or one that a crash cut off and the next start takes away."""
    DAMAGED = "damaged"
    """With bytes that are not what was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentReport:
    """One segment: its intact frames, how many of their events wait to be shipped, and how it ends.

    `waiting` is counted from the cursor as it was saved last: a running intake may be further.
    """

    number: int
    size: int
    frames: int
    events: int
    waiting: int
    state: SegmentState
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BadEvent:
    """An event set aside: when, in seconds since 1970, and why. `event` is None when it cannot be decoded."""

    time: float
    reason: str
    event: TrackingEvent | None


def inspect(data_directory: Path) -> list[SegmentReport]:
    """The segments in the data directory of an intake, oldest first.

    Raises:
        FileNotFoundError: there is no log.
    """
    cursor = CursorFile(data_directory / "cursor.json").load()
    paths = _segments(data_directory)
    return [_report(path, cursor, last=path == paths[-1]) for path in paths]


def logged_events(data_directory: Path, *, waiting_only: bool) -> Iterator[TrackingEvent]:
    """The events of all intact frames, oldest first; with `waiting_only` those behind the saved cursor.

    One that cannot be decoded is left out: it is among `bad_events` once shipping has come to it.

    Raises:
        FileNotFoundError: there is no log.
    """
    cursor = CursorFile(data_directory / "cursor.json").load()
    for path in _segments(data_directory):
        frames, _ = _read(path)
        for frame in frames:
            if not waiting_only or Position(segment=int(path.stem), offset=frame.end) > cursor:
                yield from filter(None, map(_decoded, bodies_of(frame.payload)))


def bad_events(data_directory: Path) -> Iterator[BadEvent]:
    """The events that the store refused for good, oldest first; none when there is no such file.

    A last line that is still being written is left out.
    """
    path = data_directory / "bad-events.jsonl"
    for each in filter(Path.exists, (older_file(path), path)):
        with each.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    value = orjson.loads(line)
                    event = _decoded(base64.b64decode(value["event"]))
                    yield BadEvent(time=value["time"], reason=value["reason"], event=event)


def _decoded(body: bytes) -> TrackingEvent | None:
    try:
        return TrackingEvent.FromString(body)
    except DecodeError:
        return None


def _segments(data_directory: Path) -> list[Path]:
    found = sorted((data_directory / "log").glob("*.log"))
    if not found:
        raise FileNotFoundError(f"there is no log in {data_directory}: name the DATA_DIRECTORY of an intake")
    return found


def _report(path: Path, cursor: Position, *, last: bool) -> SegmentReport:
    number = int(path.stem)
    frames, fault = _read(path)
    waiting = sum(frame.count for frame in frames if Position(segment=number, offset=frame.end) > cursor)
    state, detail = SegmentState.WHOLE, ""
    if fault is not None:
        with path.open("rb") as file:
            torn = last and is_torn_write(file, fault.offset)
        state, detail = SegmentState.UNFINISHED if torn else SegmentState.DAMAGED, str(fault)
    return SegmentReport(
        number=number,
        size=path.stat().st_size,
        frames=len(frames),
        events=sum(frame.count for frame in frames),
        waiting=waiting,
        state=state,
        detail=detail,
    )


def _read(path: Path) -> tuple[list[Frame], BadFrameError | None]:
    frames: list[Frame] = []
    with path.open("rb") as file:
        try:
            for frame in read_frames(file):
                frames.append(frame)  # noqa: PERF402 - those before a fault are kept
        except BadFrameError as fault:
            return frames, fault
    return frames, None
