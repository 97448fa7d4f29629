"""A second, deliberately simple reading of the language: raw policy, raw message, no index, no shared code.

Structural instead of flattened: keys below an array of objects are satisfied within one element because the element is
walked into once for all of them.
"""

import ipaddress
import re
from typing import Any

Json = Any


def accepts(policy: dict[str, Json], message: dict[str, Json], dialect: str) -> bool:
    """Whether a body satisfies a valid policy without dotted names.

    Behind a `/` the dialect may name how anything-but reads arrays: `none-listed` or `one-unlisted`.
    """
    return any(_holds(branch, message, dialect) for branch in _branches(policy))


def _branches(policy: dict[str, Json]) -> list[dict[str, Json]]:
    """The policy as trees without `$or`, merged so that keys of one object are walked together."""
    trees: list[dict[str, Json]] = [{}]
    for key, value in policy.items():
        if key == "$or":
            options = [branch for alternative in value for branch in _branches(alternative)]
        elif isinstance(value, dict):
            options = [{key: branch} for branch in _branches(value)]
        else:
            options = [{key: value}]
        trees = [_merged(tree, option) for tree in trees for option in options]
    return trees


def _merged(left: dict[str, Json], right: dict[str, Json]) -> dict[str, Json]:
    merged = dict(left)
    for key, value in right.items():
        merged[key] = _merged(merged[key], value) if key in merged else value
    return merged


def _holds(tree: dict[str, Json], element: Json, dialect: str) -> bool:
    return all(_key_holds(key, wanted, element, dialect) for key, wanted in tree.items())


def _key_holds(key: str, wanted: Json, element: Json, dialect: str) -> bool:
    present = isinstance(element, dict) and key in element
    value = element[key] if present and isinstance(element, dict) else None
    if isinstance(wanted, dict):
        return _below(wanted, value if present else {}, dialect)
    if not present:
        return {"exists": False} in wanted
    groups = list(_groups(value))
    if not any(groups):
        return {"exists": False} in wanted
    return any(_one_of(wanted, group, dialect) for group in groups if group)


def _below(tree: dict[str, Json], value: Json, dialect: str) -> bool:
    if isinstance(value, list):
        # An absent key is absent from the whole message; that needs no element to be chosen for it.
        absent, rest = _split_absent(tree, value)
        if absent is None:
            return False
        return not rest or any(_below(rest, item, dialect) for item in value)
    return _holds(tree, value, dialect)


def _split_absent(tree: dict[str, Json], value: Json) -> tuple[bool | None, dict[str, Json]]:
    """Presence is settled for the whole array: None when a key that nothing below has must be there."""
    rest: dict[str, Json] = {}
    for key, wanted in tree.items():
        if isinstance(wanted, dict):
            below, kept = _split_absent(wanted, list(_members(value, key)))
            if below is None:
                return None, {}
            if kept:
                rest[key] = kept
        elif any(_any_value(member) for member in _members(value, key)):
            rest[key] = [condition for condition in wanted if condition != {"exists": False}]
        elif {"exists": False} not in wanted:
            return None, {}
    return True, rest


def _members(value: Json, key: str) -> list[Json]:
    if isinstance(value, list):
        return [found for item in value for found in _members(item, key)]
    return [value[key]] if isinstance(value, dict) and key in value else []


def _any_value(value: Json) -> bool:
    return any(map(_any_value, value)) if isinstance(value, list) else not isinstance(value, dict)


def _groups(value: Json) -> list[list[Json]]:
    """The values that are judged together: an array of scalars as one, an array with containers element by element."""
    if isinstance(value, dict):
        return []
    if not isinstance(value, list):
        return [[value]]
    if any(isinstance(item, list | dict) for item in value):
        return [group for item in value for group in _groups(item)]
    return [value]


def _one_of(conditions: list[Json], values: list[Json], dialect: str) -> bool:
    return any(_accepts(condition, values, dialect) for condition in conditions)


def _accepts(condition: Json, values: list[Json], dialect: str) -> bool:
    if isinstance(condition, dict) and "anything-but" in condition:
        name, _, mode = dialect.partition("/")
        judge = any if (mode or ("one-unlisted" if name == "eventbridge" else "none-listed")) == "one-unlisted" else all
        return judge(not _forbidden(condition["anything-but"], value) for value in values)
    return any(_matches(condition, value, dialect) for value in values)


def _forbidden(operand: Json, value: Json) -> bool:
    if isinstance(operand, dict):
        ((name, texts),) = operand.items()
        return any(_matches({name: text}, value, "") for text in (texts if isinstance(texts, list) else [texts]))
    return any(_same(listed, value) for listed in (operand if isinstance(operand, list) else [operand]))


def _same(left: Json, right: Json) -> bool:
    return _kind(left) == _kind(right) and left == right


def _kind(value: Json) -> str:
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def _matches(condition: Json, value: Json, dialect: str) -> bool:  # noqa: PLR0911 - one line per operator
    if not isinstance(condition, dict):
        return _same(condition, value)
    ((name, operand),) = condition.items()
    if name == "exists":
        return bool(operand) and (dialect.startswith("eventbridge") or value not in (None, ""))
    if name == "numeric":
        return _kind(value) == "number" and all(
            _compare(operand[place], value, operand[place + 1]) for place in range(0, len(operand), 2)
        )
    if not isinstance(value, str):
        return False
    if name == "cidr":
        try:
            return ipaddress.ip_address(value) in ipaddress.ip_network(operand, strict=False)
        except ValueError:
            return False
    if isinstance(operand, dict):
        operand, value = operand["equals-ignore-case"].lower(), value.lower()
    if name == "wildcard":
        pattern = re.sub(
            r"\\(.)|(\*)|(.)", lambda m: ".*" if m[2] else re.escape(m[1] or m[3]), operand, flags=re.DOTALL
        )
        return re.fullmatch(pattern, value, re.DOTALL) is not None
    tests: dict[str, bool] = {
        "prefix": value.startswith(operand),
        "suffix": value.endswith(operand),
        "equals-ignore-case": value.lower() == operand.lower(),
    }
    return tests[name]


def _compare(operator: str, left: Json, right: Json) -> bool:
    tests: dict[str, bool] = {
        "=": left == right,
        "<": left < right,
        "<=": left <= right,
        ">": left > right,
        ">=": left >= right,
    }
    return tests[operator]
