"""A token bucket: how many messages may go now, and when the next may."""


class TokenBucket:
    """`rate` tokens a second, of which one second's worth, and at least one, is saved up. Times are the caller's."""

    def __init__(self, rate: float, *, now: float) -> None:
        self._rate = rate
        self._capacity = max(rate, 1.0)
        self._tokens = self._capacity
        self._at = now

    def take(self, wanted: int, *, now: float) -> int:
        """Takes up to `wanted` whole tokens, as many as are there."""
        self._fill(now)
        taken = min(wanted, int(self._tokens))
        self._tokens -= taken
        return taken

    def wait(self, *, now: float) -> float:
        """Seconds until a token is there."""
        self._fill(now)
        return max((1.0 - self._tokens) / self._rate, 0.0)

    def _fill(self, now: float) -> None:
        self._tokens = min(self._capacity, self._tokens + max(now - self._at, 0.0) * self._rate)
        self._at = now
