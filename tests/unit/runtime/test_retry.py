"""Back-off, without a clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.retry import Backoff

NO_JITTER = Backoff(initial=1.0, maximum=5.0, multiplier=2.0, jitter=0.0)


@pytest.mark.parametrize(("attempt", "wait"), [(0, 1.0), (1, 1.0), (2, 2.0), (3, 4.0), (4, 5.0), (100_000, 5.0)])
def test_wait_doubles_up_to_the_maximum(attempt: int, wait: float) -> None:
    """Also for attempts beyond what a float can hold."""
    assert NO_JITTER.delay(attempt, lambda: 0.5) == wait


@given(
    st.integers(min_value=0, max_value=10**6),
    st.floats(min_value=0, max_value=1),
    st.floats(min_value=0, max_value=1, exclude_max=True),
)
def test_wait_stays_between_the_jittered_and_the_full_one(attempt: int, jitter: float, random: float) -> None:
    """Jitter only shortens, by at most its share."""
    full = Backoff(initial=0.1, maximum=10, jitter=0).delay(attempt, lambda: random)
    wait = Backoff(initial=0.1, maximum=10, jitter=jitter).delay(attempt, lambda: random)
    assert full * (1 - jitter) <= wait <= full


@pytest.mark.parametrize(
    "wrong", [{"initial": -1}, {"initial": 2, "maximum": 1}, {"multiplier": 0.5}, {"jitter": 1.5}, {"jitter": -0.1}]
)
def test_senseless_backoff_is_refused(wrong: dict[str, float]) -> None:
    """A wait that shrinks or is negative is a mistake of the caller."""
    with pytest.raises(ValueError, match="needs 0 <= initial"):
        Backoff(**wrong)
