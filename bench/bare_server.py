"""The gRPC server of processes that only the benchmarks run: grpc.aio on uvloop with health, and nothing around it."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
Add = Callable[[grpc.aio.Server], object]
"""Gives a server what it serves."""
Options = Sequence[tuple[str, int]]
"""gRPC's own, by name."""


class HealthServicer(health_pb2_grpc.HealthServicer):
    """Tells that the process is up."""

    async def Check(  # noqa: N802
        self, _request: health_pb2.HealthCheckRequest, _context: Context
    ) -> health_pb2.HealthCheckResponse:
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)


def run_server(add: Add, *, options: Options = ()) -> None:
    """Serves what `add` gives on the port in BENCH_PORT, until the process is ended."""

    async def serve() -> None:
        async with bare_server(add, options=options) as server:
            await server.wait_for_termination()

    run(serve())


@asynccontextmanager
async def bare_server(add: Add | None = None, *, options: Options = ()) -> AsyncIterator[grpc.aio.Server]:
    """A server that has started, on the port in BENCH_PORT; without `add` it answers for its health alone."""
    server = grpc.aio.server(options=options)
    if add:
        add(server)
    health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(), server)
    server.add_insecure_port(f"127.0.0.1:{os.environ['BENCH_PORT']}")
    await server.start()
    try:
        yield server
    finally:
        await server.stop(None)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs the main coroutine of a process on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)
