"""Failed records in an SQS queue: JSON with the reason and the bytes, so that they can be mended and sent again.

reason, shard_id, sequence_number   why, and of which Kinesis record
arrived_at                          when Kinesis took it, microseconds since 1970 UTC
part, parts                         a large record fills several messages
data                                base64
"""

import base64
from collections.abc import Iterator, Sequence
from typing import Any

import orjson
from botocore.exceptions import BotoCoreError, ClientError

from services.runtime.aws import BlockingCalls
from services.runtime.errors import UnavailableError
from services.runtime.kinesis_event import FailedRecord

_MAX_REASON_CHARACTERS = 1000
# A message has at most 256 KiB (API_SendMessage; more where a queue was changed): base64 makes 4 of 3.
_PART_BYTES = 180 * 1024


class SqsFailureQueue:
    """`FailureQueue` on one queue. `client` is boto3's for SQS."""

    def __init__(self, client: Any, queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url
        self._calls = BlockingCalls(1, "sqs-failures")

    async def add(self, failures: Sequence[FailedRecord]) -> None:
        for failure in failures:
            for body in _bodies(failure):
                await self._send(body)

    async def _send(self, body: str) -> None:
        try:
            await self._calls.run(self._client.send_message, QueueUrl=self._queue_url, MessageBody=body)
        except (BotoCoreError, ClientError) as error:
            raise UnavailableError(
                f"the queue of failed records cannot be used: {error}", retry_after=1.0, metadata={"dependency": "sqs"}
            ) from error


def _bodies(failure: FailedRecord) -> Iterator[str]:
    parts = [failure.data[start : start + _PART_BYTES] for start in range(0, len(failure.data), _PART_BYTES)] or [b""]
    for number, part in enumerate(parts, start=1):
        body = {
            "reason": failure.reason[:_MAX_REASON_CHARACTERS],
            "shard_id": failure.record.shard_id,
            "sequence_number": failure.record.sequence_number,
            "arrived_at": failure.record.arrived_at,
            "part": number,
            "parts": len(parts),
            "data": base64.b64encode(part).decode(),
        }
        yield orjson.dumps(body).decode()
