"""A target slower than its producers: what the bridge holds stays bounded, and its connection alive."""

import asyncio
from uuid import uuid4

import pytest
from penstock.bridge.v1 import bridge_service_pb2

from broker_bridge import activemq as activemq_adapter
from deploy.local.jms import JmsClient, JmsMessage
from tests.integration.bridge_harness import RecordingService, bridge_settings, eventually, running_bridge
from tests.integration.parts import RunningPart

MIB = 1024 * 1024


@pytest.fixture
def queue() -> str:
    return f"pressure-{uuid4().hex[:8]}"


async def test_bytes_in_flight_are_bounded_and_nothing_is_delivered_twice(
    activemq: RunningPart, valkey: RunningPart, queue: str, service: RecordingService, jms: JmsClient
) -> None:
    """Large messages with a window meant for small ones; small ones behind them pass in large batches again."""
    large = [JmsMessage(data=bytes([n]) * (MIB // 2)) for n in range(24)]
    sent = await asyncio.to_thread(jms.send, queue, [*large, *(JmsMessage(text=f"small {n}") for n in range(100))])
    service.before = lambda: asyncio.sleep(0.02)
    most = 0
    route = {
        "source": f"queue://{queue}",
        "targets": [{"grpc": {"address": service.address}}],
        "max_in_flight_bytes": 4 * MIB,
        "batch": {"max_messages": 4},
    }
    async with running_bridge(bridge_settings(activemq, valkey)) as bridge:
        await bridge.put("bounded", route)

        async def all_settled() -> bool:
            nonlocal most
            stats = await bridge.stats("bounded")
            most = max(most, stats.in_flight_bytes)
            return stats.settled == len(sent)

        await eventually(all_settled, "all settled")
    assert 2 * MIB < most <= 5 * MIB
    assert sorted(service.ids) == sorted(sent)
    assert (await asyncio.to_thread(jms.drain, queue)).count == 0


async def test_messages_in_flight_are_bounded_by_the_prefetch(
    activemq: RunningPart, valkey: RunningPart, queue: str, service: RecordingService, jms: JmsClient
) -> None:
    """While the target does not answer, the others stay in the broker."""
    answer = asyncio.Event()

    async def until_told() -> None:
        await answer.wait()

    service.before = until_told
    route = {"source": f"queue://{queue}", "targets": [{"grpc": {"address": service.address}}], "prefetch": 20}
    sent = await asyncio.to_thread(jms.send, queue, [JmsMessage(text=f"m{n}") for n in range(200)])
    async with running_bridge(bridge_settings(activemq, valkey)) as bridge:
        await bridge.put("held", {**route, "batch": {"max_messages": 1}})

        async def full() -> bool:
            return (await bridge.stats("held")).in_flight == 20

        await eventually(full, "as many as it may hold")
        assert (await bridge.stats("held")).received == 20
        answer.set()
        await eventually(lambda: len(service.messages) == 200, "all delivered")
    assert sorted(service.ids) == sorted(sent)


async def test_a_target_slower_than_the_heart_beats_breaks_no_connection(
    activemq: RunningPart,
    valkey: RunningPart,
    queue: str,
    service: RecordingService,
    jms: JmsClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With beats of half a second, the delivery takes three."""
    monkeypatch.setattr(activemq_adapter, "_HEART_BEAT_SECONDS", 0.5)
    monkeypatch.setattr(activemq_adapter, "_SILENCE_SECONDS", 1.25)
    service.before = lambda: asyncio.sleep(3)
    async with running_bridge(bridge_settings(activemq, valkey)) as bridge:
        route = {"source": f"queue://{queue}", "targets": [{"grpc": {"address": service.address}}], "prefetch": 1}
        await bridge.put("slow", route)
        await asyncio.to_thread(jms.send, queue, [JmsMessage(text="a")])
        await eventually(lambda: len(service.messages) == 1, "delivered")
        response = await bridge.api.GetStats(bridge_service_pb2.GetStatsRequest())
        assert response.reconnects == 0
    assert set(service.times_delivered.values()) == {1}
