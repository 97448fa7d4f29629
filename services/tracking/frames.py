"""The bytes of the log: frames, each with the events that became durable together.

    "PLG1" | payload length u32 | events u32 | CRC-32 u32 of these | CRC-32 u32 of the payload | payload
                                                                                         (little-endian)
The header has a checksum of its own: with an intact header it is known how far the frame was meant to reach, so that a
write torn at the end of the file is told from damage whatever bytes clients put into their events.

The payload is the wire format of a repeated `TrackingEvent` in field 1, the same as that of `PutEventsRequest`:
payloads joined together are a valid request, and nothing is parsed on the way to the store.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import SEEK_END, BytesIO
from typing import BinaryIO

MAGIC = b"PLG1"
_FIELDS = struct.Struct("<4sII")
_CHECKSUMS = struct.Struct("<II")
HEADER_BYTES = _FIELDS.size + _CHECKSUMS.size
_TAG = b"\x0a"  # field 1, length-delimited
_SEVEN_BITS = 0x7F
_MAX_VARINT = 10  # bytes


class BadFrameError(Exception):
    """The bytes at `offset` are not a frame; `why` says what is wrong with them."""

    def __init__(self, offset: int, why: str) -> None:
        super().__init__(f"bad frame at offset {offset}: {why}")
        self.offset = offset
        self.why = why


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame: where it ends in its file, how many events it holds, and its payload."""

    end: int
    count: int
    payload: bytes


def encode_frame(payload: bytes, count: int) -> bytes:
    """The frame of `count` events."""
    fields = _FIELDS.pack(MAGIC, len(payload), count)
    return b"".join((fields, _CHECKSUMS.pack(zlib.crc32(fields), zlib.crc32(payload)), payload))


def event_prefix(size: int) -> bytes:
    """What stands before an event of `size` bytes in a payload: the tag of the field and the length."""
    return _TAG + varint(size)


def bodies_of(payload: bytes) -> list[bytes]:
    """The events of a payload, serialized, in order, without a look into them.

    A rest that is no event is the last of them: whoever decodes it will find out.
    """
    found, at = [], 0
    while at < len(payload):
        begin, size = _delimited(payload, at)
        found.append(payload[begin : begin + size])
        at = begin + size
    return found


def _delimited(payload: bytes, at: int) -> tuple[int, int]:
    """Where the event whose tag is at `at` begins, and its size."""
    size = shift = 0
    for begin in range(at + 1, min(at + 1 + _MAX_VARINT, len(payload))):
        size |= (payload[begin] & _SEVEN_BITS) << shift
        shift += 7
        if payload[begin] <= _SEVEN_BITS:
            if payload.startswith(_TAG, at) and begin + 1 + size <= len(payload):
                return begin + 1, size
            break
    return at, len(payload) - at


def varint(value: int) -> bytes:
    """A whole number as protobuf writes it: seven bits a byte, the lowest first, the last one without its top bit."""
    encoded = bytearray()
    while value > _SEVEN_BITS:
        encoded.append(value & _SEVEN_BITS | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def read_frame(file: BinaryIO, offset: int) -> Frame:
    """The frame at `offset`, where `file` stands; afterwards it stands behind the frame.

    Raises:
        BadFrameError: the bytes are cut off or not what was written.
    """
    length, count, checksum = _read_header(file, offset)
    payload = file.read(length)
    if len(payload) < length:
        raise BadFrameError(offset, f"{len(payload)} of {length} bytes of payload are there")
    if zlib.crc32(payload) != checksum:
        raise BadFrameError(offset, "the checksum of the payload does not match")
    return Frame(end=offset + HEADER_BYTES + length, count=count, payload=payload)


def _read_header(file: BinaryIO, offset: int) -> tuple[int, int, int]:
    """Length of the payload, number of events and checksum of the payload of the frame at `offset`."""
    header = file.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        raise BadFrameError(offset, f"the header is cut off after {len(header)} bytes")
    magic, length, count = _FIELDS.unpack_from(header)
    if magic != MAGIC:
        raise BadFrameError(offset, f"it does not begin with {MAGIC!r}")
    of_header, of_payload = _CHECKSUMS.unpack_from(header, _FIELDS.size)
    if zlib.crc32(header[: _FIELDS.size]) != of_header:
        raise BadFrameError(offset, "the checksum of the header does not match")
    return length, count, of_payload


def read_frames(file: BinaryIO) -> Iterator[Frame]:
    """All frames from the beginning of a file.

    Raises:
        BadFrameError: as `read_frame`.
    """
    size, offset = file.seek(0, SEEK_END), 0
    file.seek(0)
    while offset < size:
        frame = read_frame(file, offset)
        yield frame
        offset = frame.end


def is_torn_write(file: BinaryIO, offset: int) -> bool:
    """Whether the bad frame at `offset` is the unfinished last write: nothing written later stands behind it."""
    size = file.seek(0, SEEK_END)
    file.seek(offset)
    try:
        length, _, _ = _read_header(file, offset)
    except BadFrameError:
        return _next_frame_offset(file, offset) is None
    return offset + HEADER_BYTES + length >= size


def frame_after(file: BinaryIO, offset: int) -> int | None:
    """Where the first intact frame behind the bad one at `offset` begins; None when there is none."""
    file.seek(offset)
    try:
        length, _, _ = _read_header(file, offset)
        end = offset + HEADER_BYTES + length
        file.seek(end)
        read_frame(file, end)
    except BadFrameError:
        return _next_frame_offset(file, offset)
    return end


def _next_frame_offset(file: BinaryIO, offset: int) -> int | None:
    """Where the first intact frame after `offset` begins."""
    file.seek(offset)
    rest = file.read()
    found = rest.find(MAGIC, 1)
    while found >= 0:
        try:
            read_frame(BytesIO(rest[found:]), offset + found)
        except BadFrameError:
            found = rest.find(MAGIC, found + 1)
        else:
            return offset + found
    return None
