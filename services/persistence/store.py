"""The port to where events lie, and its in-memory implementation."""

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Protocol

from services.persistence.record import EventRecord


class PutOutcome(Enum):
    """What `put` did with one record."""

    STORED = "stored"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, kw_only=True, slots=True)
class EventQuery:
    """Which events to list: `program_id` None means all; times in microseconds since 1970 UTC, None means no bound."""

    program_id: str | None = None
    from_time: int | None = None
    until_time: int | None = None

    def selects(self, record: EventRecord) -> bool:
        return (
            self.program_id in (None, record.program_id)
            and (self.from_time is None or record.occurred_at >= self.from_time)
            and (self.until_time is None or record.occurred_at < self.until_time)
        )


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Position:
    """A place in a listing: after the event of this time, among events of one time after the one with this ordinal."""

    occurred_at: int
    ordinal: int


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredEvent:
    """A row and its place, from which a listing can go on."""

    record: EventRecord
    position: Position


class EventStore(Protocol):
    """Events at rest. Every answer of `put` is given after the rows are as durable as the store makes them."""

    async def put(self, records: Sequence[EventRecord]) -> list[PutOutcome]:
        """Store those whose message id is new, with an outcome per record in order; the first row of an id stays.

        All or none: an error means that no record of this call was stored.

        Raises:
            ResourceExhaustedError: the disk is full, or too many records wait to be written.
            UnavailableError: the store is closing or broken.
        """
        ...

    async def get(self, message_id: str) -> EventRecord | None:
        """The row of a message id."""
        ...

    async def list_events(self, query: EventQuery, *, after: Position | None, limit: int) -> list[StoredEvent]:
        """At most `limit` events after a position, oldest first; fewer when their payloads exceed 4 MiB together.

        Going on from the last position shows every event that was stored before the first call exactly once, whatever
        is stored meanwhile.
        """
        ...


class MemoryEventStore:
    """Events in memory: lost when the process ends."""

    def __init__(self) -> None:
        self._by_id: dict[str, EventRecord] = {}
        self._by_time: list[tuple[Position, str]] = []

    async def put(self, records: Sequence[EventRecord]) -> list[PutOutcome]:
        return [self._put(record) for record in records]

    def _put(self, record: EventRecord) -> PutOutcome:
        if record.message_id in self._by_id:
            return PutOutcome.DUPLICATE
        position = Position(occurred_at=record.occurred_at, ordinal=len(self._by_id))
        self._by_id[record.message_id] = record
        insort(self._by_time, (position, record.message_id))
        return PutOutcome.STORED

    async def get(self, message_id: str) -> EventRecord | None:
        return self._by_id.get(message_id)

    async def list_events(self, query: EventQuery, *, after: Position | None, limit: int) -> list[StoredEvent]:
        found = (
            StoredEvent(record=self._by_id[message_id], position=position)
            for position, message_id in self._by_time
            if after is None or position > after
        )
        return list(islice((event for event in found if query.selects(event.record)), limit))
