"""Events in Apache Cassandra; `cassandra_schema` has the tables, `cassandra_session` the connection.

A message id is claimed by a lightweight transaction among the replicas of the local datacentre: that alone can tell
STORED from DUPLICATE, and costs four round trips between replicas. Two datacentres that are both written to do not ask
each other: the same event sent to both is one row (the same keys), and both answer STORED. The index rows are plain
writes, made before the answer; a duplicate makes them again, so what a dead process left half done is mended when the
event is sent again.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Self

from services.persistence.cassandra_session import CassandraSession
from services.persistence.record import EventRecord
from services.persistence.store import EventQuery, Position, PutOutcome, StoredEvent
from services.persistence.time_index import SHARDS, merged, read_page, shard_of

_MICROSECONDS = 1_000_000
_DAY = 86_400 * _MICROSECONDS
# Beyond every time a Timestamp can have, within a bigint.
_END_OF_TIME = 2**62
_MAX_DAY = 2**31 - 1
_MAX_TTL = 630_720_000  # 20 years: org.apache.cassandra.db.Attributes.MAX_TTL
_KNOWN_DAYS = 100_000


class _Statements(NamedTuple):
    claim: Any
    upsert: Any
    index_program: Any
    index_time: Any
    add_day: Any
    get: Any
    days: Any
    list_program: Any
    list_time: Any


class CassandraEventStore:
    """`EventStore` on the tables of one kind of row. Call `prepare` before use.

    Args:
        session: entered; shared by the stores of a process.
        kind: `events` or `conversions`.
        retention: seconds after an event occurred at which its rows expire; None keeps all.
        now: seconds since 1970 UTC.
    """

    def __init__(
        self,
        session: CassandraSession,
        *,
        kind: str = "events",
        retention: float | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._session = session
        self._kind = kind
        self._retention = retention
        self._now = now
        self._known_days: set[tuple[str, int]] = set()

    async def prepare(self) -> Self:
        """Prepare the statements; every part of them is a constant of this release."""
        kind = f"{self._session.keyspace}.{self._kind}"
        columns = "message_id, program_id, occurred_at, payload"
        slice_ = "(occurred_at, message_id) > (?, ?) AND (occurred_at, message_id) < (?, '') LIMIT ?"
        row = f"INSERT INTO {kind} ({columns}) VALUES (?, ?, ?, ?)"
        texts = _Statements(
            claim=f"{row} IF NOT EXISTS USING TTL ?",
            upsert=f"{row} USING TTL ?",
            index_program=f"INSERT INTO {kind}_by_program (program_id, day, shard, occurred_at, message_id) "
            "VALUES (?, ?, ?, ?, ?) USING TTL ?",
            index_time=f"INSERT INTO {kind}_by_time (day, shard, occurred_at, message_id) VALUES (?, ?, ?, ?) "
            "USING TTL ?",
            add_day=f"INSERT INTO {kind}_days (scope, day) VALUES (?, ?)",
            get=f"SELECT {columns} FROM {kind} WHERE message_id = ?",
            days=f"SELECT day FROM {kind}_days WHERE scope = ? AND day >= ? AND day <= ? LIMIT ?",
            list_program=f"SELECT occurred_at, message_id FROM {kind}_by_program "
            f"WHERE program_id = ? AND day = ? AND shard = ? AND {slice_}",
            list_time=f"SELECT occurred_at, message_id FROM {kind}_by_time WHERE day = ? AND shard = ? AND {slice_}",
        )
        prepared = [await self._session.prepare(text) for text in texts]
        self._statements = _Statements(*prepared)
        for statement in prepared[1:]:  # a claim that is repeated would find its own row
            statement.is_idempotent = True
        return self

    async def put(self, records: Sequence[EventRecord]) -> list[PutOutcome]:
        firsts: dict[str, EventRecord] = {}
        for record in records:
            firsts.setdefault(record.message_id, record)
        answers = await _all([self._put_one(record) for record in firsts.values()])
        outcomes = dict(zip(firsts, answers, strict=True))
        # The first of an id has its outcome, later ones find it there.
        return [outcomes.pop(record.message_id, PutOutcome.DUPLICATE) for record in records]

    async def replace(self, records: Sequence[EventRecord]) -> None:
        lasts = {record.message_id: record for record in records}.values()
        await _all([self._replace_one(record) for record in lasts])

    async def purge(self, before: int, *, limit: int) -> int:  # noqa: ARG002 - see the port
        return 0

    async def get(self, message_id: str) -> EventRecord | None:
        return (await self._rows([message_id])).get(message_id)

    async def list_events(self, query: EventQuery, *, after: Position | None, limit: int) -> list[StoredEvent]:
        return await read_page(partial(self._positions, query), self._rows, after=after, limit=limit)

    async def _put_one(self, record: EventRecord) -> PutOutcome:
        answer = await self._session.run(self._statements.claim, *_values(record), self._ttl(record))
        claimed = answer[0]
        if claimed.applied:
            await self._index(record)
            return PutOutcome.STORED
        await self._index(_record(claimed))
        return PutOutcome.DUPLICATE

    async def _replace_one(self, record: EventRecord) -> None:
        await self._session.run(self._statements.upsert, *_values(record), self._ttl(record))
        await self._index(record)

    async def _index(self, record: EventRecord) -> None:
        """Make a row listable. The day comes first: nothing below an unknown day is ever found."""
        day, shard, ttl = record.occurred_at // _DAY, shard_of(record.message_id), self._ttl(record)
        await asyncio.gather(self._add_day(_scope(record.program_id), day), self._add_day(_scope(None), day))
        place = (day, shard, record.occurred_at, record.message_id, ttl)
        await _all(
            [
                self._session.run(self._statements.index_program, record.program_id, *place),
                self._session.run(self._statements.index_time, *place),
            ]
        )

    async def _add_day(self, scope: str, day: int) -> None:
        if (scope, day) in self._known_days:
            return
        await self._session.run(self._statements.add_day, scope, day)
        if len(self._known_days) >= _KNOWN_DAYS:
            self._known_days.clear()
        self._known_days.add((scope, day))

    def _ttl(self, record: EventRecord) -> int:
        """Seconds; 0 keeps a row for ever."""
        if self._retention is None:
            return 0
        left = math.ceil(record.occurred_at / _MICROSECONDS + self._retention - self._now())
        return min(max(left, 1), _MAX_TTL)

    async def _positions(self, query: EventQuery, after: Position | None, count: int) -> Sequence[Position]:
        """Day after day, from the one of the position."""
        starts = [] if query.from_time is None else [query.from_time]
        starts += [] if after is None else [after.occurred_at]
        day = max(starts) // _DAY if starts else -_MAX_DAY
        last = _MAX_DAY if query.until_time is None else query.until_time // _DAY
        found: list[Position] = []
        while len(found) < count and day <= last:
            next_day = await self._next_day(_scope(query.program_id), day, last)
            if next_day is None:
                break
            shards = [partial(self._read_shard, query, next_day, shard) for shard in range(SHARDS)]
            found += await merged(shards, after=after, limit=count - len(found))
            day = next_day + 1
        return found

    async def _next_day(self, scope: str, first: int, last: int) -> int | None:
        rows = await self._session.run(self._statements.days, scope, first, last, 1)
        return int(rows[0].day) if rows else None

    async def _read_shard(
        self, query: EventQuery, day: int, shard: int, after: Position | None, count: int
    ) -> Sequence[Position]:
        first = Position(occurred_at=-_END_OF_TIME if query.from_time is None else query.from_time, key="")
        begin = first if after is None else max(first, after)
        end = _END_OF_TIME if query.until_time is None else query.until_time
        place = (day, shard, begin.occurred_at, begin.key, end, count)
        if query.program_id is None:
            rows = await self._session.run(self._statements.list_time, *place)
        else:
            rows = await self._session.run(self._statements.list_program, query.program_id, *place)
        return [Position(occurred_at=row.occurred_at, key=row.message_id) for row in rows]

    async def _rows(self, message_ids: Sequence[str]) -> Mapping[str, EventRecord]:
        answers = await _all([self._session.run(self._statements.get, message_id) for message_id in message_ids])
        return {row.message_id: _record(row) for rows in answers for row in rows}


async def _all(calls: Sequence[Awaitable[Any]]) -> list[Any]:
    """The results; the first error only when all have ended, so that nothing is written after the answer."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def _scope(program_id: str | None) -> str:
    """The key of a row of days; an empty one is refused by Cassandra."""
    return "all" if program_id is None else f"program:{program_id}"


def _values(record: EventRecord) -> tuple[Any, ...]:
    return record.message_id, record.program_id, record.occurred_at, record.payload


def _record(row: Any) -> EventRecord:
    return EventRecord(
        message_id=row.message_id, program_id=row.program_id, occurred_at=row.occurred_at, payload=bytes(row.payload)
    )
