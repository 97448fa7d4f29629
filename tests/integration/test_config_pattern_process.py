"""The child process that matches patterns: it answers, is ended when it must be, and comes back."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest

from services.config.pattern import PatternProcess
from services.runtime.errors import InternalError, InvalidArgumentError


@pytest.fixture
async def patterns() -> AsyncIterator[PatternProcess]:
    patterns = PatternProcess(cpu_seconds=0.2)
    yield patterns
    await patterns.close()


@pytest.mark.parametrize(
    ("pattern", "value", "matched"),
    [
        ("[a-c]+", "abc", True),
        ("[a-c]+", "abcd", False),
        ("ü.\\n", "ü!\n", True),
        ("(?i)ON|off", "on", True),
        ("[[a]", "a", True),
        ("x*", "x" * 8192, True),
    ],
    ids=["whole", "only a part", "line break", "flag", "warns", "longest"],
)
async def test_the_whole_value_must_match(patterns: PatternProcess, pattern: str, value: str, matched: bool) -> None:  # noqa: FBT001
    """As Python's fullmatch has it."""
    assert await patterns.matches(pattern, value) is matched


@pytest.mark.parametrize(
    "pattern", ["(", "a{99999999999}", "(?<=a+)b", "(" * 1024], ids=["open", "overflow", "look-behind", "deep"]
)
async def test_a_text_that_is_no_pattern_is_refused(patterns: PatternProcess, pattern: str) -> None:
    """The field is named, and the process lives on."""
    with pytest.raises(InvalidArgumentError, match="allowed_pattern: is not a regular expression"):
        await patterns.matches(pattern, "a")
    assert await patterns.matches("a", "a")


async def test_a_pattern_that_takes_long_to_compile_is_ended(patterns: PatternProcess) -> None:
    """The compiler folds each character of a range: seconds for a pattern of a thousand characters."""
    with pytest.raises(InvalidArgumentError, match=r"more than 0\.2 s of processor time"):
        await patterns.matches("(?i)" + "[\u0100-\uffff]" * 200, "a")


async def test_questions_at_the_same_time_get_their_own_answers(patterns: PatternProcess) -> None:
    """However many wait."""
    answers = await asyncio.gather(*(patterns.matches(str(number % 7), "3") for number in range(100)))
    assert answers == [number % 7 == 3 for number in range(100)]


async def test_a_match_without_end_is_ended(patterns: PatternProcess) -> None:
    """The next question is answered by a new process."""
    with pytest.raises(InvalidArgumentError, match=r"more than 0\.2 s of processor time"):
        await patterns.matches("(a+)+", "a" * 50 + "!")
    assert await patterns.matches("a", "a")


async def test_a_caller_that_goes_away_leaves_no_answer_behind(patterns: PatternProcess) -> None:
    """The next caller gets the answer to its own question."""
    gone = asyncio.ensure_future(patterns.matches("(a+)+", "a" * 50 + "!"))
    await asyncio.sleep(0)
    gone.cancel()
    assert await patterns.matches("b", "b")


async def test_a_process_that_dies_is_a_fault_of_ours(patterns: PatternProcess) -> None:
    """Not of the caller; the next question is answered again."""
    assert await patterns.matches("a", "a")
    assert patterns._process
    os.kill(patterns._process.pid, signal.SIGKILL)
    with pytest.raises(InternalError, match="ended with code -9"):
        await patterns.matches("a", "a")
    assert await patterns.matches("a", "a")


async def test_nothing_runs_after_the_end() -> None:
    """Closing twice is harmless."""
    patterns = PatternProcess()
    assert await patterns.matches("a", "a")
    process = patterns._process
    assert process
    for _ in range(2):
        await patterns.close()
    assert process.returncode is not None
