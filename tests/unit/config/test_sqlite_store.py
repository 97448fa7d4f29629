"""The SQLite store keeps the contract, survives its end, and refuses files it cannot trust."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from services.config.parameter import KEPT_VERSIONS, Deletion, Parameter, ParameterEvent, Sealed
from services.config.path import Selector
from services.config.sqlite_store import SqliteStore
from services.config.store import ParameterStore
from services.runtime.errors import FailedPreconditionError, InternalError, ResourceExhaustedError, UnavailableError
from tests.contracts.parameter_store import KEPT_REVISIONS, ParameterStoreContract, current, names, put


class TestSqliteStore(ParameterStoreContract):
    """The contract, in a file."""

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[ParameterStore]:
        async with SqliteStore(tmp_path / "parameters.sqlite3", kept_revisions=KEPT_REVISIONS) as store:
            yield store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "parameters.sqlite3"


def change(path: Path, edit: Callable[[bytes], bytes]) -> None:
    """What a failing disk does to a file."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(edit(path.read_bytes() if path.exists() else b""))


async def fill(store: ParameterStore) -> None:
    for number in range(100):
        await put(store, f"/{number}", "x" * 4000)


async def test_everything_is_there_after_opening_again(path: Path) -> None:
    """Versions, labels, events and the revision; the next write goes on from there."""
    async with SqliteStore(path) as store:
        for value in ("one", "two"):
            await put(store, "/a", value)
        await put(store, "/s", Sealed(b"envelope"))
        await store.label("/a", ["stable"], version=1)
        await store.delete("/s")
    async with SqliteStore(path) as store:
        assert store.revision == 5
        found = await store.get([Selector(name="/a", label="stable")])
        assert [one and one.value for one in found.parameters] == ["one"]
        page = await store.events("/", after=4, limit=10)
        assert page.events == [Deletion(name="/s", revision=5)]
        assert (await put(store, "/b")).revision == 6


async def test_a_deletion_at_the_end_keeps_the_revision(path: Path) -> None:
    """The revision of a deleted parameter is never given again."""
    async with SqliteStore(path) as store:
        await put(store, "/a")
        await store.delete("/a")
    async with SqliteStore(path) as store:
        assert (await put(store, "/a")).revision == 3


async def test_compaction_deletes_what_nobody_can_reach(path: Path) -> None:
    """The file holds the kept versions and the kept events, however many writes there were."""
    async with SqliteStore(path, kept_revisions=10) as store:
        for _ in range(KEPT_VERSIONS + 200):
            await put(store, "/a")
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT count(*) FROM events").fetchone()[0]
    connection.close()
    assert rows <= KEPT_VERSIONS + 11


async def test_secrets_are_known_of(path: Path) -> None:
    """Also the ones that were deleted, as long as watchers can resume over them."""
    async with SqliteStore(path) as store:
        assert not await store.holds_secrets()
        await put(store, "/s", Sealed(b"envelope"))
        await store.delete("/s")
        assert await store.holds_secrets()


async def test_a_second_process_is_refused(path: Path) -> None:
    """Its watchers would not hear of the other's writes."""
    async with SqliteStore(path):
        with pytest.raises(FailedPreconditionError, match="in use by another process"):
            await SqliteStore(path).__aenter__()
    async with SqliteStore(path):
        pass


async def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    """With its name and what to do."""
    change(path, lambda _data: b"no database at all" * 100)
    with pytest.raises(FailedPreconditionError, match=f"{path} is damaged .*restore it from a backup"):
        await SqliteStore(path).__aenter__()


async def test_a_torn_file_is_refused(path: Path) -> None:
    """A file that lost its end is found at the start, not at the first read that needs it."""
    async with SqliteStore(path) as store:
        for number in range(200):
            await put(store, f"/{number}", "x" * 1000)
    change(path, lambda data: data[: len(data) // 2])
    with pytest.raises(FailedPreconditionError, match="is damaged"):
        await SqliteStore(path).__aenter__()


async def test_a_file_with_an_overwritten_page_is_refused(path: Path) -> None:
    """Also a page in the middle that the start itself does not need."""
    async with SqliteStore(path) as store:
        for number in range(200):
            await put(store, f"/{number}", "x" * 1000)
    change(path, lambda data: data[: 4096 * 20] + bytes(4096) + data[4096 * 21 :])
    with pytest.raises(FailedPreconditionError, match="is damaged"):
        await SqliteStore(path).__aenter__()


async def test_a_lost_last_event_is_noticed(path: Path) -> None:
    """The revision noted and the last event must agree."""
    async with SqliteStore(path) as store:
        await put(store, "/a")
        await put(store, "/a")
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM events WHERE revision = 2")
    connection.commit()
    connection.close()
    with pytest.raises(FailedPreconditionError, match="newest revision is 2, the last event has 1"):
        await SqliteStore(path).__aenter__()


@pytest.mark.parametrize(
    ("statement", "fault"),
    [("PRAGMA application_id = 7", "another application"), ("PRAGMA user_version = 99", "schema version 99")],
    ids=["another program's", "a later version's"],
)
async def test_a_foreign_file_is_refused(path: Path, statement: str, fault: str) -> None:
    """Nothing is written into a file that is not known."""
    async with SqliteStore(path):
        pass
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.close()
    with pytest.raises(FailedPreconditionError, match=fault):
        await SqliteStore(path).__aenter__()


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """The error says which path, and why."""
    (tmp_path / "file").write_text("")
    with pytest.raises(FailedPreconditionError, match=r"file.* cannot be written"):
        await SqliteStore(tmp_path / "file" / "parameters.sqlite3").__aenter__()


async def test_a_full_file_refuses_writes_and_serves_reads(path: Path) -> None:
    """The refused write leaves nothing behind; with room again writing goes on."""
    troubles: list[str] = []
    async with SqliteStore(path, on_trouble=troubles.append) as store:
        await put(store, "/a", "kept")
        pages = store._writing.execute("PRAGMA page_count").fetchone()[0]
        store._writing.execute(f"PRAGMA max_page_count = {pages + 1}")
        with pytest.raises(ResourceExhaustedError, match="free disk space") as caught:
            await fill(store)
        assert caught.value.reason == "ERROR_REASON_STORAGE_FULL"
        assert caught.value.metadata == {"path": str(path)}
        assert "database or disk is full" in troubles[-1]
        before = store.revision
        assert await current(store, "/a") is not None
        assert len(await names(store, "/")) == before
        store._writing.execute("PRAGMA max_page_count = 100000")
        assert (await put(store, "/b")).revision == before + 1
        assert troubles[-1] == ""


async def test_one_refused_group_fails_all_its_callers(path: Path) -> None:
    """None of those that waited together hears that its write is there."""
    async with SqliteStore(path) as store:
        pages = store._writing.execute("PRAGMA page_count").fetchone()[0]
        store._writing.execute(f"PRAGMA max_page_count = {pages + 1}")
        results = await asyncio.gather(
            *(put(store, f"/{number}", "x" * 4000) for number in range(50)), return_exceptions=True
        )
        written = {result.name for result in results if not isinstance(result, BaseException)}
        assert {type(result) for result in results if isinstance(result, BaseException)} == {ResourceExhaustedError}
        assert set(await names(store, "/")) == written


async def test_an_unexplained_failure_ends_the_store(path: Path) -> None:
    """Nobody knows what is on disk: nothing more is acknowledged, and the process is told to end."""
    async with SqliteStore(path) as store:
        await put(store, "/a")
        store._writing.execute("DROP TABLE labels")
        with pytest.raises(InternalError, match="restart the service"):
            await put(store, "/a")
        with pytest.raises(InternalError):
            await store.failed()
        with pytest.raises(UnavailableError):
            await put(store, "/b")


async def test_a_write_is_answered_after_its_commit(path: Path) -> None:
    """While the commit is under way nobody hears of the write: neither its caller, nor readers, nor listeners."""
    committing, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def hold(statement: str) -> None:
        if statement == "COMMIT":
            loop.call_soon_threadsafe(committing.set)
            go_on.wait()

    async with SqliteStore(path) as store:
        heard: list[ParameterEvent] = []
        store.on_commit(heard.extend)
        store._writing.set_trace_callback(hold)
        writing = asyncio.ensure_future(put(store, "/a"))
        await committing.wait()
        seen = await names(store, "/")  # takes turns of the loop, in which an early answer would come
        state = (seen, list(heard), store.revision, writing.done())
        go_on.set()
        assert state == ([], [], 0, False)
        assert heard == [await writing]


async def test_a_group_that_fails_leaves_nothing_behind(path: Path) -> None:
    """Neither half of a write nor a neighbour that was not acknowledged."""
    fault = "CREATE TRIGGER fault BEFORE INSERT ON parameters WHEN NEW.name = '/bad' BEGIN SELECT RAISE(FAIL, 'x'); END"
    async with SqliteStore(path) as store:
        await put(store, "/a")
        store._writing.execute(fault)
        results = await asyncio.gather(*(put(store, name) for name in ("/good", "/bad")), return_exceptions=True)
        acknowledged = [one.name for one in results if isinstance(one, Parameter)]
        assert isinstance(results[1], InternalError)
    async with SqliteStore(path) as store:
        assert await names(store, "/") == ["/a", *acknowledged]
        assert store.revision == 1 + len(acknowledged)


async def test_a_closed_store_refuses_writes(path: Path) -> None:
    """What waited is committed, what comes after is refused."""
    store = await SqliteStore(path).__aenter__()
    waiting = [asyncio.ensure_future(put(store, f"/{number}")) for number in range(30)]
    await asyncio.sleep(0)
    await store.close()
    assert [(await task).version for task in waiting] == [1] * 30
    with pytest.raises(UnavailableError, match="closing"):
        await put(store, "/late")


async def test_a_caller_that_goes_away_does_not_disturb_the_others(path: Path) -> None:
    """Its write may be there; the writer goes on."""
    async with SqliteStore(path) as store:
        gone = asyncio.ensure_future(put(store, "/gone"))
        await asyncio.sleep(0)
        gone.cancel()
        assert (await put(store, "/a")).version == 1
