"""What a transaction of the DynamoDB store writes, by the states of the parameter before and after it. Pure."""

from collections.abc import Mapping, Sequence

from services.config.dynamodb_items import (
    STORE_KEY,
    Current,
    Item,
    current_item,
    current_key,
    due_key,
    event_item,
    number,
    parameter_item,
    version_key,
)
from services.config.parameter import Parameter, ParameterEvent


def transaction(
    revision: int,
    events: Sequence[ParameterEvent],
    before: Current | None,
    after: Current | None,
    more: Sequence[Item] = (),
) -> list[Item]:
    """The writes, all or none, that lead a parameter from one state to another; None is "not there".

    They take the revisions after `revision` for the events, and fail where another write has taken them.
    """
    puts = [{"Put": {"Item": event_item(event), "ConditionExpression": "attribute_not_exists(pk)"}} for event in events]
    return [_store_update(revision, events[-1].revision, _tiers(before, after)), *puts, *_written(before, after), *more]


def put_version(parameter: Parameter, generation: int) -> Item:
    """The write of a kept version."""
    key = version_key(parameter.name, generation, parameter.version)
    return {"Put": {"Item": {**key, **parameter_item(parameter)}}}


def _store_update(revision: int, reached: int, tiers: Mapping[str, int]) -> Item:
    values = {":old": number(revision), ":new": number(reached)}
    values |= {f":{tier}": number(change) for tier, change in tiers.items()}
    added = [f"{tier} :{tier}" for tier in tiers]
    return {
        "Update": {
            "Key": STORE_KEY,
            "UpdateExpression": "SET revision = :new" + (f" ADD {', '.join(added)}" if added else ""),
            "ConditionExpression": "revision = :old",
            "ExpressionAttributeValues": values,
        }
    }


def _written(before: Current | None, after: Current | None) -> list[Item]:
    """The writes of a parameter's own item and of its due item."""
    condition: Item = {"ConditionExpression": "attribute_not_exists(pk)"}
    if before:
        condition = {
            "ConditionExpression": "stamp = :stamp",
            "ExpressionAttributeValues": {":stamp": number(before.stamp)},
        }
    writes: list[Item] = []
    if after:
        writes.append({"Put": {"Item": current_item(after), **condition}})
    elif before:
        writes.append({"Delete": {"Key": current_key(before.parameter.name), **condition}})
    old, new = (one.due_at if one else None for one in (before, after))
    if before and old is not None and old != new:
        writes.append({"Delete": {"Key": due_key(before.parameter.name, old)}})
    if after and new is not None:
        name = after.parameter.name
        item = {**due_key(name, new), "name": {"S": name}, "due_at": number(new)}
        writes.append({"Put": {"Item": item}})
    return writes


def _tiers(before: Current | None, after: Current | None) -> dict[str, int]:
    """How the numbers of parameters by tier change."""
    changes: dict[str, int] = {}
    for current, change in ((before, -1), (after, 1)):
        if current:
            tier = current.parameter.tier.value.lower()
            changes[tier] = changes.get(tier, 0) + change
    return {tier: change for tier, change in changes.items() if change}
