"""Events taken apart: the compiled way and protobuf's agree on every request, well-formed or not."""

from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from penstock.tracking.v1.tracking_event_pb2 import EventType, TrackingEvent
from penstock.tracking.v1.tracking_service_pb2 import BatchTrackEventsRequest

from services.runtime.errors import InvalidArgumentError
from services.tracking import arrivals
from services.tracking.core import CORE, PORTABLE, Core, compiled
from services.tracking.event import LATEST_SECONDS, event_fault
from services.tracking.frames import varint
from tests.unit.tracking.nested_events import is_storable, nested_request

needs_compiled = pytest.mark.skipif(
    compiled() is None, reason="services/tracking/compiled is not built: no C compiler, or no Python.h"
)
TEXTS = st.text(max_size=5) | st.sampled_from(["p", "m" * 100, "m" * 101, "x" * 512, "x" * 513, "é" * 300])
MOMENTS = st.builds(
    Timestamp,
    seconds=st.sampled_from([0, 1, 1_700_000_000, LATEST_SECONDS - 1, LATEST_SECONDS, -1, 2**40]),
    nanos=st.sampled_from([0, 1, 999_999_999, 1_000_000_000, -1]),
)
EVENTS = st.builds(
    TrackingEvent,
    program_id=TEXTS,
    message_id=TEXTS,
    checksum=TEXTS,
    user_agent=TEXTS,
    cookie_id=TEXTS,
    click_id=TEXTS,
    transaction_id=TEXTS,
    event_type=st.sampled_from(EventType.values()),
    occurred_at=st.none() | MOMENTS,
    sent_at=st.none() | MOMENTS,
    ip_address=st.just("") | TEXTS,
    is_bot=st.booleans(),
    customer_id=st.sampled_from([0, 0, 7]),
)


def events_of(request: bytes, core: Core = CORE) -> Sequence[arrivals.Arrival] | str:
    """What becomes of a request, plain or not, in one form; the fault of one that cannot be read."""
    try:
        found = arrivals.arrivals_of(request, core)
    except InvalidArgumentError:
        return "cannot be read"
    return [
        item if isinstance(item, tuple) else arrivals.arrival(item, item.occurred_at.seconds, item.SerializeToString())
        for item in found
    ]


def by_protobuf(request: bytes) -> Sequence[arrivals.Arrival] | str:
    return events_of(request, PORTABLE)


def merged(found: Sequence[arrivals.Arrival] | str) -> object:
    """Bytes of an event may differ as long as they mean the same."""
    if isinstance(found, str):
        return found
    return [(*item[:5], TrackingEvent.FromString(item[5]), item[6]) for item in found]


@needs_compiled
@given(st.lists(EVENTS, max_size=4))
def test_requests_of_clients_are_read_alike(events: list[TrackingEvent]) -> None:
    """Field by field, whichever way an event takes."""
    request = BatchTrackEventsRequest(events=events).SerializeToString()
    assert merged(events_of(request)) == merged(by_protobuf(request))


@needs_compiled
@given(st.lists(EVENTS, min_size=1, max_size=2), st.data())
def test_damaged_requests_are_read_alike(events: list[TrackingEvent], data: st.DataObject) -> None:
    """Cut, a byte changed, a byte put in: both read the same, or neither reads it."""
    request = bytearray(BatchTrackEventsRequest(events=events).SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(len(request) - 1, 0)))
        octet = bytes([data.draw(st.integers(0, 255))])
        request[at : at + data.draw(st.integers(0, 2))] = octet
    assert merged(events_of(bytes(request))) == merged(by_protobuf(bytes(request)))


@needs_compiled
@given(st.binary(max_size=40))
def test_bytes_of_any_kind_are_read_alike(request: bytes) -> None:
    """As one event, and as a whole request."""
    for content in (request, b"\x0a" + varint(len(request)) + request):
        assert merged(events_of(content)) == merged(by_protobuf(content))


@needs_compiled
def test_a_plain_event_needs_no_message() -> None:
    """What the usual client sends; its bytes are kept as they came."""
    event = TrackingEvent(
        program_id="p", message_id="m", user_agent="u", event_type=EventType.EVENT_TYPE_CLICK, cookie_id="c"
    )
    event.occurred_at.seconds = 5
    request = BatchTrackEventsRequest(events=[event]).SerializeToString()
    assert CORE.split(request) == [(b"p", b"m", b"u", b"", 5, event.SerializeToString(), None)]


@given(EVENTS)
def test_a_plain_event_has_no_fault(event: TrackingEvent) -> None:
    """Nothing checks it any more."""
    found = arrivals.arrivals_of(BatchTrackEventsRequest(events=[event]).SerializeToString())
    if isinstance(found[0], tuple):
        assert event_fault(event, event.ByteSize()) is None
        assert event.message_id
        assert not event.ip_address
        assert not event.HasField("sent_at")


@needs_compiled
@pytest.mark.parametrize(
    "tail",
    [b"\x42\x01n", b"\x0a\x01q", b"\x72\x04\x0a\x02\x08\x01", b"\xa2\x01\x00", b"\xc0\x3e\x01", b"\x52\x01x"],
    ids=["message id again", "out of order", "attributes", "corrected_at", "unknown field", "another wire type"],
)
def test_what_could_be_read_in_two_ways_is_left_to_protobuf(tail: bytes) -> None:
    """It knows the rules."""
    body = TrackingEvent(program_id="p", message_id="m").SerializeToString() + tail
    found = CORE.split(b"\x0a" + varint(len(body)) + body)
    assert found == [body]


@needs_compiled
@pytest.mark.parametrize(
    ("fields", "is_plain"),
    [
        ({"message_id": "m" * 100}, True),
        ({"message_id": "m" * 101}, False),
        ({"message_id": ""}, False),
        ({"user_agent": "u" * 512}, True),
        ({"user_agent": "u" * 513}, False),
        ({"cookie_id": "é"}, False),
        ({"occurred_at": Timestamp(seconds=LATEST_SECONDS - 1, nanos=999_999_999)}, True),
        ({"occurred_at": Timestamp(seconds=LATEST_SECONDS)}, False),
        ({"occurred_at": Timestamp(seconds=-1)}, False),
        ({"occurred_at": Timestamp(nanos=1_000_000_000)}, False),
        ({"occurred_at": Timestamp(nanos=-1)}, False),
        ({"sent_at": Timestamp(seconds=1)}, False),
        ({"ip_address": "192.0.2.1"}, False),
        ({"attributes": {"k": "v"}}, False),
    ],
    ids=str,
)
def test_the_limits_of_a_plain_event_are_those_of_any(fields: dict[str, Any], *, is_plain: bool) -> None:
    """What is at a limit is taken at once, what is beyond it goes the long way."""
    event = TrackingEvent(**{"program_id": "p", "message_id": "m", **fields})
    [found] = CORE.split(BatchTrackEventsRequest(events=[event]).SerializeToString()) or ()
    assert isinstance(found, tuple) is is_plain


@pytest.mark.parametrize("core", [CORE, PORTABLE], ids=["compiled", "portable"])
@pytest.mark.parametrize("depth", [98, 99, 100, 101])
def test_an_event_is_nested_as_deep_as_the_store_reads(depth: int, core: Core) -> None:
    """What the log holds is a request to the store: what that could not read must not get there."""
    request = nested_request(depth)
    assert (events_of(request, core) == "cannot be read") is not is_storable(request)


@needs_compiled
def test_no_objects_are_made_of_a_batch_that_is_too_long() -> None:
    """It is left to protobuf, which counts events without an object for each."""
    assert len(CORE.split(b"\x0a\x00" * 5000) or ()) == 5000
    assert CORE.split(b"\x0a\x00" * 5001) is None


@needs_compiled
@given(st.lists(EVENTS, max_size=3))
def test_the_programs_of_plain_events_are_told_without_reading_more(events: list[TrackingEvent]) -> None:
    """None as soon as one event is not plain."""
    request = BatchTrackEventsRequest(events=events).SerializeToString()
    found = CORE.split(request) or ()
    expected = {item[0] for item in found} if all(isinstance(item, tuple) for item in found) else None
    assert CORE.programs_of(request) == expected
