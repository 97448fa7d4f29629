"""Events in one SQLite file: write-ahead log, full synchronisation, one writer, a few readers."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import local
from types import TracebackType
from typing import Self

from services.persistence.record import EventRecord
from services.persistence.sqlite_writer import EventWriter
from services.persistence.store import EventQuery, Position, PutOutcome, StoredEvent
from services.runtime.errors import UnavailableError, invalid_field
from services.runtime.sqlite_file import Schema, SqliteFile

_TABLES = """
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    message_id TEXT NOT NULL UNIQUE,
    program_id TEXT NOT NULL,
    occurred_at INTEGER NOT NULL,
    payload BLOB NOT NULL
) STRICT;
CREATE INDEX events_by_program ON events (program_id, occurred_at);
CREATE INDEX events_by_time ON events (occurred_at);
"""
# The index of message ids is written at random places: what does not fit here is read back from disk.
_CACHE_KIBIBYTES = 64 * 1024
# Pages between checkpoints, four times the default: each costs two fsyncs and rewrites pages that soon change again.
_CHECKPOINT_PAGES = 4000
_READERS = 2
# Payload bytes that one listing reads: more than one answer carries, less than a thousand of the largest events.
_READ_BYTES = 4 * 1024 * 1024
_Row = tuple[int, str, str, int, bytes]


def _faults(connection: sqlite3.Connection) -> tuple[()]:
    # Touches both ends of every tree: a file that was cut off is found now, not at the first write.
    connection.execute(
        "SELECT min(id), max(id), (SELECT max(message_id) FROM events), (SELECT max(occurred_at) FROM events), "
        "(SELECT program_id FROM events ORDER BY program_id DESC, occurred_at DESC LIMIT 1) FROM events"
    ).fetchone()
    return ()


_SCHEMA = Schema(application_id=0x50454E53, version=1, tables=_TABLES, faults=_faults)


class SqliteEventStore:
    """`EventStore` on one file, for one process. Enter it on the event loop that uses it; leaving writes what waits.

    `max_bytes` bounds the file (0: the disk does); the write-ahead log beside it adds about 20 MB. `on_trouble` hears
    why writes fail, and the empty text when they succeed again.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int = 0,
        max_waiting_records: int = 100_000,
        on_trouble: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._max_waiting_records = max_waiting_records
        self._on_trouble = on_trouble
        self._thread = local()
        self._read_connections: list[sqlite3.Connection] = []

    async def __aenter__(self) -> Self:
        """Open or create the file.

        Raises:
            FailedPreconditionError: see `SqliteFile`.
        """
        self._file = await asyncio.to_thread(SqliteFile, self._path, _SCHEMA, setting="PENSTOCK_PERSISTENCE_DATABASE")
        self._connection = _tuned(self._file.connect(), self._max_bytes)
        self._writer = EventWriter(
            self._connection,
            path=self._path,
            max_waiting_records=self._max_waiting_records,
            on_trouble=self._on_trouble,
        )
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="sqlite-reader")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._writer.close()
        await asyncio.to_thread(self._readers.shutdown)
        for connection in [*self._read_connections, self._connection]:
            connection.close()
        self._file.close()

    async def failed(self) -> None:
        """Wait until a write fails for another reason than a full disk, and raise it: the process must be restarted."""
        await self._writer.failed()

    async def put(self, records: Sequence[EventRecord]) -> list[PutOutcome]:
        return await self._writer.put(records)

    async def replace(self, records: Sequence[EventRecord]) -> None:
        await self._writer.replace(records)

    async def purge(self, before: int, *, limit: int) -> int:
        return await self._writer.purge(before, limit=limit)

    async def get(self, message_id: str) -> EventRecord | None:
        rows = await self._read(
            "SELECT id, message_id, program_id, occurred_at, payload FROM events WHERE message_id = ?", (message_id,)
        )
        return rows[0].record if rows else None

    async def list_events(self, query: EventQuery, *, after: Position | None, limit: int) -> list[StoredEvent]:
        return await self._read(*_list_statement(query, after, limit))

    async def _read(self, statement: str, values: Sequence[str | int]) -> list[StoredEvent]:
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._rows, statement, values)

    def _rows(self, statement: str, values: Sequence[str | int]) -> list[StoredEvent]:
        connection: sqlite3.Connection | None = getattr(self._thread, "connection", None)
        try:
            if connection is None:
                connection = self._thread.connection = self._file.connect_to_read()
                self._read_connections.append(connection)
            rows = list(_within_bytes(connection.execute(statement, values)))
        except sqlite3.Error as error:
            raise UnavailableError(
                f"reading {self._path} failed: {error}",
                reason="ERROR_REASON_DEPENDENCY_UNAVAILABLE",
                metadata={"dependency": "sqlite"},
            ) from error
        return [_stored_event(*row) for row in rows]


def _tuned(connection: sqlite3.Connection, max_bytes: int) -> sqlite3.Connection:
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIBIBYTES}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    if max_bytes:
        page_size = connection.execute("PRAGMA page_size").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {max(max_bytes // page_size, 1)}")
    return connection


def _within_bytes(rows: Iterator[_Row]) -> Iterator[_Row]:
    """The rows up to the one whose payload goes beyond what is read at once."""
    size = 0
    for row in rows:
        yield row
        size += len(row[-1])
        if size > _READ_BYTES:
            return


def _list_statement(query: EventQuery, after: Position | None, limit: int) -> tuple[str, list[str | int]]:
    conditions: list[str] = []
    values: list[str | int] = []
    for condition, value in (
        ("program_id = ?", query.program_id),
        ("occurred_at >= ?", query.from_time),
        ("occurred_at < ?", query.until_time),
    ):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    if after is not None:
        conditions.append("(occurred_at, id) > (?, ?)")
        values += (after.occurred_at, _row_id(after))
    where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
    statement = (
        f"SELECT id, message_id, program_id, occurred_at, payload FROM events {where}"  # noqa: S608 - constant text only
        "ORDER BY occurred_at, id LIMIT ?"
    )
    return statement, [*values, limit]


def _stored_event(row_id: int, message_id: str, program_id: str, occurred_at: int, payload: bytes) -> StoredEvent:
    record = EventRecord(message_id=message_id, program_id=program_id, occurred_at=occurred_at, payload=payload)
    return StoredEvent(record=record, position=Position(occurred_at=occurred_at, key=str(row_id)))


def _row_id(position: Position) -> int:
    try:
        return int(position.key)
    except ValueError:
        raise invalid_field(
            "page_token", "was issued by another store", reason="ERROR_REASON_INVALID_PAGE_TOKEN"
        ) from None
