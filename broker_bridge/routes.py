"""Routes: from the parameter `/penstock/routes/<name>` to a checked value, with every fault it has.

The parameter holds the JSON form of `penstock.bridge.v1.Route`; names in snake_case and in lowerCamelCase are accepted.
A route applies as a whole or not at all.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from google.protobuf import json_format
from penstock.bridge.v1 import route_pb2

from broker_bridge.circuit import CircuitSettings
from broker_bridge.message import Message
from broker_bridge.parcel import AttributeKind
from broker_bridge.property_types import PropertyType
from broker_bridge.retry_policy import RetryPolicy
from broker_bridge.retry_settings import retry_policy, seconds
from broker_bridge.route_checks import ATTRIBUTE_KINDS, MEBIBYTE, PROPERTY_TYPES, check_route
from broker_bridge.source import dead_letter_queue, is_wildcard
from broker_bridge.target_specs import TargetError, TargetSpec, parse_target
from services.runtime.errors import FieldViolation, InvalidArgumentError

ROUTES_PATH = "/penstock/routes"
_DEFAULT_BATCH_MESSAGES = 100
_DEFAULT_BATCH_BYTES = 4 * MEBIBYTE


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
    max_in_flight_bytes: int = 64 * MEBIBYTE
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
    faults = [*unreadable, *_without_consequences(check_route(name, document), unreadable)]
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


def _circuit(breaker: route_pb2.CircuitBreakerSettings) -> CircuitSettings:
    default = CircuitSettings()
    return CircuitSettings(
        failures=breaker.failures or default.failures,
        open_seconds=seconds(breaker.open) if breaker.HasField("open") else default.open_seconds,
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
            {key: ATTRIBUTE_KINDS.get(kind, AttributeKind.STRING) for key, kind in document.attributes.items()}
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
        property_types=MappingProxyType({key: PROPERTY_TYPES[kind] for key, kind in document.property_types.items()}),
        transform_maps=document.transform_maps,
        lanes=document.lanes,
        max_in_flight_bytes=document.max_in_flight_bytes or 64 * MEBIBYTE,
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
