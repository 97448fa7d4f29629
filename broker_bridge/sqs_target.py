"""Delivery to an Amazon SQS queue, by boto3 in threads.

The body is the text; bytes go as base64 with the attribute `body_encoding`. The JMS message id is the attribute
`jms_message_id`; the properties are attributes with their declared types. SQS takes ten attributes: what has no room,
or a name or value that SQS does not take, goes into one attribute `jms_properties`, a JSON object.
"""

import asyncio
import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from broker_bridge.parcel import AttributeKind, Parcel
from broker_bridge.targets import ACCEPTED, ErrorClass, Origin, Outcome, Rejected, Retry, SqsTarget
from services.runtime.aws import BlockingCalls

MAX_BATCH_BYTES = 1_048_576
"""Of a message and of all messages of a request together, attributes included."""
_MAX_ENTRIES = 10
_MAX_ATTRIBUTES = 10
_ATTRIBUTE_NAME = re.compile(r"(?!AWS\.|Amazon\.)(?!\.)[A-Za-z0-9_.-]{1,256}(?<!\.)", re.IGNORECASE)
# SQS takes the characters of XML 1.0 only.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_DATA_TYPES = {
    AttributeKind.STRING: "String",
    AttributeKind.NUMBER: "Number",
    AttributeKind.STRING_ARRAY: "String.Array",
}
_THROTTLES = frozenset({"RequestThrottled", "ThrottlingException", "Throttling", "OverLimit", "KmsThrottled"})
_SERVER_ERROR = 500
_SHOWN_CHARACTERS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    """A message as an entry of SendMessageBatch; its Id is its position in the delivery."""

    position: int
    entry: Mapping[str, Any]
    size: int


class SqsDelivery:
    """A `broker_bridge.targets.Target`: SendMessageBatch of up to ten messages, several at the same time."""

    def __init__(self, spec: SqsTarget, *, client: Callable[[], Any], calls: BlockingCalls) -> None:
        self._spec = spec
        self._client = client
        self._calls = calls

    async def deliver(self, parcels: Sequence[Parcel], origin: Origin) -> Sequence[Outcome]:  # noqa: ARG002
        outcomes: dict[int, Outcome] = {}
        items = []
        for position, parcel in enumerate(parcels):
            entry = sqs_entry(parcel, self._spec, str(position))
            fault = _fault(entry)
            if fault:
                outcomes[position] = Rejected(reason=fault, error_class=ErrorClass.POISON)
            else:
                items.append(_Item(position=position, entry=entry, size=_size(entry)))
        # The order within a FIFO group is kept by sending one request after the other.
        if self._spec.queue_url.endswith(".fifo"):
            for request in _requests(items):
                outcomes.update(await self._send(request))
        else:
            for answers in await asyncio.gather(*(self._send(request) for request in _requests(items))):
                outcomes.update(answers)
        return [outcomes[position] for position in range(len(parcels))]

    async def _send(self, items: Sequence[_Item]) -> dict[int, Outcome]:
        try:
            response = await self._calls.run(self._send_batch, [item.entry for item in items])
        except ClientError as error:
            return dict.fromkeys((item.position for item in items), _refusal(error, shared=len(items) > 1))
        except BotoCoreError as error:
            away = Retry(reason=f"SQS does not answer: {error}", error_class=ErrorClass.UNAVAILABLE)
            return dict.fromkeys((item.position for item in items), away)
        outcomes: dict[int, Outcome] = {int(taken["Id"]): ACCEPTED for taken in response.get("Successful", ())}
        outcomes.update((int(failed["Id"]), _failed(failed)) for failed in response.get("Failed", ()))
        missing = Retry(reason="SQS gave no result for the message", error_class=ErrorClass.UNAVAILABLE)
        return {item.position: outcomes.get(item.position, missing) for item in items}

    def _send_batch(self, entries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        response: Mapping[str, Any] = self._client().send_message_batch(QueueUrl=self._spec.queue_url, Entries=entries)
        return response

    async def close(self) -> None:
        """Nothing to do: the client is shared."""


def sqs_entry(parcel: Parcel, spec: SqsTarget, entry_id: str) -> dict[str, Any]:
    """The entry of SendMessageBatch for a message."""
    entry: dict[str, Any] = {"Id": entry_id, "MessageAttributes": _attributes(parcel)}
    entry["MessageBody"] = parcel.text if parcel.text is not None else b64encode(parcel.message.body).decode()
    if spec.queue_url.endswith(".fifo"):
        entry["MessageDeduplicationId"] = hashlib.sha256(parcel.message.key.encode()).hexdigest()
        group = parcel.message.properties.get(spec.group_property, "") if spec.group_property else parcel.group
        entry["MessageGroupId"] = group or "penstock"
    return entry


def _attributes(parcel: Parcel) -> dict[str, dict[str, str]]:
    attributes = {"jms_message_id": _text(parcel.message.id)}
    if parcel.text is None:
        attributes["body_encoding"] = _text("base64")
    fitting = {
        name: {"DataType": _DATA_TYPES[attribute.kind], "StringValue": attribute.value}
        for name, attribute in parcel.attributes.items()
        if attribute.kind in _DATA_TYPES
        and attribute.value
        and not _FORBIDDEN.search(attribute.value)
        and _ATTRIBUTE_NAME.fullmatch(name)
        and name not in ("jms_message_id", "jms_properties", "body_encoding")
    }
    if len(fitting) == len(parcel.attributes) and len(fitting) + len(attributes) <= _MAX_ATTRIBUTES:
        return attributes | fitting
    room = _MAX_ATTRIBUTES - len(attributes) - 1
    shown = dict(list(fitting.items())[:room])
    rest = {name: value for name, value in parcel.message.properties.items() if name not in shown}
    return attributes | shown | {"jms_properties": _text(json.dumps(rest))}


def _text(value: str) -> dict[str, str]:
    return {"DataType": "String", "StringValue": value}


def _fault(entry: Mapping[str, Any]) -> str:
    """Why SQS would refuse the message whatever is sent beside it; empty when it would not."""
    body = entry["MessageBody"]
    if not body:
        return "the body is empty, which SQS does not take"
    if found := _FORBIDDEN.search(body):
        return f"the body holds U+{ord(found[0]):04X} at character {found.start()}, which SQS does not take"
    size = _size(entry)
    return (
        f"the message has {size} bytes with its attributes; SQS takes {MAX_BATCH_BYTES}"
        if size > MAX_BATCH_BYTES
        else ""
    )


def _size(entry: Mapping[str, Any]) -> int:
    """Bytes as SQS counts them: body, and name, type and value of each attribute."""
    attributes = entry["MessageAttributes"].items()
    return len(entry["MessageBody"].encode()) + sum(
        len(name.encode()) + len(attribute["DataType"]) + len(attribute["StringValue"].encode())
        for name, attribute in attributes
    )


def _requests(items: Sequence[_Item]) -> Iterator[list[_Item]]:
    """The items in order, in requests that SQS takes."""
    request: list[_Item] = []
    size = 0
    for item in items:
        if request and (len(request) == _MAX_ENTRIES or size + item.size > MAX_BATCH_BYTES):
            yield request
            request, size = [], 0
        request.append(item)
        size += item.size
    if request:
        yield request


def _failed(failed: Mapping[str, Any]) -> Outcome:
    """One message of a batch that SQS did not take."""
    reason = f"SQS answered {failed.get('Code', '')}: {failed.get('Message', '')}"[:_SHOWN_CHARACTERS]
    if failed.get("Code") in _THROTTLES:
        return Retry(reason=reason, error_class=ErrorClass.THROTTLED)
    if failed.get("SenderFault"):
        return Rejected(reason=reason)
    return Retry(reason=reason, error_class=ErrorClass.UNAVAILABLE)


def _refusal(error: ClientError, *, shared: bool) -> Outcome:
    """A request that SQS did not take as a whole."""
    detail = error.response.get("Error", {})
    code = detail.get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    reason = f"SQS answered {code}: {detail.get('Message', '')}"[:_SHOWN_CHARACTERS]
    if code in _THROTTLES:
        return Retry(reason=reason, error_class=ErrorClass.THROTTLED)
    if status >= _SERVER_ERROR:
        return Retry(reason=reason, error_class=ErrorClass.UNAVAILABLE)
    if not shared and code in (
        "InvalidMessageContents",
        "BatchRequestTooLong",
        "AWS.SimpleQueueService.BatchRequestTooLong",
    ):
        return Rejected(reason=reason, error_class=ErrorClass.POISON)
    return Retry(reason=reason, error_class=ErrorClass.REFUSED)
