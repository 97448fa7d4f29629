"""DeliveryService over gRPC: broker messages that are tracking events, stored without passing an intake."""

from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from penstock.delivery.v1 import delivery_service_pb2 as pb
from penstock.delivery.v1 import delivery_service_pb2_grpc
from penstock.delivery.v1.broker_message_pb2 import BrokerMessage
from penstock.tracking.v1 import tracking_event_pb2
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from services.persistence.record import MAX_MESSAGE_ID_CHARACTERS
from services.persistence.recorder import EventRecorder
from services.runtime.delivery import deliver, short_message_id
from services.runtime.errors import InvalidArgumentError


class DeliveryServicer(delivery_service_pb2_grpc.DeliveryServiceServicer):
    """Stores the event of each message; what can never be stored is rejected, a full disk means retry."""

    def __init__(self, recorder: EventRecorder) -> None:
        self._recorder = recorder

    async def DeliverMessages(  # noqa: N802
        self, request: pb.DeliverMessagesRequest, _context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.DeliverMessagesResponse:
        return await deliver(request, decode=event_of, take=self._take)

    async def _take(self, events: list[TrackingEvent]) -> list[str]:
        results = await self._recorder.record(events)
        return [f"INVALID: {result.message}" if isinstance(result, InvalidArgumentError) else "" for result in results]


def event_of(message: BrokerMessage) -> TrackingEvent:
    """The event in a message: a serialized TrackingEvent as bytes, its proto3 JSON as text.

    What the event lacks comes from the message, which is the same at every delivery: the id, and the time the producer
    sent it.

    Raises:
        InvalidArgumentError: the body is neither; the message says what is wrong with it.
    """
    match message.WhichOneof("body"):
        case "data":
            event = _from_bytes(message.data)
        case "text":
            event = _from_text(message.text)
        case other:
            kind = "a map" if other else "empty"
            raise _undecodable(f"is {kind}: send a serialized TrackingEvent as bytes, or its JSON as text")
    event.message_id = event.message_id or short_message_id(message.id, MAX_MESSAGE_ID_CHARACTERS)
    if not (event.HasField("occurred_at") or event.HasField("received_at")) and message.HasField("sent_at"):
        event.occurred_at.CopyFrom(message.sent_at)
    if event.source == tracking_event_pb2.EVENT_SOURCE_UNSPECIFIED:
        event.source = tracking_event_pb2.EVENT_SOURCE_BROKER
    return event


def _from_bytes(data: bytes) -> TrackingEvent:
    try:
        return TrackingEvent.FromString(data)
    except DecodeError as error:
        raise _undecodable(f"of {len(data)} bytes is not a serialized TrackingEvent: {error}") from None


def _from_text(text: str) -> TrackingEvent:
    # json_format takes an empty list, text or number for a message without fields.
    if not text.lstrip().startswith("{"):
        raise _undecodable("is not the JSON of a TrackingEvent: it must be an object")
    try:
        return json_format.Parse(text, TrackingEvent())
    except (json_format.ParseError, ValueError, RecursionError) as error:
        raise _undecodable(f"is not the JSON of a TrackingEvent: {error}") from None


def _undecodable(description: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"the body {description}", reason="ERROR_REASON_INVALID_FIELD")
