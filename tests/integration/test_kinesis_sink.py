"""Shipping to a stream through an endpoint that throttles, fails single records and does not answer."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from penstock.persistence.v1.persistence_service_pb2 import PutEventsRequest
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from services.runtime.aws import BlockingCalls, aws_client
from services.runtime.errors import UnavailableError
from services.tracking.kinesis_sink import KinesisSink
from services.tracking.shipping import Refused
from services.tracking.stream_records import PartitionKey, RequestLimits
from tests.integration.http_place import OtherPlace, Response
from tests.integration.kinesis_place import Trouble, TroubledKinesis
from tests.integration.parts import RunningPart
from tests.integration.tracking_harness import intake
from tests.unit.tracking.aggregated import disaggregated

TROUBLE = Trouble(records=0.1, calls=0.1, unanswered=0.1)


@pytest.fixture(autouse=True)
def aws_login(monkeypatch: pytest.MonkeyPatch) -> None:
    """The login of the emulator, where boto3 looks for it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


@pytest.fixture
def kinesis(aws_emulator: RunningPart) -> Any:
    return boto3.client("kinesis", endpoint_url=f"http://{aws_emulator.addresses['http']}", region_name="us-east-1")


@pytest.fixture
def stream(kinesis: Any) -> str:
    name = f"events-{uuid4().hex}"
    kinesis.create_stream(StreamName=name, ShardCount=2)
    return name


@pytest.fixture
def place(aws_emulator: RunningPart) -> Iterator[TroubledKinesis]:
    with TroubledKinesis(aws_emulator.addresses["http"], Trouble()) as place:
        yield place


def sink_of(address: str, stream: str, **changes: Any) -> KinesisSink:
    made = aws_client("kinesis", region="us-east-1", endpoint_url=f"http://{address}", read_timeout=5, max_attempts=1)
    return KinesisSink(stream=stream, client=lambda: made, calls=BlockingCalls(4, "kinesis-test"), **changes)


def events(count: int, *, cookies: int, size: int = 0) -> Sequence[TrackingEvent]:
    return [
        TrackingEvent(message_id=f"m-{number:05}", cookie_id=f"c-{number % cookies}", user_agent="x" * size)
        for number in range(count)
    ]


def payload_of(batch: Sequence[TrackingEvent]) -> bytes:
    return PutEventsRequest(events=batch).SerializeToString()


async def ship(sink: KinesisSink, payload: bytes) -> Sequence[Refused]:
    """As the shipper does: again and again, but without its back-off."""
    for _attempt in range(1000):
        with suppress(UnavailableError):
            return await sink.put(payload, len(PutEventsRequest.FromString(payload).events))
    pytest.fail("a thousand attempts were not enough")


def in_stream(kinesis: Any, stream: str) -> list[bytes]:
    """The data of all records, shard by shard."""
    found: list[bytes] = []
    for shard in kinesis.list_shards(StreamName=stream)["Shards"]:
        iterator = kinesis.get_shard_iterator(
            StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while True:
            page = kinesis.get_records(ShardIterator=iterator, Limit=10_000)
            if not page["Records"]:
                break
            found += [record["Data"] for record in page["Records"]]
            iterator = page["NextShardIterator"]
    return found


def first_occurrences(message_ids: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(message_ids))


async def test_in_trouble_every_event_arrives_in_the_order_of_its_key(
    place: TroubledKinesis, kinesis: Any, stream: str
) -> None:
    """Refused records, throttled calls and lost answers: nothing is missing, and repetitions overtake nothing."""
    place.trouble = TROUBLE
    batch = events(2000, cookies=300)
    sink = sink_of(place.address, stream, key=PartitionKey.COOKIE_ID)
    for start in range(0, 2000, 1000):
        assert await ship(sink, payload_of(batch[start : start + 1000])) == []
    assert place.refused_records > 50
    assert place.refused_calls > 0
    assert place.unanswered > 0
    assert place.violations == []
    by_cookie: dict[str, list[str]] = {}
    for data in in_stream(kinesis, stream):
        event = TrackingEvent.FromString(data)
        by_cookie.setdefault(event.cookie_id, []).append(event.message_id)
    assert sum(len(first_occurrences(found)) for found in by_cookie.values()) == 2000
    for found in by_cookie.values():
        # A repetition comes at once or not at all: behind a later event of its key it would be out of order.
        assert found == sorted(found)


async def test_without_lost_answers_nothing_is_sent_twice(place: TroubledKinesis, stream: str) -> None:
    """Only the entries that failed go again."""
    place.trouble = Trouble(records=0.2)
    batch = events(1000, cookies=1000)
    await ship(sink_of(place.address, stream), payload_of(batch))
    assert place.refused_records > 100
    arrived = [TrackingEvent.FromString(data).message_id for _, data in place.arrived]
    assert sorted(arrived) == [event.message_id for event in batch]
    assert sum(place.calls) == 1000 + place.refused_records


async def test_aggregated_events_arrive_in_the_order_of_their_key(
    place: TroubledKinesis, kinesis: Any, stream: str
) -> None:
    """Few records, within the limits, in trouble too."""
    place.trouble = TROUBLE
    batch = events(3000, cookies=50, size=500)
    sink = sink_of(
        place.address, stream, key=PartitionKey.COOKIE_ID, aggregated_keys=8, limits=RequestLimits(record_bytes=50_000)
    )
    for start in range(0, 3000, 1000):
        assert await ship(sink, payload_of(batch[start : start + 1000])) == []
    records = in_stream(kinesis, stream)
    assert len(records) < 100
    assert max(map(len, records)) <= 50_000
    by_cookie: dict[str, list[str]] = {}
    for data in records:
        for cookie, body in disaggregated(data):
            by_cookie.setdefault(cookie, []).append(TrackingEvent.FromString(body).message_id)
    assert sum(len(first_occurrences(found)) for found in by_cookie.values()) == 3000
    for found in by_cookie.values():
        assert first_occurrences(found) == sorted(set(found))


async def test_requests_stay_within_count_and_bytes(place: TroubledKinesis, stream: str) -> None:
    """500 records, 5 MiB; events of 200 kB make requests of few."""
    assert await ship(sink_of(place.address, stream), payload_of(events(1200, cookies=1))) == []
    assert await ship(sink_of(place.address, stream), payload_of(events(60, cookies=1, size=200_000))) == []
    assert place.violations == []
    assert max(place.calls) == 500
    assert len(place.calls) == 3 + 3


@pytest.mark.parametrize("aggregated_keys", [0, 4])
async def test_a_record_too_large_for_the_stream_is_refused_alone(
    place: TroubledKinesis, stream: str, aggregated_keys: int
) -> None:
    """The others are sent; the shipper sets it aside."""
    batch = [*events(3, cookies=1), TrackingEvent(message_id="large", user_agent="x" * 2000), *events(2, cookies=1)]
    sink = sink_of(place.address, stream, limits=RequestLimits(record_bytes=2000), aggregated_keys=aggregated_keys)
    [refused] = await ship(sink, payload_of(batch))
    assert refused.index == 3
    assert "bytes; the stream takes" in refused.reason
    assert b"large" not in b"".join(data for _, data in place.arrived)


async def test_a_stream_that_does_not_exist_is_trouble_and_not_the_end_of_events(aws_emulator: RunningPart) -> None:
    """They wait until somebody creates it; the reason is that of the service."""
    with pytest.raises(UnavailableError, match=r"stream nosuch: 5 records are left: .*ResourceNotFound"):
        await sink_of(aws_emulator.addresses["http"], "nosuch").put(payload_of(events(5, cookies=5)), 5)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"Records": []}', "0 results for 2 records"),
        (b'{"Records": [{"SequenceNumber": "1", "ShardId": "s"}]}', "1 results for 2 records"),
        (b'{"Records": [{"SequenceNumber": "1", "ShardId": "s"}, {}]}', "without SequenceNumber"),
        (b'{"Records": [{"SequenceNumber": "1", "ShardId": "s"}, 7]}', "is not Kinesis"),
        (b"{}", "is not Kinesis"),
        (b"", "is not Kinesis"),
        (b"<!DOCTYPE html><p>Log in to the network", "is not Kinesis"),
    ],
    ids=["none", "too few", "empty", "no result", "no results", "nothing", "page"],
)
async def test_an_answer_that_does_not_tell_of_every_record_is_trouble(body: bytes, said: str) -> None:
    """Whatever it is that answers: the shipper goes on and sends again what was not told of."""
    response = Response(headers=(("Content-Type", "application/x-amz-json-1.1"),), body=body)
    with OtherPlace(response) as place, pytest.raises(UnavailableError, match=said):
        await sink_of(place.address, "events").put(payload_of(events(2, cookies=2)), 2)


async def test_an_intake_ships_to_a_stream(
    place: TroubledKinesis, kinesis: Any, stream: str, valkey: RunningPart, tmp_path: Path
) -> None:
    """The process as a whole: what it accepted is in the stream, in trouble; its log is empty again in the end."""
    place.trouble = TROUBLE
    async with intake(
        tmp_path,
        redis=valkey.addresses["redis"],
        redis_prefix="kinesis",
        ship_to="kinesis",
        kinesis_stream=stream,
        aws_endpoint_url=f"http://{place.address}",
    ) as where:
        await where.put_program("p")
        batch = [TrackingEvent(program_id="p", message_id=f"m-{number}") for number in range(1200)]
        assert set(await where.track(*batch)) == {"ACCEPTED"}
        wanted = {event.message_id for event in batch}
        while not wanted <= {TrackingEvent.FromString(data).message_id for _, data in list(place.arrived)}:
            await where.track(batch[0])
    stored = [TrackingEvent.FromString(data) for data in in_stream(kinesis, stream)]
    assert {event.message_id for event in stored} == wanted
    assert {event.program_name for event in stored} == {"Program p"}
