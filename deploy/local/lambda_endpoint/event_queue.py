"""Event invocations: kept in a folder until they have succeeded or failed for good, so that a restart loses none."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from deploy.local.lambda_endpoint.invocation import Invocation, Outcome, platform_error
from deploy.local.lambda_endpoint.pool import WorkerStartError
from deploy.local.lambda_endpoint.records import InvocationRecords

QUEUE_LIMIT = 10_000

Sleep = Callable[[float], Awaitable[None]]


class QueueFullError(Exception):
    """As many events wait as the queue holds."""


class Invoker(Protocol):
    """What runs the invocations of one function."""

    async def invoke_when_free(self, invocation: Invocation) -> Outcome: ...


class EventQueue:
    """Runs each event once and, while it fails, once more after each of `retry_delays` (seconds)."""

    def __init__(
        self,
        *,
        folder: Path,
        pools: Mapping[str, Invoker],
        records: InvocationRecords,
        retry_delays: Sequence[float],
        sleep: Sleep = asyncio.sleep,
        limit: int = QUEUE_LIMIT,
    ) -> None:
        self._folder = folder
        self._pools = pools
        self._records = records
        self._retry_delays = tuple(retry_delays)
        self._sleep = sleep
        self._limit = limit
        self._running: set[asyncio.Task[None]] = set()

    def resume(self) -> int:
        """Take up the events of an earlier run and count them. Those of functions gone since stay in the folder."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for leftover in self._folder.glob("*.partial"):
            leftover.unlink()  # never acknowledged
        resumed = 0
        for path in sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns):
            fields = json.loads(path.read_text(encoding="utf-8"))
            invocation = Invocation(**{**fields, "payload": fields["payload"].encode()})
            if invocation.function in self._pools:
                self._start(invocation)
                resumed += 1
        return resumed

    def put(self, invocation: Invocation) -> None:
        """Accept an event: on return it is in the folder (safe from the death of this process, not of the machine).

        Raises `QueueFullError`.
        """
        if len(self._running) >= self._limit:
            raise QueueFullError
        partial = self._folder / f"{invocation.request_id}.partial"
        fields = {**asdict(invocation), "payload": invocation.payload.decode()}
        partial.write_text(json.dumps(fields), encoding="utf-8")
        partial.rename(self._path(invocation))
        self._start(invocation)

    async def drained(self) -> None:
        """Return when no event waits or runs."""
        while self._running:
            await asyncio.wait(self._running)

    async def close(self) -> None:
        """Stop; what has not ended stays in the folder."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _path(self, invocation: Invocation) -> Path:
        return self._folder / f"{invocation.request_id}.json"

    def _start(self, invocation: Invocation) -> None:
        task = asyncio.create_task(self._run(invocation))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, invocation: Invocation) -> None:
        for attempt, delay in enumerate((0.0, *self._retry_delays), start=1):
            await self._sleep(delay)
            outcome = await self._attempt(invocation, attempt)
            if not outcome.failed:
                break
        self._path(invocation).unlink(missing_ok=True)

    async def _attempt(self, invocation: Invocation, attempt: int) -> Outcome:
        started = time.time()
        try:
            outcome = await self._pools[invocation.function].invoke_when_free(invocation)
        except WorkerStartError as error:
            outcome = platform_error("ServiceException", str(error))
        self._records.add(invocation, outcome, invocation_type="Event", attempt=attempt, started=started)
        return outcome
