"""The log on disk: numbered segment files of frames, appended at the end, deleted at the front.

    <directory>/00000000000000000001.log, ...2.log, ...   frames, see `frames`
    <directory>/lock                                      held by the process that writes

One thread appends, another may read and release at the same time: a reader never goes beyond the end it is given.
Opening recovers: a torn frame at the very end was never confirmed and is cut off; a bad frame anywhere else is damage,
and damage is an error, never a shorter log.
"""

import errno
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from services.runtime.errors import InternalError, ResourceExhaustedError
from services.tracking.frames import BadFrameError, encode_frame, is_torn_write, read_frame, read_frames

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SUFFIX = ".log"


class LogInUseError(InternalError):
    """Another process writes to the log."""


class DamagedLogError(InternalError):
    """The log cannot be used as it is; the message says where and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Position:
    """A place between frames: number of the segment, offset in bytes."""

    segment: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Some frames of the log: joined payloads, how many events they hold, and where the next frame begins."""

    payload: bytes
    count: int
    next: Position


class SegmentLog:
    """See the module. Made by `open`; `close` it.

    A failed `append` leaves the log as it was, or raises an OSError that is not ResourceExhaustedError; after such an
    error, or one of `sync`, nothing is known about what reached the disk and the log must not be used any more.
    """

    def __init__(self, directory: Path, *, segment_bytes: int, lock: int, sizes: dict[int, int]) -> None:
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._lock = lock
        self._sizes = sizes
        self._number = max(sizes)
        self._file = os.open(self._path(self._number), os.O_WRONLY | os.O_APPEND)

    @classmethod
    def open(cls, directory: Path, *, segment_bytes: int = 64 * 1024 * 1024) -> Self:
        """The log in `directory`, created when there is none; a new segment begins after `segment_bytes`.

        Raises:
            LogInUseError: another process writes to it.
            DamagedLogError: there is damage before the end.
        """
        directory.mkdir(parents=True, exist_ok=True)
        lock = locked(directory / "lock")
        try:
            return cls(directory, segment_bytes=segment_bytes, lock=lock, sizes=_recovered(directory))
        except BaseException:
            os.close(lock)
            raise

    def close(self) -> None:
        os.close(self._file)
        os.close(self._lock)

    @property
    def directory(self) -> Path:
        return self._directory

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(list(self._sizes.values()))

    @property
    def begin(self) -> Position:
        """The oldest frame."""
        return Position(segment=min(list(self._sizes)), offset=0)

    @property
    def end(self) -> Position:
        """Behind the newest frame."""
        return Position(segment=self._number, offset=self._sizes[self._number])

    def append(self, payload: bytes, count: int) -> Position:
        """Writes one frame without waiting for the disk and returns the new end.

        Raises:
            ResourceExhaustedError: no space; nothing was appended.
            OSError: the log must not be used any more.
        """
        frame = encode_frame(payload, count)
        try:
            if self._sizes[self._number] >= self._segment_bytes:
                self._begin_segment()
            self._write(frame)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            os.ftruncate(self._file, self._sizes[self._number])
            raise ResourceExhaustedError(
                f"cannot write {len(frame)} bytes to {self._path(self._number)}: {error.strerror}",
                retry_after=1.0,
                reason="ERROR_REASON_STORAGE_FULL",
                metadata={"path": str(self._directory)},
            ) from error
        self._sizes[self._number] += len(frame)
        return self.end

    def sync(self) -> None:
        """Returns when everything appended is on the disk."""
        os.fdatasync(self._file)

    def read(self, position: Position, end: Position, *, max_events: int, max_bytes: int) -> Chunk | None:
        """Frames from `position` up to `end`, at least one, otherwise within the limits; None when there is none.

        Raises:
            DamagedLogError: what is read is not what was written.
        """
        if position.segment < end.segment and position.offset >= self._sizes[position.segment]:
            position = Position(segment=position.segment + 1, offset=0)
        limit = end.offset if position.segment == end.segment else self._sizes[position.segment]
        if position.offset >= limit:
            return None
        payloads: list[bytes] = []
        count, size, offset = 0, 0, position.offset
        path = self._path(position.segment)
        with path.open("rb") as file:
            file.seek(offset)
            while offset < limit:
                try:
                    frame = read_frame(file, offset)
                except BadFrameError as error:
                    raise _damage(path, error) from error
                if payloads and (count + frame.count > max_events or size + len(frame.payload) > max_bytes):
                    break
                payloads.append(frame.payload)
                count, size, offset = count + frame.count, size + len(frame.payload), frame.end
        return Chunk(payload=b"".join(payloads), count=count, next=Position(segment=position.segment, offset=offset))

    def release(self, position: Position) -> None:
        """Deletes the segments that lie wholly before `position`."""
        before = [number for number in sorted(self._sizes) if number < position.segment]
        for number in before:
            self._path(number).unlink(missing_ok=True)
            del self._sizes[number]
        if before:
            sync_directory(self._directory)

    def _begin_segment(self) -> None:
        # Only the last segment may hold unconfirmed frames: recovery cuts there and nowhere else.
        os.fdatasync(self._file)
        number = self._number + 1
        file = os.open(self._path(number), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o640)
        sync_directory(self._directory)
        os.close(self._file)
        self._sizes[number] = 0
        self._file, self._number = file, number

    def _write(self, frame: bytes) -> None:
        rest = memoryview(frame)
        while rest:
            rest = rest[os.write(self._file, rest) :]

    def _path(self, number: int) -> Path:
        return segment_path(self._directory, number)


def segment_path(directory: Path, number: int) -> Path:
    """The file of a segment."""
    return directory / f"{number:020d}{_SUFFIX}"


def locked(path: Path) -> int:
    """The lock of a log, a file descriptor to be closed; the kernel drops it with its process. Raises LogInUseError."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise LogInUseError(
            f"another process writes to the log in {path.parent}: give each intake a data directory of its own",
            metadata={"path": str(path.parent)},
        ) from error
    return lock


def _recovered(directory: Path) -> dict[int, int]:
    """The sizes of the segments by number, a torn end cut off; with a first segment when there was none."""
    numbers = sorted(int(path.stem) for path in directory.glob(f"*{_SUFFIX}"))
    if not numbers:
        segment_path(directory, 1).touch(mode=0o640)
        sync_directory(directory)
        numbers = [1]
    missing = sorted(set(range(numbers[0], numbers[-1])) - set(numbers))
    if missing:
        raise DamagedLogError(
            f"the log in {directory} lacks segment {missing[0]}: restore the file, or move the older segments away",
            metadata={"path": str(directory)},
        )
    return {number: _checked(segment_path(directory, number), last=number == numbers[-1]) for number in numbers}


def _checked(path: Path, *, last: bool) -> int:
    """The size of a segment whose every frame is intact."""
    end = 0
    with path.open("rb") as file:
        try:
            for frame in read_frames(file):
                end = frame.end
        except BadFrameError as error:
            if not last or not is_torn_write(file, error.offset):
                raise _damage(path, error) from error
    if path.stat().st_size != end:
        os.truncate(path, end)
    return end


def _damage(path: Path, error: BadFrameError) -> DamagedLogError:
    return DamagedLogError(
        f"{path} is damaged at byte {error.offset}: {error.why}. Restore the file, or let `penstock log repair "
        f"{path.parent.parent}` keep its intact events and set the file as it is aside",
        metadata={"path": str(path), "offset": str(error.offset)},
    )


def sync_directory(directory: Path) -> None:
    """Returns when the names in a directory are on the disk."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
