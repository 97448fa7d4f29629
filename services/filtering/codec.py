"""Protobuf <-> domain values of the filtering API."""

from collections.abc import Sequence

from penstock.errors.v1 import error_reason_pb2
from penstock.filtering.v1 import filtering_service_pb2 as pb
from penstock.filtering.v1 import message_pb2

from services.filtering.explain import Explanation
from services.filtering.faults import Fault
from services.filtering.message import AttributeType, BodyTooLargeError, InvalidBodyError, MessageError
from services.filtering.topics import Message, Topic

Found = list[str] | MessageError
"""The names of the subscriptions that want a message, or why it could not be matched."""

_TYPES = {
    message_pb2.ATTRIBUTE_TYPE_UNSPECIFIED: AttributeType.STRING,
    message_pb2.ATTRIBUTE_TYPE_STRING: AttributeType.STRING,
    message_pb2.ATTRIBUTE_TYPE_STRING_ARRAY: AttributeType.STRING_ARRAY,
    message_pb2.ATTRIBUTE_TYPE_NUMBER: AttributeType.NUMBER,
    message_pb2.ATTRIBUTE_TYPE_BINARY: AttributeType.BINARY,
}


def read_message(message: message_pb2.FilterableMessage) -> Message:
    """The message in domain values. An attribute type this version does not know counts as Binary: never matched on."""
    attributes = {
        name: (_TYPES.get(attribute.type, AttributeType.BINARY), attribute.value)
        for name, attribute in message.attributes.items()
    }
    return Message(attributes=attributes, body=message.body)


def matched_subscription(topic: Topic, name: str) -> pb.MatchedSubscription:
    """A subscription of a topic, as answers name it."""
    return pb.MatchedSubscription(name=name, target=topic.subscriptions[name].target)


def batch_response(topic: Topic, found: Sequence[Found]) -> pb.BatchMatchMessagesResponse:
    """The answer to a batch: each wanted subscription once, and per message where it stands in that list."""
    wanted = sorted({name for names in found if isinstance(names, list) for name in names})
    place = {name: index for index, name in enumerate(wanted)}
    return pb.BatchMatchMessagesResponse(
        subscriptions=[matched_subscription(topic, name) for name in wanted],
        results=[
            pb.MatchResult(subscription_indexes=sorted(map(place.__getitem__, names)))
            if isinstance(names, list)
            else match_error(_reason(names), str(names))
            for names in found
        ],
    )


def match_error(reason: error_reason_pb2.ErrorReason, message: str) -> pb.MatchResult:
    """The result of a message that could not be matched."""
    return pb.MatchResult(error=pb.MatchError(reason=reason, message=message))


def reason_of(error: MessageError) -> str:
    """The name of the reason why a message could not be matched."""
    return error_reason_pb2.ErrorReason.Name(_reason(error))


def _reason(error: MessageError) -> error_reason_pb2.ErrorReason:
    if isinstance(error, InvalidBodyError):
        return error_reason_pb2.ERROR_REASON_INVALID_BODY
    if isinstance(error, BodyTooLargeError):
        return error_reason_pb2.ERROR_REASON_TOO_LARGE
    return error_reason_pb2.ERROR_REASON_INVALID_FIELD


def policy_fault(fault: Fault) -> pb.PolicyFault:
    """A finding about a policy."""
    return pb.PolicyFault(message=fault.message, path=fault.path, line=fault.line, column=fault.column)


def explanation_response(explanation: Explanation) -> pb.ExplainMatchResponse:
    """The answer to ExplainMatch."""
    keys = [
        pb.KeyExplanation(path=key.path, satisfied=key.satisfied, condition=key.condition, actual=key.actual)
        for key in explanation.keys
    ]
    return pb.ExplainMatchResponse(matches=explanation.matches, keys=keys)
