"""From the intake to the store over a Kinesis stream: what one side packs the other side unpacks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from services.runtime.aws import aws_client
from tests.integration.parts import RunningPart
from tests.integration.test_persistence_service import client, service
from tests.integration.tracking_harness import all_stored, intake


@pytest.fixture
def stream(aws_emulator: RunningPart, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A stream with two shards and a queue for what is no event; both processes inherit the credentials."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    url, name = f"http://{aws_emulator.addresses['http']}", f"events-{uuid4().hex[:8]}"
    kinesis = aws_client("kinesis", region="us-east-1", endpoint_url=url)
    sqs = aws_client("sqs", region="us-east-1", endpoint_url=url)
    kinesis.create_stream(StreamName=name, ShardCount=2)
    queue_url = sqs.create_queue(QueueName=name)["QueueUrl"]
    yield {"kinesis_stream": name, "aws_endpoint_url": url, "failure_queue_url": queue_url}
    assert "Messages" not in sqs.receive_message(QueueUrl=queue_url)
    kinesis.close()
    sqs.close()


@pytest.mark.parametrize("aggregated_keys", ["0", "4"], ids=["plain", "aggregated"])
async def test_every_accepted_event_is_a_row(
    stream: dict[str, str], valkey: RunningPart, tmp_path: Path, aggregated_keys: str
) -> None:
    """Once each, with what the intake made of it; none of the records is a failure."""
    place = {name: stream[name] for name in ("kinesis_stream", "aws_endpoint_url")}
    shipping = {"ship_to": "kinesis", "kinesis_aggregated_keys": aggregated_keys, **place}
    reading = {f"PENSTOCK_PERSISTENCE_{name.upper()}": value for name, value in stream.items()}
    reading["PENSTOCK_PERSISTENCE_CREATE_TABLES"] = "true"
    names = [f"e-{number}" for number in range(250)]
    async with (
        service(tmp_path / "store", **reading) as store,
        client(store) as rows,
        intake(tmp_path / "intake", redis=valkey.addresses["redis"], redis_prefix=uuid4().hex, **shipping) as tracking,
    ):
        await tracking.put_program("over-kinesis")
        events = [TrackingEvent(program_id="over-kinesis", message_id=name) for name in names]
        assert await tracking.track(*events) == ["ACCEPTED"] * len(names)
        stored = await all_stored(rows, names)
        assert sorted(event.message_id for event in stored) == sorted(names)
        assert {event.program_name for event in stored} == {"Program over-kinesis"}
        assert all(event.HasField("received_at") for event in stored)
