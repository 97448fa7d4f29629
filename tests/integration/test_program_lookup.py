"""The cache of programs over a real Valkey and a network that loses what it was to announce."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

import pytest

from services.tracking.lookup import ProgramLookup
from services.tracking.program import Program
from services.tracking.redis_store import RedisProgramStore
from tests.integration.fault_proxy import FaultProxy, fault_proxy
from tests.integration.parts import RunningPart


@asynccontextmanager
async def store_at(address: str, prefix: str) -> AsyncIterator[RedisProgramStore]:
    store = RedisProgramStore(f"redis://{address}/0", prefix=prefix, timeout=0.5, heartbeat=0.05)
    yield store
    await store.close()


class Place:
    """A lookup behind a network of its own, and the store as everybody else reaches it."""

    def __init__(self, lookup: ProgramLookup, elsewhere: RedisProgramStore, network: FaultProxy) -> None:
        self.lookup = lookup
        self.elsewhere = elsewhere
        self.network = network

    async def until_version(self, version: int) -> None:
        """Returns when the lookup finds this version of the program."""
        async with asyncio.timeout(20):
            while await self._version() != version:  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0)

    async def _version(self) -> int | None:
        found = (await self.lookup.find({"p"}))["p"]
        return found.version if isinstance(found, Program) else None

    async def lose_the_announcement_of(self, program: Program) -> None:
        """Puts a program while the lookup's connections are silent, and then breaks them with what was on the way."""
        self.network.fall_silent()
        await self.elsewhere.put(program)
        self.network.cut()
        self.network.speak()


@pytest.fixture
async def place(valkey: RunningPart) -> AsyncIterator[Place]:
    prefix, states = f"lookup-{uuid4().hex}", asyncio.Queue[str]()
    address = valkey.addresses["redis"]
    async with (
        fault_proxy(address) as network,
        store_at(network.address, prefix) as store,
        store_at(address, prefix) as elsewhere,
    ):
        lookup = ProgramLookup(store, on_state=states.put_nowait)
        following = asyncio.create_task(lookup.follow())
        assert await asyncio.wait_for(states.get(), 10) == ""
        yield Place(lookup, elsewhere, network)
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


async def test_no_stale_program_survives_a_missed_announcement(place: Place) -> None:
    """The cache would keep it for ten minutes: it is emptied with the connection that may have missed something."""
    await place.elsewhere.put(Program(program_id="p"))
    for version in range(2, 8):
        await place.until_version(version - 1)
        await place.lose_the_announcement_of(Program(program_id="p", enabled=version % 2 == 0))
        await place.until_version(version)
