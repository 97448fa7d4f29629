"""A tracking event as it comes in: its limits, and the id it gets when the client sent none.

Events stay protobuf messages on their way through the intake: they arrive and leave in that form, and every copy of a
hundred events would cost as much as parsing them.
"""

import os
import re
import time
from collections.abc import Callable

from google.protobuf.timestamp_pb2 import Timestamp
from penstock.tracking.v1 import tracking_event_pb2

TrackingEvent = tracking_event_pb2.TrackingEvent

MAX_BATCH = 5000
"""Events of one call."""
MAX_MESSAGE_ID = 100
MAX_PROGRAM_ID = 128
MAX_TEXT = 512
MAX_USER_AGENT = 2048
MAX_ATTRIBUTES = 50
MAX_ATTRIBUTE_KEY = 128
MAX_ATTRIBUTE_VALUE = 1024
MAX_EVENT_BYTES = 256 * 1024
"""Also bounds unknown fields, which are kept for newer consumers."""

LATEST_SECONDS = 4_102_444_800
"""2100-01-01: a later time is a client that counts in milliseconds or worse."""

_PROGRAM_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_TEXTS = (
    ("message_id", MAX_MESSAGE_ID),
    ("checksum", MAX_TEXT),
    ("cookie_id", MAX_TEXT),
    ("click_id", MAX_TEXT),
    ("transaction_id", MAX_TEXT),
    ("user_agent", MAX_USER_AGENT),
    ("ip_address", MAX_TEXT),
)
SECOND_NANOS = 1_000_000_000
_SHOWN = 40  # characters of a faulty value that a reason repeats


def event_fault(event: TrackingEvent, size: int) -> str | None:
    """What is wrong with an event of `size` serialized bytes, naming the field and the value; None when nothing is.

    The program id is judged by `program_id_fault`.
    """
    if size > MAX_EVENT_BYTES:
        return f"the event has {size} bytes; the limit is {MAX_EVENT_BYTES}"
    for field, limit in _TEXTS:
        value = getattr(event, field)
        if len(value) > limit:
            return f"{field} {shown(value)} has {len(value)} characters; the limit is {limit}"
    return _attributes_fault(event) or _time_fault(event, "occurred_at") or _time_fault(event, "sent_at")


def program_id_fault(program_id: str) -> str | None:
    """What is wrong with a program id; None when it is 1 to 128 letters, digits, `-`, `_` and `.`."""
    if not program_id:
        return "program_id is empty; it is required"
    if _PROGRAM_ID.fullmatch(program_id) is None:
        return f"program_id {shown(program_id)} must be 1 to {MAX_PROGRAM_ID} letters, digits, '-', '_' and '.'"
    return None


def is_plausible(moment: Timestamp) -> bool:
    """Whether a Timestamp off the wire, where nothing checks it, is well-formed and lies between 1970 and 2100."""
    return 0 <= moment.seconds < LATEST_SECONDS and 0 <= moment.nanos < SECOND_NANOS


def shown(value: str) -> str:
    """A value as reasons quote it: never longer than a line."""
    return repr(value if len(value) <= _SHOWN else value[:_SHOWN] + "...")


def _attributes_fault(event: TrackingEvent) -> str | None:
    if len(event.attributes) > MAX_ATTRIBUTES:
        return f"attributes has {len(event.attributes)} entries; the limit is {MAX_ATTRIBUTES}"
    for key, value in event.attributes.items():
        if not 0 < len(key) <= MAX_ATTRIBUTE_KEY:
            return f"attributes has the key {shown(key)}; keys have 1 to {MAX_ATTRIBUTE_KEY} characters"
        if len(value) > MAX_ATTRIBUTE_VALUE:
            return f"attributes[{shown(key)}] has {len(value)} characters; the limit is {MAX_ATTRIBUTE_VALUE}"
    return None


def _time_fault(event: TrackingEvent, field: str) -> str | None:
    if not event.HasField(field):
        return None
    moment = getattr(event, field)
    if is_plausible(moment):
        return None
    return f"{field} is {moment.seconds} s and {moment.nanos} ns after 1970; it must lie between 1970 and 2100"


class RandomPool:
    """Random bytes of the system, fetched for many at a time: asking for each costs as much as a whole decision."""

    def __init__(self, source: Callable[[int], bytes] = os.urandom, size: int = 4096) -> None:
        self._source = source
        self._size = size
        self._bytes = b""
        self._at = 0

    def __call__(self, count: int) -> bytes:
        """At most `size` bytes that nobody was given before."""
        begin, self._at = self._at, self._at + count
        if self._at > len(self._bytes):
            self._bytes, begin, self._at = self._source(self._size), 0, count
        return self._bytes[begin : self._at]


_POOL = RandomPool()


def uuid7(now: Callable[[], float] = time.time, random: Callable[[int], bytes] = _POOL) -> str:
    """A UUIDv7 (RFC 9562, section 5.7): milliseconds since 1970, then 74 random bits; ids sort by time of creation."""
    tail = int.from_bytes(random(10), "big")
    value = (int(now() * 1000) & 0xFFFF_FFFF_FFFF) << 80
    value |= 0x7 << 76 | (tail >> 68 & 0xFFF) << 64
    value |= 0b10 << 62 | (tail & 0x3FFF_FFFF_FFFF_FFFF)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
