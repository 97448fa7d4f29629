"""Everything of the endpoint put together: pools, queue, records, both APIs, one port."""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.local.lambda_endpoint.event_queue import EventQueue
from deploy.local.lambda_endpoint.function import FunctionSpec
from deploy.local.lambda_endpoint.http_server import HttpRequest, HttpResponse, serve_http
from deploy.local.lambda_endpoint.invoke_api import InvokeApi
from deploy.local.lambda_endpoint.pool import WorkerPool
from deploy.local.lambda_endpoint.records import InvocationRecords
from deploy.local.lambda_endpoint.runtime_api import RuntimeApi

_PASSED_ON = ("PATH", "HOME", "LANG", "VIRTUAL_ENV", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


class LambdaEndpoint:
    """Serves from `async with` until it is left; the workers are gone then."""

    def __init__(
        self,
        functions: Mapping[str, FunctionSpec],
        *,
        host: str,
        port: int,
        data_directory: Path,
        retry_delays: Sequence[float],
    ) -> None:
        """`data_directory` gets `invocations.jsonl` and the folder `events`; `retry_delays` are seconds."""
        data_directory.mkdir(parents=True, exist_ok=True)
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        self._host, self._port = host, port
        self._pools = {
            name: WorkerPool(function, runtime_api=f"{host}:{port}/w/{name}", environment=environment, log=_write_log)
            for name, function in functions.items()
        }
        self._records = InvocationRecords(data_directory / "invocations.jsonl")
        self._queue = EventQueue(
            folder=data_directory / "events", pools=self._pools, records=self._records, retry_delays=retry_delays
        )
        self._runtime = RuntimeApi(self._pools)
        self._invoke = InvokeApi(pools=self._pools, queue=self._queue, records=self._records)
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._records.load()
        self._server = await serve_http(self._handle, host=self._host, port=self._port)
        self._queue.resume()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        await self._queue.close()
        await asyncio.gather(*(pool.close() for pool in self._pools.values()))

    async def _handle(self, request: HttpRequest) -> HttpResponse:
        api = self._runtime if request.path.startswith("/w/") else self._invoke
        return await api.handle(request)


def _write_log(function: str, chunk: bytes) -> None:
    """Pass a worker's output on, each line with its function's name; awslambdaric ends lines of a trace with CR."""
    for line in chunk.decode("utf-8", errors="replace").replace("\r", "\n").splitlines():
        sys.stdout.write(f"[{function}] {line}\n")
    sys.stdout.flush()
