"""The scalars of policies and messages. Values of different JSON types are never equal: `1`, `true`, `"1"` differ."""

import re
from decimal import Decimal, InvalidOperation
from enum import Enum


class Constant(Enum):
    """The JSON literals. An enumeration, because Python's `True == 1 == Decimal(1)` would share one slot of a table."""

    TRUE = "true"
    FALSE = "false"
    NULL = "null"

    __hash__ = object.__hash__  # that of Enum is Python, for every look into a table


Value = str | Decimal | Constant
"""A scalar: text, an exact decimal number, or a literal. Hashable, and equal only to a value of the same JSON type."""

# Decimal() alone would also take underscores, spaces, NaN, Infinity and digits of other scripts.
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def exact_number(text: str) -> Decimal:
    """The number a text stands for, exactly: `3.015e2` equals `301.500`.

    Raises:
        ValueError: the text is no decimal number, or its exponent exceeds 18 digits.
    """
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a decimal number")
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"the exponent of {text[:40]!r} is too large") from None


def scalar(value: object) -> Value:
    """The value of a scalar as `json.loads(..., parse_int=exact_number, parse_float=exact_number)` yields it."""
    if isinstance(value, str | Decimal):
        return value
    if value is None:
        return Constant.NULL
    return Constant.TRUE if value else Constant.FALSE
