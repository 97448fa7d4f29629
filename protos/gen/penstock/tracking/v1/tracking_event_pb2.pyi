import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EventType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EVENT_TYPE_UNSPECIFIED: _ClassVar[EventType]
    EVENT_TYPE_CLICK: _ClassVar[EventType]
    EVENT_TYPE_IMPRESSION: _ClassVar[EventType]
    EVENT_TYPE_TRANSACTION: _ClassVar[EventType]

class EventSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EVENT_SOURCE_UNSPECIFIED: _ClassVar[EventSource]
    EVENT_SOURCE_HTTP: _ClassVar[EventSource]
    EVENT_SOURCE_GRPC: _ClassVar[EventSource]
    EVENT_SOURCE_BROKER: _ClassVar[EventSource]

class TrackOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TRACK_OUTCOME_UNSPECIFIED: _ClassVar[TrackOutcome]
    TRACK_OUTCOME_ACCEPTED: _ClassVar[TrackOutcome]
    TRACK_OUTCOME_DUPLICATE: _ClassVar[TrackOutcome]
    TRACK_OUTCOME_UNKNOWN_PROGRAM: _ClassVar[TrackOutcome]
    TRACK_OUTCOME_EXPIRED_PROGRAM: _ClassVar[TrackOutcome]
    TRACK_OUTCOME_INVALID: _ClassVar[TrackOutcome]
    TRACK_OUTCOME_UNVERIFIED: _ClassVar[TrackOutcome]
    TRACK_OUTCOME_WRONG_CHECKSUM: _ClassVar[TrackOutcome]
EVENT_TYPE_UNSPECIFIED: EventType
EVENT_TYPE_CLICK: EventType
EVENT_TYPE_IMPRESSION: EventType
EVENT_TYPE_TRANSACTION: EventType
EVENT_SOURCE_UNSPECIFIED: EventSource
EVENT_SOURCE_HTTP: EventSource
EVENT_SOURCE_GRPC: EventSource
EVENT_SOURCE_BROKER: EventSource
TRACK_OUTCOME_UNSPECIFIED: TrackOutcome
TRACK_OUTCOME_ACCEPTED: TrackOutcome
TRACK_OUTCOME_DUPLICATE: TrackOutcome
TRACK_OUTCOME_UNKNOWN_PROGRAM: TrackOutcome
TRACK_OUTCOME_EXPIRED_PROGRAM: TrackOutcome
TRACK_OUTCOME_INVALID: TrackOutcome
TRACK_OUTCOME_UNVERIFIED: TrackOutcome
TRACK_OUTCOME_WRONG_CHECKSUM: TrackOutcome

class TrackingEvent(_message.Message):
    __slots__ = ("program_id", "checksum", "customer_id", "user_agent", "program_name", "customer_name", "is_valid", "message_id", "occurred_at", "event_type", "cookie_id", "click_id", "transaction_id", "attributes", "sent_at", "received_at", "source", "verdict", "ip_address", "corrected_at", "is_bot", "is_late")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PROGRAM_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    USER_AGENT_FIELD_NUMBER: _ClassVar[int]
    PROGRAM_NAME_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_NAME_FIELD_NUMBER: _ClassVar[int]
    IS_VALID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    OCCURRED_AT_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    COOKIE_ID_FIELD_NUMBER: _ClassVar[int]
    CLICK_ID_FIELD_NUMBER: _ClassVar[int]
    TRANSACTION_ID_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    SENT_AT_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_AT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    IP_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    CORRECTED_AT_FIELD_NUMBER: _ClassVar[int]
    IS_BOT_FIELD_NUMBER: _ClassVar[int]
    IS_LATE_FIELD_NUMBER: _ClassVar[int]
    program_id: str
    checksum: str
    customer_id: int
    user_agent: str
    program_name: str
    customer_name: str
    is_valid: bool
    message_id: str
    occurred_at: _timestamp_pb2.Timestamp
    event_type: EventType
    cookie_id: str
    click_id: str
    transaction_id: str
    attributes: _containers.ScalarMap[str, str]
    sent_at: _timestamp_pb2.Timestamp
    received_at: _timestamp_pb2.Timestamp
    source: EventSource
    verdict: TrackOutcome
    ip_address: str
    corrected_at: _timestamp_pb2.Timestamp
    is_bot: bool
    is_late: bool
    def __init__(self, program_id: _Optional[str] = ..., checksum: _Optional[str] = ..., customer_id: _Optional[int] = ..., user_agent: _Optional[str] = ..., program_name: _Optional[str] = ..., customer_name: _Optional[str] = ..., is_valid: bool = ..., message_id: _Optional[str] = ..., occurred_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., event_type: _Optional[_Union[EventType, str]] = ..., cookie_id: _Optional[str] = ..., click_id: _Optional[str] = ..., transaction_id: _Optional[str] = ..., attributes: _Optional[_Mapping[str, str]] = ..., sent_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., received_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., source: _Optional[_Union[EventSource, str]] = ..., verdict: _Optional[_Union[TrackOutcome, str]] = ..., ip_address: _Optional[str] = ..., corrected_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., is_bot: bool = ..., is_late: bool = ...) -> None: ...
