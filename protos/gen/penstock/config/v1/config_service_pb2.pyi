import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from penstock.config.v1 import parameter_pb2 as _parameter_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PutParameterRequest(_message.Message):
    __slots__ = ("name", "value", "type", "expected_version", "description", "allowed_pattern", "data_type", "expires_at", "tags", "json_schema", "tier", "policies", "dry_run")
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_PATTERN_FIELD_NUMBER: _ClassVar[int]
    DATA_TYPE_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    JSON_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    type: _parameter_pb2.ParameterType
    expected_version: int
    description: str
    allowed_pattern: str
    data_type: str
    expires_at: _timestamp_pb2.Timestamp
    tags: _containers.ScalarMap[str, str]
    json_schema: str
    tier: _parameter_pb2.ParameterTier
    policies: str
    dry_run: bool
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ..., type: _Optional[_Union[_parameter_pb2.ParameterType, str]] = ..., expected_version: _Optional[int] = ..., description: _Optional[str] = ..., allowed_pattern: _Optional[str] = ..., data_type: _Optional[str] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., tags: _Optional[_Mapping[str, str]] = ..., json_schema: _Optional[str] = ..., tier: _Optional[_Union[_parameter_pb2.ParameterTier, str]] = ..., policies: _Optional[str] = ..., dry_run: bool = ...) -> None: ...

class PutParameterResponse(_message.Message):
    __slots__ = ("version", "revision", "tier")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    version: int
    revision: int
    tier: _parameter_pb2.ParameterTier
    def __init__(self, version: _Optional[int] = ..., revision: _Optional[int] = ..., tier: _Optional[_Union[_parameter_pb2.ParameterTier, str]] = ...) -> None: ...

class GetParameterRequest(_message.Message):
    __slots__ = ("name", "with_decryption")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WITH_DECRYPTION_FIELD_NUMBER: _ClassVar[int]
    name: str
    with_decryption: bool
    def __init__(self, name: _Optional[str] = ..., with_decryption: bool = ...) -> None: ...

class GetParameterResponse(_message.Message):
    __slots__ = ("parameter",)
    PARAMETER_FIELD_NUMBER: _ClassVar[int]
    parameter: _parameter_pb2.Parameter
    def __init__(self, parameter: _Optional[_Union[_parameter_pb2.Parameter, _Mapping]] = ...) -> None: ...

class BatchGetParametersRequest(_message.Message):
    __slots__ = ("names", "with_decryption")
    NAMES_FIELD_NUMBER: _ClassVar[int]
    WITH_DECRYPTION_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    with_decryption: bool
    def __init__(self, names: _Optional[_Iterable[str]] = ..., with_decryption: bool = ...) -> None: ...

class BatchGetParametersResponse(_message.Message):
    __slots__ = ("parameters", "missing_names", "revision")
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    MISSING_NAMES_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    parameters: _containers.RepeatedCompositeFieldContainer[_parameter_pb2.Parameter]
    missing_names: _containers.RepeatedScalarFieldContainer[str]
    revision: int
    def __init__(self, parameters: _Optional[_Iterable[_Union[_parameter_pb2.Parameter, _Mapping]]] = ..., missing_names: _Optional[_Iterable[str]] = ..., revision: _Optional[int] = ...) -> None: ...

class ListParametersRequest(_message.Message):
    __slots__ = ("path", "recursive", "page_size", "page_token", "with_decryption", "filters", "without_values")
    PATH_FIELD_NUMBER: _ClassVar[int]
    RECURSIVE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    WITH_DECRYPTION_FIELD_NUMBER: _ClassVar[int]
    FILTERS_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_VALUES_FIELD_NUMBER: _ClassVar[int]
    path: str
    recursive: bool
    page_size: int
    page_token: str
    with_decryption: bool
    filters: _containers.RepeatedCompositeFieldContainer[ParameterFilter]
    without_values: bool
    def __init__(self, path: _Optional[str] = ..., recursive: bool = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., with_decryption: bool = ..., filters: _Optional[_Iterable[_Union[ParameterFilter, _Mapping]]] = ..., without_values: bool = ...) -> None: ...

class ParameterFilter(_message.Message):
    __slots__ = ("key", "option", "values")
    KEY_FIELD_NUMBER: _ClassVar[int]
    OPTION_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    key: str
    option: str
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, key: _Optional[str] = ..., option: _Optional[str] = ..., values: _Optional[_Iterable[str]] = ...) -> None: ...

class ListParametersResponse(_message.Message):
    __slots__ = ("parameters", "next_page_token", "revision")
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    parameters: _containers.RepeatedCompositeFieldContainer[_parameter_pb2.Parameter]
    next_page_token: str
    revision: int
    def __init__(self, parameters: _Optional[_Iterable[_Union[_parameter_pb2.Parameter, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., revision: _Optional[int] = ...) -> None: ...

class DeleteParameterRequest(_message.Message):
    __slots__ = ("name", "expected_version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    expected_version: int
    def __init__(self, name: _Optional[str] = ..., expected_version: _Optional[int] = ...) -> None: ...

class DeleteParameterResponse(_message.Message):
    __slots__ = ("revision",)
    REVISION_FIELD_NUMBER: _ClassVar[int]
    revision: int
    def __init__(self, revision: _Optional[int] = ...) -> None: ...

class ListParameterVersionsRequest(_message.Message):
    __slots__ = ("name", "page_size", "page_token", "with_decryption")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    WITH_DECRYPTION_FIELD_NUMBER: _ClassVar[int]
    name: str
    page_size: int
    page_token: str
    with_decryption: bool
    def __init__(self, name: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., with_decryption: bool = ...) -> None: ...

class ListParameterVersionsResponse(_message.Message):
    __slots__ = ("parameters", "next_page_token")
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parameters: _containers.RepeatedCompositeFieldContainer[_parameter_pb2.Parameter]
    next_page_token: str
    def __init__(self, parameters: _Optional[_Iterable[_Union[_parameter_pb2.Parameter, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class LabelParameterVersionRequest(_message.Message):
    __slots__ = ("name", "version", "labels")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    labels: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., labels: _Optional[_Iterable[str]] = ...) -> None: ...

class LabelParameterVersionResponse(_message.Message):
    __slots__ = ("version", "invalid_labels", "revision")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    INVALID_LABELS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    version: int
    invalid_labels: _containers.RepeatedScalarFieldContainer[str]
    revision: int
    def __init__(self, version: _Optional[int] = ..., invalid_labels: _Optional[_Iterable[str]] = ..., revision: _Optional[int] = ...) -> None: ...

class UnlabelParameterVersionRequest(_message.Message):
    __slots__ = ("name", "version", "labels")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    labels: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., labels: _Optional[_Iterable[str]] = ...) -> None: ...

class UnlabelParameterVersionResponse(_message.Message):
    __slots__ = ("removed_labels", "invalid_labels", "revision")
    REMOVED_LABELS_FIELD_NUMBER: _ClassVar[int]
    INVALID_LABELS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    removed_labels: _containers.RepeatedScalarFieldContainer[str]
    invalid_labels: _containers.RepeatedScalarFieldContainer[str]
    revision: int
    def __init__(self, removed_labels: _Optional[_Iterable[str]] = ..., invalid_labels: _Optional[_Iterable[str]] = ..., revision: _Optional[int] = ...) -> None: ...

class TagParameterRequest(_message.Message):
    __slots__ = ("name", "tags", "removed_keys")
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    REMOVED_KEYS_FIELD_NUMBER: _ClassVar[int]
    name: str
    tags: _containers.ScalarMap[str, str]
    removed_keys: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., tags: _Optional[_Mapping[str, str]] = ..., removed_keys: _Optional[_Iterable[str]] = ...) -> None: ...

class TagParameterResponse(_message.Message):
    __slots__ = ("tags", "revision")
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TAGS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    tags: _containers.ScalarMap[str, str]
    revision: int
    def __init__(self, tags: _Optional[_Mapping[str, str]] = ..., revision: _Optional[int] = ...) -> None: ...

class ExplainAccessRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ExplainAccessResponse(_message.Message):
    __slots__ = ("principal", "actions")
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    principal: str
    actions: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, principal: _Optional[str] = ..., actions: _Optional[_Iterable[str]] = ...) -> None: ...

class WatchParametersRequest(_message.Message):
    __slots__ = ("path", "from_revision", "with_decryption")
    PATH_FIELD_NUMBER: _ClassVar[int]
    FROM_REVISION_FIELD_NUMBER: _ClassVar[int]
    WITH_DECRYPTION_FIELD_NUMBER: _ClassVar[int]
    path: str
    from_revision: int
    with_decryption: bool
    def __init__(self, path: _Optional[str] = ..., from_revision: _Optional[int] = ..., with_decryption: bool = ...) -> None: ...

class WatchParametersResponse(_message.Message):
    __slots__ = ("put", "delete", "bookmark", "notice", "metadata")
    PUT_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    BOOKMARK_FIELD_NUMBER: _ClassVar[int]
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    put: ParameterPut
    delete: ParameterDelete
    bookmark: WatchBookmark
    notice: ParameterNotice
    metadata: ParameterMetadata
    def __init__(self, put: _Optional[_Union[ParameterPut, _Mapping]] = ..., delete: _Optional[_Union[ParameterDelete, _Mapping]] = ..., bookmark: _Optional[_Union[WatchBookmark, _Mapping]] = ..., notice: _Optional[_Union[ParameterNotice, _Mapping]] = ..., metadata: _Optional[_Union[ParameterMetadata, _Mapping]] = ...) -> None: ...

class ParameterPut(_message.Message):
    __slots__ = ("parameter",)
    PARAMETER_FIELD_NUMBER: _ClassVar[int]
    parameter: _parameter_pb2.Parameter
    def __init__(self, parameter: _Optional[_Union[_parameter_pb2.Parameter, _Mapping]] = ...) -> None: ...

class ParameterDelete(_message.Message):
    __slots__ = ("name", "revision")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    name: str
    revision: int
    def __init__(self, name: _Optional[str] = ..., revision: _Optional[int] = ...) -> None: ...

class WatchBookmark(_message.Message):
    __slots__ = ("revision",)
    REVISION_FIELD_NUMBER: _ClassVar[int]
    revision: int
    def __init__(self, revision: _Optional[int] = ...) -> None: ...

class ParameterNotice(_message.Message):
    __slots__ = ("name", "revision", "policy_type", "due_at")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    POLICY_TYPE_FIELD_NUMBER: _ClassVar[int]
    DUE_AT_FIELD_NUMBER: _ClassVar[int]
    name: str
    revision: int
    policy_type: str
    due_at: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., revision: _Optional[int] = ..., policy_type: _Optional[str] = ..., due_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ParameterMetadata(_message.Message):
    __slots__ = ("name", "revision", "labels", "tags")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    name: str
    revision: int
    labels: _containers.ScalarMap[str, int]
    tags: _containers.ScalarMap[str, str]
    def __init__(self, name: _Optional[str] = ..., revision: _Optional[int] = ..., labels: _Optional[_Mapping[str, int]] = ..., tags: _Optional[_Mapping[str, str]] = ...) -> None: ...
