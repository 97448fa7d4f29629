"""Frames out and in."""

import pytest
import stomp.utils
from hypothesis import given, settings
from hypothesis import strategies as st

from broker_bridge import frame_core
from broker_bridge.frame_core import CORE, PORTABLE, Core, Frame, compiled
from broker_bridge.frame_reader import FrameReader
from broker_bridge.frames import acks, encode_frame, header_bytes, subscribe

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=8)
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
HEADERS = st.dictionaries(NAMES.filter(lambda name: name != "content-length"), VALUES, max_size=5)
BODIES = st.binary(max_size=40)
FRAMES = st.lists(st.tuples(HEADERS, BODIES, st.booleans()), min_size=1, max_size=4)


needs_compiled = pytest.mark.skipif(
    compiled() is None, reason="broker_bridge/compiled is not built: there was no C compiler, or no Python.h"
)
either_core = pytest.mark.parametrize("core", [CORE, PORTABLE], ids=["compiled", "portable"])


def written(frames: list[tuple[dict[str, str], bytes, bool]]) -> tuple[bytes, list[tuple[str, dict[str, str], bytes]]]:
    """The bytes of frames, and what a reader must make of them; the flag sends a content-length."""
    data, expected = b"", []
    for headers, body, sized in frames:
        content = body if sized else body.replace(b"\x00", b"")
        sent = {**headers, "content-length": str(len(content))} if sized else headers
        data += encode_frame("MESSAGE", sent, content) + b"\n"
        expected.append(("MESSAGE", sent, content))
    return data, expected


@either_core
@given(FRAMES, st.lists(st.integers(1, 30), max_size=30))
def test_frames_are_read_back_however_they_are_cut(
    core: Core, frames: list[tuple[dict[str, str], bytes, bool]], cuts: list[int]
) -> None:
    """Any headers, any bodies, any split into chunks."""
    data, expected = written(frames)
    reader, found, position = FrameReader(core), [], 0
    for cut in [*cuts, len(data)]:
        found += reader.feed(data[position : position + cut])
        position += cut
    assert found == expected


@either_core
@given(FRAMES)
def test_the_reader_agrees_with_the_one_of_stomp_py(
    core: Core, frames: list[tuple[dict[str, str], bytes, bool]]
) -> None:
    """Headers and body of each single frame, where stomp.py's regular expressions understand it."""
    for headers, body, sized in frames:
        plain = {name: value.replace("\n", "").replace("\r", "") for name, value in headers.items()}
        plain = {name.replace("\n", "").replace("\r", "") or "n": value for name, value in plain.items()}
        data, _ = written([(plain, body, sized)])
        (ours,) = FrameReader(core).feed(data)
        theirs = stomp.utils.parse_frame(data.rstrip(b"\n")[:-1])
        assert (ours[0], ours[1], ours[2]) == (theirs.cmd, theirs.headers, theirs.body)


@either_core
def test_heart_beats_and_carriage_returns_between_frames_are_skipped(core: Core) -> None:
    """Section "Heart-beating" and "Augmented BNF" of STOMP 1.2."""
    reader = FrameReader(core)
    assert reader.feed(b"\n\r\n\n") == []
    assert reader.feed(b"\nRECEIPT\r\nreceipt-id:7\r\n\r\n\x00\n\n") == [("RECEIPT", {"receipt-id": "7"}, b"")]


@either_core
def test_the_first_of_repeated_headers_counts(core: Core) -> None:
    """Section "Repeated Header Entries"."""
    assert FrameReader(core).feed(b"MESSAGE\na:1\na:2\n\n\x00") == [("MESSAGE", {"a": "1"}, b"")]


@either_core
def test_a_large_body_arrives_whole_in_small_chunks(core: Core) -> None:
    """NULs within a body of known length end nothing."""
    body = bytes(range(256)) * 4096
    data = encode_frame("MESSAGE", {"content-length": str(len(body))}, body)
    reader = FrameReader(core)
    found = [frame for at in range(0, len(data), 16_384) for frame in reader.feed(data[at : at + 16_384])]
    assert found == [("MESSAGE", {"content-length": str(len(body))}, body)]


def test_only_the_last_ack_asks_for_a_receipt() -> None:
    """It confirms all before it."""
    frames = FrameReader().feed(acks(["a:1", "b", "c"], receipt="r"))
    assert frames == [
        ("ACK", {"id": "a:1"}, b""),
        ("ACK", {"id": "b"}, b""),
        ("ACK", {"id": "c", "receipt": "r"}, b""),
    ]


def test_a_subscription_acknowledges_message_by_message() -> None:
    """And is confirmed by a receipt: without it nobody knows whether it was taken."""
    data = subscribe("s", "/queue/q", selector="a = 'b'", prefetch=7, receipt="r")
    ((command, headers, _),) = FrameReader().feed(data)
    assert command == "SUBSCRIBE"
    assert headers["ack"] == "client-individual"
    assert headers["activemq.prefetchSize"] == "7"
    assert headers["selector"] == "a = 'b'"
    assert headers["receipt"] == "r"


@given(NAMES, VALUES)
def test_the_size_of_a_header_is_what_is_sent(name: str, value: str) -> None:
    """Escapes and multi-byte characters count."""
    with_header, without = encode_frame("X", {name: value}), encode_frame("X", {})
    assert header_bytes(name, value) == len(with_header) - len(without)


CONNECTED_TO_ACTIVEMQ = b"CONNECTED\nserver:ActiveMQ/6.1.8\nversion:1.2\n\n\x00\n"
# What a text may hold that looks like the end of a frame; "\0" before a line end and a command alone is taken for one.
TEXT_BODIES = st.lists(st.sampled_from([b"\x00", b"\n", b"x", b"MESSAG", b"\x00\x00"]), max_size=8).map(b"".join)


@either_core
@given(st.lists(TEXT_BODIES.filter(lambda body: b"\x00\n" not in body and not body.endswith(b"\x00")), max_size=4))
def test_a_nul_within_a_text_of_activemq_6_does_not_end_its_frame(core: Core, bodies: list[bytes]) -> None:
    """It writes U+0000 as it is and tells no length; the line end after a frame tells, wherever bytes are cut."""
    data = CONNECTED_TO_ACTIVEMQ + b"".join(b"MESSAGE\nn:1\n\n" + body + b"\x00\n" for body in bodies)
    for size in (1, 7, len(data)):
        reader, found = FrameReader(core), []
        for start in range(0, len(data), size):
            found += reader.feed(data[start : start + size])
        assert [frame[2] for frame in found[1:]] == bodies


@either_core
def test_a_text_whose_nul_stands_before_a_line_end_is_whole_when_more_follows(core: Core) -> None:
    """What follows is no command, so the frame went on."""
    reader = FrameReader(core)
    frames = reader.feed(CONNECTED_TO_ACTIVEMQ + b"MESSAGE\nn:1\n\na\x00\nb\x00\nRECEIPT\nreceipt-id:1\n\n\x00\n")
    assert [frame[2] for frame in frames] == [b"", b"a\x00\nb", b""]


LINES = st.sampled_from(
    [
        *(
            b"a:b",
            b"a:c",
            b":",
            b"no colon",
            b"a:\xc3\xa9",
            b"a:\xff",
            b"a:\x00",
            b"a:b\r",
            b"a:b\rc",
            b"longer name:b",
        ),
        *(b"a\\cb:\\n\\r\\\\", b"a\\\\c:x", b"a\\c:x", b"a:\\x", b"a:\\", b"a\\:x", b"a:\\\x00"),
        *(b"content-length:3", b"content-length:0", b"content-length:", b"content-length:+1", b"content-length::"),
        *(
            b"content-length:0000000003",
            b"content-length:99",
            b"content-length:3\ncontent-length:0",
            b"content\\-length:3",
        ),
    ]
)
PARTS = st.sampled_from([b"", b"xyz", b"\x00", b"\n", b"MESSAGE\n"])
LIKE_MESSAGES = st.builds(
    lambda before, lines, parts, after: (
        before + b"MESSAGE\n" + b"\n".join([*lines, b"", b""]) + b"".join(parts) + after
    ),
    before=st.sampled_from([b"", b"\n", b"\r\n"]),
    lines=st.lists(LINES, max_size=3),
    parts=st.lists(PARTS, max_size=3),
    after=st.sampled_from([b"\x00\n", b"\x00\n", b"\x00", b""]),
)
OTHERS = st.sampled_from(
    [CONNECTED_TO_ACTIVEMQ, b"RECEIPT\nreceipt-id:1\n\n\x00\n", b"MESS", b"MESSAGE\n\n", b"\r", b"x"]
)
STREAMS = st.lists(st.one_of(LIKE_MESSAGES, LIKE_MESSAGES, OTHERS), max_size=6).map(b"".join)


@needs_compiled
@settings(max_examples=400)
@given(STREAMS, st.lists(st.integers(1, 60), max_size=12))
def test_the_compiled_part_reads_as_the_reader_does(data: bytes, cuts: list[int]) -> None:
    """Sound frames and broken ones, wherever they are cut: the same frames, after each chunk."""

    def read(core: Core) -> list[list[Frame]]:
        reader, found, position = FrameReader(core), [], 0
        for cut in [*cuts, len(data)]:
            found.append(reader.feed(data[position : position + cut]))
            position += cut
        return found

    assert read(CORE) == read(PORTABLE)


@needs_compiled
def test_usual_frames_are_read_by_the_compiled_part() -> None:
    """All but the last of a text, which may go on until the next one is there."""
    frame = b"MESSAGE\nmessage-id:ID\\c1\ntimestamp:7\n\nhello\x00\n"
    frames, position = CORE.read_messages(bytearray(b"\n" + frame * 3), 0, True)
    assert frames == [("MESSAGE", {"message-id": "ID:1", "timestamp": "7"}, b"hello")] * 2
    assert position == 2 * len(frame)


@either_core
def test_a_name_is_not_taken_for_one_that_was_escaped_to_it(core: Core) -> None:
    """The names of the frame before are remembered as they stood there."""
    frames = FrameReader(core).feed(b"MESSAGE\na\\\\c:1\n\n\x00MESSAGE\na\\c:1\n\n\x00")
    assert [headers for _, headers, _ in frames] == [{"a\\c": "1"}, {"a:": "1"}]


@pytest.mark.parametrize("position", [-1, 4])
@needs_compiled
def test_the_compiled_part_refuses_a_position_outside_of_its_buffer(position: int) -> None:
    """Instead of reading there."""
    with pytest.raises(ValueError, match="there is no position"):
        CORE.read_messages(bytearray(b"abc"), position, False)


@pytest.mark.parametrize("error", [ModuleNotFoundError("not built"), ImportError("undefined symbol")], ids=repr)
def test_only_what_was_not_built_is_done_without(error: ImportError, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was built and cannot be loaded says so, instead of being slow without a word."""

    def import_module(_name: str) -> None:
        raise error

    monkeypatch.setattr(frame_core, "import_module", import_module)
    if isinstance(error, ModuleNotFoundError):
        assert compiled() is None
    else:
        with pytest.raises(ImportError, match="undefined symbol"):
            compiled()
