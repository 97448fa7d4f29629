import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from penstock.delivery.v1 import target_pb2 as _target_pb2
from penstock.filtering.v1 import message_pb2 as _message_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PropertyType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROPERTY_TYPE_UNSPECIFIED: _ClassVar[PropertyType]
    PROPERTY_TYPE_STRING: _ClassVar[PropertyType]
    PROPERTY_TYPE_BOOLEAN: _ClassVar[PropertyType]
    PROPERTY_TYPE_INTEGER: _ClassVar[PropertyType]
    PROPERTY_TYPE_DOUBLE: _ClassVar[PropertyType]

class BodyFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BODY_FORMAT_UNSPECIFIED: _ClassVar[BodyFormat]
    BODY_FORMAT_AUTO: _ClassVar[BodyFormat]
    BODY_FORMAT_TEXT: _ClassVar[BodyFormat]
    BODY_FORMAT_JSON: _ClassVar[BodyFormat]
    BODY_FORMAT_BYTES: _ClassVar[BodyFormat]
    BODY_FORMAT_PROTOBUF: _ClassVar[BodyFormat]

class RetryStrategy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RETRY_STRATEGY_UNSPECIFIED: _ClassVar[RetryStrategy]
    RETRY_STRATEGY_LOCAL: _ClassVar[RetryStrategy]
    RETRY_STRATEGY_BROKER: _ClassVar[RetryStrategy]
    RETRY_STRATEGY_SCHEDULED: _ClassVar[RetryStrategy]
PROPERTY_TYPE_UNSPECIFIED: PropertyType
PROPERTY_TYPE_STRING: PropertyType
PROPERTY_TYPE_BOOLEAN: PropertyType
PROPERTY_TYPE_INTEGER: PropertyType
PROPERTY_TYPE_DOUBLE: PropertyType
BODY_FORMAT_UNSPECIFIED: BodyFormat
BODY_FORMAT_AUTO: BodyFormat
BODY_FORMAT_TEXT: BodyFormat
BODY_FORMAT_JSON: BodyFormat
BODY_FORMAT_BYTES: BodyFormat
BODY_FORMAT_PROTOBUF: BodyFormat
RETRY_STRATEGY_UNSPECIFIED: RetryStrategy
RETRY_STRATEGY_LOCAL: RetryStrategy
RETRY_STRATEGY_BROKER: RetryStrategy
RETRY_STRATEGY_SCHEDULED: RetryStrategy

class Route(_message.Message):
    __slots__ = ("name", "source", "selector", "filter_topic", "targets", "attributes", "body_format", "batch", "retry", "concurrency", "prefetch", "paused", "group_property", "protobuf_type", "accept_empty", "lanes", "max_in_flight_bytes", "transform_maps", "property_types", "rate_limit", "circuit_breaker")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _message_pb2.AttributeType
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_message_pb2.AttributeType, str]] = ...) -> None: ...
    class PropertyTypesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: PropertyType
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[PropertyType, str]] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SELECTOR_FIELD_NUMBER: _ClassVar[int]
    FILTER_TOPIC_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    BODY_FORMAT_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    RETRY_FIELD_NUMBER: _ClassVar[int]
    CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    PREFETCH_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    GROUP_PROPERTY_FIELD_NUMBER: _ClassVar[int]
    PROTOBUF_TYPE_FIELD_NUMBER: _ClassVar[int]
    ACCEPT_EMPTY_FIELD_NUMBER: _ClassVar[int]
    LANES_FIELD_NUMBER: _ClassVar[int]
    MAX_IN_FLIGHT_BYTES_FIELD_NUMBER: _ClassVar[int]
    TRANSFORM_MAPS_FIELD_NUMBER: _ClassVar[int]
    PROPERTY_TYPES_FIELD_NUMBER: _ClassVar[int]
    RATE_LIMIT_FIELD_NUMBER: _ClassVar[int]
    CIRCUIT_BREAKER_FIELD_NUMBER: _ClassVar[int]
    name: str
    source: str
    selector: str
    filter_topic: str
    targets: _containers.RepeatedCompositeFieldContainer[_target_pb2.Target]
    attributes: _containers.ScalarMap[str, _message_pb2.AttributeType]
    body_format: BodyFormat
    batch: BatchSettings
    retry: RetrySettings
    concurrency: int
    prefetch: int
    paused: bool
    group_property: str
    protobuf_type: str
    accept_empty: bool
    lanes: int
    max_in_flight_bytes: int
    transform_maps: bool
    property_types: _containers.ScalarMap[str, PropertyType]
    rate_limit: float
    circuit_breaker: CircuitBreakerSettings
    def __init__(self, name: _Optional[str] = ..., source: _Optional[str] = ..., selector: _Optional[str] = ..., filter_topic: _Optional[str] = ..., targets: _Optional[_Iterable[_Union[_target_pb2.Target, _Mapping]]] = ..., attributes: _Optional[_Mapping[str, _message_pb2.AttributeType]] = ..., body_format: _Optional[_Union[BodyFormat, str]] = ..., batch: _Optional[_Union[BatchSettings, _Mapping]] = ..., retry: _Optional[_Union[RetrySettings, _Mapping]] = ..., concurrency: _Optional[int] = ..., prefetch: _Optional[int] = ..., paused: bool = ..., group_property: _Optional[str] = ..., protobuf_type: _Optional[str] = ..., accept_empty: bool = ..., lanes: _Optional[int] = ..., max_in_flight_bytes: _Optional[int] = ..., transform_maps: bool = ..., property_types: _Optional[_Mapping[str, PropertyType]] = ..., rate_limit: _Optional[float] = ..., circuit_breaker: _Optional[_Union[CircuitBreakerSettings, _Mapping]] = ...) -> None: ...

class CircuitBreakerSettings(_message.Message):
    __slots__ = ("failures", "open")
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    failures: int
    open: _duration_pb2.Duration
    def __init__(self, failures: _Optional[int] = ..., open: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class BatchSettings(_message.Message):
    __slots__ = ("max_messages", "window", "max_bytes")
    MAX_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    max_messages: int
    window: _duration_pb2.Duration
    max_bytes: int
    def __init__(self, max_messages: _Optional[int] = ..., window: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_bytes: _Optional[int] = ...) -> None: ...

class RetrySettings(_message.Message):
    __slots__ = ("max_attempts", "initial_backoff", "max_backoff", "multiplier", "strategy", "unavailable", "throttled")
    MAX_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    INITIAL_BACKOFF_FIELD_NUMBER: _ClassVar[int]
    MAX_BACKOFF_FIELD_NUMBER: _ClassVar[int]
    MULTIPLIER_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    UNAVAILABLE_FIELD_NUMBER: _ClassVar[int]
    THROTTLED_FIELD_NUMBER: _ClassVar[int]
    max_attempts: int
    initial_backoff: _duration_pb2.Duration
    max_backoff: _duration_pb2.Duration
    multiplier: float
    strategy: RetryStrategy
    unavailable: ClassRetrySettings
    throttled: ClassRetrySettings
    def __init__(self, max_attempts: _Optional[int] = ..., initial_backoff: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_backoff: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., multiplier: _Optional[float] = ..., strategy: _Optional[_Union[RetryStrategy, str]] = ..., unavailable: _Optional[_Union[ClassRetrySettings, _Mapping]] = ..., throttled: _Optional[_Union[ClassRetrySettings, _Mapping]] = ...) -> None: ...

class ClassRetrySettings(_message.Message):
    __slots__ = ("max_attempts", "initial_backoff", "max_backoff", "multiplier")
    MAX_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    INITIAL_BACKOFF_FIELD_NUMBER: _ClassVar[int]
    MAX_BACKOFF_FIELD_NUMBER: _ClassVar[int]
    MULTIPLIER_FIELD_NUMBER: _ClassVar[int]
    max_attempts: int
    initial_backoff: _duration_pb2.Duration
    max_backoff: _duration_pb2.Duration
    multiplier: float
    def __init__(self, max_attempts: _Optional[int] = ..., initial_backoff: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_backoff: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., multiplier: _Optional[float] = ...) -> None: ...
