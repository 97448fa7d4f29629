from penstock.delivery.v1 import target_pb2 as _target_pb2
from penstock.errors.v1 import error_reason_pb2 as _error_reason_pb2
from penstock.filtering.v1 import message_pb2 as _message_pb2
from penstock.filtering.v1 import subscription_pb2 as _subscription_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PutSubscriptionRequest(_message.Message):
    __slots__ = ("subscription", "expected_version")
    SUBSCRIPTION_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    subscription: _subscription_pb2.Subscription
    expected_version: int
    def __init__(self, subscription: _Optional[_Union[_subscription_pb2.Subscription, _Mapping]] = ..., expected_version: _Optional[int] = ...) -> None: ...

class PutSubscriptionResponse(_message.Message):
    __slots__ = ("subscription",)
    SUBSCRIPTION_FIELD_NUMBER: _ClassVar[int]
    subscription: _subscription_pb2.Subscription
    def __init__(self, subscription: _Optional[_Union[_subscription_pb2.Subscription, _Mapping]] = ...) -> None: ...

class GetSubscriptionRequest(_message.Message):
    __slots__ = ("topic", "name")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    topic: str
    name: str
    def __init__(self, topic: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class GetSubscriptionResponse(_message.Message):
    __slots__ = ("subscription",)
    SUBSCRIPTION_FIELD_NUMBER: _ClassVar[int]
    subscription: _subscription_pb2.Subscription
    def __init__(self, subscription: _Optional[_Union[_subscription_pb2.Subscription, _Mapping]] = ...) -> None: ...

class ListSubscriptionsRequest(_message.Message):
    __slots__ = ("topic", "page_size", "page_token")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    topic: str
    page_size: int
    page_token: str
    def __init__(self, topic: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListSubscriptionsResponse(_message.Message):
    __slots__ = ("subscriptions", "next_page_token")
    SUBSCRIPTIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    subscriptions: _containers.RepeatedCompositeFieldContainer[_subscription_pb2.Subscription]
    next_page_token: str
    def __init__(self, subscriptions: _Optional[_Iterable[_Union[_subscription_pb2.Subscription, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteSubscriptionRequest(_message.Message):
    __slots__ = ("topic", "name")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    topic: str
    name: str
    def __init__(self, topic: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class DeleteSubscriptionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class MatchMessageRequest(_message.Message):
    __slots__ = ("topic", "message")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    topic: str
    message: _message_pb2.FilterableMessage
    def __init__(self, topic: _Optional[str] = ..., message: _Optional[_Union[_message_pb2.FilterableMessage, _Mapping]] = ...) -> None: ...

class MatchMessageResponse(_message.Message):
    __slots__ = ("subscriptions",)
    SUBSCRIPTIONS_FIELD_NUMBER: _ClassVar[int]
    subscriptions: _containers.RepeatedCompositeFieldContainer[MatchedSubscription]
    def __init__(self, subscriptions: _Optional[_Iterable[_Union[MatchedSubscription, _Mapping]]] = ...) -> None: ...

class MatchedSubscription(_message.Message):
    __slots__ = ("name", "target")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    name: str
    target: _target_pb2.Target
    def __init__(self, name: _Optional[str] = ..., target: _Optional[_Union[_target_pb2.Target, _Mapping]] = ...) -> None: ...

class BatchMatchMessagesRequest(_message.Message):
    __slots__ = ("topic", "messages")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    topic: str
    messages: _containers.RepeatedCompositeFieldContainer[_message_pb2.FilterableMessage]
    def __init__(self, topic: _Optional[str] = ..., messages: _Optional[_Iterable[_Union[_message_pb2.FilterableMessage, _Mapping]]] = ...) -> None: ...

class BatchMatchMessagesResponse(_message.Message):
    __slots__ = ("subscriptions", "results")
    SUBSCRIPTIONS_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    subscriptions: _containers.RepeatedCompositeFieldContainer[MatchedSubscription]
    results: _containers.RepeatedCompositeFieldContainer[MatchResult]
    def __init__(self, subscriptions: _Optional[_Iterable[_Union[MatchedSubscription, _Mapping]]] = ..., results: _Optional[_Iterable[_Union[MatchResult, _Mapping]]] = ...) -> None: ...

class MatchResult(_message.Message):
    __slots__ = ("subscription_indexes", "error")
    SUBSCRIPTION_INDEXES_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    subscription_indexes: _containers.RepeatedScalarFieldContainer[int]
    error: MatchError
    def __init__(self, subscription_indexes: _Optional[_Iterable[int]] = ..., error: _Optional[_Union[MatchError, _Mapping]] = ...) -> None: ...

class MatchError(_message.Message):
    __slots__ = ("reason", "message")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    reason: _error_reason_pb2.ErrorReason
    message: str
    def __init__(self, reason: _Optional[_Union[_error_reason_pb2.ErrorReason, str]] = ..., message: _Optional[str] = ...) -> None: ...

class StreamMatchMessagesRequest(_message.Message):
    __slots__ = ("batch",)
    BATCH_FIELD_NUMBER: _ClassVar[int]
    batch: BatchMatchMessagesRequest
    def __init__(self, batch: _Optional[_Union[BatchMatchMessagesRequest, _Mapping]] = ...) -> None: ...

class StreamMatchMessagesResponse(_message.Message):
    __slots__ = ("batch",)
    BATCH_FIELD_NUMBER: _ClassVar[int]
    batch: BatchMatchMessagesResponse
    def __init__(self, batch: _Optional[_Union[BatchMatchMessagesResponse, _Mapping]] = ...) -> None: ...

class ValidateFilterPolicyRequest(_message.Message):
    __slots__ = ("filter_policy", "dialect", "anything_but_arrays")
    FILTER_POLICY_FIELD_NUMBER: _ClassVar[int]
    DIALECT_FIELD_NUMBER: _ClassVar[int]
    ANYTHING_BUT_ARRAYS_FIELD_NUMBER: _ClassVar[int]
    filter_policy: str
    dialect: _subscription_pb2.FilterDialect
    anything_but_arrays: _subscription_pb2.AnythingButArrays
    def __init__(self, filter_policy: _Optional[str] = ..., dialect: _Optional[_Union[_subscription_pb2.FilterDialect, str]] = ..., anything_but_arrays: _Optional[_Union[_subscription_pb2.AnythingButArrays, str]] = ...) -> None: ...

class ValidateFilterPolicyResponse(_message.Message):
    __slots__ = ("faults", "complexity", "warnings")
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    COMPLEXITY_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    faults: _containers.RepeatedCompositeFieldContainer[PolicyFault]
    complexity: int
    warnings: _containers.RepeatedCompositeFieldContainer[PolicyFault]
    def __init__(self, faults: _Optional[_Iterable[_Union[PolicyFault, _Mapping]]] = ..., complexity: _Optional[int] = ..., warnings: _Optional[_Iterable[_Union[PolicyFault, _Mapping]]] = ...) -> None: ...

class PolicyFault(_message.Message):
    __slots__ = ("message", "path", "line", "column")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    message: str
    path: str
    line: int
    column: int
    def __init__(self, message: _Optional[str] = ..., path: _Optional[str] = ..., line: _Optional[int] = ..., column: _Optional[int] = ...) -> None: ...

class ExplainMatchRequest(_message.Message):
    __slots__ = ("subscription", "inline", "message")
    SUBSCRIPTION_FIELD_NUMBER: _ClassVar[int]
    INLINE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    subscription: GetSubscriptionRequest
    inline: ValidateFilterPolicyRequest
    message: _message_pb2.FilterableMessage
    def __init__(self, subscription: _Optional[_Union[GetSubscriptionRequest, _Mapping]] = ..., inline: _Optional[_Union[ValidateFilterPolicyRequest, _Mapping]] = ..., message: _Optional[_Union[_message_pb2.FilterableMessage, _Mapping]] = ...) -> None: ...

class ExplainMatchResponse(_message.Message):
    __slots__ = ("matches", "keys")
    MATCHES_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    matches: bool
    keys: _containers.RepeatedCompositeFieldContainer[KeyExplanation]
    def __init__(self, matches: bool = ..., keys: _Optional[_Iterable[_Union[KeyExplanation, _Mapping]]] = ...) -> None: ...

class KeyExplanation(_message.Message):
    __slots__ = ("path", "satisfied", "condition", "actual")
    PATH_FIELD_NUMBER: _ClassVar[int]
    SATISFIED_FIELD_NUMBER: _ClassVar[int]
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    ACTUAL_FIELD_NUMBER: _ClassVar[int]
    path: str
    satisfied: bool
    condition: str
    actual: str
    def __init__(self, path: _Optional[str] = ..., satisfied: bool = ..., condition: _Optional[str] = ..., actual: _Optional[str] = ...) -> None: ...
