"""Text as bytes, both ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_bridge.text_codec import decode_text, decodes_utf8, encode_text, modified_utf8

OLD, NEW = "ActiveMQ/5.18.4", "ActiveMQ/6.1.4"
# Every Unicode scalar: surrogates are none.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXTS)
def test_every_text_comes_back_from_both_forms(text: str) -> None:
    """Whatever the broker speaks."""
    for server in (OLD, NEW):
        _, body = encode_text(text, server)
        assert decode_text(body) == text


def test_every_scalar_comes_back_from_both_forms() -> None:
    """1,112,064 of them."""
    scalars = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))
    assert decode_text(modified_utf8(scalars)) == scalars
    assert decode_text(scalars.encode()) == scalars


@given(TEXTS)
def test_a_frame_without_a_length_never_holds_a_nul(text: str) -> None:
    """It would end there."""
    for server in (OLD, NEW):
        headers, body = encode_text(text, server)
        assert "content-length" in headers or b"\x00" not in body


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("\x00", b"\xc0\x80"), ("😀", b"\xed\xa0\xbd\xed\xb8\x80"), ("é", "é".encode()), ("\uffff", "\uffff".encode())],
)
def test_modified_utf8_is_that_of_java(text: str, bytes_: bytes) -> None:
    """As java.io.DataOutput describes it."""
    assert modified_utf8(text) == bytes_


@pytest.mark.parametrize("server", [OLD, NEW])
def test_half_a_surrogate_pair_becomes_a_question_mark(server: str) -> None:
    """No text holds one, but the JSON of a function may."""
    _, body = encode_text("a\ud83d b", server)
    assert decode_text(body) in ("a? b", "a\ufffd b")


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("ActiveMQ/5.17.2", False),
        ("ActiveMQ/5.18.5", False),
        ("ActiveMQ/5.18.6", True),
        ("ActiveMQ/5.19.0", True),
        ("ActiveMQ/6.0.1", False),
        ("ActiveMQ/6.1.3", False),
        ("ActiveMQ/6.1.4", True),
        ("ActiveMQ/6.2.0-SNAPSHOT", True),
        ("ActiveMQ-Artemis/2.31.0", True),
        ("", True),
    ],
)
def test_brokers_are_known_by_what_they_call_themselves(server: str, *, expected: bool) -> None:
    """AMQ-8398 came with 5.18.6 and 6.1.4."""
    assert decodes_utf8(server) is expected
