"""`python -m services.config`: parameters that push."""

import sys
from contextlib import AsyncExitStack
from functools import partial

import grpc
from penstock.config.v1 import config_service_pb2_grpc

from services.config.crypto import SecretBox, load_or_create_key
from services.config.expiry import Expiry
from services.config.pattern import PatternProcess
from services.config.registry import ParameterRegistry
from services.config.servicer import SERVICE, ConfigServicer
from services.config.settings import ConfigSettings
from services.config.sqlite_store import SqliteStore
from services.config.store import MemoryStore, ParameterStore
from services.config.watch import WatchHub
from services.runtime.health import HealthBoard
from services.runtime.server import run, serve


async def main(settings: ConfigSettings) -> None:
    health = HealthBoard()
    async with AsyncExitStack() as stack:
        store: ParameterStore = MemoryStore(kept_revisions=settings.kept_revisions)
        if settings.store == "sqlite":
            # Without room to write parameters can still be read: degraded, not down.
            trouble = partial(health.set, "store", True)
            sqlite = SqliteStore(settings.database, kept_revisions=settings.kept_revisions, on_trouble=trouble)
            store = await stack.enter_async_context(sqlite)
        secrets = SecretBox(load_or_create_key(settings.key_file, may_create=not await store.holds_secrets()))
        patterns = PatternProcess(cpu_seconds=settings.pattern_seconds)
        stack.push_async_callback(patterns.close)
        hub, expiry = WatchHub(store, bookmark_seconds=settings.bookmark_seconds), Expiry(store)
        servicer = ConfigServicer(ParameterRegistry(store, secrets, patterns.matches), hub)

        def register(server: grpc.aio.Server) -> list[str]:
            config_service_pb2_grpc.add_ConfigServiceServicer_to_server(servicer, server)
            return [SERVICE]

        work = {"tasks": [store.failed, expiry.run], "before_stop": [hub.close]}
        await serve(settings=settings, register=register, health=health, **work)


if __name__ == "__main__":
    sys.exit(run(main, ConfigSettings, prog="python -m services.config", description="Parameters that push."))
