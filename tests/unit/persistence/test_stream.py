"""Records of a stream: stored, kept as failures, or come again; never lost."""

import hashlib
from collections.abc import Sequence

import pytest
from penstock.kinesis.v1.aggregated_record_pb2 import AggregatedRecord, UserRecord
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from services.persistence.record import EventRecord
from services.persistence.recorder import EventRecorder
from services.persistence.store import MemoryEventStore, PutOutcome
from services.persistence.stream import StreamRecorder, user_records
from services.runtime.errors import UnavailableError
from services.runtime.kinesis_event import FailedRecord, MemoryFailureQueue, StreamRecord

POISON = b"Hello, this is a test."


def stream_record(number: int, data: bytes) -> StreamRecord:
    return StreamRecord(shard_id="shardId-6", sequence_number=str(number), arrived_at=7_000_000, data=data)


def click(message_id: str, **fields: object) -> bytes:
    return TrackingEvent(message_id=message_id, program_id="p", **fields).SerializeToString()  # type: ignore[arg-type]


def aggregated(*data: bytes) -> bytes:
    """What the Kinesis Producer Library makes of user records."""
    message = AggregatedRecord(
        partition_key_table=["key"], records=[UserRecord(partition_key_index=0, data=one) for one in data]
    ).SerializeToString()
    return b"\xf3\x89\x9a\xc2" + message + hashlib.md5(message, usedforsecurity=False).digest()


class BadDays(MemoryEventStore):
    """A store that refuses the batches that hold a certain id."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses = ""

    async def put(self, records: Sequence[EventRecord]) -> list[PutOutcome]:
        if any(record.message_id == self.refuses for record in records):
            raise UnavailableError("away")
        return await super().put(records)


class FullQueue(MemoryFailureQueue):
    """A failure queue that is away."""

    async def add(self, failures: Sequence[FailedRecord]) -> None:
        raise UnavailableError(f"{len(failures)} failures have nowhere to go")


@pytest.fixture
def store() -> BadDays:
    return BadDays()


@pytest.fixture
def failures() -> MemoryFailureQueue:
    return MemoryFailureQueue()


@pytest.fixture
def recorder(store: BadDays, failures: MemoryFailureQueue) -> StreamRecorder:
    return StreamRecorder(EventRecorder(store), failures)


async def test_poison_goes_to_the_failure_queue_and_stops_nothing(
    recorder: StreamRecorder, store: BadDays, failures: MemoryFailureQueue
) -> None:
    """Bytes that are no event, and an event without a program: kept with their reasons, the others stored."""
    no_program = TrackingEvent(message_id="x").SerializeToString()
    data = [click("a"), POISON, no_program, click("b")]
    assert await recorder.take([stream_record(number, one) for number, one in enumerate(data)]) is None
    assert await store.get("a")
    assert await store.get("b")
    assert [(failure.record.sequence_number, failure.data) for failure in failures.failures] == [
        ("1", POISON),
        ("2", no_program),
    ]
    assert "not a serialized TrackingEvent" in failures.failures[0].reason
    assert "program_id: is required" in failures.failures[1].reason


async def test_the_first_record_that_was_not_stored_comes_again(recorder: StreamRecorder, store: BadDays) -> None:
    """What lies before it is done and does not come again; the second delivery makes no second row."""
    records = [stream_record(number, click(f"m-{number:04}")) for number in range(1200)]
    store.refuses = "m-0700"
    failed = await recorder.take(records)
    assert failed is records[500]  # the first of the five hundred that are stored together
    assert await store.get("m-0499")
    assert await store.get("m-0500") is None
    store.refuses = ""
    assert await recorder.take(records[400:]) is None
    assert await store.purge(10**18, limit=5000) == 1200


async def test_poison_that_cannot_be_kept_comes_again(store: BadDays) -> None:
    """It is not done before the failure queue has it."""
    recorder = StreamRecorder(EventRecorder(store), FullQueue())
    records = [stream_record(1, click("a")), stream_record(2, POISON)]
    assert await recorder.take(records) is records[0]


async def test_aggregated_records_are_taken_apart(recorder: StreamRecorder, store: BadDays) -> None:
    """Beside plain ones; a user record at fault takes none of the others with it."""
    records = [stream_record(1, aggregated(click("a"), POISON, click("b"))), stream_record(2, click("c"))]
    assert await recorder.take(records) is None
    assert [name for name in "abc" if await store.get(name)] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "data",
    [b"", b"\xf3\x89\x9a\xc2", b"\xf3\x89\x9a\xc2" + bytes(40), aggregated(b"x")[:-1], click("a")],
    ids=["nothing", "magic alone", "wrong digest", "cut off", "plain"],
)
def test_what_is_not_whole_is_data(data: bytes) -> None:
    """The first bytes alone do not make an aggregated record."""
    assert user_records(data) == [data]


async def test_an_event_without_id_or_time_takes_them_from_its_record(recorder: StreamRecorder, store: BadDays) -> None:
    """As producers of the reference architecture send them: delivered twice they are one row each."""
    record = stream_record(5, aggregated(TrackingEvent(program_id="p").SerializeToString(), click("")))
    for _ in range(2):
        assert await recorder.take([record]) is None
    stored = await store.get("shardId-6:5:0")
    assert stored is not None
    assert stored.occurred_at == 7_000_000
    assert await store.get("shardId-6:5:1")
    assert await store.purge(10**18, limit=10) == 2
