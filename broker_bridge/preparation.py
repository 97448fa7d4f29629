"""What a route makes of a message, before anybody is asked to take it. A message it cannot understand is poison."""

import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal

from penstock.bridge.v1 import route_pb2

from broker_bridge.map_message import map_json
from broker_bridge.message import Message, MessageKind
from broker_bridge.parcel import Attribute, AttributeKind, Parcel
from broker_bridge.property_types import PropertyValue, restore
from broker_bridge.protobuf_types import fault_of
from broker_bridge.routes import Route
from broker_bridge.text_codec import TextError

# The number grammar of JSON (RFC 8259 section 6), which filtering and SQS read too.
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_JAVA_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_HEADERS: Mapping[str, Callable[[Message], str]] = {
    "expires": lambda message: str(message.expires_at),
    "priority": lambda message: str(message.priority),
    "timestamp": lambda message: str(message.sent_at),
    "type": lambda message: message.type,
}
_NO_VALUES: Mapping[str, PropertyValue] = {}
_SHOWN = 80  # characters of a value that an error repeats


class PoisonError(ValueError):
    """A message that is not what its route expects; the message names the field and what was found."""


def prepare(message: Message, route: Route, *, attempt: int) -> Parcel:
    """The message as its route understands it.

    Raises:
        PoisonError: the body or a declared property is not what the route says.
    """
    return Parcel(
        message=message,
        attempt=attempt,
        attributes=_attributes(message, route),
        text=_body(message, route),
        values=_values(message, route) if route.property_types else _NO_VALUES,
        group=message.properties.get(route.group_property, "") if route.group_property else "",
    )


def _attributes(message: Message, route: Route) -> dict[str, Attribute]:
    declared = route.attributes
    attributes = {
        name: _attribute(name, declared[name], value) if name in declared else Attribute(AttributeKind.STRING, value)
        for name, value in message.properties.items()
    }
    if not declared:
        return attributes
    # STOMP shows a property of such a name as the header; nobody but the route can say that it is one.
    for name in _HEADERS.keys() & declared.keys() - attributes.keys():
        if value := _HEADERS[name](message):
            attributes[name] = _attribute(name, declared[name], value)
    return attributes


def _values(message: Message, route: Route) -> dict[str, PropertyValue]:
    values: dict[str, PropertyValue] = {}
    for name, declared in route.property_types.items():
        text = message.properties.get(name)
        if text is None:
            continue
        try:
            values[name] = restore(text, declared)
        except ValueError:
            found = f"{text[:_SHOWN]!r} is no {declared.value}"
            raise PoisonError(f"property {name} is declared {declared.name}, but {found}") from None
    return values


def _attribute(name: str, kind: AttributeKind, value: str) -> Attribute:
    if kind is AttributeKind.NUMBER:
        return Attribute(kind, _number(name, value))
    if kind is AttributeKind.STRING_ARRAY:
        try:
            is_array = isinstance(json.loads(value), list)
        except (ValueError, RecursionError):
            is_array = False
        if not is_array:
            raise PoisonError(f"property {name} is declared STRING_ARRAY, but {value[:_SHOWN]!r} is not a JSON array")
    return Attribute(kind, value)


def _number(name: str, value: str) -> str:
    """The value in JSON's notation; Java also writes `.5`, `+1` and `1.`."""
    if _NUMBER.fullmatch(value):
        return value
    if not _JAVA_NUMBER.fullmatch(value):
        raise PoisonError(f"property {name} is declared NUMBER, but {value[:_SHOWN]!r} is not a number")
    return str(Decimal(value))


def _body(message: Message, route: Route) -> str | None:
    """The body as text, None where it is bytes."""
    if message.transformation_error:
        raise PoisonError(f"the broker cannot write its body: {message.transformation_error}")
    if message.kind is MessageKind.MAP:
        return _map(message, route)
    if message.kind is MessageKind.EMPTY:
        return _nothing(route)
    if route.body_format == route_pb2.BODY_FORMAT_PROTOBUF:
        fault = fault_of(message.body, route.protobuf_type)
        if fault:
            raise PoisonError(fault)
        return None
    if message.kind is MessageKind.BYTES and route.body_format == route_pb2.BODY_FORMAT_AUTO:
        return None
    return _text(message, route)


def _map(message: Message, route: Route) -> str:
    if route.body_format in (route_pb2.BODY_FORMAT_BYTES, route_pb2.BODY_FORMAT_PROTOBUF):
        raise PoisonError("it is a Map message, and the route wants bytes")
    return map_json(message.entries)


def _nothing(route: Route) -> str | None:
    if not route.accept_empty:
        raise PoisonError(
            "the message has no body that STOMP carries: a Map, Object or Stream message, or an empty one "
            "(accept_empty lets those pass)"
        )
    return "" if route.body_format in (route_pb2.BODY_FORMAT_TEXT, route_pb2.BODY_FORMAT_AUTO) else None


def _text(message: Message, route: Route) -> str | None:
    try:
        text = message.text()
    except TextError as error:
        if message.kind is MessageKind.BYTES and route.body_format == route_pb2.BODY_FORMAT_BYTES:
            return None
        raise PoisonError(str(error)) from None
    if route.body_format == route_pb2.BODY_FORMAT_JSON:
        _check_json(text)
    return None if route.body_format == route_pb2.BODY_FORMAT_BYTES else text


def _check_json(text: str) -> None:
    try:
        json.loads(text)
    except ValueError as error:
        raise PoisonError(f"the body is not JSON: {error}") from None
    except RecursionError:
        raise PoisonError("the body is not JSON this bridge reads: nested too deeply") from None
