"""What every program store must do; a store's test module subclasses it with a `store` fixture."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from services.tracking.program import Program
from services.tracking.program_store import ProgramStore


class Witness:
    """A watcher that keeps what it hears: `connected`, `lost`, or the id of a changed program."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[str] = asyncio.Queue()

    def connected(self) -> None:
        self.heard.put_nowait("connected")

    def changed(self, program_id: str) -> None:
        self.heard.put_nowait(program_id)

    def lost(self, reason: str) -> None:
        assert reason
        self.heard.put_nowait("lost")

    async def hears(self) -> str:
        """The next thing it hears, waited for."""
        return await asyncio.wait_for(self.heard.get(), 10)


@asynccontextmanager
async def watching(store: ProgramStore) -> AsyncIterator[Witness]:
    witness = Witness()
    task = asyncio.create_task(store.watch(witness))
    assert await witness.hears() == "connected"
    yield witness
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


class ProgramStoreContract:
    """The behaviour of `ProgramStore`; subclasses bring the fixture `store`."""

    async def test_a_program_is_read_as_it_was_put(self, store: ProgramStore) -> None:
        """With version 1."""
        program = Program(
            program_id="p",
            name="Spring",
            checksum="c",
            customer_id=7,
            customer_name="Shop",
            enabled=False,
            valid_from=1.5,
            valid_until=2.25,
        )
        stored = await store.put(program)
        assert stored == program.with_version(1)
        found = (await store.get_many(["p"]))["p"]
        assert found.to_proto() == stored.to_proto()

    async def test_each_put_is_a_new_version(self, store: ProgramStore) -> None:
        """Replacing leaves nothing of the old one."""
        await store.put(Program(program_id="p", name="old", customer_name="old"))
        assert (await store.put(Program(program_id="p", name="new"))).version == 2
        found = (await store.get_many(["p"]))["p"]
        assert (found.name, found.customer_name, found.version) == ("new", "", 2)

    async def test_puts_at_the_same_time_all_count(self, store: ProgramStore) -> None:
        """No version is given twice."""
        stored = await asyncio.gather(*(store.put(Program(program_id="p", customer_id=n)) for n in range(5)))
        assert sorted(program.version for program in stored) == [1, 2, 3, 4, 5]

    async def test_absent_programs_are_left_out(self, store: ProgramStore) -> None:
        """Of many ids only those that exist come back."""
        await store.put(Program(program_id="a"))
        await store.put(Program(program_id="c"))
        assert set(await store.get_many(["a", "b", "c", "d"])) == {"a", "c"}

    async def test_a_deleted_program_is_gone(self, store: ProgramStore) -> None:
        """The answer tells whether there was one."""
        await store.put(Program(program_id="p"))
        assert await store.delete("p") is True
        assert await store.delete("p") is False
        assert await store.get_many(["p"]) == {}
        assert await store.list_after("", 10) == []

    async def test_programs_are_listed_in_pages_by_id(self, store: ProgramStore) -> None:
        """In the order of bytes; a page begins after the given id, whether it exists or not."""
        for program_id in ("b", "A", "a", "10", "9", "a.b"):
            await store.put(Program(program_id=program_id))

        async def listed(after: str, limit: int) -> list[str]:
            return [program.program_id for program in await store.list_after(after, limit)]

        assert await listed("", 10) == ["10", "9", "A", "a", "a.b", "b"]
        assert await listed("", 2) == ["10", "9"]
        assert await listed("9", 2) == ["A", "a"]
        assert await listed("a.a", 5) == ["a.b", "b"]
        assert await listed("b", 5) == []

    async def test_watchers_hear_of_puts_and_deletes(self, store: ProgramStore) -> None:
        """All of them, in order."""
        async with watching(store) as first, watching(store) as second:
            await store.put(Program(program_id="p"))
            await store.put(Program(program_id="q"))
            await store.delete("p")
            for witness in (first, second):
                assert [await witness.hears() for _ in range(3)] == ["p", "q", "p"]

    async def test_what_a_watcher_hears_can_be_read(self, store: ProgramStore) -> None:
        """The change is there before its announcement."""
        async with watching(store) as witness:
            await store.put(Program(program_id="p", name="new"))
            await witness.hears()
            assert (await store.get_many(["p"]))["p"].name == "new"
