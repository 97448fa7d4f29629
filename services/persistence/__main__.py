"""`python -m services.persistence`: events at rest."""

import sys
from contextlib import AsyncExitStack

import grpc
from penstock.delivery.v1 import delivery_service_pb2_grpc
from penstock.persistence.v1 import persistence_service_pb2_grpc

from services.persistence import delivery, servicer
from services.persistence.assembly import add_consumer, open_stores
from services.persistence.recorder import EventRecorder
from services.persistence.settings import PersistenceSettings
from services.runtime.delivery import SERVICE as DELIVERY_SERVICE
from services.runtime.health import HealthBoard
from services.runtime.server import run, serve


async def main(settings: PersistenceSettings) -> None:
    health = HealthBoard()
    async with AsyncExitStack() as stack:
        stores = await open_stores(settings, health, stack)
        await add_consumer(settings, stores, health)
        recorder = EventRecorder(stores.events)

        def register(server: grpc.aio.Server) -> tuple[str, str]:
            persistence = servicer.PersistenceServicer(recorder, stores.events, stores.conversions)
            persistence_service_pb2_grpc.add_PersistenceServiceServicer_to_server(persistence, server)
            delivery_service_pb2_grpc.add_DeliveryServiceServicer_to_server(delivery.DeliveryServicer(recorder), server)
            return servicer.SERVICE, DELIVERY_SERVICE

        await serve(settings=settings, register=register, health=health, tasks=stores.tasks)


if __name__ == "__main__":
    sys.exit(run(main, PersistenceSettings, prog="python -m services.persistence", description="Events at rest."))
