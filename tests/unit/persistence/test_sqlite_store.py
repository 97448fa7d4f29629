"""What SQLite adds to the contract: durability, one owner, damaged files, a full file."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from services.persistence.sqlite import SqliteEventStore
from services.persistence.store import EventQuery, EventStore, PutOutcome
from services.runtime.errors import FailedPreconditionError, InternalError, ResourceExhaustedError, UnavailableError
from tests.contracts.event_store import PurgingEventStoreContract, ids, record


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "events.sqlite3"


@pytest.fixture
async def sqlite_store(path: Path) -> AsyncIterator[SqliteEventStore]:
    async with SqliteEventStore(path) as store:
        yield store


class TestSqliteEventStore(PurgingEventStoreContract):
    """The contract on a file."""

    @pytest.fixture
    async def store(self, sqlite_store: SqliteEventStore) -> EventStore:
        return sqlite_store


async def test_events_are_there_after_opening_again(path: Path) -> None:
    """Old ids are duplicates, new ids get rows of their own."""
    async with SqliteEventStore(path) as store:
        await store.put([record("a"), record("b")])
    async with SqliteEventStore(path) as store:
        assert await store.put([record("b"), record("c")]) == [PutOutcome.DUPLICATE, PutOutcome.STORED]
        assert ids(await store.list_events(EventQuery(), after=None, limit=9)) == ["a", "b", "c"]


async def test_every_commit_is_synchronised(sqlite_store: SqliteEventStore) -> None:
    """The write connection runs with the write-ahead log and full synchronisation."""
    read = sqlite_store._connection.execute
    assert read("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert read("PRAGMA synchronous").fetchone()[0] == 2  # FULL


async def test_callers_that_wait_share_a_transaction(path: Path) -> None:
    """A hundred puts that wait together are committed by few transactions, all counted."""
    async with SqliteEventStore(path) as store:
        commits: list[str] = []
        store._connection.set_trace_callback(lambda text: commits.append(text) if text == "COMMIT" else None)
        await asyncio.gather(*(store.put([record(f"m-{number}")]) for number in range(100)))
        assert 1 <= len(commits) < 20
        assert len(await store.list_events(EventQuery(), after=None, limit=1000)) == 100


async def test_closing_writes_what_waits(path: Path) -> None:
    """Whoever was let in before the end has an answer, and its rows are there."""
    async with SqliteEventStore(path) as store:
        waiting = [asyncio.ensure_future(store.put([record(f"m-{number}")])) for number in range(50)]
        await asyncio.sleep(0)
    assert [await task for task in waiting] == [[PutOutcome.STORED]] * 50
    with pytest.raises(UnavailableError, match="closing"):
        await store.put([record("late")])


async def test_a_cancelled_caller_leaves_the_store_working(sqlite_store: SqliteEventStore) -> None:
    """Its rows may be there or not; others are served and nothing waits for ever."""
    cancelled = asyncio.ensure_future(sqlite_store.put([record("gone")]))
    await asyncio.sleep(0)
    cancelled.cancel()
    assert await sqlite_store.put([record("served")]) == [PutOutcome.STORED]
    assert sqlite_store._writer._groups._waiting == 0


async def test_more_than_may_wait_is_refused_with_a_pause(path: Path) -> None:
    """A caller over the bound is told to retry; a batch larger than the bound is taken when nothing waits."""
    async with SqliteEventStore(path, max_waiting_records=10) as store:
        large = asyncio.ensure_future(store.put([record(f"large-{number}") for number in range(20)]))
        await asyncio.sleep(0)
        with pytest.raises(ResourceExhaustedError) as refusal:
            await store.put([record("one-more")])
        assert refusal.value.reason == "ERROR_REASON_OVERLOADED"
        assert refusal.value.retry_after
        assert await large == [PutOutcome.STORED] * 20
        assert await store.put([record("one-more")]) == [PutOutcome.STORED]


async def test_a_full_file_refuses_whole_batches_and_keeps_what_is_there(path: Path) -> None:
    """The caller learns that nothing of its batch was stored; reading and small writes go on."""
    troubles: list[str] = []
    async with SqliteEventStore(path, max_bytes=256 * 1024, on_trouble=troubles.append) as store:
        await store.put([record("kept")])
        with pytest.raises(ResourceExhaustedError, match="no room") as refusal:
            await store.put([record(f"m-{number}", payload=bytes(10_000)) for number in range(100)])
        assert refusal.value.reason == "ERROR_REASON_STORAGE_FULL"
        assert refusal.value.metadata == {"path": str(path)}
        assert ids(await store.list_events(EventQuery(), after=None, limit=9)) == ["kept"]
        assert await store.put([record("kept"), record("small")]) == [PutOutcome.DUPLICATE, PutOutcome.STORED]
    assert len(troubles) == 2
    assert "no room" in troubles[0]
    assert troubles[1] == ""


async def test_a_failed_write_breaks_the_store_for_good(sqlite_store: SqliteEventStore) -> None:
    """Nothing is acknowledged after a failure whose effect nobody knows, although writing might work again."""
    sqlite_store._connection.set_authorizer(
        lambda action, *_: sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_INSERT else sqlite3.SQLITE_OK
    )
    with pytest.raises(InternalError, match="failed"):
        await sqlite_store.put([record("a")])
    sqlite_store._connection.set_authorizer(None)
    with pytest.raises(UnavailableError, match="failed"):
        await sqlite_store.put([record("b")])
    with pytest.raises(InternalError):
        await sqlite_store.failed()


async def test_a_second_owner_is_refused(path: Path, sqlite_store: SqliteEventStore) -> None:
    """The message names the file."""
    with pytest.raises(FailedPreconditionError, match="in use by another process"):
        await SqliteEventStore(path).__aenter__()
    assert await sqlite_store.put([record("a")]) == [PutOutcome.STORED]


def write_text(path: Path) -> None:
    path.write_text("these are words, not pages " * 500)


def write_foreign(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE something (x)")
    connection.close()


def raise_schema_version(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def cut_off(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def move_away(path: Path) -> None:
    path.rename(path.with_suffix(".damaged"))


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (write_text, "not a database"),
        (write_foreign, "another application"),
        (raise_schema_version, "schema version 99"),
        (cut_off, "malformed"),
    ],
    ids=["text", "another application", "newer release", "cut off"],
)
async def test_a_file_that_cannot_be_used_is_refused_at_start(
    path: Path, damage: Callable[[Path], None], complaint: str
) -> None:
    """The message names the file and the fault; the next try with a good file works."""
    if damage in (raise_schema_version, cut_off):
        async with SqliteEventStore(path) as store:
            await store.put([record(f"m-{number}", payload=bytes(500)) for number in range(500)])
    else:
        path.parent.mkdir()
    damage(path)
    with pytest.raises(FailedPreconditionError) as refusal:
        await SqliteEventStore(path).__aenter__()
    assert complaint in str(refusal.value)
    assert str(path) in str(refusal.value)
    move_away(path)
    async with SqliteEventStore(path) as store:
        assert await store.put([record("a")]) == [PutOutcome.STORED]


async def test_a_folder_that_cannot_be_made_is_refused_at_start(tmp_path: Path) -> None:
    """A file where a folder should be is named."""
    (tmp_path / "file").write_text("")
    with pytest.raises(FailedPreconditionError, match="cannot be written"):
        await SqliteEventStore(tmp_path / "file" / "events.sqlite3").__aenter__()


async def test_listing_reads_an_index(sqlite_store: SqliteEventStore) -> None:
    """A page costs what it shows: neither a scan of the table nor a sort is in the plan."""
    explain = "EXPLAIN QUERY PLAN SELECT id FROM events WHERE {} (occurred_at, id) > (1, 1) ORDER BY occurred_at, id"
    for condition, index in (("program_id = 'p' AND", "events_by_program"), ("", "events_by_time")):
        plan = " ".join(row[3] for row in sqlite_store._connection.execute(explain.format(condition)))
        assert index in plan
        assert "SCAN" not in plan
        assert "TEMP B-TREE" not in plan


async def test_a_listing_does_not_read_more_than_it_can_answer_with(sqlite_store: SqliteEventStore) -> None:
    """A thousand of the largest events would be 400 MB; reading goes on from the last one."""
    large = [record(f"m-{number:02}", occurred_at=number, payload=bytes(384 * 1024)) for number in range(30)]
    await sqlite_store.put(large)
    found = await sqlite_store.list_events(EventQuery(), after=None, limit=1001)
    assert len(found) == 11
    rest = await sqlite_store.list_events(EventQuery(), after=found[-1].position, limit=1001)
    assert ids(found + rest) == [f"m-{number:02}" for number in range(22)]
