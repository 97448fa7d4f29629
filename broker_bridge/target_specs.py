"""Which place is meant: the targets of routes and subscriptions as checked values, one class per kind."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlsplit

from penstock.delivery.v1 import target_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcTarget:
    """A service that implements `penstock.delivery.v1.DeliveryService`."""

    address: str

    def __str__(self) -> str:
        return f"gRPC {self.address}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LambdaTarget:
    """An AWS Lambda function. `asynchronous` is invocation type Event; `simple` the event `{message, timestamp}`.

    With `replies` its answers hold replies to the senders of messages.
    """

    function_name: str
    asynchronous: bool = False
    simple: bool = False
    replies: bool = False

    def __str__(self) -> str:
        return f"Lambda {self.function_name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SqsTarget:
    """An Amazon SQS queue; `group_property` names the property that becomes the group id of a FIFO queue."""

    queue_url: str
    group_property: str = ""

    def __str__(self) -> str:
        return f"SQS {self.queue_url}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SnsTarget:
    """An Amazon SNS topic; `group_property` names the property that becomes the group id of a FIFO topic."""

    topic_arn: str
    group_property: str = ""

    def __str__(self) -> str:
        return f"SNS {self.topic_arn}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KinesisTarget:
    """An Amazon Kinesis data stream, by name or ARN.

    Records are spread by the property `partition_key_property` or the message id; with `whole` they hold a serialized
    `BrokerMessage` instead of the body.
    """

    stream: str
    partition_key_property: str = ""
    whole: bool = False

    def __str__(self) -> str:
        return f"Kinesis {self.stream}"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueTarget:
    """Another destination of the same broker, a URI such as `queue://archive`."""

    destination: str

    def __str__(self) -> str:
        return self.destination


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpTarget:
    """An HTTP endpoint; an empty `content_type` follows from the body. With `replies` its answers are replies."""

    url: str
    content_type: str = ""
    replies: bool = False

    def __str__(self) -> str:
        return f"HTTP {self.url}"


TargetSpec: TypeAlias = GrpcTarget | LambdaTarget | SqsTarget | SnsTarget | KinesisTarget | QueueTarget | HttpTarget
_TOPIC_ARN = re.compile(r"arn:[a-z0-9-]+:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?")
_DESTINATION = re.compile(r"(queue|topic)://[^\s?,*>]+")
_CONTENT_TYPE = re.compile(r"[\x20-\x7e]*")


class TargetError(ValueError):
    """A target that cannot be used; the message says why, `field` which part of it (relative, may be empty)."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


def parse_target(target: target_pb2.Target) -> TargetSpec:
    """The domain value of a target as routes and subscriptions store it.

    Raises:
        TargetError: none or an unknown kind is set, or a field is empty or malformed.
    """
    kind = target.WhichOneof("kind")
    if kind is None:
        raise TargetError("names no target: set one of " + ", ".join(sorted(_PARSERS)))
    return _PARSERS[kind](target)


def _parse_grpc(target: target_pb2.Target) -> GrpcTarget:
    return GrpcTarget(address=_required(target.grpc.address, "grpc.address"))


def _parse_lambda(target: target_pb2.Target) -> LambdaTarget:
    invoked = target.lambda_function
    spec = LambdaTarget(
        function_name=_required(invoked.function_name, "lambda_function.function_name"),
        asynchronous=invoked.invocation_type == target_pb2.LAMBDA_INVOCATION_TYPE_EVENT,
        simple=invoked.event_format == target_pb2.LAMBDA_EVENT_FORMAT_SIMPLE,
        replies=invoked.replies == target_pb2.LAMBDA_REPLIES_ANSWER,
    )
    if spec.replies and spec.asynchronous:
        fault = (
            "nobody sees the answer of a function that is invoked asynchronously: use request-response, or no replies"
        )
        raise TargetError(fault, field="lambda_function.replies")
    return spec


def _parse_sqs(target: target_pb2.Target) -> SqsTarget:
    url = _required(target.sqs.queue_url, "sqs.queue_url")
    if not url.startswith(("http://", "https://")):
        raise TargetError(f"{url!r} is not the URL of a queue (https://...)", field="sqs.queue_url")
    return SqsTarget(queue_url=url, group_property=target.sqs.group_property)


def _parse_sns(target: target_pb2.Target) -> SnsTarget:
    arn = _required(target.sns.topic_arn, "sns.topic_arn")
    if not _TOPIC_ARN.fullmatch(arn):
        raise TargetError(f"{arn!r} is not the ARN of a topic (arn:aws:sns:region:account:name)", field="sns.topic_arn")
    return SnsTarget(topic_arn=arn, group_property=target.sns.group_property)


def _parse_kinesis(target: target_pb2.Target) -> KinesisTarget:
    stream = target.kinesis
    return KinesisTarget(
        stream=_required(stream.stream, "kinesis.stream"),
        partition_key_property=stream.partition_key_property,
        whole=stream.record_format == target_pb2.KINESIS_RECORD_FORMAT_BROKER_MESSAGE,
    )


def _parse_queue(target: target_pb2.Target) -> QueueTarget:
    destination = _required(target.queue.destination, "queue.destination")
    if not _DESTINATION.fullmatch(destination):
        fault = f"{destination!r} is not one queue or topic, such as queue://archive"
        raise TargetError(fault, field="queue.destination")
    return QueueTarget(destination=destination)


def _parse_http(target: target_pb2.Target) -> HttpTarget:
    url = _required(target.http.url, "http.url")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise TargetError(f"the URL is malformed: {error}", field="http.url") from None
    if parts.username or parts.password:
        raise TargetError("no login belongs into the URL: routes can be read by many", field="http.url")
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or not url.isascii() or " " in url:
        raise TargetError(f"{url!r} is not http://host/path or https://host/path", field="http.url")
    if not _CONTENT_TYPE.fullmatch(target.http.content_type):
        raise TargetError("may hold printable ASCII characters only", field="http.content_type")
    replies = target.http.replies == target_pb2.HTTP_REPLIES_ANSWER
    return HttpTarget(url=url, content_type=target.http.content_type, replies=replies)


_PARSERS: Mapping[str, Callable[[target_pb2.Target], TargetSpec]] = {
    "grpc": _parse_grpc,
    "http": _parse_http,
    "kinesis": _parse_kinesis,
    "lambda_function": _parse_lambda,
    "queue": _parse_queue,
    "sns": _parse_sns,
    "sqs": _parse_sqs,
}


def _required(value: str, name: str) -> str:
    if not value.strip():
        raise TargetError("is required", field=name)
    return value
