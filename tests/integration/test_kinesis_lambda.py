"""Kinesis to the store as Lambda runs it: the real runtime client, the event as AWS documents it, a failure queue."""

import base64
import copy
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from deploy.local.lambda_endpoint.endpoint import LambdaEndpoint
from deploy.local.lambda_endpoint.function import FunctionSpec
from deploy.local.ports import free_port_numbers
from services.runtime.aws import aws_client
from tests.integration.faulty_dynamodb import Fault, FaultyDynamoDb, faulty_dynamodb
from tests.integration.parts import RunningPart
from tests.integration.test_lambda_endpoint import Caller

ROOT = Path(__file__).resolve().parents[2]
EVENT = json.loads((ROOT / "tests/events/kinesis.json").read_text())
TABLE = "kinesis-lambda"


@pytest.fixture(scope="module")
def dynamodb(aws_emulator: RunningPart) -> Iterator[FaultyDynamoDb]:
    with faulty_dynamodb(aws_emulator.addresses["http"]) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def sqs(dynamodb: FaultyDynamoDb) -> Iterator[Any]:
    patch = pytest.MonkeyPatch()
    patch.setenv("AWS_ACCESS_KEY_ID", "test")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    client = aws_client("sqs", region="us-east-1", endpoint_url=f"http://{dynamodb.upstream}")
    yield client
    client.close()
    patch.undo()


@pytest.fixture(scope="module")
def queue_url(sqs: Any) -> str:
    return str(sqs.create_queue(QueueName="kinesis-failures")["QueueUrl"])


@pytest.fixture(scope="module")
async def caller(
    dynamodb: FaultyDynamoDb, queue_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Caller]:
    """The function on the emulator's DynamoDB, behind the proxy that has bad days."""
    settings = {
        "STORE": "dynamodb",
        "DYNAMODB_TABLE": TABLE,
        "CREATE_TABLES": "true",
        "AWS_ENDPOINT_URL": dynamodb.url,
        "FAILURE_QUEUE_URL": queue_url,
    }
    function = FunctionSpec(
        name="kinesis-to-store",
        handler="services.persistence.lambda_handler.handler",
        code=ROOT,
        timeout=60.0,
        environment={
            **{f"PENSTOCK_PERSISTENCE_{name}": value for name, value in settings.items()},
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        },
    )
    [port] = free_port_numbers(1)
    async with LambdaEndpoint(
        {function.name: function},
        host="127.0.0.1",
        port=port,
        data_directory=tmp_path_factory.mktemp("lambda"),
        retry_delays=(0.0, 0.0),
    ):
        yield Caller(port)


def batch(*data: bytes) -> dict[str, Any]:
    """The documented event with other data; sequence numbers go on from the documented ones."""
    records = []
    for number, one in enumerate(data):
        record = copy.deepcopy(EVENT["Records"][0])
        sequence_number = str(int(record["kinesis"]["sequenceNumber"]) + number)
        record["kinesis"] |= {"sequenceNumber": sequence_number, "data": base64.b64encode(one).decode()}
        record["eventID"] = f"shardId-000000000006:{sequence_number}"
        records.append(record)
    return {"Records": records}


def click(message_id: str) -> bytes:
    return TrackingEvent(message_id=message_id, program_id="p").SerializeToString()


def stored(dynamodb: FaultyDynamoDb) -> list[str]:
    client = aws_client("dynamodb", region="us-east-1", endpoint_url=f"http://{dynamodb.upstream}")
    items = client.scan(TableName=TABLE)["Items"]
    client.close()
    return sorted(item["message_id"]["S"] for item in items)


async def test_the_documented_event_is_poison_for_us_and_kept(caller: Caller, sqs: Any, queue_url: str) -> None:
    """Its two records are texts: both go to the failure queue with reason, place and bytes, and none comes again."""
    answer = await caller.invoke("kinesis-to-store", EVENT)
    assert answer.get("FunctionError") is None
    assert answer["Payload"] == {"batchItemFailures": []}
    bodies: list[dict[str, Any]] = []
    while len(bodies) < 2:
        messages = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages", [])
        bodies += [json.loads(message["Body"]) for message in messages]
    bodies.sort(key=lambda body: int(body["sequence_number"]))
    assert [base64.b64decode(body["data"]) for body in bodies] == [b"Hello, this is a test.", b"This is only a test."]
    assert bodies[0]["shard_id"] == "shardId-000000000006"
    assert bodies[0]["arrived_at"] == 1545084650987000
    assert all("not a serialized TrackingEvent" in body["reason"] for body in bodies)


async def test_events_are_stored_once_however_often_the_batch_comes(caller: Caller, dynamodb: FaultyDynamoDb) -> None:
    """A batch of three, delivered twice."""
    event = batch(click("twice-1"), click("twice-2"), click("twice-3"))
    for _ in range(2):
        assert (await caller.invoke("kinesis-to-store", event))["Payload"] == {"batchItemFailures": []}
    assert [name for name in stored(dynamodb) if name.startswith("twice")] == ["twice-1", "twice-2", "twice-3"]


async def test_a_store_that_throttles_makes_records_come_again_from_the_lowest(
    caller: Caller, dynamodb: FaultyDynamoDb
) -> None:
    """The answer names the first record; the retry of the batch completes it, a row each."""
    data = [click(f"bulk-{number}") for number in range(9)]
    event = batch(*data)
    dynamodb.script = lambda operation, _number: Fault.THROTTLED if operation == "PutItem" else None
    answer = (await caller.invoke("kinesis-to-store", event))["Payload"]
    assert answer == {"batchItemFailures": [{"itemIdentifier": event["Records"][0]["kinesis"]["sequenceNumber"]}]}
    dynamodb.script = lambda operation, number: Fault.THROTTLED if operation == "PutItem" and number % 3 == 0 else None
    assert (await caller.invoke("kinesis-to-store", event))["Payload"] == {"batchItemFailures": []}
    dynamodb.script = lambda _operation, _number: None
    assert [name for name in stored(dynamodb) if name.startswith("bulk")] == [f"bulk-{number}" for number in range(9)]


async def test_an_event_that_is_none_fails_as_a_whole(caller: Caller) -> None:
    """An exception: the mapping keeps the batch."""
    assert (await caller.invoke("kinesis-to-store", {"unexpected": True}))["FunctionError"] == "Unhandled"
