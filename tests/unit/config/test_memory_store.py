"""The store in memory keeps the contract of parameter stores."""

import pytest

from services.config.memory_store import MemoryStore
from services.config.store import ParameterStore
from tests.contracts.parameter_store import KEPT_REVISIONS, ParameterStoreContract


class TestMemoryStore(ParameterStoreContract):
    """The contract, in memory."""

    @pytest.fixture
    async def store(self) -> ParameterStore:
        return MemoryStore(kept_revisions=KEPT_REVISIONS)
