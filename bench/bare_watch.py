"""The bound of a watch served by grpc.aio: a put is written to the streams of all watchers and nothing else is done.

No store, no checks, no interceptor; an event is encoded once for all. What a change takes here is gRPC's own cost and
that of the client.
"""

import asyncio
import sys
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from penstock.config.v1 import config_service_pb2 as api
from penstock.config.v1 import parameter_pb2

from bench.bare_server import Context, run_server
from deploy.local.part import PartSpec
from deploy.local.services import answers_serving

_BOOKMARK = api.WatchParametersResponse(bookmark=api.WatchBookmark(revision=1)).SerializeToString()
_DONE = api.PutParameterResponse(version=1).SerializeToString()


def bare_part(*, data_directory: Path, port: int) -> PartSpec:
    """The process, with the variable the config service gives to gRPC."""
    data_directory.mkdir(parents=True, exist_ok=True)
    return PartSpec(
        name="bare-watch",
        argv=(sys.executable, "-m", "bench.bare_watch"),
        environment={"BENCH_PORT": str(port), "GRPC_EXPERIMENTS": "-event_engine_listener"},
        data_directory=data_directory,
        addresses={"grpc": f"127.0.0.1:{port}"},
        version="of this benchmark",
        is_real=True,
        ready=partial(answers_serving, f"127.0.0.1:{port}", "bare-watch"),
        clean_exit_codes=frozenset({0, -15}),
    )


class BareWatch:
    """The streams of the watchers, each resumed by a future of its own."""

    def __init__(self) -> None:
        self._event = b""
        self._asleep: list[asyncio.Future[None]] = []

    def add_to(self, server: grpc.aio.Server) -> None:
        methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "PutParameter": grpc.unary_unary_rpc_method_handler(self.put, api.PutParameterRequest.FromString),
            "WatchParameters": grpc.unary_stream_rpc_method_handler(self.watch),
        }
        service = api.DESCRIPTOR.services_by_name["ConfigService"].full_name
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))

    async def put(self, request: api.PutParameterRequest, _context: Context) -> bytes:
        """Wakes all. The next put comes only after every watcher has had this one: the bench waits for that."""
        put = api.ParameterPut(parameter=parameter_pb2.Parameter(name=request.name, value=request.value))
        self._event = api.WatchParametersResponse(put=put).SerializeToString()
        woken, self._asleep = self._asleep, []
        for watcher in woken:
            if not watcher.done():
                watcher.set_result(None)
        return _DONE

    async def watch(self, _request: bytes, context: Context) -> None:
        """A bookmark, then every put."""
        loop, message = asyncio.get_running_loop(), _BOOKMARK
        while True:
            awake = loop.create_future()
            self._asleep.append(awake)
            await context.write(message)
            await awake
            message = self._event


if __name__ == "__main__":
    run_server(BareWatch().add_to)
