"""DeliveryService over gRPC: broker messages that are tracking events, stored without passing an intake."""

import hashlib
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
from services.persistence.recorder import EventRecorder, RecordResult
from services.runtime.errors import InvalidArgumentError, RetryableError, invalid_field

SERVICE = pb.DESCRIPTOR.services_by_name["DeliveryService"].full_name
MAX_MESSAGES_PER_CALL = 1000
_ACCEPTED = pb.DeliveryResult(outcome=pb.DELIVERY_OUTCOME_ACCEPTED)
Context = grpc.aio.ServicerContext[Any, Any]


class DeliveryServicer(delivery_service_pb2_grpc.DeliveryServiceServicer):
    """Stores the event of each message; what can never be stored is rejected, a full disk means retry."""

    def __init__(self, recorder: EventRecorder) -> None:
        self._recorder = recorder

    async def DeliverMessages(  # noqa: N802
        self, request: pb.DeliverMessagesRequest, _context: Context
    ) -> pb.DeliverMessagesResponse:
        if not 1 <= len(request.messages) <= MAX_MESSAGES_PER_CALL:
            raise invalid_field(
                "messages", f"has {len(request.messages)} entries; 1 to {MAX_MESSAGES_PER_CALL} are taken per call"
            )
        decoded = [_decoded(message) for message in request.messages]
        events = [item for item in decoded if isinstance(item, TrackingEvent)]
        try:
            results = iter(await self._recorder.record(events))
        except RetryableError as error:
            stored_later = _retry(error)
            answers = [stored_later if isinstance(item, TrackingEvent) else _rejected(item) for item in decoded]
        else:
            answers = [_result(next(results) if isinstance(item, TrackingEvent) else item) for item in decoded]
        return pb.DeliverMessagesResponse(results=answers)


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
    event.message_id = event.message_id or _message_id(message.id)
    if not (event.HasField("occurred_at") or event.HasField("received_at")) and message.HasField("sent_at"):
        event.occurred_at.CopyFrom(message.sent_at)
    if event.source == tracking_event_pb2.EVENT_SOURCE_UNSPECIFIED:
        event.source = tracking_event_pb2.EVENT_SOURCE_BROKER
    return event


def _message_id(jms_message_id: str) -> str:
    # A JMSMessageID holds a host name, which may make it longer than a message id may be; its hash, the one that the
    # intake makes as well, is as stable.
    if len(jms_message_id) <= MAX_MESSAGE_ID_CHARACTERS:
        return jms_message_id
    return f"jms-{hashlib.sha256(jms_message_id.encode()).hexdigest()}"


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


def _decoded(message: BrokerMessage) -> TrackingEvent | InvalidArgumentError:
    try:
        return event_of(message)
    except InvalidArgumentError as error:
        return error


def _result(result: RecordResult) -> pb.DeliveryResult:
    return _rejected(result) if isinstance(result, InvalidArgumentError) else _ACCEPTED


def _rejected(error: InvalidArgumentError) -> pb.DeliveryResult:
    return pb.DeliveryResult(outcome=pb.DELIVERY_OUTCOME_REJECTED, reason=error.message)


def _retry(error: RetryableError) -> pb.DeliveryResult:
    result = pb.DeliveryResult(outcome=pb.DELIVERY_OUTCOME_RETRY, reason=error.message)
    if error.retry_after is not None:
        result.retry_after.FromNanoseconds(int(error.retry_after * 1e9))
    return result
