"""The database file: opened by one process alone, checked, its tables, and rows as domain values.

`events` is the append-only history, one row per revision. A row with `live` = 1 is a kept version of a parameter; the
others (deletions, versions dropped) only serve watchers that resume, until compaction deletes them up to `floor`.
"""

import fcntl
import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

from services.config.parameter import Deletion, Parameter, ParameterEvent, ParameterType, Sealed
from services.runtime.errors import PenstockError

_APPLICATION_ID = 0x50454E43
_SCHEMA_VERSION = 1

_SCHEMA = f"""
BEGIN;
CREATE TABLE store (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    revision INTEGER NOT NULL,
    floor INTEGER NOT NULL
);
INSERT INTO store VALUES (1, 0, 0);
CREATE TABLE events (
    revision INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    version INTEGER,
    live INTEGER NOT NULL,
    type TEXT,
    value TEXT,
    envelope BLOB,
    modified_at REAL,
    description TEXT,
    allowed_pattern TEXT,
    data_type TEXT,
    expires_at REAL,
    tags TEXT
);
CREATE UNIQUE INDEX versions ON events (name, version) WHERE live = 1;
CREATE INDEX not_live ON events (revision) WHERE live = 0;
CREATE TABLE parameters (
    name TEXT PRIMARY KEY,
    revision INTEGER NOT NULL REFERENCES events,
    expires_at REAL
) WITHOUT ROWID;
CREATE INDEX expiries ON parameters (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE labels (
    name TEXT NOT NULL,
    label TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (name, label)
) WITHOUT ROWID;
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_SCHEMA_VERSION};
COMMIT;
"""  # noqa: S608 - made of constants

EVENT_COLUMNS = (
    "e.revision, e.name, e.version, e.type, e.value, e.envelope, e.modified_at, e.description, e.allowed_pattern, "
    "e.data_type, e.expires_at, e.tags"
)
"""What `event_of` reads."""

VERSION_COLUMNS = (
    f"{EVENT_COLUMNS}, "  # noqa: S608 - made of constants
    "(SELECT json_group_array(label) FROM labels l WHERE l.name = e.name AND l.version = e.version)"
)
"""What `version_of` reads."""

_NO_TAGS: Mapping[str, str] = MappingProxyType({})


class StoreFileError(PenstockError):
    """The database file cannot be used; the message names the file, the fault and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="ERROR_REASON_STORAGE_FULL")


class StoreFile:
    """The database at `path`, held by this process alone until `close`.

    Raises:
        StoreFileError: held by another process, damaged, not ours, from a later version, or the folder is not writable.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(path.with_name(f"{path.name}.lock"), path)
        except OSError as error:
            raise StoreFileError(f"{error.filename or path} cannot be written: {error.strerror}") from error
        try:
            with closing(self.connect()) as connection:
                _prepare(connection, path)
        except sqlite3.Error as error:
            self._lock.close()
            raise StoreFileError(_explained(path, error)) from error
        except StoreFileError:
            self._lock.close()
            raise

    def connect(self) -> sqlite3.Connection:
        """A connection in autocommit mode, for one thread at a time."""
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        # An acknowledged write survives a power failure: every commit is fsynced.
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def close(self) -> None:
        """Lets another process open the file; every connection must be closed by then."""
        self._lock.close()


def event_of(row: tuple[Any, ...]) -> ParameterEvent:
    """The event in a row of EVENT_COLUMNS."""
    return Deletion(name=row[1], revision=row[0]) if row[2] is None else _parameter(row, ())


def version_of(row: tuple[Any, ...]) -> Parameter:
    """The version in a row of VERSION_COLUMNS."""
    return _parameter(row, tuple(sorted(json.loads(row[12]))))


def values_of(parameter: Parameter) -> tuple[Any, ...]:
    """The parameter as EVENT_COLUMNS."""
    value = parameter.value
    return (
        parameter.revision,
        parameter.name,
        parameter.version,
        parameter.type.value,
        value if isinstance(value, str) else None,
        value.envelope if isinstance(value, Sealed) else None,
        parameter.modified_at,
        parameter.description,
        parameter.allowed_pattern,
        parameter.data_type,
        parameter.expires_at,
        json.dumps(dict(parameter.tags)) if parameter.tags else None,
    )


def _parameter(row: tuple[Any, ...], labels: tuple[str, ...]) -> Parameter:
    revision, name, version, kind, value, envelope, modified_at, description, pattern, data_type, expires_at, tags = (
        row[:12]
    )
    return Parameter(
        name=name,
        type=ParameterType(kind),
        value=value if envelope is None else Sealed(envelope),
        version=version,
        revision=revision,
        modified_at=modified_at,
        labels=labels,
        description=description,
        allowed_pattern=pattern,
        data_type=data_type,
        expires_at=expires_at,
        tags=MappingProxyType(json.loads(tags)) if tags else _NO_TAGS,
    )


def _locked(lock_path: Path, path: Path) -> IO[str]:
    """The kernel drops the lock with its process, however that ends."""
    lock = lock_path.open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise StoreFileError(
            f"{path} is in use by another process: stop it, or choose another file with PENSTOCK_CONFIG_DATABASE"
        ) from None
    return lock


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Checks the file, and creates the tables in a new one."""
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        connection.executescript(_SCHEMA)
        return
    if connection.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
        raise StoreFileError(f"{path} is not a parameter database: choose another file with PENSTOCK_CONFIG_DATABASE")
    if found != _SCHEMA_VERSION:
        raise StoreFileError(f"{path} has schema version {found}, this program knows {_SCHEMA_VERSION}: update it")
    faults = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
    newest, last = connection.execute("SELECT revision, (SELECT max(revision) FROM events) FROM store").fetchone()
    if faults == ["ok"] and newest != (last or 0):
        faults = [f"the newest revision is {newest}, the last event has {last}"]
    if faults != ["ok"]:
        raise StoreFileError(_damaged(path, "; ".join(faults)))


def _explained(path: Path, error: sqlite3.Error) -> str:
    if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return _damaged(path, str(error))
    return f"{path} cannot be opened: {error} ({getattr(error, 'sqlite_errorname', 'SQLite')})"


def _damaged(path: Path, fault: str) -> str:
    return (
        f"{path} is damaged ({fault}): restore it from a backup together with its -wal file, "
        "or move both away to start with an empty store"
    )
