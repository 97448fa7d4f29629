"""The limits of an event, each with the field and the value in the reason."""

import uuid

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from services.tracking.event import MAX_EVENT_BYTES, RandomPool, event_fault, program_id_fault, uuid7

FAULTY = [
    (TrackingEvent(message_id="m" * 101), "message_id 'mmmm", "101 characters; the limit is 100"),
    (TrackingEvent(checksum="c" * 513), "checksum", "513 characters; the limit is 512"),
    (TrackingEvent(cookie_id="c" * 513), "cookie_id", "the limit is 512"),
    (TrackingEvent(click_id="c" * 513), "click_id", "the limit is 512"),
    (TrackingEvent(transaction_id="c" * 513), "transaction_id", "the limit is 512"),
    (TrackingEvent(ip_address="1" * 513), "ip_address", "the limit is 512"),
    (TrackingEvent(user_agent="Mozilla" * 500), "user_agent 'Mozilla", "3500 characters; the limit is 2048"),
    (TrackingEvent(attributes={str(n): "" for n in range(51)}), "attributes", "51 entries; the limit is 50"),
    (TrackingEvent(attributes={"k" * 129: "v"}), "attributes", "keys have 1 to 128 characters"),
    (TrackingEvent(attributes={"": "v"}), "attributes", "the key ''"),
    (TrackingEvent(attributes={"k": "v" * 1025}), "attributes['k']", "1025 characters; the limit is 1024"),
    (TrackingEvent(occurred_at=Timestamp(seconds=-1)), "occurred_at", "between 1970 and 2100"),
    (TrackingEvent(occurred_at=Timestamp(seconds=1_700_000_000_000)), "occurred_at", "1700000000000 s"),
    (TrackingEvent(sent_at=Timestamp(nanos=1_000_000_000)), "sent_at", "1000000000 ns"),
]


@pytest.mark.parametrize(("event", "field", "text"), FAULTY, ids=[field for _, field, _ in FAULTY])
def test_a_faulty_field_is_named_with_its_value_and_limit(event: TrackingEvent, field: str, text: str) -> None:
    """A client can correct the event from the reason alone."""
    size = event.ByteSize()
    fault = event_fault(event, size)
    assert fault is not None
    assert fault.startswith(field)
    assert text in fault
    assert len(fault) < 200


def test_an_event_at_its_limits_has_no_fault() -> None:
    """The limits themselves are allowed, counted in characters, not bytes."""
    event = TrackingEvent(
        program_id="p",
        message_id="é" * 100,
        checksum="é" * 512,
        user_agent="é" * 2048,
        occurred_at=Timestamp(seconds=0),
        sent_at=Timestamp(seconds=4_102_444_799, nanos=999_999_999),
        attributes={f"{number:0128}": "é" * 1024 for number in range(50)},
    )
    assert event_fault(event, event.ByteSize()) is None


def test_unknown_fields_do_not_make_an_event_boundless() -> None:
    """Fields of newer clients are kept, so their size counts too."""
    event = TrackingEvent.FromString(b"\xa2\x06\x80\x80\x20" + b"x" * (512 * 1024))
    fault = event_fault(event, event.ByteSize())
    assert fault is not None
    assert str(MAX_EVENT_BYTES) in fault


@pytest.mark.parametrize("program_id", ["212313", "a", "A-b_c.d", "x" * 128])
def test_well_formed_program_ids_are_taken(program_id: str) -> None:
    """Letters, digits, dash, underscore and dot."""
    assert program_id_fault(program_id) is None


@pytest.mark.parametrize("program_id", ["", " ", "a b", "a/b", '"quoted"', "é", "x" * 129, "a\n"])
def test_malformed_program_ids_are_named(program_id: str) -> None:
    """Quoted ids are what a careless writer of core data makes of them."""
    fault = program_id_fault(program_id)
    assert fault is not None
    assert "program_id" in fault


def test_new_ids_are_version_7_uuids_that_sort_by_time() -> None:
    """RFC 9562: milliseconds first, version 7, variant 10."""
    first, second = uuid7(now=lambda: 1_700_000_000.001), uuid7(now=lambda: 1_700_000_000.002)
    assert first < second
    for text in (first, second):
        assert uuid.UUID(text).version == 7
        assert uuid.UUID(text).variant == uuid.RFC_4122
    assert uuid.UUID(first).int >> 80 == 1_700_000_000_001


def test_ids_of_the_same_millisecond_differ() -> None:
    """74 random bits."""
    assert len({uuid7(now=lambda: 0.0) for _ in range(1000)}) == 1000


def test_random_bytes_are_given_once() -> None:
    """However they are fetched: a byte given twice could make two ids equal."""
    fetched = iter([bytes(range(8)), bytes(range(8, 16))])
    pool = RandomPool(lambda _size: next(fetched), size=8)
    assert [pool(3), pool(3), pool(3), pool(5)] == [b"\0\1\2", b"\3\4\5", b"\x08\x09\x0a", b"\x0b\x0c\x0d\x0e\x0f"]
