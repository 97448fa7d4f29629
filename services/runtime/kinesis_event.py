"""What Lambda functions on a Kinesis stream share: the event, the records, the failures, the answer."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

_MICROSECONDS = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamRecord:
    """A Kinesis record: `sequence_number` has up to 129 decimal digits, `arrived_at` is in microseconds since 1970."""

    shard_id: str
    sequence_number: str
    arrived_at: int
    data: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedRecord:
    """Bytes that will never be processed, and why; of an aggregated record the part that is at fault."""

    record: StreamRecord
    data: bytes
    reason: str


class FailureQueue(Protocol):
    """Where failed records wait for people."""

    async def add(self, failures: Sequence[FailedRecord]) -> None:
        """Keep them.

        Raises:
            RetryableError: not now; some may have been kept.
        """
        ...


class MemoryFailureQueue:
    """Failed records in memory: lost when the process ends."""

    def __init__(self) -> None:
        self.failures: list[FailedRecord] = []

    async def add(self, failures: Sequence[FailedRecord]) -> None:
        self.failures += failures


def records_of(event: Mapping[str, Any]) -> Sequence[StreamRecord]:
    """The records of a Kinesis event, in order of their sequence numbers."""
    return [
        StreamRecord(
            shard_id=record["eventID"].partition(":")[0],
            sequence_number=record["kinesis"]["sequenceNumber"],
            arrived_at=round(record["kinesis"]["approximateArrivalTimestamp"] * _MICROSECONDS),
            data=base64.b64decode(record["kinesis"]["data"]),
        )
        for record in event["Records"]
    ]


def answer(first_failed: StreamRecord | None) -> dict[str, Any]:
    """The lowest sequence number that has to come again, with all behind it; none when the batch is done.

    https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html
    """
    failures = [] if first_failed is None else [{"itemIdentifier": first_failed.sequence_number}]
    return {"batchItemFailures": failures}
