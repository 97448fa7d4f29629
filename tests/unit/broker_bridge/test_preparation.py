"""What a route makes of a message."""

import json
from dataclasses import replace

import pytest
from penstock.bridge.v1 import route_pb2
from penstock.tracking.v1 import tracking_event_pb2

from broker_bridge.message import MessageKind
from broker_bridge.parcel import Attribute, AttributeKind
from broker_bridge.preparation import PoisonError, prepare
from broker_bridge.property_types import PropertyType
from tests.unit.broker_bridge.builders import message, route

EVENT = tracking_event_pb2.TrackingEvent(program_id="p").SerializeToString()
EVENT_TYPE = tracking_event_pb2.TrackingEvent.DESCRIPTOR.full_name
AUTO, TEXT, JSON = route_pb2.BODY_FORMAT_AUTO, route_pb2.BODY_FORMAT_TEXT, route_pb2.BODY_FORMAT_JSON
BYTES, PROTOBUF = route_pb2.BODY_FORMAT_BYTES, route_pb2.BODY_FORMAT_PROTOBUF


@pytest.mark.parametrize(
    ("body_format", "kind", "body", "text"),
    [
        (AUTO, MessageKind.TEXT, b"hi", "hi"),
        (AUTO, MessageKind.BYTES, b"\xff", None),
        (TEXT, MessageKind.TEXT, b"hi", "hi"),
        (TEXT, MessageKind.BYTES, b"hi", "hi"),
        (JSON, MessageKind.TEXT, b"[1]", "[1]"),
        (JSON, MessageKind.BYTES, b"[1]", "[1]"),
        (BYTES, MessageKind.TEXT, b"hi", None),
        (BYTES, MessageKind.BYTES, b"\xff", None),
        (PROTOBUF, MessageKind.BYTES, EVENT, None),
    ],
)
def test_a_body_is_understood_as_the_route_says(
    body_format: int, kind: MessageKind, body: bytes, text: str | None
) -> None:
    """Text where it is text, otherwise bytes."""
    made = prepare(message(kind=kind, body=body), route(body_format=body_format, protobuf_type=EVENT_TYPE), attempt=2)
    assert made.text == text
    assert made.attempt == 2


@pytest.mark.parametrize(
    ("body_format", "kind", "body", "complaint"),
    [
        (AUTO, MessageKind.TEXT, b"\xff", "not UTF-8"),
        (TEXT, MessageKind.BYTES, b"\xff", "not UTF-8"),
        (BYTES, MessageKind.TEXT, b"\xff", "not UTF-8"),
        (JSON, MessageKind.TEXT, b"{", "not JSON"),
        (JSON, MessageKind.TEXT, b"[" * 100_000, "nested too deeply"),
        (PROTOBUF, MessageKind.BYTES, b"\xff\xff", f"not a {EVENT_TYPE}"),
    ],
)
def test_a_body_that_is_something_else_is_poison(
    body_format: int, kind: MessageKind, body: bytes, complaint: str
) -> None:
    """With a reason that goes into the dead letter."""
    with pytest.raises(PoisonError, match=complaint):
        prepare(message(kind=kind, body=body), route(body_format=body_format, protobuf_type=EVENT_TYPE), attempt=1)


def test_a_message_without_body_is_poison_because_it_may_be_a_map() -> None:
    """Delivered as an empty text, a Map message would be lost."""
    with pytest.raises(PoisonError, match="Map, Object or Stream"):
        prepare(message(kind=MessageKind.EMPTY, body=b""), route(), attempt=1)


def test_a_route_may_accept_messages_without_body() -> None:
    """Where its producers send signals."""
    made = prepare(message(kind=MessageKind.EMPTY, body=b""), route(accept_empty=True), attempt=1)
    assert made.text == ""


@pytest.mark.parametrize(
    ("value", "expected"),
    [("42", "42"), ("-1.5", "-1.5"), ("1.57E4", "1.57E4"), (".5", "0.5"), ("+1", "1"), ("1.", "1"), ("007", "7")],
)
def test_numbers_are_restored_in_json_notation(value: str, expected: str) -> None:
    """STOMP carries every property as text; the route says which are numbers."""
    made = prepare(message(properties={"n": value}), route(attributes={"n": AttributeKind.NUMBER}), attempt=1)
    assert made.attributes["n"] == Attribute(AttributeKind.NUMBER, expected)
    json.loads(made.attributes["n"].value)


@pytest.mark.parametrize("value", ["", "null", "NaN", "Infinity", "twelve", "1_000", "0x10"])
def test_a_declared_number_that_is_none_is_poison(value: str) -> None:
    """It would match no numeric policy, or the wrong one."""
    with pytest.raises(PoisonError, match="property n is declared NUMBER"):
        prepare(message(properties={"n": value}), route(attributes={"n": AttributeKind.NUMBER}), attempt=1)


def test_a_declared_array_must_be_one() -> None:
    """A JSON array as text."""
    declared = route(attributes={"tags": AttributeKind.STRING_ARRAY})
    made = prepare(message(properties={"tags": '["a"]'}), declared, attempt=1)
    assert made.attributes["tags"] == Attribute(AttributeKind.STRING_ARRAY, '["a"]')
    for value in ("a", '{"a": 1}', "[" * 100_000):
        with pytest.raises(PoisonError, match="property tags is declared STRING_ARRAY"):
            prepare(message(properties={"tags": value}), declared, attempt=1)


def test_properties_that_are_not_declared_are_strings() -> None:
    """As they arrive."""
    made = prepare(message(properties={"a": "1"}), route(), attempt=1)
    assert made.attributes == {"a": Attribute(AttributeKind.STRING, "1")}


@pytest.mark.parametrize(
    ("declared", "text", "value"),
    [
        (PropertyType.BOOLEAN, "true", True),
        (PropertyType.BOOLEAN, "false", False),
        (PropertyType.INTEGER, "-9223372036854775808", -(2**63)),
        (PropertyType.DOUBLE, "1.0E10", 1e10),
        (PropertyType.DOUBLE, "-Infinity", float("-inf")),
        (PropertyType.STRING, "42", "42"),
        (PropertyType.STRING, "null", "null"),
        (PropertyType.INTEGER, "null", None),
    ],
)
def test_the_type_of_a_property_is_restored_where_it_is_declared(
    declared: PropertyType, text: str, value: object
) -> None:
    """Null too, which STOMP writes as text; others stay as they are."""
    made = prepare(
        message(properties={"a": text, "b": "1"}), route(property_types={"a": declared, "c": declared}), attempt=1
    )
    assert made.values == {"a": value}


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        (PropertyType.BOOLEAN, "True"),
        (PropertyType.INTEGER, "9223372036854775808"),
        (PropertyType.INTEGER, "1_000"),
        (PropertyType.INTEGER, "1.5"),
        (PropertyType.DOUBLE, "much"),
    ],
)
def test_a_property_that_is_not_of_its_type_is_poison(declared: PropertyType, text: str) -> None:
    """With name, value and type."""
    with pytest.raises(PoisonError, match=f"property a is declared {declared.name}, but '{text}'"):
        prepare(message(properties={"a": text}), route(property_types={"a": declared}), attempt=1)


def test_the_group_comes_from_the_declared_property() -> None:
    """STOMP hides JMSXGroupID."""
    properties = {"customer": "c-7"}
    assert prepare(message(properties=properties), route(group_property="customer"), attempt=1).group == "c-7"
    assert prepare(message(properties=properties), route(), attempt=1).group == ""


def test_a_declared_property_of_the_name_of_a_header_is_read_from_it() -> None:
    """Undeclared, the header is only itself."""
    sent = replace(message(), type="order", priority=7)
    declared = {"type": AttributeKind.STRING, "priority": AttributeKind.NUMBER, "expires": AttributeKind.NUMBER}
    assert prepare(sent, route(attributes=declared), attempt=1).attributes == {
        "type": Attribute(AttributeKind.STRING, "order"),
        "priority": Attribute(AttributeKind.NUMBER, "7"),
        "expires": Attribute(AttributeKind.NUMBER, "0"),
    }
    assert prepare(sent, route(), attempt=1).attributes == {}
