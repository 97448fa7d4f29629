"""Warnings about valid policies that hardly mean what they say."""

import json

import pytest

from services.filtering.dialect import EVENTBRIDGE, SNS_ATTRIBUTES, SNS_BODY, Dialect
from services.filtering.lint import warnings
from services.filtering.policy import parse_policy


@pytest.mark.parametrize(
    ("policy", "dialect", "path", "words"),
    [
        ("{}", SNS_ATTRIBUTES, "$", "accepts every message"),
        ("", EVENTBRIDGE, "$", "accepts every message"),
        ('{"a": [{"anything-but": "x"}, {"anything-but": "y"}]}', EVENTBRIDGE, "$.a", "Several anything-but"),
        ('{"a": [{"exists": true}, {"exists": false}], "b": [1]}', EVENTBRIDGE, "$.a", "satisfied by every message"),
        ('{"a": [1, 1.0]}', EVENTBRIDGE, "$.a", "stands twice"),
        ('{"$or": ["x"]}', EVENTBRIDGE, "$.$or", "the name of a field"),
        ('{"a": [true, null]}', SNS_ATTRIBUTES, "$.a", "no String or Number can ever match"),
        ('{"a": [{"exists": true}, {"exists": false}]}', SNS_BODY, "$.a", "neither null nor empty"),
        ('{"a": ["x", {"anything-but": "x"}]}', SNS_BODY, "$.a", "accept every value together"),
        ('{"a": [{"exists": true}, "x"]}', EVENTBRIDGE, "$.a", "only that the key exists"),
        ('{"a": [{"prefix": "x"}, {"anything-but": {"prefix": "x"}}]}', SNS_BODY, "$.a", "accept every value"),
        ('{"a": {"anything-but": ["x"]}}', SNS_BODY, "$.a.anything-but", "not an operator"),
        ('{"a": ["x"], "a.b": ["y"]}', EVENTBRIDGE, "$.a", "hardly any message has both"),
        ('{"$or": [{"a": ["x"], "a.b": ["y"]}, {"c": [1]}]}', EVENTBRIDGE, "$.$or[0].a", "a value has no members"),
    ],
)
def test_doubtful_policy_is_warned_of_at_its_key(policy: str, dialect: Dialect, path: str, words: str) -> None:
    """One warning each."""
    (found,) = warnings(policy, parse_policy(policy, dialect), dialect)
    assert found.path == path
    assert words in found.message


@pytest.mark.parametrize(
    ("policy", "dialect", "words"),
    [
        ('{"a": ["x", {"anything-but": "x"}, {"exists": false}]}', SNS_BODY, "accepts every message"),
        ('{"a": [{"exists": true}, {"exists": false}]}', EVENTBRIDGE, "accepts every message"),
        ('{"a": ["x", {"anything-but": "x"}, {"exists": false}]}', SNS_ATTRIBUTES, "that has an attribute"),
        ('{"$or": [{"a": [{"exists": true}, {"exists": false}]}, {"b": [1]}]}', EVENTBRIDGE, "accepts every message"),
    ],
)
def test_policy_that_always_matches_is_warned_of(policy: str, dialect: Dialect, words: str) -> None:
    """As a whole, beside what is said of its keys."""
    first, *_ = warnings(policy, parse_policy(policy, dialect), dialect)
    assert first.path == "$"
    assert words in first.message


@pytest.mark.parametrize(
    "policy",
    [
        '{"a": ["y", {"anything-but": "x"}, {"exists": false}]}',
        '{"a": [{"numeric": ["<", 5]}, {"numeric": [">=", 5]}]}',
        '{"a": [{"anything-but": [5, 6]}, {"numeric": ["<", 6]}, {"exists": false}]}',
        '{"a": [{"anything-but": {"prefix": "x"}}, {"prefix": "xy"}]}',
        '{"a": [{"anything-but": {"equals-ignore-case": "x"}}, "x"]}',
        '{"a": [{"wildcard": "*"}, {"prefix": ""}]}',
        '{"a": [{"exists": false}], "a.b": ["x"]}',
        '{"a": {"b": ["x"]}, "c": ["x"]}',
        '{"a": [1e999999, {"numeric": ["<", -1e-999999]}, {"numeric": [">", 1e999998]}]}',
    ],
)
def test_what_leaves_out_any_value_is_not_warned_of(policy: str) -> None:
    """A number, `6`, `x` alone, `X`, every number; and keys that can be satisfied together."""
    assert not warnings(policy, parse_policy(policy, EVENTBRIDGE), EVENTBRIDGE)


def test_a_policy_of_thousands_of_conditions_is_judged_in_no_time() -> None:
    """Each witness would be tried on each condition."""
    listed = [f"v{number}" for number in range(10_000)]
    policy = json.dumps({"a": [{"anything-but": listed}, *listed]})
    assert not warnings(policy, parse_policy(policy, EVENTBRIDGE), EVENTBRIDGE)


def test_warnings_come_in_the_order_of_the_text_with_their_place() -> None:
    """Line and column of the key."""
    policy = '{"b": ["x", "x"],\n "a": [{"exists": true}, {"exists": false}]}'
    found = warnings(policy, parse_policy(policy, EVENTBRIDGE), EVENTBRIDGE)
    assert [(warning.path, warning.line, warning.column) for warning in found] == [("$.b", 1, 2), ("$.a", 2, 2)]


def test_plain_policy_has_no_warnings() -> None:
    """Booleans are fine in a body."""
    policy = '{"a": [true, 1, "1"], "b": [{"anything-but": ["x"]}, {"exists": false}]}'
    assert not warnings(policy, parse_policy(policy, EVENTBRIDGE), EVENTBRIDGE)
