"""kill -9 of the broker and of the bridge in the middle of 2,000 messages: nothing is lost."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from deploy.local.jms import JmsClient, JmsMessage
from tests.integration.bridge_harness import (
    BridgeProcess,
    RecordingService,
    bridge_settings,
    eventually,
    process_settings,
    running_bridge,
    stored,
)
from tests.integration.config_fake import FakeConfig
from tests.integration.parts import RunningPart

MESSAGES = 2000
CONCURRENCY = 4
BATCH = 20


@pytest.fixture
async def service() -> AsyncIterator[RecordingService]:
    """A target slow enough for a kill to hit deliveries that run."""
    recording = RecordingService()
    recording.before = lambda: asyncio.sleep(0.05)
    await recording.start()
    yield recording
    await recording.stop()


@pytest.fixture
async def config() -> AsyncIterator[FakeConfig]:
    fake = FakeConfig()  # type: ignore[abstract]
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
def queue() -> str:
    return f"restart-{uuid4().hex[:8]}"


def route(queue: str, service: RecordingService) -> dict[str, object]:
    return {
        "source": f"queue://{queue}",
        "targets": [{"grpc": {"address": service.address}}],
        "batch": {"max_messages": BATCH},
        "concurrency": CONCURRENCY,
        "prefetch": 200,
    }


async def send(jms: JmsClient, queue: str) -> list[str]:
    return await asyncio.to_thread(jms.send, queue, [JmsMessage(text=f"message {n}") for n in range(MESSAGES)])


async def test_no_message_is_lost_or_repeated_when_the_broker_is_killed(
    activemq: RunningPart, valkey: RunningPart, service: RecordingService, jms: JmsClient, queue: str
) -> None:
    """Three kills: the broker sends unconfirmed messages again, and dedup keeps them from the target."""
    sent = await send(jms, queue)
    async with running_bridge(bridge_settings(activemq, valkey)) as bridge:
        bridge.bridge.apply(stored("kill-broker", route(queue, service)))
        for part in (1, 2, 3):
            await delivered(service, part * MESSAGES // 4)
            await activemq.kill()
            await activemq.start()
        await delivered(service, MESSAGES)

        async def drained() -> bool:
            return (await bridge.stats("kill-broker")).in_flight == 0

        await eventually(drained, "all settled")
    assert sorted(service.ids) == sorted(sent)
    assert (await asyncio.to_thread(jms.drain, queue)).count == 0


async def test_no_message_is_lost_when_the_bridge_is_killed(
    activemq: RunningPart,
    valkey: RunningPart,
    service: RecordingService,
    config: FakeConfig,
    jms: JmsClient,
    queue: str,
    tmp_path: Path,
) -> None:
    """Two kills: at most the deliveries that ran at that moment are repeated."""
    sent = await send(jms, queue)
    config.put("/penstock/routes/kill-bridge", json.dumps(route(queue, service)))
    bridge = BridgeProcess(process_settings(activemq, valkey), config, tmp_path / "bridge.log")
    await bridge.start()
    for part in (1, 2):
        await delivered(service, part * MESSAGES // 3)
        await bridge.kill()
        await bridge.start()
    await eventually(lambda: set(service.ids) == set(sent), "all delivered")
    assert await bridge.end() == 0
    repeated = sum(count - 1 for count in service.times_delivered.values())
    assert repeated <= 2 * CONCURRENCY * BATCH
    assert (await asyncio.to_thread(jms.drain, queue)).count == 0


async def test_a_bridge_that_acknowledges_before_it_delivers_is_caught(
    activemq: RunningPart,
    valkey: RunningPart,
    service: RecordingService,
    config: FakeConfig,
    jms: JmsClient,
    queue: str,
    tmp_path: Path,
) -> None:
    """The control: the same kill loses messages when the ACK comes too early."""
    sent = await send(jms, queue)
    config.put("/penstock/routes/early-ack", json.dumps(route(queue, service)))
    module = "tests.integration.early_ack_bridge"
    bridge = BridgeProcess(process_settings(activemq, valkey), config, tmp_path / "bridge.log", module=module)
    await bridge.start()
    await delivered(service, MESSAGES // 3)
    await bridge.kill()
    await bridge.start()

    async def drained() -> bool:
        stats = await bridge.stats("early-ack")
        return stats is not None and stats.settled > 0 and stats.in_flight == 0

    await eventually(drained, "everything worked off")
    await bridge.end()
    assert (await asyncio.to_thread(jms.drain, queue)).count == 0
    assert set(sent) - set(service.ids), "an early ACK lost nothing: the kill tests prove nothing"


async def delivered(service: RecordingService, count: int) -> None:
    await eventually(lambda: len(service.messages) >= count, f"{count} delivered")
