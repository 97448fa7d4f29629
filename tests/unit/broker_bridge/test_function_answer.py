"""What a function's answer says of the messages it was given."""

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from broker_bridge.function_answer import read_answer
from broker_bridge.parcel import Parcel
from broker_bridge.target_specs import LambdaTarget
from broker_bridge.targets import ACCEPTED, Accepted, Outcome, Reply, Retry
from tests.unit.broker_bridge.builders import parcel

SILENT = LambdaTarget(function_name="f")
ANSWERING = LambdaTarget(function_name="f", replies=True)
SIMPLE = LambdaTarget(function_name="f", replies=True, simple=True)


def asking(number: int = 1) -> Parcel:
    """A message whose sender waits for a reply."""
    plain = parcel(number)
    return replace(plain, message=replace(plain.message, reply_to="temp-queue://ID:x"))


def answered(answer: object, spec: LambdaTarget, *parcels: Parcel) -> Sequence[Outcome]:
    return list(read_answer(json.dumps(answer).encode(), parcels, spec))


def unread(outcome: Outcome) -> Sequence[str]:
    assert isinstance(outcome, Accepted)
    assert outcome.reply is None
    return outcome.unread


def test_each_message_gets_the_reply_of_its_id() -> None:
    """A text, or an object with text or bytes, and properties; a message without one gets none."""
    replies = {
        "ID:test-1": "zażółć 😀",
        "ID:test-2": {"text": "done", "properties": {"status": "ok"}},
        "ID:test-3": {"data": "AP8="},
    }
    assert answered({"replies": replies}, ANSWERING, *map(asking, range(1, 5))) == [
        Accepted(reply=Reply(body="zażółć 😀")),
        Accepted(reply=Reply(body="done", properties={"status": "ok"})),
        Accepted(reply=Reply(body=b"\x00\xff")),
        ACCEPTED,
    ]


def test_a_message_that_failed_gets_no_reply() -> None:
    """Its reply is no stray one either: the function is called again."""
    answer = {
        "batchItemFailures": [{"itemIdentifier": "ID:test-1"}],
        "replies": {"ID:test-1": "no", "ID:test-2": "yes"},
    }
    first, second = answered(answer, ANSWERING, asking(1), asking(2))
    assert isinstance(first, Retry)
    assert second == Accepted(reply=Reply(body="yes"))


@pytest.mark.parametrize("answer", [{"replies": {"ID:test-1": "hello"}}, "hello", 1, {"replies": []}])
@pytest.mark.parametrize("spec", [SILENT, replace(SILENT, simple=True)], ids=["event", "simple"])
def test_without_the_option_an_answer_is_no_reply(answer: object, spec: LambdaTarget) -> None:
    """Nor is anything counted."""
    assert answered(answer, spec, asking()) == [ACCEPTED]


@pytest.mark.parametrize("spec", [ANSWERING, SIMPLE], ids=["event", "simple"])
def test_where_nobody_asks_an_answer_is_no_reply(spec: LambdaTarget) -> None:
    """Whatever it is."""
    assert answered({"replies": {"ID:other": 1}}, spec, parcel(1)) == [ACCEPTED]


def test_replies_to_unknown_messages_are_counted_once_each() -> None:
    """The others are sent."""
    first, second = answered({"replies": {"x": "", "y": "", "ID:test-2": "b"}}, ANSWERING, asking(1), asking(2))
    assert unread(first) == (
        "replies names 'x', which is not in the batch",
        "replies names 'y', which is not in the batch",
    )
    assert second == Accepted(reply=Reply(body="b"))


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"no json", "not a JSON object"),
        (b"[" * 100_000, "not a JSON object"),
        (b"\xff", "not a JSON object"),
        (b"[1]", "not a JSON object"),
        (b'{"replies": ["a"]}', "replies is not an object"),
        (b'{"replies": {"ID:test-1": 3}}', "a text or an object, not 3"),
        (b'{"replies": {"ID:test-1": ["a"]}}', 'a text or an object, not ["a"]'),
        (b'{"replies": {"ID:test-1": {"body": "a"}}}', "body"),
        (b'{"replies": {"ID:test-1": {"data": 7}}}', "data"),
        (b'{"replies": {"ID:test-1": {"text": "a", "data": "AA=="}}}', "oneof"),
        (b'{"replies": {"ID:test-1": {"properties": {"a": 1}}}}', "properties"),
        (b'{"replies": {"ID:test-1": {"text": "\\ud800"}}}', "Reply"),
        (b'{"replies": {"ID:test-1": "a\\ud800"}}', "half of a surrogate pair at character 1"),
    ],
)
def test_a_reply_that_cannot_be_read_leaves_the_message_accepted(answer: bytes, complaint: str) -> None:
    """The function has done its work; why there is no reply is told."""
    (outcome,) = read_answer(answer, [asking()], ANSWERING)
    (reason,) = unread(outcome)
    assert complaint in reason
    assert len(reason) <= 600


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b'"hello"', "hello"),
        (b'"\\u0000"', "\x00"),
        (b'{"total": 7}', '{"total": 7}'),
        (b"[1, 2]", "[1, 2]"),
        (b"7", "7"),
        (b"plain words", "plain words"),
        ("zażółć".encode(), "zażółć"),
    ],
)
def test_the_answer_to_a_simple_event_is_the_reply(payload: bytes, text: str) -> None:
    """A JSON string without its quotes, anything else as it is."""
    (outcome,) = read_answer(payload, [asking()], SIMPLE)
    assert outcome == Accepted(reply=Reply(body=text))


@pytest.mark.parametrize("payload", [b"", b"null"])
def test_no_answer_to_a_simple_event_is_no_reply(payload: bytes) -> None:
    """A function that returns nothing answers nothing."""
    assert list(read_answer(payload, [asking()], SIMPLE)) == [ACCEPTED]


@pytest.mark.parametrize("payload", [b"\xff\xfe", b'"\\ud800"'])
def test_an_answer_to_a_simple_event_that_is_no_text_is_told(payload: bytes) -> None:
    """And the message accepted."""
    (outcome,) = read_answer(payload, [asking()], SIMPLE)
    assert len(unread(outcome)) == 1
