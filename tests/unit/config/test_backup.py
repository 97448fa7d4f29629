"""Backups are whole, and a restored store never gives a revision that a watcher may have seen."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from services.config.backup import keys_in_use, restore, save
from services.config.parameter import Sealed
from services.config.sqlite_schema import SCHEMA
from services.config.sqlite_store import SqliteStore
from services.runtime.errors import FailedPreconditionError, OutOfRangeError
from tests.contracts.parameter_store import current, put


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "parameters.sqlite3"


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    return tmp_path / "backups" / "monday.sqlite3"


def change(path: Path, edit: Callable[[bytes], bytes]) -> None:
    path.write_bytes(edit(path.read_bytes()))


async def test_a_backup_of_a_store_in_use_holds_what_was_acknowledged(database: Path, backup: Path) -> None:
    """Also what lies in the write-ahead log still; writing goes on meanwhile."""
    async with SqliteStore(database) as store:
        await put(store, "/a", "one")
        assert save(database, backup) == 1
        await put(store, "/a", "two")
        with pytest.raises(FailedPreconditionError, match="a backup replaces nothing"):
            save(database, backup)
        with pytest.raises(FailedPreconditionError, match="in use by another process"):
            restore(backup, database)
        assert [file.name for file in backup.parent.iterdir()] == [backup.name]
    async with SqliteStore(backup) as copy:
        found = await current(copy, "/a")
        assert found is not None
        assert found.value == "one"


async def test_a_restored_store_repeats_no_revision(database: Path, backup: Path) -> None:
    """Watchers of before hear COMPACTED; the damaged file is kept beside it."""
    async with SqliteStore(database) as store:
        await put(store, "/a", "one")
        save(database, backup)
        for _ in range(20):
            await put(store, "/a", "lost")
    change(database, lambda data: data[:5000] + b"\0" * 5000)
    with pytest.raises(FailedPreconditionError, match="penstock config restore BACKUP"):
        await SqliteStore(database).__aenter__()
    revision, former = restore(backup, database)
    assert former is not None
    assert former.exists()
    async with SqliteStore(database) as store:
        found = await current(store, "/a")
        assert found is not None
        assert found.value == "one"
        for seen in (1, 10, 21, 500):
            with pytest.raises(OutOfRangeError):
                await store.events("/", after=seen, limit=1)
        assert (await put(store, "/a")).revision == revision + 1 > 21
        page = await store.events("/", after=revision, limit=9)
        assert [event.name for event in page.events] == ["/a"]
    async with SqliteStore(database) as store:
        assert store.revision == revision + 1


async def test_a_file_that_is_no_backup_is_refused(database: Path, backup: Path) -> None:
    """Whole or not at all: the database stays as it is."""
    async with SqliteStore(database) as store:
        await put(store, "/a", "one")
    save(database, backup)
    for edit in (lambda data: data[:5000], lambda _data: b"no database", lambda _data: b""):
        change(backup, edit)
        with pytest.raises(FailedPreconditionError):
            restore(backup, database)
    with pytest.raises(FailedPreconditionError, match="does not exist"):
        restore(backup.with_name("none"), database)
    with pytest.raises(FailedPreconditionError, match="does not exist"):
        save(database.with_name("none"), backup.with_name("new"))
    async with SqliteStore(database) as store:
        assert await current(store, "/a") is not None


async def test_keys_in_use_are_known(database: Path) -> None:
    """By the ids in the envelopes."""
    async with SqliteStore(database) as store:
        await put(store, "/old", Sealed(b"\x01" + b"k" * 8 + b"x" * 99))
        await put(store, "/new", Sealed(b"\x02\x03new\x00\x01wvalue"))
        assert keys_in_use(database) == {b"k" * 8, b"new"}


async def test_a_file_of_the_first_schema_is_upgraded(database: Path) -> None:
    """With everything in it; it takes what only the later schema knows."""
    async with SqliteStore(database) as store:
        await put(store, "/a", "one", expires_at=99.0)
    with sqlite3.connect(database) as connection:
        connection.executescript("DROP INDEX notices; DROP INDEX tiers;")
        for column in ("json_schema", "tier", "policies", "key_id", "modified_by", "notice", "due_at", "labels"):
            connection.execute(f"ALTER TABLE events DROP COLUMN {column}")
        for column in ("notice_at", "tier"):
            connection.execute(f"ALTER TABLE parameters DROP COLUMN {column}")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    async with SqliteStore(database) as store:
        found = await current(store, "/a")
        assert found is not None
        assert (found.value, found.expires_at, found.policies) == ("one", 99.0, "")
        written = await put(store, "/a", "two", policies="[]")
        assert await current(store, "/a") == written
    assert SCHEMA.version == 3
