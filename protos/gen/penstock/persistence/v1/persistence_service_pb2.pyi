import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from penstock.persistence.v1 import conversion_pb2 as _conversion_pb2
from penstock.tracking.v1 import tracking_event_pb2 as _tracking_event_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PutEventOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PUT_EVENT_OUTCOME_UNSPECIFIED: _ClassVar[PutEventOutcome]
    PUT_EVENT_OUTCOME_STORED: _ClassVar[PutEventOutcome]
    PUT_EVENT_OUTCOME_DUPLICATE: _ClassVar[PutEventOutcome]
    PUT_EVENT_OUTCOME_INVALID: _ClassVar[PutEventOutcome]
PUT_EVENT_OUTCOME_UNSPECIFIED: PutEventOutcome
PUT_EVENT_OUTCOME_STORED: PutEventOutcome
PUT_EVENT_OUTCOME_DUPLICATE: PutEventOutcome
PUT_EVENT_OUTCOME_INVALID: PutEventOutcome

class PutEventsRequest(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[_tracking_event_pb2.TrackingEvent]
    def __init__(self, events: _Optional[_Iterable[_Union[_tracking_event_pb2.TrackingEvent, _Mapping]]] = ...) -> None: ...

class PutEventsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[PutEventResult]
    def __init__(self, results: _Optional[_Iterable[_Union[PutEventResult, _Mapping]]] = ...) -> None: ...

class PutEventResult(_message.Message):
    __slots__ = ("outcome", "reason")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    outcome: PutEventOutcome
    reason: str
    def __init__(self, outcome: _Optional[_Union[PutEventOutcome, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class GetEventRequest(_message.Message):
    __slots__ = ("message_id",)
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    message_id: str
    def __init__(self, message_id: _Optional[str] = ...) -> None: ...

class GetEventResponse(_message.Message):
    __slots__ = ("event",)
    EVENT_FIELD_NUMBER: _ClassVar[int]
    event: _tracking_event_pb2.TrackingEvent
    def __init__(self, event: _Optional[_Union[_tracking_event_pb2.TrackingEvent, _Mapping]] = ...) -> None: ...

class ListEventsRequest(_message.Message):
    __slots__ = ("program_id", "from_time", "until_time", "page_size", "page_token")
    PROGRAM_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_TIME_FIELD_NUMBER: _ClassVar[int]
    UNTIL_TIME_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    program_id: str
    from_time: _timestamp_pb2.Timestamp
    until_time: _timestamp_pb2.Timestamp
    page_size: int
    page_token: str
    def __init__(self, program_id: _Optional[str] = ..., from_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListEventsResponse(_message.Message):
    __slots__ = ("events", "next_page_token")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[_tracking_event_pb2.TrackingEvent]
    next_page_token: str
    def __init__(self, events: _Optional[_Iterable[_Union[_tracking_event_pb2.TrackingEvent, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class MatchEventsRequest(_message.Message):
    __slots__ = ("program_id", "from_time", "until_time", "click_window", "impression_window")
    PROGRAM_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_TIME_FIELD_NUMBER: _ClassVar[int]
    UNTIL_TIME_FIELD_NUMBER: _ClassVar[int]
    CLICK_WINDOW_FIELD_NUMBER: _ClassVar[int]
    IMPRESSION_WINDOW_FIELD_NUMBER: _ClassVar[int]
    program_id: str
    from_time: _timestamp_pb2.Timestamp
    until_time: _timestamp_pb2.Timestamp
    click_window: _duration_pb2.Duration
    impression_window: _duration_pb2.Duration
    def __init__(self, program_id: _Optional[str] = ..., from_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., click_window: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., impression_window: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class MatchEventsResponse(_message.Message):
    __slots__ = ("transactions", "clicks", "impressions", "duplicates")
    TRANSACTIONS_FIELD_NUMBER: _ClassVar[int]
    CLICKS_FIELD_NUMBER: _ClassVar[int]
    IMPRESSIONS_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    transactions: int
    clicks: int
    impressions: int
    duplicates: int
    def __init__(self, transactions: _Optional[int] = ..., clicks: _Optional[int] = ..., impressions: _Optional[int] = ..., duplicates: _Optional[int] = ...) -> None: ...

class ListConversionsRequest(_message.Message):
    __slots__ = ("program_id", "from_time", "until_time", "page_size", "page_token")
    PROGRAM_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_TIME_FIELD_NUMBER: _ClassVar[int]
    UNTIL_TIME_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    program_id: str
    from_time: _timestamp_pb2.Timestamp
    until_time: _timestamp_pb2.Timestamp
    page_size: int
    page_token: str
    def __init__(self, program_id: _Optional[str] = ..., from_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListConversionsResponse(_message.Message):
    __slots__ = ("conversions", "next_page_token")
    CONVERSIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    conversions: _containers.RepeatedCompositeFieldContainer[_conversion_pb2.Conversion]
    next_page_token: str
    def __init__(self, conversions: _Optional[_Iterable[_Union[_conversion_pb2.Conversion, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
