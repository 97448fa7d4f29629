"""Intakes that start in a fraction of the time: forked from a process that has imported everything already.

Killing a thousand of them would otherwise be a thousand times importing gRPC. Nothing else differs: each is a process
of its own that runs `services.tracking` from its settings, and is ended by SIGKILL.

`python -m tests.integration.forked_intake` is that process. It reads a JSON array of environment and log file per line,
forks an intake, prints its process id, waits for its end, and prints its exit code.
"""

import asyncio
import ctypes
import json
import os
import runpy
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from deploy.local.launch import PR_SET_PDEATHSIG, tied_to_parent
from deploy.local.part import PartNotReadyError, PartSpec
from deploy.local.services import answers_serving
from tests.integration.tracking_harness import NOWHERE, Intake, describe_intake, intake_of

_START_SECONDS, _PROBE_SECONDS = 60, 0.05
_MODULES = ("assembly", "servicer", "delivery", "metrics")


class ForkedPart:
    """One intake on loopback, as `RunningPart` is one under a supervisor."""

    def __init__(self, spec: PartSpec, forks: asyncio.subprocess.Process) -> None:
        self.spec = spec
        self._forks = forks
        self._pid: int | None = None

    @property
    def addresses(self) -> Mapping[str, str]:
        return self.spec.addresses

    async def start(self) -> None:
        """Returns when it serves."""
        log = self.spec.data_directory.parent / "tracking.log"
        assert self._forks.stdin is not None
        self._forks.stdin.write(json.dumps([dict(self.spec.environment), str(log)]).encode() + b"\n")
        self._pid = await self._number()
        async with asyncio.timeout(_START_SECONDS):
            while True:
                try:
                    await answers_serving(self.addresses["grpc"], "tracking")
                except PartNotReadyError:
                    await asyncio.sleep(_PROBE_SECONDS)
                else:
                    return

    async def kill(self) -> None:
        """Ends it by SIGKILL; returns when it is gone."""
        assert await self._end(signal.SIGKILL) == -signal.SIGKILL, "it had ended by itself"

    async def stop(self) -> None:
        """Ends it in its own way, by SIGTERM; one that was killed stays as it is."""
        if self._pid is not None:
            assert await self._end(signal.SIGTERM) == 0

    def abandon(self) -> None:
        """Leaves nothing behind, whatever happened."""
        if self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)

    async def _end(self, number: signal.Signals) -> int:
        assert self._pid is not None
        os.kill(self._pid, number)
        self._pid = None
        return await self._number()

    async def _number(self) -> int:
        assert self._forks.stdout is not None
        return int(await asyncio.wait_for(self._forks.stdout.readline(), _START_SECONDS))


@asynccontextmanager
async def forked_intake(directory: Path, *, redis: str, **environment: str) -> AsyncIterator[Intake]:
    """An intake whose store is away. Further settings by the names of their fields."""
    spec = describe_intake(directory / "data", redis=redis, persistence=NOWHERE, environment=environment)
    pipe = asyncio.subprocess.PIPE
    argv = tied_to_parent((sys.executable, "-m", __name__))
    forks = await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe)
    part = ForkedPart(spec, forks)
    try:
        await part.start()
        async with intake_of(part) as where:
            yield where
        await part.stop()
    finally:
        part.abandon()
        forks.terminate()
        await forks.wait()


def _serve_forks() -> None:
    for line in sys.stdin:
        environment, log = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _serve(environment, Path(log))
        _tell(pid)
        _tell(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _serve(environment: Mapping[str, str], log: Path) -> None:
    with log.open("ab") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    if sys.platform == "linux":  # an intake ends with the process it was forked from, as that one ends with the tests
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.environ.update(environment)
    sys.argv = ["services.tracking"]
    runpy.run_module("services.tracking", run_name="__main__")


if __name__ == "__main__":
    for module in _MODULES:
        __import__(f"services.tracking.{module}")
    _serve_forks()
