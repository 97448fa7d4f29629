"""`make bench-bridge`: draining a queue through the bridge, against three others on the same broker.

Ours is the real bridge: messages come over STOMP, are looked up in the dedup records of a real Valkey, go in batches to
a gRPC DeliveryService, and count when the broker has confirmed their settlement. Two peers do nothing with what they
receive: a JMS consumer over OpenWire, and a bare stomp.py listener, both acknowledging message by message. The third is
a Camel route that POSTs each message to an HTTP endpoint, as a bridge route beside it does. By themselves are measured
the CPU time of transport and settlement, and how long a single message takes through an idle bridge.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import grpc
from penstock.bridge.v1.bridge_service_pb2 import GetStatsRequest, RouteStats
from penstock.bridge.v1.bridge_service_pb2_grpc import BridgeServiceStub
from penstock.config.v1.config_service_pb2 import DeleteParameterRequest, PutParameterRequest
from penstock.config.v1.config_service_pb2_grpc import ConfigServiceStub
from penstock.delivery.v1 import delivery_service_pb2 as pb
from penstock.delivery.v1 import delivery_service_pb2_grpc

from bench.camel import JAVA, Camel, CamelNotFoundError, running_camel
from bench.http_sink import HttpSink, http_served
from bench.measure import (
    Comparison,
    CpuClock,
    Limit,
    Machine,
    Measurement,
    Sample,
    Subject,
    compare,
    compare_all,
    print_progress,
)
from bench.report import publish
from broker_bridge.routes import ROUTES_PATH
from deploy.local.activemq import BROKER_PASSWORD, BROKER_USER
from deploy.local.jms import JmsClient, JmsMessage, find_jms_client
from deploy.local.ports import free_ports
from deploy.local.stack import EmbeddedStack
from services.runtime.channel import open_channel

if TYPE_CHECKING:
    from penstock.bridge.v1.bridge_service_pb2_grpc import BridgeServiceAsyncStub
    from penstock.config.v1.config_service_pb2_grpc import ConfigServiceAsyncStub

_WHAT = "1 KiB persistent messages from ActiveMQ to a gRPC DeliveryService, settlement confirmed, against "
DRAIN = Subject(
    key="drain_vs_jms",
    what=f"{_WHAT}a Java JMS consumer that acknowledges one by one",
    unit="messages/s",
    floor=0.75,
)
DRAIN_STOMP_PY = Subject(
    key="drain_vs_stomp_py",
    what=f"{_WHAT}a bare stomp.py listener that acknowledges one by one",
    unit="messages/s",
    floor=1.0,
)
DRAIN_CAMEL = Subject(
    key="drain_vs_camel",
    what="the same messages to an HTTP endpoint, a POST each, 16 at the same time, against a Camel route (JMS, HTTP)",
    unit="messages/s",
    floor=1.0,
)
TRANSPORT = Limit(
    key="cpu_us_per_message",
    what="CPU time of the bridge for transport and settlement: from the socket to the target port, and confirmed ACKs",
    unit="µs",
    ceiling=45.0,
)
IDLE = Limit(
    key="idle_p50_ms",
    what="from a JMS send to the call of the target, single messages through an idle bridge, median of 100",
    unit="ms",
    ceiling=5.0,
)
NOTES = (
    "ours: STOMP, dedup in Valkey, batches of up to 300 to a Python gRPC service, ACKs for many, confirmed by receipts",
    "ours takes up to 5000 messages ahead, the peers 1000; they drop what comes, ours hands it on before its ACK",
    "the CPU time beside our rate is that of the whole bridge process",
    "JMS peer: OpenWire, INDIVIDUAL_ACKNOWLEDGE, acknowledgements sent without waiting; a fresh JVM each round",
    "stomp.py peer: stock Connection12, prefetch 1000, an ACK without receipt in the listener, DISCONNECT confirmed",
    "Camel peer: camel-jms and camel-http 4.22, 16 consumers, CLIENT_ACKNOWLEDGE, no dedup, one JVM for all rounds",
    "ours beside Camel: two batches of up to 16 at the same time, whose requests run together, dedup records in Valkey",
    "drain_vs_camel: Camel is timed from the first to the last request, ours until everything is settled",
    "cpu_us_per_message: a process of its own on the real broker; its target accepts at once, dedup is in memory",
    "rates count from the first message to the last one settled, so neither start-up is part of it",
)
MESSAGES = 10_000
# The broker's JVM compiles its STOMP and OpenWire paths for some hundred thousand messages before its rate is steady.
WARM_UPS = 5
BATCH = 300
PREFETCH = 5_000
HTTP_MESSAGES = 4_000
HTTP_AT_ONCE = 16
ROUNDS = 9
BODY = "x" * 1024
IDLE_MESSAGES = 100
IDLE_PAUSE_MILLISECONDS = 15
_UNUSED = ("filtering", "tracking", "persistence", "lambda-endpoint", "aws-emulator")
Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(slots=True)
class Sink(delivery_service_pb2_grpc.DeliveryServiceServicer):
    """A service that accepts everything and remembers which ids came with the right body."""

    message_ids: set[str] = field(default_factory=set)
    wrong: int = 0
    first_batch: int = 0
    started: float = 0.0
    idle: bool = False
    latencies: list[float] = field(default_factory=list)

    async def DeliverMessages(  # noqa: N802
        self, request: pb.DeliverMessagesRequest, _context: Context
    ) -> pb.DeliverMessagesResponse:
        if self.idle:
            now = time.time_ns() // 1000
            self.latencies += [(now - int(message.text)) / 1000 for message in request.messages]
        if not self.message_ids:
            self.first_batch, self.started = len(request.messages), time.perf_counter()
        for message in request.messages:
            self.message_ids.add(message.id)
            self.wrong += message.text != BODY and not self.idle
        accepted = pb.DeliveryResult(outcome=pb.DELIVERY_OUTCOME_ACCEPTED)
        return pb.DeliverMessagesResponse(results=[accepted] * len(request.messages))


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """The running stack and its clients; every round has a queue of its own."""

    jms: JmsClient
    stomp: str
    sink: Sink
    sink_address: str
    http: HttpSink
    http_url: str
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
        route = {
            "targets": [{"grpc": {"address": self.sink_address}}],
            "batch": {"max_messages": BATCH},
            "prefetch": PREFETCH,
        }
        async with self.routed(name, route):
            stats = await self.settled(name, MESSAGES)
            seconds, cpu_seconds = time.perf_counter() - self.sink.started, self.clock.seconds
        if self.sink.message_ids != set(sent) or self.sink.wrong or stats.dead_lettered:
            raise RuntimeError(f"{len(sent)} messages were sent, {len(self.sink.message_ids)} arrived: {stats}")
        return Sample(work=MESSAGES - self.sink.first_batch, seconds=seconds, cpu_seconds=cpu_seconds)

    async def jms_round(self) -> Sample:
        """Let the JMS consumer drain a filled queue."""
        name = f"bench-peer-{next(self.rounds)}"
        await self.filled(name)
        drained = await asyncio.to_thread(self.jms.drain, name, maximum=MESSAGES, idle_seconds=5, keep=False)
        if drained.count != MESSAGES:
            raise RuntimeError(f"{MESSAGES} messages were sent, the JMS consumer received {drained.count}")
        return Sample(work=MESSAGES - 1, seconds=drained.seconds)

    async def stomp_py_round(self) -> Sample:
        """Let the bare stomp.py listener drain a filled queue."""
        return await self.child_round("bench.stomp_py_listener")

    async def transport_round(self) -> Sample:
        """Drain a filled queue by the bridge without what stands behind its ports."""
        return await self.child_round("bench.transport")

    async def child_round(self, module: str) -> Sample:
        """Let a Python process drain a filled queue and tell its figures."""
        name = f"bench-child-{next(self.rounds)}"
        await self.filled(name)
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, self.stomp, name, str(MESSAGES)), stdout=asyncio.subprocess.PIPE
        )
        output, _ = await child.communicate()
        figures = json.loads(output.splitlines()[-1])
        if child.returncode or figures["messages"] != MESSAGES:
            raise RuntimeError(f"{MESSAGES} messages were sent, {module} received {figures['messages']}")
        return Sample(work=figures["work"], seconds=figures["seconds"], cpu_seconds=figures["cpu_seconds"])

    async def our_http_round(self) -> Sample:
        """A route to the HTTP endpoint."""
        name = f"bench-http-{next(self.rounds)}"
        sent = await self.filled(name, HTTP_MESSAGES)
        self.http.clear()
        route = {
            "targets": [{"http": {"url": self.http_url}}],
            "batch": {"max_messages": HTTP_AT_ONCE},
            "concurrency": 2,
        }
        async with self.routed(name, route):
            await self.settled(name, HTTP_MESSAGES)
            seconds = time.perf_counter() - self.http.started
        return self.http_sample(sent, seconds)

    async def camel_round(self, camel: Camel) -> Sample:
        """The Camel route moves to a filled queue."""
        name = f"bench-camel-{next(self.rounds)}"
        sent = await self.filled(name, HTTP_MESSAGES)
        self.http.clear()
        camel.move(name)
        async with asyncio.timeout(120):
            while len(self.http.keys) < HTTP_MESSAGES:  # noqa: ASYNC110 - Camel tells nobody
                await asyncio.sleep(0.002)
        return self.http_sample(sent, self.http.ended - self.http.started)

    def http_sample(self, sent: Sequence[str], seconds: float) -> Sample:
        if self.http.keys != set(sent):
            raise RuntimeError(f"{len(sent)} messages were sent, {len(self.http.keys)} arrived")
        return Sample(work=HTTP_MESSAGES - 1, seconds=seconds)

    async def idle_round(self) -> float:
        """Milliseconds from a JMS send to the call of the target, at the median."""
        name = f"bench-idle-{next(self.rounds)}"
        self.sink.message_ids.clear()
        self.sink.latencies.clear()
        self.sink.idle = True
        async with self.routed(name, {"targets": [{"grpc": {"address": self.sink_address}}]}):
            producer = await asyncio.create_subprocess_exec(
                *(str(self.jms.java.executable), "-cp", self.jms.class_path, str(JAVA / "IdleProducer.java")),
                *(self.jms.broker_url, name, str(IDLE_MESSAGES), str(IDLE_PAUSE_MILLISECONDS)),
                env={**os.environ, "JMS_USER": BROKER_USER, "JMS_PASSWORD": BROKER_PASSWORD},
            )
            if await producer.wait():
                raise RuntimeError("the idle producer failed; its error stands above")
            await self.settled(name, IDLE_MESSAGES)
        self.sink.idle = False
        return median(self.sink.latencies)

    @asynccontextmanager
    async def routed(self, name: str, route: Mapping[str, object]) -> AsyncIterator[None]:
        """A route from the queue of this name, for the time of the block."""
        document = json.dumps({"source": f"queue://{name}", **route})
        await self.config.PutParameter(PutParameterRequest(name=f"{ROUTES_PATH}/{name}", value=document))
        yield
        await self.config.DeleteParameter(DeleteParameterRequest(name=f"{ROUTES_PATH}/{name}"))

    async def filled(self, queue: str, messages: int = MESSAGES) -> Sequence[str]:
        """The ids of the messages that now lie in the queue."""
        return await asyncio.to_thread(self.jms.send, queue, [JmsMessage(text=BODY)] * messages)

    async def settled(self, route: str, messages: int) -> RouteStats:
        """Return when the broker has confirmed so many messages."""
        async with asyncio.timeout(120):
            while True:
                found = (await self.bridge.GetStats(GetStatsRequest())).routes
                stats = next((stats for stats in found if stats.route == route), RouteStats())
                if stats.settled >= messages:
                    return stats
                # Seldom: to answer takes the bridge's time.
                await asyncio.sleep(0.005 if stats.settled > messages * 0.9 else 0.05)


async def measured(place: Setting) -> tuple[list[Comparison], list[Measurement], list[str]]:
    """Everything, and what had to be left out."""
    drains = [(DRAIN, place.jms_round), (DRAIN_STOMP_PY, place.stomp_py_round)]
    comparisons = await compare_all(
        drains, ours=place.our_round, rounds=ROUNDS, warm_ups=WARM_UPS, progress=print_progress
    )
    transport = [await place.transport_round() for _ in range(ROUNDS)]
    idle = [await place.idle_round() for _ in range(ROUNDS)]
    measurements = [
        Measurement(limit=TRANSPORT, values=[sample.cpu_microseconds or 0.0 for sample in transport]),
        Measurement(limit=IDLE, values=idle),
    ]
    left_out: list[str] = []
    try:
        async with running_camel(
            place.jms, broker_url=place.jms.broker_url, url=place.http_url, consumers=HTTP_AT_ONCE
        ) as camel:
            peer = partial(place.camel_round, camel)
            comparisons.append(
                await compare(
                    DRAIN_CAMEL,
                    ours=place.our_http_round,
                    peer=peer,
                    rounds=ROUNDS,
                    warm_ups=WARM_UPS,
                    progress=print_progress,
                )
            )
    except CamelNotFoundError as error:
        left_out.append(f"drain_vs_camel was not measured: {error}")
        print_progress(left_out[-1])
    return comparisons, measurements, left_out


async def main() -> int:
    """Measure and publish. The exit code says nothing of the ratios: the results do."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as directory, Machine() as machine:
        async with setting(Path(directory)) as place:
            comparisons, measurements, left_out = await measured(place)
    publish("bridge", comparisons, machine.figures(), [*NOTES, *left_out], measurements)
    return 0


@asynccontextmanager
async def setting(directory: Path) -> AsyncIterator[Setting]:
    """Broker, Valkey, config service and bridge as processes of their own, and the service that messages go to."""
    sink, http = Sink(), HttpSink()
    async with (
        served(sink) as sink_address,
        http_served(http) as http_url,
        EmbeddedStack(home=directory, ports=free_ports(), without=_UNUSED) as stack,
        open_channel(stack.addresses["config"]["grpc"]) as config,
        open_channel(stack.addresses["bridge"]["grpc"]) as bridge,
    ):
        processes = {process["name"]: process for process in stack.state()["processes"]}
        yield Setting(
            # Filling a queue is not measured: the producer need not wait for the broker's disk at each message.
            jms=find_jms_client(f"failover:(tcp://{stack.addresses['activemq']['openwire']})?jms.useAsyncSend=true"),
            stomp=stack.addresses["activemq"]["stomp"].removeprefix("stomp://"),
            sink=sink,
            sink_address=sink_address,
            http=http,
            http_url=http_url,
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
