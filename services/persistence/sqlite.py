"""Events in one SQLite file: write-ahead log, full synchronisation, one writer, a few readers."""

import asyncio
import fcntl
import os
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
from services.runtime.errors import FailedPreconditionError, UnavailableError

_APPLICATION_ID = 0x50454E53  # "PENS": tells our files from other SQLite files
_SCHEMA_VERSION = 1
_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    message_id TEXT NOT NULL UNIQUE,
    program_id TEXT NOT NULL,
    occurred_at INTEGER NOT NULL,
    payload BLOB NOT NULL
) STRICT;
CREATE INDEX events_by_program ON events (program_id, occurred_at);
CREATE INDEX events_by_time ON events (occurred_at);
PRAGMA application_id = {application_id};
PRAGMA user_version = {version};
COMMIT;
"""
# The index of message ids is written at random places: what does not fit here is read back from disk.
_CACHE_KIBIBYTES = 64 * 1024
# Pages between checkpoints, four times the default: each costs two fsyncs and rewrites pages that soon change again.
_CHECKPOINT_PAGES = 4000
_READERS = 2
# Payload bytes that one listing reads: more than one answer carries, less than a thousand of the largest events.
_READ_BYTES = 4 * 1024 * 1024
_Row = tuple[int, str, str, int, bytes]


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
            FailedPreconditionError: the file is in use, damaged, not ours or not writable; the message says what to do.
        """
        self._lock = _locked(self._path)
        try:
            self._connection = await asyncio.to_thread(_opened, self._path, self._max_bytes)
            self._writer = EventWriter(
                self._connection,
                path=self._path,
                max_waiting_records=self._max_waiting_records,
                on_trouble=self._on_trouble,
            )
        except BaseException:
            os.close(self._lock)
            raise
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="sqlite-reader")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._writer.close()
        await asyncio.to_thread(self._readers.shutdown)
        for connection in [*self._read_connections, self._connection]:
            connection.close()
        os.close(self._lock)

    async def failed(self) -> None:
        """Wait until a write fails for another reason than a full disk, and raise it: the process must be restarted."""
        await self._writer.failed()

    async def put(self, records: Sequence[EventRecord]) -> list[PutOutcome]:
        return await self._writer.put(records)

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
                connection = self._thread.connection = _connected(f"{self._path.absolute().as_uri()}?mode=ro")
                self._read_connections.append(connection)
            rows = list(_within_bytes(connection.execute(statement, values)))
        except sqlite3.Error as error:
            raise UnavailableError(
                f"reading {self._path} failed: {error}",
                reason="ERROR_REASON_DEPENDENCY_UNAVAILABLE",
                metadata={"dependency": "sqlite"},
            ) from error
        return [_stored_event(*row) for row in rows]


def _within_bytes(rows: Iterator[_Row]) -> Iterator[_Row]:
    """The rows up to the one whose payload goes beyond what is read at once."""
    size = 0
    for row in rows:
        yield row
        size += len(row[-1])
        if size > _READ_BYTES:
            return


def _locked(path: Path) -> int:
    """A descriptor that holds the lock of the file: ids are given by one writer, a second one would collide with it."""
    lock_path = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(path, f"cannot be used: {error.strerror} ({error.filename})") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise _unusable(path, "is in use by another process: end that one or choose another file") from None
    return descriptor


def _opened(path: Path, max_bytes: int) -> sqlite3.Connection:
    """The write connection of a file that is ours and readable at both ends of its table."""
    try:
        connection = _connected(path.absolute().as_uri())
    except sqlite3.Error as error:
        raise _unusable(path, f"cannot be opened: {error}") from error
    try:
        _prepare(connection, path, max_bytes)
    except sqlite3.Error as error:
        connection.close()
        raise _unusable(
            path,
            f"cannot be used: {error}. Restore it from a backup, or move it and its -wal and -shm away to start anew",
        ) from error
    except FailedPreconditionError:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, max_bytes: int) -> None:
    is_new = not connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
    if not is_new:
        _check_ours(connection, path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIBIBYTES}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    if max_bytes:
        page_size = connection.execute("PRAGMA page_size").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {max(max_bytes // page_size, 1)}")
    if is_new:
        connection.executescript(_SCHEMA.format(application_id=_APPLICATION_ID, version=_SCHEMA_VERSION))
    # Touches both ends of every tree: a file that was cut off is found now, not at the first write.
    connection.execute(
        "SELECT min(id), max(id), (SELECT max(message_id) FROM events), (SELECT max(occurred_at) FROM events), "
        "(SELECT program_id FROM events ORDER BY program_id DESC, occurred_at DESC LIMIT 1) FROM events"
    ).fetchone()


def _check_ours(connection: sqlite3.Connection, path: Path) -> None:
    if connection.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
        raise _unusable(path, "is an SQLite file of another application: choose another file")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != _SCHEMA_VERSION:
        raise _unusable(
            path, f"has schema version {version}, this release reads {_SCHEMA_VERSION}: use the right release"
        )


def _connected(uri: str) -> sqlite3.Connection:
    # Autocommit: transactions are begun and ended where one is wanted.
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)


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
        values += (after.occurred_at, after.ordinal)
    where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
    statement = (
        f"SELECT id, message_id, program_id, occurred_at, payload FROM events {where}"  # noqa: S608 - constant text only
        "ORDER BY occurred_at, id LIMIT ?"
    )
    return statement, [*values, limit]


def _stored_event(row_id: int, message_id: str, program_id: str, occurred_at: int, payload: bytes) -> StoredEvent:
    record = EventRecord(message_id=message_id, program_id=program_id, occurred_at=occurred_at, payload=payload)
    return StoredEvent(record=record, position=Position(occurred_at=occurred_at, ordinal=row_id))


def _unusable(path: Path, what: str) -> FailedPreconditionError:
    return FailedPreconditionError(
        f"the event store {path} {what}", reason="ERROR_REASON_STORAGE_FULL", metadata={"path": str(path)}
    )
