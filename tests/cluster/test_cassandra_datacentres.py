"""Two real datacentres of Cassandra, each lost in turn: `make cassandra-datacentres`.

What `active-active.yaml` and `active-standby.yaml` in `deploy/cassandra` promise, with two nodes in one datacentre and
one in the other. Not a part of `make test`: it takes minutes and 1.5 GB.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from services.persistence.cassandra import CassandraEventStore
from services.persistence.cassandra_session import CassandraSession, CassandraTarget
from services.persistence.store import EventStore, PutOutcome
from services.runtime.errors import UnavailableError
from tests.cluster.cassandra_cluster import Place, Storm, cluster, give_user, listed, target
from tests.contracts.event_store import record

EAST = [Place(address=f"127.0.0.{n + 1}", datacentre="east", rack="ab"[n], token=n * 2**62) for n in range(2)]
WEST = [Place(address="127.0.0.3", datacentre="west", token=1)]
REPLICAS = {"east": 2, "west": 1}


@asynccontextmanager
async def store_in(place: CassandraTarget, *, migrate: bool) -> AsyncIterator[CassandraEventStore]:
    async with CassandraSession(place, migrate=migrate) as session:
        yield await CassandraEventStore(session).prepare()


async def has_all(store: EventStore, wanted: set[str]) -> None:
    """Return when every event is listed; hints are delivered some ten seconds after a node is back."""
    async with asyncio.timeout(180):
        while True:
            try:
                found = await listed(store)
            except UnavailableError:  # right after a start
                found = []
            if wanted <= set(found):
                assert len(found) == len(set(found))
                return
            await asyncio.sleep(1)


async def test_either_datacentre_goes_on_alone_and_both_have_everything_afterwards(tmp_path: Path) -> None:
    """Active-active: both are written to. Active-standby is the part where the second takes over from the first."""
    async with AsyncExitStack() as stack:
        nodes = await stack.enter_async_context(cluster(tmp_path, [*EAST, *WEST]))
        await give_user(nodes[0], REPLICAS)
        sessions = [
            await stack.enter_async_context(
                CassandraSession(target(parts, "kept", REPLICAS, datacentre=name), migrate=new)
            )
            for name, parts, new in (("east", nodes[:2], True), ("west", nodes[2:], False))
        ]
        east, west = [await CassandraEventStore(session).prepare() for session in sessions]

        both = [record(f"both-{number}", occurred_at=number) for number in range(50)]
        answers = [await store.put(both) for store in (east, west)]  # each decides alone; it is one row all the same
        assert answers[0] == [PutOutcome.STORED] * 50
        storms = [Storm(east), Storm(west)]
        writers = [asyncio.create_task(storm.write(name)) for storm, name in zip(storms, ("east", "west"), strict=True)]
        await asyncio.gather(*(storm.more(200) for storm in storms))

        await nodes[2].kill()
        await storms[0].more(300)  # the east does not notice
        with pytest.raises(UnavailableError):
            await west.put([record("nobody")])
        storms[0].end()
        await writers[0]
        await nodes[2].start()
        await storms[1].more(100)
        everything = {one.message_id for one in both} | storms[0].acknowledged
        await has_all(west, everything)  # what it missed has crossed over

        await asyncio.gather(nodes[0].kill(), nodes[1].kill())
        await storms[1].more(300)  # the west has taken over
        with pytest.raises(UnavailableError):
            await east.put([record("nobody")])
        storms[1].end()
        await writers[1]
        await nodes[0].start()
        await nodes[1].start()
        await has_all(east, everything | storms[1].acknowledged)
        await has_all(west, everything | storms[1].acknowledged)
