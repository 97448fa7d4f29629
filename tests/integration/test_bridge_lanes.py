"""Message groups of a Java producer (JMSXGroupID) keep their order over lanes."""

import asyncio
import random
from collections import Counter, defaultdict
from uuid import uuid4

import pytest
from penstock.delivery.v1 import broker_message_pb2, delivery_service_pb2

from deploy.local.jms import JmsClient, JmsMessage
from tests.integration.bridge_harness import (
    RecordingService,
    accepted,
    bridge_settings,
    eventually,
    rejected,
    retry,
    running_bridge,
)
from tests.integration.parts import RunningPart

GROUPS = 12
MESSAGES = 25


@pytest.fixture
def queue() -> str:
    return f"lanes-{uuid4().hex[:8]}"


def route(queue: str, service: RecordingService, **more: object) -> dict[str, object]:
    return {
        "source": f"queue://{queue}",
        "targets": [{"grpc": {"address": service.address}}],
        "group_property": "group",
        "lanes": 4,
        "retry": {"initial_backoff": "0.01s", "max_backoff": "0.05s", "max_attempts": 20},
        **more,
    }


def grouped(group: str, number: int) -> JmsMessage:
    """A message of a group; STOMP hides JMSXGroupID, so its producer names the group once more."""
    return JmsMessage(text=str(number), properties={"JMSXGroupID": group, "group": group})


async def test_groups_keep_their_order_over_failures_and_a_killed_broker(
    activemq: RunningPart, valkey: RunningPart, queue: str, service: RecordingService, jms: JmsClient
) -> None:
    """With random latencies and refusals; what is rejected makes way. Nothing is delivered twice."""
    chance = random.Random(7)
    failures: Counter[str] = Counter()

    def decide(message: broker_message_pb2.BrokerMessage) -> delivery_service_pb2.DeliveryResult:
        if message.text == "13":
            return rejected("thirteen")
        if chance.random() < 0.2 and failures[message.id] < 5:
            failures[message.id] += 1
            return retry("by chance")
        return accepted()

    async def latency() -> None:
        await asyncio.sleep(chance.random() * 0.01)

    service.decide, service.before = decide, latency
    async with running_bridge(bridge_settings(activemq, valkey)) as bridge:
        await bridge.put("lanes", route(queue, service))
        sent = [grouped(f"g{group}", number) for number in range(MESSAGES) for group in range(GROUPS)]
        await asyncio.to_thread(jms.send, queue, sent)
        await eventually(lambda: len(service.messages) > GROUPS * MESSAGES // 4, "a part delivered")
        await activemq.kill()
        await activemq.start()
        await eventually(lambda: len(service.messages) >= GROUPS * (MESSAGES - 1), "all delivered")

        async def drained() -> bool:
            return (await bridge.stats("lanes")).in_flight == 0

        await eventually(drained, "all settled")
        assert len(await bridge.dead_letters(queue)) == GROUPS
    orders: dict[str, list[int]] = defaultdict(list)
    for message in service.messages:
        orders[message.group].append(int(message.text))
    assert failures
    assert orders == {f"g{group}": [n for n in range(MESSAGES) if n != 13] for group in range(GROUPS)}


async def test_a_lane_that_waits_does_not_hold_up_the_others(
    activemq: RunningPart, valkey: RunningPart, queue: str, service: RecordingService, jms: JmsClient
) -> None:
    """One group meets refusals for as long as it takes; groups of other lanes are through."""
    blocked = "g0"
    service.decide = lambda message: retry("not yet") if message.group == blocked and blocking else accepted()
    blocking = True
    async with running_bridge(bridge_settings(activemq, valkey)) as bridge:
        await bridge.put("lanes", route(queue, service, retry={"max_backoff": "0.5s", "max_attempts": 1000}))
        sent = [grouped(f"g{group}", number) for number in range(MESSAGES) for group in range(GROUPS)]
        await asyncio.to_thread(jms.send, queue, sent)
        # Groups are pinned in turn: the lane of the blocked group has its share of the others.
        others = GROUPS * 3 // 4 * MESSAGES
        await eventually(lambda: len(service.messages) >= others, "the groups of the other lanes are through")
        assert blocked not in {message.group for message in service.messages}
        blocking = False
        await eventually(lambda: len(service.messages) == GROUPS * MESSAGES, "all delivered")
    assert [int(m.text) for m in service.messages if m.group == blocked] == list(range(MESSAGES))
