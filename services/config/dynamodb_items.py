"""Parameters as items of one DynamoDB table, keyed by `pk` and `sk`, and the table itself.

    pk                          sk            what
    store                       store         revision, floor, standard and advanced: how many parameters of each tier
    event                       revision      what happened, as long as watchers can resume over it
    current                     name          the newest version, with labels, generation, stamp, notice_at, due_at
    version#<name>#<generation> version       a kept version; a generation is the revision that created the parameter
    due                         time#name     when something is to be done about a parameter

`doc` is a parameter without its value as JSON, `value` or `envelope` its value. Numbers in keys have leading zeros.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from botocore.exceptions import ClientError

from services.config.parameter import (
    Deletion,
    MetadataChange,
    Notice,
    Parameter,
    ParameterEvent,
    ParameterType,
    Sealed,
    Tier,
)
from services.runtime.errors import FailedPreconditionError

Item: TypeAlias = dict[str, Any]

STORE_KEY: Item = {"pk": {"S": "store"}, "sk": {"S": "store"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Current:
    """The item of a parameter: its newest version and what belongs to all of them; `stamp` counts its changes."""

    parameter: Parameter
    generation: int
    stamp: int
    labels: Mapping[str, int] = field(default_factory=dict)
    notice_at: float | None = None

    @property
    def due_at(self) -> float | None:
        """When something is to be done about it."""
        dues = (self.notice_at, self.parameter.expires_at)
        return min((due for due in dues if due is not None), default=None)

    def labels_of(self, version: int) -> tuple[str, ...]:
        """The labels that a version carries."""
        return tuple(sorted(label for label, labelled in self.labels.items() if labelled == version))


def text(value: str) -> Item:
    return {"S": value}


def number(value: float) -> Item:
    return {"N": repr(value)}


def event_key(revision: int) -> Item:
    return {"pk": text("event"), "sk": text(f"{revision:016}")}


def current_key(name: str) -> Item:
    return {"pk": text("current"), "sk": text(name)}


def version_partition(name: str, generation: int) -> str:
    return f"version#{name}#{generation}"


def version_key(name: str, generation: int, version: int) -> Item:
    return {"pk": text(version_partition(name, generation)), "sk": text(f"{version:012}")}


def due_key(name: str, due_at: float) -> Item:
    return {"pk": text("due"), "sk": text(f"{due_at:020.6f}#{name}")}


def parameter_item(parameter: Parameter) -> Item:
    """A version without its labels."""
    value = parameter.value
    doc = {
        "name": parameter.name,
        "type": parameter.type.value,
        "version": parameter.version,
        "revision": parameter.revision,
        "modified_at": parameter.modified_at,
        "description": parameter.description,
        "allowed_pattern": parameter.allowed_pattern,
        "data_type": parameter.data_type,
        "expires_at": parameter.expires_at,
        "tags": dict(parameter.tags),
        "json_schema": parameter.json_schema,
        "tier": parameter.tier.value,
        "policies": parameter.policies,
        "key_id": parameter.key_id,
        "modified_by": parameter.modified_by,
    }
    item: Item = {"doc": text(json.dumps(doc)), "name": text(parameter.name), "revision": number(parameter.revision)}
    return {**item, "envelope": {"B": value.envelope}} if isinstance(value, Sealed) else {**item, "value": text(value)}


def parameter_of(item: Item, labels: tuple[str, ...] = ()) -> Parameter:
    """The version in an item."""
    doc = json.loads(item["doc"]["S"])
    value = Sealed(bytes(item["envelope"]["B"])) if "envelope" in item else item["value"]["S"]
    known = {**doc, "type": ParameterType(doc["type"]), "tier": Tier(doc["tier"])}
    return Parameter(value=value, labels=labels, **known)


def current_item(current: Current) -> Item:
    item = {
        **current_key(current.parameter.name),
        **parameter_item(current.parameter),
        "labels": {"M": {label: number(version) for label, version in current.labels.items()}},
        "generation": number(current.generation),
        "stamp": number(current.stamp),
    }
    return item if current.notice_at is None else {**item, "notice_at": number(current.notice_at)}


def current_of(item: Item | None) -> Current | None:
    if not item:
        return None
    labels = {label: int(version["N"]) for label, version in item["labels"]["M"].items()}
    parameter = parameter_of(item)
    carried = tuple(sorted(label for label, version in labels.items() if version == parameter.version))
    return Current(
        parameter=parameter_of(item, carried),
        generation=int(item["generation"]["N"]),
        stamp=int(item["stamp"]["N"]),
        labels=labels,
        notice_at=float(item["notice_at"]["N"]) if "notice_at" in item else None,
    )


def event_item(event: ParameterEvent) -> Item:
    key = {**event_key(event.revision), "name": text(event.name), "revision": number(event.revision)}
    match event:
        case Parameter():
            return {**key, **parameter_item(event)}
        case Notice():
            return {**key, "notice": text(event.policy_type), "due_at": number(event.due_at)}
        case MetadataChange():
            metadata = {"labels": dict(event.labels), "tags": dict(event.tags)}
            return {**key, "metadata": text(json.dumps(metadata))}
        case Deletion():
            return key


def event_of(item: Item) -> ParameterEvent:
    if "doc" in item:
        return parameter_of(item)
    name, revision = item["name"]["S"], int(item["revision"]["N"])
    if "notice" in item:
        return Notice(name=name, revision=revision, policy_type=item["notice"]["S"], due_at=float(item["due_at"]["N"]))
    if "metadata" in item:
        metadata = json.loads(item["metadata"]["S"])
        return MetadataChange(name=name, revision=revision, labels=metadata["labels"], tags=metadata["tags"])
    return Deletion(name=name, revision=revision)


def ensure_table(client: Any, table: str, *, create: bool) -> None:
    """Checks the table and its first item; makes them where `create` is true. Blocks.

    Raises:
        FailedPreconditionError: it is not there, or has another shape.
    """
    try:
        found = client.describe_table(TableName=table)["Table"]["KeySchema"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        if not create:
            raise _unusable(table, "does not exist: make it, or set PENSTOCK_CONFIG_CREATE_TABLE=true") from None
        found = _make(client, table)
    if found != _KEYS:
        raise _unusable(table, "has another key than pk and sk: choose another one with PENSTOCK_CONFIG_DYNAMODB_TABLE")
    zero = {name: number(0) for name in ("revision", "floor", "standard", "advanced")}
    try:
        client.put_item(TableName=table, Item={**STORE_KEY, **zero}, ConditionExpression="attribute_not_exists(pk)")
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":  # it is there
            raise


_KEYS = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]


def _make(client: Any, table: str) -> list[dict[str, str]]:
    attributes = [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")]
    try:
        client.create_table(
            TableName=table, BillingMode="PAY_PER_REQUEST", AttributeDefinitions=attributes, KeySchema=_KEYS
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceInUseException":  # another replica makes it
            raise
    client.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1, "MaxAttempts": 120})
    return _KEYS


def _unusable(table: str, fault: str) -> FailedPreconditionError:
    return FailedPreconditionError(
        f"DynamoDB table {table} {fault}",
        reason="ERROR_REASON_DEPENDENCY_UNAVAILABLE",
        metadata={"dependency": "dynamodb"},
    )
