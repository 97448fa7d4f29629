"""DeliveryService: JMS messages become events; refusals are final, a full log is not."""

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from penstock.delivery.v1 import delivery_service_pb2 as pb
from penstock.delivery.v1.broker_message_pb2 import BrokerMessage, MapBody
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from services.runtime.errors import InternalError, InvalidArgumentError, ResourceExhaustedError
from services.tracking.delivery import DeliveryServicer, event_of
from services.tracking.intake import Source
from tests.unit.tracking.intake_fixture import HeldLog, make_intake, program
from tests.unit.tracking.nested_events import is_storable, nested_event, nested_request

ACCEPTED, REJECTED, RETRY = (
    pb.DELIVERY_OUTCOME_ACCEPTED,
    pb.DELIVERY_OUTCOME_REJECTED,
    pb.DELIVERY_OUTCOME_RETRY,
)


@pytest.fixture
def log() -> HeldLog:
    return HeldLog()


@pytest.fixture
def servicer(log: HeldLog) -> DeliveryServicer:
    return DeliveryServicer(make_intake(log, program("p"), program("off", enabled=False)))


async def deliver(servicer: DeliveryServicer, *messages: BrokerMessage) -> list[pb.DeliveryResult]:
    response = await servicer.DeliverMessages(pb.DeliverMessagesRequest(messages=messages), None)  # type: ignore[arg-type]
    return list(response.results)


def text(body: str, message_id: str = "ID:1") -> BrokerMessage:
    return BrokerMessage(id=message_id, text=body)


def data(event: TrackingEvent, message_id: str = "ID:1") -> BrokerMessage:
    return BrokerMessage(id=message_id, data=event.SerializeToString())


async def test_each_message_gets_its_own_result(servicer: DeliveryServicer, log: HeldLog) -> None:
    """In order; undecodable ones among them."""
    results = await deliver(
        servicer,
        text('{"program_id": "p", "message_id": "m-1"}'),
        data(TrackingEvent(program_id="p", message_id="m-2")),
        data(TrackingEvent(program_id="p", message_id="m-2")),
        data(TrackingEvent(program_id="away", message_id="m-3")),
        text("poison"),
        data(TrackingEvent(program_id="nosuch", message_id="m-4")),
        data(TrackingEvent(program_id="off", message_id="m-5")),
        data(TrackingEvent(program_id="a b", message_id="m-6")),
    )
    assert [result.outcome for result in results] == [ACCEPTED] * 4 + [REJECTED] * 4
    assert [result.reason.partition(":")[0] for result in results[4:]] == [
        "INVALID",
        "UNKNOWN_PROGRAM",
        "EXPIRED_PROGRAM",
        "INVALID",
    ]
    assert results[5].reason == "UNKNOWN_PROGRAM: program nosuch does not exist"
    assert [event.message_id for event in log.events] == ["m-1", "m-2", "m-3"]
    assert {event.source for event in log.events} == {Source.EVENT_SOURCE_BROKER}


async def test_a_full_log_means_retry_for_what_could_be_stored(servicer: DeliveryServicer, log: HeldLog) -> None:
    """What can never be stored is rejected all the same."""
    log.full = ResourceExhaustedError("the log is full", retry_after=1.5, reason="ERROR_REASON_LOG_FULL")
    later, never = await deliver(servicer, text('{"program_id": "p"}'), text("poison"))
    assert (later.outcome, later.reason, later.retry_after.ToMilliseconds()) == (RETRY, "the log is full", 1500)
    assert never.outcome == REJECTED


async def test_a_failed_disk_fails_the_call(servicer: DeliveryServicer, log: HeldLog) -> None:
    """Nothing is known about any message: the bridge delivers all of them again."""
    log.full = InternalError("the disk failed")
    with pytest.raises(InternalError):
        await deliver(servicer, text('{"program_id": "p"}'))


@pytest.mark.parametrize("count", [0, 1001])
async def test_a_call_has_bounds(servicer: DeliveryServicer, count: int) -> None:
    """1 to 1000 messages."""
    with pytest.raises(InvalidArgumentError, match=f"messages: has {count} entries"):
        await deliver(servicer, *[BrokerMessage()] * count)


def test_what_an_event_lacks_comes_from_its_message() -> None:
    """Both are the same at every delivery, so a redelivery is recognised."""
    event = event_of(BrokerMessage(id="ID:7", text='{"programId": "p"}', sent_at=Timestamp(seconds=9)))
    assert event == TrackingEvent(program_id="p", message_id="ID:7", occurred_at=Timestamp(seconds=9))


def test_what_an_event_has_is_kept() -> None:
    """The producer's own id and time win."""
    sent = TrackingEvent(program_id="p", message_id="mine", occurred_at=Timestamp(seconds=1))
    message = data(sent, "ID:7")
    message.sent_at.seconds = 9
    assert event_of(message) == sent


def test_a_long_jms_message_id_becomes_a_stable_short_one() -> None:
    """Host names can be long; the limit of a message id is 100 characters."""
    message = BrokerMessage(id="ID:" + "host" * 50, text='{"program_id": "p"}')
    first, second = event_of(message).message_id, event_of(message).message_id
    assert first == second
    assert len(first) <= 100
    assert first != event_of(BrokerMessage(id="ID:" + "tsoh" * 50, text="{}")).message_id


@pytest.mark.parametrize("depth", [98, 99, 100, 101])
async def test_an_event_is_nested_as_deep_as_the_store_reads(servicer: DeliveryServicer, depth: int) -> None:
    """What the store could never read is refused, and ends in the dead letter queue."""
    [result] = await deliver(servicer, BrokerMessage(id="ID:1", data=nested_event(depth)))
    assert result.outcome == (ACCEPTED if is_storable(nested_request(depth)) else REJECTED)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (text("{"), "not JSON"),
        (text("[]"), "an event is a JSON object"),
        (text('{"program": "p"}'), 'no field named "program"'),
        (text('{"program_id": 3}'), "program_id"),
        (text('{"occurred_at": "yesterday"}'), "occurred_at"),
        (text('{"event_type": "EVENT_TYPE_NOSUCH"}'), "event_type"),
        (text("[" * 100_000), "not JSON"),
        (BrokerMessage(data=b"\xff\xff\xff"), "not a serialized TrackingEvent"),
        (BrokerMessage(data=b"\x0a\x02\xff\xfe"), "not a serialized TrackingEvent"),
        (BrokerMessage(map=MapBody()), "the body is a MapMessage"),
        (BrokerMessage(), "the body is empty"),
    ],
)
def test_a_body_that_is_no_event_is_explained(message: BrokerMessage, reason: str) -> None:
    """The reason ends in the dead letter, where somebody has to understand it."""
    with pytest.raises(InvalidArgumentError, match=reason):
        event_of(message)
