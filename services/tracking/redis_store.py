"""Programs in Redis or Valkey: one serialized Program per key, an index for lists, a channel that tells of changes.

    <prefix>:program:<id>       the program, replaced as a whole: readers never see half of one
    <prefix>:programs           sorted set of all ids, every score 0, so that its order is that of the bytes
    <prefix>:filled             is there since the first put: without it, what held programs was emptied
    <prefix>:programs:changed   channel; the payload is the id that was put or deleted

For readers of the reference architecture, where it is asked for:

    <id>                        hash of clean values: programId, programName, checksum, customerId, customerName, valid
    <legacy channel>            the same as a JSON object

A write and its announcements are one MULTI transaction: none is ever without the others.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import orjson
from google.protobuf.message import DecodeError
from penstock.tracking.v1 import program_pb2
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline, PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, WatchError

from services.runtime.errors import InternalError, InvalidArgumentError, UnavailableError, invalid_field
from services.runtime.retry import Backoff
from services.tracking.core_data import legacy_fields
from services.tracking.program import Program
from services.tracking.program_store import ProgramWatcher

_AWAY = (RedisError, OSError, asyncio.TimeoutError)
_WRITE_ATTEMPTS = 10


class RedisProgramStore:
    """A `ProgramStore` on one Redis or Valkey server. Close it when done.

    Args:
        url: `redis://[user:password@]host:port/database`, `rediss://` for TLS; never shown in an error.
        prefix: of every key and channel.
        timeout: seconds granted to connect and to each command; then the server counts as away.
        heartbeat: seconds of silence on the subscription after which the server has to prove that it is there.
        backoff: between attempts to subscribe again.
        legacy_channel: where a put is told as the reference architecture does, its hash written too; empty: neither.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "penstock",
        timeout: float = 0.5,
        heartbeat: float = 1.0,
        backoff: Backoff | None = None,
        legacy_channel: str = "",
    ) -> None:
        self._legacy_channel = legacy_channel
        self._redis: Redis = Redis.from_url(
            url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            # Once more on a new connection: one that was idle may have been closed by the server.
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        )
        self._own_keys = f"{prefix}:"
        self._program_key = f"{prefix}:program:"
        self._index_key = f"{prefix}:programs"
        self._filled_key = f"{prefix}:filled"
        self._was_filled = False
        self._channel = f"{prefix}:programs:changed"
        self._timeout = timeout
        self._heartbeat = heartbeat
        self._backoff = backoff or Backoff(initial=0.05, maximum=1.0)

    async def close(self) -> None:
        await self._redis.aclose()

    async def get_many(self, program_ids: Sequence[str]) -> Mapping[str, Program]:
        keys = [self._program_key + program_id for program_id in program_ids]
        with _reachable():
            *values, filled = await self._redis.mget([*keys, self._filled_key])
        self._require_programs(is_filled=filled is not None, is_complete=None not in values)
        return {
            program_id: _decoded(program_id, value)
            for program_id, value in zip(program_ids, values, strict=True)
            if value is not None
        }

    def _require_programs(self, *, is_filled: bool, is_complete: bool) -> None:
        """A server that was flushed, or came back without its data, knows nothing about the absence of programs."""
        if self._was_filled and not is_filled and not is_complete:
            raise UnavailableError(
                "the program store was emptied: restore it, or put the programs again",
                retry_after=1.0,
                reason="ERROR_REASON_DEPENDENCY_UNAVAILABLE",
                metadata={"dependency": "redis"},
            )
        self._was_filled = self._was_filled or is_filled

    async def put(self, program: Program) -> Program:
        if self._legacy_channel and program.program_id.startswith(self._own_keys):
            raise invalid_field("program.program_id", f"begins with {self._own_keys!r}, as the keys of this store do")
        key = self._program_key + program.program_id
        for _attempt in range(_WRITE_ATTEMPTS):
            with _reachable(), suppress(WatchError):
                async with self._redis.pipeline() as transaction:
                    await transaction.watch(key)
                    stored = program.with_version(_version_of(await transaction.get(key)) + 1)
                    await self._write(transaction, stored)
                    return stored
        raise UnavailableError(f"program {program.program_id} is being written by others all the time; try again")

    async def delete(self, program_id: str) -> bool:
        with _reachable():
            async with self._redis.pipeline() as transaction:
                transaction.delete(self._program_key + program_id)
                transaction.zrem(self._index_key, program_id)
                transaction.publish(self._channel, program_id)
                deleted, *_ = await transaction.execute()
        return bool(deleted)

    async def list_after(self, program_id: str, limit: int) -> Sequence[Program]:
        found: list[Program] = []
        while True:
            after, wanted = f"({program_id}" if program_id else "-", limit - len(found)
            with _reachable():
                ids = await self._redis.zrangebylex(self._index_key, after, "+", start=0, num=wanted)
            names = [_bytes(name).decode() for name in ids]
            programs = await self.get_many(names) if names else {}
            found += [programs[name] for name in names if name in programs]
            # One that is deleted meanwhile is in the index alone; fewer than the limit would mean that none follow.
            if len(names) < wanted or len(found) == limit:
                return found
            program_id = names[-1]

    async def watch(self, watcher: ProgramWatcher) -> None:
        attempt = 0
        while True:
            attempt += 1
            try:
                async with self._subscription() as subscription:
                    attempt = 0
                    watcher.connected()
                    await self._follow(subscription, watcher)
            except _AWAY as error:
                watcher.lost(f"the program store is away: {_text(error)}")
            await asyncio.sleep(self._backoff.delay(max(attempt, 1)))

    @asynccontextmanager
    async def _subscription(self) -> AsyncIterator[PubSub]:
        async with self._redis.pubsub() as subscription:
            await subscription.subscribe(self._channel)
            # What is published from the confirmation on arrives; before it, nothing is promised.
            while (message := await subscription.get_message(timeout=self._timeout)) is not None:
                if message["type"] == "subscribe":
                    yield subscription
                    return
            raise TimeoutError("the subscription was not confirmed")

    async def _follow(self, subscription: PubSub, watcher: ProgramWatcher) -> None:
        silent = False
        while True:
            message = await subscription.get_message(timeout=self._timeout if silent else self._heartbeat)
            if message is None and silent:
                raise TimeoutError("no answer to PING")
            if message is None:
                # A connection that was cut without a word looks like one on which nothing happens.
                await subscription.ping()
            elif message["type"] == "message":
                # Anybody may publish: an id that is none is one that nobody has cached.
                watcher.changed(message["data"].decode(errors="replace"))
            elif message["type"] == "subscribe":
                # redis-py has connected and subscribed anew by itself: what was told in between was missed.
                watcher.connected()
            silent = message is None

    async def _write(self, transaction: Pipeline, program: Program) -> None:
        transaction.multi()  # type: ignore[no-untyped-call]
        transaction.set(self._program_key + program.program_id, program.to_proto().SerializeToString())
        transaction.zadd(self._index_key, {program.program_id: 0})
        transaction.set(self._filled_key, 1)
        transaction.publish(self._channel, program.program_id)
        if self._legacy_channel:
            fields = legacy_fields(program)
            # Redis has texts alone; of these only a boolean is not one as it stands.
            texts: dict[Any, Any] = {**fields, "valid": str(program.enabled).lower()}
            transaction.hset(program.program_id, mapping=texts)
            transaction.publish(self._legacy_channel, orjson.dumps(fields))
        await transaction.execute()


class _reachable:  # noqa: N801 - reads as a statement: `with _reachable():`
    """Turns what redis-py raises when the server cannot be used into UnavailableError."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, _AWAY) and not isinstance(error, WatchError):
            raise UnavailableError(
                f"the program store is away: {_text(error)}",
                retry_after=1.0,
                reason="ERROR_REASON_DEPENDENCY_UNAVAILABLE",
                metadata={"dependency": "redis"},
            ) from error


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _bytes(value: bytes | str) -> bytes:
    assert isinstance(value, bytes), "redis-py decodes only when it is told to"
    return value


def _decoded(program_id: str, value: bytes | str) -> Program:
    try:
        return Program.from_proto(program_pb2.Program.FromString(_bytes(value)))
    except (DecodeError, InvalidArgumentError) as error:
        # A fault of what is stored, not of the caller, who would take INVALID_ARGUMENT for the end of his events.
        raise InternalError(
            f"the stored program {program_id} is not a serialized Program: {error}; put it again",
            metadata={"program_id": program_id},
        ) from error


def _version_of(value: bytes | str | None) -> int:
    """The version of a stored program; 0 when there is none, or one that cannot be read and is to be replaced."""
    with suppress(DecodeError):
        return program_pb2.Program.FromString(_bytes(value)).version if value is not None else 0
    return 0
