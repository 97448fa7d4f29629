"""Events at the limit of what protobuf reads: a message within a message, 100 levels deep."""

from google.protobuf.message import DecodeError
from penstock.persistence.v1.persistence_service_pb2 import PutEventsRequest
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from services.tracking.frames import event_prefix, varint

_FIELD = 1000  # one that no event has


def nested_event(depth: int) -> bytes:
    """A serialized event with an unknown field of so many groups within each other."""
    begin, end = varint(_FIELD << 3 | 3), varint(_FIELD << 3 | 4)
    return TrackingEvent(program_id="p", message_id="m").SerializeToString() + begin * depth + end * depth


def nested_request(depth: int) -> bytes:
    """The same as the only event of a request, of an intake or to the store."""
    body = nested_event(depth)
    return event_prefix(len(body)) + body


def is_storable(request: bytes) -> bool:
    """Whether the store can read a request."""
    try:
        PutEventsRequest.FromString(request)
    except DecodeError:
        return False
    return True
