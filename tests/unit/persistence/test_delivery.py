from collections.abc import Sequence

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from penstock.delivery.v1 import delivery_service_pb2 as pb
from penstock.delivery.v1.broker_message_pb2 import BrokerMessage, MapBody
from penstock.tracking.v1 import tracking_event_pb2
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from services.persistence.delivery import DeliveryServicer, event_of
from services.persistence.record import EventRecord
from services.persistence.recorder import EventRecorder
from services.persistence.store import MemoryEventStore, PutOutcome
from services.runtime.errors import InvalidArgumentError, ResourceExhaustedError

SENT = Timestamp(seconds=1_700_000_000, nanos=5_000_000)
ACCEPTED, REJECTED, RETRY = (
    pb.DELIVERY_OUTCOME_ACCEPTED,
    pb.DELIVERY_OUTCOME_REJECTED,
    pb.DELIVERY_OUTCOME_RETRY,
)


class FullStore(MemoryEventStore):
    """A store whose disk is full."""

    async def put(self, records: Sequence[EventRecord]) -> list[PutOutcome]:  # noqa: ARG002
        raise ResourceExhaustedError("no room", retry_after=2.5, reason="ERROR_REASON_STORAGE_FULL")


def as_bytes(event: TrackingEvent, *, message_id: str = "ID:1") -> BrokerMessage:
    return BrokerMessage(id=message_id, data=event.SerializeToString(), sent_at=SENT)


async def deliver(store: MemoryEventStore, *messages: BrokerMessage) -> Sequence[pb.DeliveryResult]:
    servicer = DeliveryServicer(EventRecorder(store, now=lambda: 0.0))
    response = await servicer.DeliverMessages(pb.DeliverMessagesRequest(messages=messages), None)  # type: ignore[arg-type]
    return response.results


def test_bytes_are_a_serialized_event() -> None:
    """What the event says itself is kept."""
    event = TrackingEvent(
        program_id="p", message_id="m", occurred_at=Timestamp(seconds=1), source=tracking_event_pb2.EVENT_SOURCE_HTTP
    )
    assert event_of(as_bytes(event)) == event


def test_text_is_the_json_of_an_event() -> None:
    """Names in snake_case and in lowerCamelCase are both read."""
    text = '{"program_id": "p", "messageId": "m", "event_type": "EVENT_TYPE_IMPRESSION", "attributes": {"k": "v"}}'
    event = event_of(BrokerMessage(id="ID:1", text=text))
    assert (event.program_id, event.message_id, dict(event.attributes)) == ("p", "m", {"k": "v"})
    assert event.event_type == tracking_event_pb2.EVENT_TYPE_IMPRESSION


def test_what_the_event_lacks_comes_from_the_message() -> None:
    """Id and time are those of the message, the same at every delivery of it."""
    event = event_of(as_bytes(TrackingEvent(program_id="p"), message_id="ID:host-1:1"))
    assert event.message_id == "ID:host-1:1"
    assert event.occurred_at == SENT
    assert event.source == tracking_event_pb2.EVENT_SOURCE_BROKER


def test_a_time_of_receipt_is_a_time() -> None:
    """The time the producer sent the message does not replace it."""
    event = event_of(as_bytes(TrackingEvent(program_id="p", received_at=Timestamp(seconds=9))))
    assert not event.HasField("occurred_at")


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"data": b"\xff\xff\xff"}, "of 3 bytes is not a serialized TrackingEvent"),
        ({"data": b"\x0a\x02\xc3\x28"}, "is not a serialized TrackingEvent"),
        ({"text": "not json"}, "is not the JSON of a TrackingEvent"),
        ({"text": '{"program": "p"}'}, 'no field named "program"'),
        ({"text": '{"customer_id": "many"}'}, "customer_id"),
        ({"text": '{"program_id": "\\ud800"}'}, "is not the JSON of a TrackingEvent"),
        ({"text": '{"attributes":' * 100_000}, "is not the JSON of a TrackingEvent"),
        ({"text": "[]"}, "must be an object"),
        ({"map": MapBody()}, "is a map"),
        ({}, "is empty"),
    ],
    ids=[
        "no protobuf", "no UTF-8", "no JSON", "unknown field", "wrong type", "half a character", "deep nesting", "list",
        "map", "empty",
    ],
)  # fmt: skip
def test_any_other_body_is_refused_with_its_fault(body: dict[str, object], complaint: str) -> None:
    """The reason says what the body is and what is expected."""
    with pytest.raises(InvalidArgumentError) as refusal:
        event_of(BrokerMessage(id="ID:1", **body))  # type: ignore[arg-type]
    assert complaint in refusal.value.message


async def test_each_message_has_its_own_result() -> None:
    """A poison message is rejected and blocks none; a repetition counts as delivered."""
    store = MemoryEventStore()
    good = as_bytes(TrackingEvent(program_id="p"), message_id="ID:1")
    results = await deliver(
        store, good, BrokerMessage(id="ID:2", text="poison"), BrokerMessage(id="ID:3", text="{}"), good
    )
    assert [result.outcome for result in results] == [ACCEPTED, REJECTED, REJECTED, ACCEPTED]
    assert "JSON" in results[1].reason
    assert results[2].reason == "INVALID: program_id: is required"
    assert await store.get("ID:1") is not None


async def test_a_full_store_means_retry() -> None:
    """Good messages come again after the advised pause; poison is rejected all the same."""
    results = await deliver(
        FullStore(), as_bytes(TrackingEvent(program_id="p")), BrokerMessage(id="ID:2", text="poison")
    )
    assert [result.outcome for result in results] == [RETRY, REJECTED]
    assert results[0].reason == "no room"
    assert results[0].retry_after.ToMilliseconds() == 2500


@pytest.mark.parametrize("count", [0, 1001], ids=["none", "too many"])
async def test_a_call_of_the_wrong_size_is_refused(count: int) -> None:
    """The message tells the limits."""
    with pytest.raises(InvalidArgumentError, match="1 to 1000"):
        await deliver(MemoryEventStore(), *[BrokerMessage(id="ID:1")] * count)


async def test_a_long_jms_message_id_becomes_its_hash() -> None:
    """A broker on a host with a long name must not make every message of its producers a dead letter."""
    store = MemoryEventStore()
    message = as_bytes(TrackingEvent(program_id="p"), message_id=f"ID:{'h' * 200}")
    results = await deliver(store, message, message)
    assert [result.outcome for result in results] == [ACCEPTED, ACCEPTED]
    event = event_of(message)
    assert event.message_id == event_of(message).message_id
    assert len(event.message_id) <= 100
    assert await store.get(event.message_id)
