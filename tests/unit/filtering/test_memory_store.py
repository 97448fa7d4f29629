"""The in-memory store of subscriptions."""

import pytest

from services.filtering.store import MemorySubscriptionStore, SubscriptionStore
from tests.contracts.subscription_store import SubscriptionStoreContract


class TestMemorySubscriptionStore(SubscriptionStoreContract):
    """Passes the contract."""

    @pytest.fixture
    async def store(self) -> SubscriptionStore:
        return MemorySubscriptionStore()
