from penstock.tracking.v1 import program_pb2 as _program_pb2
from penstock.tracking.v1 import tracking_event_pb2 as _tracking_event_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TrackResult(_message.Message):
    __slots__ = ("outcome", "message_id", "reason")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    outcome: _tracking_event_pb2.TrackOutcome
    message_id: str
    reason: str
    def __init__(self, outcome: _Optional[_Union[_tracking_event_pb2.TrackOutcome, str]] = ..., message_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class TrackEventRequest(_message.Message):
    __slots__ = ("event",)
    EVENT_FIELD_NUMBER: _ClassVar[int]
    event: _tracking_event_pb2.TrackingEvent
    def __init__(self, event: _Optional[_Union[_tracking_event_pb2.TrackingEvent, _Mapping]] = ...) -> None: ...

class TrackEventResponse(_message.Message):
    __slots__ = ("result",)
    RESULT_FIELD_NUMBER: _ClassVar[int]
    result: TrackResult
    def __init__(self, result: _Optional[_Union[TrackResult, _Mapping]] = ...) -> None: ...

class BatchTrackEventsRequest(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[_tracking_event_pb2.TrackingEvent]
    def __init__(self, events: _Optional[_Iterable[_Union[_tracking_event_pb2.TrackingEvent, _Mapping]]] = ...) -> None: ...

class BatchTrackEventsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[TrackResult]
    def __init__(self, results: _Optional[_Iterable[_Union[TrackResult, _Mapping]]] = ...) -> None: ...

class StreamTrackEventsRequest(_message.Message):
    __slots__ = ("sequence", "event")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    event: _tracking_event_pb2.TrackingEvent
    def __init__(self, sequence: _Optional[int] = ..., event: _Optional[_Union[_tracking_event_pb2.TrackingEvent, _Mapping]] = ...) -> None: ...

class StreamTrackEventsResponse(_message.Message):
    __slots__ = ("acknowledged_sequence", "refusals")
    ACKNOWLEDGED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    acknowledged_sequence: int
    refusals: _containers.RepeatedCompositeFieldContainer[StreamTrackRefusal]
    def __init__(self, acknowledged_sequence: _Optional[int] = ..., refusals: _Optional[_Iterable[_Union[StreamTrackRefusal, _Mapping]]] = ...) -> None: ...

class StreamTrackRefusal(_message.Message):
    __slots__ = ("sequence", "result")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    result: TrackResult
    def __init__(self, sequence: _Optional[int] = ..., result: _Optional[_Union[TrackResult, _Mapping]] = ...) -> None: ...

class PutProgramRequest(_message.Message):
    __slots__ = ("program",)
    PROGRAM_FIELD_NUMBER: _ClassVar[int]
    program: _program_pb2.Program
    def __init__(self, program: _Optional[_Union[_program_pb2.Program, _Mapping]] = ...) -> None: ...

class PutProgramResponse(_message.Message):
    __slots__ = ("program",)
    PROGRAM_FIELD_NUMBER: _ClassVar[int]
    program: _program_pb2.Program
    def __init__(self, program: _Optional[_Union[_program_pb2.Program, _Mapping]] = ...) -> None: ...

class GetProgramRequest(_message.Message):
    __slots__ = ("program_id",)
    PROGRAM_ID_FIELD_NUMBER: _ClassVar[int]
    program_id: str
    def __init__(self, program_id: _Optional[str] = ...) -> None: ...

class GetProgramResponse(_message.Message):
    __slots__ = ("program",)
    PROGRAM_FIELD_NUMBER: _ClassVar[int]
    program: _program_pb2.Program
    def __init__(self, program: _Optional[_Union[_program_pb2.Program, _Mapping]] = ...) -> None: ...

class ListProgramsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListProgramsResponse(_message.Message):
    __slots__ = ("programs", "next_page_token")
    PROGRAMS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    programs: _containers.RepeatedCompositeFieldContainer[_program_pb2.Program]
    next_page_token: str
    def __init__(self, programs: _Optional[_Iterable[_Union[_program_pb2.Program, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteProgramRequest(_message.Message):
    __slots__ = ("program_id",)
    PROGRAM_ID_FIELD_NUMBER: _ClassVar[int]
    program_id: str
    def __init__(self, program_id: _Optional[str] = ...) -> None: ...

class DeleteProgramResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
