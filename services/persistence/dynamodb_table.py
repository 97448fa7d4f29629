"""The table of the DynamoDB store: its shape, how it is made, how one that is there is checked.

    message_id     S  hash key
    program_id     S
    occurred_at    N  microseconds since 1970 UTC
    payload        B  a serialized TrackingEvent
    program_shard  S  `<program_id>#<shard>`: hash key of the index `by_program`
    shard          S  hash key of the index `by_time`
    place          S  `<time, 20 digits>#<message_id>`: range key of both indexes, which hold keys alone
    expires_at     N  seconds since 1970 UTC: the table's TTL attribute; only with a retention

A shard of an index takes what a partition takes, 1,000 writes/s: 16 shards 16,000 events/s in all.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError, WaiterError

from services.runtime.errors import FailedPreconditionError

_INDEXES = {"by_program": "program_shard", "by_time": "shard"}
_TTL_ATTRIBUTE = "expires_at"


def ensure_table(client: Any, table: str, *, create: bool) -> None:
    """Check the table; make it when there is none and `create` is true. Blocks.

    Raises:
        FailedPreconditionError: it is not there, or has another shape.
    """
    try:
        found = client.describe_table(TableName=table)["Table"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        if not create:
            raise _unusable(table, "does not exist: make it, or set PENSTOCK_PERSISTENCE_CREATE_TABLES=true") from None
        _make(client, table)
        return
    if faults := list(_faults(found)):
        raise _unusable(table, f"has another shape: {'; '.join(faults)}")


def _make(client: Any, table: str) -> None:
    names = ("message_id", "place", *_INDEXES.values())
    try:
        client.create_table(
            TableName=table,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
            KeySchema=_keys("message_id"),
            GlobalSecondaryIndexes=[
                {
                    "IndexName": index,
                    "KeySchema": _keys(hash_key, "place"),
                    "Projection": {"ProjectionType": "KEYS_ONLY"},
                }
                for index, hash_key in _INDEXES.items()
            ],
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceInUseException":  # another process makes it
            raise
    try:
        client.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1, "MaxAttempts": 120})
    except WaiterError as error:
        raise _unusable(table, f"does not become active: {error}") from error
    client.update_time_to_live(
        TableName=table, TimeToLiveSpecification={"Enabled": True, "AttributeName": _TTL_ATTRIBUTE}
    )


def _keys(hash_key: str, range_key: str | None = None) -> list[dict[str, str]]:
    keys = [{"AttributeName": hash_key, "KeyType": "HASH"}]
    return [*keys, {"AttributeName": range_key, "KeyType": "RANGE"}] if range_key else keys


def _faults(found: Mapping[str, Any]) -> Sequence[str]:
    faults = [] if found["KeySchema"] == _keys("message_id") else ["its key is not message_id alone"]
    indexes = {index["IndexName"]: index["KeySchema"] for index in found.get("GlobalSecondaryIndexes", ())}
    for name, hash_key in _INDEXES.items():
        if indexes.get(name) != _keys(hash_key, "place"):
            faults.append(f"the index {name} ({hash_key}, place) is missing or different")
    return faults


def _unusable(table: str, what: str) -> FailedPreconditionError:
    return FailedPreconditionError(
        f"the DynamoDB table {table} {what}",
        reason="ERROR_REASON_DEPENDENCY_UNAVAILABLE",
        metadata={"dependency": "dynamodb"},
    )
