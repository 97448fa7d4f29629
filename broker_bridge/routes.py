"""Routes: from the parameter `/penstock/routes/<name>` to a checked value, with every fault it has.

The parameter holds the JSON form of `penstock.bridge.v1.Route`; names in snake_case and in lowerCamelCase are accepted.
A route applies as a whole or not at all.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from google.protobuf import json_format
from penstock.bridge.v1 import route_pb2
from penstock.filtering.v1 import message_pb2

from broker_bridge.circuit import CircuitSettings
from broker_bridge.message import Message
from broker_bridge.parcel import AttributeKind
from broker_bridge.property_types import PropertyType
from broker_bridge.protobuf_types import is_known, known_types
from broker_bridge.retry_policy import RetryPolicy
from broker_bridge.retry_settings import check_retry, retry_policy, seconds
from broker_bridge.source import dead_letter_queue, fault_of_source, is_topic, is_wildcard
from broker_bridge.target_specs import TargetError, TargetSpec, parse_target
from services.runtime.errors import FieldViolation, InvalidArgumentError

ROUTES_PATH = "/penstock/routes"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,256}")
_KIBIBYTE = 1024
_MEBIBYTE = 1024 * _KIBIBYTE
_MAX_IN_FLIGHT_BYTES = 4 * 1024 * _MEBIBYTE
_DEFAULT_BATCH_MESSAGES = 100
_MAX_BATCH_BYTES = 6_000_000
_MAX_WINDOW_SECONDS = 300
_MAX_LANES = 64
_MIN_RATE, _MAX_RATE = 0.001, 1e6
_MAX_FAILURES = 1000
_MIN_OPEN_SECONDS, _MAX_OPEN_SECONDS = 0.1, 3600
_DEFAULT_BATCH_BYTES = 4 * _KIBIBYTE * _KIBIBYTE
_ATTRIBUTE_KINDS = {
    message_pb2.ATTRIBUTE_TYPE_STRING: AttributeKind.STRING,
    message_pb2.ATTRIBUTE_TYPE_NUMBER: AttributeKind.NUMBER,
    message_pb2.ATTRIBUTE_TYPE_STRING_ARRAY: AttributeKind.STRING_ARRAY,
    message_pb2.ATTRIBUTE_TYPE_BINARY: AttributeKind.BINARY,
}
_PROPERTY_TYPES = {
    route_pb2.PROPERTY_TYPE_UNSPECIFIED: PropertyType.STRING,
    route_pb2.PROPERTY_TYPE_STRING: PropertyType.STRING,
    route_pb2.PROPERTY_TYPE_BOOLEAN: PropertyType.BOOLEAN,
    route_pb2.PROPERTY_TYPE_INTEGER: PropertyType.INTEGER,
    route_pb2.PROPERTY_TYPE_DOUBLE: PropertyType.DOUBLE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """How much a delivery carries: messages, and bytes of bodies (a larger one goes alone); `window` is in seconds."""

    max_messages: int = _DEFAULT_BATCH_MESSAGES
    max_bytes: int = _DEFAULT_BATCH_BYTES
    window: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A valid route. `version` is that of its parameter. Either `filter_topic` or `targets` is set.

    With `lanes` each of so many subscriptions delivers one message after the other; without, order is not kept.
    `rate_limit` is in messages a second to each target, 0 without limit.
    """

    name: str
    source: str
    selector: str = ""
    filter_topic: str = ""
    targets: tuple[TargetSpec, ...] = ()
    attributes: Mapping[str, AttributeKind] = field(default_factory=lambda: MappingProxyType({}))
    body_format: int = route_pb2.BODY_FORMAT_AUTO
    protobuf_type: str = ""
    batch: Batch = Batch()
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    concurrency: int = 4
    prefetch: int = 1000
    paused: bool = False
    group_property: str = ""
    accept_empty: bool = False
    property_types: Mapping[str, PropertyType] = field(default_factory=lambda: MappingProxyType({}))
    transform_maps: bool = False
    lanes: int = 0
    max_in_flight_bytes: int = 64 * _MEBIBYTE
    rate_limit: float = 0.0
    circuit_breaker: CircuitSettings | None = None
    version: int = 0

    def dead_letter_queue(self, message: Message) -> str:
        """Where the dead letter of a message lies. Messages of a wildcard have one queue for each destination."""
        return dead_letter_queue(message.destination if is_wildcard(self.source) else self.source)


class InvalidRouteError(InvalidArgumentError):
    """A parameter that is no valid route; `violations` lists every fault with the path of its field."""

    default_reason = "ERROR_REASON_INVALID_ROUTE"

    def __init__(self, name: str, violations: Sequence[FieldViolation]) -> None:
        faults = "; ".join(
            f"{fault.field}: {fault.description}" if fault.field else fault.description for fault in violations
        )
        super().__init__(f"route {name} is not valid: {faults}", violations=violations, metadata={"route": name})


def parse_route(name: str, value: str, *, version: int = 0) -> Route:
    """The route that the parameter `name` (its last level) holds.

    Raises:
        InvalidRouteError: with every fault.
    """
    document, unreadable = _parse_json(value)
    faults = [*unreadable, *_without_consequences(_check(name, document), unreadable)]
    targets = []
    for index, target in enumerate(document.targets):
        path = f"targets[{index}]"
        try:
            targets.append(parse_target(target))
        except TargetError as error:
            if path not in {fault.field for fault in unreadable}:
                faults.append(_fault(f"{path}.{error.field}" if error.field else path, str(error)))
        if target.queue.destination and target.queue.destination == document.source:
            faults.append(_fault(f"{path}.queue.destination", "is the source: copies would come back without end"))
    if faults:
        raise InvalidRouteError(name, faults)
    return _route(name, document, tuple(targets), version)


def route_document(route: Route, value: str) -> route_pb2.Route:
    """The stored document of a route that was parsed from `value`, complete with its name."""
    document = route_pb2.Route()
    json_format.Parse(value, document)
    document.name = route.name
    return document


def _parse_json(value: str) -> tuple[route_pb2.Route, list[FieldViolation]]:
    """The document as far as it can be read, and the faults of the fields that cannot."""
    document = route_pb2.Route()
    try:
        fields = json.loads(value)
    except ValueError as error:
        return document, [_fault("", f"the value is not JSON: {error}")]
    except RecursionError:
        return document, [_fault("", "the value is nested too deeply")]
    if not isinstance(fields, dict):
        return document, [_fault("", f"the value is not a JSON object, but {type(fields).__name__}")]
    faults = []
    # One field at a time, each element of a list for itself: protobuf's parser stops at the first fault.
    for path, part in _parts(fields):
        try:
            document.MergeFrom(json_format.ParseDict(part, route_pb2.Route()))
        except (json_format.ParseError, RecursionError, AttributeError) as error:
            faults.append(_fault(path, str(error).partition("\n")[0]))
            if path.startswith("targets["):
                document.targets.add()  # keeps the positions of the others
    return document, faults


def _parts(fields: Mapping[str, object]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, content in fields.items():
        if isinstance(content, list):
            for index, item in enumerate(content):
                yield f"{name}[{index}]", {name: [item]}
        elif isinstance(content, dict) and name in ("attributes", "property_types", "propertyTypes"):
            for key, item in content.items():
                yield f"{name}.{key}", {name: {key: item}}
        else:
            yield name, {name: content}


def _check(name: str, document: route_pb2.Route) -> list[FieldViolation]:
    faults: list[FieldViolation] = []

    def require(holds: object, path: str, description: str) -> None:
        if not holds:
            faults.append(_fault(path, description))

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


def _check_numbers(document: route_pb2.Route, require: Callable[[object, str, str], None]) -> None:
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
        in_flight == 0 or _MEBIBYTE <= in_flight <= _MAX_IN_FLIGHT_BYTES,
        "max_in_flight_bytes",
        f"{in_flight} is not between {_MEBIBYTE} and {_MAX_IN_FLIGHT_BYTES}",
    )
    window = seconds(document.batch.window)
    require(0 <= window <= _MAX_WINDOW_SECONDS, "batch.window", f"{window:g} s is not between 0 and 300 s")


def _check_guards(document: route_pb2.Route, require: Callable[[object, str, str], None]) -> None:
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


def _circuit(breaker: route_pb2.CircuitBreakerSettings) -> CircuitSettings:
    default = CircuitSettings()
    return CircuitSettings(
        failures=breaker.failures or default.failures,
        open_seconds=seconds(breaker.open) if breaker.HasField("open") else default.open_seconds,
    )


def _check_format(document: route_pb2.Route, require: Callable[[object, str, str], None]) -> None:
    known = route_pb2.BodyFormat.values()
    require(document.body_format in known, "body_format", f"{document.body_format} is not a BodyFormat")
    for name, kind in document.attributes.items():
        require(kind == 0 or kind in _ATTRIBUTE_KINDS, f"attributes.{name}", f"{kind} is not an AttributeType")
    for name, declared in document.property_types.items():
        require(declared in _PROPERTY_TYPES, f"property_types.{name}", f"{declared} is not a PropertyType")
    if document.body_format != route_pb2.BODY_FORMAT_PROTOBUF:
        require(not document.protobuf_type, "protobuf_type", "needs body_format BODY_FORMAT_PROTOBUF")
        return
    require(
        is_known(document.protobuf_type),
        "protobuf_type",
        f"{document.protobuf_type!r} is not a message this bridge knows: {', '.join(known_types())}",
    )


def _route(name: str, document: route_pb2.Route, targets: tuple[TargetSpec, ...], version: int) -> Route:
    batch = document.batch
    return Route(
        name=name,
        source=document.source,
        selector=document.selector,
        filter_topic=document.filter_topic,
        targets=targets,
        attributes=MappingProxyType(
            {key: _ATTRIBUTE_KINDS.get(kind, AttributeKind.STRING) for key, kind in document.attributes.items()}
        ),
        body_format=document.body_format or route_pb2.BODY_FORMAT_AUTO,
        protobuf_type=document.protobuf_type,
        batch=Batch(
            max_messages=1 if document.lanes else batch.max_messages or _DEFAULT_BATCH_MESSAGES,
            max_bytes=batch.max_bytes or _DEFAULT_BATCH_BYTES,
            window=seconds(batch.window),
        ),
        retry=retry_policy(document.retry),
        concurrency=1 if document.lanes else document.concurrency or 4,
        property_types=MappingProxyType({key: _PROPERTY_TYPES[kind] for key, kind in document.property_types.items()}),
        transform_maps=document.transform_maps,
        lanes=document.lanes,
        max_in_flight_bytes=document.max_in_flight_bytes or 64 * _MEBIBYTE,
        rate_limit=document.rate_limit,
        circuit_breaker=_circuit(document.circuit_breaker) if document.HasField("circuit_breaker") else None,
        prefetch=document.prefetch or 1000,
        paused=document.paused,
        group_property=document.group_property,
        accept_empty=document.accept_empty,
        version=version,
    )


def _fault(path: str, description: str) -> FieldViolation:
    return FieldViolation(field=path, description=description)


def _without_consequences(
    faults: Sequence[FieldViolation], unreadable: Sequence[FieldViolation]
) -> Iterator[FieldViolation]:
    """The faults that do not merely follow from fields that could not be read."""
    if any(not fault.field for fault in unreadable):
        return
    missing = {_top(fault.field) for fault in unreadable}
    if "targets" in missing:
        missing.add("filtertopic")
    yield from (fault for fault in faults if _top(fault.field) not in missing)


def _top(path: str) -> str:
    """The field a path begins with, written alike for snake_case and lowerCamelCase."""
    return re.split(r"[.\[]", path)[0].replace("_", "").lower()
