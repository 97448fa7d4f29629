"""What is older than the retention is out of sight at once, and deleted in time."""

import pytest

from services.persistence.retention import RetainedEvents
from services.persistence.store import EventQuery, MemoryEventStore, PutOutcome
from tests.contracts.event_store import ids, record

SECOND = 1_000_000


@pytest.fixture
def store() -> MemoryEventStore:
    return MemoryEventStore()


def retained(store: MemoryEventStore, now: float) -> RetainedEvents:
    return RetainedEvents(store, seconds=100.0, now=lambda: now)


async def test_expired_events_are_out_of_sight_before_they_are_deleted(store: MemoryEventStore) -> None:
    """By id and in lists, whatever range is asked for; the limit itself still shows."""
    events = retained(store, now=150.0)
    await events.put([record("old", occurred_at=50 * SECOND - 1), record("limit", occurred_at=50 * SECOND)])
    assert await events.get("old") is None
    assert await events.get("limit") is not None
    for query in (EventQuery(), EventQuery(from_time=0), EventQuery(program_id="p-1", until_time=99 * SECOND)):
        assert ids(await events.list_events(query, after=None, limit=9)) == ["limit"]
    assert await store.get("old") is not None


async def test_a_purge_deletes_all_that_has_expired(store: MemoryEventStore) -> None:
    """Also more than one piece; what is kept stays, and an expired event sent again stays out of sight."""
    await store.put([record(f"m{number}", occurred_at=number) for number in range(2500)])
    await store.put([record("kept", occurred_at=60 * SECOND)])
    events = retained(store, now=150.0)
    assert await events.purge_expired() == 2500
    assert ids(await store.list_events(EventQuery(), after=None, limit=9)) == ["kept"]
    assert await events.put([record("m1", occurred_at=1)]) == [PutOutcome.STORED]
    assert await events.get("m1") is None


async def test_a_narrower_range_stays_narrow(store: MemoryEventStore) -> None:
    """The retention only ever takes away."""
    events = retained(store, now=150.0)
    await events.put([record("a", occurred_at=60 * SECOND), record("b", occurred_at=80 * SECOND)])
    assert ids(await events.list_events(EventQuery(from_time=70 * SECOND), after=None, limit=9)) == ["b"]
