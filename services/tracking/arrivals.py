"""Events as they arrive, taken apart as far as the decision about them needs.

Most events are *plain*: a few short fields, nothing to complete and nothing that could be wrong with them. Of a plain
event a tuple of bytes is enough, and its bytes go to the log as they came. All others become messages, see `intake`.
"""

from collections.abc import Sequence

from google.protobuf.message import DecodeError
from penstock.tracking.v1.tracking_service_pb2 import BatchTrackEventsRequest, TrackEventRequest

from services.runtime.errors import InvalidArgumentError, invalid_field
from services.tracking.core import CORE, Core
from services.tracking.event import (
    LATEST_SECONDS,
    MAX_BATCH,
    MAX_MESSAGE_ID,
    MAX_TEXT,
    SECOND_NANOS,
    TrackingEvent,
)
from services.tracking.frames import event_prefix

Arrival = tuple[bytes, bytes, bytes, bytes, int, bytes, str | None]
"""Program id, message id, user agent and checksum in UTF-8; when it occurred, in seconds since 1970, 0 where it does
not tell; the event serialized; what is wrong with it, None when nothing is."""


def arrivals_of(request: bytes, core: Core = CORE) -> Sequence[Arrival | TrackingEvent]:
    """The events of a serialized BatchTrackEventsRequest in order, those that are plain as arrivals.

    Raises:
        InvalidArgumentError: the bytes are no such request, or one of too few or too many events.
    """
    try:
        found = core.split(request)
        if found is None:
            events = BatchTrackEventsRequest.FromString(request).events
            require_batch(len(events))
            return [plain(event) or event for event in events]
        require_batch(len(found))
        return [event_from(item) if type(item) is bytes else item for item in found]
    except DecodeError as error:
        raise InvalidArgumentError(f"the request cannot be read: {error}") from error


def require_batch(count: int) -> None:
    """Raises InvalidArgumentError unless a batch may have so many events."""
    if not 0 < count <= MAX_BATCH:
        raise invalid_field("events", f"has {count} entries; a batch has 1 to {MAX_BATCH}")


def event_from(body: bytes) -> TrackingEvent:
    """A serialized event, read inside a message as it will stand in one to the store.

    By itself it could be nested one level deeper than protobuf reads there (100 levels), and no store could take it.

    Raises:
        DecodeError: the bytes are no event.
    """
    return TrackEventRequest.FromString(event_prefix(len(body)) + body).event


def plain(event: TrackingEvent, *, address_kept: bool = False) -> Arrival | None:
    """A plain event as an arrival; None for any other, as one with an address unless that is what may be kept of it."""
    message_id, body, occurred = event.message_id, event.SerializeToString(), event.occurred_at
    seconds = occurred.seconds
    if (
        0 < len(message_id) <= MAX_MESSAGE_ID
        and len(body) <= MAX_TEXT  # too small for a text that is too long
        and 0 <= seconds < LATEST_SECONDS
        and 0 <= occurred.nanos < SECOND_NANOS
        and not event.attributes
        and (address_kept or not event.ip_address)
        and not event.HasField("sent_at")
        and not event.HasField("corrected_at")
    ):
        return arrival(event, seconds, body)
    return None


def arrival(event: TrackingEvent, seconds: int, body: bytes, fault: str | None = None) -> Arrival:
    """The arrival of an event that occurred at `seconds` and is serialized as `body`."""
    texts = event.program_id, event.message_id, event.user_agent, event.checksum
    program_id, message_id, user_agent, checksum = [text.encode() for text in texts]
    return program_id, message_id, user_agent, checksum, seconds, body, fault
