"""Tokens go on where their page ended, and only there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.config.page_token import page_token, position_in
from services.runtime.errors import InvalidArgumentError


@given(query=st.text(), position=st.text())
def test_a_token_gives_its_position_back(query: str, position: str) -> None:
    """For the query it was made for."""
    assert position_in(page_token(query, position), query) == position


def test_no_token_is_the_first_page() -> None:
    """Its position is empty."""
    assert position_in("", "list /a") == ""


@pytest.mark.parametrize(
    "token",
    [page_token("list /b", "/b/x"), page_token("list /a", "/a/x")[:-2], "x", "ü", "====", "AAAAAAAAAAAA"],
    ids=["another query", "cut", "short", "not ASCII", "padding", "made up"],
)
def test_other_tokens_are_refused(token: str) -> None:
    """With a reason of its own."""
    with pytest.raises(InvalidArgumentError) as caught:
        position_in(token, "list /a")
    assert caught.value.reason == "ERROR_REASON_INVALID_PAGE_TOKEN"
