import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ConversionOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONVERSION_OUTCOME_UNSPECIFIED: _ClassVar[ConversionOutcome]
    CONVERSION_OUTCOME_CLICK: _ClassVar[ConversionOutcome]
    CONVERSION_OUTCOME_IMPRESSION: _ClassVar[ConversionOutcome]
    CONVERSION_OUTCOME_UNATTRIBUTED: _ClassVar[ConversionOutcome]
    CONVERSION_OUTCOME_DUPLICATE: _ClassVar[ConversionOutcome]
CONVERSION_OUTCOME_UNSPECIFIED: ConversionOutcome
CONVERSION_OUTCOME_CLICK: ConversionOutcome
CONVERSION_OUTCOME_IMPRESSION: ConversionOutcome
CONVERSION_OUTCOME_UNATTRIBUTED: ConversionOutcome
CONVERSION_OUTCOME_DUPLICATE: ConversionOutcome

class Conversion(_message.Message):
    __slots__ = ("message_id", "program_id", "transaction_id", "cookie_id", "occurred_at", "outcome", "touch_message_id", "touch_occurred_at")
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    PROGRAM_ID_FIELD_NUMBER: _ClassVar[int]
    TRANSACTION_ID_FIELD_NUMBER: _ClassVar[int]
    COOKIE_ID_FIELD_NUMBER: _ClassVar[int]
    OCCURRED_AT_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    TOUCH_MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    TOUCH_OCCURRED_AT_FIELD_NUMBER: _ClassVar[int]
    message_id: str
    program_id: str
    transaction_id: str
    cookie_id: str
    occurred_at: _timestamp_pb2.Timestamp
    outcome: ConversionOutcome
    touch_message_id: str
    touch_occurred_at: _timestamp_pb2.Timestamp
    def __init__(self, message_id: _Optional[str] = ..., program_id: _Optional[str] = ..., transaction_id: _Optional[str] = ..., cookie_id: _Optional[str] = ..., occurred_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., outcome: _Optional[_Union[ConversionOutcome, str]] = ..., touch_message_id: _Optional[str] = ..., touch_occurred_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
