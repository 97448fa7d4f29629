"""The filtering service over gRPC."""

from collections.abc import Callable, Sequence

import grpc
from penstock.errors.v1 import error_reason_pb2
from penstock.filtering.v1 import filtering_service_pb2, message_pb2
from penstock.filtering.v1.filtering_service_pb2_grpc import FilteringServiceStub

from broker_bridge.filtering import Destination, FilteringUnavailableError, Match, Unmatched
from broker_bridge.parcel import AttributeKind, Parcel
from broker_bridge.target_specs import TargetError, parse_target
from broker_bridge.targets import ErrorClass
from services.runtime.errors import InternalError, InvalidArgumentError, NotFoundError, PenstockError
from services.runtime.status import from_rpc_error

MAX_BODY_BYTES = 256 * 1024
"""The longest body a policy may look at; longer ones are matched by their attributes alone."""
_TYPES = {
    AttributeKind.STRING: message_pb2.ATTRIBUTE_TYPE_STRING,
    AttributeKind.NUMBER: message_pb2.ATTRIBUTE_TYPE_NUMBER,
    AttributeKind.STRING_ARRAY: message_pb2.ATTRIBUTE_TYPE_STRING_ARRAY,
    AttributeKind.BINARY: message_pb2.ATTRIBUTE_TYPE_BINARY,
}
_REFUSALS = (InvalidArgumentError, NotFoundError, InternalError)


class GrpcFilter:
    """A `broker_bridge.filtering.MessageFilter`. `timeout` is in seconds per call.

    `report` hears after every call whether the service is there: why not, or "".
    """

    def __init__(
        self, channel: grpc.aio.Channel, *, report: Callable[[str], None] = lambda _why: None, timeout: float = 10.0
    ) -> None:
        self._report = report
        self._stub = FilteringServiceStub(channel)
        self._timeout = timeout

    async def match(self, topic: str, parcels: Sequence[Parcel]) -> Sequence[Match]:
        request = filtering_service_pb2.BatchMatchMessagesRequest(
            topic=topic, messages=[_filterable(parcel) for parcel in parcels]
        )
        try:
            response = await self._stub.BatchMatchMessages(request, timeout=self._timeout)
        except grpc.aio.AioRpcError as error:
            return await self._after(from_rpc_error(error), topic, parcels)
        self._report("")
        return _matches(topic, response)

    async def _after(self, error: PenstockError, topic: str, parcels: Sequence[Parcel]) -> Sequence[Match]:
        """A refusal may be one message's fault: it is found by halves. Anything else tells that nobody was asked."""
        is_too_large = error.reason == "ERROR_REASON_TOO_LARGE"
        if not is_too_large and not isinstance(error, _REFUSALS):
            reason = f"the filtering service does not answer: {error.message}"
            self._report(reason)
            raise FilteringUnavailableError(reason) from error
        if len(parcels) == 1:
            error_class = ErrorClass.POISON if is_too_large else ErrorClass.REFUSED
            return [Unmatched(reason=f"filtering: {error.message}", error_class=error_class)]
        half = len(parcels) // 2
        return [*await self.match(topic, parcels[:half]), *await self.match(topic, parcels[half:])]


def _filterable(parcel: Parcel) -> message_pb2.FilterableMessage:
    message = message_pb2.FilterableMessage()
    for name, attribute in parcel.attributes.items():
        entry = message.attributes[name]
        entry.type, entry.value = _TYPES[attribute.kind], attribute.value
    if parcel.text is not None and len(parcel.text) <= MAX_BODY_BYTES:
        body = parcel.text.encode()
        if len(body) <= MAX_BODY_BYTES:
            message.body = body
    return message


def _matches(topic: str, response: filtering_service_pb2.BatchMatchMessagesResponse) -> list[Match]:
    table = [_destination(topic, subscription) for subscription in response.subscriptions]
    return [
        _unmatched(result.error)
        if result.HasField("error")
        else [table[index] for index in result.subscription_indexes]
        for result in response.results
    ]


def _destination(topic: str, subscription: filtering_service_pb2.MatchedSubscription) -> Destination:
    path = f"{topic}/{subscription.name}"
    try:
        target = parse_target(subscription.target)
    except TargetError as error:
        fault = f"subscription {path} cannot be served: {error}"
        return Destination(name=subscription.name, target=None, subscription=path, fault=fault)
    return Destination(name=subscription.name, target=target, subscription=path)


def _unmatched(error: filtering_service_pb2.MatchError) -> Unmatched:
    reason = error_reason_pb2.ErrorReason.Name(error.reason) if error.reason else ""
    is_poison = error.reason == error_reason_pb2.ERROR_REASON_INVALID_BODY
    return Unmatched(
        reason=f"filtering: {error.message or reason}",
        error_class=ErrorClass.POISON if is_poison else ErrorClass.REFUSED,
    )
