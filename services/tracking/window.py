"""The message ids seen lately, so that a client's repetition is answered without storing the event again.

A window, not the truth: it is empty after a restart, and the store behind keeps one row per message id in any case.
"""

from asyncio import Future
from collections.abc import Iterable


class DedupWindow:
    """At least the last `capacity` ids, at most twice as many: two generations, the older dropped as a whole.

    Ids are UTF-8 and stand for the batch they came in, which is a number: dictionaries of bytes and numbers are none of
    the garbage collector's business, which otherwise looked through all ids many times a second. Ids of a batch that
    could not be stored must be forgotten, or a client's retry would be taken for a repetition and the event lost.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._batches = 0
        self.new_ids: dict[bytes, int] = {}
        """The newer generation; whoever adds to it calls `turn` afterwards."""
        self.before: dict[bytes, int] = {}
        """The older generation, to be read only."""
        self.in_flight: dict[int, Future[None]] = {}
        """What the events of a batch wait for until the log confirms them."""

    def __len__(self) -> int:
        return len(self.new_ids) + len(self.before)

    def next_batch(self) -> int:
        """A number for events that are appended together."""
        self._batches += 1
        return self._batches

    def turn(self) -> None:
        """Drops the older generation when the newer one is full. Dictionaries taken before are not valid any more."""
        if len(self.new_ids) > self._capacity:
            self.new_ids, self.before = {}, self.new_ids

    def forget(self, message_ids: Iterable[bytes], batch: int) -> None:
        """Takes back the ids of a batch that was not stored; an id that belongs to another batch stays."""
        for message_id in message_ids:
            for generation in (self.new_ids, self.before):
                if generation.get(message_id) == batch:
                    del generation[message_id]
