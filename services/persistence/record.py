"""What is stored of an event: the keys it is found by, and the event as protobuf bytes."""

from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from services.runtime.errors import FieldViolation, InvalidArgumentError

MAX_MESSAGE_ID_CHARACTERS = 100
MAX_PROGRAM_ID_CHARACTERS = 128
# Room for the largest event an intake takes (256 KiB) and what it adds; below the 400 KB of a DynamoDB item.
MAX_EVENT_BYTES = 384 * 1024
# google.protobuf.Timestamp: 0001-01-01T00:00:00Z to 9999-12-31T23:59:59.999999999Z.
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799
_MICROSECONDS = 1_000_000
_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class EventRecord:
    """One row. `occurred_at` is in microseconds since 1970 UTC, `payload` a serialized TrackingEvent."""

    message_id: str
    program_id: str
    occurred_at: int
    payload: bytes


def record_of(event: TrackingEvent, *, now: float) -> EventRecord:
    """The row of `event`, which lists under `occurred_at`, else `received_at`.

    An event with neither gets `now` (seconds since 1970 UTC) as its `occurred_at`. That is not repeatable when the
    client sends it again: a store must keep the first row of a message id.

    Raises:
        InvalidArgumentError: with a violation for each missing or wrong field.
    """
    violations = tuple(_violations(event))
    if violations:
        text = "; ".join(f"{violation.field}: {violation.description}" for violation in violations)
        raise InvalidArgumentError(text, violations=violations, reason="ERROR_REASON_INVALID_FIELD")
    if event.HasField("occurred_at"):
        occurred_at = microseconds(event.occurred_at)
    elif event.HasField("received_at"):
        occurred_at = microseconds(event.received_at)
    else:
        occurred_at = int(now * _MICROSECONDS)
        event.occurred_at.FromMicroseconds(occurred_at)
    payload = event.SerializeToString()
    if len(payload) > MAX_EVENT_BYTES:
        fault = FieldViolation(field="event", description=f"has {len(payload)} bytes; at most {MAX_EVENT_BYTES}")
        raise InvalidArgumentError(
            f"{fault.field}: {fault.description}", violations=(fault,), reason="ERROR_REASON_INVALID_FIELD"
        )
    return EventRecord(
        message_id=event.message_id, program_id=event.program_id, occurred_at=occurred_at, payload=payload
    )


def microseconds(timestamp: Timestamp) -> int:
    """Microseconds since 1970 UTC, nanoseconds cut off."""
    return timestamp.seconds * _MICROSECONDS + timestamp.nanos // 1000


def timestamp_fault(timestamp: Timestamp) -> str | None:
    """What is wrong with a Timestamp that came over the wire, where nothing checks its range."""
    if not _FIRST_SECOND <= timestamp.seconds <= _LAST_SECOND:
        return f"seconds = {timestamp.seconds} is outside the years 1 to 9999"
    if not 0 <= timestamp.nanos < _NANOSECONDS:
        return f"nanos = {timestamp.nanos} is outside 0 to 999999999"
    return None


def _violations(event: TrackingEvent) -> Iterator[FieldViolation]:
    for field, value, limit in (
        ("message_id", event.message_id, MAX_MESSAGE_ID_CHARACTERS),
        ("program_id", event.program_id, MAX_PROGRAM_ID_CHARACTERS),
    ):
        if not value:
            yield FieldViolation(field=field, description="is required")
        elif len(value) > limit:
            yield FieldViolation(field=field, description=f"has {len(value)} characters; at most {limit}")
    # Also those that no row is found by: readers who turn the event into JSON would fail over them.
    for field in ("occurred_at", "sent_at", "received_at"):
        if event.HasField(field) and (fault := timestamp_fault(getattr(event, field))):
            yield FieldViolation(field=field, description=fault)
