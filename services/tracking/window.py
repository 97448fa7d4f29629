"""The message ids seen lately, so that a client's repetition is answered without storing the event again.

A window, not the truth: it is empty after a restart, and the store behind keeps one row per message id in any case.
"""

from asyncio import Future
from collections.abc import Iterable


class Batch:
    """The events that were appended together; `durable` is theirs until the log confirms it, then None."""

    __slots__ = ("durable",)

    def __init__(self) -> None:
        self.durable: Future[None] | None = None


class DedupWindow:
    """At least the last `capacity` ids, at most twice as many: two generations, the older dropped as a whole.

    An id stands for the batch it came in. Ids of a batch that could not be stored must be forgotten, or a client's
    retry would be taken for a repetition and the event lost.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._current: dict[str, Batch] = {}
        self._previous: dict[str, Batch] = {}

    def __len__(self) -> int:
        return len(self._current) + len(self._previous)

    def get(self, message_id: str) -> Batch | None:
        """The batch that brought this id; None for an id that is new."""
        return self._current.get(message_id) or self._previous.get(message_id)

    def add(self, message_id: str, batch: Batch) -> None:
        """Remembers a new id."""
        self._current[message_id] = batch
        if len(self._current) > self._capacity:
            self._previous, self._current = self._current, {}

    def forget(self, message_ids: Iterable[str], batch: Batch) -> None:
        """Takes back the ids of a batch that was not stored; an id that belongs to another batch stays."""
        for generation in (self._current, self._previous):
            for message_id in message_ids:
                if generation.get(message_id) is batch:
                    del generation[message_id]
