"""`python -m services.config`: parameters that push."""

import os
import sys

# gRPC reads it when it is imported. Its EventEngine, on in Python since 1.80, hands a request over between threads once
# more than what it replaces: about a quarter of the CPU time of a call. An operator's own choice is kept.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener")

from contextlib import AsyncExitStack

import grpc
from penstock.config.v1 import config_service_pb2_grpc

from services.config.assembly import ConfigParts
from services.config.servicer import SERVICE
from services.config.settings import ConfigSettings
from services.runtime.garbage import calm_garbage_collector
from services.runtime.health import HealthBoard
from services.runtime.server import run, serve


async def main(settings: ConfigSettings) -> None:
    health = HealthBoard()
    async with AsyncExitStack() as stack:
        parts = await ConfigParts.open(settings, health, stack)
        calm_garbage_collector()

        def register(server: grpc.aio.Server) -> list[str]:
            config_service_pb2_grpc.add_ConfigServiceServicer_to_server(parts.servicer, server)
            return [SERVICE]

        await serve(
            settings=settings, register=register, health=health, tasks=parts.tasks, before_stop=parts.before_stop
        )


if __name__ == "__main__":
    sys.exit(run(main, ConfigSettings, prog="python -m services.config", description="Parameters that push."))
