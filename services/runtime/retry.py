"""Waiting before the next attempt: a pure back-off and the one loop that uses it."""

import asyncio
import random as _random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from services.runtime.errors import DeadlineExceededError, PenstockError, RetryableError

T = TypeVar("T")
_TRANSIENT: tuple[type[PenstockError], ...] = (RetryableError, DeadlineExceededError)


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


async def retry_async(
    operation: Callable[[], Awaitable[T]],
    *,
    backoff: Backoff,
    attempts: int,
    retry_on: tuple[type[Exception], ...] = _TRANSIENT,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    random: Callable[[], float] = _random.random,
    on_retry: Callable[[int, Exception, float], None] = lambda _attempt, _error, _wait: None,
) -> T:
    """The result of `operation`, tried up to `attempts` times; the last error is raised as it came.

    Only `retry_on` is retried, by default what may pass by itself. A `retry_after` of the error lengthens the wait.
    `on_retry` hears of each failure that is followed by another attempt: its number, the error, the wait in seconds.
    """
    for attempt in range(1, attempts):
        try:
            return await operation()
        except retry_on as error:
            advised = error.retry_after if isinstance(error, RetryableError) else None
            wait = max(backoff.delay(attempt, random), advised or 0.0)
            on_retry(attempt, error, wait)
            await sleep(wait)
    return await operation()
