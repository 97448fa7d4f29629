"""Calls on the table of the DynamoDB store: off the event loop, conflicts told apart from trouble."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from services.config.dynamodb_items import Item, text
from services.runtime.aws import BlockingCalls
from services.runtime.errors import PenstockError, ResourceExhaustedError, UnavailableError

THREADS = 16
T = TypeVar("T")

_THROTTLED = frozenset(
    {"ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded", "LimitExceededException"}
)
_CONFLICTS = frozenset(
    {"TransactionCanceledException", "ConditionalCheckFailedException", "TransactionConflictException"}
)
_BATCH_WRITE = 25  # API_BatchWriteItem


class ConflictError(Exception):
    """Another writer was there first: read again, then repeat."""


class Table:
    """One table through a boto3 client."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name
        self._calls = BlockingCalls(THREADS, "dynamodb")

    async def called(self, work: Callable[[Any, str], T]) -> T:
        """What `work` makes of client and table name, on a thread.

        Raises:
            ConflictError: a condition did not hold.
            ResourceExhaustedError, UnavailableError: DynamoDB throttles, or cannot be asked.
        """
        try:
            return await self._calls.run(work, self._client, self._name)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _CONFLICTS and not _throttled_inside(error):
                raise ConflictError from None
            raise _trouble(code, self._name) from error
        except BotoCoreError as error:
            raise _trouble(type(error).__name__, self._name) from error

    async def get(self, key: Item) -> Item | None:
        """An item as it is now."""
        answer = await self.called(lambda client, name: client.get_item(TableName=name, Key=key, ConsistentRead=True))
        found: Item | None = answer.get("Item")
        return found

    async def get_together(self, keys: Sequence[Item]) -> list[Item | None]:
        """Several items as they were at one moment."""
        answer = await self.called(
            lambda client, name: client.transact_get_items(
                TransactItems=[{"Get": {"TableName": name, "Key": key}} for key in keys]
            )
        )
        return [one.get("Item") or None for one in answer["Responses"]]

    async def write_together(self, writes: Sequence[Item]) -> None:
        """Several writes, all or none; each is `{"Put" | "Update" | "Delete": ...}` without the table's name."""
        await self.called(
            lambda client, name: client.transact_write_items(
                TransactItems=[
                    {kind: {"TableName": name, **arguments}} for write in writes for kind, arguments in write.items()
                ]
            )
        )

    async def query(
        self, partition: str, first: str, last: str, *, limit: int | None = None, newest_first: bool = False
    ) -> AsyncGenerator[list[Item], None]:
        """The items of a partition with keys from `first` to `last`, both included, page by page."""
        arguments: dict[str, Any] = {
            "KeyConditionExpression": "pk = :p AND sk BETWEEN :a AND :b",
            "ExpressionAttributeValues": {":p": text(partition), ":a": text(first), ":b": text(last)},
            "ConsistentRead": True,
            "ScanIndexForward": not newest_first,
            **({"Limit": limit} if limit else {}),
        }
        async for page in self._pages(lambda client, given: client.query(**given), arguments):
            yield page

    async def scan(self, condition: str) -> AsyncGenerator[list[Item], None]:
        """All items of the table for which a condition holds, page by page."""
        arguments = {"FilterExpression": condition, "ConsistentRead": True}
        async for page in self._pages(lambda client, given: client.scan(**given), arguments):
            yield page

    async def delete_all(self, keys: Sequence[Item]) -> None:
        """Deletes items, not together; what DynamoDB leaves unprocessed is tried again."""
        waiting = [{"DeleteRequest": {"Key": key}} for key in keys]
        while waiting:
            batch, waiting = waiting[:_BATCH_WRITE], waiting[_BATCH_WRITE:]

            def write(client: Any, name: str, batch: Sequence[Item] = tuple(batch)) -> Any:
                return client.batch_write_item(RequestItems={name: list(batch)})

            left = (await self.called(write)).get("UnprocessedItems", {}).get(self._name, [])
            if left:
                await asyncio.sleep(0.1)
                waiting += left

    async def _pages(
        self, ask: Callable[[Any, dict[str, Any]], Any], arguments: dict[str, Any]
    ) -> AsyncGenerator[list[Item], None]:
        start: dict[str, Any] = {}
        while True:
            answer = await self.called(partial(_asked, ask, {**arguments, **start}))
            yield answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}


def _asked(ask: Callable[[Any, dict[str, Any]], Any], arguments: dict[str, Any], client: Any, name: str) -> Any:
    return ask(client, {"TableName": name, **arguments})


def _throttled_inside(error: ClientError) -> bool:
    reasons = error.response.get("CancellationReasons", ())
    return any(reason.get("Code") in ("ThrottlingError", "ProvisionedThroughputExceeded") for reason in reasons)


def _trouble(code: str, table: str) -> PenstockError:
    metadata = {"dependency": "dynamodb"}
    if code in _THROTTLED or code in _CONFLICTS:
        return ResourceExhaustedError(f"DynamoDB throttles table {table}: {code}", retry_after=0.5, metadata=metadata)
    return UnavailableError(f"DynamoDB cannot be used for table {table}: {code}", metadata=metadata)
