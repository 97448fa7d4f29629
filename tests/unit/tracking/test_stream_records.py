"""Events as records of a stream: keys, sizes, requests, and the aggregated format."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from services.tracking.stream_records import (
    AGGREGATION_BYTES,
    PartitionKey,
    RequestLimits,
    StreamRecord,
    aggregated_records,
    partition_key,
    plain_records,
    requests_of,
)
from tests.unit.tracking.aggregated import disaggregated

EVENTS = st.lists(
    st.builds(
        TrackingEvent,
        message_id=st.text(min_size=1, max_size=100),
        cookie_id=st.sampled_from(["", "a", "b", "é" * 300]),
        user_agent=st.text(max_size=600),
    ),
    max_size=30,
)


def test_the_key_is_the_chosen_field_or_else_the_message_id() -> None:
    """A key that is too long is replaced by its hash, always the same."""
    event = TrackingEvent(message_id="m", cookie_id="c" * 257)
    assert partition_key(event, PartitionKey.MESSAGE_ID) == "m"
    assert partition_key(event, PartitionKey.PROGRAM_ID) == "m"
    key = partition_key(event, PartitionKey.COOKIE_ID)
    assert len(key) == 64
    assert key == partition_key(TrackingEvent(cookie_id="c" * 257), PartitionKey.COOKIE_ID)


def test_a_plain_record_is_the_event() -> None:
    """As any consumer of the stream reads it."""
    [record] = plain_records([TrackingEvent(message_id="m", program_id="p")], PartitionKey.MESSAGE_ID)
    assert (record.key, record.events) == ("m", 1)
    assert TrackingEvent.FromString(record.data) == TrackingEvent(message_id="m", program_id="p")
    assert record.size == len(record.data) + 1


@given(EVENTS, st.integers(1, 5), st.integers(3000, 6000))
def test_aggregated_records_hold_every_event_once_in_the_order_of_its_key(
    events: Sequence[TrackingEvent], keys: int, record_bytes: int
) -> None:
    """Within the size of a record, and one key of an event never under two keys of records."""
    limit = record_bytes - AGGREGATION_BYTES
    events = [event for event in events if plain_records([event], PartitionKey.COOKIE_ID)[0].size <= limit]
    records = aggregated_records(events, PartitionKey.COOKIE_ID, keys=keys, record_bytes=record_bytes)
    assert all(record.size <= record_bytes for record in records)
    assert len({record.key for record in records}) <= keys
    found: dict[str, list[bytes]] = {}
    outer: dict[str, set[str]] = {}
    for record in records:
        content = disaggregated(record.data)
        assert len(content) == record.events > 0
        for key, data in content:
            found.setdefault(key, []).append(data)
            outer.setdefault(key, set()).add(record.key)
    expected: dict[str, list[bytes]] = {}
    for event in events:
        expected.setdefault(partition_key(event, PartitionKey.COOKIE_ID), []).append(event.SerializeToString())
    assert found == expected
    assert all(len(names) == 1 for names in outer.values())


def test_requests_keep_the_limits_of_count_and_bytes() -> None:
    """A record that would be too much begins the next one."""
    records = [StreamRecord(key=str(number % 10), data=b"x" * 99, events=1) for number in range(7)]
    by_count = requests_of(records, RequestLimits(records=3))
    assert [len(request) for request in by_count] == [3, 3, 1]
    by_bytes = requests_of(records, RequestLimits(request_bytes=200))
    assert [len(request) for request in by_bytes] == [2, 2, 2, 1]
    assert [record for request in by_bytes for record in request] == records
    assert requests_of([], RequestLimits()) == []
