"""Writes of the SQLite store: batches of records in a transaction, and which of them were new."""

import sqlite3
from collections.abc import Callable, Sequence
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

Batch = Sequence[EventRecord]


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
        self._groups: GroupCommit[Batch, list[PutOutcome]] = GroupCommit(
            connection,
            path=path,
            newest="SELECT coalesce(max(id), 0) FROM events",
            write=self._write,
            on_trouble=on_trouble,
            max_group=_MAX_GROUP_RECORDS,
            max_waiting=max_waiting_records,
        )

    async def put(self, records: Batch) -> list[PutOutcome]:
        """See `EventStore.put`; the answer comes after the fsync of its transaction."""
        return await self._groups.run(records, weight=len(records))

    async def failed(self) -> None:
        """See `GroupCommit.failed`."""
        await self._groups.failed()

    async def close(self) -> None:
        """See `GroupCommit.close`."""
        await self._groups.close()

    def _write(self, last_id: int, batches: Sequence[Batch]) -> Group[list[PutOutcome]]:
        """Ids are given here, so the ids that are there afterwards tell which rows are new."""
        records = [record for batch in batches for record in batch]
        first_id = last_id + 1
        before = self._connection.total_changes
        for start in range(0, len(records), _STATEMENT_ROWS):
            self._insert(first_id + start, records[start : start + _STATEMENT_ROWS])
        if self._connection.total_changes - before == len(records):
            results = [[PutOutcome.STORED] * len(batch) for batch in batches]
            return Group(results=results, newest=last_id + len(records))
        rows = self._connection.execute("SELECT id FROM events WHERE id >= ?", (first_id,))
        stored = frozenset(row[0] for row in rows)
        return Group(results=_outcomes(batches, first_id, stored), newest=max(stored, default=last_id))

    def _insert(self, first_id: int, records: Sequence[EventRecord]) -> None:
        values: list[int | str | bytes] = []
        for row_id, record in enumerate(records, first_id):
            values += (row_id, record.message_id, record.program_id, record.occurred_at, record.payload)
        self._connection.execute(_insert_statement(len(records)), values)


@lru_cache(maxsize=_STATEMENT_ROWS)
def _insert_statement(rows: int) -> str:
    values = ", ".join(["(?, ?, ?, ?, ?)"] * rows)
    return (
        f"INSERT INTO events (id, message_id, program_id, occurred_at, payload) VALUES {values} "  # noqa: S608 - no data
        "ON CONFLICT (message_id) DO NOTHING"
    )


def _outcomes(batches: Sequence[Batch], first_id: int, stored: frozenset[int]) -> list[list[PutOutcome]]:
    answers = []
    for batch in batches:
        ids = range(first_id, first_id + len(batch))
        answers.append([PutOutcome.STORED if row_id in stored else PutOutcome.DUPLICATE for row_id in ids])
        first_id += len(batch)
    return answers
