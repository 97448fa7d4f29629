"""Delivery to an AWS Lambda function, by boto3 in threads."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from broker_bridge.amazon_mq_event import amazon_mq_event, simple_event, to_json
from broker_bridge.aws_answers import call_failed
from broker_bridge.parcel import Parcel
from broker_bridge.target_specs import LambdaTarget
from broker_bridge.targets import ACCEPTED, ErrorClass, Origin, Outcome, Rejected, Retry
from broker_bridge.trace import client_context
from services.runtime.aws import BlockingCalls

MAX_EVENT_BYTES = 6_000_000
"""Payload of a synchronous invocation, kept a little below Lambda's 6 MB."""
MAX_ASYNCHRONOUS_EVENT_BYTES = 1_000_000
"""Payload of an asynchronous invocation."""
_TOO_LARGE = frozenset({"RequestTooLargeException", "RequestEntityTooLargeException"})
_POISON = _TOO_LARGE | {"InvalidRequestContentException", "UnsupportedMediaTypeException"}
_SHOWN_CHARACTERS = 500


class LambdaDelivery:
    """A `broker_bridge.targets.Target`.

    A batch is one invocation, or several when it would be larger than Lambda takes; the simple event is one per
    message. A synchronous function decides by returning or failing, or message by message with `batchItemFailures`; the
    answer of an asynchronous one only means "queued by Lambda".
    """

    def __init__(
        self, spec: LambdaTarget, *, client: Callable[[], Any], calls: BlockingCalls, event_source_arn: str
    ) -> None:
        self._spec = spec
        self._client = client
        self._calls = calls
        self._arn = event_source_arn
        self._limit = MAX_ASYNCHRONOUS_EVENT_BYTES if spec.asynchronous else MAX_EVENT_BYTES

    async def deliver(self, parcels: Sequence[Parcel], origin: Origin) -> Sequence[Outcome]:  # noqa: ARG002
        if self._spec.simple:
            invocations = [self._invoke([parcel], to_json(simple_event(parcel))) for parcel in parcels]
        else:
            invocations = [self._invoke(part, self._event(part)) for part in self._parts(parcels)]
        return [outcome for outcomes in await asyncio.gather(*invocations) for outcome in outcomes]

    def _parts(self, parcels: Sequence[Parcel]) -> list[list[Parcel]]:
        """The batch cut so that each event is surely small enough; base64 makes four bytes of three."""
        parts: list[list[Parcel]] = []
        room = 0
        for parcel in parcels:
            size = len(parcel.message.body) * 4 // 3 + _overhead(parcel)
            if not parts or size > room:
                parts.append([])
                room = self._limit
            parts[-1].append(parcel)
            room -= size
        return parts

    def _event(self, parcels: Sequence[Parcel]) -> bytes:
        return to_json(amazon_mq_event(parcels, event_source_arn=self._arn))

    async def _invoke(self, parcels: Sequence[Parcel], payload: bytes) -> Sequence[Outcome]:
        """The outcomes of the messages of one invocation."""
        shared = len(parcels) > 1
        if len(payload) > self._limit:
            reason = f"the event has {len(payload)} bytes; Lambda takes {self._limit}"
            return [_too_large(reason, shared=shared)] * len(parcels)
        # API_Invoke: the client context reaches synchronously invoked functions only.
        how = (
            {"InvocationType": "Event"}
            if self._spec.asynchronous
            else {"InvocationType": "RequestResponse", "ClientContext": client_context()}
        )
        try:
            response = await self._calls.run(
                _invoked, self._client, FunctionName=self._spec.function_name, Payload=payload, **how
            )
        except (ClientError, BotoCoreError) as error:
            return [call_failed("Lambda", error, shared=shared, poison=_POISON)] * len(parcels)
        if self._spec.asynchronous:
            return [ACCEPTED] * len(parcels)
        return _answer(response, parcels)

    async def close(self) -> None:
        """Nothing to do: the client is shared."""


def _invoked(client: Callable[[], Any], **arguments: object) -> Mapping[str, Any]:
    """Invokes and reads the answer, which boto3 streams, in the same thread."""
    response = client().invoke(**arguments)
    return {"function_error": response.get("FunctionError"), "payload": response["Payload"].read()}


def _answer(response: Mapping[str, Any], parcels: Sequence[Parcel]) -> Sequence[Outcome]:
    """What a function that ran says of each message."""
    if response["function_error"]:
        return _all_failed(f"the function failed: {_error_text(response['payload'])}", parcels)
    try:
        failed = failed_items(response["payload"])
    except ValueError as error:
        return _all_failed(str(error), parcels)
    if unknown := failed - {parcel.message.id for parcel in parcels}:
        return _all_failed(f"batchItemFailures names {min(unknown)!r}, which is not in the batch", parcels)
    one = Retry(reason="the function named it in batchItemFailures", error_class=ErrorClass.REFUSED)
    return [one if parcel.message.id in failed else ACCEPTED for parcel in parcels]


def _all_failed(reason: str, parcels: Sequence[Parcel]) -> Sequence[Outcome]:
    return [Retry(reason=reason[:_SHOWN_CHARACTERS], error_class=ErrorClass.REFUSED)] * len(parcels)


def failed_items(payload: bytes) -> set[str]:
    """The message ids that a function's answer names as failed.

    The form is that of Lambda's other event source mappings, `{"batchItemFailures": [{"itemIdentifier": id}]}`, with
    the id that the event calls `messageID`; any other answer, and none, means success.

    Raises:
        ValueError: there is such a list and it cannot be read; as at AWS the whole batch then failed.
    """
    try:
        answer = json.loads(payload or b"null")
    except (ValueError, RecursionError):
        return set()
    failures = answer.get("batchItemFailures") if isinstance(answer, dict) else None
    if failures is None:
        return set()
    if not isinstance(failures, list):
        raise ValueError("batchItemFailures is not a list")  # noqa: TRY004 - of what was read, not of our code
    found: set[str] = set()
    for failure in failures:
        identifier = failure.get("itemIdentifier") if isinstance(failure, dict) else None
        if not isinstance(identifier, str) or not identifier:
            raise ValueError("an entry of batchItemFailures has no itemIdentifier")
        found.add(identifier)
    return found


def _error_text(payload: bytes) -> str:
    """Type and message of a function's error; its stack trace stays in the function's log."""
    try:
        error = json.loads(payload)
        text = f"{error.get('errorType', 'error')}: {error.get('errorMessage', '')}"
    except (ValueError, AttributeError):
        text = payload.decode(errors="replace")
    return text[:_SHOWN_CHARACTERS]


def _too_large(reason: str, *, shared: bool) -> Outcome:
    if shared:
        return Retry(reason=reason, error_class=ErrorClass.REFUSED)
    return Rejected(reason=reason, error_class=ErrorClass.POISON)


def _overhead(parcel: Parcel) -> int:
    """At most the bytes of an event's message without its body: JSON escapes a character to six bytes at most."""
    message = parcel.message
    texts = (message.id, message.destination * 2, message.correlation_id * 2, message.type, message.reply_to)
    characters = sum(map(len, texts)) + sum(len(name) + len(value) + 6 for name, value in message.properties.items())
    return 600 + 6 * characters
