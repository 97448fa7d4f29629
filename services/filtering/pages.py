"""Pages of subscriptions. A token tells after which subscription the next page begins, and for which query."""

import base64
import binascii
from collections.abc import Iterable, Sequence
from itertools import dropwhile, islice

from services.filtering.subscription import Subscription
from services.runtime.errors import FieldViolation, InvalidArgumentError

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000
_PARTS = 3


def read_page(
    every: Iterable[Subscription], *, topic: str, page_size: int, token: str
) -> tuple[Sequence[Subscription], str]:
    """A page of subscriptions, which come by topic and name, and the token of the next one, empty after the last.

    `topic` is the topic of the query, empty for all; a token is good for that query only. `page_size` 0 means 100.

    Raises:
        InvalidArgumentError: the size is out of range, or the token is not one of ours for this query.
    """
    if not 0 <= page_size <= MAX_PAGE_SIZE:
        text = f"page_size {page_size} must be 0 to {MAX_PAGE_SIZE}"
        violation = FieldViolation(field="page_size", description=text)
        raise InvalidArgumentError(text, violations=[violation], reason="ERROR_REASON_INVALID_FIELD")
    after = _read_token(token, topic) if token else ("", "")
    rest = dropwhile(lambda entry: (entry.topic, entry.name) <= after, every)
    size = page_size or DEFAULT_PAGE_SIZE
    page = list(islice(rest, size + 1))
    return page[:size], _token(page[size - 1], topic) if len(page) > size else ""


def _token(last: Subscription, topic: str) -> str:
    return base64.urlsafe_b64encode(f"{topic}\0{last.topic}\0{last.name}".encode()).decode()


def _read_token(token: str, topic: str) -> tuple[str, str]:
    try:
        parts = base64.b64decode(token, altchars=b"-_", validate=True).decode().split("\0")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        parts = []
    if len(parts) != _PARTS or parts[0] != topic:
        raise InvalidArgumentError(
            "page_token is not one that this query was answered with: begin again without it",
            reason="ERROR_REASON_INVALID_PAGE_TOKEN",
            violations=[FieldViolation(field="page_token", description="not a token of this query")],
        )
    return parts[1], parts[2]
