"""Programs in a real Valkey: the contract, and what happens when the server goes away."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from penstock.tracking.v1 import program_pb2
from redis.asyncio import Redis

from services.runtime.errors import InternalError, UnavailableError
from services.tracking.program import Program
from services.tracking.program_store import ProgramStore
from services.tracking.redis_store import RedisProgramStore
from tests.contracts.program_store import ProgramStoreContract, watching
from tests.integration.conftest import describe_valkey, running
from tests.integration.parts import RunningPart


@asynccontextmanager
async def store_on(part: RunningPart, *, prefix: str = "") -> AsyncIterator[RedisProgramStore]:
    url = f"redis://{part.addresses['redis']}/0"
    store = RedisProgramStore(url, prefix=prefix or f"test-{uuid4().hex}", timeout=0.5, heartbeat=0.05)
    yield store
    await store.close()


class TestRedisProgramStore(ProgramStoreContract):
    """The contract on a server."""

    @pytest.fixture
    async def store(self, valkey: RunningPart) -> AsyncIterator[ProgramStore]:
        async with store_on(valkey) as store:
            yield store


async def test_two_processes_share_programs_but_not_those_of_another_prefix(valkey: RunningPart) -> None:
    """Several suites may use one server."""
    async with store_on(valkey, prefix="one") as first, store_on(valkey, prefix="one") as second:
        await first.put(Program(program_id="p"))
        assert set(await second.get_many(["p"])) == {"p"}
        async with store_on(valkey) as other:
            assert await other.get_many(["p"]) == {}
            assert await other.list_after("", 10) == []


async def test_an_emptied_server_is_away_and_its_programs_are_not_absent(valkey: RunningPart) -> None:
    """FLUSHALL, or a server that came back without its data: events must not be refused for it."""
    prefix = f"test-{uuid4().hex}"
    async with store_on(valkey, prefix=prefix) as store, store_on(valkey, prefix=prefix) as other:
        assert await store.get_many(["p"]) == {}  # before the first put nothing is missing
        await other.put(Program(program_id="p"))
        await other.put(Program(program_id="q"))
        assert set(await store.get_many(["p", "nosuch"])) == {"p"}
        async with Redis.from_url(f"redis://{valkey.addresses['redis']}/0") as redis:
            await redis.delete(*[key async for key in redis.scan_iter(f"{prefix}:*")])
        with pytest.raises(UnavailableError, match="was emptied"):
            await store.get_many(["p"])
        await other.put(Program(program_id="p"))
        assert set(await store.get_many(["p", "q"])) == {"p"}


async def test_the_last_program_may_be_deleted(valkey: RunningPart) -> None:
    """Which empties nothing that was not meant."""
    async with store_on(valkey) as store:
        await store.put(Program(program_id="p"))
        await store.get_many(["p"])
        assert await store.delete("p")
        assert await store.get_many(["p"]) == {}


async def test_a_program_that_is_deleted_while_it_is_listed_does_not_end_the_list(valkey: RunningPart) -> None:
    """It is then in the index that was read, and no program any more; those behind it are listed all the same."""
    async with (
        store_on(valkey, prefix="deleting") as store,
        Redis.from_url(f"redis://{valkey.addresses['redis']}/0") as redis,
    ):
        for program_id in "abcde":
            await store.put(Program(program_id=program_id))
        await redis.delete("deleting:program:b", "deleting:program:c")
        assert [program.program_id for program in await store.list_after("", 3)] == ["a", "d", "e"]
        assert [program.program_id for program in await store.list_after("", 9)] == ["a", "d", "e"]
        assert [program.program_id for program in await store.list_after("a", 1)] == ["d"]
        assert await store.list_after("e", 1) == []


async def test_a_killed_server_is_told_and_followed_again(tmp_path: Path) -> None:
    """Programs are still there; changes are heard again without anybody's help."""
    async with running(describe_valkey, tmp_path) as server, store_on(server) as store, watching(store) as witness:
        await store.put(Program(program_id="p"))
        assert await witness.hears() == "p"
        await server.kill()
        assert await witness.hears() == "lost"
        with pytest.raises(UnavailableError, match="the program store is away") as caught:
            await store.get_many(["p"])
        assert caught.value.metadata == {"dependency": "redis"}
        for refused in (store.put(Program(program_id="q")), store.delete("p")):
            with pytest.raises(UnavailableError):
                await refused
        await server.start()
        heard = "lost"
        while heard == "lost":
            heard = await witness.hears()
        assert heard == "connected"
        await store.put(Program(program_id="q"))
        assert await witness.hears() == "q"
        assert set(await store.get_many(["p", "q"])) == {"p", "q"}


async def test_a_server_that_hangs_counts_as_away(tmp_path: Path) -> None:
    """Its connection stays open: only a heartbeat without answer tells."""
    async with running(describe_valkey, tmp_path) as server, store_on(server) as store, watching(store) as witness:
        server.pause()
        try:
            assert await witness.hears() == "lost"
            with pytest.raises(UnavailableError):
                await store.get_many(["p"])
        finally:
            server.resume()
        heard = "lost"
        while heard == "lost":
            heard = await witness.hears()
        assert heard == "connected"


async def test_a_refused_login_is_away_and_its_password_stays_secret(valkey: RunningPart) -> None:
    """The reason names the refusal."""
    store = RedisProgramStore(f"redis://nobody:hunter2@{valkey.addresses['redis']}/0")
    with pytest.raises(UnavailableError) as caught:
        await store.get_many(["p"])
    assert "hunter2" not in str(caught.value)
    assert "username-password pair" in str(caught.value)
    await store.close()


UNREADABLE = (b"\xff\xff", program_pb2.Program(program_id="p", name="x" * 1000, version=7).SerializeToString())


@pytest.mark.parametrize("value", UNREADABLE, ids=["no protobuf", "against the rules"])
async def test_a_value_that_is_no_program_is_an_error_and_not_an_absence(valkey: RunningPart, value: bytes) -> None:
    """Somebody wrote into our keys: the message names the program."""
    async with store_on(valkey) as store:
        await store._redis.set(f"{store._program_key}p", value)
        with pytest.raises(InternalError, match="the stored program p is not a serialized Program"):
            await store.get_many(["p"])


@pytest.mark.parametrize(
    ("value", "version"), [(UNREADABLE[0], 1), (UNREADABLE[1], 8)], ids=["no protobuf", "against the rules"]
)
async def test_a_value_that_is_no_program_is_mended_by_a_put(valkey: RunningPart, value: bytes, version: int) -> None:
    """As the error says; the version goes on where there was one."""
    async with store_on(valkey) as store:
        await store._redis.set(f"{store._program_key}p", value)
        assert (await store.put(Program(program_id="p"))).version == version
        assert set(await store.get_many(["p"])) == {"p"}


async def test_a_foreign_text_on_the_channel_does_not_end_the_watch(valkey: RunningPart) -> None:
    """Bytes that are no id mean nothing, and what comes after them is heard."""
    async with store_on(valkey) as store, watching(store) as witness:
        await store._redis.publish(store._channel, b"\xff\xfe")
        await witness.hears()
        await store.put(Program(program_id="p"))
        assert await witness.hears() == "p"
