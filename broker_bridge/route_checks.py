"""What a route may say: every field checked by itself and with the others."""

import re

from penstock.bridge.v1 import route_pb2
from penstock.filtering.v1 import message_pb2

from broker_bridge.parcel import AttributeKind
from broker_bridge.property_types import PropertyType
from broker_bridge.protobuf_types import is_known, known_types
from broker_bridge.retry_settings import Require, check_retry, seconds
from broker_bridge.source import fault_of_source, is_topic
from services.runtime.errors import FieldViolation

_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,256}")
_KIBIBYTE = 1024
MEBIBYTE = 1024 * _KIBIBYTE
_MAX_IN_FLIGHT_BYTES = 4 * 1024 * MEBIBYTE
_MAX_BATCH_BYTES = 6_000_000
_MAX_WINDOW_SECONDS = 300
_MAX_LANES = 64
_MIN_RATE, _MAX_RATE = 0.001, 1e6
_MAX_FAILURES = 1000
_MIN_OPEN_SECONDS, _MAX_OPEN_SECONDS = 0.1, 3600
ATTRIBUTE_KINDS = {
    message_pb2.ATTRIBUTE_TYPE_STRING: AttributeKind.STRING,
    message_pb2.ATTRIBUTE_TYPE_NUMBER: AttributeKind.NUMBER,
    message_pb2.ATTRIBUTE_TYPE_STRING_ARRAY: AttributeKind.STRING_ARRAY,
    message_pb2.ATTRIBUTE_TYPE_BINARY: AttributeKind.BINARY,
}
PROPERTY_TYPES = {
    route_pb2.PROPERTY_TYPE_UNSPECIFIED: PropertyType.STRING,
    route_pb2.PROPERTY_TYPE_STRING: PropertyType.STRING,
    route_pb2.PROPERTY_TYPE_BOOLEAN: PropertyType.BOOLEAN,
    route_pb2.PROPERTY_TYPE_INTEGER: PropertyType.INTEGER,
    route_pb2.PROPERTY_TYPE_DOUBLE: PropertyType.DOUBLE,
}


def check_route(name: str, document: route_pb2.Route) -> list[FieldViolation]:
    """Every fault of a document that could be read, its targets aside."""
    faults: list[FieldViolation] = []

    def require(holds: object, path: str, description: str) -> None:
        if not holds:
            faults.append(FieldViolation(field=path, description=description))

    require(_NAME.fullmatch(name), "name", f"{name!r} is not 1 to 128 letters, digits, - and _")
    require(document.name in ("", name), "name", f"{document.name!r} is not the last level of the parameter, {name!r}")
    if fault := fault_of_source(document.source):
        require(False, "source", fault)
    require(
        not (document.lanes and is_topic(document.source)), "lanes", "each lane of a topic would receive every message"
    )
    if document.filter_topic:
        require(not document.targets, "targets", "set either filter_topic or targets, not both")
        require(
            _TOPIC.fullmatch(document.filter_topic),
            "filter_topic",
            f"{document.filter_topic!r} is not 1 to 256 letters, digits, - and _",
        )
    else:
        require(document.targets, "filter_topic", "set filter_topic, or at least one of targets")
    _check_numbers(document, require)
    check_retry(document, require)
    _check_guards(document, require)
    _check_format(document, require)
    require("\x00" not in document.selector, "selector", "a selector cannot hold U+0000")
    return faults


def _check_numbers(document: route_pb2.Route, require: Require) -> None:
    for path, value, highest in (
        ("concurrency", document.concurrency, 256),
        ("prefetch", document.prefetch, 10_000),
        ("lanes", document.lanes, _MAX_LANES),
        ("batch.max_messages", document.batch.max_messages, 1000),
    ):
        require(0 <= value <= highest, path, f"{value} is not between 1 and {highest} (0 means the default)")
    for path, value in (("concurrency", document.concurrency), ("batch.max_messages", document.batch.max_messages)):
        require(not document.lanes or value <= 1, path, f"{value} would deliver messages of a lane side by side")
    size = document.batch.max_bytes
    require(
        size == 0 or _KIBIBYTE <= size <= _MAX_BATCH_BYTES, "batch.max_bytes", f"{size} is not between 1024 and 6000000"
    )
    in_flight = document.max_in_flight_bytes
    require(
        in_flight == 0 or MEBIBYTE <= in_flight <= _MAX_IN_FLIGHT_BYTES,
        "max_in_flight_bytes",
        f"{in_flight} is not between {MEBIBYTE} and {_MAX_IN_FLIGHT_BYTES}",
    )
    window = seconds(document.batch.window)
    require(0 <= window <= _MAX_WINDOW_SECONDS, "batch.window", f"{window:g} s is not between 0 and 300 s")


def _check_guards(document: route_pb2.Route, require: Require) -> None:
    rate, breaker = document.rate_limit, document.circuit_breaker
    require(
        rate == 0 or _MIN_RATE <= rate <= _MAX_RATE,
        "rate_limit",
        f"{rate:g} is not between {_MIN_RATE:g} and {_MAX_RATE:.0f} messages a second (0 means without limit)",
    )
    require(
        0 <= breaker.failures <= _MAX_FAILURES,
        "circuit_breaker.failures",
        f"{breaker.failures} is not between 1 and {_MAX_FAILURES} (0 means the default)",
    )
    open_seconds = seconds(breaker.open)
    require(
        not breaker.HasField("open") or _MIN_OPEN_SECONDS <= open_seconds <= _MAX_OPEN_SECONDS,
        "circuit_breaker.open",
        f"{open_seconds:g} s is not between {_MIN_OPEN_SECONDS:g} and {_MAX_OPEN_SECONDS} s",
    )


def _check_format(document: route_pb2.Route, require: Require) -> None:
    known = route_pb2.BodyFormat.values()
    require(document.body_format in known, "body_format", f"{document.body_format} is not a BodyFormat")
    for name, kind in document.attributes.items():
        require(kind == 0 or kind in ATTRIBUTE_KINDS, f"attributes.{name}", f"{kind} is not an AttributeType")
    for name, declared in document.property_types.items():
        require(declared in PROPERTY_TYPES, f"property_types.{name}", f"{declared} is not a PropertyType")
    if document.body_format != route_pb2.BODY_FORMAT_PROTOBUF:
        require(not document.protobuf_type, "protobuf_type", "needs body_format BODY_FORMAT_PROTOBUF")
        return
    require(
        is_known(document.protobuf_type),
        "protobuf_type",
        f"{document.protobuf_type!r} is not a message this bridge knows: {', '.join(known_types())}",
    )
