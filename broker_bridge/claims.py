"""Which messages of a batch may be delivered now: what the dedup records say of each, and where it still has to go."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from broker_bridge.dedup import Busy, Dedup, Done
from broker_bridge.fan_out import Attempt
from broker_bridge.filtering import Match, Unmatched
from broker_bridge.retry_policy import RetryPolicy, Tries
from broker_bridge.settlement import Entry
from broker_bridge.targets import Retry


@dataclass(slots=True)
class Claims:
    """A batch after its claim.

    `mine` may be delivered, `duplicates` were delivered before, `busy` are delivered by another bridge for so many
    seconds, `worn_out` have begun all their attempts, and none came to an end.
    """

    mine: list[Attempt] = field(default_factory=list)
    duplicates: list[Entry] = field(default_factory=list)
    busy: list[tuple[Entry, float]] = field(default_factory=list)
    worn_out: list[Entry] = field(default_factory=list)


async def claim(attempts: Sequence[Attempt], matches: Sequence[Match], dedup: Dedup, retry: RetryPolicy) -> Claims:
    """Counts an attempt of each message. Raises DedupUnavailableError."""
    found = Claims()
    answers = await dedup.claim([attempt.entry.key for attempt in attempts])
    for attempt, match, answer in zip(attempts, matches, answers, strict=True):
        if isinstance(answer, Done):
            found.duplicates.append(attempt.entry)
        elif isinstance(answer, Busy):
            found.busy.append((attempt.entry, answer.seconds))
        elif retry.is_worn_out(tries := answer.tries()):
            attempt.entry.attempt = tries.begun - 1
            found.worn_out.append(attempt.entry)
        else:
            found.mine.append(_begun(attempt, tries, match))
    return found


def _begun(attempt: Attempt, tries: Tries, match: Match) -> Attempt:
    """The attempt with its number, and the targets that are still to be asked."""
    entry = attempt.entry
    # A delayed copy may know of more attempts than the records do, which are kept for some hours.
    number = max(tries.begun, entry.attempt + 1)
    if number != attempt.parcel.attempt:
        attempt.parcel = replace(attempt.parcel, attempt=number)
    entry.attempt, entry.excused = number, dict(tries.excused)
    if isinstance(match, Unmatched):
        attempt.retry = Retry(reason=match.reason, error_class=match.error_class)
    elif entry.accepted or entry.rejected:
        attempt.destinations = [
            place for place in match if place.name not in entry.accepted and place.name not in entry.rejected
        ]
    else:
        attempt.destinations = match
    return attempt
