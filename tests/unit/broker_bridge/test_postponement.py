"""A delayed copy knows what it is a copy of."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_bridge.message import MessageKind, decode_message
from broker_bridge.postponement import postponed, postponed_headers
from broker_bridge.settlement import Entry
from tests.unit.broker_bridge.builders import message

NAMES = st.text("abcdefgh ü/:\\\n", min_size=1, max_size=20)


def entry(**changes: object) -> Entry:
    item = replace(message(1, properties={"a": "b"}), **changes)  # type: ignore[arg-type]  # the fields are those of Message
    return Entry(key=item.key, message=item, epoch=1, ack_id="x", received_at=0.0, attempt=2, first_failed_at=5)


@given(attempts=st.integers(1, 1000), accepted=st.sets(NAMES, max_size=5), body=st.binary(min_size=1))
def test_a_message_comes_back_as_it_was(attempts: int, accepted: set[str], body: bytes) -> None:
    """With its own id, time and properties."""
    before = entry(kind=MessageKind.BYTES, body=body, correlation_id="c", type="t", priority=7, expires_at=9)
    before.attempt, before.accepted = attempts, accepted
    headers = postponed_headers(before, seconds=1.5, due=1000)
    assert headers["AMQ_SCHEDULED_DELAY"] == "1500"
    assert headers["destination"] == "/queue/orders"
    received = {name: value for name, value in headers.items() if not name.startswith("AMQ_SCHEDULED")}
    received |= {"message-id": "ID:copy", "timestamp": "99"}
    waited = postponed(decode_message(received, body, source="queue://orders", received_at=1_700_000_001_000))
    assert waited is not None
    assert waited.message == before.message
    assert (waited.attempts, waited.first_failed_at, waited.due) == (attempts, 5, 1000)
    assert set(waited.accepted) == accepted


@pytest.mark.parametrize(
    "changed", [{"attempts": "many"}, {"due": ""}, {"accepted": "{}"}, {"accepted": "["}, {"accepted": "[" * 3000}]
)
def test_a_producer_that_forges_such_properties_is_taken_at_its_word_or_not_at_all(changed: dict[str, str]) -> None:
    """It cannot break the route."""
    told = {"of": "ID:1", "attempts": "1", "first_failed_at": "1", "sent_at": "1", "due": "1"} | changed
    assert postponed(message(1, properties={f"penstock_retry_{name}": value for name, value in told.items()})) is None
    assert postponed(message(1)) is None
