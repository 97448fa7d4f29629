"""Routes with several targets on the real broker, and what keeps a target from being called too often."""

import asyncio
from uuid import uuid4

import pytest
from penstock.bridge.v1 import bridge_service_pb2

from broker_bridge.activemq import ActiveMq
from broker_bridge.broker import BrokerAddress, Login
from broker_bridge.visit import Visit
from deploy.local.activemq import BROKER_PASSWORD, BROKER_USER
from deploy.local.jms import JmsClient, JmsMessage, JmsTyped, JmsValue
from tests.integration.bridge_harness import (
    RecordingService,
    RunningBridge,
    accepted,
    bridge_settings,
    eventually,
    retry,
    running_bridge,
)
from tests.integration.http_place import Endpoint
from tests.integration.parts import RunningPart

AT_ONCE = {"initial_backoff": "0.01s", "max_backoff": "0.01s"}


@pytest.fixture
def queue() -> str:
    return f"fan-out-{uuid4().hex[:8]}"


async def settled(bridge: RunningBridge, route: str, count: int) -> None:
    async def done() -> bool:
        return (await bridge.stats(route)).settled >= count

    await eventually(done, f"{count} messages settled")


async def test_targets_that_took_a_message_are_not_asked_again_for_those_that_failed(
    activemq: RunningPart,
    valkey: RunningPart,
    service: RecordingService,
    http_endpoint: Endpoint,
    queue: str,
    jms: JmsClient,
) -> None:
    """Each of three targets gets each message once, though two of them fail at the first attempt."""
    http_endpoint.decide = http_endpoint.fail_once
    service.decide = lambda message: retry("not now") if message.attempt == 1 else accepted()
    targets = [
        {"grpc": {"address": service.address}},
        {"http": {"url": f"http://{http_endpoint.address}/"}},
        {"queue": {"destination": f"queue://{queue}.copies"}},
    ]
    async with running_bridge(bridge_settings(activemq, valkey)) as bridge:
        await bridge.put("three", {"source": f"queue://{queue}", "targets": targets, "retry": AT_ONCE})
        messages = [JmsMessage(text="fail once" if number % 3 == 0 else f"message {number}") for number in range(30)]
        sent = await asyncio.to_thread(jms.send, queue, messages)
        await settled(bridge, "three", 30)
    copies = await asyncio.to_thread(jms.drain, f"{queue}.copies")
    copied = [copy.properties["penstock_message_id"].value for copy in copies.messages]
    assert sorted(service.ids) == sorted(http_endpoint.arrived) == sorted(copied) == sorted(sent)


async def test_a_copy_in_another_queue_is_what_the_producer_sent(
    activemq: RunningPart, valkey: RunningPart, queue: str, jms: JmsClient
) -> None:
    """Class, body, headers and properties; the types of properties are lost on the way."""
    headers = {"correlation-id": "c-1", "type": "order", "priority": "7"}
    more = {"reply-to": "answers", "time-to-live": "3600000"}
    properties: dict[str, JmsTyped] = {"colour": "blue: \\ green", "count": JmsValue(type="int", value=42)}
    text = JmsMessage(text="zażółć 😀 \x00 end", headers=headers | more, properties=properties)
    data = JmsMessage(data=b"\x00\xff\n", headers={"delivery-mode": "non-persistent"})
    async with running_bridge(bridge_settings(activemq, valkey)) as bridge:
        targets = [{"queue": {"destination": f"queue://{queue}.copies"}}]
        await bridge.put("copy", {"source": f"queue://{queue}", "targets": targets})
        await asyncio.to_thread(jms.send, queue, [text, data])
        await settled(bridge, "copy", 2)
    address = BrokerAddress("127.0.0.1", activemq.port("stomp"))
    async with Visit(ActiveMq(Login(BROKER_USER, BROKER_PASSWORD)), [address]) as visit:
        shown = [headers async for headers, _ in visit.browse(f"queue://{queue}.copies")]
    assert [frame.get("persistent") for frame in shown] == ["true", None]
    assert shown[0]["reply-to"] == "/queue/answers"
    assert 0 < int(shown[0]["expires"]) - int(shown[0]["timestamp"]) <= 3_600_000
    first, second = (await asyncio.to_thread(jms.drain, f"{queue}.copies")).messages
    assert (first.kind, first.body) == ("text", text.text)
    assert (second.kind, second.body) == ("bytes", data.data)
    assert {name: first.headers.get(name) for name in headers} == headers
    assert {name: first.properties[name].value for name in properties} == {"colour": "blue: \\ green", "count": "42"}


async def test_a_target_that_is_away_is_not_called_until_its_circuit_is_tried_again(
    activemq: RunningPart, valkey: RunningPart, service: RecordingService, queue: str, jms: JmsClient
) -> None:
    """The open circuit is seen in state, counts and health; the bridge serves on, and everything arrives in the end."""
    await service.stop()
    route = {
        "source": f"queue://{queue}",
        "targets": [{"grpc": {"address": service.address}}],
        "circuit_breaker": {"failures": 2, "open": "0.5s"},
        "retry": {"unavailable": AT_ONCE},
    }
    async with running_bridge(bridge_settings(activemq, valkey)) as bridge:
        await bridge.put("breaker", route)
        sent = await asyncio.to_thread(jms.send, queue, [JmsMessage(text=f"message {n}") for n in range(10)])

        async def opened() -> bool:
            return (await bridge.stats("breaker")).open_circuits == 1

        await eventually(opened, "the circuit is open")
        (state,) = (await bridge.api.ListRoutes(bridge_service_pb2.ListRoutesRequest())).routes
        assert state.status == bridge_service_pb2.ROUTE_STATUS_ACTIVE
        assert f"circuit open: gRPC {service.address}" in state.detail
        health = bridge.health.get("routes")
        assert health is not None
        assert health.serving
        assert "circuit open" in health.detail
        await service.start()
        await settled(bridge, "breaker", 10)
        stats = await bridge.stats("breaker")
        assert (stats.open_circuits, stats.dead_lettered) == (0, 0)
        assert stats.circuits_opened >= 1
    assert sorted(service.ids) == sorted(sent)


async def test_a_rate_limit_holds_messages_back_and_loses_none(
    activemq: RunningPart, valkey: RunningPart, service: RecordingService, queue: str, jms: JmsClient
) -> None:
    """What is beyond a second's worth waits."""
    targets = [{"grpc": {"address": service.address}}]
    sent = await asyncio.to_thread(jms.send, queue, [JmsMessage(text=f"message {n}") for n in range(400)])
    async with running_bridge(bridge_settings(activemq, valkey)) as bridge:
        await bridge.put("limited", {"source": f"queue://{queue}", "targets": targets, "rate_limit": 200})
        await settled(bridge, "limited", 400)
        assert (await bridge.stats("limited")).rate_limited > 0
    assert sorted(service.ids) == sorted(sent)
