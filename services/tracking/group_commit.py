"""The log as the intake sees it: appends from many calls, made durable together by one write and one sync.

While one group is being synced the next gathers, so the cost of a sync is shared by all that wait. An append is
confirmed at the level the operator chose; a full log refuses before anything is appended; one that failed stays failed.
"""

import asyncio
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

import structlog

from services.runtime.errors import InternalError, PenstockError, ResourceExhaustedError
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


@dataclass(slots=True, kw_only=True)
class _Append:
    payload: bytes
    count: int
    confirmed: asyncio.Future[None]


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
        self._pending: list[_Append] = []
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

    def append(self, payload: bytes, count: int) -> asyncio.Future[None]:
        """Takes a payload of `count` events. The future is done once they are as durable as the level says.

        The future belongs to the log: wait for it shielded, since a cancelled one could not be confirmed any more.

        Raises:
            ResourceExhaustedError: the log is full; nothing was taken.
            InternalError: the log failed before.
        """
        if self._failed is not None:
            raise self._failed
        self._require_room(len(payload))
        confirmed = asyncio.get_running_loop().create_future()
        self._pending.append(_Append(payload=payload, count=count, confirmed=confirmed))
        self._pending_bytes += len(payload)
        self._wanted.set()
        if self._level is AckLevel.MEMORY:
            confirmed.set_result(None)
        return confirmed

    async def run(self) -> None:
        """Commits groups until cancelled.

        Raises:
            InternalError: the disk failed; what was appended last may be there or not, so nothing more is confirmed.
        """
        loop = asyncio.get_running_loop()
        group: list[_Append] = []
        while True:
            await self._wanted.wait()
            if len(group) > 1:
                await asyncio.sleep(_GATHER_SECONDS)
            group = self._take_group()
            try:
                end = await loop.run_in_executor(self._writer, self._commit, group)
            except ResourceExhaustedError as error:
                _refuse(group, error)
            except OSError as error:
                raise self._fail(group, error) from error
            else:
                self._confirm(group, end)
            self._pending_bytes -= sum(len(append.payload) for append in group)

    async def wait_beyond(self, position: Position) -> None:
        """Returns when there are frames behind `position`."""
        while self._end <= position:
            self._grown.clear()
            await self._grown.wait()

    def close(self) -> None:
        """Writes what was taken but not committed, and closes the files. Call it when `run` has ended."""
        self._writer.shutdown(wait=True)
        try:
            if self._pending and self._failed is None:
                self._commit(self._pending)
        finally:
            self._segments.close()

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

    def _take_group(self) -> list[_Append]:
        count = size = taken = 0
        for append in self._pending:
            count, size = count + append.count, size + len(append.payload)
            if taken and (count > _MAX_GROUP_EVENTS or size > _MAX_GROUP_BYTES):
                break
            taken += 1
        group, self._pending = self._pending[:taken], self._pending[taken:]
        if not self._pending:
            self._wanted.clear()
        return group

    def _commit(self, group: list[_Append]) -> Position:
        # One frame for the group: after a crash either all of it is there, or none of it was confirmed.
        payload = group[0].payload if len(group) == 1 else b"".join(append.payload for append in group)
        end = self._segments.append(payload, sum(append.count for append in group))
        if self._level is AckLevel.DISK:
            self._segments.sync()
        return end

    def _confirm(self, group: list[_Append], end: Position) -> None:
        self._end = end
        self._grown.set()
        for append in group:
            if not append.confirmed.done():
                append.confirmed.set_result(None)

    def _fail(self, group: list[_Append], error: OSError) -> PenstockError:
        # After a failed sync the kernel may have dropped the pages: trying again would confirm what is not there.
        self._failed = InternalError(
            f"the log in {self._segments.directory} failed: {error.strerror or error}; no event is confirmed any more",
            metadata={"path": str(self._segments.directory)},
        )
        _refuse([*group, *self._pending], self._failed)
        return self._failed


def _refuse(appends: list[_Append], error: PenstockError) -> None:
    confirmed = sum(append.count for append in appends if append.confirmed.done())
    if confirmed:
        structlog.get_logger(component="log").error(
            "events confirmed at level memory are lost", events=confirmed, reason=error.message
        )
    for append in appends:
        if not append.confirmed.done():
            append.confirmed.set_exception(error)
