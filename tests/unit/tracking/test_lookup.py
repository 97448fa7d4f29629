"""The cache of programs: what it asks for, what it keeps, and what it never keeps."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest

from services.runtime.errors import InternalError, UnavailableError
from services.tracking.lookup import Finding, ProgramLookup, Unknown
from services.tracking.program import Program
from services.tracking.program_store import MemoryProgramStore


class SlowStore(MemoryProgramStore):
    """Reads wait, after having read, until `gate` opens."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()

    async def get_many(self, program_ids: Sequence[str]) -> Mapping[str, Program]:
        found = await super().get_many(program_ids)
        await self.gate.wait()
        return found


class Clock:
    """Time that only the test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def store() -> SlowStore:
    return SlowStore()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def states() -> list[str]:
    return []


@pytest.fixture
async def lookup(store: SlowStore, clock: Clock, states: list[str]) -> AsyncIterator[ProgramLookup]:
    lookup = ProgramLookup(
        store, size=3, seconds=600, absent_seconds=5, pause_seconds=1, now=clock, on_state=states.append
    )
    following = asyncio.create_task(lookup.follow())
    await turns()
    yield lookup
    following.cancel()


async def turns(count: int = 5) -> None:
    """Lets other tasks run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def find(lookup: ProgramLookup, program_id: str) -> Finding:
    return (await lookup.find({program_id}))[program_id]


async def test_a_known_program_is_asked_for_once(lookup: ProgramLookup, store: SlowStore) -> None:
    """The second time it comes from memory."""
    stored = await store.put(Program(program_id="p"))
    assert await find(lookup, "p") == stored
    assert await find(lookup, "p") == stored
    assert store.reads == [("p",)]


async def test_a_batch_costs_one_round_trip(lookup: ProgramLookup, store: SlowStore) -> None:
    """Whatever is missing is asked for together."""
    await store.put(Program(program_id="a"))
    found = await lookup.find({"a", "b"})
    assert found["b"] is Unknown.ABSENT
    assert [set(read) for read in store.reads] == [{"a", "b"}]


async def test_a_program_is_asked_for_again_when_its_time_is_up(
    lookup: ProgramLookup, store: SlowStore, clock: Clock
) -> None:
    """Ten minutes, to the second."""
    await store.put(Program(program_id="p"))
    await find(lookup, "p")
    clock.seconds = 599.9
    await find(lookup, "p")
    assert len(store.reads) == 1
    clock.seconds = 600.0
    await find(lookup, "p")
    assert len(store.reads) == 2


async def test_an_absent_program_is_asked_for_once_in_a_while(
    lookup: ProgramLookup, store: SlowStore, clock: Clock
) -> None:
    """A flood of events for an unknown id does not become a flood of reads."""
    for _ in range(100):
        assert await find(lookup, "nosuch") is Unknown.ABSENT
    assert len(store.reads) == 1
    clock.seconds = 5.0
    await find(lookup, "nosuch")
    assert len(store.reads) == 2


async def test_the_least_recently_used_program_goes_first(lookup: ProgramLookup, store: SlowStore) -> None:
    """Of three places the one not touched is given up."""
    for program_id in "abcd":
        await store.put(Program(program_id=program_id))
    for program_id in ("a", "b", "c", "a", "d"):
        await find(lookup, program_id)
    store.reads.clear()
    await lookup.find({"a", "c", "d"})
    assert store.reads == []
    await find(lookup, "b")
    assert store.reads == [("b",)]


async def test_tasks_that_want_the_same_program_share_one_read(lookup: ProgramLookup, store: SlowStore) -> None:
    """An expired hot key costs one read, not one per request."""
    await store.put(Program(program_id="p"))
    store.gate.clear()
    waiting = [asyncio.create_task(find(lookup, "p")) for _ in range(50)]
    await turns()
    store.gate.set()
    assert {await task for task in waiting} == {Program(program_id="p", version=1)}
    assert store.reads == [("p",)]


async def test_a_waiter_that_gives_up_does_not_take_the_read_along(lookup: ProgramLookup, store: SlowStore) -> None:
    """The others still get their answer."""
    await store.put(Program(program_id="p"))
    store.gate.clear()
    impatient, patient = asyncio.create_task(find(lookup, "p")), asyncio.create_task(find(lookup, "p"))
    await turns()
    impatient.cancel()
    await turns()
    store.gate.set()
    assert await patient == Program(program_id="p", version=1)


async def test_a_pushed_change_is_seen_at_once(lookup: ProgramLookup, store: SlowStore) -> None:
    """A program switched off is not served from memory."""
    await store.put(Program(program_id="p", enabled=True))
    await find(lookup, "p")
    await store.put(Program(program_id="p", enabled=False))
    assert await find(lookup, "p") == Program(program_id="p", enabled=False, version=2)


async def test_a_created_program_ends_its_known_absence(lookup: ProgramLookup, store: SlowStore) -> None:
    """The push reaches the absentees too."""
    assert await find(lookup, "p") is Unknown.ABSENT
    await store.put(Program(program_id="p"))
    assert isinstance(await find(lookup, "p"), Program)


async def test_what_was_read_before_a_change_is_not_kept_after_it(lookup: ProgramLookup, store: SlowStore) -> None:
    """The fill race: a slow read must not overwrite the push that overtook it."""
    await store.put(Program(program_id="p", enabled=True))
    store.gate.clear()
    slow = asyncio.create_task(find(lookup, "p"))
    await turns()
    await store.put(Program(program_id="p", enabled=False))
    store.gate.set()
    await slow
    assert await find(lookup, "p") == Program(program_id="p", enabled=False, version=2)


async def test_a_reader_after_a_change_does_not_join_a_read_before_it(lookup: ProgramLookup, store: SlowStore) -> None:
    """It starts a read of its own."""
    await store.put(Program(program_id="p", enabled=True))
    store.gate.clear()
    before = asyncio.create_task(find(lookup, "p"))
    await turns()
    await store.put(Program(program_id="p", enabled=False))
    after = asyncio.create_task(find(lookup, "p"))
    await turns()
    store.gate.set()
    await before
    assert await after == Program(program_id="p", enabled=False, version=2)


async def test_an_unreachable_store_never_makes_a_program_unknown(
    lookup: ProgramLookup, store: SlowStore, states: list[str]
) -> None:
    """UNVERIFIED while it is away, also for what was known; the right answer as soon as it is back."""
    stored = await store.put(Program(program_id="p"))
    await find(lookup, "p")
    async with store.outage():
        assert await find(lookup, "p") is Unknown.UNVERIFIED
        assert await find(lookup, "other") is Unknown.UNVERIFIED
    assert await find(lookup, "p") == stored
    assert await find(lookup, "other") is Unknown.ABSENT
    assert states[-1] == ""
    assert "the memory store is away" in states


async def test_no_stale_entry_survives_a_lost_connection(lookup: ProgramLookup, store: SlowStore) -> None:
    """A change that nobody told is seen after the connection is back."""
    await store.put(Program(program_id="p", enabled=True))
    await find(lookup, "p")
    lookup.lost("cut")
    store._programs["p"] = Program(program_id="p", enabled=False, version=2)
    lookup.connected()
    assert await find(lookup, "p") == Program(program_id="p", enabled=False, version=2)


async def test_nothing_is_kept_while_changes_are_not_told(lookup: ProgramLookup, store: SlowStore) -> None:
    """Each look goes to the store: an entry could become stale unnoticed."""
    await store.put(Program(program_id="p"))
    lookup.lost("cut")
    await find(lookup, "p")
    await find(lookup, "p")
    assert len(store.reads) == 2


async def test_a_store_that_failed_is_left_alone_for_a_moment(clock: Clock) -> None:
    """Calls do not queue up behind time-outs; the state is told when it works again."""
    states: list[str] = []
    failing = FailingStore()
    lookup = ProgramLookup(failing, pause_seconds=1, now=clock, on_state=states.append)
    lookup.connected()
    for _ in range(10):
        assert await find(lookup, "p") is Unknown.UNVERIFIED
    assert failing.attempts == 1
    clock.seconds = 1.0
    failing.works = True
    assert await find(lookup, "p") is Unknown.ABSENT
    assert states == ["", "time-out", ""]


class FailingStore(MemoryProgramStore):
    """Fails each read until it `works`."""

    def __init__(self) -> None:
        super().__init__()
        self.works = False
        self.attempts = 0

    async def get_many(self, program_ids: Sequence[str]) -> Mapping[str, Program]:
        self.attempts += 1
        if not self.works:
            raise UnavailableError("time-out")
        return await super().get_many(program_ids)


async def test_an_unreadable_program_harms_no_other(
    lookup: ProgramLookup, store: SlowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its events are UNVERIFIED, so not lost; the others of the same load are found and kept."""
    read = store.get_many

    async def get_many(program_ids: Sequence[str]) -> Mapping[str, Program]:
        if "bad" in program_ids:
            raise InternalError("the stored program bad is not a serialized Program")
        return await read(program_ids)

    monkeypatch.setattr(store, "get_many", get_many)
    good = await store.put(Program(program_id="good"))
    found = await lookup.find({"good", "bad", "none"})
    assert found == {"good": good, "bad": Unknown.UNVERIFIED, "none": Unknown.ABSENT}
    await store.put(Program(program_id="other"))
    assert await find(lookup, "good") == good
