"""The bytes of the log: what is written is read, and what is damaged is noticed."""

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock.persistence.v1.persistence_service_pb2 import PutEventsRequest
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from services.tracking.frames import (
    HEADER_BYTES,
    BadFrameError,
    bodies_of,
    encode_frame,
    event_prefix,
    is_torn_write,
    read_frame,
    read_frames,
)

PAYLOADS = st.binary(max_size=200)


@given(st.lists(st.tuples(PAYLOADS, st.integers(0, 2**32 - 1)), max_size=5))
def test_frames_are_read_as_they_were_written(written: list[tuple[bytes, int]]) -> None:
    """Payload, count and end of each."""
    data = b"".join(encode_frame(payload, count) for payload, count in written)
    frames = list(read_frames(BytesIO(data)))
    assert [(frame.payload, frame.count) for frame in frames] == written
    assert [frame.end for frame in frames][-1:] == ([len(data)] if written else [])


@given(PAYLOADS, st.data())
def test_any_changed_byte_is_noticed(payload: bytes, data: st.DataObject) -> None:
    """In the header as well as in the payload."""
    frame = bytearray(encode_frame(payload, 7))
    position = data.draw(st.integers(0, len(frame) - 1))
    frame[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BadFrameError):
        read_frame(BytesIO(bytes(frame)), 0)


@given(PAYLOADS, st.data())
def test_a_cut_frame_is_noticed(payload: bytes, data: st.DataObject) -> None:
    """Wherever the cut is."""
    frame = encode_frame(payload, 7)
    with pytest.raises(BadFrameError, match=r"are there|cut off"):
        read_frame(BytesIO(frame[: data.draw(st.integers(0, len(frame) - 1))]), 0)


def test_an_intact_frame_behind_damage_tells_it_from_a_torn_write() -> None:
    """The last write has nothing behind it."""
    first, second = encode_frame(b"first", 1), encode_frame(b"second", 1)
    damaged = b"X" + first[1:] + second
    assert not is_torn_write(BytesIO(damaged), 0)
    assert is_torn_write(BytesIO(damaged[:-1]), 0)


def test_a_frame_behind_a_false_beginning_is_not_overlooked() -> None:
    """Bytes that look like a header hide no true frame behind them."""
    torn = b"PLG1PLG1" + b"\xff" * HEADER_BYTES
    assert is_torn_write(BytesIO(torn), 0)
    assert not is_torn_write(BytesIO(torn + encode_frame(b"x", 1)), 0)


@given(st.integers(1, 30))
def test_a_torn_write_is_known_whatever_its_events_hold(missing: int) -> None:
    """A client may send the bytes of a whole frame within an event."""
    inner = encode_frame(b"not a frame of the log", 1)
    torn = encode_frame(b"event " + inner + bytes(30), 1)[:-missing]
    assert is_torn_write(BytesIO(torn), 0)


def test_a_damaged_payload_before_the_end_is_no_torn_write() -> None:
    """Its header tells that another frame was to follow, even if that one is cut off."""
    first = bytearray(encode_frame(b"first", 1))
    first[-1] ^= 1
    assert not is_torn_write(BytesIO(bytes(first) + b"PLG"), 0)
    assert is_torn_write(BytesIO(bytes(first)), 0)


@given(st.lists(st.builds(TrackingEvent, user_agent=st.text(max_size=300)), max_size=4))
def test_a_payload_is_a_request_to_the_store(events: list[TrackingEvent]) -> None:
    """Prefixes and events joined are the wire format of PutEventsRequest."""
    bodies = [event.SerializeToString() for event in events]
    payload = b"".join(event_prefix(len(body)) + body for body in bodies)
    assert list(PutEventsRequest.FromString(payload).events) == events
    assert PutEventsRequest.FromString(payload + payload).events == events + events


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_the_events_of_a_payload_are_told_apart_without_decoding_them(bodies: list[bytes]) -> None:
    """Whatever they hold."""
    assert bodies_of(b"".join(event_prefix(len(body)) + body for body in bodies)) == bodies


@pytest.mark.parametrize("rest", [b"\x0a", b"\x0a\x05abcd", b"\x12\x01a", b"\x0a" + b"\xff" * 20])
def test_a_rest_that_is_no_event_is_the_last_one(rest: bytes) -> None:
    """Cut off, of another field, or without an end."""
    assert bodies_of(b"\x0a\x01x" + rest) == [b"x", rest]
