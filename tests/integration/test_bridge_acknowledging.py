"""One ACK for many messages on a real broker, and one each as soon as a message needs it."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from uuid import uuid4

import pytest
from penstock.delivery.v1 import broker_message_pb2, delivery_service_pb2
from structlog.testing import capture_logs

from broker_bridge.message import Message
from broker_bridge.postponement import Postponed
from deploy.local.jms import JmsClient, JmsMessage
from tests.integration.bridge_harness import (
    Decide,
    RecordingService,
    RunningBridge,
    accepted,
    bridge_settings,
    eventually,
    rejected,
    retry,
    running_bridge,
    stored,
)
from tests.integration.parts import RunningPart

MESSAGES = 1000


@pytest.fixture
async def sent(jms: JmsClient) -> tuple[str, Sequence[str]]:
    """A queue and the ids of the messages in it, numbered by their text."""
    queue = f"together-{uuid4().hex[:8]}"
    messages = [JmsMessage(text=str(number)) for number in range(MESSAGES)]
    return queue, await asyncio.to_thread(jms.send, queue, messages)


def route(queue: str, service: RecordingService, **more: object) -> dict[str, object]:
    return {
        "source": f"queue://{queue}",
        "targets": [{"grpc": {"address": service.address}}],
        "batch": {"max_messages": 20},
        "concurrency": 8,
        **more,
    }


def ways(logs: Sequence[Mapping[str, object]]) -> list[object]:
    """How the subscriptions acknowledged, one after the other."""
    return [line["acknowledging"] for line in logs if line["event"] == "subscribed"]


async def settled(bridge: RunningBridge, name: str, count: int) -> bool:
    return (await bridge.stats(name)).settled == count


async def left(bridge: RunningBridge, name: str, jms: JmsClient, queue: str) -> int:
    """How many messages the broker gives to the next consumer when the route has ended."""
    bridge.bridge.apply(stored(name, None))

    async def has_ended() -> bool:
        return not await bridge.status(name)

    await eventually(has_ended, "the route ended")
    return (await asyncio.to_thread(jms.drain, queue, maximum=MESSAGES, idle_seconds=1, keep=False)).count


def in_turn(number: int, *outcomes: Decide) -> Decide:
    """The message of this number meets these outcomes one after the other, every other one is accepted."""
    waiting = list(outcomes)
    return lambda message: waiting.pop(0)(message) if message.text == str(number) and waiting else accepted()


async def test_many_messages_are_settled_by_few_acks(
    bridge: RunningBridge, service: RecordingService, jms: JmsClient, sent: tuple[str, Sequence[str]]
) -> None:
    """Whatever order the deliveries end in; nothing is left in the queue, and nothing came twice."""
    queue, ids = sent
    turn = 0

    async def uneven() -> None:
        nonlocal turn
        turn += 1
        for _ in range(turn % 5):
            await asyncio.sleep(0.005)

    service.before = uneven
    with capture_logs() as logs:
        await bridge.put("together", route(queue, service))
        await eventually(lambda: settled(bridge, "together", MESSAGES), "all settled")
    assert ways(logs)[0] == "together"
    assert sorted(service.ids) == sorted(ids)
    assert await left(bridge, "together", jms, queue) == 0


async def test_a_slow_delivery_keeps_no_other_message_from_being_settled(
    bridge: RunningBridge, service: RecordingService, sent: tuple[str, Sequence[str]]
) -> None:
    """The subscription is renewed beside it, and the slow one is neither repeated nor forgotten."""
    queue, ids = sent
    answer = asyncio.Event()
    first = True

    async def first_is_slow() -> None:
        nonlocal first
        if first:
            first = False
            await answer.wait()

    service.before = first_is_slow
    with capture_logs() as logs:
        await bridge.put("slow", route(queue, service))
        await eventually(lambda: bool(service.requests), "the first batch begun")
        slow = len(service.requests[0].messages)
        await eventually(lambda: settled(bridge, "slow", MESSAGES - slow), "all but the slow batch settled")
        answer.set()
        await eventually(lambda: settled(bridge, "slow", MESSAGES), "all settled")
    assert ways(logs)[:2] == ["together", "one by one"]
    assert sorted(service.ids) == sorted(ids)


async def test_a_dead_letter_is_moved_alone(
    bridge: RunningBridge, service: RecordingService, jms: JmsClient, sent: tuple[str, Sequence[str]]
) -> None:
    """By a connection that acknowledges one by one; nothing else is moved, lost or repeated."""
    queue, ids = sent
    service.decide = in_turn(500, lambda _message: rejected("never"))
    with capture_logs() as logs:
        await bridge.put("poison", route(queue, service))
        await eventually(lambda: settled(bridge, "poison", MESSAGES), "all settled")
    assert ways(logs)[:2] == ["together", "one by one"]
    assert sorted(service.ids) == sorted([*ids[:500], *ids[501:]])
    (letter,) = await bridge.dead_letters(queue)
    assert (letter.original_message_id, letter.attempts) == (ids[500], 1)
    assert await left(bridge, "poison", jms, queue) == 0


async def test_a_message_that_is_tried_again_comes_no_sooner_and_no_second_time_for_it(
    bridge: RunningBridge, service: RecordingService, sent: tuple[str, Sequence[str]]
) -> None:
    """It keeps its wait and its count over the renewal that lets the others be settled."""
    queue, ids = sent
    times: list[float] = []

    def decide(message: broker_message_pb2.BrokerMessage) -> delivery_service_pb2.DeliveryResult:
        if message.text != "10":
            return accepted()
        times.append(time.monotonic())
        return retry("not yet") if len(times) == 1 else accepted()

    service.decide = decide
    with capture_logs() as logs:
        # The wait is half of that at least: the rest is jitter.
        await bridge.put("again", route(queue, service, retry={"initial_backoff": "6s", "max_backoff": "6s"}))
        await eventually(lambda: settled(bridge, "again", MESSAGES), "all settled")
    assert ways(logs)[:2] == ["together", "one by one"]
    assert sorted(service.ids) == sorted(ids)
    first, second = times
    assert second - first >= 3


async def test_what_is_behind_a_waiting_message_of_its_batch_is_settled_although_nothing_follows(
    bridge: RunningBridge, service: RecordingService, jms: JmsClient
) -> None:
    """An idle queue: no other message brings it up."""
    queue = f"together-{uuid4().hex[:8]}"
    await asyncio.to_thread(jms.send, queue, [JmsMessage(text=str(number)) for number in range(20)])
    service.decide = in_turn(3, lambda _message: retry("not yet"))
    waits = {"initial_backoff": "300s", "max_backoff": "300s"}
    await bridge.put("idle", route(queue, service, batch={"max_messages": 20, "window": "0.3s"}, retry=waits))
    await eventually(lambda: settled(bridge, "idle", 19), "all but the waiting one settled")


async def test_a_message_that_breaks_the_bridge_takes_none_along(
    bridge: RunningBridge, service: RecordingService, jms: JmsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What arrived with it and was not taken note of must not be acknowledged with what follows."""
    queue = f"together-{uuid4().hex[:8]}"
    texts = ["one", "bad", "two", "three"]

    def breaks(message: Message) -> Postponed | None:
        if message.body == b"bad" and texts:
            raise TypeError("a fault of ours")
        return None

    monkeypatch.setattr("broker_bridge.pump.postponed", breaks)
    await bridge.put("broken", route(queue, service))
    with capture_logs() as logs:
        for some in (texts, ["four"]):
            await asyncio.to_thread(jms.send, queue, [JmsMessage(text=text) for text in some])
        await eventually(lambda: "no subscription" in {line["event"] for line in logs}, "the connection given up")
    texts.clear()
    await eventually(lambda: len(service.messages) >= 5, "all delivered")
    assert await left(bridge, "broken", jms, queue) == 0
    assert sorted(message.text for message in service.messages) == ["bad", "four", "one", "three", "two"]


async def test_a_route_that_begins_while_the_dedup_store_is_away_acknowledges_one_by_one(
    activemq: RunningPart, service: RecordingService, jms: JmsClient
) -> None:
    """What another route has found out counts for it too; nobody would know what was delivered and is kept back."""
    queue = f"together-{uuid4().hex[:8]}"
    await asyncio.to_thread(jms.send, queue, [JmsMessage(text="one")])
    async with running_bridge(bridge_settings(activemq)) as bridge:
        with capture_logs() as logs:
            await bridge.put("first", route(queue, service))
            await eventually(lambda: settled(bridge, "first", 1), "delivered without the store")
            await bridge.put("second", route(f"{queue}-second", service))
        assert ways(logs) == ["together", "one by one"]
