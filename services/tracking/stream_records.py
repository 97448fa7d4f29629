"""Events as records of a Kinesis data stream: a record per event, or many events in one aggregated record.

    plain        Data = serialized TrackingEvent, PartitionKey = that of the event
    aggregated   Data = F3 89 9A C2 | AggregatedRecord | its MD5 (16 bytes), aggregation-format.md of the KPL

Records with one key keep the order of their events as long as none is sent before the one ahead of it has arrived. An
aggregated record lies in one shard as a whole; so its key stands for a fixed share of the events' own keys.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import md5, sha256
from zlib import crc32

from penstock.kinesis.v1.aggregated_record_pb2 import AggregatedRecord

from services.tracking.event import TrackingEvent

MAGIC = b"\xf3\x89\x9a\xc2"
_MAX_KEY_CHARACTERS = 256  # PutRecordsRequestEntry, PartitionKey
_INNER_BYTES = 32  # more than the tags, lengths and table entry around one event
_OUTER_BYTES = len(MAGIC) + 16
AGGREGATION_BYTES = 64
"""More than an aggregated record of one event is larger than a plain one."""


class PartitionKey(StrEnum):
    """The field of an event that is its partition key; its message id where the field is empty."""

    MESSAGE_ID = "message_id"
    """Spreads best; no order."""
    COOKIE_ID = "cookie_id"
    """The events of a visitor keep their order."""
    PROGRAM_ID = "program_id"
    """Those of a program do; a large program is one hot shard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLimits:
    """What one PutRecords takes: records, bytes of all records, bytes of one; a record is its data and its key."""

    records: int = 500
    request_bytes: int = 5 * 1024 * 1024
    record_bytes: int = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRecord:
    """One record, and how many events are in it."""

    key: str
    data: bytes
    events: int

    @property
    def size(self) -> int:
        """Bytes as the limits count them."""
        return len(self.data) + len(self.key.encode())


def partition_key(event: TrackingEvent, field: PartitionKey) -> str:
    """The key of an event, at most 256 characters: a longer one is replaced by its SHA-256."""
    key: str = getattr(event, field) or event.message_id
    return key if len(key) <= _MAX_KEY_CHARACTERS else sha256(key.encode()).hexdigest()


def plain_records(events: Iterable[TrackingEvent], field: PartitionKey) -> list[StreamRecord]:
    """A record per event, in order."""
    return [StreamRecord(key=partition_key(event, field), data=event.SerializeToString(), events=1) for event in events]


def aggregated_records(
    events: Iterable[TrackingEvent], field: PartitionKey, *, keys: int, record_bytes: int
) -> list[StreamRecord]:
    """Records of as many events as fit, under `keys` keys: events with the same key of their own always share one.

    No event may be larger than `record_bytes` less `AGGREGATION_BYTES`.
    """
    lanes: dict[int, list[tuple[str, bytes]]] = defaultdict(list)
    for event in events:
        key = partition_key(event, field)
        lanes[crc32(key.encode()) % keys].append((key, event.SerializeToString()))
    return [
        StreamRecord(key=str(lane), data=aggregated(share), events=len(share))
        for lane, content in lanes.items()
        for share in _shares(content, record_bytes - len(str(lane)))
    ]


def _shares(content: Sequence[tuple[str, bytes]], record_bytes: int) -> Iterable[Sequence[tuple[str, bytes]]]:
    begin, size = 0, _OUTER_BYTES
    for index, (key, data) in enumerate(content):
        added = len(key.encode()) + len(data) + _INNER_BYTES
        if size + added > record_bytes and index > begin:
            yield content[begin:index]
            begin, size = index, _OUTER_BYTES
        size += added
    yield content[begin:]


def aggregated(content: Sequence[tuple[str, bytes]]) -> bytes:
    """The data of an aggregated record of keys and data."""
    table = {key: index for index, key in enumerate(dict.fromkeys(key for key, _ in content))}
    record = AggregatedRecord(partition_key_table=table)
    for key, data in content:
        record.records.add(partition_key_index=table[key], data=data)
    body = record.SerializeToString()
    return b"".join((MAGIC, body, md5(body, usedforsecurity=False).digest()))


def requests_of(records: Iterable[StreamRecord], limits: RequestLimits) -> list[list[StreamRecord]]:
    """Records cut into requests within the limits, in order."""
    requests: list[list[StreamRecord]] = []
    size = 0
    for record in records:
        full = requests and (len(requests[-1]) == limits.records or size + record.size > limits.request_bytes)
        if not requests or full:
            requests.append([])
            size = 0
        requests[-1].append(record)
        size += record.size
    return requests
