"""A circuit breaker: whether a target that keeps failing is called at all.

closed ── `failures` failed deliveries in a row ──▶ open ── `open_seconds` later ──▶ half-open
   ▲                                                 ▲                                  │ one delivery tries
   └────────────────── it did not fail ──────────────┼──────────────────────────────────┤
                                                     └─────────── it failed ────────────┘
"""

from dataclasses import dataclass

_TRIAL_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitSettings:
    """Failed deliveries in a row that open a circuit, and the seconds it then stays open."""

    failures: int = 5
    open_seconds: float = 10.0


class Circuit:
    """The circuit of one target. Times are seconds of the caller's clock."""

    def __init__(self, settings: CircuitSettings) -> None:
        self._settings = settings
        self._failed = 0
        self._opens_until: float | None = None
        self._trying = False
        self.reason = ""
        """The failure that opened it; empty while it is closed."""

    @property
    def is_closed(self) -> bool:
        return self._opens_until is None

    def admit(self, *, now: float) -> float:
        """0 when a delivery may begin, which must then be recorded; else seconds to wait before asking again."""
        if self._opens_until is None:
            return 0.0
        if self._trying:
            return min(self._settings.open_seconds, _TRIAL_SECONDS)
        if now < self._opens_until:
            return self._opens_until - now
        self._trying = True
        return 0.0

    def succeeded(self) -> None:
        """A delivery that was admitted got an answer about its messages, whatever it was."""
        self._failed = 0
        self._opens_until = None
        self._trying = False
        self.reason = ""

    def failed(self, reason: str, *, now: float) -> None:
        """A delivery that was admitted failed as a whole."""
        self._failed += 1
        if self._trying or (self._opens_until is None and self._failed >= self._settings.failures):
            self._opens_until = now + self._settings.open_seconds
            self.reason = reason
        self._trying = False
