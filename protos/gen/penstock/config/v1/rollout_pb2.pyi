from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Rollout(_message.Message):
    __slots__ = ("value", "base_version", "percentage", "callers")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    BASE_VERSION_FIELD_NUMBER: _ClassVar[int]
    PERCENTAGE_FIELD_NUMBER: _ClassVar[int]
    CALLERS_FIELD_NUMBER: _ClassVar[int]
    value: str
    base_version: int
    percentage: float
    callers: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, value: _Optional[str] = ..., base_version: _Optional[int] = ..., percentage: _Optional[float] = ..., callers: _Optional[_Iterable[str]] = ...) -> None: ...
