"""Back-off and the retry loop, without a clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.errors import InvalidArgumentError, ResourceExhaustedError, UnavailableError
from services.runtime.retry import Backoff, retry_async


class Flaky:
    """Fails with the given errors in turn, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


class Sleeps:
    """Remembers how long was slept."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.waits.append(seconds)


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


async def test_operation_is_repeated_until_it_answers() -> None:
    """Failures that may pass are waited out."""
    operation, sleep = Flaky(UnavailableError("away"), UnavailableError("away")), Sleeps()
    assert await retry_async(operation, backoff=NO_JITTER, attempts=3, sleep=sleep) == "answer"
    assert sleep.waits == [1.0, 2.0]


async def test_last_error_is_raised_when_attempts_are_used_up() -> None:
    """The caller sees what happened last, after exactly the attempts it allowed."""
    operation = Flaky(*(UnavailableError(f"away {n}") for n in range(5)))
    with pytest.raises(UnavailableError, match="away 2"):
        await retry_async(operation, backoff=NO_JITTER, attempts=3, sleep=Sleeps())
    assert operation.calls == 3


async def test_lasting_error_is_not_retried() -> None:
    """A wrong request stays wrong."""
    operation, sleep = Flaky(InvalidArgumentError("bad")), Sleeps()
    with pytest.raises(InvalidArgumentError):
        await retry_async(operation, backoff=NO_JITTER, attempts=3, sleep=sleep)
    assert (operation.calls, sleep.waits) == (1, [])


async def test_advised_pause_lengthens_the_wait() -> None:
    """The server knows better than the back-off, but never shortens it."""
    operation, sleep = (
        Flaky(ResourceExhaustedError("full", retry_after=7), ResourceExhaustedError("full", retry_after=0)),
        Sleeps(),
    )
    await retry_async(operation, backoff=NO_JITTER, attempts=3, sleep=sleep)
    assert sleep.waits == [7, 2.0]


async def test_every_retry_is_reported() -> None:
    """For logs and metrics: attempt, error, wait."""
    seen: list[tuple[int, str, float]] = []
    operation = Flaky(UnavailableError("one"), UnavailableError("two"))
    await retry_async(
        operation,
        backoff=NO_JITTER,
        attempts=3,
        sleep=Sleeps(),
        on_retry=lambda attempt, error, wait: seen.append((attempt, str(error), wait)),
    )
    assert seen == [(1, "one", 1.0), (2, "two", 2.0)]
