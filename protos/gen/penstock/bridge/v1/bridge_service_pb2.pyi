import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from penstock.bridge.v1 import route_pb2 as _route_pb2
from penstock.delivery.v1 import broker_message_pb2 as _broker_message_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RouteStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROUTE_STATUS_UNSPECIFIED: _ClassVar[RouteStatus]
    ROUTE_STATUS_ACTIVE: _ClassVar[RouteStatus]
    ROUTE_STATUS_CONNECTING: _ClassVar[RouteStatus]
    ROUTE_STATUS_PAUSED: _ClassVar[RouteStatus]
    ROUTE_STATUS_INVALID: _ClassVar[RouteStatus]
ROUTE_STATUS_UNSPECIFIED: RouteStatus
ROUTE_STATUS_ACTIVE: RouteStatus
ROUTE_STATUS_CONNECTING: RouteStatus
ROUTE_STATUS_PAUSED: RouteStatus
ROUTE_STATUS_INVALID: RouteStatus

class ListRoutesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListRoutesResponse(_message.Message):
    __slots__ = ("routes",)
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    routes: _containers.RepeatedCompositeFieldContainer[RouteState]
    def __init__(self, routes: _Optional[_Iterable[_Union[RouteState, _Mapping]]] = ...) -> None: ...

class RouteState(_message.Message):
    __slots__ = ("route", "status", "detail", "version")
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    route: _route_pb2.Route
    status: RouteStatus
    detail: str
    version: int
    def __init__(self, route: _Optional[_Union[_route_pb2.Route, _Mapping]] = ..., status: _Optional[_Union[RouteStatus, str]] = ..., detail: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class GetStatsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatsResponse(_message.Message):
    __slots__ = ("routes", "broker", "dedup_available", "reconnects")
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    BROKER_FIELD_NUMBER: _ClassVar[int]
    DEDUP_AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    RECONNECTS_FIELD_NUMBER: _ClassVar[int]
    routes: _containers.RepeatedCompositeFieldContainer[RouteStats]
    broker: str
    dedup_available: bool
    reconnects: int
    def __init__(self, routes: _Optional[_Iterable[_Union[RouteStats, _Mapping]]] = ..., broker: _Optional[str] = ..., dedup_available: bool = ..., reconnects: _Optional[int] = ...) -> None: ...

class RouteStats(_message.Message):
    __slots__ = ("route", "received", "delivered", "filtered", "settled", "retried", "dead_lettered", "duplicates", "in_flight", "oldest_in_flight_age", "in_flight_bytes", "last_settled_at", "replies", "late_replies", "unsent_replies", "open_circuits", "circuits_opened", "rate_limited")
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_FIELD_NUMBER: _ClassVar[int]
    FILTERED_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    RETRIED_FIELD_NUMBER: _ClassVar[int]
    DEAD_LETTERED_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    OLDEST_IN_FLIGHT_AGE_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_BYTES_FIELD_NUMBER: _ClassVar[int]
    LAST_SETTLED_AT_FIELD_NUMBER: _ClassVar[int]
    REPLIES_FIELD_NUMBER: _ClassVar[int]
    LATE_REPLIES_FIELD_NUMBER: _ClassVar[int]
    UNSENT_REPLIES_FIELD_NUMBER: _ClassVar[int]
    OPEN_CIRCUITS_FIELD_NUMBER: _ClassVar[int]
    CIRCUITS_OPENED_FIELD_NUMBER: _ClassVar[int]
    RATE_LIMITED_FIELD_NUMBER: _ClassVar[int]
    route: str
    received: int
    delivered: int
    filtered: int
    settled: int
    retried: int
    dead_lettered: int
    duplicates: int
    in_flight: int
    oldest_in_flight_age: _duration_pb2.Duration
    in_flight_bytes: int
    last_settled_at: _timestamp_pb2.Timestamp
    replies: int
    late_replies: int
    unsent_replies: int
    open_circuits: int
    circuits_opened: int
    rate_limited: int
    def __init__(self, route: _Optional[str] = ..., received: _Optional[int] = ..., delivered: _Optional[int] = ..., filtered: _Optional[int] = ..., settled: _Optional[int] = ..., retried: _Optional[int] = ..., dead_lettered: _Optional[int] = ..., duplicates: _Optional[int] = ..., in_flight: _Optional[int] = ..., oldest_in_flight_age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., in_flight_bytes: _Optional[int] = ..., last_settled_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., replies: _Optional[int] = ..., late_replies: _Optional[int] = ..., unsent_replies: _Optional[int] = ..., open_circuits: _Optional[int] = ..., circuits_opened: _Optional[int] = ..., rate_limited: _Optional[int] = ...) -> None: ...

class DeadLetter(_message.Message):
    __slots__ = ("message", "dead_letter_queue", "reason", "attempts", "original_destination", "original_message_id", "route", "first_failed_at", "error_class")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DEAD_LETTER_QUEUE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    ORIGINAL_DESTINATION_FIELD_NUMBER: _ClassVar[int]
    ORIGINAL_MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    FIRST_FAILED_AT_FIELD_NUMBER: _ClassVar[int]
    ERROR_CLASS_FIELD_NUMBER: _ClassVar[int]
    message: _broker_message_pb2.BrokerMessage
    dead_letter_queue: str
    reason: str
    attempts: int
    original_destination: str
    original_message_id: str
    route: str
    first_failed_at: _timestamp_pb2.Timestamp
    error_class: str
    def __init__(self, message: _Optional[_Union[_broker_message_pb2.BrokerMessage, _Mapping]] = ..., dead_letter_queue: _Optional[str] = ..., reason: _Optional[str] = ..., attempts: _Optional[int] = ..., original_destination: _Optional[str] = ..., original_message_id: _Optional[str] = ..., route: _Optional[str] = ..., first_failed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., error_class: _Optional[str] = ...) -> None: ...

class ListDeadLettersRequest(_message.Message):
    __slots__ = ("source", "max_messages")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    source: str
    max_messages: int
    def __init__(self, source: _Optional[str] = ..., max_messages: _Optional[int] = ...) -> None: ...

class ListDeadLettersResponse(_message.Message):
    __slots__ = ("dead_letters",)
    DEAD_LETTERS_FIELD_NUMBER: _ClassVar[int]
    dead_letters: _containers.RepeatedCompositeFieldContainer[DeadLetter]
    def __init__(self, dead_letters: _Optional[_Iterable[_Union[DeadLetter, _Mapping]]] = ...) -> None: ...

class GetDeadLetterRequest(_message.Message):
    __slots__ = ("source", "message_id")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    source: str
    message_id: str
    def __init__(self, source: _Optional[str] = ..., message_id: _Optional[str] = ...) -> None: ...

class GetDeadLetterResponse(_message.Message):
    __slots__ = ("dead_letter",)
    DEAD_LETTER_FIELD_NUMBER: _ClassVar[int]
    dead_letter: DeadLetter
    def __init__(self, dead_letter: _Optional[_Union[DeadLetter, _Mapping]] = ...) -> None: ...

class ReplayDeadLettersRequest(_message.Message):
    __slots__ = ("source", "message_ids")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_IDS_FIELD_NUMBER: _ClassVar[int]
    source: str
    message_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, source: _Optional[str] = ..., message_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ReplayDeadLettersResponse(_message.Message):
    __slots__ = ("replayed", "skipped")
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    replayed: int
    skipped: int
    def __init__(self, replayed: _Optional[int] = ..., skipped: _Optional[int] = ...) -> None: ...

class PurgeDeadLettersRequest(_message.Message):
    __slots__ = ("source", "message_ids")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_IDS_FIELD_NUMBER: _ClassVar[int]
    source: str
    message_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, source: _Optional[str] = ..., message_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class PurgeDeadLettersResponse(_message.Message):
    __slots__ = ("purged",)
    PURGED_FIELD_NUMBER: _ClassVar[int]
    purged: int
    def __init__(self, purged: _Optional[int] = ...) -> None: ...
