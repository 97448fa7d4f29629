import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.persistence.page_token import decode_page_token, encode_page_token
from services.persistence.store import EventQuery, Position
from services.runtime.errors import InvalidArgumentError

INT64 = st.integers(min_value=-(2**63), max_value=2**63 - 1)
QUERY = EventQuery(program_id="p", from_time=1)


@given(st.builds(Position, occurred_at=INT64, ordinal=INT64))
def test_a_token_leads_back_to_its_position(position: Position) -> None:
    """Encoding loses nothing, and the text can stand in a URL."""
    token = encode_page_token(QUERY, position)
    assert decode_page_token(QUERY, token) == position
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=")


def test_the_empty_token_is_the_first_page() -> None:
    """It means no position."""
    assert decode_page_token(QUERY, "") is None


@pytest.mark.parametrize(
    "other",
    [EventQuery(), EventQuery(program_id="q", from_time=1), EventQuery(program_id="p", until_time=1)],
    ids=["nothing asked", "another program", "another range"],
)
def test_a_token_of_another_query_is_refused(other: EventQuery) -> None:
    """Going on with different conditions would show a listing that never was."""
    token = encode_page_token(QUERY, Position(occurred_at=1, ordinal=2))
    with pytest.raises(InvalidArgumentError, match="another query") as refusal:
        decode_page_token(other, token)
    assert refusal.value.reason == "ERROR_REASON_INVALID_PAGE_TOKEN"
    assert refusal.value.violations[0].field == "page_token"


@given(st.text(min_size=1, max_size=60))
def test_any_other_text_is_refused(token: str) -> None:
    """No text is taken for a token by chance, and none crashes."""
    with pytest.raises(InvalidArgumentError) as refusal:
        decode_page_token(QUERY, token)
    assert refusal.value.reason == "ERROR_REASON_INVALID_PAGE_TOKEN"
