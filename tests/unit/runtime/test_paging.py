"""Pages: their size, and tokens that go on where their page ended, and only there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.errors import InvalidArgumentError
from services.runtime.paging import fitting, page_size, page_token, position_in


@given(query=st.text(), position=st.text())
def test_a_token_gives_its_position_back(query: str, position: str) -> None:
    """For the query it was made for, in text that can stand in a URL."""
    token = page_token(query, position)
    assert position_in(token, query, str) == position
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@given(position=st.integers())
def test_a_position_is_read_as_what_it_is(position: int) -> None:
    """Numbers come back as numbers."""
    assert position_in(page_token("q", str(position)), "q", int) == position


def test_no_token_is_the_first_page() -> None:
    """It has no position."""
    assert position_in("", "list /a", str) is None


@pytest.mark.parametrize(
    "token",
    [page_token("list /b", "/b/x"), page_token("list /a", "/a/x")[:-2], "x", "ü", "====", "AAAAAAAAAAAA"],
    ids=["another query", "cut", "short", "not ASCII", "padding", "made up"],
)
def test_other_tokens_are_refused(token: str) -> None:
    """With a reason of its own, and the field."""
    with pytest.raises(InvalidArgumentError, match="leave it empty to begin") as caught:
        position_in(token, "list /a", str)
    assert caught.value.reason == "ERROR_REASON_INVALID_PAGE_TOKEN"
    assert caught.value.violations[0].field == "page_token"


@given(st.text(min_size=1, max_size=60))
def test_any_other_text_is_refused(token: str) -> None:
    """No text is taken for a token by chance, and none crashes."""
    with pytest.raises(InvalidArgumentError):
        position_in(token, "list /a", str)


def test_a_position_that_cannot_be_read_is_refused() -> None:
    """Somebody built the token by hand."""
    with pytest.raises(InvalidArgumentError, match="page_token"):
        position_in(page_token("q", "nine"), "q", int)


@pytest.mark.parametrize(("asked", "size"), [(0, 50), (1, 1), (50, 50), (60, 60)])
def test_a_page_has_the_size_asked_for(asked: int, size: int) -> None:
    """0 leaves it to the service."""
    assert page_size(asked, default=50, largest=60) == size


@pytest.mark.parametrize("asked", [-1, 1001])
def test_a_size_out_of_range_is_refused(asked: int) -> None:
    """The message names the field, the value and the range."""
    with pytest.raises(InvalidArgumentError, match=f"page_size: {asked} is not between 1 and 1000; 0 means 100"):
        page_size(asked)


@given(st.lists(st.integers(min_value=0, max_value=4 * 1024 * 1024), max_size=20))
def test_entries_fit_into_one_message(sizes: list[int]) -> None:
    """They are the first ones, stay below 3 MiB together unless the first alone is larger, and no more would fit."""
    page = fitting(sizes, int)
    assert list(page) == sizes[: len(page)]
    assert sum(page) <= 3 * 1024 * 1024 or len(page) == 1
    assert len(page) == len(sizes) or sum(sizes[: len(page) + 1]) > 3 * 1024 * 1024
