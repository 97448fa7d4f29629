"""Pages of subscriptions."""

from collections.abc import Iterable, Sequence
from itertools import dropwhile, islice

from services.filtering.subscription import Subscription
from services.runtime import paging


def read_page(
    every: Iterable[Subscription], *, topic: str, page_size: int, token: str
) -> tuple[Sequence[Subscription], str]:
    """A page of subscriptions, which come by topic and name, and the token of the next one, empty after the last.

    `topic` is the topic of the query, empty for all; a token is good for that query only. `page_size` 0 means 100; a
    page ends earlier where its policies are long, so that any client takes the message.

    Raises:
        InvalidArgumentError: the size is out of range, or the token is not one of ours for this query.
    """
    size, query = paging.page_size(page_size), f"subscriptions {topic}"
    after = paging.position_in(token, query, _topic_and_name) or ("", "")
    rest = dropwhile(lambda entry: (entry.topic, entry.name) <= after, every)
    found = list(islice(rest, size + 1))
    page = paging.fitting(found[:size], lambda entry: entry.document.ByteSize())
    last = page[-1] if len(page) < len(found) else None
    return page, paging.page_token(query, f"{last.topic}\0{last.name}") if last else ""


def _topic_and_name(position: str) -> tuple[str, str]:
    topic, _, name = position.partition("\0")
    return topic, name
