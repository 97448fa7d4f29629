"""Pages of subscriptions."""

import pytest

from services.filtering.pages import read_page
from services.filtering.subscription import Subscription
from services.filtering.topics import Topics
from services.runtime.errors import InvalidArgumentError
from tests.contracts.subscription_store import subscription


@pytest.fixture
def topics() -> Topics:
    topics = Topics()
    for topic in ("a", "b"):
        for number in range(5):
            topics.put(subscription(f"s{number}", topic=topic))
    return topics


@pytest.mark.parametrize("size", [1, 2, 3, 5, 10, 100])
def test_pages_together_are_everything_once(topics: Topics, size: int) -> None:
    """No page is longer than asked, none but the last is shorter, and none comes after the last."""
    found: list[Subscription] = []
    token, lengths = "", []
    while True:
        page, token = read_page(topics.all(), topic="", page_size=size, token=token)
        found += page
        lengths.append(len(page))
        if not token:
            break
    assert found == list(topics.all())
    assert set(lengths[:-1]) <= {size}
    assert 1 <= lengths[-1] <= size


def test_listing_goes_on_where_it_was_when_the_last_seen_is_deleted(topics: Topics) -> None:
    """A token is a place, not a count."""
    _, token = read_page(topics.all("a"), topic="a", page_size=2, token="")
    topics.delete("a", "s1")
    page, _ = read_page(topics.all("a"), topic="a", page_size=2, token=token)
    assert [entry.name for entry in page] == ["s2", "s3"]


def test_token_of_another_query_is_refused(topics: Topics) -> None:
    """Topic a's token does not read topic b."""
    _, token = read_page(topics.all("a"), topic="a", page_size=2, token="")
    with pytest.raises(InvalidArgumentError) as caught:
        read_page(topics.all("b"), topic="b", page_size=2, token=token)
    assert caught.value.reason == "ERROR_REASON_INVALID_PAGE_TOKEN"


def test_page_of_long_policies_ends_before_its_message_is_too_large() -> None:
    """Forty policies of 200 KiB are no message that a client takes; together the pages have them all."""
    topics = Topics()
    for number in range(40):
        text = '{"k": ["' + "x" * 200_000 + '"]}'
        topics.put(subscription(f"s{number:03}", policy=text))
    found: list[Subscription] = []
    token = ""
    while True:
        page, token = read_page(topics.all(), topic="", page_size=100, token=token)
        assert sum(entry.document.ByteSize() for entry in page) < 4 * 1024 * 1024
        found += page
        if not token:
            break
    assert found == list(topics.all())


def test_page_size_out_of_range_is_refused(topics: Topics) -> None:
    """The field is named."""
    with pytest.raises(InvalidArgumentError) as caught:
        read_page(topics.all(), topic="", page_size=1001, token="")
    assert caught.value.violations[0].field == "page_size"
