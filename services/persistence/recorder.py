"""Storing a batch of which some events may be wrong: the good ones are stored, each event has its own result."""

import time
from collections.abc import Callable, Sequence

from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from services.persistence.record import EventRecord, record_of
from services.persistence.store import EventStore, PutOutcome
from services.runtime.errors import InvalidArgumentError
from services.runtime.telemetry import counter

RecordResult = PutOutcome | InvalidArgumentError
"""What became of one event: stored, there before, or the reason why it can never be stored."""


class EventRecorder:
    """Turns events into rows and stores them. `now` gives seconds since 1970 UTC."""

    def __init__(self, store: EventStore, *, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._now = now
        results = counter("penstock_persistence_events", "Events offered for storing, by result.", ("result",))
        self._counters = {name: results.labels(name) for name in ("stored", "duplicate", "invalid")}

    async def record(self, events: Sequence[TrackingEvent]) -> list[RecordResult]:
        """Store `events`; one result per event, in order. Errors are those of `EventStore.put`: nothing was stored."""
        now = self._now()
        parsed = [_parsed(event, now) for event in events]
        records = [item for item in parsed if isinstance(item, EventRecord)]
        outcomes = iter(await self._store.put(records) if records else ())
        results = [next(outcomes) if isinstance(item, EventRecord) else item for item in parsed]
        self._count(results)
        return results

    def _count(self, results: Sequence[RecordResult]) -> None:
        stored = results.count(PutOutcome.STORED)
        duplicates = results.count(PutOutcome.DUPLICATE)
        self._counters["stored"].inc(stored)
        self._counters["duplicate"].inc(duplicates)
        self._counters["invalid"].inc(len(results) - stored - duplicates)


def _parsed(event: TrackingEvent, now: float) -> EventRecord | InvalidArgumentError:
    try:
        return record_of(event, now=now)
    except InvalidArgumentError as error:
        return error
