"""Records of a Kinesis stream become rows: what a consumer does, however the records come to it.

Every record is stored, or kept as a failure with its reason, before it counts as done. Nothing here depends on the
time of a delivery, so a record that is delivered again finds its rows.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import structlog
from google.protobuf.message import DecodeError
from penstock.kinesis.v1.aggregated_record_pb2 import AggregatedRecord
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from services.persistence.recorder import EventRecorder
from services.runtime.errors import InvalidArgumentError, RetryableError
from services.runtime.kinesis_event import FailedRecord, FailureQueue, StreamRecord
from services.runtime.telemetry import counter

# The Kinesis Producer Library, aggregation-format.md.
_MAGIC = b"\xf3\x89\x9a\xc2"
_DIGEST_BYTES = 16
_EVENTS_PER_PUT = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """What a record holds: an event, or bytes at fault."""

    record: StreamRecord
    data: bytes
    event: TrackingEvent | None = None
    reason: str = ""

    def failed(self, reason: str) -> FailedRecord:
        return FailedRecord(record=self.record, data=self.data, reason=reason)


class StreamRecorder:
    """Stores the events of records, in order."""

    def __init__(self, recorder: EventRecorder, failures: FailureQueue) -> None:
        self._recorder = recorder
        self._failures = failures
        self._failed = counter("penstock_persistence_failed_records", "Records of a stream that are no events.")

    async def take(self, records: Sequence[StreamRecord]) -> StreamRecord | None:
        """The first record that has to come again, with all behind it; None when all are done."""
        for chunk in _chunks(records):
            try:
                await self._take(chunk)
            except RetryableError as error:
                structlog.get_logger(component="stream").warning(
                    "records have to come again", sequence_number=chunk[0].record.sequence_number, reason=error.message
                )
                return chunk[0].record
        return None

    async def _take(self, parts: Sequence[_Part]) -> None:
        failures = [part.failed(part.reason) for part in parts if part.event is None]
        good = [part for part in parts if part.event is not None]
        if good:
            results = await self._recorder.record([part.event for part in good if part.event is not None])
            failures += [
                part.failed(result.message)
                for part, result in zip(good, results, strict=True)
                if isinstance(result, InvalidArgumentError)
            ]
        if failures:
            await self._failures.add(failures)
            self._failed.inc(len(failures))


def _chunks(records: Sequence[StreamRecord]) -> Iterator[list[_Part]]:
    """The parts of whole records, some 500 together."""
    chunk: list[_Part] = []
    for record in records:
        chunk += _parts(record)
        if len(chunk) >= _EVENTS_PER_PUT:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _parts(record: StreamRecord) -> Iterator[_Part]:
    for place, data in enumerate(user_records(record.data)):
        try:
            event = TrackingEvent.FromString(data)
        except DecodeError as error:
            yield _Part(record=record, data=data, reason=f"not a serialized TrackingEvent: {error}")
            continue
        # What an event of the reference architecture lacks comes from its record, the same at every delivery.
        event.message_id = event.message_id or f"{record.shard_id}:{record.sequence_number}:{place}"
        if not (event.HasField("occurred_at") or event.HasField("received_at")):
            event.received_at.FromMicroseconds(record.arrived_at)
        yield _Part(record=record, data=data, event=event)


def user_records(data: bytes) -> Sequence[bytes]:
    """The data of the user records in a Kinesis record: of an aggregated one each, of any other the record's own.

    What begins like an aggregated record and does not end with its MD5 is taken for data.
    """
    message, digest = data[len(_MAGIC) : -_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    is_aggregated = data.startswith(_MAGIC) and hashlib.md5(message, usedforsecurity=False).digest() == digest
    if not is_aggregated:
        return [data]
    try:
        return [record.data for record in AggregatedRecord.FromString(message).records]
    except DecodeError:
        return [data]
