"""Messages that wait for their next attempt."""

import asyncio
import heapq
import itertools
from collections.abc import Callable, Iterable, Sequence

from broker_bridge.settlement import Entry

_GRAIN_SECONDS = 0.001


class RetryQueue:
    """Hands entries to `release` when their time has come, those due together at once. One timer for all."""

    def __init__(self, release: Callable[[Sequence[Entry]], None], now: Callable[[], float]) -> None:
        self._release = release
        self._now = now
        self._heap: list[tuple[float, int, Entry]] = []
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    def put(self, entries: Iterable[Entry], seconds: float) -> None:
        """Keeps entries for so many seconds."""
        due = self._now() + seconds
        for entry in entries:
            heapq.heappush(self._heap, (due, next(self._order), entry))
        self._set_timer()

    def clear(self) -> Sequence[tuple[Entry, float]]:
        """Forgets everything; returns what was kept, and until when."""
        kept = [(entry, due) for due, _, entry in self._heap]
        self._heap.clear()
        self._set_timer()
        return kept

    def release_due(self) -> None:
        """Releases what is due; the timer calls it."""
        limit = self._now() + _GRAIN_SECONDS
        due = []
        while self._heap and self._heap[0][0] <= limit:
            due.append(heapq.heappop(self._heap)[2])
        self._release(due)
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._heap:
            delay = max(self._heap[0][0] - self._now(), 0.0)
            self._timer = asyncio.get_running_loop().call_later(delay, self.release_due)
