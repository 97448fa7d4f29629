"""StreamTrackEvents over connections that are cut and intakes that are killed: a client goes on behind the last ack.

The client keeps the events that are not acknowledged, opens a new stream and sends them again, under the same sequences
and message ids. That is all it has to do for every event to become one row.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from penstock.tracking.v1 import tracking_service_pb2 as pb
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent
from penstock.tracking.v1.tracking_service_pb2_grpc import TrackingServiceStub

from deploy.local.ports import free_port_numbers
from services.runtime.channel import open_channel
from tests.integration.fault_proxy import FaultProxy, Faults, fault_proxy
from tests.integration.intake_kills import events
from tests.integration.parts import RunningPart
from tests.integration.tracking_harness import Intake, all_stored, intake, outcome, persistence

if TYPE_CHECKING:
    from penstock.tracking.v1.tracking_service_pb2_grpc import TrackingServiceAsyncStub

EVENTS = 20_000
BREAKS = 6


@pytest.fixture
def redis(valkey: RunningPart) -> str:
    return valkey.addresses["redis"]


class StreamClient:
    """Sends events in a stream and opens another one whenever it breaks; `acknowledged` events are behind it."""

    def __init__(self, address: str, batch: Sequence[TrackingEvent]) -> None:
        self._address = address
        self._events = batch
        self.acknowledged = 0
        self.streams = 0
        self.outcomes: set[str] = set()
        self.grown = asyncio.Event()

    async def run(self) -> None:
        while self.acknowledged < len(self._events):
            # A channel each: one that failed would wait longer and longer before it connects again.
            async with open_channel(self._address) as channel:
                self.streams += 1
                try:
                    await self._stream(TrackingServiceStub(channel))
                except grpc.aio.AioRpcError as error:
                    if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL):
                        raise

    async def _stream(self, stub: "TrackingServiceAsyncStub") -> None:
        call = stub.StreamTrackEvents(self._from(self.acknowledged))
        async for response in call:
            assert response.acknowledged_sequence >= self.acknowledged
            self.acknowledged = response.acknowledged_sequence + 1
            self.outcomes.update(outcome(refusal.result) for refusal in response.refusals)
            self.grown.set()

    async def _from(self, start: int) -> AsyncIterator[pb.StreamTrackEventsRequest]:
        for sequence in range(start, len(self._events)):
            yield pb.StreamTrackEventsRequest(sequence=sequence, event=self._events[sequence])

    async def until(self, acknowledged: int) -> None:
        """Returns when so many events are acknowledged."""
        async with asyncio.timeout(120):
            while self.acknowledged < acknowledged:
                self.grown.clear()
                await self.grown.wait()


async def test_a_stream_goes_on_behind_its_last_acknowledgement(redis: str, tmp_path: Path) -> None:
    """Cut by the network and by kills in the middle: what was acknowledged is durable, and every event is one row."""
    chance = random.Random(3)
    (port,) = free_port_numbers(1)
    async with (
        persistence(tmp_path / "store", port) as store,
        intake(tmp_path / "intake", redis=redis, persistence=f"127.0.0.1:{port}", redis_prefix="stream") as where,
        fault_proxy(where.address) as network,
    ):
        network.faults = Faults(bytes_per_second=4_000_000)  # slow enough to be cut in the middle
        await where.put_program("p")
        batch = events("stream", EVENTS, size=100)
        client = StreamClient(network.address, batch)
        running = asyncio.create_task(client.run())
        for number in range(1, BREAKS + 1):
            await client.until(number * EVENTS // (BREAKS + 1) + chance.randrange(500))
            await broken(where, network, client, by_kill=number % 2 == 0)
        await asyncio.wait_for(running, 120)
        assert client.streams > BREAKS
        # What is repeated and known already is settled too; UNVERIFIED where Valkey was slow after a start.
        assert client.outcomes <= {"DUPLICATE", "UNVERIFIED"}
        rows = await all_stored(store, [event.message_id for event in batch])
        assert len(rows) == EVENTS


async def broken(where: Intake, network: FaultProxy, client: StreamClient, *, by_kill: bool) -> None:
    """Ends the stream in the middle; after a kill, everything acknowledged so far is looked for in the log."""
    if not by_kill:
        network.cut()
        return
    await where.part.kill()
    # The log still has what was shipped: its one segment is not full.
    assert {f"stream-{number}" for number in range(client.acknowledged)} <= set(where.logged())
    await where.start()
