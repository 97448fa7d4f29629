"""What the supervisor needs to know of one part of the embedded stack; the parts describe, the supervisor starts."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM
from typing import Protocol


class PartError(Exception):
    """A part of the embedded stack cannot run; the message is one line saying what is wrong and what to do."""


class PartNotReadyError(PartError):
    """One readiness probe got no proper answer yet; asking again may succeed."""


class Progress(Protocol):
    """Where slow work (fetching jars) tells what it is doing, one line per step."""

    def step(self, text: str) -> None: ...


class SilentProgress:
    """Progress for callers that show none."""

    def step(self, text: str) -> None:
        """Drop the line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PartSpec:
    """A process to start and the probe that tells when it serves.

    `ready` makes one attempt in the part's own protocol, bounded in time, and raises `PartNotReadyError` until the
    part answers. `environment` is added to that of the supervisor. `is_real` is False for a double of a cloud service.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    data_directory: Path
    addresses: Mapping[str, str]
    version: str
    is_real: bool
    ready: Callable[[], Awaitable[None]]
    stop_signal: int = SIGTERM
    clean_exit_codes: frozenset[int] = frozenset({0})
