"""The workers of one function: idle ones are reused, new ones started up to the function's concurrency."""

import asyncio
from collections.abc import Mapping

from deploy.local.lambda_endpoint.function import REGION, FunctionSpec
from deploy.local.lambda_endpoint.invocation import Invocation, Outcome
from deploy.local.lambda_endpoint.runtime_api import runtime_api
from deploy.local.lambda_endpoint.worker import LogSink, Worker


class TooManyRequestsError(Exception):
    """As many invocations of the function run as its concurrency allows."""


class WorkerStartError(Exception):
    """No process could be started for the function: its folder is gone, or the machine has none left to give."""


class WorkerPool:
    """Runs invocations of one function, at most `function.concurrency` at a time."""

    def __init__(self, function: FunctionSpec, *, environment: Mapping[str, str], log: LogSink) -> None:
        """`environment` is what every worker sees beside what Lambda and the function itself set."""
        self.function = function
        self._environment = worker_environment(function, environment)
        self._log = log
        self._slots = asyncio.Semaphore(function.concurrency)
        self._workers: list[Worker] = []
        self._idle: list[Worker] = []

    async def invoke(self, invocation: Invocation) -> Outcome:
        """Run now, or raise `TooManyRequestsError`. Raises `WorkerStartError`."""
        if self._slots.locked():
            raise TooManyRequestsError
        return await self.invoke_when_free(invocation)

    async def invoke_when_free(self, invocation: Invocation) -> Outcome:
        """Run as soon as the function's concurrency allows. Raises `WorkerStartError`."""
        async with self._slots:
            worker = await self._take()
            try:
                outcome = await worker.run(invocation)
            except BaseException:
                worker.kill()
                raise
            if worker.alive:
                self._idle.append(worker)
            return outcome

    async def close(self) -> None:
        """Kill all workers and wait until they are gone."""
        for worker in self._workers:
            worker.kill()
        await asyncio.gather(*(worker.wait_gone() for worker in self._workers))

    async def _take(self) -> Worker:
        for worker in [worker for worker in self._workers if not worker.alive]:
            self._workers.remove(worker)
            worker.kill()
        self._idle = [worker for worker in self._idle if worker.alive]
        if self._idle:
            return self._idle.pop()  # the most recently used one is the warmest
        worker = Worker(self.function, runtime_api=runtime_api, log=self._log)
        try:
            await worker.start(self._environment)
        except OSError as error:
            raise WorkerStartError(f"cannot start a process for {self.function.name}: {error}") from error
        self._workers.append(worker)
        return worker


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
