"""A Kinesis stream read by this process itself: every shard in order, a checkpoint after what is stored.

A shard is read when its parents are read to their ends, so records of a key keep their order over a resharding. The
checkpoint moves only behind records that are done: a crash repeats some, and repeated ones find their rows. One process
reads a stream; a second one would do the same work again and change nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

import structlog
from botocore.exceptions import BotoCoreError, ClientError

from services.runtime.aws import BlockingCalls
from services.runtime.errors import RetryableError, UnavailableError
from services.runtime.kinesis_event import StreamRecord
from services.runtime.retry import Backoff
from services.runtime.telemetry import gauge

SHARD_END = "SHARD_END"
"""The checkpoint of a shard that was split or merged and is read to its end."""

THREADS = 16
_RECORDS_PER_CALL = 1000  # of at most 10,000 (API_GetRecords); as many as are in memory per shard
_LEAST_PAUSE_SECONDS = 0.2  # five calls a second are allowed per shard
_MICROSECONDS = 1_000_000
_DISCOVERY_SECONDS = 30.0

Take = Callable[[Sequence[StreamRecord]], Awaitable[StreamRecord | None]]
"""Processes records in order; the first one that has to come again, None when all are done."""


class Checkpoints(Protocol):
    """How far each shard is read."""

    async def get(self, shard_id: str) -> str | None:
        """The sequence number of the last record that is done, SHARD_END, or None.

        Raises:
            RetryableError: not now.
        """
        ...

    async def put(self, shard_id: str, sequence_number: str) -> None:
        """Keep it. Errors are those of `get`."""
        ...


class MemoryCheckpoints:
    """Checkpoints in memory: the next process begins with the oldest record."""

    def __init__(self) -> None:
        self.by_shard: dict[str, str] = {}

    async def get(self, shard_id: str) -> str | None:
        return self.by_shard.get(shard_id)

    async def put(self, shard_id: str, sequence_number: str) -> None:
        self.by_shard[shard_id] = sequence_number


class KinesisConsumer:
    """Reads one stream for ever: run `run`.

    Args:
        client: boto3's for Kinesis, with `THREADS` connections.
        stream: name.
        take: what is done with records.
        checkpoints: kept behind what is done.
        poll_seconds: pause when a shard has nothing new.
        backoff: between attempts at what failed.
        on_trouble: hears why nothing can be read, and the empty text when something was read again.
    """

    def __init__(
        self,
        client: Any,
        *,
        stream: str,
        take: Take,
        checkpoints: Checkpoints,
        poll_seconds: float = 1.0,
        backoff: Backoff | None = None,
        on_trouble: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._client = client
        self._stream = stream
        self._take = take
        self._checkpoints = checkpoints
        self._poll_seconds = poll_seconds
        self._backoff = backoff or Backoff(initial=0.2, maximum=10.0)
        self._on_trouble = on_trouble
        self._calls = BlockingCalls(THREADS, "kinesis")
        self._look_again = asyncio.Event()
        self._behind = gauge(
            "penstock_persistence_stream_behind_seconds", "How far reading is behind the end of a shard.", ("shard",)
        )
        self._log = structlog.get_logger(component="kinesis")

    async def run(self) -> None:
        """Follow the shards, those that come later too."""
        followers: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                self._look_again.clear()
                for shard_id in await self._insisted(self._readable, followers):
                    followers[shard_id] = asyncio.create_task(self._follow(shard_id))
                _raise_failure(followers.values())
                with suppress(TimeoutError):
                    async with asyncio.timeout(_DISCOVERY_SECONDS):
                        await self._look_again.wait()
        finally:
            for follower in followers.values():
                follower.cancel()
            await asyncio.gather(*followers.values(), return_exceptions=True)

    async def _readable(self, followed: Mapping[str, object]) -> list[str]:
        """Shards that nobody follows yet, that have records left, and whose parents have none."""
        shards = await self._shards()
        known = {shard["ShardId"] for shard in shards}
        done = {shard_id for shard_id in known if await self._checkpoints.get(shard_id) == SHARD_END}
        return [
            shard["ShardId"]
            for shard in shards
            if shard["ShardId"] not in done | followed.keys() and (_parents(shard) & known) <= done
        ]

    async def _shards(self) -> list[Mapping[str, Any]]:
        answer = await self._called(self._client.list_shards, StreamName=self._stream)
        shards = list(answer["Shards"])
        while token := answer.get("NextToken"):
            answer = await self._called(self._client.list_shards, NextToken=token)
            shards += answer["Shards"]
        return shards

    async def _follow(self, shard_id: str) -> None:
        """Read a shard to its end."""
        done = await self._insisted(self._checkpoints.get, shard_id)
        iterator = await self._insisted(self._iterator, shard_id, done)
        while iterator:
            try:
                answer = await self._called(self._client.get_records, ShardIterator=iterator, Limit=_RECORDS_PER_CALL)
            except RetryableError as error:
                # An iterator is good for five minutes; a new one is right after every failure.
                self._on_trouble(error.message)
                await asyncio.sleep(self._backoff.delay(1))
                iterator = await self._insisted(self._iterator, shard_id, done)
                continue
            self._on_trouble("")
            self._behind.labels(shard_id).set(answer.get("MillisBehindLatest", 0) / 1000)
            if records := [_stream_record(shard_id, record) for record in answer["Records"]]:
                done = await self._done(shard_id, records)
                await asyncio.sleep(min(self._poll_seconds, _LEAST_PAUSE_SECONDS))
            elif answer.get("NextShardIterator"):
                await asyncio.sleep(self._poll_seconds)
            iterator = answer.get("NextShardIterator")
        await self._insisted(self._checkpoints.put, shard_id, SHARD_END)
        self._look_again.set()

    async def _done(self, shard_id: str, records: Sequence[StreamRecord]) -> str:
        """Take records until all are done; the last sequence number."""
        attempt = 0
        while (failed := await self._take(records)) is not None:
            place = records.index(failed)
            if place:
                await self._insisted(self._checkpoints.put, shard_id, records[place - 1].sequence_number)
                attempt = 0
            records = records[place:]
            attempt += 1
            await asyncio.sleep(self._backoff.delay(attempt))
        await self._insisted(self._checkpoints.put, shard_id, records[-1].sequence_number)
        return records[-1].sequence_number

    async def _iterator(self, shard_id: str, done: str | None) -> str:
        start = {"ShardIteratorType": "TRIM_HORIZON"}
        if done is not None:
            start = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": done}
        answer = await self._called(self._client.get_shard_iterator, StreamName=self._stream, ShardId=shard_id, **start)
        return str(answer["ShardIterator"])

    async def _insisted(self, operation: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        attempt = 0
        while True:
            try:
                return await operation(*arguments)
            except RetryableError as error:
                attempt += 1
                self._on_trouble(error.message)
                self._log.warning("the stream waits", reason=error.message)
                await asyncio.sleep(self._backoff.delay(attempt))

    async def _called(self, function: Callable[..., Any], **arguments: Any) -> Any:
        try:
            return await self._calls.run(function, **arguments)
        except (BotoCoreError, ClientError) as error:
            raise UnavailableError(
                f"the stream {self._stream} cannot be read: {error}", metadata={"dependency": "kinesis"}
            ) from error


def _parents(shard: Mapping[str, Any]) -> set[str]:
    return {shard[name] for name in ("ParentShardId", "AdjacentParentShardId") if shard.get(name)}


def _raise_failure(followers: Iterable["asyncio.Task[None]"]) -> None:
    for follower in followers:
        if follower.done():
            follower.result()


def _stream_record(shard_id: str, record: Mapping[str, Any]) -> StreamRecord:
    return StreamRecord(
        shard_id=shard_id,
        sequence_number=record["SequenceNumber"],
        arrived_at=round(record["ApproximateArrivalTimestamp"].timestamp() * _MICROSECONDS),
        data=record["Data"],
    )
