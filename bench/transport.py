"""`python -m bench.transport HOST:PORT QUEUE COUNT`: the bridge from the socket to its target port, and back.

A process of its own, so that its CPU time is that of transport and settlement alone: frames are read and decoded,
parcels made, ACKs sent and confirmed by the real broker. What stands behind the ports is left out: the target accepts
at once, dedup records are kept in memory. Prints one JSON object when all messages are settled.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Sequence

import uvloop

from broker_bridge.activemq import ActiveMq
from broker_bridge.bridge import Bridge
from broker_bridge.broker import BrokerAddress, Login
from broker_bridge.clock import Clock
from broker_bridge.dedup import MemoryDedup
from broker_bridge.filtering import MemoryFilter
from broker_bridge.parcel import Parcel
from broker_bridge.replies import MemoryAnswers
from broker_bridge.route_runner import Parts
from broker_bridge.routes import ROUTES_PATH
from broker_bridge.targets import ACCEPTED, Origin, Outcome, Targets
from deploy.local.activemq import BROKER_PASSWORD, BROKER_USER
from services.runtime.garbage import calm_garbage_collector
from tests.integration.bridge_harness import Stored


class Counter:
    """A target that accepts everything and notes when it began."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.started: tuple[float, float] | None = None
        self.first_batch = 0

    async def deliver(self, parcels: Sequence[Parcel], origin: Origin) -> Sequence[Outcome]:  # noqa: ARG002
        if self.started is None:
            self.started, self.first_batch = (time.perf_counter(), time.process_time()), len(parcels)
        self.ids.update(parcel.message.id for parcel in parcels)
        return [ACCEPTED] * len(parcels)

    async def close(self) -> None: ...


async def main(address: str, queue: str, count: int) -> dict[str, float]:
    """Drains the queue. The measured time begins with the first message delivered, as in the other rows."""
    host, _, port = address.rpartition(":")
    counter = Counter()
    parts = Parts(
        connect=ActiveMq(Login(BROKER_USER, BROKER_PASSWORD)),
        addresses=[BrokerAddress(host, int(port))],
        message_filter=MemoryFilter(lambda _topic, _parcel: ()),
        targets=Targets(lambda _spec: counter),
        answers=MemoryAnswers(),
        dedup=lambda _route: MemoryDedup(),
        dedup_ended=lambda _route: None,
        clock=Clock(monotonic=time.monotonic, wall=lambda: time.time_ns() // 1_000_000, random=random.random),
        drain_seconds=5.0,
    )
    bridge = Bridge(parts, report=lambda _serving, _detail: None)
    route = {"source": f"queue://{queue}", "targets": [{"grpc": {"address": "nobody:1"}}]}
    bridge.apply(Stored(name=f"{ROUTES_PATH}/transport", value=json.dumps(route)))
    while bridge.snapshots()[0].stats.settled < count:  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(0.02)  # a snapshot looks at every message in flight: seldom enough to cost nothing
    ended = time.perf_counter(), time.process_time()
    began = counter.started or ended
    await bridge.stop()
    return {
        "messages": len(counter.ids),
        "work": count - counter.first_batch,
        "seconds": ended[0] - began[0],
        "cpu_seconds": ended[1] - began[1],
    }


if __name__ == "__main__":
    calm_garbage_collector()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        figures = runner.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
    sys.stdout.write(f"{json.dumps(figures)}\n")
