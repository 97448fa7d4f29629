"""What a program means for its events, worked out once for each of a batch and not for each event."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from services.tracking.core import Terms
from services.tracking.event import TrackingEvent
from services.tracking.lookup import Finding, Unknown
from services.tracking.results import (
    ACCEPTED,
    EXPIRED_PROGRAM,
    INVALID,
    UNKNOWN_PROGRAM,
    UNVERIFIED,
    Outcome,
    success_templates,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a program means for its events now: they are refused for `reason`, or stored with `stamp` and an end."""

    outcome: Outcome
    reason: str = ""
    checksum: bytes = b""
    stamp: bytes = b""
    """Fields of the program, encoded: appended to the event's bytes they replace whatever the client sent there."""
    ends: Sequence[bytes] = ()
    """The same for the outcome and each combination of facts, see `_MARKS`. All are of one size."""
    templates: Sequence[bytes] = ()
    """Of the result of a stored event, see `results`."""

    @property
    def terms(self) -> Terms:
        """What an accepting program adds, for `core`."""
        return self.checksum, self.stamp, self.ends, self.templates

    @property
    def added_bytes(self) -> int:
        """What stamp and end add to an event."""
        return len(self.stamp) + len(self.ends[0]) if self.ends else 0


def verdict_of(program_id: str, finding: Finding | str, now: float) -> Verdict:
    """The verdict on a program at a time, or on an id by what is wrong with it."""
    if isinstance(finding, str):
        return Verdict(outcome=INVALID, reason=finding)
    if finding is Unknown.ABSENT:
        return Verdict(outcome=UNKNOWN_PROGRAM, reason=f"program {program_id} does not exist")
    if finding is Unknown.UNVERIFIED:
        return _stored(UNVERIFIED, b"", "")
    if reason := finding.refusal(now):
        return Verdict(outcome=EXPIRED_PROGRAM, reason=reason)
    return _stored(ACCEPTED, finding.stamp, finding.checksum)


@lru_cache(maxsize=10_000)
def _stored(outcome: Outcome, stamp: bytes, checksum: str) -> Verdict:
    return Verdict(
        outcome=outcome,
        checksum=checksum.encode(),
        stamp=stamp,
        ends=_ENDS[outcome],
        templates=_TEMPLATES[outcome],
    )


# By 1 for a robot plus 2 for a late event. False is written out too: the last value wins, also over a client's true.
_MARKS = [bytes((0xA8, 0x01, is_bot, 0xB0, 0x01, is_late)) for is_late in (0, 1) for is_bot in (0, 1)]
_STORED = (ACCEPTED, UNVERIFIED)
_ENDS = {
    outcome: [TrackingEvent(verdict=outcome).SerializeToString() + marks for marks in _MARKS] for outcome in _STORED
}
_TEMPLATES = {outcome: success_templates(outcome) for outcome in _STORED}
