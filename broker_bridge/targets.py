"""Where messages go: the port every target implements, and what it may answer per message.

A target tells apart what is worth repeating and what is not; the route's retry settings decide how often.
`Target.deliver` never raises for a failed delivery: each message has an outcome.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TypeAlias

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


TargetSpec: TypeAlias = GrpcTarget | LambdaTarget | SqsTarget
_NOT_BUILT = ("sns", "kinesis", "queue", "http")


class TargetError(ValueError):
    """A target that cannot be used; the message says why, `field` which part of it (relative, may be empty)."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


def parse_target(target: target_pb2.Target) -> TargetSpec:
    """The domain value of a target as routes and subscriptions store it.

    Raises:
        TargetError: none or an unknown kind is set, a required field is empty, or this version does not deliver to it.
    """
    kind = target.WhichOneof("kind")
    if kind == "grpc":
        return GrpcTarget(address=_required(target.grpc.address, "grpc.address"))
    if kind == "sqs":
        return SqsTarget(
            queue_url=_url(target.sqs.queue_url, "sqs.queue_url"), group_property=target.sqs.group_property
        )
    if kind == "lambda_function":
        invoked = target.lambda_function
        return LambdaTarget(
            function_name=_required(invoked.function_name, "lambda_function.function_name"),
            asynchronous=invoked.invocation_type == target_pb2.LAMBDA_INVOCATION_TYPE_EVENT,
            simple=invoked.event_format == target_pb2.LAMBDA_EVENT_FORMAT_SIMPLE,
        )
    if kind in _NOT_BUILT:
        raise TargetError(f"this version does not deliver to {kind}: use grpc, lambda_function or sqs", field=kind)
    raise TargetError("names no target: set one of grpc, lambda_function, sqs")


def _required(value: str, name: str) -> str:
    if not value.strip():
        raise TargetError("is required", field=name)
    return value


def _url(value: str, name: str) -> str:
    if not _required(value, name).startswith(("http://", "https://")):
        raise TargetError(f"{value!r} is not the URL of a queue (https://...)", field=name)
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
