"""The bytes of the log: frames, each with the events that became durable together.

    "PLG1" | payload length u32 | events u32 | CRC-32 u32 of the fields before and the payload | payload
                                                                                         (little-endian)
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
_CRC = struct.Struct("<I")
HEADER_BYTES = _FIELDS.size + _CRC.size
_TAG = b"\x0a"  # field 1, length-delimited
_SEVEN_BITS = 0x7F


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
    return b"".join((fields, _CRC.pack(zlib.crc32(payload, zlib.crc32(fields))), payload))


def event_prefix(size: int) -> bytes:
    """What stands before an event of `size` bytes in a payload: the tag of the field and the length as varint."""
    encoded = bytearray(_TAG)
    while size > _SEVEN_BITS:
        encoded.append(size & _SEVEN_BITS | 0x80)
        size >>= 7
    encoded.append(size)
    return bytes(encoded)


def read_frame(file: BinaryIO, offset: int) -> Frame:
    """The frame at `offset`, where `file` stands; afterwards it stands behind the frame.

    Raises:
        BadFrameError: the bytes are cut off or not what was written.
    """
    header = file.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        raise BadFrameError(offset, f"the header is cut off after {len(header)} bytes")
    magic, length, count = _FIELDS.unpack_from(header)
    if magic != MAGIC:
        raise BadFrameError(offset, f"it does not begin with {MAGIC!r}")
    payload = file.read(length)
    if len(payload) < length:
        raise BadFrameError(offset, f"{len(payload)} of {length} bytes of payload are there")
    (expected,) = _CRC.unpack_from(header, _FIELDS.size)
    if zlib.crc32(payload, zlib.crc32(header[: _FIELDS.size])) != expected:
        raise BadFrameError(offset, "the checksum does not match")
    return Frame(end=offset + HEADER_BYTES + length, count=count, payload=payload)


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


def next_frame_offset(file: BinaryIO, offset: int) -> int | None:
    """Where the first intact frame after `offset` begins; None when there is none, as behind a torn write."""
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
