"""The formats a value may be bound to. Values stay text; a data type only refuses what does not have its form."""

import json
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

DEFAULT_DATA_TYPE = "text"

_INTEGER = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


def _is_json(value: str) -> bool:
    try:
        json.loads(value, parse_constant=_refuse_constant, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse_constant(name: str) -> None:
    """Python reads NaN and Infinity, which RFC 8259 does not know."""
    raise ValueError(name)


def _is_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return bool(parts.scheme and parts.netloc) and not any(character.isspace() for character in value)


DATA_TYPES: Mapping[str, Callable[[str], bool]] = MappingProxyType(
    {
        "text": lambda _value: True,
        "integer": lambda value: _INTEGER.fullmatch(value) is not None,
        "float": lambda value: _FLOAT.fullmatch(value) is not None,
        "boolean": lambda value: value in ("true", "false"),
        "json": _is_json,
        "url": _is_url,
    }
)
"""Each data type with the test a value must pass; `boolean` is `true` or `false`, `url` has a scheme and a host."""
