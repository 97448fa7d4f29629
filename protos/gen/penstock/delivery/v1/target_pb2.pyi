from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LambdaInvocationType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LAMBDA_INVOCATION_TYPE_UNSPECIFIED: _ClassVar[LambdaInvocationType]
    LAMBDA_INVOCATION_TYPE_REQUEST_RESPONSE: _ClassVar[LambdaInvocationType]
    LAMBDA_INVOCATION_TYPE_EVENT: _ClassVar[LambdaInvocationType]

class LambdaEventFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LAMBDA_EVENT_FORMAT_UNSPECIFIED: _ClassVar[LambdaEventFormat]
    LAMBDA_EVENT_FORMAT_AMAZON_MQ: _ClassVar[LambdaEventFormat]
    LAMBDA_EVENT_FORMAT_SIMPLE: _ClassVar[LambdaEventFormat]

class LambdaReplies(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LAMBDA_REPLIES_UNSPECIFIED: _ClassVar[LambdaReplies]
    LAMBDA_REPLIES_NONE: _ClassVar[LambdaReplies]
    LAMBDA_REPLIES_ANSWER: _ClassVar[LambdaReplies]

class KinesisRecordFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KINESIS_RECORD_FORMAT_UNSPECIFIED: _ClassVar[KinesisRecordFormat]
    KINESIS_RECORD_FORMAT_BODY: _ClassVar[KinesisRecordFormat]
    KINESIS_RECORD_FORMAT_BROKER_MESSAGE: _ClassVar[KinesisRecordFormat]

class HttpReplies(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HTTP_REPLIES_UNSPECIFIED: _ClassVar[HttpReplies]
    HTTP_REPLIES_NONE: _ClassVar[HttpReplies]
    HTTP_REPLIES_ANSWER: _ClassVar[HttpReplies]
LAMBDA_INVOCATION_TYPE_UNSPECIFIED: LambdaInvocationType
LAMBDA_INVOCATION_TYPE_REQUEST_RESPONSE: LambdaInvocationType
LAMBDA_INVOCATION_TYPE_EVENT: LambdaInvocationType
LAMBDA_EVENT_FORMAT_UNSPECIFIED: LambdaEventFormat
LAMBDA_EVENT_FORMAT_AMAZON_MQ: LambdaEventFormat
LAMBDA_EVENT_FORMAT_SIMPLE: LambdaEventFormat
LAMBDA_REPLIES_UNSPECIFIED: LambdaReplies
LAMBDA_REPLIES_NONE: LambdaReplies
LAMBDA_REPLIES_ANSWER: LambdaReplies
KINESIS_RECORD_FORMAT_UNSPECIFIED: KinesisRecordFormat
KINESIS_RECORD_FORMAT_BODY: KinesisRecordFormat
KINESIS_RECORD_FORMAT_BROKER_MESSAGE: KinesisRecordFormat
HTTP_REPLIES_UNSPECIFIED: HttpReplies
HTTP_REPLIES_NONE: HttpReplies
HTTP_REPLIES_ANSWER: HttpReplies

class Target(_message.Message):
    __slots__ = ("grpc", "lambda_function", "sqs", "sns", "kinesis", "queue", "http")
    GRPC_FIELD_NUMBER: _ClassVar[int]
    LAMBDA_FUNCTION_FIELD_NUMBER: _ClassVar[int]
    SQS_FIELD_NUMBER: _ClassVar[int]
    SNS_FIELD_NUMBER: _ClassVar[int]
    KINESIS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    HTTP_FIELD_NUMBER: _ClassVar[int]
    grpc: GrpcTarget
    lambda_function: LambdaTarget
    sqs: SqsTarget
    sns: SnsTarget
    kinesis: KinesisTarget
    queue: QueueTarget
    http: HttpTarget
    def __init__(self, grpc: _Optional[_Union[GrpcTarget, _Mapping]] = ..., lambda_function: _Optional[_Union[LambdaTarget, _Mapping]] = ..., sqs: _Optional[_Union[SqsTarget, _Mapping]] = ..., sns: _Optional[_Union[SnsTarget, _Mapping]] = ..., kinesis: _Optional[_Union[KinesisTarget, _Mapping]] = ..., queue: _Optional[_Union[QueueTarget, _Mapping]] = ..., http: _Optional[_Union[HttpTarget, _Mapping]] = ...) -> None: ...

class GrpcTarget(_message.Message):
    __slots__ = ("address",)
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    address: str
    def __init__(self, address: _Optional[str] = ...) -> None: ...

class LambdaTarget(_message.Message):
    __slots__ = ("function_name", "invocation_type", "event_format", "replies")
    FUNCTION_NAME_FIELD_NUMBER: _ClassVar[int]
    INVOCATION_TYPE_FIELD_NUMBER: _ClassVar[int]
    EVENT_FORMAT_FIELD_NUMBER: _ClassVar[int]
    REPLIES_FIELD_NUMBER: _ClassVar[int]
    function_name: str
    invocation_type: LambdaInvocationType
    event_format: LambdaEventFormat
    replies: LambdaReplies
    def __init__(self, function_name: _Optional[str] = ..., invocation_type: _Optional[_Union[LambdaInvocationType, str]] = ..., event_format: _Optional[_Union[LambdaEventFormat, str]] = ..., replies: _Optional[_Union[LambdaReplies, str]] = ...) -> None: ...

class SqsTarget(_message.Message):
    __slots__ = ("queue_url", "group_property")
    QUEUE_URL_FIELD_NUMBER: _ClassVar[int]
    GROUP_PROPERTY_FIELD_NUMBER: _ClassVar[int]
    queue_url: str
    group_property: str
    def __init__(self, queue_url: _Optional[str] = ..., group_property: _Optional[str] = ...) -> None: ...

class SnsTarget(_message.Message):
    __slots__ = ("topic_arn", "group_property")
    TOPIC_ARN_FIELD_NUMBER: _ClassVar[int]
    GROUP_PROPERTY_FIELD_NUMBER: _ClassVar[int]
    topic_arn: str
    group_property: str
    def __init__(self, topic_arn: _Optional[str] = ..., group_property: _Optional[str] = ...) -> None: ...

class KinesisTarget(_message.Message):
    __slots__ = ("stream", "partition_key_property", "record_format")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    PARTITION_KEY_PROPERTY_FIELD_NUMBER: _ClassVar[int]
    RECORD_FORMAT_FIELD_NUMBER: _ClassVar[int]
    stream: str
    partition_key_property: str
    record_format: KinesisRecordFormat
    def __init__(self, stream: _Optional[str] = ..., partition_key_property: _Optional[str] = ..., record_format: _Optional[_Union[KinesisRecordFormat, str]] = ...) -> None: ...

class QueueTarget(_message.Message):
    __slots__ = ("destination",)
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    destination: str
    def __init__(self, destination: _Optional[str] = ...) -> None: ...

class HttpTarget(_message.Message):
    __slots__ = ("url", "content_type", "replies")
    URL_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    REPLIES_FIELD_NUMBER: _ClassVar[int]
    url: str
    content_type: str
    replies: HttpReplies
    def __init__(self, url: _Optional[str] = ..., content_type: _Optional[str] = ..., replies: _Optional[_Union[HttpReplies, str]] = ...) -> None: ...
