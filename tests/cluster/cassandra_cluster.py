"""Several real Cassandra nodes as one cluster, writers that go on through errors, and what was acknowledged to them."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from deploy.local.supervisor import Supervisor
from services.persistence.cassandra_session import CassandraTarget
from services.persistence.store import EventQuery, EventStore, Position
from services.runtime.errors import UnavailableError
from tests.contracts.event_store import record
from tests.integration.cassandra_harness import administrator, describe, new_node
from tests.integration.parts import RunningPart

USER, PASSWORD = "penstock", "penstock"


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a node stands: its address, its datacentre and rack, and where its part of the ring begins."""

    address: str
    datacentre: str = "dc1"
    rack: str = "a"
    token: int


@asynccontextmanager
async def cluster(directory: Path, places: Sequence[Place]) -> AsyncIterator[list[RunningPart]]:
    """Nodes started one after the other; the first is everybody's seed."""
    first = new_node()
    async with Supervisor(
        working_directory=directory, log_directory=directory / "logs", ready_timeout=240.0
    ) as supervisor:
        parts = []
        for place in places:
            node = replace(
                first,
                address=place.address,
                datacentre=place.datacentre,
                rack=place.rack,
                initial_token=str(place.token),
                jmx_port=new_node().jmx_port,
            )
            spec = describe(directory / place.address, node)
            supervisor.add(spec)
            await supervisor.start(spec.name)
            parts.append(RunningPart(spec, supervisor))
        yield parts


async def give_user(part: RunningPart, replicas: Mapping[str, int]) -> None:
    """A user of the service's own, on every node: the superuser of a new cluster lies on one of them alone."""
    strategy: dict[str, object] = {"class": "NetworkTopologyStrategy"}
    boss = administrator(part)
    session = await asyncio.to_thread(boss.connect)
    for statement in (
        f"ALTER KEYSPACE system_auth WITH replication = {dict(strategy, **replicas)}",
        f"CREATE ROLE {USER} WITH PASSWORD = '{PASSWORD}' AND LOGIN = true",
        f"GRANT ALL ON ALL KEYSPACES TO {USER}",
    ):
        await asyncio.to_thread(session.execute, statement)
    await asyncio.to_thread(boss.shutdown)


def target(
    parts: Sequence[RunningPart], keyspace: str, replicas: Mapping[str, int], *, datacentre: str = "dc1"
) -> CassandraTarget:
    """As the processes of a datacentre are told, whose nodes these are."""
    addresses = [part.addresses["cql"].rpartition(":") for part in parts]
    return CassandraTarget(
        contact_points=[host for host, _, _ in addresses],
        port=int(addresses[0][2]),
        datacentre=datacentre,
        keyspace=keyspace,
        replication=replicas,
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
                await asyncio.sleep(0.2)
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
