"""The DynamoDB store against the emulator, good days and bad.

The emulator enforces conditions and item sizes. It never throttles and leaves nothing unprocessed: the proxy before it
does. Neither checks capacity, IAM, or how long an index lags.
"""

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from penstock.persistence.v1 import persistence_service_pb2 as pb

from services.persistence.dynamodb import THREADS, DynamoDbEventStore
from services.persistence.store import EventQuery, EventStore, PutOutcome
from services.runtime.aws import aws_client
from services.runtime.errors import FailedPreconditionError, ResourceExhaustedError, UnavailableError
from services.runtime.retry import Backoff
from tests.contracts.event_store import EventStoreContract, ids, pages, record
from tests.integration.faulty_dynamodb import Fault, FaultyDynamoDb, faulty_dynamodb
from tests.integration.parts import RunningPart
from tests.integration.test_persistence_service import client as rpc_client
from tests.integration.test_persistence_service import event, listed, put, service

STORED, DUPLICATE = PutOutcome.STORED, PutOutcome.DUPLICATE
TABLE = "penstock-events"
QUICK = Backoff(initial=0, maximum=0)


@pytest.fixture(scope="module")
def endpoint(aws_emulator: RunningPart) -> Iterator[FaultyDynamoDb]:
    with faulty_dynamodb(aws_emulator.addresses["http"]) as proxy:
        yield proxy


@pytest.fixture
def dynamodb(endpoint: FaultyDynamoDb, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyDynamoDb]:
    """The proxy without faults and without the table."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    endpoint.script = lambda _operation, _number: None
    endpoint.calls.clear()
    endpoint.faults.clear()
    yield endpoint
    endpoint.script = lambda _operation, _number: None
    boto = client(endpoint)
    if TABLE in boto.list_tables()["TableNames"]:
        boto.delete_table(TableName=TABLE)
    boto.close()


def client(proxy: FaultyDynamoDb) -> Any:
    return aws_client("dynamodb", region="us-east-1", endpoint_url=proxy.url, max_attempts=1, connections=THREADS)


def new_store(proxy: FaultyDynamoDb, **settings: Any) -> DynamoDbEventStore:
    return DynamoDbEventStore(client(proxy), **{"table": TABLE, "create": True, "backoff": QUICK, **settings})


@pytest.fixture
async def store(dynamodb: FaultyDynamoDb) -> AsyncIterator[EventStore]:
    async with new_store(dynamodb) as store:
        yield store


class TestDynamoDbEventStore(EventStoreContract):
    """The contract on a table."""

    large_batch = 101


async def test_on_a_bad_day_every_event_has_one_row(store: EventStore, dynamodb: FaultyDynamoDb) -> None:
    """Every third batch is left half undone, every fifth call throttled: outcomes and pages are as on a good day."""
    dynamodb.script = bad_day
    names = [f"m-{number:02}" for number in range(40)]
    records = [record(name, occurred_at=place) for place, name in enumerate(names)]
    assert await store.put(records[::2]) == [STORED] * 20
    assert await store.put(records) == [DUPLICATE, STORED] * 20
    await store.replace(records[10:])
    assert [name for page in await pages(store, EventQuery(), size=15) for name in page] == names
    assert min(dynamodb.faults[Fault.THROTTLED], dynamodb.faults[Fault.HALF_DONE]) >= 3


def bad_day(operation: str, number: int) -> Fault | None:
    if operation.startswith("Batch") and number % 3 == 1:
        return Fault.HALF_DONE
    return Fault.THROTTLED if number % 5 == 0 else None


async def test_what_is_left_unprocessed_is_written_later(store: EventStore, dynamodb: FaultyDynamoDb) -> None:
    """Sixty rows by calls of 25 that are half done each time: all are there, each once."""
    dynamodb.script = lambda operation, number: (
        Fault.HALF_DONE if operation == "BatchWriteItem" and number <= 6 else None
    )
    await store.replace([record(f"m-{number:02}", occurred_at=number) for number in range(60)])
    assert dynamodb.faults[Fault.HALF_DONE] == 6
    assert ids(await store.list_events(EventQuery(), after=None, limit=99)) == [
        f"m-{number:02}" for number in range(60)
    ]


async def test_keys_left_unprocessed_are_read_later(store: EventStore, dynamodb: FaultyDynamoDb) -> None:
    """A listing whose reads are cut in half still shows every row."""
    names = [f"m-{number:02}" for number in range(40)]
    await store.put([record(name, occurred_at=place) for place, name in enumerate(names)])
    dynamodb.script = lambda operation, number: Fault.HALF_DONE if operation == "BatchGetItem" and number <= 3 else None
    assert ids(await store.list_events(EventQuery(), after=None, limit=99)) == names
    assert dynamodb.faults[Fault.HALF_DONE] == 3


async def test_a_table_that_throttles_for_long_is_told(store: EventStore, dynamodb: FaultyDynamoDb) -> None:
    """RESOURCE_EXHAUSTED with a pause; the same call later completes what was stored in part."""
    dynamodb.script = lambda operation, number: Fault.THROTTLED if operation == "PutItem" and number > 20 else None
    records = [record(f"m-{number}") for number in range(50)]
    with pytest.raises(ResourceExhaustedError, match="throttles") as refusal:
        await store.put(records)
    assert refusal.value.retry_after
    dynamodb.script = lambda _operation, _number: None
    assert set(await store.put(records)) <= {STORED, DUPLICATE}
    assert len(ids(await store.list_events(EventQuery(), after=None, limit=99))) == 50


async def test_batches_never_finished_are_told(store: EventStore, dynamodb: FaultyDynamoDb) -> None:
    """DynamoDB that processes nothing at all ends the attempts."""
    dynamodb.script = lambda operation, _number: Fault.HALF_DONE if operation.startswith("Batch") else None
    with pytest.raises(ResourceExhaustedError, match="1 of 1 rows unwritten"):
        await store.replace([record("a")])
    with pytest.raises(ResourceExhaustedError, match="1 of 1 rows unread"):
        await store.get("a")


async def test_a_lost_answer_makes_no_second_row(store: EventStore, dynamodb: FaultyDynamoDb) -> None:
    """The write was done, the store asks again: one row, whatever the outcome is called."""
    dynamodb.script = lambda operation, number: Fault.LOST_ANSWER if operation == "PutItem" and number == 1 else None
    assert await store.put([record("a", payload=b"1")]) == [DUPLICATE]
    assert dynamodb.calls["PutItem"] == 2
    assert ids(await store.list_events(EventQuery(), after=None, limit=9)) == ["a"]


async def test_a_service_that_fails_is_unavailable(store: EventStore, dynamodb: FaultyDynamoDb) -> None:
    """After some attempts; the caller may try again."""
    dynamodb.script = lambda operation, _number: Fault.BROKEN if operation == "PutItem" else None
    with pytest.raises(UnavailableError, match="InternalServerError"):
        await store.put([record("a")])


async def test_rows_carry_a_time_to_live_when_there_is_a_retention(dynamodb: FaultyDynamoDb) -> None:
    """Counted from when the event occurred; what has expired already expires now, or TTL would pass it over."""
    now = time.time()
    async with new_store(dynamodb, retention=3600.0, now=lambda: now) as store:
        await store.put([record("new", occurred_at=int(now) * 1_000_000), record("old", occurred_at=1)])
    boto = client(dynamodb)
    expiry = {
        name: int(boto.get_item(TableName=TABLE, Key={"message_id": {"S": name}})["Item"]["expires_at"]["N"])
        for name in ("new", "old")
    }
    assert expiry["new"] == int(now) + 3600
    assert now <= expiry["old"] < now + 2
    settings = boto.describe_time_to_live(TableName=TABLE)["TimeToLiveDescription"]
    assert (settings["TimeToLiveStatus"], settings["AttributeName"]) == ("ENABLED", "expires_at")
    boto.close()


async def test_the_index_by_time_has_no_hot_key(store: EventStore, dynamodb: FaultyDynamoDb) -> None:
    """Events of one program at one time lie under many keys of both indexes."""
    await store.put([record(f"m-{number}") for number in range(200)])
    boto = client(dynamodb)
    items = boto.scan(TableName=TABLE)["Items"]
    boto.close()
    assert len({item["shard"]["S"] for item in items}) == 16
    assert len({item["program_shard"]["S"] for item in items}) == 16


async def test_a_missing_table_is_told_with_what_to_do(dynamodb: FaultyDynamoDb) -> None:
    """Unless the store is told to make it."""
    with pytest.raises(FailedPreconditionError, match="does not exist: make it, or set"):
        await new_store(dynamodb, create=False).__aenter__()


async def test_a_table_of_another_shape_is_refused(dynamodb: FaultyDynamoDb) -> None:
    """The message names what differs."""
    boto = client(dynamodb)
    boto.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )
    boto.close()
    with pytest.raises(FailedPreconditionError, match="its key is not message_id alone; the index by_program"):
        await new_store(dynamodb).__aenter__()


@pytest.mark.usefixtures("dynamodb")
async def test_an_endpoint_that_is_away_is_unavailable() -> None:
    """The error names DynamoDB."""
    away = FaultyDynamoDb(port=9, upstream="")
    with pytest.raises(UnavailableError, match="DynamoDB cannot be used"):
        await DynamoDbEventStore(client(away), table=TABLE, backoff=QUICK).__aenter__()


async def test_the_process_serves_events_from_dynamodb(dynamodb: FaultyDynamoDb, tmp_path: Path) -> None:
    """Settings choose the store and make the table; what one process stored the next one knows."""
    settings = {"STORE": "dynamodb", "CREATE_TABLES": "true", "AWS_ENDPOINT_URL": dynamodb.url, "DYNAMODB_TABLE": TABLE}
    environment = {f"PENSTOCK_PERSISTENCE_{name}": value for name, value in settings.items()}
    events = [event(f"process-{number}", program_id="process", second=number) for number in range(3)]
    async with service(tmp_path, **environment) as process:
        async with rpc_client(process) as stub:
            assert await put(stub, events) == [pb.PUT_EVENT_OUTCOME_STORED] * 3
        await process.restart()
        async with rpc_client(process) as stub:
            assert await put(stub, events) == [pb.PUT_EVENT_OUTCOME_DUPLICATE] * 3
            assert await listed(stub, "process") == ["process-0", "process-1", "process-2"]
            assert (await stub.GetEvent(pb.GetEventRequest(message_id="process-1"))).event == events[1]
