"""Delivery to an AWS Lambda function, by boto3 in threads."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from broker_bridge.amazon_mq_event import amazon_mq_event, simple_event, to_json
from broker_bridge.aws_answers import NOT_THE_SERVICE, call_failed, cannot_be_read, refuse_page
from broker_bridge.function_answer import all_failed, error_text, read_answer
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


class LambdaDelivery:
    """A `broker_bridge.targets.Target`.

    A batch is one invocation, or several when it would be larger than Lambda takes; the simple event is one per
    message. A synchronous function decides by returning or failing, or message by message in its answer, which
    `function_answer` reads; the answer of an asynchronous one only means "queued by Lambda".
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
        except NOT_THE_SERVICE as error:
            return [cannot_be_read("Lambda", error)] * len(parcels)
        if self._spec.asynchronous:
            return [ACCEPTED] * len(parcels)
        if response["function_error"]:
            return all_failed(f"the function failed: {error_text(response['payload'])}", parcels)
        return read_answer(response["payload"], parcels, self._spec)

    async def close(self) -> None:
        """Nothing to do: the client is shared."""


def _invoked(client: Callable[[], Any], **arguments: object) -> Mapping[str, Any]:
    """Invokes and reads the answer, which boto3 streams, in the same thread."""
    response = client().invoke(**arguments)
    refuse_page(response)  # a function may answer anything: a proxy's page would pass for its success
    return {"function_error": response.get("FunctionError"), "payload": response["Payload"].read()}


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
