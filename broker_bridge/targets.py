"""Where messages go: the port every target implements, and what it may answer per message.

A target tells apart what is worth repeating and what is not; the route's retry settings decide how often.
`Target.deliver` never raises for a failed delivery: each message has an outcome.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TypeAlias
from urllib.parse import urlsplit

from penstock.delivery.v1 import target_pb2

from broker_bridge.parcel import Parcel


class ErrorClass(StrEnum):
    """The kind of a failure, as dead letters and metrics name it."""

    POISON = "poison"
    """The message itself cannot be understood or is not allowed: repeating cannot help."""
    REFUSED = "refused"
    """The target worked on the message and said no, or failed."""
    UNAVAILABLE = "unavailable"
    """The target, or something on the way to it, did not answer."""
    THROTTLED = "throttled"
    """The target asks for less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer for the sender of a message: text, or bytes. It goes to JMSReplyTo; without one it is dropped."""

    body: str | bytes
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The target has it: durable there, or worked off."""

    reply: Reply | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The target will never take it: a dead letter."""

    reason: str
    error_class: ErrorClass = ErrorClass.REFUSED


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Not now. `after` is the earliest time of the next attempt in seconds, None leaves it to the route."""

    reason: str
    error_class: ErrorClass
    after: float | None = None


Outcome: TypeAlias = Accepted | Rejected | Retry
ACCEPTED = Accepted()


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcTarget:
    """A service that implements `penstock.delivery.v1.DeliveryService`."""

    address: str

    def __str__(self) -> str:
        return f"gRPC {self.address}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LambdaTarget:
    """An AWS Lambda function. `asynchronous` is invocation type Event; `simple` the event `{message, timestamp}`."""

    function_name: str
    asynchronous: bool = False
    simple: bool = False

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
    """An HTTP endpoint; an empty `content_type` follows from the body."""

    url: str
    content_type: str = ""

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
    return LambdaTarget(
        function_name=_required(invoked.function_name, "lambda_function.function_name"),
        asynchronous=invoked.invocation_type == target_pb2.LAMBDA_INVOCATION_TYPE_EVENT,
        simple=invoked.event_format == target_pb2.LAMBDA_EVENT_FORMAT_SIMPLE,
    )


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
    return HttpTarget(url=url, content_type=target.http.content_type)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a delivery comes from: the route, and `topic/subscription` where one matched."""

    route: str
    subscription: str = ""


class Target(Protocol):
    """A place messages are delivered to. Several deliveries may run at the same time."""

    async def deliver(self, parcels: Sequence[Parcel], origin: Origin) -> Sequence[Outcome]:
        """Hands over 1 to 1000 messages; one outcome per message, in order.

        Bounded in time; raises only cancellation.
        """
        ...

    async def close(self) -> None: ...


class MemoryTarget:
    """Keeps what is delivered; `decide` gives the outcome of each message. For tests and dry runs."""

    def __init__(self, decide: Callable[[Parcel], Outcome] = lambda _parcel: ACCEPTED) -> None:
        self.delivered: list[Parcel] = []
        self.batches: list[tuple[Parcel, ...]] = []
        self._decide = decide

    async def deliver(self, parcels: Sequence[Parcel], origin: Origin) -> Sequence[Outcome]:  # noqa: ARG002
        await asyncio.sleep(0)
        self.batches.append(tuple(parcels))
        outcomes = [self._decide(parcel) for parcel in parcels]
        self.delivered += [p for p, outcome in zip(parcels, outcomes, strict=True) if isinstance(outcome, Accepted)]
        return outcomes

    async def close(self) -> None: ...


class Targets:
    """The open targets, one per distinct place: routes and subscriptions that name the same one share it."""

    def __init__(self, connect: Callable[[TargetSpec], Target]) -> None:
        self._connect = connect
        self._open: dict[TargetSpec, Target] = {}

    def get(self, spec: TargetSpec) -> Target:
        """The target of a specification, opened on first use."""
        if spec not in self._open:
            self._open[spec] = self._connect(spec)
        return self._open[spec]

    async def close(self) -> None:
        closing: list[Awaitable[None]] = [target.close() for target in self._open.values()]
        self._open.clear()
        await asyncio.gather(*closing)
