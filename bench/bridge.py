"""`make bench-bridge`: draining a queue through the bridge against a Java JMS consumer on the same broker.

Ours is the real bridge: messages come over STOMP, are looked up in the dedup records of a real Valkey, go in batches to
a gRPC DeliveryService, and count when the broker has confirmed their settlement. The peer is a JMS consumer over
OpenWire that acknowledges message by message and does nothing else with them.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from penstock.bridge.v1.bridge_service_pb2 import GetStatsRequest, RouteStats
from penstock.bridge.v1.bridge_service_pb2_grpc import BridgeServiceStub
from penstock.config.v1.config_service_pb2 import DeleteParameterRequest, PutParameterRequest
from penstock.config.v1.config_service_pb2_grpc import ConfigServiceStub
from penstock.delivery.v1 import delivery_service_pb2 as pb
from penstock.delivery.v1 import delivery_service_pb2_grpc

from bench.measure import CpuClock, Machine, Sample, Subject, compare, print_progress
from bench.report import publish
from broker_bridge.routes import ROUTES_PATH
from deploy.local.jms import JmsClient, JmsMessage, find_jms_client
from deploy.local.ports import free_ports
from deploy.local.stack import EmbeddedStack
from services.runtime.channel import open_channel

if TYPE_CHECKING:
    from penstock.bridge.v1.bridge_service_pb2_grpc import BridgeServiceAsyncStub
    from penstock.config.v1.config_service_pb2_grpc import ConfigServiceAsyncStub

DRAIN = Subject(
    key="drain_vs_jms",
    what="1 KiB persistent messages from ActiveMQ to a gRPC DeliveryService, settlement confirmed, against a Java JMS "
    "consumer that acknowledges one by one",
    unit="messages/s",
    floor=0.75,
)
NOTES = (
    "ours: STOMP, dedup records in Valkey, batches of up to 100 to a Python gRPC service, ACK confirmed by a receipt",
    "peer: OpenWire, INDIVIDUAL_ACKNOWLEDGE, acknowledgements sent without waiting; a fresh JVM each round",
    "the rate counts from the first message to the last one settled, so neither start-up is part of it",
)
MESSAGES = 10_000
# The broker's JVM compiles its STOMP and OpenWire paths for some ten thousand messages before its rate is steady.
WARM_UPS = 3
BODY = "x" * 1024
_UNUSED = ("filtering", "tracking", "persistence", "lambda-endpoint", "aws-emulator")
Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(slots=True)
class Sink(delivery_service_pb2_grpc.DeliveryServiceServicer):
    """A service that accepts everything and remembers which ids came with the right body."""

    message_ids: set[str] = field(default_factory=set)
    wrong: int = 0
    first_batch: int = 0
    started: float = 0.0

    async def DeliverMessages(  # noqa: N802
        self, request: pb.DeliverMessagesRequest, _context: Context
    ) -> pb.DeliverMessagesResponse:
        if not self.message_ids:
            self.first_batch, self.started = len(request.messages), time.perf_counter()
        for message in request.messages:
            self.message_ids.add(message.id)
            self.wrong += message.text != BODY
        accepted = pb.DeliveryResult(outcome=pb.DELIVERY_OUTCOME_ACCEPTED)
        return pb.DeliverMessagesResponse(results=[accepted] * len(request.messages))


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """The running stack and its clients; every round has a queue of its own."""

    jms: JmsClient
    sink: Sink
    sink_address: str
    config: "ConfigServiceAsyncStub"
    bridge: "BridgeServiceAsyncStub"
    clock: CpuClock
    rounds: "count[int]" = field(default_factory=count)

    async def our_round(self) -> Sample:
        """Open a route to a filled queue; the time ends when the broker confirmed that all messages are settled."""
        name = f"bench-ours-{next(self.rounds)}"
        sent = await self.filled(name)
        self.sink.message_ids.clear()
        self.clock.restart()
        route = {"source": f"queue://{name}", "targets": [{"grpc": {"address": self.sink_address}}]}
        await self.config.PutParameter(PutParameterRequest(name=f"{ROUTES_PATH}/{name}", value=json.dumps(route)))
        stats = await self.settled(name)
        seconds, cpu_seconds = time.perf_counter() - self.sink.started, self.clock.seconds
        await self.config.DeleteParameter(DeleteParameterRequest(name=f"{ROUTES_PATH}/{name}"))
        if self.sink.message_ids != set(sent) or self.sink.wrong or stats.dead_lettered:
            raise RuntimeError(f"{len(sent)} messages were sent, {len(self.sink.message_ids)} arrived: {stats}")
        return Sample(work=MESSAGES - self.sink.first_batch, seconds=seconds, cpu_seconds=cpu_seconds)

    async def peer_round(self) -> Sample:
        """Let the JMS consumer drain a filled queue."""
        name = f"bench-peer-{next(self.rounds)}"
        await self.filled(name)
        drained = await asyncio.to_thread(self.jms.drain, name, maximum=MESSAGES, idle_seconds=5, keep=False)
        if drained.count != MESSAGES:
            raise RuntimeError(f"{MESSAGES} messages were sent, the JMS consumer received {drained.count}")
        return Sample(work=MESSAGES - 1, seconds=drained.seconds)

    async def filled(self, queue: str) -> Sequence[str]:
        """The ids of the messages that now lie in the queue."""
        return await asyncio.to_thread(self.jms.send, queue, [JmsMessage(text=BODY)] * MESSAGES)

    async def settled(self, route: str) -> RouteStats:
        """Return when everything has arrived and the bridge holds nothing any more."""
        async with asyncio.timeout(120):
            while True:
                if len(self.sink.message_ids) == MESSAGES:
                    found = (await self.bridge.GetStats(GetStatsRequest())).routes
                    stats = next(stats for stats in found if stats.route == route)
                    if stats.settled == MESSAGES:
                        return stats
                await asyncio.sleep(0.002)


async def main() -> int:
    """Measure and publish. The exit code says nothing of the ratio: the results do."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as directory, Machine() as machine:
        async with setting(Path(directory)) as place:
            comparison = await compare(
                DRAIN, ours=place.our_round, peer=place.peer_round, warm_ups=WARM_UPS, progress=print_progress
            )
    publish("bridge", [comparison], machine.figures(), NOTES)
    return 0


@asynccontextmanager
async def setting(directory: Path) -> AsyncIterator[Setting]:
    """Broker, Valkey, config service and bridge as processes of their own, and the service that messages go to."""
    sink = Sink()
    async with (
        served(sink) as sink_address,
        EmbeddedStack(home=directory, ports=free_ports(), without=_UNUSED) as stack,
        open_channel(stack.addresses["config"]["grpc"]) as config,
        open_channel(stack.addresses["bridge"]["grpc"]) as bridge,
    ):
        processes = {process["name"]: process for process in stack.state()["processes"]}
        yield Setting(
            # Filling a queue is not measured: the producer need not wait for the broker's disk at each message.
            jms=find_jms_client(f"failover:(tcp://{stack.addresses['activemq']['openwire']})?jms.useAsyncSend=true"),
            sink=sink,
            sink_address=sink_address,
            config=ConfigServiceStub(config),
            bridge=BridgeServiceStub(bridge),
            clock=CpuClock(processes["bridge"]["pid"]),
        )


@asynccontextmanager
async def served(sink: Sink) -> AsyncIterator[str]:
    """The address at which the sink is served."""
    server = grpc.aio.server()
    delivery_service_pb2_grpc.add_DeliveryServiceServicer_to_server(sink, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
