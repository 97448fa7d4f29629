"""Three real Cassandra nodes, one of which is killed while events are stored: `make cassandra-cluster`.

Not a part of `make test`: it takes some minutes and 1.5 GB.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.local.supervisor import Supervisor
from services.persistence.cassandra import CassandraEventStore
from services.persistence.cassandra_session import CassandraSession, CassandraTarget
from services.persistence.store import EventQuery, EventStore, Position
from services.runtime.errors import UnavailableError
from tests.contracts.event_store import record
from tests.integration.cassandra_harness import administrator, describe, new_node
from tests.integration.parts import RunningPart

ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
# A third of the ring each, so that no node owns everything.
TOKENS = ("-9223372036854775808", "-3074457345618258603", "3074457345618258602")
USER, PASSWORD = "penstock", "penstock"


@asynccontextmanager
async def cluster(directory: Path) -> AsyncIterator[list[RunningPart]]:
    """Three nodes in three racks of a datacentre, started one after the other."""
    first = new_node()
    async with Supervisor(working_directory=directory, log_directory=directory / "logs") as supervisor:
        parts = []
        for number, (address, token) in enumerate(zip(ADDRESSES, TOKENS, strict=True)):
            jmx = new_node().jmx_port
            node = replace(first, address=address, rack="abc"[number], initial_token=token, jmx_port=jmx)
            spec = describe(directory / address, node)
            supervisor.add(spec)
            await supervisor.start(spec.name)
            parts.append(RunningPart(spec, supervisor))
        yield parts


async def give_user(part: RunningPart) -> None:
    """A user of the service's own, on every node: the superuser of a new cluster lies on one of them alone."""
    boss = administrator(part)
    session = await asyncio.to_thread(boss.connect)
    for statement in (
        "ALTER KEYSPACE system_auth WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 3}",
        f"CREATE ROLE {USER} WITH PASSWORD = '{PASSWORD}' AND LOGIN = true",
        f"GRANT ALL ON ALL KEYSPACES TO {USER}",
    ):
        await asyncio.to_thread(session.execute, statement)
    await asyncio.to_thread(boss.shutdown)


def target(part: RunningPart, keyspace: str, replicas: int) -> CassandraTarget:
    port = int(part.addresses["cql"].rpartition(":")[2])
    return CassandraTarget(
        contact_points=ADDRESSES,
        port=port,
        datacentre="dc1",
        keyspace=keyspace,
        replication={"dc1": replicas},
        user=USER,
        password=PASSWORD,
    )


async def listed(store: EventStore) -> list[str]:
    found: list[str] = []
    after: Position | None = None
    while events := await store.list_events(EventQuery(), after=after, limit=1000):
        found += [event.record.message_id for event in events]
        after = events[-1].position
    return found


async def unreadable(store: EventStore, names: Sequence[str]) -> int:
    answers = await asyncio.gather(*(store.get(name) for name in names), return_exceptions=True)
    return sum(isinstance(answer, UnavailableError) for answer in answers)


class Storm:
    """Writers that go on through errors, and what was acknowledged to them."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self.acknowledged: set[str] = set()
        self.refused = 0
        self._done = asyncio.Event()

    async def write(self, name: str) -> None:
        number = 0
        while not self._done.is_set():
            batch = [record(f"{name}-{number}-{place}", occurred_at=number) for place in range(10)]
            try:
                await self._store.put(batch)
            except UnavailableError:
                self.refused += 1
                continue  # the same batch again, as a shipper does
            self.acknowledged.update(one.message_id for one in batch)
            number += 1

    async def more(self, count: int) -> None:
        """Wait until so many more events are acknowledged."""
        wanted = len(self.acknowledged) + count
        async with asyncio.timeout(300):
            while len(self.acknowledged) < wanted:  # noqa: ASYNC110 - other processes are waited for
                await asyncio.sleep(0.05)

    def end(self) -> None:
        self._done.set()


async def test_one_of_three_nodes_killed_loses_no_acknowledged_write(tmp_path: Path) -> None:
    """Writing goes on at LOCAL_QUORUM, every acknowledged event is there; without a second replica it would not be."""
    async with AsyncExitStack() as stack:
        nodes = await stack.enter_async_context(cluster(tmp_path))
        await give_user(nodes[0])
        session = await stack.enter_async_context(CassandraSession(target(nodes[0], "kept", 3), migrate=True))
        single = await stack.enter_async_context(CassandraSession(target(nodes[0], "single", 1), migrate=True))
        store = await CassandraEventStore(session).prepare()
        control = await CassandraEventStore(single).prepare()
        control_names = [f"control-{number}" for number in range(60)]
        await control.put([record(name) for name in control_names])

        storm = Storm(store)
        writers = [asyncio.create_task(storm.write(str(number))) for number in range(6)]
        await storm.more(600)
        await nodes[2].kill()
        await storm.more(600)  # one replica of each row is gone, two answer
        assert set(storm.acknowledged) <= set(await listed(store))
        assert await unreadable(control, control_names) > 0  # one replica does not survive its node

        await nodes[2].start()
        await storm.more(300)
        await nodes[0].kill()  # another one: what the first missed it has by hints, or by the third replica
        await storm.more(300)
        storm.end()
        await asyncio.gather(*writers)
        found = await listed(store)
        assert set(storm.acknowledged) <= set(found)
        assert len(found) == len(set(found))

        await nodes[1].kill()
        with pytest.raises(UnavailableError):  # a minority acknowledges nothing
            await store.put([record("minority")])
