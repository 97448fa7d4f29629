"""From the log to the store: in batches, in order, again and again until the store has them.

The cursor moves only after the store confirmed, so a crash repeats events and loses none; the store keeps one row per
message id. Whole shipped segments are deleted. At most one batch is in memory, however far behind the shipper is.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import orjson
import structlog
from google.protobuf.message import DecodeError
from penstock.persistence.v1 import persistence_service_pb2

from services.runtime.errors import InternalError, InvalidArgumentError, PenstockError
from services.runtime.retry import Backoff
from services.tracking.bad_events import BadEventFile
from services.tracking.frames import bodies_of, event_prefix
from services.tracking.log import Chunk, Position

_Request = persistence_service_pb2.PutEventsRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An event the store will never take: its index in the payload, and why."""

    index: int
    reason: str


class EventSink(Protocol):
    """Where events go."""

    async def put(self, payload: bytes, count: int) -> Sequence[Refused]:
        """Stores the `count` events of a payload (see `frames`) and returns those that can never be stored.

        Raises:
            InvalidArgumentError: the payload as a whole can never be stored.
            PenstockError: any other: not now.
        """


class MemorySink:
    """Keeps serialized events by message id, for demonstrations and tests."""

    def __init__(self) -> None:
        self.events: dict[str, bytes] = {}
        self.failures: list[PenstockError] = []
        self.refusals: dict[str, str] = {}

    async def put(self, payload: bytes, count: int) -> Sequence[Refused]:  # noqa: ARG002 - part of the port
        if self.failures:
            raise self.failures.pop(0)
        refused = []
        for index, event in enumerate(_Request.FromString(payload).events):
            if reason := self.refusals.get(event.message_id):
                refused.append(Refused(index=index, reason=reason))
            else:
                self.events.setdefault(event.message_id, event.SerializeToString())
        return refused


class ShippableLog(Protocol):
    """The log as the shipper uses it; see `log.SegmentLog`."""

    @property
    def begin(self) -> Position: ...

    def read(self, position: Position, end: Position, *, max_events: int, max_bytes: int) -> Chunk | None: ...

    def release(self, position: Position) -> None: ...


class Growth(Protocol):
    """Tells how far the log has grown; see `group_commit.DurableLog`."""

    @property
    def end(self) -> Position: ...

    async def wait_beyond(self, position: Position) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippingLimits:
    """What one call to the store carries at most, and how long the first event of a call waits for others."""

    max_events: int = 1000
    max_bytes: int = 2 * 1024 * 1024
    linger_seconds: float = 0.05


@dataclass(slots=True)
class ShippingProgress:
    """What was shipped since the start, for metrics."""

    shipped: int = 0
    bad: int = 0
    failures: int = 0
    trouble: str = field(default="")


class Shipper:
    """See the module; `run` is a background task of the process.

    Args:
        log: read and released, in threads.
        growth: tells of new frames.
        sink: the store.
        cursor: where the position is kept over restarts.
        bad_events: where events go that the store will never take.
        limits: of one call to the store.
        backoff: between attempts.
        sleep: waits the given seconds.
        on_state: hears what is wrong with the store in a few words, an empty text when nothing is.
    """

    def __init__(
        self,
        *,
        log: ShippableLog,
        growth: Growth,
        sink: EventSink,
        cursor: "CursorFile",
        bad_events: BadEventFile,
        limits: ShippingLimits | None = None,
        backoff: Backoff | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        on_state: Callable[[str], None] = lambda _detail: None,
    ) -> None:
        self._log = log
        self._growth = growth
        self._sink = sink
        self._cursor = cursor
        self._bad_events = bad_events
        self._limits = limits or ShippingLimits()
        self._backoff = backoff or Backoff(initial=0.1, maximum=5.0)
        self._sleep = sleep
        self._on_state = on_state
        self._position = max(cursor.load(), log.begin)
        self.progress = ShippingProgress()

    @property
    def position(self) -> Position:
        """Everything before it is in the store."""
        return self._position

    async def run(self) -> None:
        """Ships until cancelled.

        Raises:
            DamagedLogError: what is read from the log is not what was written.
        """
        # An unsynced end that was shipped may be missing after a power failure: the log then begins again before it.
        self._position = min(self._position, self._growth.end)
        caught_up = True
        while True:
            if caught_up:
                await asyncio.to_thread(self._cursor.save, self._position)
                await self._growth.wait_beyond(self._position)
                # Half full calls cost as much as full ones.
                await self._sleep(self._limits.linger_seconds)
            end = self._growth.end
            await self.ship_once()
            # The few that came meanwhile wait for others again, or a steady trickle would make calls of a few each.
            caught_up = self._position >= end

    async def ship_once(self) -> None:
        """Ships one batch, if there is one, however long the store is away."""
        chunk = await asyncio.to_thread(
            self._log.read,
            self._position,
            self._growth.end,
            max_events=self._limits.max_events,
            max_bytes=self._limits.max_bytes,
        )
        if chunk is None:
            return
        await self._ship(chunk.payload, chunk.count)
        before, self._position = self._position, chunk.next
        if chunk.next.segment > before.segment:
            await asyncio.to_thread(self._release, chunk.next)

    def _release(self, position: Position) -> None:
        # In this order: the cursor must never point into what is deleted.
        self._cursor.save(position)
        self._log.release(position)

    async def _ship(self, payload: bytes, count: int) -> None:
        if count > 1 and len(payload) > 2 * self._limits.max_bytes:
            await self._ship_halves(payload)
            return
        try:
            refused = await self._put(payload, count)
        except InvalidArgumentError as error:
            # One event may make the store refuse them all: find it, so that it does not block the others.
            if count > 1:
                await self._ship_halves(payload)
                return
            refused = [Refused(index=0, reason=error.message)]
        if refused:
            await self._set_aside(payload, refused)
        self.progress.shipped += count - len(refused)

    async def _ship_halves(self, payload: bytes) -> None:
        # Cut by their lengths: among them may be one that cannot be decoded.
        bodies = bodies_of(payload)
        middle = len(bodies) // 2
        for half in (bodies[:middle], bodies[middle:]):
            if half:
                await self._ship(b"".join(event_prefix(len(body)) + body for body in half), len(half))

    async def _put(self, payload: bytes, count: int) -> Sequence[Refused]:
        async def put() -> Sequence[Refused]:
            try:
                return await self._sink.put(payload, count)
            except (InternalError, DecodeError) as error:
                # A gRPC server calls a request that it cannot decode an internal error unless, as our store, it says
                # more; and so it will for ever.
                if fault := _decode_fault(payload):
                    raise InvalidArgumentError(f"the event cannot be decoded: {fault}") from error
                raise

        return await self._until_done(put)

    async def _set_aside(self, payload: bytes, refused: Sequence[Refused]) -> None:
        bodies = bodies_of(payload)
        bad = [(bodies[item.index], item.reason) for item in refused]
        await self._until_done(lambda: asyncio.to_thread(self._bad_events.add, bad))
        self.progress.bad += len(bad)
        structlog.get_logger(component="shipping").warning("events set aside", events=len(bad), reason=bad[0][1])

    async def _until_done(self, operation: Callable[[], Awaitable[Sequence[Refused]]]) -> Sequence[Refused]:
        attempt = 0
        while True:
            attempt += 1
            try:
                result = await operation()
            except InvalidArgumentError:
                raise
            except (PenstockError, OSError) as error:
                self.progress.failures += 1
                self._tell(str(error))
                await self._sleep(self._backoff.delay(attempt))
            else:
                self._tell("")
                return result

    def _tell(self, trouble: str) -> None:
        if trouble != self.progress.trouble:
            self.progress.trouble = trouble
            self._on_state(trouble)


def _decode_fault(payload: bytes) -> str:
    """Why a payload is no request that a store could read; an empty text when it is one."""
    try:
        _Request.FromString(payload)
    except DecodeError as error:
        return str(error)
    return ""


class CursorFile:
    """Where shipping stands. Without a readable file it begins with the log, which repeats and loses nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Position:
        with suppress(OSError, ValueError, KeyError, TypeError):
            value = orjson.loads(self._path.read_bytes())
            return Position(segment=int(value["segment"]), offset=int(value["offset"]))
        return Position(segment=0, offset=0)

    def save(self, position: Position) -> None:
        """Replaces the file as a whole. A full disk must not stop shipping, which is what frees it."""
        written = self._path.with_suffix(".new")
        try:
            written.write_bytes(orjson.dumps({"segment": position.segment, "offset": position.offset}))
            written.replace(self._path)
        except OSError as error:
            structlog.get_logger(component="shipping").warning(
                "the cursor was not saved; after a restart events are shipped again", reason=str(error)
            )
