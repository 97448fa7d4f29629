"""The batch job that matches stored events: reads them in order of time, keeps a conversion per transaction event.

Conversions lie in a store of their own, of the same kind as the events, by the message id of their transaction: a later
run replaces what an earlier one found.
"""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace

from penstock.persistence.v1 import conversion_pb2 as pb
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from services.persistence.matching import Matcher, Occurrence, Windows
from services.persistence.record import EventRecord
from services.persistence.store import EventQuery, EventStore, Position

_READ_EVENTS = 1000
_WRITE_CONVERSIONS = 500

Outcomes = Counter[pb.ConversionOutcome]


class MatchingJob:
    """Matches the events of one store into another one."""

    def __init__(self, events: EventStore, conversions: EventStore) -> None:
        self._events = events
        self._conversions = conversions

    async def run(self, query: EventQuery, windows: Windows) -> Outcomes:
        """Match the transactions that `query` selects; how many there are of each outcome.

        Errors are those of the stores; what was found until then is kept, and a repeated run completes it.
        """
        matcher = Matcher(windows)
        found: list[EventRecord] = []
        outcomes: Outcomes = Counter()
        async for occurrence in self._occurrences(query, windows.longer):
            conversion = matcher.take(occurrence)
            if conversion is None or (query.from_time is not None and occurrence.at < query.from_time):
                continue
            outcomes[conversion.outcome] += 1
            found.append(_record(conversion, occurrence.at))
            if len(found) >= _WRITE_CONVERSIONS:
                await self._conversions.replace(found)
                found = []
        if found:
            await self._conversions.replace(found)
        return outcomes

    async def _occurrences(self, query: EventQuery, lookback: int) -> AsyncIterator[Occurrence]:
        """The events of the range and of a window before it, in `Occurrence.order`."""
        start = None if query.from_time is None else query.from_time - lookback
        same_time: list[Occurrence] = []
        async for occurrence in self._stored(replace(query, from_time=start)):
            if same_time and same_time[0].at != occurrence.at:
                for one in sorted(same_time, key=lambda one: one.order):
                    yield one
                same_time = []
            same_time.append(occurrence)
        for one in sorted(same_time, key=lambda one: one.order):
            yield one

    async def _stored(self, query: EventQuery) -> AsyncIterator[Occurrence]:
        after: Position | None = None
        while page := await self._events.list_events(query, after=after, limit=_READ_EVENTS):
            for stored in page:
                event = TrackingEvent.FromString(stored.record.payload)
                yield Occurrence(at=stored.record.occurred_at, event=event)
            after = page[-1].position


def _record(conversion: pb.Conversion, occurred_at: int) -> EventRecord:
    return EventRecord(
        message_id=conversion.message_id,
        program_id=conversion.program_id,
        occurred_at=occurred_at,
        payload=conversion.SerializeToString(deterministic=True),
    )
