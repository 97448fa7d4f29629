"""`python -m tests.integration.chaos_target PORT FILE SECONDS`: a DeliveryService that may be killed at any moment.

Each message it takes is a line `<nanoseconds of the monotonic clock> <id>` in FILE, written after so many seconds of
work and before the answer: what it accepted is known, and what it accepted twice. Messages with the text
`"refuse"` are rejected.
"""

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
from penstock.delivery.v1 import delivery_service_pb2, delivery_service_pb2_grpc

from services.runtime.health import HealthBoard
from services.runtime.server import serve
from services.runtime.settings import ServiceSettings

REFUSED = '"refuse"'


class ChaosTarget(delivery_service_pb2_grpc.DeliveryServiceServicer):
    """Notes what it takes."""

    def __init__(self, path: Path, work_seconds: float) -> None:
        self._work_seconds = work_seconds
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def register(self, server: grpc.aio.Server) -> Sequence[str]:
        delivery_service_pb2_grpc.add_DeliveryServiceServicer_to_server(self, server)
        return ("penstock.delivery.v1.DeliveryService",)

    async def DeliverMessages(  # noqa: N802
        self, request: delivery_service_pb2.DeliverMessagesRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> delivery_service_pb2.DeliverMessagesResponse:
        await asyncio.sleep(self._work_seconds)
        accepted = [message.id for message in request.messages if message.text != REFUSED]
        os.write(self._file, "".join(f"{time.monotonic_ns()} {identifier}\n" for identifier in accepted).encode())
        results = [
            delivery_service_pb2.DeliveryResult(
                outcome=delivery_service_pb2.DELIVERY_OUTCOME_REJECTED, reason="the target refuses it"
            )
            if message.text == REFUSED
            else delivery_service_pb2.DeliveryResult(outcome=delivery_service_pb2.DELIVERY_OUTCOME_ACCEPTED)
            for message in request.messages
        ]
        return delivery_service_pb2.DeliverMessagesResponse(results=results)


async def main(port: int, path: Path, work_seconds: float) -> None:
    settings = ServiceSettings(port=port, drain_seconds=0)
    await serve(settings=settings, register=ChaosTarget(path, work_seconds).register, health=HealthBoard())


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])))
