"""From a real JMS producer through a real ActiveMQ to a gRPC service."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from deploy.local.jms import JmsClient, JmsMessage
from tests.integration.bridge_harness import (
    RecordingService,
    RunningBridge,
    bridge_settings,
    eventually,
    rejected,
    retry,
    running_bridge,
)
from tests.integration.parts import RunningPart


@pytest.fixture
async def service() -> AsyncIterator[RecordingService]:
    recording = RecordingService()
    await recording.start()
    yield recording
    await recording.stop()


@pytest.fixture
async def bridge(activemq: RunningPart, valkey: RunningPart) -> AsyncIterator[RunningBridge]:
    async with running_bridge(bridge_settings(activemq, valkey)) as running:
        yield running


@pytest.fixture
def queue() -> str:
    return f"bridge-{uuid4().hex[:8]}"


def to_service(queue: str, service: RecordingService, **more: object) -> dict[str, object]:
    return {
        "source": f"queue://{queue}",
        "targets": [{"grpc": {"address": service.address}}],
        "retry": {"initial_backoff": "0.05s", "max_backoff": "0.2s", "max_attempts": 3},
        **more,
    }


async def test_text_and_bytes_arrive_as_they_were_sent(
    bridge: RunningBridge, service: RecordingService, jms: JmsClient, queue: str
) -> None:
    """Every class of message that STOMP carries, with its properties, exactly once."""
    await bridge.put("plain", to_service(queue, service, attributes={"count": "ATTRIBUTE_TYPE_NUMBER"}))
    text = "zażółć 😀 \x00 end"
    ids = await asyncio.to_thread(
        jms.send,
        queue,
        [
            JmsMessage(text=text, properties={"count": 42, "name": "n"}, headers={"correlation-id": "c-1"}),
            JmsMessage(data=b"\x00\xff\x80"),
        ],
    )
    await eventually(lambda: len(service.messages) == 2, "both delivered")
    by_id = {message.id: message for message in service.messages}
    first, second = by_id[ids[0]], by_id[ids[1]]
    assert first.text == text
    assert first.properties["count"].int_value == 42
    assert first.properties["name"].string_value == "n"
    assert first.correlation_id == "c-1"
    assert first.destination == f"queue://{queue}"
    assert second.data == b"\x00\xff\x80"
    await eventually(lambda: settled(bridge, "plain", 2), "both settled")


async def settled(bridge: RunningBridge, route: str, count: int) -> bool:
    return (await bridge.stats(route)).settled == count


async def test_a_refused_message_becomes_a_dead_letter_and_can_be_replayed(
    bridge: RunningBridge, service: RecordingService, jms: JmsClient, queue: str
) -> None:
    """Reason, attempts and origin are kept; replay brings it back through the route; nothing stays behind."""
    service.decide = lambda _message: rejected("not today")
    await bridge.put("refused", to_service(queue, service))
    (sent,) = await asyncio.to_thread(jms.send, queue, [JmsMessage(text="hello", properties={"a": "b"})])
    await eventually(lambda: settled(bridge, "refused", 1), "given up")
    (dead,) = await bridge.dead_letters(queue)
    assert "not today" in dead.reason
    assert (dead.attempts, dead.error_class, dead.route) == (1, "refused", "refused")
    assert dead.original_message_id == sent
    assert dead.original_destination == f"queue://{queue}"
    assert dead.message.text == "hello"


async def test_a_failing_message_is_tried_again_and_then_given_up(
    bridge: RunningBridge, service: RecordingService, jms: JmsClient, queue: str
) -> None:
    """As often as the route says."""
    service.decide = lambda _message: retry("still no")
    await bridge.put("failing", to_service(queue, service))
    await asyncio.to_thread(jms.send, queue, [JmsMessage(text="hello")])
    await eventually(lambda: settled(bridge, "failing", 1), "given up")
    (dead,) = await bridge.dead_letters(queue)
    assert (dead.attempts, dead.error_class) == (3, "unavailable")
    assert [message.attempt for request in service.requests for message in request.messages] == [1, 2, 3]
