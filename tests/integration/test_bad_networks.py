"""The bridge on a network that is slow, loses packets, is cut and falls silent: every message arrives, once."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from broker_bridge import activemq as activemq_adapter
from deploy.local.jms import JmsClient, JmsMessage
from services.runtime.health import HealthState
from tests.integration.bridge_harness import RecordingService, bridge_settings, eventually, running_bridge
from tests.integration.fault_proxy import FaultProxy, Faults, fault_proxy
from tests.integration.parts import RunningPart

MESSAGES = 600
_NOBODY = HealthState(serving=False)


@pytest.fixture
async def network(activemq: RunningPart) -> AsyncIterator[FaultProxy]:
    """What lies between bridge and broker."""
    async with fault_proxy(activemq.addresses["stomp"]) as proxy:
        yield proxy


@pytest.fixture
def queue() -> str:
    return f"network-{uuid4().hex[:8]}"


def route(queue: str, service: RecordingService) -> dict[str, object]:
    return {
        "source": f"queue://{queue}",
        "targets": [{"grpc": {"address": service.address}}],
        "batch": {"max_messages": 20},
        "prefetch": 100,
    }


async def send(jms: JmsClient, queue: str) -> list[str]:
    return await asyncio.to_thread(jms.send, queue, [JmsMessage(text="x" * 200) for _ in range(MESSAGES)])


@pytest.mark.parametrize(
    "faults",
    [
        Faults(delay=0.05, jitter=0.05),
        Faults(loss=0.2),
        Faults(bytes_per_second=200_000),
    ],
    ids=["50 to 100 ms each way", "every fifth chunk is lost once", "200 kB/s"],
)
async def test_a_bad_network_slows_messages_down_and_does_no_more(
    activemq: RunningPart,
    valkey: RunningPart,
    network: FaultProxy,
    service: RecordingService,
    jms: JmsClient,
    queue: str,
    faults: Faults,
) -> None:
    """No connection is given up for it, nothing is delivered twice."""
    sent = await send(jms, queue)
    network.faults = faults
    settings = bridge_settings(activemq, valkey, broker_urls=(f"stomp://{network.address}",))
    async with running_bridge(settings) as bridge:
        await bridge.put("network", route(queue, service))
        await eventually(lambda: len(service.ids) >= MESSAGES, "every message delivered")

        async def drained() -> bool:
            return (await bridge.stats("network")).settled == MESSAGES

        await eventually(drained, "everything settled")
    assert sorted(service.ids) == sorted(sent)
    assert network.connections == 1
    assert network.added_seconds > 0, "the network was not bad at all"


async def test_a_network_that_is_cut_again_and_again_loses_and_repeats_nothing(
    activemq: RunningPart,
    valkey: RunningPart,
    network: FaultProxy,
    service: RecordingService,
    jms: JmsClient,
    queue: str,
) -> None:
    """Five resets in the middle of deliveries; the health tells of each lost connection and clears."""
    service.before = lambda: asyncio.sleep(0.02)
    sent = await send(jms, queue)
    settings = bridge_settings(activemq, valkey, broker_urls=(f"stomp://{network.address}",))
    async with running_bridge(settings) as bridge:
        await bridge.put("cut", route(queue, service))
        for part in range(1, 6):
            await eventually(lambda least=part * 80: len(service.ids) >= least, f"part {part}")  # type: ignore[misc]
            network.cut()
            await eventually(lambda: "cut" in (bridge.health.get() or _NOBODY).detail, "health tells of the route")
        await eventually(lambda: len(service.ids) >= MESSAGES, "every message delivered")
        await eventually(lambda: not (bridge.health.get() or _NOBODY).detail, "health clears")
    assert sorted(service.ids) == sorted(sent)


async def test_a_network_that_falls_silent_is_noticed_by_heartbeats(
    activemq: RunningPart,
    valkey: RunningPart,
    network: FaultProxy,
    service: RecordingService,
    jms: JmsClient,
    queue: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The connection stays open and nothing comes: the bridge gives it up, and goes on when the network is back."""
    monkeypatch.setattr(activemq_adapter, "_HEART_BEAT_SECONDS", 2.0)
    monkeypatch.setattr(activemq_adapter, "_SILENCE_SECONDS", 5.0)
    settings = bridge_settings(activemq, valkey, broker_urls=(f"stomp://{network.address}",))
    async with running_bridge(settings) as bridge:
        await bridge.put("silent", route(queue, service))
        network.fall_silent()
        await eventually(lambda: "silent" in (bridge.health.get() or _NOBODY).detail, "health tells of the route")
        sent = await send(jms, queue)
        network.speak()
        await eventually(lambda: len(service.ids) >= MESSAGES, "every message delivered")
        await eventually(lambda: not (bridge.health.get() or _NOBODY).detail, "health clears")
    assert sorted(service.ids) == sorted(sent)
