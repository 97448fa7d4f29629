"""From a real JMS producer through a real ActiveMQ to a gRPC service."""

import asyncio
from uuid import uuid4

import pytest
from penstock.bridge.v1 import bridge_service_pb2

from broker_bridge.routes import InvalidRouteError
from deploy.local.jms import JmsClient, JmsMessage
from tests.integration.bridge_harness import (
    RecordingService,
    RunningBridge,
    accepted,
    eventually,
    rejected,
    retry,
    stored,
)


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
    (sent,) = await asyncio.to_thread(jms.send, queue, [JmsMessage(text="hello \U0001f600", properties={"a": "b"})])
    await eventually(lambda: settled(bridge, "refused", 1), "given up")
    (dead,) = await bridge.dead_letters(queue)
    assert "not today" in dead.reason
    assert (dead.attempts, dead.error_class, dead.route) == (1, "refused", "refused")
    assert dead.original_message_id == sent
    assert dead.original_destination == f"queue://{queue}"
    assert dead.dead_letter_queue == f"queue://DLQ.{queue}"
    assert dead.message.text == "hello \U0001f600"
    assert dead.first_failed_at.seconds > 0
    service.decide = accepted
    replayed = await bridge.api.ReplayDeadLetters(
        bridge_service_pb2.ReplayDeadLettersRequest(source=f"queue://{queue}")
    )
    assert (replayed.replayed, replayed.skipped) == (1, 0)
    await eventually(lambda: len(service.messages) == 1, "delivered after all")
    (message,) = service.messages
    assert message.text == "hello \U0001f600"
    assert {name: value.string_value for name, value in message.properties.items()} == {"a": "b"}
    assert message.destination == f"queue://{queue}"
    assert await bridge.dead_letters(queue) == []


async def test_a_failing_message_is_tried_again_and_then_given_up(
    bridge: RunningBridge, service: RecordingService, jms: JmsClient, queue: str
) -> None:
    """As often as the route says; a Java consumer reads the dead letter as it was."""
    service.decide = lambda _message: retry("still no")
    await bridge.put("failing", to_service(queue, service))
    text = "zażółć 😀 \x00"
    (sent,) = await asyncio.to_thread(jms.send, queue, [JmsMessage(text=text, properties={"n": 5})])
    await eventually(lambda: settled(bridge, "failing", 1), "given up")
    (dead,) = await bridge.dead_letters(queue)
    assert (dead.attempts, dead.error_class) == (3, "refused")
    assert [message.attempt for request in service.requests for message in request.messages] == [1, 2, 3]
    (read,) = (await asyncio.to_thread(jms.drain, f"DLQ.{queue}")).messages
    assert (read.kind, read.body) == ("text", text)
    assert read.properties["penstock_original_message_id"].value == sent
    assert read.properties["n"].value == "5"


async def test_map_object_stream_and_empty_messages_are_dead_letters_and_stay_whole(
    bridge: RunningBridge, service: RecordingService, jms: JmsClient, queue: str
) -> None:
    """STOMP does not carry their bodies: the broker moves them, and the reason stands beside them."""
    await bridge.put("classes", to_service(queue, service))
    await asyncio.to_thread(
        jms.send,
        queue,
        [
            JmsMessage(entries={"a": 1, "b": "two"}, properties={"typed": 7}),
            JmsMessage(object_text="object"),
            JmsMessage(items=[1, "x"]),
            JmsMessage(null_text=True),
            JmsMessage(),
            JmsMessage(text="good"),
        ],
    )
    await eventually(lambda: settled(bridge, "classes", 6), "all settled")
    assert [message.text for message in service.messages] == ["good"]
    dead = await bridge.dead_letters(queue)
    assert len(dead) == 5
    assert all("Map, Object or Stream" in letter.reason and letter.error_class == "poison" for letter in dead)
    request = bridge_service_pb2.ReplayDeadLettersRequest(source=f"queue://{queue}")
    assert (await bridge.api.ReplayDeadLetters(request)).skipped == 5
    moved = (await asyncio.to_thread(jms.drain, f"DLQ.{queue}")).messages
    by_kind = {message.kind: message for message in moved}
    assert set(by_kind) == {"map", "object", "stream", "text", "empty"}
    assert by_kind["map"].entries["b"].value == "two"
    assert by_kind["map"].properties["typed"].value == 7


async def test_properties_of_the_name_of_a_header_are_neither_lost_nor_mistaken(
    bridge: RunningBridge, service: RecordingService, jms: JmsClient, queue: str
) -> None:
    """ActiveMQ writes them over the header: a dead letter must not be replayed to a queue called Paris."""
    await bridge.put("names", to_service(queue, service, attributes={"type": "ATTRIBUTE_TYPE_STRING"}))
    properties = {"destination": "Paris", "priority": "high", "type": "order"}
    await asyncio.to_thread(jms.send, queue, [JmsMessage(text="seen", properties=properties)])
    await eventually(lambda: len(service.messages) == 1, "delivered")
    assert {name: value.string_value for name, value in service.messages[0].properties.items()} == properties
    assert service.messages[0].destination == f"queue://{queue}"
    service.decide = lambda _message: rejected("no")
    await asyncio.to_thread(jms.send, queue, [JmsMessage(text="moved", properties=properties)])
    await eventually(lambda: settled(bridge, "names", 2), "given up")
    (dead,) = await bridge.dead_letters(queue)
    assert (dead.original_destination, dead.reason.endswith("no")) == (f"queue://{queue}", True)
    (moved,) = (await asyncio.to_thread(jms.drain, f"DLQ.{queue}")).messages
    assert {name: moved.properties[name].value for name in properties} == properties


async def test_purged_dead_letters_are_gone_with_their_reasons(
    bridge: RunningBridge, service: RecordingService, jms: JmsClient, queue: str
) -> None:
    """Single ones by id, then all."""
    service.decide = lambda _message: rejected("no")
    await bridge.put("purge", to_service(queue, service))
    await asyncio.to_thread(jms.send, queue, [JmsMessage(text=f"m{n}") for n in range(3)] + [JmsMessage()])
    await eventually(lambda: settled(bridge, "purge", 4), "given up")
    first, *_ = await bridge.dead_letters(queue)

    async def purge(*ids: str) -> int:
        request = bridge_service_pb2.PurgeDeadLettersRequest(source=f"queue://{queue}", message_ids=ids)
        return (await bridge.api.PurgeDeadLetters(request)).purged

    assert await purge(first.message.id) == 1
    assert await purge("ID:unknown") == 0
    assert len(await bridge.dead_letters(queue)) == 3
    assert await purge() == 3
    assert await bridge.dead_letters(queue) == []
    for name in (f"DLQ.{queue}", f"DLQ.reasons.{queue}"):
        assert (await asyncio.to_thread(jms.drain, name)).count == 0


async def test_more_dead_letters_than_the_broker_shows_are_replayed_and_purged(
    bridge: RunningBridge, service: RecordingService, jms: JmsClient, queue: str
) -> None:
    """Single ones from anywhere in the queue; all of them once, though they fail again at once."""
    service.decide = lambda _message: rejected("no")
    await bridge.put("many", to_service(queue, service))
    await asyncio.to_thread(jms.send, queue, [JmsMessage(text=f"m{n}") for n in range(600)])
    await eventually(lambda: settled(bridge, "many", 600), "given up")
    source = f"queue://{queue}"
    replayed = await bridge.api.ReplayDeadLetters(bridge_service_pb2.ReplayDeadLettersRequest(source=source))
    assert (replayed.replayed, replayed.skipped) == (600, 0)
    await eventually(lambda: settled(bridge, "many", 1200), "given up again")
    shown = await bridge.api.ListDeadLetters(
        bridge_service_pb2.ListDeadLettersRequest(source=source, max_messages=1000)
    )
    late = [letter.message.id for letter in shown.dead_letters][250:]
    assert len(late) == 150
    some = bridge_service_pb2.PurgeDeadLettersRequest(source=source, message_ids=late)
    assert (await bridge.api.PurgeDeadLetters(some)).purged == 150
    rest = bridge_service_pb2.PurgeDeadLettersRequest(source=source)
    assert (await bridge.api.PurgeDeadLetters(rest)).purged == 450
    assert (await asyncio.to_thread(jms.drain, f"DLQ.{queue}")).count == 0


async def test_dead_letters_that_fill_no_answer_are_listed_with_their_bodies_cut(
    bridge: RunningBridge, service: RecordingService, jms: JmsClient, queue: str
) -> None:
    """Together they are more than a gRPC message can hold."""
    service.decide = lambda _message: rejected("no")
    await bridge.put("large", to_service(queue, service))
    await asyncio.to_thread(jms.send, queue, [JmsMessage(data=b"x" * 6_000_000) for _ in range(3)])
    await eventually(lambda: settled(bridge, "large", 3), "given up")
    dead = await bridge.dead_letters(queue)
    assert [len(letter.message.data) for letter in dead] == [6_000_000, 8 * 1024 * 1024 - 6_000_000, 0]
    assert all("no" in letter.reason for letter in dead)
    service.decide = accepted
    everything = bridge_service_pb2.ReplayDeadLettersRequest(source=f"queue://{queue}")
    assert (await bridge.api.ReplayDeadLetters(everything)).replayed == 3
    await eventually(lambda: len(service.messages) == 3, "delivered whole")
    assert {len(message.data) for message in service.messages} == {6_000_000}


async def test_what_a_stock_broker_moved_to_its_shared_queue_is_listed_with_its_reason(
    bridge: RunningBridge, jms: JmsClient, queue: str
) -> None:
    """Without an individual dead letter strategy a NACK ends there; messages of others are not shown."""
    ours, _ = await asyncio.to_thread(jms.send, "ActiveMQ.DLQ", [JmsMessage(text="ours"), JmsMessage(text="other")])
    told = {"penstock_original_message_id": ours, "penstock_reason": "a map", "penstock_attempts": "1"}
    await asyncio.to_thread(jms.send, f"DLQ.reasons.{queue}", [JmsMessage(text="a map", properties=told)])
    (dead,) = await bridge.dead_letters(queue)
    assert (dead.message.id, dead.reason) == (ours, "a map")
    assert dead.dead_letter_queue == "queue://ActiveMQ.DLQ"
    await asyncio.to_thread(jms.drain, "ActiveMQ.DLQ")
    assert await bridge.dead_letters(queue) == []


async def test_a_route_changes_without_losing_what_runs(
    bridge: RunningBridge, service: RecordingService, jms: JmsClient, queue: str
) -> None:
    """Another target from now on; an invalid change leaves the route as it is and says why."""
    other = RecordingService()
    await other.start()
    await bridge.put("changing", to_service(queue, service))
    await asyncio.to_thread(jms.send, queue, [JmsMessage(text=f"a{n}") for n in range(50)])
    await eventually(lambda: len(service.messages) > 0, "some delivered")
    bridge.bridge.apply(stored("changing", to_service(queue, other), version=2))
    await asyncio.to_thread(jms.send, queue, [JmsMessage(text=f"b{n}") for n in range(50)])
    await eventually(lambda: len(service.messages) + len(other.messages) >= 100, "all delivered")
    assert sorted(service.ids + other.ids) == sorted(set(service.ids + other.ids))
    assert {f"b{n}" for n in range(50)} <= {message.text for message in other.messages}
    with pytest.raises(InvalidRouteError):
        bridge.bridge.apply(stored("changing", {"source": "nonsense"}, version=3))
    (state,) = (await bridge.api.ListRoutes(bridge_service_pb2.ListRoutesRequest())).routes
    assert (state.version, state.status) == (2, bridge_service_pb2.ROUTE_STATUS_ACTIVE)
    assert "'nonsense' is not a queue" in state.detail
    health = bridge.health.get("routes")
    assert health is not None
    assert health.serving
    assert "'nonsense' is not a queue" in health.detail
    await other.stop()


async def test_a_paused_and_a_deleted_route_leave_messages_in_the_broker(
    bridge: RunningBridge, service: RecordingService, jms: JmsClient, queue: str
) -> None:
    """They are there when it goes on."""
    await bridge.put("pausing", to_service(queue, service))
    bridge.bridge.apply(stored("pausing", to_service(queue, service, paused=True), version=2))

    async def paused() -> bool:
        return await bridge.status("pausing") == bridge_service_pb2.ROUTE_STATUS_PAUSED

    await eventually(paused, "paused")
    await asyncio.to_thread(jms.send, queue, [JmsMessage(text="waits")])
    assert service.messages == []
    await bridge.put("pausing", to_service(queue, service))
    await eventually(lambda: len(service.messages) == 1, "delivered")
    bridge.bridge.apply(stored("pausing", None))
    await eventually(lambda: not bridge.bridge.states(), "deleted")


async def test_a_selector_takes_only_what_it_names(
    bridge: RunningBridge, service: RecordingService, jms: JmsClient, queue: str
) -> None:
    """The broker keeps the rest."""
    await bridge.put("selecting", to_service(queue, service, selector="colour = 'blue' AND size > 3"))
    await asyncio.to_thread(
        jms.send,
        queue,
        [
            JmsMessage(text="a", properties={"colour": "blue", "size": 5}),
            JmsMessage(text="b", properties={"colour": "red", "size": 5}),
            JmsMessage(text="c", properties={"colour": "blue", "size": 2}),
        ],
    )
    await eventually(lambda: settled(bridge, "selecting", 1), "one settled")
    assert [message.text for message in service.messages] == ["a"]


async def test_ten_mebibytes_pass(bridge: RunningBridge, service: RecordingService, jms: JmsClient, queue: str) -> None:
    """To a target that takes them."""
    await bridge.put("large", to_service(queue, service))
    data = bytes(range(256)) * 4096 * 10
    await asyncio.to_thread(jms.send, queue, [JmsMessage(data=data)])
    await eventually(lambda: settled(bridge, "large", 1), "settled")
    (message,) = service.messages
    assert message.data == data
