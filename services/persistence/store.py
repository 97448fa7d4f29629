"""The port to where events lie, and its in-memory implementation."""

from bisect import bisect_left, insort
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
    """A place in a listing: after the event of this time, among events of one time after the one with this key.

    `key` is what the store orders events of one time by; no other store can read it.
    """

    occurred_at: int
    key: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredEvent:
    """A row and its place, from which a listing can go on."""

    record: EventRecord
    position: Position


def position_of(record: EventRecord) -> Position:
    """The place of a record in a store that orders events of one time by their message id."""
    return Position(occurred_at=record.occurred_at, key=record.message_id)


class EventStore(Protocol):
    """Events at rest. Every answer of `put` is given after the rows are as durable as the store makes them."""

    async def put(self, records: Sequence[EventRecord]) -> list[PutOutcome]:
        """Store those whose message id is new, with an outcome per record in order; the first row of an id stays.

        After an error call again with the same records: SQLite has stored none of them, a store without transactions
        (DynamoDB, Cassandra) perhaps some, which are then duplicates.

        Raises:
            ResourceExhaustedError: the disk is full, the store throttles, or too many records wait to be written.
            UnavailableError: the store is away, closing or broken.
        """
        ...

    async def replace(self, records: Sequence[EventRecord]) -> None:
        """Store records, each instead of the row that its message id may have.

        Program and time of a row that is replaced must be the same. Of a message id that is given twice the last one
        stays. Errors are those of `put`.
        """
        ...

    async def purge(self, before: int, *, limit: int) -> int:
        """Delete at most `limit` events that occurred before this time; their number.

        A store that lets its rows expire by itself (DynamoDB, Cassandra) deletes none.
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
        self._by_time: list[Position] = []

    async def put(self, records: Sequence[EventRecord]) -> list[PutOutcome]:
        return [self._put(record) for record in records]

    def _put(self, record: EventRecord) -> PutOutcome:
        if record.message_id in self._by_id:
            return PutOutcome.DUPLICATE
        self._by_id[record.message_id] = record
        insort(self._by_time, position_of(record))
        return PutOutcome.STORED

    async def replace(self, records: Sequence[EventRecord]) -> None:
        for record in records:
            if self._put(record) is PutOutcome.DUPLICATE:
                self._by_id[record.message_id] = record

    async def purge(self, before: int, *, limit: int) -> int:
        end = min(bisect_left(self._by_time, before, key=lambda position: position.occurred_at), limit)
        for position in self._by_time[:end]:
            del self._by_id[position.key]
        del self._by_time[:end]
        return end

    async def get(self, message_id: str) -> EventRecord | None:
        return self._by_id.get(message_id)

    async def list_events(self, query: EventQuery, *, after: Position | None, limit: int) -> list[StoredEvent]:
        found = (
            StoredEvent(record=self._by_id[position.key], position=position)
            for position in self._by_time
            if after is None or position > after
        )
        return list(islice((event for event in found if query.selects(event.record)), limit))
