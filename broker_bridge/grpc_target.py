"""Delivery to any service that implements `penstock.delivery.v1.DeliveryService`."""

from collections.abc import Sequence

import grpc
from google.protobuf import timestamp_pb2
from penstock.delivery.v1 import broker_message_pb2, delivery_service_pb2
from penstock.delivery.v1.delivery_service_pb2_grpc import DeliveryServiceStub

from broker_bridge.message import MessageKind
from broker_bridge.parcel import Attribute, AttributeKind, Parcel
from broker_bridge.property_types import PropertyValue
from broker_bridge.targets import ACCEPTED, Accepted, ErrorClass, Origin, Outcome, Rejected, Reply, Retry
from services.runtime.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    PenstockError,
    ResourceExhaustedError,
    RetryableError,
    UnavailableError,
    UnimplementedError,
)
from services.runtime.status import from_rpc_error


class GrpcDelivery:
    """A `broker_bridge.targets.Target`. `timeout` is in seconds per call; the channel is closed with the target."""

    def __init__(self, channel: grpc.aio.Channel, *, timeout: float) -> None:
        self._channel = channel
        self._stub = DeliveryServiceStub(channel)
        self._timeout = timeout

    async def deliver(self, parcels: Sequence[Parcel], origin: Origin) -> Sequence[Outcome]:
        request = delivery_service_pb2.DeliverMessagesRequest(route=origin.route, subscription=origin.subscription)
        for parcel in parcels:
            write_message(parcel, request.messages.add())
        try:
            response = await self._stub.DeliverMessages(request, timeout=self._timeout)
        except grpc.aio.AioRpcError as error:
            return [_failure(from_rpc_error(error), shared=len(parcels) > 1)] * len(parcels)
        if len(response.results) != len(parcels):
            reason = f"the service gave {len(response.results)} results for {len(parcels)} messages"
            return [Retry(reason=reason, error_class=ErrorClass.REFUSED)] * len(parcels)
        return [_outcome(result) for result in response.results]

    async def close(self) -> None:
        await self._channel.close()


def _outcome(result: delivery_service_pb2.DeliveryResult) -> Outcome:
    if result.outcome == delivery_service_pb2.DELIVERY_OUTCOME_ACCEPTED:
        return Accepted(reply=read_reply(result.reply)) if result.HasField("reply") else ACCEPTED
    reason = result.reason or "the service gave no reason"
    if result.outcome == delivery_service_pb2.DELIVERY_OUTCOME_REJECTED:
        return Rejected(reason=reason)
    if not result.HasField("retry_after"):
        return Retry(reason=reason, error_class=ErrorClass.REFUSED)
    return Retry(reason=reason, error_class=ErrorClass.UNAVAILABLE, after=result.retry_after.ToNanoseconds() / 1e9)


def read_reply(reply: delivery_service_pb2.Reply) -> Reply:
    """The domain value of a reply."""
    body = reply.data if reply.WhichOneof("body") == "data" else reply.text
    return Reply(body=body, properties=dict(reply.properties))


def _failure(error: PenstockError, *, shared: bool) -> Outcome:
    """What a failed call means for each of its messages; `shared`: there were several, and one may be to blame."""
    reason = f"{type(error).__name__.removesuffix('Error')}: {error.message}"
    if isinstance(error, InvalidArgumentError | FailedPreconditionError) or error.reason == "ERROR_REASON_TOO_LARGE":
        return Retry(reason=reason, error_class=ErrorClass.REFUSED) if shared else Rejected(reason=reason)
    if isinstance(error, ResourceExhaustedError):
        return Retry(reason=reason, error_class=ErrorClass.THROTTLED, after=error.retry_after)
    if isinstance(error, UnavailableError | DeadlineExceededError | UnimplementedError):
        # UNIMPLEMENTED: the address answers, but does not serve this contract (yet): a wrong address, or an old
        # version.
        after = error.retry_after if isinstance(error, RetryableError) else None
        return Retry(reason=reason, error_class=ErrorClass.UNAVAILABLE, after=after)
    return Retry(reason=reason, error_class=ErrorClass.REFUSED)


def broker_message(parcel: Parcel) -> broker_message_pb2.BrokerMessage:
    """The message as services see it."""
    encoded = broker_message_pb2.BrokerMessage()
    write_message(parcel, encoded)
    return encoded


def write_message(parcel: Parcel, encoded: broker_message_pb2.BrokerMessage) -> None:
    """Writes the message where it will be sent from, which saves a copy of its body."""
    message = parcel.message
    encoded.id = message.id
    encoded.destination = message.destination
    encoded.correlation_id = message.correlation_id
    encoded.reply_to = message.reply_to
    encoded.type = message.type
    encoded.priority = message.priority
    encoded.attempt = parcel.attempt
    encoded.persistent = message.persistent
    encoded.redelivered = message.redelivered
    encoded.group = parcel.group
    _set_body(parcel, encoded)
    if message.sent_at:
        _set_time(encoded.sent_at, message.sent_at)
    if message.expires_at:
        _set_time(encoded.expires_at, message.expires_at)
    _set_time(encoded.received_at, message.received_at)
    for name, attribute in parcel.attributes.items():
        if name not in parcel.values:
            _set_property(encoded.properties[name], attribute)
    for name, typed in parcel.values.items():
        set_value(encoded.properties[name], typed)


def _set_body(parcel: Parcel, encoded: broker_message_pb2.BrokerMessage) -> None:
    message = parcel.message
    if message.kind is MessageKind.MAP:
        for name, value in message.entries.items():
            set_value(encoded.map.entries[name], value)
        encoded.map.SetInParent()
    elif parcel.text is None:
        encoded.data = message.body
    else:
        encoded.text = parcel.text


def _set_time(timestamp: timestamp_pb2.Timestamp, milliseconds: int) -> None:
    # A fifth of the time of Timestamp.FromMilliseconds, for every message.
    timestamp.seconds = milliseconds // 1000
    timestamp.nanos = milliseconds % 1000 * 1_000_000


def set_value(encoded: broker_message_pb2.PropertyValue, value: PropertyValue | bytes) -> None:
    """A typed value; None leaves it without one."""
    if isinstance(value, bool):
        encoded.bool_value = value
    elif isinstance(value, int):
        encoded.int_value = value
    elif isinstance(value, float):
        encoded.double_value = value
    elif isinstance(value, bytes):
        encoded.bytes_value = value
    elif value is not None:
        encoded.string_value = value
    else:
        encoded.SetInParent()


def _set_property(value: broker_message_pb2.PropertyValue, attribute: Attribute) -> None:
    if attribute.kind is not AttributeKind.NUMBER:
        value.string_value = attribute.value
        return
    try:
        # ValueError: not whole, or beyond the 64 bits of the field.
        value.int_value = int(attribute.value)
    except ValueError:
        value.double_value = float(attribute.value)
