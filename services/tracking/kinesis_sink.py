"""A Kinesis data stream as a sink of the shipper: PutRecords, in which only what failed is sent again.

PutRecords promises no order: a record may be refused and one behind it taken. So of each partition key one record at
most is under way, and the next one follows when it has arrived. A call whose answer never came may have been carried
out: its records are sent again, and consumers tell repetitions by the message id.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from penstock.persistence.v1.persistence_service_pb2 import PutEventsRequest

from services.runtime.aws import BlockingCalls
from services.runtime.errors import UnavailableError
from services.tracking.shipping import Refused
from services.tracking.stream_records import (
    AGGREGATION_BYTES,
    PartitionKey,
    RequestLimits,
    StreamRecord,
    aggregated_records,
    plain_records,
    requests_of,
)

_NOT_KINESIS = (ResponseParserError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What boto3 raises, and the reading of an answer, when something else answers in its place: a proxy's page, say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """A payload on its way: what is left of it by partition key, and what can never be sent."""

    payload: bytes
    lanes: dict[str, deque[StreamRecord]]
    refused: Sequence[Refused]


class KinesisSink:
    """An `EventSink` on a stream.

    Args:
        stream: name or ARN.
        client: makes boto3's client, which must not retry by itself; asked for it at the first call.
        calls: the threads in which it is called; also how many requests are under way at the same time.
        key: of an event.
        aggregated_keys: 0 for a record per event; otherwise events are aggregated under so many keys.
        limits: of a request.
    """

    def __init__(
        self,
        *,
        stream: str,
        client: Callable[[], Any],
        calls: BlockingCalls,
        key: PartitionKey = PartitionKey.MESSAGE_ID,
        aggregated_keys: int = 0,
        limits: RequestLimits | None = None,
    ) -> None:
        self._stream = stream
        self._target = {"StreamARN" if stream.startswith("arn:") else "StreamName": stream}
        self._client = client
        self._calls = calls
        self._key = key
        self._aggregated_keys = aggregated_keys
        self._limits = limits or RequestLimits()
        self._unfinished: _Work | None = None

    async def put(self, payload: bytes, count: int) -> Sequence[Refused]:  # noqa: ARG002 - part of the port
        """Sends the events of a payload. After UnavailableError, the same payload again sends what is left of it."""
        work = self._unfinished
        if work is None or work.payload != payload:
            work = self._unfinished = await asyncio.to_thread(self._begin, payload)
        waiting, reasons = list(work.lanes), set[str]()
        while waiting:
            requests = requests_of((work.lanes[key][0] for key in waiting), self._limits)
            reports = await asyncio.gather(*(self._calls.run(self._send, request) for request in requests))
            waiting = []
            for request, report in zip(requests, reports, strict=True):
                waiting += _settle(work.lanes, request, report)
                reasons.update(reason for reason in report if reason)
        if work.lanes:
            records = sum(map(len, work.lanes.values()))
            raise UnavailableError(
                f"stream {self._stream}: {records} records are left: {'; '.join(sorted(reasons))}",
                reason="ERROR_REASON_DEPENDENCY_UNAVAILABLE",
                metadata={"dependency": "kinesis"},
            )
        self._unfinished = None
        return work.refused

    def _begin(self, payload: bytes) -> _Work:
        events = PutEventsRequest.FromString(payload).events
        records, limit = plain_records(events, self._key), self._limits.record_bytes
        if self._aggregated_keys:
            limit -= AGGREGATION_BYTES
        refused = [
            Refused(index=index, reason=f"the record has {record.size} bytes; the stream takes {limit}")
            for index, record in enumerate(records)
            if record.size > limit
        ]
        if self._aggregated_keys:
            fitting = (event for event, record in zip(events, records, strict=True) if record.size <= limit)
            records = aggregated_records(
                fitting, self._key, keys=self._aggregated_keys, record_bytes=self._limits.record_bytes
            )
        else:
            records = [record for record in records if record.size <= limit]
        lanes: dict[str, deque[StreamRecord]] = {}
        for record in records:
            lanes.setdefault(record.key, deque()).append(record)
        return _Work(payload=payload, lanes=lanes, refused=refused)

    def _send(self, request: Sequence[StreamRecord]) -> Sequence[str]:
        """Why each record was not taken; an empty text for those that were."""
        entries = [{"Data": record.data, "PartitionKey": record.key} for record in request]
        try:
            answer = self._client().put_records(Records=entries, **self._target)
            failures = [_failure(result) for result in answer["Records"]]
        except (ClientError, BotoCoreError) as error:
            return [str(error)] * len(request)
        except _NOT_KINESIS as error:
            structlog.get_logger(component="shipping").warning("an answer cannot be read", exc_info=error)
            return [f"what answers is not Kinesis: {type(error).__name__}: {error}"[:500]] * len(request)
        if len(failures) != len(request):
            return [f"{len(failures)} results for {len(request)} records"] * len(request)
        return failures


def _failure(result: Mapping[str, Any]) -> str:
    """Why a record was not taken; empty when it was.

    API_PutRecords: results have the order of the request, an ErrorCode where a record was not taken, and a
    SequenceNumber where it was.
    """
    if code := result.get("ErrorCode"):
        return str(code)
    return "" if result.get("SequenceNumber") else "a result without SequenceNumber and ErrorCode"


def _settle(lanes: dict[str, deque[StreamRecord]], request: Sequence[StreamRecord], report: Sequence[str]) -> list[str]:
    """Takes away what arrived; returns the keys whose next record may follow now. Those that failed wait."""
    ready = []
    for record, failure in zip(request, report, strict=True):
        if failure:
            continue
        lane = lanes[record.key]
        lane.popleft()
        if lane:
            ready.append(record.key)
        else:
            del lanes[record.key]
    return ready
