"""The types of JMS properties, restored from the text that STOMP makes of them.

STOMP writes `42`, `"42"` and the Long 42 alike, and null as `null`. Only the route can say what a property was.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import TypeAlias

PropertyValue: TypeAlias = str | int | float | bool | None
"""None is JMS null."""

_BOOLEANS = {"true": True, "false": False}
_LONGEST = 2**63


class PropertyType(Enum):
    """What a property was before it was text."""

    STRING = "String"
    BOOLEAN = "Boolean"
    INTEGER = "Byte, Short, Integer or Long"
    DOUBLE = "Float or Double"


def restore(value: str, declared: PropertyType) -> PropertyValue:
    """The value of a property. Raises ValueError when it is not of its type."""
    if declared is PropertyType.STRING:
        return value
    if not value.isascii() or "_" in value or " " in value:  # Python reads numbers that Java does not write
        raise ValueError(value)
    return None if value == "null" else _READERS[declared](value)


def _boolean(value: str) -> bool:
    if value not in _BOOLEANS:
        raise ValueError(value)
    return _BOOLEANS[value]


def _integer(value: str) -> int:
    number = int(value)
    if not -_LONGEST <= number < _LONGEST:
        raise ValueError(value)
    return number


_READERS: Mapping[PropertyType, Callable[[str], PropertyValue]] = {
    PropertyType.BOOLEAN: _boolean,
    PropertyType.INTEGER: _integer,
    PropertyType.DOUBLE: float,  # also reads Java's NaN and Infinity
}
