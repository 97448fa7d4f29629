"""Events in Amazon DynamoDB: a table keyed by message id, two sharded indexes by time (`dynamodb_table` has the shape).

The indexes are eventually consistent: a listing may miss what was stored a moment before, `get` never does. DynamoDB
deletes expired rows up to days late; `retention` leaves them out.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from services.persistence.dynamodb_table import ensure_table
from services.persistence.record import EventRecord
from services.persistence.store import EventQuery, Position, PutOutcome, StoredEvent, position_of
from services.persistence.time_index import SHARDS, merged, read_page, shard_of
from services.runtime.aws import BlockingCalls
from services.runtime.errors import PenstockError, ResourceExhaustedError, UnavailableError
from services.runtime.retry import Backoff

MAX_WRITE_ITEMS = 25  # API_BatchWriteItem
THREADS = 32
_WRITERS = 8  # threads of one `put`
_ATTEMPTS = 8
_PASSING = frozenset({"InternalServerError", "InternalFailure", "ServiceUnavailable"})
_THROTTLED = frozenset(
    {"ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded", "LimitExceededException"}
)
# Moves the years 1 to 9999 to numbers above 0, so that digits sort like times.
_EPOCH_OFFSET = 10**17
_MICROSECONDS = 1_000_000

Item = Mapping[str, Any]
T = TypeVar("T")


class DynamoDbEventStore:
    """`EventStore` on one table. Enter it before use.

    Args:
        client: boto3's DynamoDB client, with `THREADS` connections and one attempt: the store repeats by itself.
        table: name; made when there is none and `create` is true.
        create: whether to make the table, paid by request, with TTL on.
        retention: seconds after an event occurred at which DynamoDB may delete it; None keeps all.
        now: seconds since 1970 UTC.
        backoff: between attempts at what DynamoDB throttled, failed at or left unprocessed.
    """

    def __init__(
        self,
        client: Any,
        *,
        table: str,
        create: bool = False,
        retention: float | None = None,
        now: Callable[[], float] = time.time,
        backoff: Backoff | None = None,
    ) -> None:
        self._client = client
        self._table = table
        self._create = create
        self._retention = retention
        self._now = now
        self._backoff = backoff or Backoff(initial=0.05, maximum=2.0)
        self._calls = BlockingCalls(THREADS, "dynamodb")

    async def __aenter__(self) -> Self:
        """Check the table.

        Raises:
            FailedPreconditionError: it is not there, or has another shape.
            UnavailableError: DynamoDB cannot be asked.
        """
        await self._called(ensure_table, self._client, self._table, create=self._create)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    async def put(self, records: Sequence[EventRecord]) -> list[PutOutcome]:
        """See `EventStore.put`. A write repeated after a lost answer calls its own row a duplicate."""
        firsts: dict[str, int] = {}
        for place, record in enumerate(records):
            firsts.setdefault(record.message_id, place)
        places = list(firsts.values())
        shares = [places[start::_WRITERS] for start in range(min(_WRITERS, len(places)))]
        answers = await _all(self._called(self._put_each, [records[place] for place in share]) for share in shares)
        outcomes = [PutOutcome.DUPLICATE] * len(records)
        for share, answer in zip(shares, answers, strict=True):
            for place, outcome in zip(share, answer, strict=True):
                outcomes[place] = outcome
        return outcomes

    async def replace(self, records: Sequence[EventRecord]) -> None:
        # Two items with one key in a call are refused.
        items = [self._item(record) for record in {record.message_id: record for record in records}.values()]
        calls = [items[start : start + MAX_WRITE_ITEMS] for start in range(0, len(items), MAX_WRITE_ITEMS)]
        await _all(self._write_all(call) for call in calls)

    async def purge(self, before: int, *, limit: int) -> int:  # noqa: ARG002 - see the port
        return 0

    async def get(self, message_id: str) -> EventRecord | None:
        found = await self._read_all([message_id])
        return found.get(message_id)

    async def list_events(self, query: EventQuery, *, after: Position | None, limit: int) -> list[StoredEvent]:
        shards = [partial(self._read_shard, query, shard) for shard in range(SHARDS)]

        async def next_positions(after: Position | None, count: int) -> Sequence[Position]:
            return await merged(shards, after=after, limit=count)

        return await read_page(next_positions, self._read_all, after=after, limit=limit)

    async def _called(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return await self._calls.run(function, *args, **kwargs)
        except (BotoCoreError, ClientError) as error:
            raise _translated(error) from error

    def _tried(self, operation: Callable[..., Any], **request: Any) -> Any:
        """Blocks. Tries again what may pass by itself: throttling, a failure of the service, a lost connection."""
        for attempt in range(1, _ATTEMPTS):
            try:
                return operation(**request)
            except (HTTPClientError, ClientError) as error:
                if isinstance(error, ClientError) and _code(error) not in _THROTTLED | _PASSING:
                    raise
                time.sleep(self._backoff.delay(attempt))
        return operation(**request)

    def _put_each(self, records: Sequence[EventRecord]) -> list[PutOutcome]:
        return [self._put_one(record) for record in records]

    def _put_one(self, record: EventRecord) -> PutOutcome:
        try:
            self._tried(
                self._client.put_item,
                TableName=self._table,
                Item=self._item(record),
                ConditionExpression="attribute_not_exists(message_id)",
            )
        except ClientError as error:
            if _code(error) == "ConditionalCheckFailedException":
                return PutOutcome.DUPLICATE
            raise
        return PutOutcome.STORED

    async def _write_all(self, items: Sequence[Item]) -> None:
        """One call, and more for what DynamoDB leaves unprocessed."""
        requests: Mapping[str, Any] = {self._table: [{"PutRequest": {"Item": item}} for item in items]}
        for attempt in range(1, _ATTEMPTS + 1):
            answer = await self._called(self._tried, self._client.batch_write_item, RequestItems=requests)
            requests = answer.get("UnprocessedItems") or {}
            if not requests:
                return
            await asyncio.sleep(self._backoff.delay(attempt))
        raise _throttled(f"leaves {len(requests[self._table])} of {len(items)} rows unwritten")

    async def _read_all(self, message_ids: Sequence[str]) -> Mapping[str, EventRecord]:
        """The rows of at most 100 ids; one call, and more for what DynamoDB leaves unprocessed."""
        keys = [{"message_id": {"S": message_id}} for message_id in message_ids]
        requests: Mapping[str, Any] = {self._table: {"Keys": keys, "ConsistentRead": True}}
        found: dict[str, EventRecord] = {}
        for attempt in range(1, _ATTEMPTS + 1):
            answer = await self._called(self._tried, self._client.batch_get_item, RequestItems=requests)
            records = [_record(item) for item in answer["Responses"].get(self._table, ())]
            found.update((record.message_id, record) for record in records)
            requests = answer.get("UnprocessedKeys") or {}
            if not requests:
                return found
            # An answer of 16 MB leaves keys unprocessed too: only one without any row is a reason to wait.
            if not records:
                await asyncio.sleep(self._backoff.delay(attempt))
        raise _throttled(f"leaves {len(requests[self._table]['Keys'])} of {len(keys)} rows unread")

    async def _read_shard(
        self, query: EventQuery, shard: int, after: Position | None, count: int
    ) -> Sequence[Position]:
        index, name, value = "by_time", "shard", str(shard)
        if query.program_id is not None:
            index, name, value = "by_program", "program_shard", f"{query.program_id}#{shard}"
        found: list[Position] = []
        more: dict[str, Any] = {}
        while len(found) < count:
            answer = await self._called(
                self._tried,
                self._client.query,
                TableName=self._table,
                IndexName=index,
                KeyConditionExpression=f"{name} = :shard AND place BETWEEN :first AND :last",
                ExpressionAttributeValues={
                    ":shard": {"S": value},
                    ":first": {"S": _first_place(query, after)},
                    ":last": {"S": _place_bound(query.until_time)},
                },
                Limit=count - len(found),
                **more,
            )
            found += [_position(item["place"]["S"]) for item in answer["Items"]]
            if "LastEvaluatedKey" not in answer:
                break
            more = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
        return found

    def _item(self, record: EventRecord) -> Item:
        shard = shard_of(record.message_id)
        item = {
            "message_id": {"S": record.message_id},
            "program_id": {"S": record.program_id},
            "occurred_at": {"N": str(record.occurred_at)},
            "payload": {"B": record.payload},
            "program_shard": {"S": f"{record.program_id}#{shard}"},
            "shard": {"S": str(shard)},
            "place": {"S": _place(position_of(record))},
        }
        if self._retention is not None:
            # TTL passes over times more than five years ago: what has expired already expires now.
            expiry = max(record.occurred_at / _MICROSECONDS + self._retention, self._now())
            item["expires_at"] = {"N": str(math.ceil(expiry))}
        return item


async def _all(calls: Iterable[Awaitable[T]]) -> list[T]:
    """The results; the first error only when all have ended, so that nothing is written after the answer."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    answers = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        answers.append(result)
    return answers


def _place(position: Position) -> str:
    return f"{position.occurred_at + _EPOCH_OFFSET:020d}#{position.key}"


def _position(place: str) -> Position:
    digits, _, message_id = place.partition("#")
    return Position(occurred_at=int(digits) - _EPOCH_OFFSET, key=message_id)


def _first_place(query: EventQuery, after: Position | None) -> str:
    bound = "0" if query.from_time is None else _place_bound(query.from_time)
    # U+0000 makes the next text in the order of bytes.
    return bound if after is None else max(bound, f"{_place(after)}\0")


def _place_bound(moment: int | None) -> str:
    """Below the places of this time, above those of earlier ones; None is above all."""
    return ":" if moment is None else f"{moment + _EPOCH_OFFSET:020d}"


def _record(item: Item) -> EventRecord:
    return EventRecord(
        message_id=item["message_id"]["S"],
        program_id=item["program_id"]["S"],
        occurred_at=int(item["occurred_at"]["N"]),
        payload=bytes(item["payload"]["B"]),
    )


def _code(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])


def _translated(error: BotoCoreError | ClientError) -> PenstockError:
    code = _code(error) if isinstance(error, ClientError) else ""
    if code in _THROTTLED:
        return _throttled(f"throttles ({code})")
    return UnavailableError(
        f"DynamoDB cannot be used: {error}",
        retry_after=1.0,
        reason="ERROR_REASON_DEPENDENCY_UNAVAILABLE",
        metadata={"dependency": "dynamodb"},
    )


def _throttled(what: str) -> ResourceExhaustedError:
    return ResourceExhaustedError(
        f"DynamoDB {what}: retry, or give the table more capacity",
        retry_after=1.0,
        reason="ERROR_REASON_OVERLOADED",
        metadata={"dependency": "dynamodb"},
    )
