import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ParameterTier(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PARAMETER_TIER_UNSPECIFIED: _ClassVar[ParameterTier]
    PARAMETER_TIER_STANDARD: _ClassVar[ParameterTier]
    PARAMETER_TIER_ADVANCED: _ClassVar[ParameterTier]

class ParameterType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PARAMETER_TYPE_UNSPECIFIED: _ClassVar[ParameterType]
    PARAMETER_TYPE_STRING: _ClassVar[ParameterType]
    PARAMETER_TYPE_STRING_LIST: _ClassVar[ParameterType]
    PARAMETER_TYPE_SECURE_STRING: _ClassVar[ParameterType]
PARAMETER_TIER_UNSPECIFIED: ParameterTier
PARAMETER_TIER_STANDARD: ParameterTier
PARAMETER_TIER_ADVANCED: ParameterTier
PARAMETER_TYPE_UNSPECIFIED: ParameterType
PARAMETER_TYPE_STRING: ParameterType
PARAMETER_TYPE_STRING_LIST: ParameterType
PARAMETER_TYPE_SECURE_STRING: ParameterType

class Parameter(_message.Message):
    __slots__ = ("name", "type", "value", "version", "revision", "labels", "description", "allowed_pattern", "data_type", "modified_at", "expires_at", "tags", "json_schema", "tier", "policies", "modified_by")
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_PATTERN_FIELD_NUMBER: _ClassVar[int]
    DATA_TYPE_FIELD_NUMBER: _ClassVar[int]
    MODIFIED_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    JSON_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    MODIFIED_BY_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: ParameterType
    value: str
    version: int
    revision: int
    labels: _containers.RepeatedScalarFieldContainer[str]
    description: str
    allowed_pattern: str
    data_type: str
    modified_at: _timestamp_pb2.Timestamp
    expires_at: _timestamp_pb2.Timestamp
    tags: _containers.ScalarMap[str, str]
    json_schema: str
    tier: ParameterTier
    policies: str
    modified_by: str
    def __init__(self, name: _Optional[str] = ..., type: _Optional[_Union[ParameterType, str]] = ..., value: _Optional[str] = ..., version: _Optional[int] = ..., revision: _Optional[int] = ..., labels: _Optional[_Iterable[str]] = ..., description: _Optional[str] = ..., allowed_pattern: _Optional[str] = ..., data_type: _Optional[str] = ..., modified_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., tags: _Optional[_Mapping[str, str]] = ..., json_schema: _Optional[str] = ..., tier: _Optional[_Union[ParameterTier, str]] = ..., policies: _Optional[str] = ..., modified_by: _Optional[str] = ...) -> None: ...
