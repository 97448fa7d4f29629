"""Explanations: the deciding condition of each key, and what the message has for it."""

from services.filtering.dialect import EVENTBRIDGE, SNS_ATTRIBUTES
from services.filtering.explain import Explanation, explain
from services.filtering.message import AttributeType
from services.filtering.policy import parse_policy
from services.filtering.topics import Message


def explained(policy: str, body: bytes) -> Explanation:
    return explain(parse_policy(policy, EVENTBRIDGE), EVENTBRIDGE, Message(attributes={}, body=body))


def test_each_key_is_explained_in_the_order_of_the_policy() -> None:
    """Alternatives stand where they are written."""
    found = explained(
        '{"$or": [{"a": [1]}, {"b": {"c": [{"exists": false}]}}], "d": ["x", {"prefix": "y"}]}',
        b'{"a": 2, "d": ["z", "yes"]}',
    )
    assert found.matches
    assert [(key.path, key.satisfied, key.condition, key.actual) for key in found.keys] == [
        ("$.$or[0].a", False, "", "2"),
        ("$.$or[1].b.c", True, '{"exists": false}', ""),
        ("$.d", True, '{"prefix": "y"}', '["z", "yes"]'),
    ]


def test_values_are_shown_as_json() -> None:
    """Strings quoted, numbers as they were, literals."""
    found = explained('{"a": [1]}', '{"a": ["é", 1.50, true, null]}'.encode())
    assert found.keys[0].actual == '["é", 1.50, true, null]'


def test_keys_satisfied_in_different_elements_do_not_match() -> None:
    """Each key holds somewhere, the message does not match."""
    found = explained('{"p": {"a": [1], "b": [2]}}', b'{"p": [{"a": 1, "b": 0}, {"a": 0, "b": 2}]}')
    assert [key.satisfied for key in found.keys] == [True, True]
    assert not found.matches


def test_message_without_attributes_satisfies_no_key() -> None:
    """Not even exists false."""
    policy = parse_policy('{"a": [{"exists": false}]}', SNS_ATTRIBUTES)
    assert not explain(policy, SNS_ATTRIBUTES, Message(attributes={})).keys[0].satisfied
    other = Message(attributes={"b": (AttributeType.STRING, "x")})
    assert explain(policy, SNS_ATTRIBUTES, other).keys[0].satisfied


def test_half_a_surrogate_pair_is_shown_escaped() -> None:
    """JSON can name it, UTF-8 cannot carry it."""
    found = explained('{"a": ["x"]}', b'{"a": "\\ud800!"}')
    assert found.keys[0].actual == '"\\ud800!"'
