import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from services.persistence.record import MAX_EVENT_BYTES, microseconds, record_of, timestamp_fault
from services.runtime.errors import InvalidArgumentError

OCCURRED = Timestamp(seconds=1_700_000_000, nanos=123_456_789)
RECEIVED = Timestamp(seconds=1_700_000_100)


def test_a_row_holds_the_keys_and_the_whole_event() -> None:
    """The payload reads back as the event that was given."""
    event = TrackingEvent(message_id="m", program_id="p", occurred_at=OCCURRED, user_agent="x", attributes={"k": "v"})
    row = record_of(event, now=0)
    assert (row.message_id, row.program_id, row.occurred_at) == ("m", "p", 1_700_000_000_123_456)
    assert TrackingEvent.FromString(row.payload) == event


def test_an_event_without_a_time_of_its_own_lists_under_its_receipt() -> None:
    """The event itself is kept as it was sent."""
    row = record_of(TrackingEvent(message_id="m", program_id="p", received_at=RECEIVED), now=0)
    assert row.occurred_at == 1_700_000_100_000_000
    assert not TrackingEvent.FromString(row.payload).HasField("occurred_at")


def test_an_event_without_any_time_occurred_now() -> None:
    """The time it is listed under shows in the event."""
    row = record_of(TrackingEvent(message_id="m", program_id="p"), now=12.5)
    assert row.occurred_at == 12_500_000
    assert microseconds(TrackingEvent.FromString(row.payload).occurred_at) == 12_500_000


def test_every_fault_of_an_event_is_named() -> None:
    """All violations come at once, with field and limit."""
    event = TrackingEvent(
        message_id="m" * 101,
        occurred_at=Timestamp(seconds=10**12),
        sent_at=Timestamp(seconds=-(10**12)),
        received_at=Timestamp(nanos=-1),
    )
    with pytest.raises(InvalidArgumentError) as refusal:
        record_of(event, now=0)
    assert [(fault.field, fault.description) for fault in refusal.value.violations] == [
        ("message_id", "has 101 characters; at most 100"),
        ("program_id", "is required"),
        ("occurred_at", "seconds = 1000000000000 is outside the years 1 to 9999"),
        ("sent_at", "seconds = -1000000000000 is outside the years 1 to 9999"),
        ("received_at", "nanos = -1 is outside 0 to 999999999"),
    ]


def test_an_event_larger_than_a_row_is_refused() -> None:
    """The message tells both sizes."""
    with pytest.raises(InvalidArgumentError, match=rf"bytes; at most {MAX_EVENT_BYTES}"):
        record_of(TrackingEvent(message_id="m", program_id="p", user_agent="x" * MAX_EVENT_BYTES), now=0)


@given(st.datetimes(timezones=st.just(None)))
def test_every_time_of_a_timestamp_is_a_number_of_microseconds(moment: object) -> None:
    """No valid timestamp is refused, and none loses its microseconds."""
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)  # type: ignore[arg-type]
    assert timestamp_fault(timestamp) is None
    assert microseconds(timestamp) == timestamp.ToMicroseconds()
