"""The store in memory fulfils the contract."""

import pytest

from services.tracking.program_store import MemoryProgramStore, ProgramStore
from tests.contracts.program_store import ProgramStoreContract


class TestMemoryProgramStore(ProgramStoreContract):
    """The contract in memory."""

    @pytest.fixture
    async def store(self) -> ProgramStore:
        return MemoryProgramStore()
