"""A running part of the embedded stack, as the fixtures hand it to tests."""

import signal
from collections.abc import Mapping
from pathlib import Path

from deploy.local.part import PartSpec
from deploy.local.supervisor import Supervisor


class RunningPart:
    """One real process on loopback. Tests may kill and start it; they must leave it running."""

    def __init__(self, spec: PartSpec, supervisor: Supervisor) -> None:
        self.spec = spec
        self._supervisor = supervisor

    @property
    def addresses(self) -> Mapping[str, str]:
        return self.spec.addresses

    @property
    def memory(self) -> int:
        """MiB that it occupies."""
        (pid,) = (process["pid"] for process in self._supervisor.status() if process["name"] == self.spec.name)
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        (resident,) = (line.split()[1] for line in lines if line.startswith("VmRSS"))
        return int(resident) // 1024

    def port(self, name: str) -> int:
        """The port behind one of the part's addresses."""
        return int(self.addresses[name].rpartition(":")[2])

    async def kill(self) -> None:
        """End it by SIGKILL; it stays down until `start`."""
        self._supervisor.kill(self.spec.name, signal.SIGKILL)
        await self._supervisor.stop_one(self.spec.name)

    def pause(self) -> None:
        """Stop it where it stands, by SIGSTOP, until `resume`."""
        self._supervisor.kill(self.spec.name, signal.SIGSTOP)

    def resume(self) -> None:
        self._supervisor.kill(self.spec.name, signal.SIGCONT)

    async def stop(self) -> None:
        """End it in its own way (SIGTERM); it stays down until `start`."""
        await self._supervisor.stop_one(self.spec.name)

    async def start(self) -> None:
        """Start it on the same ports and data; returns when it serves."""
        await self._supervisor.start(self.spec.name)

    async def restart(self) -> None:
        await self._supervisor.restart(self.spec.name)
