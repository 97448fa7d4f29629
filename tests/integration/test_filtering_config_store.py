"""The subscription store on the config service passes the contract, over a socket, its watch running."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.filtering.config_store import ConfigSubscriptionStore
from services.runtime.channel import open_channel
from services.runtime.health import HealthBoard
from tests.contracts.subscription_store import SubscriptionStoreContract
from tests.integration.config_fake import fake_config


class TestConfigSubscriptionStore(SubscriptionStoreContract):
    """Each test with a config service of its own."""

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[ConfigSubscriptionStore]:
        config = fake_config()
        await config.start()
        async with open_channel(config.address) as channel:
            store = ConfigSubscriptionStore(
                channel, snapshot=tmp_path / "snapshot.json", health=HealthBoard(), service_name="filtering"
            )
            following = asyncio.create_task(store.run())
            await store._watcher.ready.wait()
            yield store
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following
        await config.stop()
