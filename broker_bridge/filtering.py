"""Which targets want a message: the port to the filtering service, and the answer of a route with fixed targets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from broker_bridge.parcel import Parcel
from broker_bridge.target_specs import TargetSpec
from broker_bridge.targets import ErrorClass


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A target that wants a message.

    `name` is the subscription within its topic, or the target itself on a fixed route.
    `fault` says why this version cannot deliver to the target, which is then None.
    """

    name: str
    target: TargetSpec | None
    subscription: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmatched:
    """The message could not be matched."""

    reason: str
    error_class: ErrorClass


Match: TypeAlias = Sequence[Destination] | Unmatched


class FilteringUnavailableError(Exception):
    """The filtering service did not answer; nothing is known about any message."""


class MessageFilter(Protocol):
    """Decides where messages go."""

    async def match(self, topic: str, parcels: Sequence[Parcel]) -> Sequence[Match]:
        """The destinations of 1 to 1000 messages, in order. Raises FilteringUnavailableError."""
        ...


class MemoryFilter:
    """A filter of plain functions: `decide` answers for one message."""

    def __init__(self, decide: Callable[[str, Parcel], Match]) -> None:
        self._decide = decide

    async def match(self, topic: str, parcels: Sequence[Parcel]) -> Sequence[Match]:
        return [self._decide(topic, parcel) for parcel in parcels]


def fixed_destinations(targets: Sequence[TargetSpec]) -> Sequence[Destination]:
    """The destinations of a route that names its targets."""
    return tuple(Destination(name=str(target), target=target) for target in targets)
