"""Results of events as they stand in an answer: encoded one by one, joined into a BatchTrackEventsResponse.

Building a message per result would cost as much as the rest of the decision; the bytes of an accepted event differ in
nothing but its id.
"""

from penstock.tracking.v1.tracking_event_pb2 import TrackOutcome
from penstock.tracking.v1.tracking_service_pb2 import TrackResult

from services.tracking.event import MAX_MESSAGE_ID
from services.tracking.frames import event_prefix, varint

_ID_TAG = b"\x12"  # field 2, length-delimited
_LONGEST_ID = 4 * MAX_MESSAGE_ID  # bytes; a character has up to four


def success_templates(outcome: TrackOutcome) -> list[bytes]:
    """By the bytes of a message id: what stands before it in a result without a reason."""
    head = TrackResult(outcome=outcome).SerializeToString()
    templates = []
    for size in range(_LONGEST_ID + 1):
        before_id = head + _ID_TAG + varint(size)
        templates.append(event_prefix(len(before_id) + size) + before_id)
    return templates


def encoded_refusal(outcome: TrackOutcome, message_id: bytes, reason: str) -> tuple[bytes, ...]:
    """The parts of the result of an event that was not stored."""
    body = TrackResult(outcome=outcome, message_id=message_id.decode(), reason=reason).SerializeToString()
    return event_prefix(len(body)), body
