"""How many messages the broker may send ahead, so that those in flight stay within their bytes.

STOMP has a window of messages alone, fixed when subscribing. So it is chosen by the sizes that come: when more bytes
are in flight than may be, the subscription is renewed with a smaller window, and later with a larger one when messages
have become small again. What was sent ahead and not begun goes back to the broker each time.
"""

from collections.abc import Callable

_WEIGHT = 1 / 32  # of a new message in the average
_GROWTH = 4  # renewing for less is not worth it
_PAUSE_SECONDS = 10.0


class Window:
    """`size` is the prefetch to subscribe with, 1 to `messages`. Times are seconds of `now`."""

    def __init__(self, *, messages: int, max_bytes: int, now: Callable[[], float]) -> None:
        self.size = messages
        self._messages = messages
        self._max_bytes = max_bytes
        self._now = now
        self._average = 0.0
        self._changed_at = now()

    def received(self, size: int) -> None:
        """A message with a body of so many bytes came."""
        self._average += (size - self._average) * _WEIGHT if self._average else size

    def renewal(self, *, in_flight: int, in_flight_bytes: int) -> str:
        """Why the subscription has to be renewed with the new `size`; empty when it may stay."""
        if in_flight_bytes > self._max_bytes and in_flight > 1 and self.size > 1:
            # At most half of what is there now: the average may lag behind.
            self._resize(min(self._fitting(in_flight_bytes / in_flight), max(in_flight // 2, 1), self.size - 1))
            return f"{in_flight_bytes} bytes are in flight: {self.size} messages are taken ahead from now on"
        wanted = self._fitting(self._average)
        if wanted >= self.size * _GROWTH and self._now() - self._changed_at >= _PAUSE_SECONDS:
            self._resize(wanted)
            return f"messages have become smaller: {self.size} are taken ahead from now on"
        return ""

    def _fitting(self, average: float) -> int:
        return min(max(int(self._max_bytes / max(average, 1.0)), 1), self._messages)

    def _resize(self, size: int) -> None:
        self.size = size
        self._changed_at = self._now()
