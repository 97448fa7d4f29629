"""How long to wait before the next attempt."""

import random as _random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential back-off with jitter; all times in seconds.

    The wait before attempt n+1 is `initial * multiplier**(n-1)`, at most `maximum`, shortened by a random share of up
    to `jitter` (0 to 1), so that many waiters do not return at the same moment.
    """

    initial: float = 0.1
    maximum: float = 10.0
    multiplier: float = 2.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        if not (0 <= self.initial <= self.maximum and self.multiplier >= 1 and 0 <= self.jitter <= 1):
            message = f"{self} needs 0 <= initial <= maximum, multiplier >= 1 and 0 <= jitter <= 1"
            raise ValueError(message)

    def delay(self, attempt: int, random: Callable[[], float] = _random.random) -> float:
        """Seconds to wait after the failure of `attempt` (the first is 1); `random` gives numbers in [0, 1)."""
        try:
            full = min(self.maximum, self.initial * self.multiplier ** max(attempt - 1, 0))
        except OverflowError:
            full = self.maximum
        return full * (1 - self.jitter * random())
