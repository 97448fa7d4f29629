"""`python -m services.filtering`: the filtering service."""

import sys

from penstock.client import IDEMPOTENT_METHODS, open_channel

from services.filtering.config_store import ConfigSubscriptionStore
from services.filtering.languages import Languages
from services.filtering.servicer import SERVICE, FilteringServicer
from services.filtering.settings import FilteringSettings
from services.runtime.health import HealthBoard
from services.runtime.server import run, serve


async def main(settings: FilteringSettings) -> None:
    """Serves until told to stop."""
    health = HealthBoard()
    config = open_channel(
        settings.config_target,
        tls_ca=settings.config_tls_ca,
        token=settings.read_config_token(),
        idempotent=IDEMPOTENT_METHODS,
    )
    async with config as channel:
        store = ConfigSubscriptionStore(channel, snapshot=settings.snapshot, health=health, service_name=SERVICE)
        servicer = FilteringServicer(
            store,
            max_subscriptions_per_topic=settings.max_subscriptions_per_topic,
            languages=Languages(settings.dialects()),
        )
        await serve(settings=settings, register=servicer.register, health=health, tasks=[store.run])


if __name__ == "__main__":
    description = "Which subscriptions want a message?"
    sys.exit(run(main, FilteringSettings, prog="python -m services.filtering", description=description))
