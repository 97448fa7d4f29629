"""The contract of targets with their real places; with doubles behind a faulty proxy where the place is AWS."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from penstock.delivery.v1 import broker_message_pb2, delivery_service_pb2

from broker_bridge.activemq import ActiveMq
from broker_bridge.aws_batch import AwsBatchDelivery
from broker_bridge.broker import BrokerAddress, Login
from broker_bridge.function_answer import failed_items
from broker_bridge.http_endpoint import HttpEndpoint
from broker_bridge.http_target import HttpDelivery
from broker_bridge.kinesis_target import KinesisDelivery
from broker_bridge.parcel import Parcel
from broker_bridge.queue_target import MESSAGE_ID, QueueDelivery
from broker_bridge.sender import Sender
from broker_bridge.sns_target import SnsDelivery
from broker_bridge.sqs_target import SqsDelivery
from broker_bridge.target_specs import HttpTarget, KinesisTarget, QueueTarget, SnsTarget, SqsTarget
from broker_bridge.targets import Target
from broker_bridge.visit import Visit
from deploy.local.activemq import BROKER_PASSWORD, BROKER_USER
from deploy.local.lambda_endpoint.endpoint import LambdaEndpoint
from deploy.local.ports import free_port_numbers
from services.runtime.aws import BlockingCalls
from services.runtime.errors import ResourceExhaustedError
from tests.contracts.delivery_target import FAILING, DeliveryTargetContract, ThrottlingTargetContract
from tests.integration.bridge_harness import RecordingService, accepted, rejected, retry
from tests.integration.http_place import Endpoint, FaultyAws, Response
from tests.integration.parts import RunningPart
from tests.integration.target_places import (
    client,
    grpc_delivery,
    invocations,
    kinesis_records,
    lambda_delivery,
    sqs_messages,
)
from tests.unit.broker_bridge.builders import parcel, string

SHORT = 0.3  # seconds until a silent place is given up
LOGIN = Login(BROKER_USER, BROKER_PASSWORD)


def nobody() -> str:
    return f"127.0.0.1:{free_port_numbers(1)[0]}"


class TestGrpcDelivery(ThrottlingTargetContract):
    """A service that implements DeliveryService."""

    @pytest.fixture(autouse=True)
    async def _place(self, service: RecordingService) -> AsyncIterator[None]:
        self.service = service
        self.answering = asyncio.Event()
        yield
        self.answering.set()

    async def target(self) -> Target:
        return grpc_delivery(self.service.address)

    async def target_without_place(self) -> Target:
        return grpc_delivery(nobody())

    async def silent_target(self) -> Target:
        async def wait() -> None:
            await self.answering.wait()

        self.service.before = wait
        return grpc_delivery(self.service.address, timeout=SHORT)

    async def throttled_target(self) -> Target:
        self.service.failure = ResourceExhaustedError("too many", retry_after=1.0)
        return grpc_delivery(self.service.address)

    async def partly_failing_target(self) -> Target:
        failed: set[str] = set()

        def decide(message: broker_message_pb2.BrokerMessage) -> delivery_service_pb2.DeliveryResult:
            if message.text != FAILING or message.id in failed:
                return accepted()
            failed.add(message.id)
            return retry("not now")

        self.service.decide = decide
        return grpc_delivery(self.service.address)

    async def arrived(self) -> Sequence[str]:
        return self.service.ids

    def refused_parcel(self, number: int) -> Parcel:
        self.service.decide = lambda message: rejected("no") if message.text == "refuse" else accepted()
        return parcel(number, text="refuse")


@pytest.mark.usefixtures("aws_login")
class TestLambdaDelivery(ThrottlingTargetContract):
    """A function under awslambdaric."""

    @pytest.fixture(autouse=True)
    def _place(self, endpoint: LambdaEndpoint, calls: BlockingCalls) -> Iterator[None]:
        self.endpoint, self.calls = endpoint, calls
        self.address = f"127.0.0.1:{endpoint.port}"
        self.function = "accept"
        with FaultyAws(self.address) as self.proxy:
            yield

    async def target(self) -> Target:
        return lambda_delivery(self.address, self.calls)

    async def target_without_place(self) -> Target:
        return lambda_delivery(nobody(), self.calls)

    async def silent_target(self) -> Target:
        self.proxy.silent = True
        return lambda_delivery(self.proxy.address, self.calls, read_timeout=SHORT)

    async def throttled_target(self) -> Target:
        self.proxy.throttles = True
        return lambda_delivery(self.proxy.address, self.calls)

    async def partly_failing_target(self) -> Target:
        self.function = "partly"
        return lambda_delivery(self.address, self.calls, function_name="partly")

    async def arrived(self) -> Sequence[str]:
        found: list[str] = []
        for record in await invocations(self.endpoint, self.function):
            if record["outcome"] == "success":
                failed = failed_items(record["response"])
                found += [
                    item["messageID"] for item in record["payload"]["messages"] if item["messageID"] not in failed
                ]
        return found

    def refused_parcel(self, number: int) -> Parcel:
        return parcel(number, text="refuse")


class AwsBatchContract(ThrottlingTargetContract):
    """SQS, SNS and Kinesis: the emulator behind a proxy that throttles, fails in part and falls silent."""

    @pytest.fixture(autouse=True)
    def _emulator(self, emulator: str, faulty_aws: FaultyAws, calls: BlockingCalls) -> None:
        self.emulator, self.proxy, self.calls = emulator, faulty_aws, calls

    def at(self, address: str, *, read_timeout: float = 60.0) -> AwsBatchDelivery:
        raise NotImplementedError

    async def target(self) -> Target:
        return self.at(self.emulator)

    async def target_without_place(self) -> Target:
        return self.at(nobody())

    async def silent_target(self) -> Target:
        self.proxy.silent = True
        return self.at(self.proxy.address, read_timeout=SHORT)

    async def throttled_target(self) -> Target:
        self.proxy.throttles = True
        return self.at(self.proxy.address)

    async def partly_failing_target(self) -> Target:
        self.proxy.fails = True
        return self.at(self.proxy.address)

    def refused_parcel(self, number: int) -> Parcel:
        return parcel(number, text="\x00")


class TestSqsDelivery(AwsBatchContract):
    """A queue of the emulator."""

    @pytest.fixture(autouse=True)
    def _place(self, sqs_queue: str) -> None:
        self.url = sqs_queue

    def at(self, address: str, *, read_timeout: float = 60.0) -> AwsBatchDelivery:
        made = client("sqs", address, read_timeout=read_timeout)
        return SqsDelivery(SqsTarget(queue_url=self.url), client=made, calls=self.calls)

    async def arrived(self) -> Sequence[str]:
        return [jms_id(message) for message in await sqs_messages(self.emulator, self.url)]


class TestSnsDelivery(AwsBatchContract):
    """A topic of the emulator; what it publishes arrives in a queue."""

    @pytest.fixture(autouse=True)
    def _place(self, sns_topic: str, sqs_queue: str) -> None:
        self.arn, self.url = sns_topic, sqs_queue

    def at(self, address: str, *, read_timeout: float = 60.0) -> AwsBatchDelivery:
        made = client("sns", address, read_timeout=read_timeout)
        return SnsDelivery(SnsTarget(topic_arn=self.arn), client=made, calls=self.calls)

    async def arrived(self) -> Sequence[str]:
        return [jms_id(message) for message in await sqs_messages(self.emulator, self.url)]


class TestKinesisDelivery(AwsBatchContract):
    """A stream of the emulator; the partition key is the message id."""

    @pytest.fixture(autouse=True)
    def _place(self, kinesis_stream: str) -> None:
        self.stream = kinesis_stream

    def at(self, address: str, *, read_timeout: float = 60.0) -> AwsBatchDelivery:
        made = client("kinesis", address, read_timeout=read_timeout)
        return KinesisDelivery(KinesisTarget(stream=self.stream), client=made, calls=self.calls)

    async def arrived(self) -> Sequence[str]:
        return [record["PartitionKey"] for record in await kinesis_records(self.emulator, self.stream)]

    def refused_parcel(self, number: int) -> Parcel:
        return parcel(number, text="x" * (10 * 1024 * 1024 + 1))


class TestHttpDelivery(ThrottlingTargetContract):
    """An HTTP server."""

    @pytest.fixture(autouse=True)
    async def _place(self, http_endpoint: Endpoint) -> AsyncIterator[None]:
        self.endpoint = http_endpoint
        self.open: list[HttpEndpoint] = []
        yield
        for connections in self.open:
            connections.close()

    def at(self, address: str, *, timeout: float = 5.0) -> Target:
        spec = HttpTarget(url=f"http://{address}/messages")
        endpoint = HttpEndpoint(spec.url, room=asyncio.Semaphore(8), timeout=timeout)
        self.open.append(endpoint)
        return HttpDelivery(spec, endpoint=endpoint, now=time.time)

    async def target(self) -> Target:
        return self.at(self.endpoint.address)

    async def target_without_place(self) -> Target:
        return self.at(nobody())

    async def silent_target(self) -> Target:
        self.endpoint.silent = True
        return self.at(self.endpoint.address, timeout=SHORT)

    async def throttled_target(self) -> Target:
        self.endpoint.decide = lambda _request: Response(status=429, headers=(("Retry-After", "7"),))
        return self.at(self.endpoint.address)

    async def partly_failing_target(self) -> Target:
        self.endpoint.decide = self.endpoint.fail_once
        return self.at(self.endpoint.address)

    async def arrived(self) -> Sequence[str]:
        return self.endpoint.arrived

    def refused_parcel(self, number: int) -> Parcel:
        self.endpoint.decide = lambda request: Response(status=422 if request.body == b"refuse" else 204)
        return parcel(number, text="refuse")


class TestQueueDelivery(DeliveryTargetContract):
    """A queue of the same broker, which throttles nobody: it stops reading, which is the time-out."""

    @pytest.fixture(autouse=True)
    async def _place(self, activemq: RunningPart) -> AsyncIterator[None]:
        self.address = BrokerAddress("127.0.0.1", activemq.port("stomp"))
        self.destination = f"queue://copies-{uuid4().hex[:8]}"
        self.senders: list[Sender] = []
        self.servers: list[asyncio.Server] = []
        self.answering = asyncio.Event()
        yield
        self.answering.set()
        for sender in self.senders:
            await sender.close()
        for server in self.servers:
            server.close()

    def at(self, address: BrokerAddress, *, answer_seconds: float = 15.0) -> Target:
        sender = Sender(ActiveMq(LOGIN, answer_seconds=answer_seconds), [address])
        self.senders.append(sender)
        return QueueDelivery(QueueTarget(destination=self.destination), sender)

    async def target(self) -> Target:
        return self.at(self.address)

    async def target_without_place(self) -> Target:
        return self.at(BrokerAddress("127.0.0.1", free_port_numbers(1)[0]))

    async def silent_target(self) -> Target:
        server = await asyncio.start_server(self._log_in_and_fall_silent, "127.0.0.1", 0)
        self.servers.append(server)
        port = server.sockets[0].getsockname()[1]
        return self.at(BrokerAddress("127.0.0.1", port), answer_seconds=SHORT)

    async def _log_in_and_fall_silent(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\x00")
        writer.write(b"CONNECTED\nversion:1.2\nserver:Silent/1\nheart-beat:0,0\n\n\x00")
        await self.answering.wait()
        writer.close()

    async def arrived(self) -> Sequence[str]:
        async with browsed(self.address, self.destination) as found:
            return [headers[MESSAGE_ID] for headers, _ in found]

    def refused_parcel(self, number: int) -> Parcel:
        return parcel(number, attributes={"transaction": string("x")})


@asynccontextmanager
async def browsed(address: BrokerAddress, queue: str) -> AsyncIterator[list[Any]]:
    """The messages of a queue, which stay there."""
    async with Visit(ActiveMq(LOGIN), [address]) as visit, aclosing(visit.browse(queue)) as frames:
        yield [frame async for frame in frames]


def jms_id(message: dict[str, Any]) -> str:
    return str(message["MessageAttributes"]["jms_message_id"]["StringValue"])
