"""A message that waits in the broker for its next attempt: a delayed copy, which knows what it is a copy of.

Whoever receives the copy sees the message as its producer sent it, with the id of the original, so that its attempts
are counted on and a target can recognise a repetition.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from broker_bridge.dead_letters import copy_headers
from broker_bridge.message import Message
from broker_bridge.settlement import Entry

_OF = "penstock_retry_of"
_ATTEMPTS = "penstock_retry_attempts"
_FIRST_FAILED_AT = "penstock_retry_first_failed_at"
_DUE = "penstock_retry_due"
_SENT_AT = "penstock_retry_sent_at"
_ACCEPTED = "penstock_retry_accepted"
_NAMES = frozenset({_OF, _ATTEMPTS, _FIRST_FAILED_AT, _DUE, _SENT_AT, _ACCEPTED})
_MAX_ACCEPTED_BYTES = 8 * 1024  # a header line of the broker holds 10 KiB


@dataclass(frozen=True, slots=True, kw_only=True)
class Postponed:
    """A message back from its wait. `due` and `first_failed_at` in milliseconds since 1970."""

    message: Message
    attempts: int
    first_failed_at: int
    due: int
    accepted: Sequence[str]


def postponed_headers(entry: Entry, *, seconds: float, due: int) -> dict[str, str]:
    """The SEND that brings the message back to its queue after so many seconds."""
    message = entry.message
    story = {
        _OF: message.id,
        _ATTEMPTS: str(entry.attempt),
        _FIRST_FAILED_AT: str(entry.first_failed_at),
        _DUE: str(due),
        _SENT_AT: str(message.sent_at),
        "AMQ_SCHEDULED_DELAY": str(max(int(seconds * 1000), 1)),
    }
    accepted = json.dumps(sorted(entry.accepted))
    if entry.accepted and len(accepted.encode()) <= _MAX_ACCEPTED_BYTES:
        story[_ACCEPTED] = accepted
    headers = copy_headers(message, message.destination, story)
    return headers | {"expires": str(message.expires_at)} if message.expires_at else headers


def postponed(message: Message) -> Postponed | None:
    """What a received message says about its wait; None when it is no delayed copy, or says it wrongly."""
    told = message.properties
    if _OF not in told:
        return None
    try:
        return Postponed(
            message=replace(
                message,
                id=told[_OF],
                sent_at=int(told[_SENT_AT]),
                properties={name: value for name, value in told.items() if name not in _NAMES},
            ),
            attempts=int(told[_ATTEMPTS]),
            first_failed_at=int(told[_FIRST_FAILED_AT]),
            due=int(told[_DUE]),
            accepted=_names(told),
        )
    except (KeyError, ValueError, RecursionError):
        return None


def _names(told: Mapping[str, str]) -> Sequence[str]:
    names = json.loads(told.get(_ACCEPTED, "[]"))
    if not isinstance(names, list):
        raise ValueError(_ACCEPTED)  # noqa: TRY004 - a wrong value like any other
    return [str(name) for name in names]
