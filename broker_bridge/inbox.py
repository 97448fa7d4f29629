"""Messages waiting for a delivery, taken in batches."""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence

from broker_bridge.routes import Batch
from broker_bridge.settlement import Entry

_BUSY_WINDOW_SECONDS = 0.005


class Inbox:
    """Filled on the event loop; several workers may take. Its bound is the prefetch that the broker keeps to.

    For a lane: `block` lets nothing out until what was taken and failed is `put_back`, in front of everything else.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._waiting: deque[Entry] = deque()
        self._something = asyncio.Event()
        self._enough = asyncio.Event()
        # One worker at a time gathers, so that messages that come one by one still make full batches.
        self._turn = asyncio.Lock()
        self._closed = False
        self._blocked = False
        self._working = 0

    def put(self, entries: Iterable[Entry]) -> None:
        if self._closed:
            return
        self._waiting.extend(entries)
        if self._waiting:
            self._something.set()
        if len(self._waiting) >= self._batch.max_messages:
            self._enough.set()

    def block(self) -> None:
        self._blocked = True

    def put_back(self, entries: Sequence[Entry]) -> None:
        if entries and not self._closed:
            self._blocked = False
            self._waiting.extendleft(reversed(entries))
            self._something.set()

    def clear(self) -> None:
        self._waiting.clear()
        self._blocked = False

    def close(self) -> None:
        """Nothing more comes out: what waits is dropped, what is put later too."""
        self._closed = True
        self._waiting.clear()

    def __len__(self) -> int:
        return len(self._waiting)

    async def take(self) -> list[Entry]:
        """The next batch; waits for its first message, then up to the batch's window for more. Empty when cleared.

        While other batches are being worked on it waits a few milliseconds in any case: under load batches are then
        full, which makes them cheap, while a single message is not delayed. Say `finished` after each batch.
        """
        async with self._turn:
            while not self._waiting or self._blocked:
                self._something.clear()
                await self._something.wait()
            window = max(self._batch.window, _BUSY_WINDOW_SECONDS if self._working else 0.0)
            if window and len(self._waiting) < self._batch.max_messages:
                await self._gather(window)
            self._working += 1
            return self._pop() if self._waiting else []

    def finished(self) -> None:
        """A batch that was taken is worked off."""
        self._working -= 1

    async def _gather(self, seconds: float) -> None:
        self._enough.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._enough.wait()
        except TimeoutError:
            return

    def _pop(self) -> list[Entry]:
        first = self._waiting.popleft()
        taken, size = [first], len(first.message.body)
        while not first.alone and self._waiting and len(taken) < self._batch.max_messages:
            following = self._waiting[0]
            size += len(following.message.body)
            if following.alone or size > self._batch.max_bytes:
                break
            taken.append(self._waiting.popleft())
        return taken
