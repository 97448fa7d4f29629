"""Core data to a real Valkey as Lambda runs it, heard by an intake's store at once."""

import base64
import copy
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from deploy.local.lambda_endpoint.endpoint import LambdaEndpoint
from deploy.local.lambda_endpoint.function import FunctionSpec
from deploy.local.ports import free_port_numbers
from services.runtime.aws import aws_client
from services.tracking.redis_store import RedisProgramStore
from tests.contracts.program_store import watching
from tests.integration.parts import RunningPart
from tests.integration.test_lambda_endpoint import Caller

ROOT = Path(__file__).resolve().parents[2]
EVENT = json.loads((ROOT / "tests/events/kinesis.json").read_text())
PREFIX, CHANNEL = "core-data-lambda", "core-data-channel"


@pytest.fixture(scope="module")
def sqs(aws_emulator: RunningPart) -> Iterator[Any]:
    patch = pytest.MonkeyPatch()
    patch.setenv("AWS_ACCESS_KEY_ID", "test")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    client = aws_client("sqs", region="us-east-1", endpoint_url=f"http://{aws_emulator.addresses['http']}")
    yield client
    client.close()
    patch.undo()


@pytest.fixture(scope="module")
def queue_url(sqs: Any) -> str:
    return str(sqs.create_queue(QueueName="core-data-failures")["QueueUrl"])


@pytest.fixture(scope="module")
async def caller(
    valkey: RunningPart, aws_emulator: RunningPart, queue_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Caller]:
    settings = {
        "REDIS_URL": f"redis://{valkey.addresses['redis']}/0",
        "REDIS_PREFIX": PREFIX,
        "LEGACY_CHANNEL": CHANNEL,
        "AWS_ENDPOINT_URL": f"http://{aws_emulator.addresses['http']}",
        "FAILURE_QUEUE_URL": queue_url,
    }
    function = FunctionSpec(
        name="core-data",
        handler="services.tracking.lambda_handler.handler",
        code=ROOT,
        timeout=60.0,
        environment={
            **{f"PENSTOCK_CORE_DATA_{name}": value for name, value in settings.items()},
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
    records = []
    for number, one in enumerate(data):
        record = copy.deepcopy(EVENT["Records"][0])
        record["kinesis"] |= {"sequenceNumber": str(number + 1), "data": base64.b64encode(one).decode()}
        record["eventID"] = f"shardId-000000000006:{number + 1}"
        records.append(record)
    return {"Records": records}


async def test_core_data_reaches_every_reader_at_once(
    caller: Caller, valkey: RunningPart, sqs: Any, queue_url: str
) -> None:
    """Intakes by their store and its channel, readers of the reference by hash and message; poison is kept."""
    url = f"redis://{valkey.addresses['redis']}/0"
    store, redis = RedisProgramStore(url, prefix=PREFIX), Redis.from_url(url, decode_responses=True)
    data = {"programId": '"212312"', "programName": '"program1"', "customerId": "119", "valid": "false"}
    async with watching(store) as witness, redis.pubsub() as channel:
        await channel.subscribe(CHANNEL)
        answer = await caller.invoke("core-data", batch(json.dumps(data).encode(), b"poison"))
        assert answer["Payload"] == {"batchItemFailures": []}
        assert await witness.hears() == "212312"
        program = (await store.get_many(["212312"]))["212312"]
        assert (program.name, program.customer_id, program.enabled) == ("program1", 119, False)
        fields = await redis.hgetall("212312")
        assert fields == {
            "programId": "212312",
            "programName": "program1",
            "checksum": "",
            "customerId": "119",
            "customerName": "",
            "valid": "false",
        }
        while (message := await channel.get_message(timeout=10)) is not None and message["type"] != "message":
            pass
        assert message is not None
        assert json.loads(message["data"]) == {**fields, "customerId": 119, "valid": False}
    messages = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10)["Messages"]
    [body] = [json.loads(message["Body"]) for message in messages]
    assert base64.b64decode(body["data"]) == b"poison"
    assert (body["sequence_number"], "not JSON" in body["reason"]) == ("2", True)
    await store.close()
    await redis.aclose()


async def test_a_later_version_of_a_program_wins(caller: Caller, valkey: RunningPart) -> None:
    """Records are applied in order, each a version."""
    store = RedisProgramStore(f"redis://{valkey.addresses['redis']}/0", prefix=PREFIX)
    event = batch(*(json.dumps({"programId": "later", "programName": f"v{number}"}).encode() for number in range(3)))
    assert (await caller.invoke("core-data", event))["Payload"] == {"batchItemFailures": []}
    program = (await store.get_many(["later"]))["later"]
    assert (program.name, program.version) == ("v2", 3)
    await store.close()
