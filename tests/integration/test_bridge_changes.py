"""A route that changes without rest while messages flow."""

import asyncio
from uuid import uuid4

import pytest

from deploy.local.jms import JmsClient, JmsMessage
from tests.integration.bridge_harness import (
    RecordingService,
    bridge_settings,
    eventually,
    running_bridge,
    stored,
)
from tests.integration.parts import RunningPart


@pytest.fixture
def queue() -> str:
    return f"restless-{uuid4().hex[:8]}"


async def test_a_route_that_changes_a_hundred_times_while_messages_flow_loses_and_repeats_nothing(
    activemq: RunningPart, valkey: RunningPart, queue: str, service: RecordingService, jms: JmsClient
) -> None:
    """Paused, deleted, made anew, with Valkey killed on the way: each message arrives once."""
    route = {"source": f"queue://{queue}", "targets": [{"grpc": {"address": service.address}}]}
    forms: list[dict[str, object] | None] = [
        {**route, "prefetch": 10},
        {**route, "paused": True},
        {**route, "lanes": 2},
        None,
        {**route, "batch": {"max_messages": 3}},
    ]
    service.before = lambda: asyncio.sleep(0.005)
    sent = await asyncio.to_thread(jms.send, queue, [JmsMessage(text=f"m{n}") for n in range(1500)])
    async with running_bridge(bridge_settings(activemq, valkey)) as bridge:
        for number in range(100):
            bridge.bridge.apply(stored("restless", forms[number % len(forms)], version=number + 1))
            await asyncio.sleep(0.01 if number % 3 else 0.05)
            if number == 40:
                await valkey.kill()
            if number == 60:
                await valkey.start()
        seen_meanwhile = len(service.messages)
        await bridge.put("restless", route)
        await eventually(lambda: len(service.messages) >= len(sent), "all delivered")

        async def empty() -> bool:
            return (await bridge.stats("restless")).in_flight == 0

        await eventually(empty, "all settled")
    assert 0 < seen_meanwhile < len(sent), "nothing flowed, or all, before the route came to rest"
    assert sorted(service.ids) == sorted(sent)
    assert (await asyncio.to_thread(jms.drain, queue)).count == 0
