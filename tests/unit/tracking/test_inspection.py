"""What a look at the log tells, and that it changes nothing."""

from pathlib import Path

import pytest
from penstock.persistence.v1.persistence_service_pb2 import PutEventsRequest
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from services.tracking.frames import event_prefix
from services.tracking.inspection import SegmentState, inspect, logged_events
from services.tracking.log import Position, SegmentLog
from services.tracking.shipping import CursorFile
from tests.unit.tracking.nested_events import nested_event


def append(log: SegmentLog, *message_ids: str) -> Position:
    request = PutEventsRequest(events=[TrackingEvent(message_id=message_id) for message_id in message_ids])
    return log.append(request.SerializeToString(), len(message_ids))


@pytest.fixture
def log(tmp_path: Path) -> SegmentLog:
    """Three frames in two segments, the first of them shipped; the writer has it open."""
    log = SegmentLog.open(tmp_path / "log", segment_bytes=50)
    shipped = append(log, "a", "b")
    append(log, "c")
    append(log, "d", "e", "f")
    CursorFile(tmp_path / "cursor.json").save(shipped)
    return log


def segment(directory: Path, number: int) -> Path:
    return directory / "log" / f"{number:020d}.log"


def test_segments_tell_what_is_in_them_and_what_waits(log: SegmentLog, tmp_path: Path) -> None:
    """While the intake is running."""
    first, second = inspect(tmp_path)
    assert (first.number, first.frames, first.events, first.waiting) == (1, 2, 3, 1)
    assert (second.number, second.frames, second.events, second.waiting) == (2, 1, 3, 3)
    assert {first.state, second.state} == {SegmentState.WHOLE}
    assert first.size + second.size == log.size


def test_events_are_listed_in_their_order(log: SegmentLog, tmp_path: Path) -> None:  # noqa: ARG001 - the log is there
    """All of them, or those that wait."""
    assert "".join(event.message_id for event in logged_events(tmp_path, waiting_only=False)) == "abcdef"
    assert "".join(event.message_id for event in logged_events(tmp_path, waiting_only=True)) == "cdef"


def test_an_event_that_cannot_be_decoded_hides_no_other(log: SegmentLog, tmp_path: Path) -> None:
    """Nor one that is nested deeper than requests may be."""
    bodies = [b"\xff", nested_event(100)]
    log.append(b"".join(event_prefix(len(body)) + body for body in bodies), len(bodies))
    assert "".join(event.message_id for event in logged_events(tmp_path, waiting_only=False)) == "abcdefm"


def test_a_write_in_progress_is_no_damage(log: SegmentLog, tmp_path: Path) -> None:  # noqa: ARG001
    """What is before it is shown; the file stays as it is."""
    path = segment(tmp_path, 2)
    path.write_bytes(path.read_bytes() + path.read_bytes()[:-3])
    before = path.read_bytes()
    _, second = inspect(tmp_path)
    assert (second.state, second.events) == (SegmentState.UNFINISHED, 3)
    assert path.read_bytes() == before


def test_damage_is_named_with_its_place(log: SegmentLog, tmp_path: Path) -> None:  # noqa: ARG001
    """And what is before it is still read."""
    path = segment(tmp_path, 1)
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content + path.read_bytes())
    first, _ = inspect(tmp_path)
    assert (first.state, first.events) == (SegmentState.DAMAGED, 2)
    assert "bad frame at offset" in first.detail


def test_a_folder_without_a_log_is_told(tmp_path: Path) -> None:
    """With what to name instead."""
    with pytest.raises(FileNotFoundError, match="name the DATA_DIRECTORY"):
        inspect(tmp_path)
