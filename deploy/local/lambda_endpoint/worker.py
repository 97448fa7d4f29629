"""One process that runs a function's handler under `awslambdaric`, and the one invocation it may hold."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping

from deploy.local.lambda_endpoint.function import FunctionSpec
from deploy.local.lambda_endpoint.http_server import HttpServer
from deploy.local.lambda_endpoint.invocation import (
    LOG_TAIL_BYTES,
    RESPONSE_LIMIT_BYTES,
    Invocation,
    Outcome,
    exited,
    handler_error,
    response_too_large,
    timed_out,
)
from deploy.local.launch import tied_to_parent

LogSink = Callable[[str, bytes], None]
RuntimeApiFactory = Callable[["Worker"], HttpServer]


class WorkerGoneError(Exception):
    """The worker process has ended; nobody waits for the next invocation any more."""


class Worker:
    """Started by `start`, then `run` once per invocation, one at a time; ended by `kill`.

    The process itself calls `next_invocation`, `respond`, `fail` and `fail_init` through the Runtime API.
    """

    def __init__(self, function: FunctionSpec, *, runtime_api: RuntimeApiFactory, log: LogSink) -> None:
        """`runtime_api` makes the server that the process calls; each worker has one, on a port of its own.

        A port for all with a path per worker would not do: awslambdaric posts a failed import by `http.client`, which
        takes nothing but host and port.
        """
        self.function = function
        self.deadline_ms = 0
        self._runtime_api = runtime_api(self)
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._log_end = -1
        self._tail = bytearray()
        self._asked: asyncio.Future[Invocation] | None = None
        self._unclaimed: Invocation | None = None
        self._initialised = asyncio.Event()
        self._current: Invocation | None = None
        self._outcome: asyncio.Future[Outcome] | None = None
        self._init_outcome: Outcome | None = None
        self._ending = False

    @property
    def alive(self) -> bool:
        """Whether the process can take a further invocation."""
        return self._process is not None and self._process.returncode is None and not self._ending

    async def start(self, environment: Mapping[str, str]) -> None:
        """Start the process; `environment` is all that it sees."""
        port = await self._runtime_api.start(host="127.0.0.1", port=0)
        runtime = {"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}", "_HANDLER": self.function.handler}
        log_end, write_end = os.pipe()
        os.set_blocking(log_end, False)
        argv = tied_to_parent((sys.executable, "-m", "awslambdaric", self.function.handler))
        try:
            self._process = await asyncio.create_subprocess_exec(
                *argv,
                cwd=self.function.code,
                env={**environment, **runtime},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                start_new_session=True,
            )
        except BaseException:
            os.close(log_end)
            await self._runtime_api.close()
            raise
        finally:
            os.close(write_end)
        self._log_end = log_end
        asyncio.get_running_loop().add_reader(log_end, self._read_log)
        self._watch = asyncio.create_task(self._wait_for_exit(self._process))

    async def run(self, invocation: Invocation) -> Outcome:
        """Run one invocation to its end. A time-out kills the process; an exit of the process ends it as an error."""
        self._current = invocation
        self._outcome = asyncio.get_running_loop().create_future()
        self._tail.clear()
        self._append_log(f"START RequestId: {invocation.request_id} Version: $LATEST\n".encode())
        started = time.monotonic()
        try:
            outcome = await self._run_within_limits(invocation, self._outcome)
        finally:
            self._current = None
        self._read_log()
        duration = (time.monotonic() - started) * 1000
        self._append_log(
            f"END RequestId: {invocation.request_id}\n"
            f"REPORT RequestId: {invocation.request_id}\tDuration: {duration:.2f} ms\n".encode()
        )
        return outcome.with_log(bytes(self._tail[-LOG_TAIL_BYTES:]))

    async def _run_within_limits(self, invocation: Invocation, outcome: asyncio.Future[Outcome]) -> Outcome:
        limit = self.function.init_timeout
        try:
            async with asyncio.timeout(limit):
                await self._until_initialised(outcome)
            limit = self.function.timeout
            self.deadline_ms = int((time.time() + limit) * 1000)
            self._hand_over(invocation)
            async with asyncio.timeout(limit):
                return await outcome
        except TimeoutError:
            self.kill()
            await self.wait_gone()
            return timed_out(invocation.request_id, limit)

    def _hand_over(self, invocation: Invocation) -> None:
        """Give it to the process, or keep it until the process asks: it may still be returning from the last one."""
        if self._asked is not None and not self._asked.done():
            self._asked.set_result(invocation)
        else:
            self._unclaimed = invocation

    async def _until_initialised(self, outcome: asyncio.Future[Outcome]) -> None:
        """Return when the handler is loaded, or has failed to load: then `outcome` is there."""
        initialised = asyncio.create_task(self._initialised.wait())
        try:
            await asyncio.wait((initialised, outcome), return_when=asyncio.FIRST_COMPLETED)
        finally:
            initialised.cancel()

    async def next_invocation(self) -> Invocation:
        """The long poll of the process (Runtime API, GET …/invocation/next). Raises `WorkerGoneError` at its end."""
        self._initialised.set()
        if not self.alive:
            raise WorkerGoneError
        if self._unclaimed is not None:
            invocation, self._unclaimed = self._unclaimed, None
            return invocation
        self._asked = asyncio.get_running_loop().create_future()
        return await self._asked

    def respond(self, request_id: str, payload: bytes) -> bool:
        """Take the handler's answer; False when it is larger than Lambda passes on."""
        accepted = len(payload) <= RESPONSE_LIMIT_BYTES
        self._ending |= not accepted  # awslambdaric ends when its response is refused
        self._settle(request_id, Outcome(payload=payload) if accepted else response_too_large())
        return accepted

    def fail(self, request_id: str, document: bytes) -> None:
        self._settle(request_id, handler_error(document))

    def holds(self, request_id: str) -> bool:
        return self._current is not None and self._current.request_id == request_id

    def fail_init(self, document: bytes) -> None:
        """Take the error that kept the handler from being loaded; the process ends by itself."""
        self._init_outcome = handler_error(document)
        self._ending = True
        if self._current is not None:
            self._settle(self._current.request_id, self._init_outcome)

    def kill(self) -> None:
        """Kill the process with all it started."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def wait_gone(self) -> None:
        if self._watch is not None:
            await self._watch

    def _settle(self, request_id: str, outcome: Outcome) -> None:
        if self.holds(request_id) and self._outcome is not None and not self._outcome.done():
            self._outcome.set_result(outcome)

    async def _wait_for_exit(self, process: asyncio.subprocess.Process) -> None:
        return_code = await process.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # what the handler left running
        self._read_log()
        asyncio.get_running_loop().remove_reader(self._log_end)
        os.close(self._log_end)
        self._log_end = -1
        if self._asked is not None and not self._asked.done():
            self._asked.set_exception(WorkerGoneError())
            self._asked.exception()  # the connection that waited may be gone as well
        await self._runtime_api.close()
        if self._current is not None:
            ending = self._init_outcome or exited(self._current.request_id, return_code)
            self._settle(self._current.request_id, ending)

    def _read_log(self) -> None:
        while self._log_end >= 0:
            try:
                chunk = os.read(self._log_end, 65536)
            except BlockingIOError:
                return
            if not chunk:
                asyncio.get_running_loop().remove_reader(self._log_end)
                return
            self._append_log(chunk)

    def _append_log(self, chunk: bytes) -> None:
        self._tail += chunk
        del self._tail[:-LOG_TAIL_BYTES]
        self._log(self.function.name, chunk)
