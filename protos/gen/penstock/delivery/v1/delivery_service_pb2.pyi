import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from penstock.delivery.v1 import broker_message_pb2 as _broker_message_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DeliveryOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DELIVERY_OUTCOME_UNSPECIFIED: _ClassVar[DeliveryOutcome]
    DELIVERY_OUTCOME_ACCEPTED: _ClassVar[DeliveryOutcome]
    DELIVERY_OUTCOME_REJECTED: _ClassVar[DeliveryOutcome]
    DELIVERY_OUTCOME_RETRY: _ClassVar[DeliveryOutcome]
DELIVERY_OUTCOME_UNSPECIFIED: DeliveryOutcome
DELIVERY_OUTCOME_ACCEPTED: DeliveryOutcome
DELIVERY_OUTCOME_REJECTED: DeliveryOutcome
DELIVERY_OUTCOME_RETRY: DeliveryOutcome

class DeliverMessagesRequest(_message.Message):
    __slots__ = ("messages", "route", "subscription")
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTION_FIELD_NUMBER: _ClassVar[int]
    messages: _containers.RepeatedCompositeFieldContainer[_broker_message_pb2.BrokerMessage]
    route: str
    subscription: str
    def __init__(self, messages: _Optional[_Iterable[_Union[_broker_message_pb2.BrokerMessage, _Mapping]]] = ..., route: _Optional[str] = ..., subscription: _Optional[str] = ...) -> None: ...

class DeliverMessagesResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[DeliveryResult]
    def __init__(self, results: _Optional[_Iterable[_Union[DeliveryResult, _Mapping]]] = ...) -> None: ...

class DeliveryResult(_message.Message):
    __slots__ = ("outcome", "reason", "retry_after", "reply")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    REPLY_FIELD_NUMBER: _ClassVar[int]
    outcome: DeliveryOutcome
    reason: str
    retry_after: _duration_pb2.Duration
    reply: Reply
    def __init__(self, outcome: _Optional[_Union[DeliveryOutcome, str]] = ..., reason: _Optional[str] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., reply: _Optional[_Union[Reply, _Mapping]] = ...) -> None: ...

class Reply(_message.Message):
    __slots__ = ("data", "text", "properties")
    class PropertiesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DATA_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    text: str
    properties: _containers.ScalarMap[str, str]
    def __init__(self, data: _Optional[bytes] = ..., text: _Optional[str] = ..., properties: _Optional[_Mapping[str, str]] = ...) -> None: ...
