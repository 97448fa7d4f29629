"""Three real Cassandra nodes, one of which is killed while events are stored: `make cassandra-cluster`.

Not a part of `make test`: it takes some minutes and 1.5 GB.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from services.persistence.cassandra import CassandraEventStore
from services.persistence.cassandra_session import CassandraSession
from services.persistence.store import EventStore
from services.runtime.errors import UnavailableError
from tests.cluster.cassandra_cluster import Place, Storm, cluster, give_user, listed, target
from tests.contracts.event_store import record

# A third of the ring each, so that no node owns everything.
PLACES = [
    Place(address=f"127.0.0.{number + 1}", rack="abc"[number], token=-(2**63) + number * 2**64 // 3)
    for number in range(3)
]


async def unreadable(store: EventStore, names: Sequence[str]) -> int:
    answers = await asyncio.gather(*(store.get(name) for name in names), return_exceptions=True)
    return sum(isinstance(answer, UnavailableError) for answer in answers)


async def test_one_of_three_nodes_killed_loses_no_acknowledged_write(tmp_path: Path) -> None:
    """Writing goes on at LOCAL_QUORUM, every acknowledged event is there; without a second replica it would not be."""
    async with AsyncExitStack() as stack:
        nodes = await stack.enter_async_context(cluster(tmp_path, PLACES))
        await give_user(nodes[0], {"dc1": 3})
        session = await stack.enter_async_context(CassandraSession(target(nodes, "kept", {"dc1": 3}), migrate=True))
        single = await stack.enter_async_context(CassandraSession(target(nodes, "single", {"dc1": 1}), migrate=True))
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
