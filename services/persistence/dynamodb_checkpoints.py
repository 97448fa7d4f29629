"""Checkpoints of a stream's consumer in DynamoDB: `shard` (S, hash key, `<stream>/<shard>`), `sequence_number` (S)."""

from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from services.runtime.aws import BlockingCalls
from services.runtime.errors import FailedPreconditionError, UnavailableError


class DynamoDbCheckpoints:
    """`Checkpoints` of one stream. `client` is boto3's for DynamoDB."""

    def __init__(self, client: Any, *, table: str, stream: str) -> None:
        self._client = client
        self._table = table
        self._stream = stream
        self._calls = BlockingCalls(4, "checkpoints")

    async def open(self, *, create: bool) -> None:
        """Make the table where there is none.

        Raises:
            FailedPreconditionError: there is none, and it is not to be made.
            UnavailableError: DynamoDB cannot be asked.
        """
        try:
            await self._calls.run(self._client.describe_table, TableName=self._table)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise _unavailable(error) from error
            if not create:
                raise FailedPreconditionError(
                    f"the DynamoDB table {self._table} of checkpoints does not exist: make it (hash key `shard`, a "
                    "text), or set PENSTOCK_PERSISTENCE_CREATE_TABLES=true",
                    reason="ERROR_REASON_DEPENDENCY_UNAVAILABLE",
                    metadata={"dependency": "dynamodb"},
                ) from None
            await self._calls.run(self._make)
        except BotoCoreError as error:
            raise _unavailable(error) from error

    def _make(self) -> None:
        self._client.create_table(
            TableName=self._table,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "shard", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "shard", "KeyType": "HASH"}],
        )
        self._client.get_waiter("table_exists").wait(TableName=self._table)

    async def get(self, shard_id: str) -> str | None:
        answer = await self._called("get_item", Key=self._key(shard_id), ConsistentRead=True)
        item = answer.get("Item")
        return str(item["sequence_number"]["S"]) if item else None

    async def put(self, shard_id: str, sequence_number: str) -> None:
        await self._called("put_item", Item={**self._key(shard_id), "sequence_number": {"S": sequence_number}})

    def _key(self, shard_id: str) -> dict[str, Any]:
        return {"shard": {"S": f"{self._stream}/{shard_id}"}}

    async def _called(self, operation: str, **arguments: Any) -> Any:
        try:
            return await self._calls.run(getattr(self._client, operation), TableName=self._table, **arguments)
        except (BotoCoreError, ClientError) as error:
            raise _unavailable(error) from error


def _unavailable(error: BotoCoreError | ClientError) -> UnavailableError:
    return UnavailableError(f"checkpoints cannot be used: {error}", metadata={"dependency": "dynamodb"})
