"""Between the messages of `penstock.config.v1` and the domain."""

from penstock.config.v1 import config_service_pb2, parameter_pb2

from services.config.parameter import Deletion, Parameter, ParameterEvent, ParameterType
from services.config.registry import ParameterRegistry
from services.config.update import ParameterUpdate
from services.config.watch import Bookmark
from services.runtime.errors import UnimplementedError, invalid_field

_TYPES: dict[parameter_pb2.ParameterType, ParameterType] = {
    parameter_pb2.PARAMETER_TYPE_STRING: ParameterType.STRING,
    parameter_pb2.PARAMETER_TYPE_STRING_LIST: ParameterType.STRING_LIST,
    parameter_pb2.PARAMETER_TYPE_SECURE_STRING: ParameterType.SECURE_STRING,
}
_NANOSECONDS = 1_000_000_000
_NUMBERS = {kind: number for number, kind in _TYPES.items()}


def update_of(request: config_service_pb2.PutParameterRequest) -> ParameterUpdate:
    """The update that a request asks for.

    Raises:
        InvalidArgumentError: an unknown type, or a time that is none.
        UnimplementedError: a JSON Schema, which this version does not check.
    """
    if request.json_schema:
        raise UnimplementedError(
            "json_schema: values are not checked against a JSON Schema yet; use allowed_pattern or data_type",
            metadata={"method": "PutParameter"},
        )
    if request.dry_run or request.tier or request.HasField("policies"):
        raise UnimplementedError(
            "dry_run, tier and policies are declared but not built yet", metadata={"method": "PutParameter"}
        )
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
    )


def message_of(parameter: Parameter, registry: ParameterRegistry, *, decrypt: bool) -> parameter_pb2.Parameter:
    """A parameter as a message; a secret has its value only when it is to be decrypted."""
    message = parameter_pb2.Parameter(
        name=parameter.name,
        type=_NUMBERS[parameter.type],
        value=registry.reveal(parameter, decrypt=decrypt),
        version=parameter.version,
        revision=parameter.revision,
        labels=parameter.labels,
        description=parameter.description,
        allowed_pattern=parameter.allowed_pattern,
        data_type=parameter.data_type,
        tags=parameter.tags,
    )
    message.modified_at.FromNanoseconds(int(parameter.modified_at * 1e9))
    if parameter.expires_at is not None:
        message.expires_at.FromNanoseconds(int(parameter.expires_at * 1e9))
    return message


def watch_message_of(
    event: ParameterEvent | Bookmark, registry: ParameterRegistry, *, decrypt: bool
) -> config_service_pb2.WatchParametersResponse:
    """An event or bookmark as a message of a watch."""
    match event:
        case Parameter():
            put = config_service_pb2.ParameterPut(parameter=message_of(event, registry, decrypt=decrypt))
            return config_service_pb2.WatchParametersResponse(put=put)
        case Deletion():
            delete = config_service_pb2.ParameterDelete(name=event.name, revision=event.revision)
            return config_service_pb2.WatchParametersResponse(delete=delete)
        case Bookmark():
            bookmark = config_service_pb2.WatchBookmark(revision=event.revision)
            return config_service_pb2.WatchParametersResponse(bookmark=bookmark)
