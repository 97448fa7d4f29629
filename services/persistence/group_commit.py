"""The one thread that writes: all that waits goes into one transaction, so that one fsync serves many callers."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

from services.persistence.record import EventRecord
from services.persistence.store import PutOutcome
from services.runtime.errors import InternalError, PenstockError, ResourceExhaustedError, UnavailableError

# A transaction this large amortises its fsync; larger ones only make their callers wait longer.
_GROUP_RECORDS = 5000
# Rows per statement. The thread gives up the interpreter's lock at every step of a statement and waits up to 5 ms to
# get it back from a busy event loop: with a statement per row that is 100 times slower than with one per 250.
_STATEMENT_ROWS = 250
_RETRY_AFTER_FULL_SECONDS = 5.0
_RETRY_AFTER_OVERLOAD_SECONDS = 0.5
# unixShmMap() answers with IOERR_SHMSIZE where write-ahead pages answer with FULL.
_FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})


@dataclass(frozen=True, kw_only=True, slots=True)
class _Batch:
    records: Sequence[EventRecord]
    written: asyncio.Future[list[PutOutcome]]


class GroupCommitWriter:
    """Writes records on a thread of its own. Construct it, and call `put` and `close`, on one event loop.

    `connection` is in autocommit mode and belongs to the writer until `close` has returned. At most
    `max_waiting_records` wait; more are refused. `on_trouble` hears why writes fail, and the empty text when they
    succeed again.

    A write that fails for any reason but a full disk breaks the writer for good: after a failed fsync nobody knows what
    the page cache still holds, so acknowledging anything more would be a lie.
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
        self._path = path
        self._max_waiting_records = max_waiting_records
        self._waiting_records = 0
        self._queue: SimpleQueue[_Batch | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._refusal: PenstockError | None = None
        self._on_trouble = on_trouble
        self._trouble = ""
        self._next_id = _last_id(connection) + 1
        self.broken: asyncio.Future[PenstockError] = self._loop.create_future()
        self._thread = Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    async def put(self, records: Sequence[EventRecord]) -> list[PutOutcome]:
        """See `EventStore.put`; the answer comes after the fsync of its transaction."""
        if self._refusal:
            raise self._refusal
        # A batch larger than the bound is taken when nothing else waits: it could never get in otherwise.
        if self._waiting_records and self._waiting_records + len(records) > self._max_waiting_records:
            raise ResourceExhaustedError(
                f"{self._waiting_records} events wait to be written, at most {self._max_waiting_records} may: retry",
                retry_after=_RETRY_AFTER_OVERLOAD_SECONDS,
                reason="ERROR_REASON_OVERLOADED",
            )
        batch = _Batch(records=records, written=self._loop.create_future())
        self._waiting_records += len(records)
        self._queue.put(batch)
        return await batch.written

    async def close(self) -> None:
        """Write what waits, refuse the rest, end the thread."""
        if not self._refusal:
            self._refusal = UnavailableError("the event store is closing: retry", reason="ERROR_REASON_DRAINING")
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        closing = False
        while not closing:
            batches, closing = self._next_group()
            if not batches:
                continue
            try:
                outcomes = self._refused_or_written(batches)
            except PenstockError as error:
                self._loop.call_soon_threadsafe(self._refuse, batches, error)
            else:
                self._loop.call_soon_threadsafe(self._answer, batches, outcomes)

    def _next_group(self) -> tuple[list[_Batch], bool]:
        """Everything that waits, up to the size of a group; the flag tells that the writer is to end after it."""
        first = self._queue.get()
        if first is None:
            return [], True
        group, count = [first], len(first.records)
        while count < _GROUP_RECORDS:
            try:
                batch = self._queue.get_nowait()
            except Empty:
                break
            if batch is None:
                return group, True
            group.append(batch)
            count += len(batch.records)
        return group, False

    def _refused_or_written(self, batches: Sequence[_Batch]) -> list[list[PutOutcome]]:
        if self.broken.done():
            raise self.broken.result()
        try:
            return self._write(batches)
        except Exception as error:
            with suppress(sqlite3.Error):  # SQLite has rolled back by itself after some errors
                self._connection.rollback()
            raise self._explained(error) from error

    def _write(self, batches: Sequence[_Batch]) -> list[list[PutOutcome]]:
        """One transaction. Ids are given here, so the ids that are there afterwards tell which rows are new."""
        records = [record for batch in batches for record in batch.records]
        first_id = self._next_id
        before = self._connection.total_changes
        self._connection.execute("BEGIN IMMEDIATE")
        for start in range(0, len(records), _STATEMENT_ROWS):
            self._insert(first_id + start, records[start : start + _STATEMENT_ROWS])
        stored: frozenset[int] | None = None  # all of them
        if self._connection.total_changes - before < len(records):
            rows = self._connection.execute("SELECT id FROM events WHERE id >= ?", (first_id,))
            stored = frozenset(row[0] for row in rows)
        self._connection.execute("COMMIT")
        self._next_id = first_id + len(records)
        return _outcomes(batches, first_id, stored)

    def _insert(self, first_id: int, records: Sequence[EventRecord]) -> None:
        values: list[int | str | bytes] = []
        for row_id, record in enumerate(records, first_id):
            values += (row_id, record.message_id, record.program_id, record.occurred_at, record.payload)
        self._connection.execute(_insert_statement(len(records)), values)

    def _explained(self, error: Exception) -> PenstockError:
        if getattr(error, "sqlite_errorcode", None) in _FULL:
            return ResourceExhaustedError(
                f"cannot store events, {self._path} has no room to grow ({error}): free disk space or raise its limit",
                retry_after=_RETRY_AFTER_FULL_SECONDS,
                reason="ERROR_REASON_STORAGE_FULL",
                metadata={"path": str(self._path)},
            )
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        return InternalError(f"writing to {self._path} failed: {error} ({name})")

    def _answer(self, batches: Sequence[_Batch], outcomes: Sequence[list[PutOutcome]]) -> None:
        self._tell("")
        for batch, answer in zip(batches, outcomes, strict=True):
            self._waiting_records -= len(batch.records)
            if not batch.written.done():  # else the caller was cancelled meanwhile
                batch.written.set_result(answer)

    def _refuse(self, batches: Sequence[_Batch], error: PenstockError) -> None:
        self._tell(error.message)
        if isinstance(error, InternalError) and not self.broken.done():
            self._refusal = UnavailableError(error.message, reason="ERROR_REASON_DEPENDENCY_UNAVAILABLE")
            self.broken.set_result(error)
        for batch in batches:
            self._waiting_records -= len(batch.records)
            if not batch.written.done():
                batch.written.set_exception(error)

    def _tell(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            self._on_trouble(trouble)


def _last_id(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()[0])


@lru_cache(maxsize=_STATEMENT_ROWS)
def _insert_statement(rows: int) -> str:
    values = ", ".join(["(?, ?, ?, ?, ?)"] * rows)
    return (
        f"INSERT INTO events (id, message_id, program_id, occurred_at, payload) VALUES {values} "  # noqa: S608 - no data
        "ON CONFLICT (message_id) DO NOTHING"
    )


def _outcomes(batches: Sequence[_Batch], first_id: int, stored: frozenset[int] | None) -> list[list[PutOutcome]]:
    if stored is None:
        return [[PutOutcome.STORED] * len(batch.records) for batch in batches]
    answers = []
    for batch in batches:
        ids = range(first_id, first_id + len(batch.records))
        answers.append([PutOutcome.STORED if row_id in stored else PutOutcome.DUPLICATE for row_id in ids])
        first_id += len(batch.records)
    return answers
