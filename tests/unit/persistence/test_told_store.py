"""Troubles of a store are told once, and taken back."""

from collections.abc import Sequence

import pytest

from services.persistence.record import EventRecord
from services.persistence.store import EventQuery, MemoryEventStore, PutOutcome
from services.persistence.told_store import ToldStore
from services.runtime.errors import UnavailableError
from tests.contracts.event_store import PurgingEventStoreContract, record


class TestToldStore(PurgingEventStoreContract):
    """The contract, told."""

    @pytest.fixture
    async def store(self) -> ToldStore:
        return ToldStore(MemoryEventStore(), lambda _text: None)


class Away(MemoryEventStore):
    """A store that is away until it is back."""

    is_away = True

    async def put(self, records: Sequence[EventRecord]) -> list[PutOutcome]:
        if self.is_away:
            raise UnavailableError("away")
        return await super().put(records)


async def test_a_store_that_goes_away_is_told_until_a_call_succeeds() -> None:
    """A trouble that lasts is told once."""
    troubles: list[str] = []
    away = Away()
    store = ToldStore(away, troubles.append)
    for _ in range(2):
        with pytest.raises(UnavailableError):
            await store.put([record("a")])
    away.is_away = False
    await store.put([record("a")])
    assert await store.list_events(EventQuery(), after=None, limit=1)
    assert troubles == ["away", ""]
