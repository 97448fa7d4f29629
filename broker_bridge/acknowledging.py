"""How a subscription acknowledges: with one ACK for many messages while all goes well, otherwise one by one.

An ACK costs the broker about as much as the delivery of a message, so one for many nearly doubles what it can give.
But it takes every message before it with it: what is worked off behind a message that is still open cannot be
acknowledged, and no message can be moved or refused by itself. STOMP fixes this when subscribing. So the subscription
is renewed to acknowledge one by one as soon as that is needed, and renewed again when it was not needed for a while.
"""

import re
from collections.abc import Callable

_STALL_SECONDS = 0.5
_FIRST_PAUSE_SECONDS = 60.0
_LONGEST_PAUSE_SECONDS = 3600.0
# Those before may keep a record of each message that was acknowledged with another until the connection ends, and may
# go on after a message they could not write, which would then be acknowledged unseen.
_OLDEST_BROKER = (5, 18)
_BROKER = re.compile(r"ActiveMQ/(\d+)\.(\d+)")


class Acknowledging:
    """The choice of one route, over its connections. Times are seconds of `now`.

    `allowed` is whether its messages may be acknowledged together at all. The pause after which this is tried again
    doubles, up to an hour, when it did not last longer than the pause before.
    """

    def __init__(self, *, allowed: bool, now: Callable[[], float]) -> None:
        self._allowed = allowed
        self._now = now
        self._pause = _FIRST_PAUSE_SECONDS
        self._one_by_one_until = 0.0
        self._began = 0.0
        self._could = False
        self.cumulative = False
        """Whether an ACK of the current connection takes every message before it with it."""

    def begin(self, server: str, *, remembered: bool) -> bool:
        """A connection to a broker that says it is `server` is about to subscribe: whether cumulatively.

        `remembered`: other bridges, and this one after a restart, know what was delivered. Without that a message whose
        ACK is kept back could come to be delivered twice.
        """
        self._began = self._now()
        self._could = self._allowed and _is_known(server)
        self.cumulative = self._could and remembered and self._began >= self._one_by_one_until
        return self.cumulative

    def one_by_one(self, why: str) -> str:
        """Something needs ACKs one by one: why the subscription must be renewed for it; empty when it need not be."""
        return self._leave(why) if self.cumulative else self._put_off()

    def renewal(self, *, stalled: float, remembered: bool) -> str:
        """Why to subscribe anew, when ACKs have been `stalled` for so many seconds; empty when there is no reason."""
        if self.cumulative:
            # Not when nobody remembers any more: what is delivered during a renewal would have to be remembered.
            return self._leave("an open message keeps back the ACKs behind it") if stalled >= _STALL_SECONDS else ""
        if not remembered:
            # What was delivered meanwhile is known to nobody else until its ACK is confirmed.
            return self._put_off()
        if self._could and self._now() >= self._one_by_one_until:
            return "messages can be acknowledged together again"
        return ""

    def _leave(self, why: str) -> str:
        lasted = self._now() - self._began
        self._pause = _FIRST_PAUSE_SECONDS if lasted > self._pause else min(self._pause * 2, _LONGEST_PAUSE_SECONDS)
        self._put_off()
        return f"{why}: messages are acknowledged one by one for {self._pause:g} s"

    def _put_off(self) -> str:
        self._one_by_one_until = self._now() + self._pause
        return ""


def _is_known(server: str) -> bool:
    match = _BROKER.match(server)
    return match is not None and (int(match[1]), int(match[2])) >= _OLDEST_BROKER
