"""Delivery to an Amazon Kinesis data stream: a record per message, the body alone or a whole `BrokerMessage`.

The partition key is a declared property or the message id, which is then the idempotency key of a bare body. Kinesis
promises no order among the records of a request, nor when some of them are sent again.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from broker_bridge.amazon_mq_event import body_bytes
from broker_bridge.aws_answers import one_failed
from broker_bridge.aws_batch import AwsBatchDelivery, Item, Limits
from broker_bridge.grpc_target import broker_message
from broker_bridge.parcel import Parcel
from broker_bridge.target_specs import KinesisTarget
from broker_bridge.targets import ACCEPTED, Outcome
from services.runtime.aws import BlockingCalls

MAX_REQUEST_BYTES = 5_242_880
"""Of the records of a request together. Kinesis takes ten mebibytes by now, its older endpoints and doubles five."""
MAX_RECORD_BYTES = 10_485_760
"""Of data and partition key."""
_DEFAULT_RECORD_BYTES = 1_048_576  # what a stream takes that was not configured for more: larger ones are tried alone
_MAX_ENTRIES = 500
_MAX_KEY_CHARACTERS = 256
_POISON = frozenset({"InvalidArgumentException", "ValidationException"})


class KinesisDelivery(AwsBatchDelivery):
    """A `broker_bridge.targets.Target`: PutRecords of up to 500 records."""

    def __init__(self, spec: KinesisTarget, *, client: Callable[[], Any], calls: BlockingCalls) -> None:
        self._spec = spec
        self._stream = {"StreamARN" if spec.stream.startswith("arn:") else "StreamName": spec.stream}
        limits = Limits(entries=_MAX_ENTRIES, bytes=MAX_REQUEST_BYTES, shared_bytes=_DEFAULT_RECORD_BYTES)
        super().__init__("Kinesis", limits, client=client, calls=calls, poison=_POISON)

    def _entry(self, parcel: Parcel, position: int) -> Mapping[str, Any]:  # noqa: ARG002
        message = parcel.message
        key = message.properties.get(self._spec.partition_key_property) or message.id
        if len(key) > _MAX_KEY_CHARACTERS:
            key = sha256(key.encode()).hexdigest()
        data = broker_message(parcel).SerializeToString() if self._spec.whole else body_bytes(parcel)
        return {"Data": data, "PartitionKey": key}

    def _size(self, entry: Mapping[str, Any]) -> int:
        return len(entry["Data"]) + len(entry["PartitionKey"].encode())

    def _fault(self, entry: Mapping[str, Any]) -> str:
        size = self._size(entry)
        return f"the record has {size} bytes; Kinesis takes {MAX_RECORD_BYTES}" if size > MAX_RECORD_BYTES else ""

    def _call(self, client: Any, entries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        response: Mapping[str, Any] = client.put_records(Records=entries, **self._stream)
        return response

    def _outcomes(self, items: Sequence[Item], response: Mapping[str, Any]) -> dict[int, Outcome]:
        # API_PutRecords: the results have the order of the request.
        return {
            item.position: one_failed("Kinesis", code, result.get("ErrorMessage", ""))
            if (code := result.get("ErrorCode"))
            else ACCEPTED
            for item, result in zip(items, response.get("Records", ()), strict=False)
        }
