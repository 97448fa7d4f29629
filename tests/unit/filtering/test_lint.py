"""Warnings about valid policies that hardly mean what they say."""

import pytest

from services.filtering.dialect import EVENTBRIDGE, SNS_ATTRIBUTES, Dialect
from services.filtering.lint import warnings
from services.filtering.policy import parse_policy


@pytest.mark.parametrize(
    ("policy", "dialect", "path", "words"),
    [
        ("{}", SNS_ATTRIBUTES, "$", "accepts every message"),
        ("", EVENTBRIDGE, "$", "accepts every message"),
        ('{"a": [{"anything-but": "x"}, {"anything-but": "y"}]}', EVENTBRIDGE, "$.a", "Several anything-but"),
        ('{"a": [{"exists": true}, {"exists": false}]}', EVENTBRIDGE, "$.a", "satisfied by every message"),
        ('{"a": [1, 1.0]}', EVENTBRIDGE, "$.a", "stands twice"),
        ('{"$or": ["x"]}', EVENTBRIDGE, "$.$or", "the name of a field"),
        ('{"a": [true, null]}', SNS_ATTRIBUTES, "$.a", "no String or Number matches"),
    ],
)
def test_doubtful_policy_is_warned_of_at_its_key(policy: str, dialect: Dialect, path: str, words: str) -> None:
    """One warning each."""
    (found,) = warnings(policy, parse_policy(policy, dialect), dialect)
    assert found.path == path
    assert words in found.message


def test_warnings_come_in_the_order_of_the_text_with_their_place() -> None:
    """Line and column of the key."""
    policy = '{"b": ["x", "x"],\n "a": [{"exists": true}, {"exists": false}]}'
    found = warnings(policy, parse_policy(policy, EVENTBRIDGE), EVENTBRIDGE)
    assert [(warning.path, warning.line, warning.column) for warning in found] == [("$.b", 1, 2), ("$.a", 2, 2)]


def test_plain_policy_has_no_warnings() -> None:
    """Booleans are fine in a body."""
    policy = '{"a": [true, 1, "1"], "b": [{"anything-but": ["x"]}, {"exists": false}]}'
    assert not warnings(policy, parse_policy(policy, EVENTBRIDGE), EVENTBRIDGE)
