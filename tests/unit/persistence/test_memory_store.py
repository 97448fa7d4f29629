import pytest

from services.persistence.store import EventStore, MemoryEventStore
from tests.contracts.event_store import PurgingEventStoreContract


class TestMemoryEventStore(PurgingEventStoreContract):
    """The store that forgets."""

    @pytest.fixture
    async def store(self) -> EventStore:
        return MemoryEventStore()
