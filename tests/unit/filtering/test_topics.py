"""Topics: which view of a message is looked at, and states that do not change under a reader."""

import pytest

from services.filtering.message import AttributeType, InvalidBodyError
from services.filtering.topics import Message, Topic, Topics
from tests.contracts.subscription_store import subscription

BODY = "FILTER_DIALECT_SNS_BODY"


def topic_of(*policies: tuple[str, str]) -> Topic:
    topics = Topics()
    for number, (dialect, policy) in enumerate(policies):
        topics.put(subscription(f"s{number}", policy=policy, dialect=dialect))
    found = topics.topic("topic")
    assert found is not None
    return found


def test_attributes_and_body_are_matched_side_by_side() -> None:
    """Each subscription looks at its own view; the answer is one ascending list."""
    topic = topic_of((BODY, '{"a": ["x"]}'), ("FILTER_DIALECT_SNS_ATTRIBUTES", '{"a": ["x"]}'), (BODY, ""))
    attributes = {"a": (AttributeType.STRING, "x")}
    assert sorted(topic.match(Message(attributes=attributes, body=b'{"a": "x"}'))) == ["s0", "s1", "s2"]
    assert sorted(topic.match(Message(attributes=attributes, body=b"{}"))) == ["s1", "s2"]
    assert sorted(topic.match(Message(attributes={}, body=b'{"a": "x"}'))) == ["s0", "s2"]


def test_body_is_not_read_when_nobody_looks_at_it() -> None:
    """Neither for attribute policies nor for a body policy that takes everything."""
    topic = topic_of((BODY, "{}"), ("FILTER_DIALECT_SNS_ATTRIBUTES", ""))
    assert sorted(topic.match(Message(attributes={"n": (AttributeType.NUMBER, "bad")}, body=b"\xff not json"))) == [
        "s0",
        "s1",
    ]


def test_body_that_is_looked_at_must_be_json() -> None:
    """The message is an error, not a silent mismatch."""
    topic = topic_of((BODY, '{"a": ["x"]}'), ("FILTER_DIALECT_SNS_ATTRIBUTES", ""))
    with pytest.raises(InvalidBodyError):
        topic.match(Message(attributes={}, body=b"not json"))


def test_topic_in_hand_does_not_change() -> None:
    """A batch that began before a change ends with the state it began with."""
    topics = Topics()
    topics.put(subscription("a"))
    before = topics.topic("topic")
    topics.put(subscription("b"))
    topics.delete("topic", "a")
    after = topics.topic("topic")
    assert before is not None
    assert after is not None
    assert list(before.subscriptions) == ["a"]
    assert list(after.subscriptions) == ["b"]
    assert topics.topic("topic") is after


def test_subscriptions_are_ordered_by_topic_and_name() -> None:
    """Whatever the order they came in."""
    topics = Topics()
    for topic, name in (("b", "x"), ("a", "z"), ("a", "y")):
        topics.put(subscription(name, topic=topic))
    assert [(entry.topic, entry.name) for entry in topics.all()] == [("a", "y"), ("a", "z"), ("b", "x")]
    assert [topics.count(name) for name in ("a", "b", "c")] == [2, 1, 0]


def test_deleting_what_is_not_there_changes_nothing() -> None:
    """Not even the existence of the topic."""
    topics = Topics()
    topics.delete("topic", "s")
    assert topics.topic("topic") is None
    assert list(topics.all()) == []
