"""Where messages go: the port every target implements, and what it may answer per message.

A target tells apart what is worth repeating and what is not; the route's retry settings decide how often.
`Target.deliver` never raises for a failed delivery: each message has an outcome.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TypeAlias

from broker_bridge.parcel import Parcel
from broker_bridge.target_specs import TargetSpec


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
    """The target has it: durable there, or worked off. `unread` tells why answers could not be read as replies."""

    reply: Reply | None = None
    unread: tuple[str, ...] = ()


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
