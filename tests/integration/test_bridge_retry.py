"""Where messages wait for their next attempt: in the bridge, or in the broker."""

import asyncio
from uuid import uuid4

import pytest

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


@pytest.fixture
def queue() -> str:
    return f"retry-{uuid4().hex[:8]}"


async def test_refused_messages_wait_in_the_broker_as_delayed_copies(
    activemq: RunningPart, valkey: RunningPart, queue: str, service: RecordingService, jms: JmsClient
) -> None:
    """A restart of the bridge does not lose their attempts; the target sees the id and properties of the original.

    A message that cannot be copied waits in the bridge. What is given up tells the first message id.
    """
    service.decide = lambda message: accepted() if message.attempt == 3 and message.text != "never" else retry("no")
    settings = {"max_attempts": 4, "initial_backoff": "0.3s", "max_backoff": "0.5s"}
    route = {
        "source": f"queue://{queue}",
        "targets": [{"grpc": {"address": service.address}}],
        "retry": settings | {"strategy": "RETRY_STRATEGY_SCHEDULED"},
        "accept_empty": True,
        "prefetch": 1,
        "concurrency": 1,
    }
    sent = [JmsMessage(text="a", properties={"n": 1}), JmsMessage(entries={"a": 1}), JmsMessage(text="never")]
    ids = await asyncio.to_thread(jms.send, queue, sent)
    async with running_bridge(bridge_settings(activemq, valkey)) as bridge:
        await bridge.put("scheduled", route)
        await eventually(lambda: len(service.requests) >= 2, "the first attempts")
    async with running_bridge(bridge_settings(activemq, valkey)) as bridge:
        await bridge.put("scheduled", route)

        async def given_up() -> bool:
            return (await bridge.stats("scheduled")).dead_lettered == 1 and len(service.messages) == 2

        await eventually(given_up, "all decided")
        (dead,) = await bridge.dead_letters(queue)
        assert (dead.attempts, dead.original_message_id, dead.message.text) == (4, ids[2], "never")
        assert not [name for name in dead.message.properties if name.startswith("penstock_retry")]
    assert {message.id for message in service.messages} == set(ids[:2])
    (text,) = [message for message in service.messages if message.text == "a"]
    assert {name: value.string_value for name, value in text.properties.items()} == {"n": "1"}
    attempts = [message.attempt for request in service.requests for message in request.messages]
    assert sorted(attempts) == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4]
    assert (await asyncio.to_thread(jms.drain, queue)).count == 0


async def test_a_message_waiting_in_the_broker_holds_nobody_up(
    activemq: RunningPart, valkey: RunningPart, queue: str, service: RecordingService, jms: JmsClient
) -> None:
    """Not even with a prefetch of 1; rejected ones are dead letters at once all the same."""
    answers = {"later": retry("no"), "bad": rejected("bad")}
    service.decide = lambda message: answers.get(message.text, accepted())
    async with running_bridge(bridge_settings(activemq, valkey)) as bridge:
        route = {
            "source": f"queue://{queue}",
            "targets": [{"grpc": {"address": service.address}}],
            "retry": {"initial_backoff": "3600s", "max_backoff": "3600s", "strategy": "RETRY_STRATEGY_SCHEDULED"},
            "prefetch": 1,
        }
        await bridge.put("queue", route)
        texts = ["later", "good", "later", "bad", "good"]
        await asyncio.to_thread(jms.send, queue, [JmsMessage(text=text) for text in texts])

        async def decided() -> bool:
            stats = await bridge.stats("queue")
            return (stats.settled, stats.in_flight, stats.retried) == (3, 0, 2)

        await eventually(decided, "all decided")
        assert len(await bridge.dead_letters(queue)) == 1
