"""The formats a value may be bound to. Values stay text; a data type only refuses what does not have its form."""

import base64
import binascii
import ipaddress
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


def _is_jsonc(value: str) -> bool:
    for extras in (_COMMENTS, _LAST_COMMAS):
        value = extras.sub(lambda found: found[0] if found[0].startswith('"') else " ", value)
    return _is_json(value)


def _is_binary(value: str) -> bool:
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _is_address(kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address]) -> Callable[[str], bool]:
    def check(value: str) -> bool:
        try:
            kind(value)
        except ValueError:
            return False
        return True

    return check


def _like(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern, re.ASCII)
    return lambda value: compiled.fullmatch(value) is not None


_HOST = r"(?=.{1,253}\Z)(?!-)[a-zA-Z0-9-]{1,63}(?<!-)(\.(?!-)[a-zA-Z0-9-]{1,63}(?<!-))*"
# A string is taken first, so that what looks like a comment inside one stays.
_STRING = r'"(?:[^"\\]|\\.)*"'
_COMMENTS = re.compile(rf"{_STRING}|//[^\n]*|/\*.*?\*/", re.DOTALL)
_LAST_COMMAS = re.compile(rf"{_STRING}|,(?=\s*[}}\]])", re.DOTALL)

DATA_TYPES: Mapping[str, Callable[[str], bool]] = MappingProxyType(
    {
        "text": lambda _value: True,
        "integer": lambda value: _INTEGER.fullmatch(value) is not None,
        "float": lambda value: _FLOAT.fullmatch(value) is not None,
        "boolean": lambda value: value in ("true", "false"),
        "binary": _is_binary,
        "json": _is_json,
        "jsonc": _is_jsonc,
        "url": _is_url,
        "hostname": _like(_HOST),
        "email": _like(rf"[a-zA-Z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_HOST}"),
        "ipv4-address": _is_address(ipaddress.IPv4Address),
        "ipv6-address": _is_address(ipaddress.IPv6Address),
        "aws:region": _like(r"[a-z]{2}(-[a-z]+)+-[0-9]{1,2}"),
        "aws:account:id": _like(r"[0-9]{12}"),
        "aws:ec2:image": _like(r"ami-([0-9a-f]{8}|[0-9a-f]{17})"),
        "aws:ssm:integration": lambda _value: True,
    }
)
"""Each data type with the test a value must pass. `boolean` is `true` or `false`, `binary` base64, `url` has a scheme
and a host. `aws:ec2:image` is checked by its form: whether the image exists only EC2 knows."""

ADVANCED_DATA_TYPES = frozenset({"url", "json", "jsonc"})
"""Those that only the Advanced tier has."""
