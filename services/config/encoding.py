"""Between the messages of `penstock.config.v1` and the domain."""

from collections.abc import Iterable, Sequence

from penstock.config.v1 import config_service_pb2, parameter_pb2

from services.config.filters import EQUALS, Filter, checked_filters
from services.config.parameter import (
    Deletion,
    MetadataChange,
    Notice,
    Parameter,
    ParameterEvent,
    ParameterType,
    Tier,
)
from services.config.update import ParameterUpdate
from services.config.watch import Bookmark
from services.runtime.errors import invalid_field

_TYPES: dict[parameter_pb2.ParameterType, ParameterType] = {
    parameter_pb2.PARAMETER_TYPE_STRING: ParameterType.STRING,
    parameter_pb2.PARAMETER_TYPE_STRING_LIST: ParameterType.STRING_LIST,
    parameter_pb2.PARAMETER_TYPE_SECURE_STRING: ParameterType.SECURE_STRING,
}
_TIERS: dict[parameter_pb2.ParameterTier, Tier] = {
    parameter_pb2.PARAMETER_TIER_STANDARD: Tier.STANDARD,
    parameter_pb2.PARAMETER_TIER_ADVANCED: Tier.ADVANCED,
}
_TIER_NUMBERS = {tier: number for number, tier in _TIERS.items()}
_NANOSECONDS = 1_000_000_000
_NUMBERS = {kind: number for number, kind in _TYPES.items()}


def update_of(request: config_service_pb2.PutParameterRequest) -> ParameterUpdate:
    """The update that a request asks for.

    Raises:
        InvalidArgumentError: an unknown type or tier, or a time that is none.
    """
    if request.tier and request.tier not in _TIERS:
        raise invalid_field("tier", f"{request.tier} is not a ParameterTier")
    if request.type and request.type not in _TYPES:
        raise invalid_field("type", f"{request.type} is not a ParameterType")
    if not 0 <= request.expires_at.nanos < _NANOSECONDS:
        raise invalid_field("expires_at", f"nanos = {request.expires_at.nanos} is outside 0 to 999999999")
    return ParameterUpdate(
        name=request.name,
        value=request.value,
        type=_TYPES.get(request.type),
        expected_version=request.expected_version if request.HasField("expected_version") else None,
        description=request.description if request.HasField("description") else None,
        allowed_pattern=request.allowed_pattern if request.HasField("allowed_pattern") else None,
        data_type=request.data_type if request.HasField("data_type") else None,
        expires_at=request.expires_at.seconds + request.expires_at.nanos / 1e9
        if request.HasField("expires_at")
        else None,
        tags=dict(request.tags),
        json_schema=request.json_schema if request.HasField("json_schema") else None,
        tier=_TIERS.get(request.tier),
        policies=request.policies if request.HasField("policies") else None,
    )


def filters_of(filters: Iterable[config_service_pb2.ParameterFilter]) -> Sequence[Filter]:
    """The filters of a request; raises what `checked_filters` raises."""
    return checked_filters(
        [Filter(key=one.key, option=one.option or EQUALS, values=tuple(one.values)) for one in filters]
    )


def tier_number(tier: Tier) -> parameter_pb2.ParameterTier:
    """A tier as a message has it."""
    return _TIER_NUMBERS[tier]


def message_of(parameter: Parameter, *, with_value: bool = True) -> parameter_pb2.Parameter:
    """A parameter as a message; a sealed value is left empty."""
    message = parameter_pb2.Parameter(
        name=parameter.name,
        type=_NUMBERS[parameter.type],
        value=parameter.value if with_value and isinstance(parameter.value, str) else "",
        version=parameter.version,
        revision=parameter.revision,
        labels=parameter.labels,
        description=parameter.description,
        allowed_pattern=parameter.allowed_pattern,
        data_type=parameter.data_type,
        tags=parameter.tags,
        json_schema=parameter.json_schema,
        tier=_TIER_NUMBERS[parameter.tier],
        policies=parameter.policies,
        modified_by=parameter.modified_by,
    )
    message.modified_at.FromNanoseconds(int(parameter.modified_at * 1e9))
    if parameter.expires_at is not None:
        message.expires_at.FromNanoseconds(int(parameter.expires_at * 1e9))
    return message


def watch_message_of(event: ParameterEvent | Bookmark) -> config_service_pb2.WatchParametersResponse:
    """An event or bookmark as a message of a watch."""
    match event:
        case Parameter():
            put = config_service_pb2.ParameterPut(parameter=message_of(event))
            return config_service_pb2.WatchParametersResponse(put=put)
        case Deletion():
            delete = config_service_pb2.ParameterDelete(name=event.name, revision=event.revision)
            return config_service_pb2.WatchParametersResponse(delete=delete)
        case MetadataChange():
            metadata = config_service_pb2.ParameterMetadata(
                name=event.name, revision=event.revision, labels=event.labels, tags=event.tags
            )
            return config_service_pb2.WatchParametersResponse(metadata=metadata)
        case Notice():
            notice = config_service_pb2.ParameterNotice(
                name=event.name, revision=event.revision, policy_type=event.policy_type
            )
            notice.due_at.FromNanoseconds(int(event.due_at * 1e9))
            return config_service_pb2.WatchParametersResponse(notice=notice)
        case Bookmark():
            bookmark = config_service_pb2.WatchBookmark(revision=event.revision)
            return config_service_pb2.WatchParametersResponse(bookmark=bookmark)


class SharedEvents:
    """Serialises an event once for all watchers that are told of it: the newest ones are remembered.

    By identity: an event that a caller sees in a form of its own, a decrypted secret, is another object.
    """

    _REMEMBERED = 8

    def __init__(self) -> None:
        self._newest: dict[int, tuple[ParameterEvent | Bookmark, bytes]] = {}

    def bytes_of(self, event: ParameterEvent | Bookmark) -> bytes:
        """The message of a watch, as bytes."""
        if (known := self._newest.get(id(event))) is not None:
            return known[1]
        data = watch_message_of(event).SerializeToString()
        if not isinstance(event, Bookmark):
            self._newest[id(event)] = (event, data)  # held, so that no other object can have its id
            if len(self._newest) > self._REMEMBERED:
                del self._newest[next(iter(self._newest))]
        return data
