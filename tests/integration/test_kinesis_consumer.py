"""The consumer of a stream against the emulator, whose closed shards never end: those are in the unit tests."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from services.persistence.dynamodb_checkpoints import DynamoDbCheckpoints
from services.persistence.kinesis_consumer import Checkpoints, KinesisConsumer, MemoryCheckpoints, Take
from services.runtime.aws import aws_client
from services.runtime.errors import FailedPreconditionError
from services.runtime.kinesis_event import StreamRecord
from services.runtime.retry import Backoff
from tests.integration.parts import RunningPart
from tests.integration.test_persistence_service import client as rpc_client
from tests.integration.test_persistence_service import listed, service

_POLL_SECONDS = 0.02


@pytest.fixture(scope="module")
def aws(aws_emulator: RunningPart) -> Iterator[dict[str, Any]]:
    """Clients by service."""
    patch = pytest.MonkeyPatch()
    patch.setenv("AWS_ACCESS_KEY_ID", "test")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    url = f"http://{aws_emulator.addresses['http']}"
    clients = {name: aws_client(name, region="us-east-1", endpoint_url=url) for name in ("kinesis", "dynamodb", "sqs")}
    yield clients
    for client in clients.values():
        client.close()
    patch.undo()


@pytest.fixture
def stream(aws: dict[str, Any]) -> str:
    name = f"stream-{uuid4().hex[:8]}"
    aws["kinesis"].create_stream(StreamName=name, ShardCount=1)
    return name


def send(aws: dict[str, Any], stream: str, *data: bytes) -> None:
    records = [{"Data": one, "PartitionKey": "key"} for one in data]
    assert aws["kinesis"].put_records(StreamName=stream, Records=records)["FailedRecordCount"] == 0


class Taker:
    """Takes records, except those it is told to refuse."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.refuses: set[bytes] = set()

    async def take(self, records: Sequence[StreamRecord]) -> StreamRecord | None:
        for record in records:
            if record.data in self.refuses:
                return record
            self.taken.append(record.data)
        return None

    async def has(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.taken) < count:  # noqa: ASYNC110 - another process is waited for
                await asyncio.sleep(_POLL_SECONDS)


@asynccontextmanager
async def consuming(aws: dict[str, Any], stream: str, take: Take, checkpoints: Checkpoints) -> AsyncIterator[None]:
    consumer = KinesisConsumer(
        aws["kinesis"],
        stream=stream,
        take=take,
        checkpoints=checkpoints,
        poll_seconds=_POLL_SECONDS,
        backoff=Backoff(initial=_POLL_SECONDS, maximum=_POLL_SECONDS),
    )
    task = asyncio.create_task(consumer.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_consumer_goes_on_behind_its_checkpoint(aws: dict[str, Any], stream: str) -> None:
    """The next process takes what came since, and nothing twice after an orderly end."""
    checkpoints, taker = MemoryCheckpoints(), Taker()
    send(aws, stream, b"1", b"2")
    async with consuming(aws, stream, taker.take, checkpoints):
        await taker.has(2)
        send(aws, stream, b"3")
        await taker.has(3)
        async with asyncio.timeout(10):
            while not checkpoints.by_shard:  # noqa: ASYNC110
                await asyncio.sleep(0)
    send(aws, stream, b"4")
    last = checkpoints.by_shard.copy()
    async with consuming(aws, stream, taker.take, checkpoints):
        await taker.has(4)
    assert taker.taken[:3] == [b"1", b"2", b"3"]
    assert taker.taken[-1] == b"4"
    assert int(next(iter(checkpoints.by_shard.values()))) >= int(next(iter(last.values())))


async def test_a_record_that_has_to_come_again_holds_those_behind_it(aws: dict[str, Any], stream: str) -> None:
    """Order is kept, the checkpoint stays before it, and a new process begins with it."""
    checkpoints, taker = MemoryCheckpoints(), Taker()
    taker.refuses = {b"2"}
    send(aws, stream, b"1", b"2", b"3")
    async with consuming(aws, stream, taker.take, checkpoints):
        await taker.has(1)
        async with asyncio.timeout(10):
            while not checkpoints.by_shard:  # noqa: ASYNC110
                await asyncio.sleep(0)
    assert taker.taken == [b"1"]
    taker.refuses = set()
    async with consuming(aws, stream, taker.take, checkpoints):
        await taker.has(3)
    assert taker.taken == [b"1", b"2", b"3"]


async def test_no_checkpoint_moves_before_its_records_are_done(aws: dict[str, Any], stream: str) -> None:
    """A process that dies while it stores the first records begins with them again."""
    checkpoints, taker = MemoryCheckpoints(), Taker()
    asked = asyncio.Event()

    async def never_done(records: Sequence[StreamRecord]) -> StreamRecord | None:
        asked.set()
        await asyncio.Event().wait()  # until the process dies
        return records[0]

    send(aws, stream, b"1", b"2")
    async with consuming(aws, stream, never_done, checkpoints):
        await asyncio.wait_for(asked.wait(), 60)
    assert checkpoints.by_shard == {}
    async with consuming(aws, stream, taker.take, checkpoints):
        await taker.has(2)
    assert taker.taken == [b"1", b"2"]


async def test_the_process_stores_a_stream_and_goes_on_after_a_kill(
    aws: dict[str, Any], aws_emulator: RunningPart, stream: str, tmp_path: Path
) -> None:
    """Checkpoints lie in DynamoDB, poison in SQS; a kill loses nothing and makes no second row."""
    queue_url = aws["sqs"].create_queue(QueueName="consumer-failures")["QueueUrl"]
    settings = {
        "KINESIS_STREAM": stream,
        "FAILURE_QUEUE_URL": queue_url,
        "AWS_ENDPOINT_URL": f"http://{aws_emulator.addresses['http']}",
        "CREATE_TABLES": "true",
    }
    environment = {f"PENSTOCK_PERSISTENCE_{name}": value for name, value in settings.items()}
    clicks = [TrackingEvent(message_id=f"c-{number}", program_id="p").SerializeToString() for number in range(20)]
    send(aws, stream, *clicks[:10], b"\xff poison")
    async with service(tmp_path, **environment) as process:
        async with rpc_client(process) as stub:
            await all_listed(stub, 10)
        await process.kill()
        send(aws, stream, *clicks[10:])
        await process.start()
        async with rpc_client(process) as stub:
            assert sorted(await all_listed(stub, 20)) == sorted(f"c-{number}" for number in range(20))
    assert "Messages" in aws["sqs"].receive_message(QueueUrl=queue_url)


async def all_listed(stub: Any, count: int) -> list[str]:
    async with asyncio.timeout(60):
        while len(found := await listed(stub)) < count:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_SECONDS)
    return found


async def test_checkpoints_of_streams_are_kept_apart(aws: dict[str, Any]) -> None:
    """One table serves many; without it the start tells what to do."""
    checkpoints = [DynamoDbCheckpoints(aws["dynamodb"], table="several", stream=name) for name in ("a", "b")]
    with pytest.raises(FailedPreconditionError, match="does not exist: make it"):
        await checkpoints[0].open(create=False)
    for one in checkpoints:
        await one.open(create=True)
    await checkpoints[0].put("shard", "1")
    assert [await one.get("shard") for one in checkpoints] == ["1", None]
