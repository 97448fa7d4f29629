"""How long events are kept: reads leave out what is older at once, deleting it takes its time."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from services.persistence.record import EventRecord
from services.persistence.store import EventQuery, EventStore, Position, PutOutcome, StoredEvent
from services.runtime.errors import RetryableError

_MICROSECONDS = 1_000_000
_PURGE_ROWS = 1000
_PURGE_PAUSE_SECONDS = 60.0


class RetainedEvents:
    """An `EventStore` whose events are gone `seconds` after they occurred, whenever they were stored.

    Run `purge_forever` beside it. A message id is new again when its row is deleted; its event, sent again, is as old
    as before and stays out of sight. `now` gives seconds since 1970 UTC.
    """

    def __init__(self, store: EventStore, *, seconds: float, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._seconds = seconds
        self._now = now

    @property
    def oldest(self) -> int:
        """The time, in microseconds since 1970 UTC, before which nothing is shown."""
        return int((self._now() - self._seconds) * _MICROSECONDS)

    async def put(self, records: Sequence[EventRecord]) -> list[PutOutcome]:
        return await self._store.put(records)

    async def replace(self, records: Sequence[EventRecord]) -> None:
        await self._store.replace(records)

    async def purge(self, before: int, *, limit: int) -> int:
        return await self._store.purge(before, limit=limit)

    async def get(self, message_id: str) -> EventRecord | None:
        record = await self._store.get(message_id)
        return record if record is not None and record.occurred_at >= self.oldest else None

    async def list_events(self, query: EventQuery, *, after: Position | None, limit: int) -> list[StoredEvent]:
        start = self.oldest if query.from_time is None else max(query.from_time, self.oldest)
        return await self._store.list_events(replace(query, from_time=start), after=after, limit=limit)

    async def purge_expired(self) -> int:
        """Delete what has expired, in pieces between which others write; the number of events."""
        total = 0
        while deleted := await self._store.purge(self.oldest, limit=_PURGE_ROWS):
            total += deleted
        return total

    async def purge_forever(self) -> None:
        """Delete what expires, once a minute. What fails is tried again the next time."""
        log = structlog.get_logger(component="retention")
        while True:
            try:
                if deleted := await self.purge_expired():
                    log.info("events deleted", count=deleted)
            except RetryableError as error:
                log.warning("expired events are not deleted", reason=error.message)
            await asyncio.sleep(_PURGE_PAUSE_SECONDS)
