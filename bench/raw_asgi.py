"""The peer of the HTTP intake: the same server with an ASGI application that answers at once, and gRPC health."""

import asyncio
import os
from typing import Any

import grpc
import uvloop
from grpc_health.v1 import health_pb2_grpc

from bench.echo import HealthServicer
from services.runtime.http_server import HttpServer

_BODY = b'{"outcome":"ACCEPTED","message_id":"00000000-0000-0000-0000-000000000000"}'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(_BODY)).encode())]


async def answer(_scope: Any, _receive: Any, send: Any) -> None:
    """What an accepted event is answered, without looking at it."""
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})


async def main(port: int, http_port: int) -> None:
    health = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(), health)
    health.add_insecure_port(f"127.0.0.1:{port}")
    await health.start()
    await HttpServer(answer, host="127.0.0.1", port=http_port, setting="BENCH_HTTP_PORT").run()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(os.environ["BENCH_ECHO_PORT"]), int(os.environ["BENCH_HTTP_PORT"])))
