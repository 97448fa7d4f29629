"""What a MESSAGE frame says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_bridge.message import MessageKind, decode_message, to_stomp, to_uri
from broker_bridge.text_codec import TextError, decode_text

SCALARS = st.text(st.characters(codec="utf-8"))


def modified_utf8(text: str) -> bytes:
    """Java's DataOutput.writeUTF encoding, written as its documentation says: one UTF-16 unit after the other."""
    units = text.encode("utf-16-be")
    out = bytearray()
    for position in range(0, len(units), 2):
        unit = units[position] << 8 | units[position + 1]
        if 0x01 <= unit <= 0x7F:
            out.append(unit)
        elif unit <= 0x7FF:
            out += bytes((0xC0 | unit >> 6, 0x80 | unit & 0x3F))
        else:
            out += bytes((0xE0 | unit >> 12, 0x80 | unit >> 6 & 0x3F, 0x80 | unit & 0x3F))
    return bytes(out)


@given(SCALARS)
def test_true_utf8_is_read_back(text: str) -> None:
    """Every Unicode scalar, as newer brokers send it."""
    assert decode_text(text.encode()) == text


@given(SCALARS)
def test_modified_utf8_is_read_back(text: str) -> None:
    """Every Unicode scalar, NUL and emoji included, as older brokers send it."""
    assert decode_text(modified_utf8(text)) == text


def test_the_bytes_older_brokers_send_for_emoji_and_nul_are_known() -> None:
    """The very bytes that ActiveMQ 5.17 was seen to send."""
    assert decode_text(b"\xed\xa0\xbd\xed\xb8\x80 \xc0\x80") == "\U0001f600 \x00"


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"\xff", "byte 0xff at offset 0"),
        (b"ok \x80", "byte 0x80 at offset 3"),
        (b"\xed\xa0\xbd", "half of a surrogate pair"),
        (b"\xed\xb8\x80", "half of a surrogate pair"),
        (b"\xc3", "byte 0xc3 at offset 0"),
    ],
)
def test_bytes_that_are_no_text_are_refused_with_their_position(body: bytes, complaint: str) -> None:
    """Replacing them would corrupt the message silently."""
    with pytest.raises(TextError, match=complaint):
        decode_text(body)


def test_headers_become_fields_and_the_rest_properties() -> None:
    """Whatever is not a header of STOMP or ActiveMQ was set by the producer."""
    decoded = decode_message(
        {
            "message-id": "ID:1",
            "destination": "/queue/orders",
            "ack": "a",
            "subscription": "s",
            "correlation-id": "c",
            "reply-to": "/remote-temp-queue/ID:7",
            "type": "t",
            "priority": "9",
            "timestamp": "1700000000123",
            "expires": "1700000009999",
            "persistent": "true",
            "redelivered": "true",
            "colour": "blue",
        },
        b"x",
        source="queue://orders",
        received_at=5,
    )
    assert decoded.id == "ID:1"
    assert decoded.destination == "queue://orders"
    assert decoded.reply_to == "temp-queue://ID:7"
    assert (decoded.correlation_id, decoded.type, decoded.priority) == ("c", "t", 9)
    assert (decoded.sent_at, decoded.expires_at, decoded.received_at) == (1700000000123, 1700000009999, 5)
    assert decoded.persistent
    assert decoded.redelivered
    assert decoded.properties == {"colour": "blue"}


def test_what_is_absent_has_the_default_of_jms() -> None:
    """A message that is not persistent lacks the header; numbers that are none do not stop the bridge."""
    decoded = decode_message(
        {"message-id": "ID:1", "destination": "/queue/q", "priority": "high", "expires": ""},
        b"",
        source="",
        received_at=0,
    )
    assert not decoded.persistent
    assert not decoded.redelivered
    assert (decoded.priority, decoded.expires_at, decoded.sent_at) == (4, 0, 0)


def test_properties_of_the_name_of_a_header_are_told_by_their_values() -> None:
    """ActiveMQ writes them over the header; the destination is then where the message was read."""
    properties = {
        "destination": "Paris",
        "priority": "high",
        "timestamp": "today",
        "expires": "soon",
        "persistent": "yes",
        "redelivered": "no",
    }
    decoded = decode_message({"message-id": "ID:1", **properties}, b"", source="queue://orders", received_at=0)
    assert decoded.properties == properties
    assert decoded.destination == "queue://orders"


@pytest.mark.parametrize("name", ["timestamp", "expires", "priority", "persistent", "redelivered"])
def test_an_empty_property_of_the_name_of_a_header_is_kept(name: str) -> None:
    """Beside the others, which are as the broker writes them."""
    headers = {"timestamp": "1700000000123", "expires": "0", "priority": "4", "persistent": "true", name: ""}
    frame = {"message-id": "ID:1", "destination": "/queue/q", **headers}
    assert decode_message(frame, b"", source="queue://q", received_at=0).properties == {name: ""}


@pytest.mark.parametrize(
    ("headers", "body", "kind"),
    [
        ({}, b"text", MessageKind.TEXT),
        ({"content-length": "4"}, b"data", MessageKind.BYTES),
        ({"content-length": "0"}, b"", MessageKind.BYTES),
        ({}, b"", MessageKind.EMPTY),
    ],
    ids=["text", "bytes", "empty-bytes", "map-object-stream-or-empty"],
)
def test_content_length_tells_the_class(headers: dict[str, str], body: bytes, kind: MessageKind) -> None:
    """The only sign STOMP gives."""
    frame = {"message-id": "ID:1", "destination": "/queue/q", **headers}
    assert decode_message(frame, body, source="", received_at=0).kind is kind


@pytest.mark.parametrize(
    ("stomp", "uri"),
    [
        ("/queue/orders", "queue://orders"),
        ("/topic/audit", "topic://audit"),
        ("/remote-temp-queue/ID:1", "temp-queue://ID:1"),
        ("bare", "bare"),
        ("", ""),
    ],
)
def test_destinations_are_written_as_uris_and_back(stomp: str, uri: str) -> None:
    """Both notations name the same destination."""
    assert to_uri(stomp) == uri
    assert to_stomp(uri) == stomp


def test_copies_of_a_virtual_topic_have_different_keys() -> None:
    """They share their id; what tells them apart is the queue."""
    first, second = (
        decode_message(
            {"message-id": "ID:1", "destination": f"/queue/Consumer.{name}.T"}, b"x", source="", received_at=0
        )
        for name in "AB"
    )
    assert first.key != second.key


def test_a_copy_of_a_text_with_a_nul_is_a_text_again() -> None:
    """ActiveMQ 6 keeps what its SEND said as properties, which are none of the producer's."""
    headers = {"message-id": "1", "destination": "/queue/q", "content-length": "3", "amq-msg-type": "text", "n": "5"}
    message = decode_message(headers, b"a\x00b", source="queue://q", received_at=1)
    assert (message.kind, message.properties) == (MessageKind.TEXT, {"n": "5"})
