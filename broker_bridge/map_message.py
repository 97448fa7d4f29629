"""Map messages that the broker writes as JSON (`transformation:jms-map-json`), with the types of their entries.

The JSON is that of XStream: `{"map": {"entry": [{"string": "count", "int": 1}, {"string": ["name", "value"]}]}}`, an
object in place of the list for one entry, and `""` for a map without any. Strings that look like numbers or booleans
lose their quotes, but not their digits.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from broker_bridge.message import MapValue, Message, MessageKind

TRANSFORMATION = "jms-map-json"
_BEGIN = b'{"map":'


class MapError(ValueError):
    """JSON that is no map; the message says what was found."""


def with_map(message: Message) -> Message:
    """The message with the entries of its map, where it is one. Raises MapError.

    The broker marks text messages with the transformation too: one whose text begins like such JSON is taken for a map.
    """
    if message.kind is not MessageKind.TEXT or not message.body.startswith(_BEGIN):
        return message
    return replace(message, kind=MessageKind.MAP, entries=read_map(message.body))


def read_transformed(message: Message) -> Message:
    """The message as a route sees it that has maps transformed; one that cannot be read tells why."""
    try:
        return with_map(message)
    except MapError as error:
        return replace(message, transformation_error=str(error))


def read_map(body: bytes) -> dict[str, MapValue]:
    """The entries of a map. Raises MapError."""
    try:
        # Numbers as they are written: 1.0 and -0 have more to tell than Python keeps.
        document = json.loads(body, parse_int=str, parse_float=str)
        return dict(_entry(entry) for entry in _entries(document["map"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise MapError(f"the broker's JSON is not that of a Map message: {error}") from None


def map_json(entries: Mapping[str, MapValue]) -> str:
    """A map as plain JSON, `{"count": 1}`; byte arrays in base64, numbers that JSON does not know as text."""
    return json.dumps({name: _plain(value) for name, value in entries.items()}, ensure_ascii=False)


def _plain(value: MapValue) -> object:
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, float) and not abs(value) < float("inf"):
        return {"inf": "Infinity", "-inf": "-Infinity"}.get(str(value), "NaN")
    return value


def _entries(content: Any) -> list[dict[str, Any]]:
    if not content:
        return []
    entries = content["entry"]
    return entries if isinstance(entries, list) else [entries]


def _entry(entry: dict[str, Any]) -> tuple[str, MapValue]:
    """A key beside its value; a string beside a string shares a list with it."""
    parts = list(_parts(entry))
    if len(parts) != 2 or parts[0][0] != "string":  # noqa: PLR2004 - key and value
        raise MapError(f"an entry with {', '.join(kind for kind, _ in parts)}")
    (_, name), (kind, value) = parts
    if kind not in _READERS:
        raise MapError(f"entry {_text(name)!r} is a {kind}, which JMS does not know in a map")
    return _text(name), _READERS[kind](value)


def _parts(entry: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for kind, value in entry.items():
        for single in value if isinstance(value, list) else [value]:
            yield kind, single


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        raise MapError(f"{value!r} is no text")
    return value


def _boolean(value: Any) -> bool:
    return _text(value) == "true"


_READERS: Mapping[str, Callable[[Any], MapValue]] = {
    "string": _text,
    "char": _text,
    "boolean": _boolean,
    "byte": int,
    "short": int,
    "int": int,
    "long": int,
    "float": float,
    "double": float,
    "byte-array": lambda value: b64decode(_text(value), validate=False),
    "null": lambda _value: None,
}
