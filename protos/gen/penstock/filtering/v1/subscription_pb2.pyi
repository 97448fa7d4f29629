from penstock.delivery.v1 import target_pb2 as _target_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FilterDialect(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FILTER_DIALECT_UNSPECIFIED: _ClassVar[FilterDialect]
    FILTER_DIALECT_SNS_ATTRIBUTES: _ClassVar[FilterDialect]
    FILTER_DIALECT_SNS_BODY: _ClassVar[FilterDialect]
    FILTER_DIALECT_EVENTBRIDGE: _ClassVar[FilterDialect]

class AnythingButArrays(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ANYTHING_BUT_ARRAYS_UNSPECIFIED: _ClassVar[AnythingButArrays]
    ANYTHING_BUT_ARRAYS_NONE_LISTED: _ClassVar[AnythingButArrays]
    ANYTHING_BUT_ARRAYS_ONE_UNLISTED: _ClassVar[AnythingButArrays]
FILTER_DIALECT_UNSPECIFIED: FilterDialect
FILTER_DIALECT_SNS_ATTRIBUTES: FilterDialect
FILTER_DIALECT_SNS_BODY: FilterDialect
FILTER_DIALECT_EVENTBRIDGE: FilterDialect
ANYTHING_BUT_ARRAYS_UNSPECIFIED: AnythingButArrays
ANYTHING_BUT_ARRAYS_NONE_LISTED: AnythingButArrays
ANYTHING_BUT_ARRAYS_ONE_UNLISTED: AnythingButArrays

class Subscription(_message.Message):
    __slots__ = ("topic", "name", "filter_policy", "dialect", "target", "description", "version", "anything_but_arrays")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    FILTER_POLICY_FIELD_NUMBER: _ClassVar[int]
    DIALECT_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ANYTHING_BUT_ARRAYS_FIELD_NUMBER: _ClassVar[int]
    topic: str
    name: str
    filter_policy: str
    dialect: FilterDialect
    target: _target_pb2.Target
    description: str
    version: int
    anything_but_arrays: AnythingButArrays
    def __init__(self, topic: _Optional[str] = ..., name: _Optional[str] = ..., filter_policy: _Optional[str] = ..., dialect: _Optional[_Union[FilterDialect, str]] = ..., target: _Optional[_Union[_target_pb2.Target, _Mapping]] = ..., description: _Optional[str] = ..., version: _Optional[int] = ..., anything_but_arrays: _Optional[_Union[AnythingButArrays, str]] = ...) -> None: ...
