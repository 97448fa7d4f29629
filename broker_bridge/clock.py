"""Time and chance, as parameters: tests never sleep."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """`monotonic` in seconds for durations, `wall` in milliseconds since 1970, `random` in [0, 1) for jitter."""

    monotonic: Callable[[], float]
    wall: Callable[[], int]
    random: Callable[[], float]
