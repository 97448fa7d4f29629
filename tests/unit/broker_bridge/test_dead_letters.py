"""What is kept of a message that is given up."""

import pytest

from broker_bridge import dead_letters
from broker_bridge.dead_letters import DeadLetter, copy_headers, legible, obstacle_to_copy, reasons_queue, story
from broker_bridge.frame_reader import FrameReader
from broker_bridge.frames import encode_frame
from broker_bridge.message import Message, MessageKind, decode_message
from broker_bridge.targets import ErrorClass
from tests.unit.broker_bridge.builders import message

LETTER = DeadLetter(
    reason="no", error_class=ErrorClass.REFUSED, attempts=3, first_failed_at=1_700_000_000_000, route="orders"
)
QUEUE = "queue://DLQ.orders"


def copied(original: Message) -> Message:
    """The message as it arrives when its copy is received."""
    data = encode_frame("MESSAGE", {"message-id": "ID:copy", **copy_headers(original, QUEUE, {})}, original.body)
    ((_, headers, body),) = FrameReader().feed(data)
    return decode_message(headers, body, source="", received_at=0)


@pytest.mark.parametrize(
    "original",
    [
        message(body=b"\xed\xa0\xbd\xed\xb8\x80 \xc0\x80", properties={"a:b\n": "c\\d\r"}),
        message(kind=MessageKind.BYTES, body=b"\x00\xff\x00", properties={"a": ""}),
        message(kind=MessageKind.BYTES, body=b""),
    ],
    ids=["text", "bytes", "empty-bytes"],
)
def test_a_copy_keeps_body_and_properties_to_the_byte(original: Message) -> None:
    """Modified UTF-8 is not decoded and encoded again."""
    copy = copied(original)
    assert copy.body == original.body
    assert copy.kind is original.kind
    assert copy.properties == original.properties
    assert copy.priority == original.priority


def test_the_story_tells_why_and_where_from() -> None:
    """Everything an operator needs to decide."""
    told = story(message(7), LETTER)
    assert told[dead_letters.REASON] == "no"
    assert told[dead_letters.ERROR_CLASS] == "refused"
    assert told[dead_letters.ATTEMPTS] == "3"
    assert told[dead_letters.FIRST_FAILED_AT] == "1700000000000"
    assert told[dead_letters.ORIGINAL_DESTINATION] == "queue://orders"
    assert told[dead_letters.ORIGINAL_MESSAGE_ID] == "ID:test-7"
    assert told[dead_letters.ROUTE] == "orders"
    assert set(told) == set(dead_letters.STORY)


def test_a_long_reason_is_cut_so_that_the_broker_takes_it() -> None:
    """ActiveMQ refuses a header line beyond 10 KiB."""
    letter = DeadLetter(
        reason="\u00e9" * 100_000, error_class=ErrorClass.POISON, attempts=1, first_failed_at=0, route="r"
    )
    assert len(encode_frame("SEND", story(message(), letter))) < 8192


def test_a_reason_holds_nothing_that_breaks_a_frame() -> None:
    """Targets say what they like: U+0000 ends a frame, half a surrogate pair cannot be encoded."""
    assert legible("nul \x00, half \ud83d, whole \U0001f600") == "nul \ufffd, half ?, whole \U0001f600"


@pytest.mark.parametrize(
    ("original", "complaint"),
    [
        (message(kind=MessageKind.EMPTY, body=b""), "Map, Object or Stream"),
        (message(properties={"long": "x" * 10_240}), "longer than the 10240 bytes"),
        (message(properties={"receipt": "x"}), "taken as an instruction"),
        (message(properties={"transaction": "x"}), "taken as an instruction"),
        (message(properties={"destination": "Paris"}), "taken as an instruction"),
        (message(properties={f"p{n}": "x" for n in range(1000)}), "1000 properties"),
    ],
)
def test_what_a_copy_would_lose_or_break_is_recognised(original: Message, complaint: str) -> None:
    """Such a message is left to the broker."""
    assert complaint in obstacle_to_copy(original)


def test_an_ordinary_message_can_be_copied() -> None:
    """Text and bytes with properties."""
    assert obstacle_to_copy(message(properties={"a": "b"})) == ""


def test_a_copy_is_persistent_never_expires_and_is_not_delayed() -> None:
    """Whatever the original was."""
    headers = copy_headers(message(properties={"AMQ_SCHEDULED_DELAY": "99999"}), QUEUE, {})
    assert headers["persistent"] == "true"
    assert "expires" not in headers
    assert "AMQ_SCHEDULED_DELAY" not in headers
    assert headers["destination"] == "/queue/DLQ.orders"


def test_reasons_lie_beside_the_dead_letters() -> None:
    """In a queue of their own, for messages the broker moved itself."""
    assert reasons_queue(QUEUE) == "queue://DLQ.reasons.orders"
