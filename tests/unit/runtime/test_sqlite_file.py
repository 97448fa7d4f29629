"""Files of one process: created, checked before they are touched, and held."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from services.runtime.errors import FailedPreconditionError
from services.runtime.sqlite_file import Schema, SqliteFile

SETTING = "PENSTOCK_SAMPLE_DATABASE"


def no_faults(connection: sqlite3.Connection) -> Sequence[str]:
    connection.execute("SELECT word FROM words").fetchall()
    return ()


SCHEMA = Schema(application_id=77, version=3, tables="CREATE TABLE words (word TEXT)", faults=no_faults)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "words.sqlite3"


def opened(path: Path, schema: Schema = SCHEMA) -> SqliteFile:
    return SqliteFile(path, schema, setting=SETTING)


def refused(path: Path, schema: Schema = SCHEMA) -> str:
    with pytest.raises(FailedPreconditionError) as refusal:
        opened(path, schema)
    assert str(path) in refusal.value.message
    return refusal.value.message


def fill(path: Path) -> None:
    file = opened(path)
    with closing(file.connect()) as connection:
        connection.execute("INSERT INTO words VALUES ('kept')")
    file.close()


def test_new_file_has_its_tables_and_marks(path: Path) -> None:
    """Its folder too; commits are synchronised, in a write-ahead log."""
    file = opened(path)
    with closing(file.connect()) as connection:
        marks = ("journal_mode", "synchronous", "application_id", "user_version")
        assert [connection.execute(f"PRAGMA {mark}").fetchone()[0] for mark in marks] == ["wal", 2, 77, 3]
        assert connection.execute("SELECT count(*) FROM words").fetchone() == (0,)
    file.close()


def test_rows_are_there_after_opening_again(path: Path) -> None:
    """The tables are not made a second time."""
    fill(path)
    file = opened(path)
    with closing(file.connect_to_read()) as connection:
        assert connection.execute("SELECT word FROM words").fetchall() == [("kept",)]
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("DELETE FROM words")
    file.close()


def test_file_is_held_until_it_is_closed(path: Path) -> None:
    """The second one learns how to choose another."""
    file = opened(path)
    assert f"is in use by another process: end that one, or choose another file with {SETTING}" in refused(path)
    file.close()
    opened(path).close()


def another_application(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")


def later_version(path: Path) -> None:
    fill(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 4")


def no_database(path: Path) -> None:
    path.write_bytes(b"these are words, not pages " * 100)


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (another_application, f"another application: choose another one with {SETTING}"),
        (later_version, "schema version 4, this release reads 3"),
        (no_database, "is damaged (file is not a database): restore it from a backup"),
    ],
    ids=["another application", "later version", "no database"],
)
def test_file_that_is_not_ours_is_left_as_it_is(path: Path, make: Callable[[Path], None], fault: str) -> None:
    """To the byte, and not held."""
    path.parent.mkdir()
    make(path)
    before = path.read_bytes()
    assert fault in refused(path)
    assert fault in refused(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("error", [None, sqlite3.DatabaseError("a page is missing")], ids=["told", "raised"])
def test_faults_of_the_content_are_named(path: Path, error: Exception | None) -> None:
    """Whether the check tells them or falls over them; afterwards the file is free."""

    def faults(_connection: sqlite3.Connection) -> Sequence[str]:
        if error:
            raise error
        return ["a row too few", "a page is missing"]

    fill(path)
    assert "a page is missing" in refused(path, replace(SCHEMA, faults=faults))
    opened(path).close()


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """With the reason of the system."""
    (tmp_path / "file").write_text("")
    with pytest.raises(FailedPreconditionError, match=r"file.* cannot be written: File exists"):
        opened(tmp_path / "file" / "words.sqlite3")
