"""An SQLite file of one process: locked, checked before it is touched, write-ahead log, every commit synchronised."""

import fcntl
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from services.runtime.errors import FailedPreconditionError


@dataclass(frozen=True, kw_only=True, slots=True)
class Schema:
    """What files of a kind hold: `application_id` tells them from all others, `tables` are statements for a new one.

    `faults` names what is wrong with the rows of an existing one; an sqlite3.Error it raises counts as such too.
    `upgrades` are statements that make the next version of an older one; `restore` is the command that restores one.
    """

    application_id: int
    version: int
    tables: str
    faults: Callable[[sqlite3.Connection], Sequence[str]]
    upgrades: Mapping[int, str] = field(default_factory=dict)
    restore: str = ""


class SqliteFile:
    """The file at `path`, created where there is none, held by this process alone until `close`.

    `setting` is the variable that chooses another one, for messages.

    Raises:
        FailedPreconditionError: held by another process, damaged, not ours, of another version, or not writable. The
            message names the file and what to do; the file is as it was.
    """

    def __init__(self, path: Path, schema: Schema, *, setting: str) -> None:
        self.path = path
        self._lock = locked(path, setting)
        try:
            with closing(self.connect()) as connection:
                _prepare(connection, path, schema, setting)
        except sqlite3.Error as error:
            self._lock.close()
            raise _unusable(path, _explained(error, schema.restore)) from error
        except BaseException:
            self._lock.close()
            raise

    def connect(self) -> sqlite3.Connection:
        """A connection in autocommit mode, for one thread at a time; what it committed survives a power failure."""
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def connect_to_read(self) -> sqlite3.Connection:
        """The same for reading alone."""
        uri = f"{self.path.absolute().as_uri()}?mode=ro"
        return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)

    def close(self) -> None:
        """Lets another process open the file; every connection must be closed by then."""
        self._lock.close()


def locked(path: Path, setting: str) -> IO[str]:
    """The lock of a file, until it is closed; the kernel drops it with its process, however that ends.

    Raises:
        FailedPreconditionError: another process has it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f"{path.name}.lock").open("a")
    except OSError as error:
        raise _unusable(Path(error.filename or path), f"cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise _unusable(
            path, f"is in use by another process: end that one, or choose another file with {setting}"
        ) from None
    return lock


def _prepare(connection: sqlite3.Connection, path: Path, schema: Schema, setting: str) -> None:
    if not connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone():
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(
            f"BEGIN IMMEDIATE; {schema.tables}; PRAGMA application_id = {schema.application_id}; "
            f"PRAGMA user_version = {schema.version}; COMMIT;"
        )
        return
    if connection.execute("PRAGMA application_id").fetchone()[0] != schema.application_id:
        raise _unusable(path, f"is a file of another application: choose another one with {setting}")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if not all(older in schema.upgrades for older in range(version, schema.version)) or version > schema.version:
        raise _unusable(path, f"has schema version {version}, this release reads {schema.version}: use the right one")
    connection.execute("PRAGMA journal_mode = WAL")
    if faults := schema.faults(connection):
        raise _unusable(path, _damaged("; ".join(faults), schema.restore))
    for older in range(version, schema.version):
        connection.executescript(
            f"BEGIN IMMEDIATE; {schema.upgrades[older]}; PRAGMA user_version = {older + 1}; COMMIT;"
        )


def _explained(error: sqlite3.Error, restore: str) -> str:
    if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return _damaged(str(error), restore)
    return f"cannot be opened: {error} ({getattr(error, 'sqlite_errorname', 'SQLite')})"


def _damaged(fault: str, restore: str) -> str:
    return (
        f"is damaged ({fault}): restore it from a backup{f' ({restore})' if restore else ''}, "
        "or move it and its -wal and -shm away to start with an empty one"
    )


def _unusable(path: Path, what: str) -> FailedPreconditionError:
    return FailedPreconditionError(
        f"{path} {what}", reason="ERROR_REASON_DEPENDENCY_UNAVAILABLE", metadata={"dependency": "sqlite"}
    )
