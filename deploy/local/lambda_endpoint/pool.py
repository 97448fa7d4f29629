"""The workers of one function: idle ones are reused, new ones started up to the function's concurrency."""

import asyncio
import itertools
from collections.abc import Mapping

from deploy.local.lambda_endpoint.function import REGION, FunctionSpec
from deploy.local.lambda_endpoint.invocation import Invocation, Outcome
from deploy.local.lambda_endpoint.worker import LogSink, Worker


class TooManyRequestsError(Exception):
    """As many invocations of the function run as its concurrency allows."""


class WorkerPool:
    """Runs invocations of one function, at most `function.concurrency` at a time."""

    def __init__(
        self, function: FunctionSpec, *, runtime_api: str, environment: Mapping[str, str], log: LogSink
    ) -> None:
        """`runtime_api` is `host:port/w/<function>`; each worker gets a path of its own below it."""
        self.function = function
        self._runtime_api = runtime_api
        self._environment = environment
        self._log = log
        self._slots = asyncio.Semaphore(function.concurrency)
        self._ids = itertools.count(1)
        self._workers: dict[str, Worker] = {}
        self._idle: list[str] = []

    def worker(self, worker_id: str) -> Worker | None:
        return self._workers.get(worker_id)

    async def invoke(self, invocation: Invocation) -> Outcome:
        """Run now, or raise `TooManyRequestsError`."""
        if self._slots.locked():
            raise TooManyRequestsError
        return await self.invoke_when_free(invocation)

    async def invoke_when_free(self, invocation: Invocation) -> Outcome:
        """Run as soon as the function's concurrency allows."""
        async with self._slots:
            worker_id, worker = await self._take()
            try:
                outcome = await worker.run(invocation)
            except BaseException:
                worker.kill()
                raise
            if worker.alive:
                self._idle.append(worker_id)
            return outcome

    async def close(self) -> None:
        """Kill all workers and wait until they are gone."""
        for worker in self._workers.values():
            worker.kill()
        await asyncio.gather(*(worker.wait_gone() for worker in self._workers.values()))

    async def _take(self) -> tuple[str, Worker]:
        for worker_id in [name for name, worker in self._workers.items() if not worker.alive]:
            worker = self._workers.pop(worker_id)
            worker.kill()
        self._idle = [worker_id for worker_id in self._idle if worker_id in self._workers]
        if self._idle:
            worker_id = self._idle.pop()  # the most recently used one is the warmest
            return worker_id, self._workers[worker_id]
        worker_id = str(next(self._ids))
        worker = Worker(self.function, log=self._log)
        self._workers[worker_id] = worker
        runtime_api = f"{self._runtime_api}/{worker_id}"
        try:
            await worker.start(
                runtime_api=runtime_api, environment=worker_environment(self.function, self._environment)
            )
        except BaseException:
            del self._workers[worker_id]
            raise
        return worker_id, worker


def worker_environment(function: FunctionSpec, environment: Mapping[str, str]) -> Mapping[str, str]:
    """What Lambda sets for every function, `environment` of the endpoint, and the function's own, which win."""
    return {
        **environment,
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "LAMBDA_TASK_ROOT": str(function.code),
        "TZ": ":UTC",
        **function.environment,
    }
