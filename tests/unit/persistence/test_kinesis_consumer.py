"""Shards that end and calls that fail, with a client that answers as the API reference says: no emulator does."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from services.persistence.kinesis_consumer import SHARD_END, KinesisConsumer, MemoryCheckpoints
from services.runtime.kinesis_event import StreamRecord
from services.runtime.retry import Backoff


class SplitStream:
    """A shard that was split in two. Iterators are `<shard>/<place>`; the next one of a closed shard's end is None."""

    def __init__(self) -> None:
        self.data = {"parent": ["p1", "p2"], "left": ["l1"], "right": ["r1"]}
        self.fails: list[str] = []
        self.order: list[str] = []

    def list_shards(self, **_arguments: object) -> dict[str, Any]:
        children = [{"ShardId": name, "ParentShardId": "parent"} for name in ("left", "right")]
        # The parent of the parent is older than the retention of the stream: it is not listed.
        return {"Shards": [{"ShardId": "parent", "ParentShardId": "gone"}, *children]}

    def get_shard_iterator(self, **arguments: str) -> dict[str, str]:
        start = arguments.get("StartingSequenceNumber")
        place = 0 if start is None else int(start) + 1
        return {"ShardIterator": f"{arguments['ShardId']}/{place}"}

    def get_records(self, **arguments: Any) -> dict[str, Any]:
        if self.fails:
            raise ClientError({"Error": {"Code": self.fails.pop(), "Message": "injected"}}, "GetRecords")
        shard, place = arguments["ShardIterator"].split("/")
        self.order.append(shard)
        found = self.data[shard][int(place) : int(place) + 1]
        records = [
            {
                "SequenceNumber": place,
                "ApproximateArrivalTimestamp": datetime.fromtimestamp(1, UTC),
                "Data": one.encode(),
            }
            for one in found
        ]
        is_end = shard == "parent" and int(place) + len(found) >= len(self.data[shard])
        following = None if is_end else f"{shard}/{int(place) + len(found)}"
        return {"Records": records, "NextShardIterator": following}


async def read(client: SplitStream, checkpoints: MemoryCheckpoints, count: int) -> tuple[list[bytes], list[str]]:
    """The first `count` records, and the troubles that were told."""
    taken: list[bytes] = []
    troubles: list[str] = []
    enough = asyncio.Event()

    async def take(records: Sequence[StreamRecord]) -> StreamRecord | None:
        taken.extend(record.data for record in records)
        if len(taken) >= count:
            enough.set()
        return None

    consumer = KinesisConsumer(
        client,
        stream="s",
        take=take,
        checkpoints=checkpoints,
        poll_seconds=0,
        backoff=Backoff(initial=0, maximum=0),
        on_trouble=troubles.append,
    )
    task = asyncio.create_task(consumer.run())
    await asyncio.wait_for(enough.wait(), 30)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return taken, troubles


async def test_children_are_read_after_their_parent_has_ended() -> None:
    """Records of a key keep their order over a split; a parent that is not listed any more holds up nobody."""
    client, checkpoints = SplitStream(), MemoryCheckpoints()
    taken, _ = await read(client, checkpoints, 4)
    assert taken[:2] == [b"p1", b"p2"]
    assert sorted(taken[2:]) == [b"l1", b"r1"]
    assert client.order[:2] == ["parent", "parent"]
    assert checkpoints.by_shard["parent"] == SHARD_END


async def test_an_ended_shard_is_not_read_again() -> None:
    """Its checkpoint keeps it away; the others go on behind theirs."""
    client, checkpoints = SplitStream(), MemoryCheckpoints()
    checkpoints.by_shard.update({"parent": SHARD_END, "left": "0"})
    client.data["left"].append("l2")
    taken, _ = await read(client, checkpoints, 2)
    assert sorted(taken) == [b"l2", b"r1"]
    assert "parent" not in client.order


async def test_throttled_and_expired_iterators_are_renewed() -> None:
    """From behind the last record that is done; the trouble is told and taken back."""
    client, checkpoints = SplitStream(), MemoryCheckpoints()
    client.fails = ["ProvisionedThroughputExceededException", "ExpiredIteratorException"]
    taken, troubles = await read(client, checkpoints, 4)
    assert taken[:2] == [b"p1", b"p2"]
    assert len(taken) == 4
    assert "ExpiredIteratorException" in troubles[0]
    assert "ProvisionedThroughputExceededException" in troubles[1]
    assert troubles[2] == ""
