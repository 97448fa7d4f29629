"""The log on disk: order, segments, recovery, damage, a full disk."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.runtime.errors import ResourceExhaustedError
from services.tracking.frames import HEADER_BYTES
from services.tracking.log import DamagedLogError, LogInUseError, Position, SegmentLog

Open = Callable[[], SegmentLog]


@pytest.fixture
def open_log(tmp_path: Path) -> Iterator[Open]:
    """Opens the log of the test, again after it was closed; segments of 100 bytes."""
    opened: list[SegmentLog] = []

    def open_again() -> SegmentLog:
        if opened:
            opened.pop().close()
        opened.append(SegmentLog.open(tmp_path / "log", segment_bytes=100))
        return opened[-1]

    yield open_again
    if opened:
        opened.pop().close()


def everything(log: SegmentLog, position: Position | None = None) -> bytes:
    """All payloads from a position on."""
    position, found = position or log.begin, b""
    while chunk := log.read(position, log.end, max_events=3, max_bytes=50):
        found, position = found + chunk.payload, chunk.next
    return found


def segments(log: SegmentLog) -> list[Path]:
    return sorted(log.directory.glob("*.log"))


def test_what_is_appended_is_read_in_order_over_segments(open_log: Open) -> None:
    """Thirty frames in several files."""
    log = open_log()
    for number in range(30):
        log.append(b"%02d," % number, 1)
    assert len(segments(log)) > 3
    assert everything(log) == b"".join(b"%02d," % number for number in range(30))


def test_a_log_goes_on_where_it_ended(open_log: Open) -> None:
    """Opening again keeps everything and appends behind it."""
    log = open_log()
    end = log.append(b"before", 1)
    log = open_log()
    assert log.end == end
    log.append(b"after", 1)
    assert everything(log) == b"beforeafter"
    assert everything(log, end) == b"after"


def test_a_read_stays_within_its_limits(open_log: Open) -> None:
    """By events and by bytes, but at least one frame."""
    log = open_log()
    for payload in (b"a" * 10, b"b" * 10, b"c" * 10):
        log.append(payload, 2)

    def read(max_events: int, max_bytes: int) -> bytes | None:
        chunk = log.read(log.begin, log.end, max_events=max_events, max_bytes=max_bytes)
        return chunk.payload if chunk else None

    assert read(4, 1000) == b"a" * 10 + b"b" * 10
    assert read(1000, 20) == b"a" * 10 + b"b" * 10
    assert read(1, 1) == b"a" * 10


def test_nothing_beyond_the_given_end_is_read(open_log: Open) -> None:
    """What is appended but not confirmed must not be shipped."""
    log = open_log()
    confirmed = log.append(b"confirmed", 1)
    log.append(b"not yet", 1)
    chunk = log.read(log.begin, confirmed, max_events=100, max_bytes=1000)
    assert chunk is not None
    assert chunk.payload == b"confirmed"
    assert log.read(confirmed, confirmed, max_events=100, max_bytes=1000) is None


def test_released_segments_are_deleted_whole(open_log: Open) -> None:
    """The one that is still read or written stays."""
    log = open_log()
    positions = [log.append(b"%030d" % number, 1) for number in range(9)]
    size = log.size
    log.release(positions[4])
    assert log.begin == Position(segment=positions[4].segment, offset=0)
    assert log.size < size
    assert sum(path.stat().st_size for path in segments(log)) == log.size
    assert everything(log, positions[4]) == b"".join(b"%030d" % number for number in range(5, 9))


@pytest.mark.parametrize("cut", [1, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 3])
def test_a_torn_end_is_cut_off(open_log: Open, cut: int) -> None:
    """A frame that was written in part was never confirmed; the log goes on before it."""
    log = open_log()
    end = log.append(b"whole", 1)
    log.append(b"torn away", 1)
    [path] = segments(log)
    os.truncate(path, end.offset + cut)
    log = open_log()
    assert log.end == end
    log.append(b" again", 1)
    assert everything(log) == b"whole again"


def test_a_torn_end_of_zeros_is_cut_off(open_log: Open) -> None:
    """A file system may have grown the file without its content."""
    log = open_log()
    end = log.append(b"whole", 1)
    with segments(log)[0].open("ab") as file:
        file.write(bytes(5000))
    assert open_log().end == end


def test_damage_before_the_end_is_an_error_and_nothing_is_cut(open_log: Open) -> None:
    """Confirmed events lie behind it."""
    log = open_log()
    middle = log.append(b"first", 1)
    log.append(b"second", 1)
    [path] = segments(log)
    data = bytearray(path.read_bytes())
    data[HEADER_BYTES] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedLogError, match="damaged at byte 0: the checksum of the payload") as caught:
        SegmentLog.open(_copy(log.directory))
    assert caught.value.metadata["offset"] == "0"
    assert middle.offset < path.stat().st_size == len(data)


def test_a_torn_end_of_an_older_segment_is_damage(open_log: Open) -> None:
    """It was synced before the next one began."""
    log = open_log()
    for number in range(9):
        log.append(b"%030d" % number, 1)
    os.truncate(segments(log)[0], 45)
    with pytest.raises(DamagedLogError, match="damaged at byte"):
        SegmentLog.open(_copy(log.directory))


def test_a_segment_is_on_the_disk_before_the_next_one_has_a_name(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever syncs nothing himself, as at level os, does not find damage where a loss of power cut an older one."""
    log = open_log()
    on_disk: dict[int, int] = {}
    named: list[list[bool]] = []

    def note(file: int) -> None:
        on_disk[os.fstat(file).st_ino] = os.fstat(file).st_size

    def name(_directory: Path) -> None:
        older = [path.stat() for path in segments(log)[:-1]]
        named.append([on_disk.get(each.st_ino) == each.st_size for each in older])

    monkeypatch.setattr(os, "fdatasync", note)
    monkeypatch.setattr("services.tracking.log.sync_directory", name)
    for number in range(9):
        log.append(b"%030d" % number, 1)
    assert len(named) > 1
    assert all(map(all, named))


def test_a_missing_segment_is_damage(open_log: Open) -> None:
    """The message names it."""
    log = open_log()
    for number in range(9):
        log.append(b"%030d" % number, 1)
    copy = _copy(log.directory)
    (copy / segments(log)[1].name).unlink()
    with pytest.raises(DamagedLogError, match="lacks segment 2"):
        SegmentLog.open(copy)


def test_damage_found_while_reading_is_an_error(open_log: Open) -> None:
    """The disk may spoil what was intact at the start."""
    log = open_log()
    log.append(b"spoiled", 1)
    path = segments(log)[0]
    path.write_bytes(path.read_bytes()[:-1] + b"X")
    with pytest.raises(DamagedLogError, match="checksum"):
        everything(log)


def test_a_second_writer_is_refused(open_log: Open) -> None:
    """Two intakes need two data directories."""
    log = open_log()
    with pytest.raises(LogInUseError, match="data directory of its own"):
        SegmentLog.open(log.directory)


def test_a_full_disk_refuses_the_frame_and_keeps_the_log_intact(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when half of the frame was written before."""
    log = open_log()
    log.append(b"kept", 1)
    write, calls = os.write, 0

    def half_then_full(handle: int, data: memoryview) -> int:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, data[: len(data) // 2])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half_then_full)
        with pytest.raises(ResourceExhaustedError, match="No space left") as caught:
            log.append(b"refused", 1)
    assert caught.value.reason == "ERROR_REASON_STORAGE_FULL"
    log.append(b" and on", 1)
    assert everything(log) == b"kept and on"
    assert everything(open_log()) == b"kept and on"


def _copy(directory: Path) -> Path:
    """The files without the lock, as another machine would find them."""
    copy = directory.with_name("copy")
    copy.mkdir()
    for path in directory.glob("*.log"):
        (copy / path.name).write_bytes(path.read_bytes())
    return copy
