"""Writes of the SQLite store: batches of records in a transaction, and which of them were new."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from services.persistence.record import EventRecord
from services.persistence.store import PutOutcome
from services.runtime.group_commit import Group, GroupCommit

# A transaction this large amortises its fsync; larger ones only make their callers wait longer.
_MAX_GROUP_RECORDS = 5000
# Rows per statement. The thread gives up the interpreter's lock at every step of a statement and waits up to 5 ms to
# get it back from a busy event loop: with a statement per row that is 100 times slower than with one per 250.
_STATEMENT_ROWS = 250
_NEWEST = "SELECT coalesce(max(id), 0) FROM events"
_KEEP = "DO NOTHING"
_REPLACE = "DO UPDATE SET payload = excluded.payload"
_PURGE = "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE occurred_at < ? ORDER BY occurred_at LIMIT ?)"

Batch = Sequence[EventRecord]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Replacement:
    records: Batch


@dataclass(frozen=True, kw_only=True, slots=True)
class _Purge:
    before: int
    limit: int


_Write = Batch | _Replacement | _Purge
_Result = list[PutOutcome] | int


class EventWriter:
    """Writes batches on the thread of a `GroupCommit`, which explains `connection`, `on_trouble` and the errors.

    At most `max_waiting_records` wait; more are refused.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        path: Path,
        max_waiting_records: int,
        on_trouble: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._connection = connection
        self._groups: GroupCommit[_Write, _Result] = GroupCommit(
            connection,
            path=path,
            newest=_NEWEST,
            write=self._write,
            on_trouble=on_trouble,
            max_group=_MAX_GROUP_RECORDS,
            max_waiting=max_waiting_records,
        )

    async def put(self, records: Batch) -> list[PutOutcome]:
        """See `EventStore.put`; the answer comes after the fsync of its transaction."""
        outcomes = await self._groups.run(records, weight=len(records))
        assert isinstance(outcomes, list)
        return outcomes

    async def replace(self, records: Batch) -> None:
        """See `EventStore.replace`; the answer comes after the fsync of its transaction."""
        await self._groups.run(_Replacement(records=records), weight=len(records))

    async def purge(self, before: int, *, limit: int) -> int:
        """See `EventStore.purge`."""
        deleted = await self._groups.run(_Purge(before=before, limit=limit), weight=limit)
        assert isinstance(deleted, int)
        return deleted

    async def failed(self) -> None:
        """See `GroupCommit.failed`."""
        await self._groups.failed()

    async def close(self) -> None:
        """See `GroupCommit.close`."""
        await self._groups.close()

    def _write(self, last_id: int, writes: Sequence[_Write]) -> Group[_Result]:
        batches = [write for write in writes if not isinstance(write, _Replacement | _Purge)]
        if len(batches) == len(writes):
            return self._put(last_id, batches)
        results: list[_Result | Exception] = []
        for write in writes:
            written = self._write_one(last_id, write)
            last_id = written.newest
            results += written.results
        return Group(results=results, newest=last_id)

    def _write_one(self, last_id: int, write: _Write) -> Group[_Result]:
        if isinstance(write, _Purge):
            deleted = self._connection.execute(_PURGE, (write.before, write.limit)).rowcount
            return Group(results=[deleted], newest=self._newest())
        if isinstance(write, _Replacement):
            # The last one of an id: a statement must not touch a row twice.
            records = list({record.message_id: record for record in write.records}.values())
            self._insert(last_id + 1, records, _REPLACE)
            return Group(results=[len(records)], newest=self._newest())
        return self._put(last_id, [write])

    def _newest(self) -> int:
        return int(self._connection.execute(_NEWEST).fetchone()[0])

    def _put(self, last_id: int, batches: Sequence[Batch]) -> Group[_Result]:
        """Ids are given here, so the ids that are there afterwards tell which rows are new."""
        records = [record for batch in batches for record in batch]
        first_id = last_id + 1
        before = self._connection.total_changes
        self._insert(first_id, records, _KEEP)
        if self._connection.total_changes - before == len(records):
            results = [[PutOutcome.STORED] * len(batch) for batch in batches]
            return Group(results=results, newest=last_id + len(records))
        rows = self._connection.execute("SELECT id FROM events WHERE id >= ?", (first_id,))
        stored = frozenset(row[0] for row in rows)
        return Group(results=_outcomes(batches, first_id, stored), newest=max(stored, default=last_id))

    def _insert(self, first_id: int, records: Sequence[EventRecord], conflict: str) -> None:
        for start in range(0, len(records), _STATEMENT_ROWS):
            chunk = records[start : start + _STATEMENT_ROWS]
            values: list[int | str | bytes] = []
            for row_id, record in enumerate(chunk, first_id + start):
                values += (row_id, record.message_id, record.program_id, record.occurred_at, record.payload)
            self._connection.execute(_insert_statement(len(chunk), conflict), values)


@lru_cache(maxsize=_STATEMENT_ROWS)
def _insert_statement(rows: int, conflict: str) -> str:
    values = ", ".join(["(?, ?, ?, ?, ?)"] * rows)
    return (
        f"INSERT INTO events (id, message_id, program_id, occurred_at, payload) VALUES {values} "  # noqa: S608 - no data
        f"ON CONFLICT (message_id) {conflict}"
    )


def _outcomes(batches: Sequence[Batch], first_id: int, stored: frozenset[int]) -> list[list[PutOutcome]]:
    answers = []
    for batch in batches:
        ids = range(first_id, first_id + len(batch))
        answers.append([PutOutcome.STORED if row_id in stored else PutOutcome.DUPLICATE for row_id in ids])
        first_id += len(batch)
    return answers
