"""Sends the ACKs of a ledger when they are due."""

import asyncio
from collections.abc import Callable, Sequence

from broker_bridge.settlement import AckBatch, Entry, Ledger

_GRAIN_SECONDS = 0.001


class Acknowledger:
    """Between the ledger, which knows what may be acknowledged, and the broker, which is told."""

    def __init__(self, ledger: Ledger, send: Callable[[AckBatch], None], now: Callable[[], float]) -> None:
        self._ledger = ledger
        self._send = send
        self._now = now
        self._timer: asyncio.TimerHandle | None = None

    def settle(self, entries: Sequence[Entry]) -> int:
        """Acknowledges messages that are worked off; how many of them a lost connection makes void."""
        void = self._ledger.settle(entries, now=self._now())
        self.send_due()
        return void

    def confirm(self, receipt: str) -> int:
        """How many messages a receipt settles."""
        settled = len(self._ledger.confirm(receipt))
        self.send_due()
        return settled

    def send_due(self) -> None:
        """Sends what is due now, and sets a timer for what may still gather."""
        batch = self._ledger.acks_due(now=self._now())
        if batch is not None:
            self._send(batch)
        elif self._timer is None and (due := self._ledger.next_due()) != float("inf"):
            delay = max(due - self._now(), _GRAIN_SECONDS)
            self._timer = asyncio.get_running_loop().call_later(delay, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self.send_due()
