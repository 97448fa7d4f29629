"""The parts of a suite and the port behind which they run, in containers or as processes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from deploy.local.stack import DEPENDENCIES

PARTS: Sequence[str] = tuple(DEPENDENCIES)
"""activemq, valkey, aws-emulator, lambda-endpoint, config, persistence, filtering, tracking, bridge."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Listening:
    """Where a server of the test process listens, and the host by which the parts reach it."""

    bind_host: str
    reached_as: str


class Parts(Protocol):
    """Runs the parts of one suite. Every method blocks; `PartFailedError` when a part does not do as told."""

    @property
    def description(self) -> str:
        """What runs the parts, in words for the screen."""

    @property
    def addresses(self) -> Mapping[str, Mapping[str, str]]:
        """By part: the name of each listener and its `host:port` as this process reaches it. Stable over restarts."""

    @property
    def listening(self) -> Listening:
        """Where a server of this process must listen for the parts to reach it."""

    def open(self) -> None:
        """Start all parts and return when all serve; on failure nothing is left behind."""

    def close(self) -> None:
        """End all and remove what they stored."""

    def kill(self, part: str) -> None:
        """End a part by SIGKILL; it stays down until `start`."""

    def stop(self, part: str) -> None:
        """End a part in its own way (SIGTERM); it stays down until `start`."""

    def start(self, part: str) -> None:
        """Start a part that is down, on the same addresses and data; return when it serves."""

    def logs(self, part: str) -> str:
        """What a part has printed so far."""


def with_dependencies(names: Iterable[str]) -> Sequence[str]:
    """The named parts and all that they need, in the order in which they start; no name means all parts.

    Raises:
        ValueError: a name is no part.
    """
    wanted = set(names) or set(PARTS)
    if unknown := wanted - set(PARTS):
        raise ValueError(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    while missing := {needed for name in wanted for needed in DEPENDENCIES[name]} - wanted:
        wanted |= missing
    return [name for name in PARTS if name in wanted]
