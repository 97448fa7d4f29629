"""Whatever happens in whatever order: the SQLite store and the store in memory show the same."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from services.config.memory_store import MemoryStore
from services.config.parameter import Deletion, Parameter, ParameterEvent
from services.config.path import Selector
from services.config.sqlite_store import SqliteStore
from services.config.store import ParameterStore
from services.runtime.errors import PenstockError
from tests.contracts.parameter_store import put

NAMES = ("/a", "/a/b", "/a/b/c", "/a-b", "/b")
PATHS = ("/", *NAMES)
LABELS = ("stable", "beta")

NAME = st.sampled_from(NAMES)
STEP = st.one_of(
    st.tuples(st.just("put"), NAME, st.sampled_from([None, 10.0, 20.0])),
    st.tuples(st.just("delete"), NAME, st.sampled_from([None, 1, 2])),
    st.tuples(st.just("label"), NAME, st.sampled_from([None, 1, 2, 3])),
    st.tuples(st.just("expire"), st.just("/"), st.sampled_from([10.0, 20.0])),
    st.tuples(st.just("reopen"), st.just("/"), st.none()),
)
Step = tuple[str, str, float | None]


async def taken(store: ParameterStore, step: Step, number: int) -> object:
    """What the step answers; the kind of error where it is refused."""
    kind, name, argument = step
    version = None if argument is None else int(argument)
    try:
        match kind:
            case "put":
                return await put(store, name, f"value {number}", expires_at=argument)
            case "delete":
                return await store.delete(name, expected_version=version)
            case "label":
                return await store.label(name, [LABELS[number % len(LABELS)]], version=version)
            case "expire":
                return await store.act_on_due(argument or 0.0)
    except PenstockError as error:
        return type(error), error.message
    return None


async def shown(store: ParameterStore) -> dict[str, object]:
    """Everything that can be seen of a store."""
    state: dict[str, object] = {"revision": store.revision, "next expiry": await store.next_due()}
    for path in PATHS:
        for recursive in (True, False):
            listing = await store.list_below(path, recursive=recursive, limit=2)
            state[f"list {path} {recursive}"] = (tuple(listing.parameters), listing.revision, listing.more)
    for name in NAMES:
        state[f"versions {name}"] = tuple(await store.versions(name, limit=100))
        selectors = [Selector(name=name), Selector(name=name, version=2), Selector(name=name, label=LABELS[0])]
        state[f"get {name}"] = tuple((await store.get(selectors)).parameters)
    return state


async def events(store: ParameterStore, path: str) -> list[ParameterEvent]:
    """All events of a path, read in pages of three."""
    found: list[ParameterEvent] = []
    position = 0
    while position < store.revision:
        page = await store.events(path, after=position, limit=3)
        found += page.events
        position = page.revision
    return found


async def compare(path: Path, steps: Sequence[Step]) -> None:
    memory = MemoryStore()
    store = await SqliteStore(path).__aenter__()
    try:
        for number, step in enumerate(steps):
            if step[0] == "reopen":
                await store.close()
                store = await SqliteStore(path).__aenter__()
            else:
                assert await taken(store, step, number) == await taken(memory, step, number)
        assert await shown(store) == await shown(memory)
        for watched in PATHS:
            assert await events(store, watched) == await events(memory, watched)
    finally:
        await store.close()


@settings(max_examples=60, deadline=None)
@given(st.lists(STEP, max_size=25))
def test_both_stores_answer_the_same(steps: list[Step]) -> None:
    """Answers, errors, lists, versions, labels and events, also over restarts in between."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(compare(Path(folder) / "parameters.sqlite3", steps))


@settings(max_examples=60, deadline=None)
@given(st.lists(STEP, max_size=25))
def test_events_rebuild_the_current_state(steps: list[Step]) -> None:
    """A watcher that applies every event from the first on knows what a reader sees."""

    async def check() -> None:
        store = MemoryStore()
        for number, step in enumerate(steps):
            await taken(store, step, number)
        built: dict[str, Parameter] = {}
        for event in await events(store, "/"):
            if isinstance(event, Parameter):
                built[event.name] = event
            elif isinstance(event, Deletion):
                del built[event.name]
        found = await store.list_below("/", recursive=True, limit=100)
        assert {name: one.revision for name, one in built.items()} == {
            one.name: one.revision for one in found.parameters
        }

    asyncio.run(check())
