"""Online backup of the database file and its restore; run by `penstock config`, never by the service.

A restored store goes on with revisions no watcher has seen: whoever resumes from before hears COMPACTED and reads anew,
instead of taking the new revisions for those it knows.
"""

import os
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from services.config.crypto import key_id_in
from services.config.sqlite_schema import SCHEMA
from services.runtime.errors import FailedPreconditionError
from services.runtime.sqlite_file import locked

_SETTING = "PENSTOCK_CONFIG_DATABASE"
_REVISIONS_SKIPPED = 1_000_000
"""More than were written since the backup, unless the damaged file tells how many they were."""


def save(database: Path, backup: Path) -> int:
    """Copies a database, which may be in use, to a file that must not exist; answers the revision in the copy.

    Raises:
        FailedPreconditionError: the database is not there or damaged, or the backup exists.
    """
    if backup.exists():
        raise _refused(f"{backup} exists: choose another name, a backup replaces nothing")
    if not database.exists():
        raise _refused(f"{database} does not exist: --database names the file of the service")
    partial = backup.with_name(f"{backup.name}.partial")
    partial.unlink(missing_ok=True)
    backup.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Readers of a write-ahead log hinder no writer, and what VACUUM INTO copies is one revision.
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("VACUUM INTO ?", (str(partial),))
        revision = _checked(partial)
    except (sqlite3.Error, FailedPreconditionError) as error:
        partial.unlink(missing_ok=True)
        raise _refused(f"{database} cannot be backed up: {error}") from error
    _synced(partial)
    partial.rename(backup)
    return revision


def restore(backup: Path, database: Path) -> tuple[int, Path | None]:
    """Puts a backup in the place of a database that no process uses.

    Answers the revision it goes on after, and where the former file lies now; None when there was none.

    Raises:
        FailedPreconditionError: the backup is damaged or not there, or a process uses the database.
    """
    if not backup.exists():
        raise _refused(f"{backup} does not exist")
    partial = database.with_name(f"{database.name}.restoring")
    database.parent.mkdir(parents=True, exist_ok=True)
    with closing(locked(database, _SETTING)):
        shutil.copyfile(backup, partial)
        revision = max(_checked(partial) + _REVISIONS_SKIPPED, _newest_in(database))
        _go_on_after(partial, revision)
        _synced(partial)
        former = _moved_aside(database)
        partial.rename(database)
    return revision, former


def keys_in_use(database: Path) -> set[bytes]:
    """The ids of keys under which secrets of a database lie, those that only resuming watchers see included.

    Raises:
        FailedPreconditionError: it is not there or damaged.
    """
    if not database.exists():
        raise _refused(f"{database} does not exist: --database names the file of the service")
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT envelope FROM events WHERE envelope IS NOT NULL")
            return {key_id_in(row[0]) for row in rows}
    except (sqlite3.Error, IndexError) as error:
        raise _refused(f"{database} cannot be read: {error}") from error


def _checked(path: Path) -> int:
    """The newest revision of a file that is whole."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            if connection.execute("PRAGMA application_id").fetchone()[0] != SCHEMA.application_id:
                raise _refused(f"{path} is no backup of parameters")
            if faults := SCHEMA.faults(connection):
                raise _refused(f"{path} is damaged: {'; '.join(faults)}")
            return int(connection.execute("SELECT revision FROM store").fetchone()[0])
    except sqlite3.Error as error:
        raise _refused(f"{path} is damaged: {error}") from error


def _newest_in(database: Path) -> int:
    """The revision a file says it has reached, however damaged; 0 when it says nothing."""
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT revision FROM store").fetchone()[0])
    except (sqlite3.Error, TypeError):
        return 0


def _go_on_after(path: Path, revision: int) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        # The row marks the revision as used. Watchers never read it: the floor is not below it.
        connection.execute("INSERT INTO events (revision, name, live) VALUES (?, '', 0)", (revision,))
        connection.execute("UPDATE store SET revision = ?, floor = ?", (revision, revision))


def _moved_aside(database: Path) -> Path | None:
    former: Path | None = None
    suffix = time.strftime("before-restore-%Y%m%dT%H%M%S")
    for ending in ("", "-wal", "-shm"):
        file = database.with_name(f"{database.name}{ending}")
        if file.exists():
            moved = file.with_name(f"{file.name}.{suffix}")
            file.rename(moved)
            former = former or moved
    return former


def _synced(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _refused(message: str) -> FailedPreconditionError:
    return FailedPreconditionError(message, reason="ERROR_REASON_DEPENDENCY_UNAVAILABLE")
