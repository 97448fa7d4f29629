"""Delivery to an Amazon SQS queue; `message_attributes` says what a message looks like there."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from broker_bridge.aws_batch import AwsBatchDelivery, Item, Limits
from broker_bridge.message_attributes import batch_outcomes, body_text, fault, fifo_ids, message_attributes, size
from broker_bridge.parcel import Parcel
from broker_bridge.target_specs import SqsTarget
from broker_bridge.targets import Outcome
from services.runtime.aws import BlockingCalls

MAX_BATCH_BYTES = 1_048_576
"""Of a message and of all messages of a request together, attributes included."""
_MAX_ENTRIES = 10
_POISON = frozenset({"InvalidMessageContents", "BatchRequestTooLong", "AWS.SimpleQueueService.BatchRequestTooLong"})


class SqsDelivery(AwsBatchDelivery):
    """A `broker_bridge.targets.Target`: SendMessageBatch of up to ten messages."""

    def __init__(self, spec: SqsTarget, *, client: Callable[[], Any], calls: BlockingCalls) -> None:
        self._spec = spec
        self._is_fifo = spec.queue_url.endswith(".fifo")
        limits = Limits(entries=_MAX_ENTRIES, bytes=MAX_BATCH_BYTES, shared_bytes=MAX_BATCH_BYTES)
        super().__init__("SQS", limits, client=client, calls=calls, poison=_POISON)

    def _entry(self, parcel: Parcel, position: int) -> Mapping[str, Any]:
        return {
            "Id": str(position),
            "MessageBody": body_text(parcel),
            "MessageAttributes": message_attributes(parcel),
        } | (fifo_ids(parcel, self._spec.group_property) if self._is_fifo else {})

    def _size(self, entry: Mapping[str, Any]) -> int:
        return size(entry["MessageBody"], entry["MessageAttributes"])

    def _fault(self, entry: Mapping[str, Any]) -> str:
        return fault(entry["MessageBody"], entry["MessageAttributes"], service="SQS", limit=MAX_BATCH_BYTES)

    def _call(self, client: Any, entries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        response: Mapping[str, Any] = client.send_message_batch(QueueUrl=self._spec.queue_url, Entries=entries)
        return response

    def _outcomes(self, items: Sequence[Item], response: Mapping[str, Any]) -> dict[int, Outcome]:  # noqa: ARG002
        return batch_outcomes("SQS", response)
