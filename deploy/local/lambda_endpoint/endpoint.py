"""Everything of the endpoint put together: pools, queue, records, the Invoke API."""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.local.lambda_endpoint.event_queue import EventQueue
from deploy.local.lambda_endpoint.function import FunctionSpec
from deploy.local.lambda_endpoint.http_server import HttpServer
from deploy.local.lambda_endpoint.invoke_api import InvokeApi
from deploy.local.lambda_endpoint.pool import WorkerPool
from deploy.local.lambda_endpoint.records import InvocationRecords

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
        self.host, self.port = host, port
        self._pools = {
            name: WorkerPool(function, environment=environment, log=_write_log) for name, function in functions.items()
        }
        self._records = InvocationRecords(data_directory / "invocations.jsonl")
        self._queue = EventQueue(
            folder=data_directory / "events", pools=self._pools, records=self._records, retry_delays=retry_delays
        )
        api = InvokeApi(pools=self._pools, queue=self._queue, records=self._records)
        self._server = HttpServer(api.handle)

    async def __aenter__(self) -> Self:
        self._records.load()
        await self._server.start(host=self.host, port=self.port)
        self._queue.resume()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.close()
        await self._queue.close()
        await asyncio.gather(*(pool.close() for pool in self._pools.values()))

    async def drained(self) -> None:
        """Return when every accepted Event has succeeded or failed for good."""
        await self._queue.drained()


def _write_log(function: str, chunk: bytes) -> None:
    """Pass a worker's output on, each line with its function's name; awslambdaric ends lines of a trace with CR."""
    for line in chunk.decode("utf-8", errors="replace").replace("\r", "\n").splitlines():
        sys.stdout.write(f"[{function}] {line}\n")
    sys.stdout.flush()
