"""Arguments that several commands take: moments and lengths of time."""

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from cli.connection import usage_error

_LENGTH = re.compile(r"(\d+)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def moment(text: str) -> datetime | None:
    """A time in ISO 8601 (UTC where it has no zone) or an age; None for the empty text. Exits on anything else."""
    if not text:
        return None
    try:
        if age := _length(text):
            return datetime.now(UTC) - age
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        usage_error(f"{text!r} is neither a time such as 2026-01-31T12:00:00Z nor an age such as 30s, 15m, 2h or 1d")
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def duration(text: str) -> timedelta:
    """A length of time. Exits on anything else."""
    with suppress(OverflowError):
        if length := _length(text):
            return length
    return usage_error(f"{text!r} is no length of time such as 30s, 15m, 2h or 1d")


def _length(text: str) -> timedelta | None:
    found = _LENGTH.fullmatch(text)
    return timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else None
