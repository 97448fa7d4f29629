"""How to subscribe when the broker shall write Map messages as JSON, although a single message may make it fail.

ActiveMQ ends the connection, without a word, when it cannot write a message: an Object message whose class it does not
trust, or any Map message when XStream is not on its class path. The message comes again first, and ends the next
connection too. So after connections that ended at once the messages are taken one at a time (STEP); when a connection
ends before the first one came, the next one is taken as STOMP shows it without transformation (SINGLE): it arrives
without a body and becomes a dead letter, moved whole.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from broker_bridge.map_message import TRANSFORMATION

_AT_ONCE_SECONDS = 2.0
_ENDINGS = 2  # connections that end so before anything is concluded from it
_STEP_SECONDS = 10.0
_ERROR = "the broker ended every connection by which it should have sent this message as JSON"
Frame = tuple[Mapping[str, str], bytes]


class _Mode(Enum):
    ALL = auto()
    STEP = auto()
    SINGLE = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What to subscribe with."""

    transformation: str
    prefetch: int


class Transforming:
    """The state of a subscription over its connections. Without `wanted` nothing is transformed."""

    def __init__(self, *, wanted: bool, now: Callable[[], float]) -> None:
        self._wanted = wanted
        self._now = now
        self._mode = _Mode.ALL
        self._endings = 0
        self._received = 0
        self._began = now()

    def begin(self, *, prefetch: int) -> Terms:
        """A connection is about to subscribe."""
        self._began, self._received = self._now(), 0
        single = self._mode is _Mode.SINGLE
        return Terms(
            transformation=TRANSFORMATION if self._wanted and not single else "",
            prefetch=prefetch if self._mode is _Mode.ALL else 1,
        )

    def received(self, frames: Sequence[Frame]) -> Sequence[Frame]:
        """The messages that came, marked where the broker could not write them."""
        self._received += len(frames)
        if self._mode is not _Mode.SINGLE:
            return frames
        return [
            ({**headers, "transformation-error": _ERROR}, body) if _is_empty(headers, body) else (headers, body)
            for headers, body in frames
        ]

    def ended(self) -> None:
        """The connection was lost."""
        at_once = self._now() - self._began < _AT_ONCE_SECONDS
        if not self._wanted or not at_once or (self._mode is _Mode.STEP and self._received):
            self._endings = 0
            return
        self._endings += 1
        if self._endings >= _ENDINGS and self._mode is not _Mode.SINGLE:
            self._enter(_Mode.STEP if self._mode is _Mode.ALL else _Mode.SINGLE)

    def renewal(self, *, idle: bool) -> str:
        """Why to subscribe anew, `idle` when nothing is in flight; empty when there is no reason."""
        if self._mode is _Mode.SINGLE and self._received and idle:
            self._enter(_Mode.STEP)
            return "the message the broker could not write is settled"
        if self._mode is _Mode.STEP and self._now() - self._began >= _STEP_SECONDS:
            self._enter(_Mode.ALL)
            return "the broker can write what it has"
        return ""

    def _enter(self, mode: _Mode) -> None:
        self._mode, self._endings = mode, 0


def _is_empty(headers: Mapping[str, str], body: bytes) -> bool:
    return not body and "content-length" not in headers
