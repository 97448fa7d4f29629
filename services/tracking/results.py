"""Outcomes, and results of events as they stand in an answer: encoded one by one, joined into a response.

Building a message per result would cost as much as the rest of the decision; the bytes of an accepted event differ in
nothing but its id.
"""

from penstock.tracking.v1 import tracking_event_pb2
from penstock.tracking.v1.tracking_service_pb2 import TrackResult

from services.tracking.event import MAX_MESSAGE_ID
from services.tracking.frames import event_prefix, varint

Outcome = tracking_event_pb2.TrackOutcome

ACCEPTED = tracking_event_pb2.TRACK_OUTCOME_ACCEPTED
DUPLICATE = tracking_event_pb2.TRACK_OUTCOME_DUPLICATE
UNKNOWN_PROGRAM = tracking_event_pb2.TRACK_OUTCOME_UNKNOWN_PROGRAM
EXPIRED_PROGRAM = tracking_event_pb2.TRACK_OUTCOME_EXPIRED_PROGRAM
INVALID = tracking_event_pb2.TRACK_OUTCOME_INVALID
UNVERIFIED = tracking_event_pb2.TRACK_OUTCOME_UNVERIFIED
WRONG_CHECKSUM = tracking_event_pb2.TRACK_OUTCOME_WRONG_CHECKSUM

DECISIONS = (ACCEPTED, DUPLICATE, UNKNOWN_PROGRAM, EXPIRED_PROGRAM, INVALID, UNVERIFIED, WRONG_CHECKSUM)
"""Every outcome of an event."""

_ID_TAG = b"\x12"  # field 2, length-delimited
_LONGEST_ID = 4 * MAX_MESSAGE_ID  # bytes; a character has up to four


def success_templates(outcome: Outcome) -> list[bytes]:
    """By the bytes of a message id: what stands before it in a result without a reason."""
    head = TrackResult(outcome=outcome).SerializeToString()
    templates = []
    for size in range(_LONGEST_ID + 1):
        before_id = head + _ID_TAG + varint(size)
        templates.append(event_prefix(len(before_id) + size) + before_id)
    return templates


def encoded_refusal(outcome: Outcome, message_id: bytes, reason: str) -> tuple[bytes, ...]:
    """The parts of the result of an event that was not stored."""
    body = TrackResult(outcome=outcome, message_id=message_id.decode(), reason=reason).SerializeToString()
    return event_prefix(len(body)), body
