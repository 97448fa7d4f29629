"""A repaired log: what is intact stays, what was there is kept, and the intake starts again."""

from pathlib import Path

import pytest
from penstock.persistence.v1.persistence_service_pb2 import PutEventsRequest
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from services.tracking.frames import HEADER_BYTES
from services.tracking.inspection import inspect, logged_events
from services.tracking.log import DamagedLogError, LogInUseError, Position, SegmentLog
from services.tracking.repair import repair
from services.tracking.shipping import CursorFile


def payload(message_id: str) -> bytes:
    return PutEventsRequest(events=[TrackingEvent(message_id=message_id)]).SerializeToString()


FRAME = HEADER_BYTES + len(payload("a"))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Five frames of the same size in a segment and one in another; the first three are shipped."""
    log = SegmentLog.open(tmp_path / "log", segment_bytes=5 * FRAME)
    for message_id in "abcdef":
        log.append(payload(message_id), 1)
    log.close()
    CursorFile(tmp_path / "cursor.json").save(Position(segment=1, offset=3 * FRAME))
    return tmp_path


def damage(directory: Path, offset: int) -> bytes:
    """Changes one byte of the first segment; how it is then."""
    path = directory / "log" / f"{1:020d}.log"
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)
    return bytes(content)


def left(directory: Path) -> str:
    return "".join(event.message_id for event in logged_events(directory, waiting_only=False))


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [
        ([FRAME + HEADER_BYTES + 1], "acdef"),
        ([FRAME], "acdef"),
        ([FRAME + 5], "acdef"),
        ([0], "bcdef"),
        ([FRAME, 3 * FRAME + HEADER_BYTES], "acef"),
        ([2 * FRAME, 3 * FRAME + 1], "abef"),
        ([5 * FRAME - 1], "abcdf"),
        ([number * FRAME for number in range(5)], "f"),
    ],
    ids=["payload", "magic", "length", "first", "two apart", "two in a row", "last of an older segment", "all"],
)
def test_every_intact_frame_stays(directory: Path, offsets: list[int], expected: str) -> None:
    """Those behind the damage too; the file as it was lies beside the log, which opens again."""
    for offset in offsets:
        damaged = damage(directory, offset)
    with pytest.raises(DamagedLogError, match="penstock log repair"):
        SegmentLog.open(directory / "log")
    [repaired] = repair(directory)
    assert left(directory) == expected
    assert repaired.kept_as.read_bytes() == damaged
    assert repaired.lost_bytes == len(offsets) * FRAME
    assert repaired.events == 5 - len(offsets)
    SegmentLog.open(directory / "log").close()


def test_a_repaired_segment_is_shipped_from_its_beginning(directory: Path) -> None:
    """Its places have moved: what was shipped is repeated, and nothing is passed over."""
    damage(directory, FRAME)
    repair(directory)
    assert CursorFile(directory / "cursor.json").load() == Position(segment=1, offset=0)
    assert [report.waiting for report in inspect(directory)] == [4, 1]


def test_a_cut_off_older_segment_keeps_what_is_whole(directory: Path) -> None:
    """Recovery cuts the end of the last segment alone: an older one was whole once."""
    path = directory / "log" / f"{1:020d}.log"
    path.write_bytes(path.read_bytes()[:-3])
    repair(directory)
    assert left(directory) == "abcdf"
    SegmentLog.open(directory / "log").close()


def test_a_whole_log_is_left_as_it_is(directory: Path) -> None:
    """The cursor too."""
    assert repair(directory) == []
    assert CursorFile(directory / "cursor.json").load() == Position(segment=1, offset=3 * FRAME)


def test_a_second_damage_keeps_the_copy_of_the_first(directory: Path) -> None:
    """Nothing is overwritten."""
    first = damage(directory, 0)
    [one] = repair(directory)
    damage(directory, 0)
    [two] = repair(directory)
    assert one.kept_as != two.kept_as
    assert one.kept_as.read_bytes() == first


def test_the_log_of_a_running_intake_is_not_touched(directory: Path) -> None:
    """Its lock is held."""
    log = SegmentLog.open(directory / "log")
    damage(directory, 0)
    with pytest.raises(LogInUseError):
        repair(directory)
    log.close()


def test_a_folder_without_a_log_is_told(tmp_path: Path) -> None:
    """And nothing is made there."""
    with pytest.raises(FileNotFoundError):
        repair(tmp_path)
    assert list(tmp_path.iterdir()) == []
