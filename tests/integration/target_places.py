"""The places that targets deliver to: a gRPC service, Lambda functions, SQS, SNS, Kinesis, HTTP."""

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from broker_bridge.grpc_target import GrpcDelivery
from broker_bridge.lambda_target import LambdaDelivery
from broker_bridge.target_specs import LambdaTarget
from deploy.local.lambda_endpoint.endpoint import LambdaEndpoint
from deploy.local.lambda_endpoint.function import FunctionSpec
from deploy.local.ports import free_port_numbers
from services.runtime.aws import BlockingCalls, aws_client
from services.runtime.channel import open_channel
from tests.integration.bridge_harness import RecordingService, accepted, rejected
from tests.integration.http_place import Endpoint, FaultyAws
from tests.integration.parts import RunningPart

FUNCTIONS = Path(__file__).parent / "bridge_functions"
ARN = "arn:aws:mq:us-east-1:123456789012:broker:test:b-1"


@pytest.fixture
def aws_login(monkeypatch: pytest.MonkeyPatch) -> None:
    """The login of the emulator, where boto3 looks for it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


def client(service: str, address: str, *, read_timeout: float = 60.0) -> Callable[[], Any]:
    url = f"http://{address}"
    made = aws_client(service, region="us-east-1", endpoint_url=url, read_timeout=read_timeout, max_attempts=1)
    return lambda: made


@pytest.fixture
def calls() -> BlockingCalls:
    return BlockingCalls(8, "aws-test")


@pytest.fixture
async def service() -> AsyncIterator[RecordingService]:
    """A gRPC service that takes every message but those that say `refuse`."""
    recording = RecordingService()
    recording.decide = lambda message: rejected("no") if message.text == "refuse" else accepted()
    await recording.start()
    yield recording
    await recording.stop()


def grpc_delivery(address: str, *, timeout: float = 5.0) -> GrpcDelivery:
    return GrpcDelivery(open_channel(address), timeout=timeout)


@pytest.fixture
async def endpoint(tmp_path: Path) -> AsyncIterator[LambdaEndpoint]:
    (port,) = free_port_numbers(1)
    concurrency = {"accept": 4, "answer": 1, "partly": 1, "simple": 4, "slow": 1}
    functions = {
        name: FunctionSpec(name=name, handler=f"handlers.{name}", code=FUNCTIONS, concurrency=at_once)
        for name, at_once in concurrency.items()
    }
    async with LambdaEndpoint(
        functions, host="127.0.0.1", port=port, data_directory=tmp_path / "lambda", retry_delays=(0.0, 0.0)
    ) as running:
        yield running


async def invocations(endpoint: LambdaEndpoint, function: str) -> list[dict[str, Any]]:
    url = f"http://127.0.0.1:{endpoint.port}/_penstock/invocations?function={function}"

    def read() -> list[dict[str, Any]]:
        with urllib.request.urlopen(url, timeout=60) as response:
            return list(json.load(response)["invocations"])

    return await asyncio.to_thread(read)


def lambda_delivery(address: str, calls: BlockingCalls, *, read_timeout: float = 60.0, **spec: Any) -> LambdaDelivery:
    made = LambdaTarget(**{"function_name": "accept"} | spec)
    boto = client("lambda", address, read_timeout=read_timeout)
    return LambdaDelivery(made, client=boto, calls=calls, event_source_arn=ARN)


@pytest.fixture
def emulator(aws_emulator: RunningPart, aws_login: None) -> str:  # noqa: ARG001 - must be set before
    """Address of the emulator of SQS, SNS and Kinesis, for callers that are logged in."""
    return aws_emulator.addresses["http"].removeprefix("http://")


@pytest.fixture
def faulty_aws(emulator: str) -> Iterator[FaultyAws]:
    """A proxy before the emulator."""
    with FaultyAws(emulator) as proxy:
        yield proxy


@pytest.fixture
def http_endpoint() -> Iterator[Endpoint]:
    with Endpoint() as endpoint:
        yield endpoint


@pytest.fixture
async def sqs_queue(emulator: str) -> str:
    sqs = client("sqs", emulator)()
    created = await asyncio.to_thread(sqs.create_queue, QueueName=f"bridge-{uuid4().hex[:8]}")
    return str(created["QueueUrl"])


async def sqs_messages(address: str, url: str) -> list[dict[str, Any]]:
    """Everything in the queue, taken out."""
    sqs = client("sqs", address)()
    found: list[dict[str, Any]] = []
    while True:
        response = await asyncio.to_thread(
            sqs.receive_message,
            QueueUrl=url,
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
            AttributeNames=["All"],
        )
        messages = response.get("Messages", [])
        if not messages:
            return found
        for message in messages:
            await asyncio.to_thread(sqs.delete_message, QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        found += messages


@pytest.fixture
async def sns_topic(emulator: str, sqs_queue: str) -> str:
    """A topic whose messages arrive, raw, in `sqs_queue`."""
    name = sqs_queue.rpartition("/")[2]
    sns = client("sns", emulator)()
    created = await asyncio.to_thread(sns.create_topic, Name=name)
    arn = str(created["TopicArn"])
    await asyncio.to_thread(
        sns.subscribe,
        TopicArn=arn,
        Protocol="sqs",
        Endpoint=f"arn:aws:sqs:us-east-1:123456789012:{name}",
        Attributes={"RawMessageDelivery": "true"},
    )
    return arn


@pytest.fixture
async def kinesis_stream(emulator: str) -> str:
    """A stream of two shards."""
    name = f"bridge-{uuid4().hex[:8]}"
    await asyncio.to_thread(client("kinesis", emulator)().create_stream, StreamName=name, ShardCount=2)
    return name


async def kinesis_records(address: str, stream: str) -> list[dict[str, Any]]:
    """All records of all shards."""
    kinesis = client("kinesis", address)()

    def read() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for shard in kinesis.list_shards(StreamName=stream)["Shards"]:
            iterator = kinesis.get_shard_iterator(
                StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )
            found += kinesis.get_records(ShardIterator=iterator["ShardIterator"])["Records"]
        return found

    return await asyncio.to_thread(read)
