"""Group commit: nothing is confirmed before its level, a full log refuses, a failed disk ends it."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from services.runtime.errors import InternalError, ResourceExhaustedError, UnavailableError
from services.tracking.group_commit import AckLevel, DurableLog, LogLimits
from services.tracking.log import SegmentLog

ROOMY = LogLimits(max_bytes=1_000_000)


class RecordingLog(SegmentLog):
    """Tells what reached it, in order: `append` and `sync`; `failing` makes a step fail."""

    steps: list[str]
    failing: dict[str, OSError]

    def append(self, payload: bytes, count: int):  # type: ignore[no-untyped-def]  # noqa: ANN201
        self._step("append")
        return super().append(payload, count)

    def sync(self) -> None:
        self._step("sync")
        super().sync()

    def _step(self, name: str) -> None:
        self.steps.append(name)
        if name in self.failing:
            raise self.failing[name]


@pytest.fixture
def segments(tmp_path: Path) -> Iterator[RecordingLog]:
    log = RecordingLog.open(tmp_path / "log")
    log.steps, log.failing = [], {}
    yield log
    with suppress(OSError):
        log.close()


@asynccontextmanager
async def committing(
    segments: SegmentLog,
    *,
    level: AckLevel = AckLevel.DISK,
    limits: LogLimits = ROOMY,
    free_bytes: Callable[[SegmentLog], int] = lambda _log: 1_000_000,
) -> AsyncIterator[DurableLog]:
    log = DurableLog(segments, limits=limits, level=level, free_bytes=free_bytes)
    running = asyncio.create_task(log.run())
    yield log
    running.cancel()
    with suppress(asyncio.CancelledError, InternalError):
        await running


def payload_of(segments: SegmentLog) -> bytes:
    chunk = segments.read(segments.begin, segments.end, max_events=10_000, max_bytes=1_000_000)
    return chunk.payload if chunk else b""


async def test_at_level_disk_nothing_is_confirmed_before_the_sync(segments: RecordingLog) -> None:
    """The steps at the moment of the confirmation are the proof."""
    async with committing(segments) as log:
        confirmed = log.append(b"event", 1)
        steps_then: list[str] = []
        confirmed.add_done_callback(lambda _: steps_then.extend(segments.steps))
        assert not confirmed.done()
        await confirmed
        await asyncio.sleep(0)
    assert steps_then == ["append", "sync"]


async def test_at_level_os_the_write_is_enough(segments: RecordingLog) -> None:
    """No sync is paid for."""
    async with committing(segments, level=AckLevel.OS) as log:
        await log.append(b"event", 1)
    assert segments.steps == ["append"]


async def test_at_level_memory_nothing_is_waited_for(segments: RecordingLog) -> None:
    """Confirmed before anything was written."""
    async with committing(segments, level=AckLevel.MEMORY) as log:
        assert log.append(b"event", 1).done()
        assert segments.steps == []


async def test_appends_that_wait_share_one_sync(segments: RecordingLog) -> None:
    """A hundred appends, a handful of syncs, all there in order."""
    async with committing(segments) as log:
        await asyncio.gather(*(log.append(b"%03d" % number, 1) for number in range(100)))
    assert segments.steps.count("sync") <= 3
    assert payload_of(segments) == b"".join(b"%03d" % number for number in range(100))


async def test_under_load_a_group_waits_for_others(segments: RecordingLog) -> None:
    """After a group of several the next append is not committed alone, though the committer could start at once."""
    async with committing(segments) as log:
        await asyncio.gather(log.append(b"a", 1), log.append(b"b", 1))
        first = log.append(b"c", 1)
        await asyncio.sleep(0)
        await asyncio.gather(first, log.append(b"d", 1))
    assert segments.steps.count("sync") == 2


async def test_one_group_stays_below_the_size_of_a_call(segments: RecordingLog) -> None:
    """A backlog is written in several frames."""
    async with committing(segments) as log:
        await asyncio.gather(*(log.append(b"x", 3000) for _ in range(4)))
    assert segments.steps.count("append") == 4


async def test_a_full_log_refuses_before_anything_is_taken(segments: RecordingLog) -> None:
    """With the limit and when to come back; what was accepted before is confirmed."""
    async with committing(segments, limits=LogLimits(max_bytes=300)) as log:
        await log.append(b"x" * 200, 1)
        with pytest.raises(ResourceExhaustedError, match="is full") as caught:
            log.append(b"y" * 200, 1)
        assert caught.value.reason == "ERROR_REASON_LOG_FULL"
        assert caught.value.metadata == {"limit_bytes": "300"}
        assert caught.value.retry_after
    assert payload_of(segments) == b"x" * 200


async def test_what_waits_counts_as_well(segments: RecordingLog) -> None:
    """Otherwise a burst would overrun the limit between two writes."""
    log = DurableLog(segments, limits=LogLimits(max_bytes=300))
    log.append(b"x" * 200, 1)
    with pytest.raises(ResourceExhaustedError, match="is full"):
        log.append(b"y" * 200, 1)
    assert log.used_bytes == 200


async def test_the_floor_of_free_space_is_kept_for_others(segments: RecordingLog) -> None:
    """Refused while the file system is nearly full, taken again when there is room."""
    free = 10_000_000
    limits = LogLimits(max_bytes=1_000_000, min_free_bytes=5_000_000)
    async with committing(segments, limits=limits, free_bytes=lambda _log: free) as log:
        await log.append(b"fits", 1)
        free, log._granted_bytes = 5_000_001, 0
        with pytest.raises(ResourceExhaustedError, match="5000001 bytes free") as caught:
            log.append(b"does not", 1)
        assert caught.value.reason == "ERROR_REASON_STORAGE_FULL"
        free = 10_000_000
        await log.append(b"fits again", 1)
    assert payload_of(segments) == b"fitsfits again"


async def test_a_disk_that_becomes_full_refuses_the_group_and_goes_on(segments: RecordingLog) -> None:
    """The batch gets the error; later ones are taken when there is space."""
    async with committing(segments) as log:
        segments.failing["append"] = ResourceExhaustedError("no space", reason="ERROR_REASON_STORAGE_FULL")  # type: ignore[assignment]
        with pytest.raises(ResourceExhaustedError, match="no space"):
            await log.append(b"refused", 1)
        segments.failing.clear()
        await log.append(b"taken", 1)
        assert log.used_bytes == segments.size
    assert payload_of(segments) == b"taken"


@pytest.mark.parametrize("step", ["append", "sync"])
async def test_a_failed_disk_is_final(segments: RecordingLog, step: str) -> None:
    """After a failed sync the kernel may have dropped the pages: no retry, no confirmation, the process must end."""
    log = DurableLog(segments, limits=ROOMY)
    running = asyncio.create_task(log.run())
    segments.failing[step] = OSError(errno.EIO, os.strerror(errno.EIO))
    first = log.append(b"lost?", 1)
    with pytest.raises(InternalError, match="Input/output error"):
        await first
    segments.failing.clear()
    with pytest.raises(InternalError, match="no event is confirmed any more"):
        log.append(b"later", 1)
    with pytest.raises(InternalError):
        await running


async def test_closing_writes_what_was_taken(tmp_path: Path) -> None:
    """Level memory confirms before the write; an orderly end loses nothing."""
    log = DurableLog(SegmentLog.open(tmp_path / "log"), limits=ROOMY, level=AckLevel.MEMORY)
    log.append(b"confirmed", 1)
    log.close()
    reopened = SegmentLog.open(tmp_path / "log")
    assert payload_of(reopened) == b"confirmed"
    reopened.close()


async def test_a_reader_is_woken_when_the_log_grows(segments: RecordingLog) -> None:
    """And not before."""
    async with committing(segments) as log:
        waiting = asyncio.create_task(log.wait_beyond(log.end))
        await asyncio.sleep(0)
        assert not waiting.done()
        await log.append(b"event", 1)
        await waiting


async def test_one_who_gives_up_takes_nothing_from_the_others(segments: RecordingLog) -> None:
    """All who wait for a group share its confirmation."""
    async with committing(segments) as log:
        confirmed = log.append(b"a", 1)
        assert log.append(b"b", 1) is confirmed
        gone, stays = (asyncio.ensure_future(_wait(confirmed)) for _ in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        await stays
        with pytest.raises(asyncio.CancelledError):
            await gone


async def test_at_the_end_of_the_process_nobody_waits_for_ever(segments: RecordingLog) -> None:
    """Who waits is told to send again, and so is who comes later; what was taken is written all the same."""
    log = DurableLog(segments, limits=ROOMY)
    running = asyncio.create_task(log.run())
    await asyncio.sleep(0)
    waiting = asyncio.ensure_future(_wait(log.append(b"taken", 1)))
    running.cancel()
    with pytest.raises(UnavailableError, match="is ending"):
        await waiting
    with pytest.raises(UnavailableError):
        log.append(b"late", 1)
    with suppress(asyncio.CancelledError):
        await running
    log.close()
    reopened = SegmentLog.open(segments.directory)
    assert payload_of(reopened) == b"taken"
    reopened.close()


async def _wait(confirmed: "asyncio.Future[None]") -> None:
    await confirmed
