"""A watch tells what exists, then what happens, without a gap, whatever the speed of its reader."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from services.config.memory_store import MemoryStore
from services.config.parameter import Deletion, MetadataChange, Notice, Parameter, ParameterEvent
from services.config.store import Listing
from services.config.watch import Bookmark, WatchHub
from services.runtime.errors import OutOfRangeError, UnavailableError
from tests.contracts.parameter_store import put

NEVER = 3600.0
Watch = AsyncGenerator[ParameterEvent | Bookmark, None]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(kept_revisions=50)


@pytest.fixture
def hub(store: MemoryStore) -> WatchHub:
    return WatchHub(store, recent_events=10, bookmark_seconds=NEVER)


def shown(event: ParameterEvent | Bookmark) -> str:
    """`name@revision`: after `-` a deletion, `~` labels and tags, `!` a notice; a bookmark is `=revision`."""
    match event:
        case Parameter():
            return f"{event.name}@{event.revision}"
        case Deletion():
            return f"-{event.name}@{event.revision}"
        case MetadataChange():
            return f"~{event.name}@{event.revision}"
        case Notice():
            return f"!{event.name}@{event.revision}"
        case Bookmark():
            return f"={event.revision}"


async def take(watch: Watch, count: int) -> list[str]:
    return [shown(await anext(watch)) for _ in range(count)]


async def turns() -> None:
    """Lets the loop do whatever is due."""
    for _ in range(5):
        await asyncio.sleep(0)


async def until_bookmark(watch: Watch) -> list[str]:
    told: list[str] = []
    async for event in watch:
        told.append(shown(event))
        if isinstance(event, Bookmark):
            break
    return told


async def test_a_new_watch_tells_what_exists(store: MemoryStore, hub: WatchHub) -> None:
    """One put per parameter, its newest version, then a bookmark."""
    for name in ("/p/b", "/p/a", "/p/a", "/q", "/p"):
        await put(store, name)
    assert await until_bookmark(hub.follow("/p", 0)) == ["/p@5", "/p/a@3", "/p/b@1", "=5"]


async def test_a_watch_of_an_empty_store_begins_with_a_bookmark(hub: WatchHub) -> None:
    """The watcher knows that it knows everything."""
    assert await take(hub.follow("/", 0), 1) == ["=0"]


async def test_changes_arrive_as_they_happen(store: MemoryStore, hub: WatchHub) -> None:
    """Puts and deletions below the path, in order."""
    watch = hub.follow("/p", 0)
    assert await take(watch, 1) == ["=0"]
    for name in ("/p/a", "/q", "/p/b"):
        await put(store, name)
    await store.delete("/p/a")
    assert await take(watch, 3) == ["/p/a@1", "/p/b@3", "-/p/a@4"]


async def test_a_resumed_watch_begins_after_its_revision(store: MemoryStore, hub: WatchHub) -> None:
    """A bookmark tells when it has caught up."""
    for name in ("/a", "/b", "/a"):
        await put(store, name)
    assert await until_bookmark(hub.follow("/", 1)) == ["/b@2", "/a@3", "=3"]


async def test_resuming_further_back_than_memory_reads_the_store(store: MemoryStore, hub: WatchHub) -> None:
    """Ten events are in memory, thirty are wanted."""
    for _ in range(30):
        await put(store, "/a")
    assert await until_bookmark(hub.follow("/", 5)) == [f"/a@{revision}" for revision in range(6, 31)] + ["=30"]


async def test_a_hub_on_an_old_store_resumes_too(store: MemoryStore) -> None:
    """After a restart nothing is in memory yet."""
    for _ in range(3):
        await put(store, "/a")
    hub = WatchHub(store, bookmark_seconds=NEVER)
    assert await until_bookmark(hub.follow("/", 1)) == ["/a@2", "/a@3", "=3"]


async def test_resuming_from_before_what_is_kept_is_compacted(store: MemoryStore, hub: WatchHub) -> None:
    """The error says from where on events are kept."""
    for _ in range(60):
        await put(store, "/a")
    with pytest.raises(OutOfRangeError, match="up to revision 10 are no longer kept"):
        await anext(hub.follow("/", 9))


async def test_resuming_from_an_unknown_revision_is_compacted(store: MemoryStore, hub: WatchHub) -> None:
    """The store went back behind what the watcher knows."""
    await put(store, "/a")
    with pytest.raises(OutOfRangeError, match="newest revision is 1") as caught:
        await anext(hub.follow("/", 2))
    assert caught.value.reason == "ERROR_REASON_COMPACTED"


async def test_a_slow_watcher_catches_up_from_the_store(store: MemoryStore, hub: WatchHub) -> None:
    """It reads one event, forty happen, and it hears of all forty."""
    watch = hub.follow("/", 0)
    assert await take(watch, 1) == ["=0"]
    for _ in range(41):
        await put(store, "/a")
    assert await take(watch, 41) == [f"/a@{revision}" for revision in range(1, 42)]


async def test_a_watcher_that_falls_behind_the_store_is_told(store: MemoryStore, hub: WatchHub) -> None:
    """It does not silently miss what is no longer kept."""
    watch = hub.follow("/", 0)
    assert await take(watch, 1) == ["=0"]
    for _ in range(60):
        await put(store, "/a")
    with pytest.raises(OutOfRangeError, match="no longer kept"):
        await anext(watch)


async def test_a_watcher_that_reads_nothing_delays_nobody(store: MemoryStore, hub: WatchHub) -> None:
    """Writes return and other watchers hear of them."""
    stuck, reading = hub.follow("/", 0), hub.follow("/", 0)
    assert await take(stuck, 1) == ["=0"]
    assert await take(reading, 1) == ["=0"]
    for revision in range(1, 41):
        await put(store, "/a")
        assert await take(reading, 1) == [f"/a@{revision}"]


async def test_an_idle_watch_gets_bookmarks_when_the_store_moves_on(store: MemoryStore) -> None:
    """Its resume point advances although nothing happens below its path."""
    hub = WatchHub(store, bookmark_seconds=0.001)
    watch = hub.follow("/p", 0)
    assert await take(watch, 1) == ["=0"]
    await put(store, "/q")
    assert await take(watch, 1) == ["=1"]
    await put(store, "/p/a")
    assert await take(watch, 1) == ["/p/a@2"]


async def test_the_time_to_a_bookmark_counts_from_the_last_event(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever the watch was opened."""
    loop, moment = asyncio.get_running_loop(), 1000.0
    monkeypatch.setattr(loop, "time", lambda: moment)
    watch = WatchHub(store, bookmark_seconds=10.0).follow("/p", 0)
    assert await take(watch, 1) == ["=0"]
    waiting = asyncio.ensure_future(anext(watch))
    await turns()
    moment += 6.0
    await put(store, "/p/a")
    assert shown(await waiting) == "/p/a@1"
    waiting = asyncio.ensure_future(anext(watch))
    await turns()
    await put(store, "/q")
    moment += 9.0
    await turns()
    assert not waiting.done()
    moment += 1.0
    await turns()
    assert waiting.done()
    assert shown(await waiting) == "=2"


async def test_a_watch_that_is_left_leaves_no_timer(hub: WatchHub) -> None:
    """Many come and go within the time after which a bookmark is due."""
    scheduled = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
    of_others = list(scheduled)  # the loop is that of all tests
    asleep = hub.follow("/p", 0)
    assert await take(asleep, 1) == ["=0"]
    waiting = asyncio.ensure_future(anext(asleep))
    await turns()
    (timer,) = (each for each in scheduled if each not in of_others)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asleep.aclose()
    assert timer.cancelled()
    assert hub.watchers == 0


async def test_what_is_not_visible_is_as_if_it_lay_elsewhere(store: MemoryStore) -> None:
    """What exists as well as what happens; the resume point advances all the same."""
    await put(store, "/p/hidden")
    await put(store, "/p")
    seen = {"/p/a", "/p/b"}
    watch = WatchHub(store, bookmark_seconds=0.001).follow("/p", 0, visible=seen.__contains__)
    assert await take(watch, 1) == ["=2"]
    await put(store, "/p/a")
    assert await take(watch, 1) == ["/p/a@3"]
    await put(store, "/p/hidden")
    assert await take(watch, 1) == ["=4"]
    seen.remove("/p/a")
    await put(store, "/p/a")
    await put(store, "/p/b")
    assert await take(watch, 1) == ["/p/b@6"]


async def test_no_event_is_lost_between_the_list_and_live_events() -> None:
    """What is written while the list is read is told once, and a deletion is not undone by an older put."""

    class BusyStore(MemoryStore):
        """Others write while a page is read."""

        async def list_below(self, path: str, *, recursive: bool, after: str = "", limit: int) -> Listing:
            await put(self, "/new")
            await self.delete("/gone")
            await self.delete("/again")
            await put(self, "/again")
            return await super().list_below(path, recursive=recursive, after=after, limit=limit)

    busy = BusyStore()
    hub = WatchHub(busy, bookmark_seconds=NEVER)
    for name in ("/again", "/gone", "/stays"):
        await put(busy, name)
    told = await until_bookmark(hub.follow("/", 0))
    assert told == ["/again@7", "/new@4", "/stays@3", "-/gone@5", "=7"]


async def test_a_list_of_many_pages_is_whole(
    store: MemoryStore, hub: WatchHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Page after page, each parameter once."""
    monkeypatch.setattr("services.config.watch._PAGE", 7)
    for number in range(20):
        await put(store, f"/{number:02}")
    assert await until_bookmark(hub.follow("/", 0)) == [f"/{number:02}@{number + 1}" for number in range(20)] + ["=20"]


async def test_a_closed_hub_ends_its_watches(hub: WatchHub) -> None:
    """With an error that tells to come back elsewhere or later."""
    watch = hub.follow("/", 0)
    assert await take(watch, 1) == ["=0"]
    waiting = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    await hub.close()
    with pytest.raises(UnavailableError, match="shutting down"):
        await waiting
    with pytest.raises(UnavailableError):
        await anext(hub.follow("/", 0))


async def test_a_watch_that_ends_is_forgotten(hub: WatchHub) -> None:
    """Nothing is kept for it."""
    watch = hub.follow("/", 0)
    await take(watch, 1)
    assert hub.watchers == 1
    await watch.aclose()
    assert hub.watchers == 0


async def test_a_thousand_watchers_hear_of_every_change(store: MemoryStore, hub: WatchHub) -> None:
    """None misses one."""
    watches = [hub.follow("/", 0) for _ in range(1000)]
    await asyncio.gather(*(take(watch, 1) for watch in watches))
    for _ in range(5):
        await put(store, "/a")
    told = await asyncio.gather(*(take(watch, 5) for watch in watches))
    assert told == [[f"/a@{revision}" for revision in range(1, 6)]] * 1000
