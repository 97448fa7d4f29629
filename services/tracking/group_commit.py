"""The log as the intake sees it: appends from many calls, made durable together by one write and one sync.

While one group is being synced the next gathers, so the cost of a sync is shared by all that wait. An append is
confirmed at the level the operator chose; a full log refuses before anything is appended; one that failed stays failed.
"""

import asyncio
import shutil
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum

import structlog

from services.runtime.errors import InternalError, PenstockError, ResourceExhaustedError, UnavailableError
from services.tracking.log import Position, SegmentLog

_MAX_GROUP_EVENTS = 5000
_MAX_GROUP_BYTES = 4 * 1024 * 1024
_GRANT_BYTES = 8 * 1024 * 1024
"""Appended between two looks at the free space of the file system."""
_RETRY_AFTER = 1.0
# Under load a group waits this long for others: a sync costs as much CPU as answering half a dozen calls. A single
# caller, who sends its next event after the answer, never waits.
_GATHER_SECONDS = 0.001


class AckLevel(StrEnum):
    """What an event has survived when it is confirmed."""

    MEMORY = "memory"
    """Nothing yet: it is lost when the process dies."""
    OS = "os"
    """The process may die; it is lost when the machine does."""
    DISK = "disk"
    """The machine may lose power, as far as the disk keeps its word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLimits:
    """Bytes the log may take on disk, and bytes it leaves free on its file system for others."""

    max_bytes: int
    min_free_bytes: int = 0


class Confirmation(asyncio.Future[None]):
    """Done once a group is durable. All who wait for the group share it, and it belongs to the log.

    Hence it cannot be cancelled: a caller that gives up must not take it from the others, and a shield for each of them
    would cost as much as the rest of the wait. Such a caller ends when the group does.
    """

    def cancel(self, msg: object = None) -> bool:  # noqa: ARG002 - the signature of asyncio
        return False


@dataclass(slots=True, kw_only=True)
class _Group:
    """Payloads that become durable together."""

    confirmed: Confirmation
    payloads: list[bytes] = field(default_factory=list)
    count: int = 0
    size: int = 0

    def has_room(self, size: int, count: int) -> bool:
        return self.count + count <= _MAX_GROUP_EVENTS and self.size + size <= _MAX_GROUP_BYTES

    def add(self, payload: bytes, count: int) -> None:
        self.payloads.append(payload)
        self.count += count
        self.size += len(payload)


class DurableLog:
    """Group commit over a `SegmentLog`. `run` must be running; `close` afterwards writes what is left."""

    def __init__(
        self,
        segments: SegmentLog,
        *,
        limits: LogLimits,
        level: AckLevel = AckLevel.DISK,
        free_bytes: Callable[[SegmentLog], int] = lambda log: shutil.disk_usage(log.directory).free,
    ) -> None:
        self._segments = segments
        self._limits = limits
        self._level = level
        self._free_bytes = free_bytes
        self._groups: deque[_Group] = deque()
        self._committing: list[_Group] = []
        self._pending_bytes = 0
        self._wanted = asyncio.Event()
        self._grown = asyncio.Event()
        self._failed: PenstockError | None = None
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="log")
        self._end = segments.end
        self._granted_bytes = 0

    @property
    def segments(self) -> SegmentLog:
        return self._segments

    @property
    def end(self) -> Position:
        """Behind the newest frame that may be shipped."""
        return self._end

    @property
    def used_bytes(self) -> int:
        """Bytes on disk and on their way there."""
        return self._segments.size + self._pending_bytes

    def append(self, payload: bytes, count: int) -> Confirmation:
        """Takes a payload of `count` events. The future is done once they are as durable as the level says.

        Raises:
            ResourceExhaustedError: the log is full; nothing was taken.
            InternalError: the log failed before.
            UnavailableError: the process is ending.
        """
        if self._failed is not None:
            raise self._failed
        size = len(payload)
        self._require_room(size)
        if not self._groups or not self._groups[-1].has_room(size, count):
            self._groups.append(self._new_group())
        group = self._groups[-1]
        group.add(payload, count)
        self._pending_bytes += size
        return group.confirmed

    async def run(self) -> None:
        """Commits groups until cancelled. Whoever waits then is told that the process is ending.

        Raises:
            InternalError: the disk failed; what was appended last may be there or not, so nothing more is confirmed.
        """
        try:
            await self._commit_groups()
        except asyncio.CancelledError:
            self._failed = UnavailableError("the intake is ending: send the events again, to this one or another")
            _tell([*self._committing, *self._groups], self._failed)
            raise

    async def wait_beyond(self, position: Position) -> None:
        """Returns when there are frames behind `position`."""
        while self._end <= position:
            self._grown.clear()
            await self._grown.wait()

    def close(self) -> None:
        """Writes what was taken but not committed, and closes the files. Call it when `run` has ended."""
        self._writer.shutdown(wait=True)
        try:
            for group in () if isinstance(self._failed, InternalError) else self._groups:
                self._commit(group)
        finally:
            self._segments.close()

    async def _commit_groups(self) -> None:
        loop = asyncio.get_running_loop()
        shared = False
        while True:
            await self._wanted.wait()
            if shared:
                await asyncio.sleep(_GATHER_SECONDS)
            group = self._take_group()
            self._committing = [group]
            shared = len(group.payloads) > 1
            try:
                end = await loop.run_in_executor(self._writer, self._commit, group)
            except ResourceExhaustedError as error:
                _refuse([group], error)
            except OSError as error:
                raise self._fail(group, error) from error
            else:
                self._confirm(group, end)
            self._pending_bytes -= group.size

    def _require_room(self, size: int) -> None:
        limit = self._limits.max_bytes
        if self.used_bytes + size > limit:
            raise ResourceExhaustedError(
                f"the log of accepted events is full: {self.used_bytes} of {limit} bytes wait to be shipped",
                retry_after=_RETRY_AFTER,
                reason="ERROR_REASON_LOG_FULL",
                metadata={"limit_bytes": str(limit)},
            )
        self._granted_bytes -= size
        if self._granted_bytes >= 0:
            return
        floor = self._limits.min_free_bytes
        free = self._free_bytes(self._segments)
        self._granted_bytes = min(free - floor - size, _GRANT_BYTES)
        if self._granted_bytes < 0:
            raise ResourceExhaustedError(
                f"the file system of {self._segments.directory} has {free} bytes free; {floor} are kept for others",
                retry_after=_RETRY_AFTER,
                reason="ERROR_REASON_STORAGE_FULL",
                metadata={"path": str(self._segments.directory)},
            )

    def _new_group(self) -> _Group:
        confirmed = Confirmation(loop=asyncio.get_running_loop())
        if self._level is AckLevel.MEMORY:
            confirmed.set_result(None)
        self._wanted.set()
        return _Group(confirmed=confirmed)

    def _take_group(self) -> _Group:
        group = self._groups.popleft()
        if not self._groups:
            self._wanted.clear()
        return group

    def _commit(self, group: _Group) -> Position:
        # One frame for the group: after a crash either all of it is there, or none of it was confirmed.
        end = self._segments.append(b"".join(group.payloads), group.count)
        if self._level is AckLevel.DISK:
            self._segments.sync()
        return end

    def _confirm(self, group: _Group, end: Position) -> None:
        self._end = end
        self._grown.set()
        if not group.confirmed.done():
            group.confirmed.set_result(None)

    def _fail(self, group: _Group, error: OSError) -> PenstockError:
        # After a failed sync the kernel may have dropped the pages: trying again would confirm what is not there.
        self._failed = InternalError(
            f"the log in {self._segments.directory} failed: {error.strerror or error}; no event is confirmed any more",
            metadata={"path": str(self._segments.directory)},
        )
        _refuse([group, *self._groups], self._failed)
        return self._failed


def _refuse(groups: Sequence[_Group], error: PenstockError) -> None:
    lost = sum(group.count for group in groups if group.confirmed.done())
    if lost:
        structlog.get_logger(component="log").error(
            "events confirmed at level memory are lost", events=lost, reason=error.message
        )
    _tell(groups, error)


def _tell(groups: Sequence[_Group], error: PenstockError) -> None:
    for group in groups:
        if not group.confirmed.done():
            group.confirmed.set_exception(error)
