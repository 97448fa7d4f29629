"""`DeliveryService` as any service offers it: each message is decoded by itself, the good ones are taken together."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from penstock.delivery.v1 import delivery_service_pb2 as pb
from penstock.delivery.v1.broker_message_pb2 import BrokerMessage

from services.runtime.errors import InvalidArgumentError, RetryableError, invalid_field

SERVICE = pb.DESCRIPTOR.services_by_name["DeliveryService"].full_name
MAX_MESSAGES = 1000
"""In one call."""

T = TypeVar("T")
_RETRY_AFTER_SECONDS = 1.0
_ACCEPTED = pb.DeliveryResult(outcome=pb.DELIVERY_OUTCOME_ACCEPTED)


async def deliver(
    request: pb.DeliverMessagesRequest,
    *,
    decode: Callable[[BrokerMessage], T],
    take: Callable[[list[T]], Awaitable[Sequence[str]]],
) -> pb.DeliverMessagesResponse:
    """A result per message.

    Args:
        request: 1 to 1000 messages.
        decode: an InvalidArgumentError it raises rejects its message alone.
        take: answers for each item why it can never be taken, empty when it was; a RetryableError it raises means that
            all it was given come again.

    Raises:
        InvalidArgumentError: too many messages, or none.
    """
    if not 1 <= len(request.messages) <= MAX_MESSAGES:
        raise invalid_field("messages", f"has {len(request.messages)} entries; a call has 1 to {MAX_MESSAGES}")
    decoded = [_decoded(decode, message) for message in request.messages]
    items = [item for item in decoded if not isinstance(item, InvalidArgumentError)]
    taken = iter(await _taken(take, items) if items else ())
    results = [
        _rejected(f"INVALID: {item.message}") if isinstance(item, InvalidArgumentError) else next(taken)
        for item in decoded
    ]
    return pb.DeliverMessagesResponse(results=results)


def short_message_id(jms_message_id: str, longest: int) -> str:
    """A JMSMessageID, or its hash when it has more than `longest` characters: it holds a host name of any length."""
    if len(jms_message_id) <= longest:
        return jms_message_id
    return f"jms-{hashlib.sha256(jms_message_id.encode()).hexdigest()}"


def _decoded(decode: Callable[[BrokerMessage], T], message: BrokerMessage) -> T | InvalidArgumentError:
    try:
        return decode(message)
    except InvalidArgumentError as error:
        return error


async def _taken(take: Callable[[list[T]], Awaitable[Sequence[str]]], items: list[T]) -> list[pb.DeliveryResult]:
    try:
        reasons = await take(items)
    except RetryableError as error:
        # Always with a time: it is this service that is busy, and the message shall not pay for it with an attempt.
        later = pb.DeliveryResult(outcome=pb.DELIVERY_OUTCOME_RETRY, reason=error.message)
        later.retry_after.FromMilliseconds(round((error.retry_after or _RETRY_AFTER_SECONDS) * 1000))
        return [later] * len(items)
    return [_rejected(reason) if reason else _ACCEPTED for reason in reasons]


def _rejected(reason: str) -> pb.DeliveryResult:
    return pb.DeliveryResult(outcome=pb.DELIVERY_OUTCOME_REJECTED, reason=reason)
