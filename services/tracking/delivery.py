"""DeliveryService over gRPC: events that JMS producers sent, handed on by the bridge.

A text body is the JSON of a TrackingEvent, a bytes body a serialized one. What the event lacks comes from the message,
which is the same at every delivery: the message id, and the time the producer sent it.
"""

from typing import Any

import grpc
from google.protobuf.message import DecodeError
from penstock.delivery.v1 import delivery_service_pb2 as pb
from penstock.delivery.v1 import delivery_service_pb2_grpc
from penstock.delivery.v1.broker_message_pb2 import BrokerMessage
from penstock.tracking.v1.tracking_service_pb2 import TrackResult

from services.runtime.delivery import deliver, short_message_id
from services.runtime.errors import InvalidArgumentError
from services.tracking.arrivals import event_from
from services.tracking.event import MAX_MESSAGE_ID, TrackingEvent
from services.tracking.intake import Intake, Source
from services.tracking.json_event import event_from_text
from services.tracking.results import ACCEPTED, DUPLICATE, UNVERIFIED, Outcome

_STORED = (ACCEPTED, DUPLICATE, UNVERIFIED)


class DeliveryServicer(delivery_service_pb2_grpc.DeliveryServiceServicer):
    """Refusals of the intake are final and end in the dead letter queue; only a log that is full means retry."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def DeliverMessages(  # noqa: N802
        self, request: pb.DeliverMessagesRequest, _context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.DeliverMessagesResponse:
        return await deliver(request, decode=event_of, take=self._take)

    async def _take(self, events: list[TrackingEvent]) -> list[str]:
        response = await self._intake.track(events, Source.EVENT_SOURCE_BROKER)
        return [_refusal(result) for result in response.results]


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
    event.message_id = event.message_id or short_message_id(message.id, MAX_MESSAGE_ID)
    if not event.HasField("occurred_at") and message.HasField("sent_at"):
        event.occurred_at.CopyFrom(message.sent_at)
    return event


def _from_bytes(data: bytes) -> TrackingEvent:
    try:
        return event_from(data)
    except DecodeError as error:
        raise InvalidArgumentError(f"the body of {len(data)} bytes is not a serialized TrackingEvent") from error


def _refusal(result: TrackResult) -> str:
    if result.outcome in _STORED:
        return ""
    return f"{Outcome.Name(result.outcome).removeprefix('TRACK_OUTCOME_')}: {result.reason}"
