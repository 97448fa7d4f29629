"""DeliveryService over gRPC: events that JMS producers sent, handed on by the bridge.

A text body is the JSON of a TrackingEvent, a bytes body a serialized one. What the event lacks comes from the message,
which is the same at every delivery: the message id, and the time the producer sent it.
"""

import hashlib
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from penstock.delivery.v1 import delivery_service_pb2 as pb
from penstock.delivery.v1 import delivery_service_pb2_grpc
from penstock.delivery.v1.broker_message_pb2 import BrokerMessage
from penstock.tracking.v1.tracking_service_pb2 import TrackResult

from services.runtime.errors import InvalidArgumentError, RetryableError, invalid_field
from services.tracking.event import MAX_MESSAGE_ID, TrackingEvent
from services.tracking.intake import ACCEPTED, DUPLICATE, UNVERIFIED, Intake, Outcome, Source
from services.tracking.json_event import event_from_text

SERVICE = pb.DESCRIPTOR.services_by_name["DeliveryService"].full_name
MAX_MESSAGES = 1000
_STORED = (ACCEPTED, DUPLICATE, UNVERIFIED)
_ACCEPTED = pb.DeliveryResult(outcome=pb.DELIVERY_OUTCOME_ACCEPTED)


class DeliveryServicer(delivery_service_pb2_grpc.DeliveryServiceServicer):
    """Refusals of the intake are final and end in the dead letter queue; only a log that is full means retry."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def DeliverMessages(  # noqa: N802
        self, request: pb.DeliverMessagesRequest, _context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.DeliverMessagesResponse:
        if not 0 < len(request.messages) <= MAX_MESSAGES:
            raise invalid_field("messages", f"has {len(request.messages)} entries; a call has 1 to {MAX_MESSAGES}")
        decoded = [_decoded(message) for message in request.messages]
        events = [item for item in decoded if isinstance(item, TrackingEvent)]
        results = iter(await self._deliver(events) if events else ())
        return pb.DeliverMessagesResponse(
            results=[next(results) if isinstance(item, TrackingEvent) else item for item in decoded]
        )

    async def _deliver(self, events: list[TrackingEvent]) -> list[pb.DeliveryResult]:
        try:
            response = await self._intake.track(events, Source.EVENT_SOURCE_BROKER)
        except RetryableError as error:
            later = pb.DeliveryResult(outcome=pb.DELIVERY_OUTCOME_RETRY, reason=error.message)
            if error.retry_after is not None:
                later.retry_after.FromMilliseconds(round(error.retry_after * 1000))
            return [later] * len(events)
        return [_result(result) for result in response.results]


def event_of(message: BrokerMessage) -> TrackingEvent:
    """The event in a message.

    Raises:
        InvalidArgumentError: the body is not an event.
    """
    match message.WhichOneof("body"):
        case "data":
            event = _from_bytes(message.data)
        case "text":
            event = event_from_text(message.text)
        case kind:
            what = "a MapMessage" if kind else "empty"
            raise InvalidArgumentError(
                f"the body is {what}: send a TextMessage with the JSON of a TrackingEvent, or a BytesMessage with a "
                "serialized one"
            )
    event.message_id = event.message_id or _message_id(message.id)
    if not event.HasField("occurred_at") and message.HasField("sent_at"):
        event.occurred_at.CopyFrom(message.sent_at)
    return event


def _from_bytes(data: bytes) -> TrackingEvent:
    try:
        return TrackingEvent.FromString(data)
    except DecodeError as error:
        raise InvalidArgumentError(f"the body of {len(data)} bytes is not a serialized TrackingEvent") from error


def _message_id(jms_message_id: str) -> str:
    # A JMSMessageID holds a host name, which may make it longer than a message id may be; its hash is as stable.
    if len(jms_message_id) <= MAX_MESSAGE_ID:
        return jms_message_id
    return f"jms-{hashlib.sha256(jms_message_id.encode()).hexdigest()}"


def _decoded(message: BrokerMessage) -> TrackingEvent | pb.DeliveryResult:
    try:
        return event_of(message)
    except InvalidArgumentError as error:
        return pb.DeliveryResult(outcome=pb.DELIVERY_OUTCOME_REJECTED, reason=f"INVALID: {error.message}")


def _result(result: TrackResult) -> pb.DeliveryResult:
    if result.outcome in _STORED:
        return _ACCEPTED
    outcome = Outcome.Name(result.outcome).removeprefix("TRACK_OUTCOME_")
    return pb.DeliveryResult(outcome=pb.DELIVERY_OUTCOME_REJECTED, reason=f"{outcome}: {result.reason}")
