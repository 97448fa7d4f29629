"""`python -m services.tracking`: intake of tracking events."""

import sys
from contextlib import AsyncExitStack

import grpc
from penstock.delivery.v1.delivery_service_pb2_grpc import add_DeliveryServiceServicer_to_server
from prometheus_client import REGISTRY

from services.runtime.delivery import SERVICE as DELIVERY_SERVICE
from services.runtime.garbage import calm_garbage_collector
from services.runtime.health import HealthBoard
from services.runtime.server import run, serve
from services.tracking import delivery, servicer
from services.tracking.assembly import TrackingParts
from services.tracking.metrics import TrackingMetrics
from services.tracking.settings import TrackingSettings


async def main(settings: TrackingSettings) -> None:
    calm_garbage_collector()
    health = HealthBoard()
    async with AsyncExitStack() as stack:
        parts = TrackingParts.open(settings, health, stack)
        REGISTRY.register(TrackingMetrics(intake=parts.intake, log=parts.log, shipper=parts.shipper))

        def register(server: grpc.aio.Server) -> tuple[str, str]:
            servicer.add_to_server(servicer.TrackingServicer(parts.intake, parts.store), server)
            add_DeliveryServiceServicer_to_server(delivery.DeliveryServicer(parts.intake), server)
            return servicer.SERVICE, DELIVERY_SERVICE

        await serve(
            settings=settings,
            register=register,
            health=health,
            tasks=parts.tasks,
            before_stop=parts.before_stop,
        )


if __name__ == "__main__":
    description = "Intake of tracking events."
    sys.exit(run(main, TrackingSettings, prog="python -m services.tracking", description=description))
