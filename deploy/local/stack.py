"""The whole embedded stack: real parts, the Lambda endpoint and the suite's five processes, wired to each other."""

import asyncio
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from deploy.local.activemq import activemq_part
from deploy.local.emulator import emulator_part
from deploy.local.home import Home, jar_cache
from deploy.local.modules import MODULES
from deploy.local.part import PartSpec, Progress, SilentProgress
from deploy.local.ports import LOOPBACK, Ports, check_free, free_port_numbers
from deploy.local.services import lambda_endpoint_part, python_process
from deploy.local.supervisor import ProcessEvent, ProcessState, Supervisor
from deploy.local.valkey import valkey_part
from deploy.local.wiring import service_addresses, service_environment

DEMO_FUNCTIONS = Path(__file__).with_name("demo") / "functions.toml"
# What must serve before a process is started for the first time; all of them reconnect by themselves later.
DEPENDENCIES: Mapping[str, Sequence[str]] = {
    "activemq": (),
    "valkey": (),
    "aws-emulator": (),
    "lambda-endpoint": (),
    "config": (),
    "persistence": (),
    "filtering": ("config",),
    "tracking": ("valkey", "persistence"),
    "bridge": ("activemq", "valkey", "config", "filtering"),
}


class EmbeddedStack:
    """Runs from `async with` until it is left: everything is ready on entry and gone at the end.

    Raises on entry: `HomeInUseError`, `PortTakenError`, `PartError` (no Java, no jars, …) or `StartError`.
    """

    def __init__(
        self,
        *,
        home: Path,
        ports: Ports,
        functions: Path = DEMO_FUNCTIONS,
        environment: Mapping[str, Mapping[str, str]] | None = None,
        without: Sequence[str] = (),
        progress: Progress | None = None,
        on_event: Callable[[ProcessEvent], None] = lambda _event: None,
    ) -> None:
        """`environment` adds variables to a process by its name; `without` names processes that are not started."""
        unknown = ({*without} | {*(environment or {})}) - DEPENDENCIES.keys()
        if unknown:
            raise ValueError(f"no process {', '.join(sorted(unknown))}; there are {', '.join(DEPENDENCIES)}")
        self.ports = ports
        self.home = Home(home.resolve())
        self.parts: dict[str, PartSpec] = {}
        self._functions = functions.resolve()
        self._environment = environment or {}
        self._names = [name for name in DEPENDENCIES if name not in without]
        self._progress = progress or SilentProgress()
        self._on_event = on_event
        self._state = "starting"
        self._started_at = time.time()
        self._supervisor = Supervisor(
            working_directory=self.home.path, log_directory=self.home.logs, on_event=self._record
        )

    async def __aenter__(self) -> Self:
        self.home.acquire()
        try:
            check_free(self._used_ports())
            self._rotate_logs()
            # In a thread: finding Java and fetching jars blocks.
            specs = await asyncio.to_thread(lambda: [self._describe(name) for name in self._names])
            for spec in specs:
                self._add(spec, after=[name for name in DEPENDENCIES[spec.name] if name in self._names])
            await self._supervisor.start()
        except BaseException:
            await self._close()
            raise
        self._state = "ready"
        self._write_state()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    @property
    def addresses(self) -> Mapping[str, Mapping[str, str]]:
        """By process: the name of each listener ("grpc", "http", "stomp", …) and its `host:port`."""
        return {name: spec.addresses for name, spec in self.parts.items()}

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        """Send a signal to a process; the supervisor starts it again. The pid it had."""
        return self._supervisor.kill(name, number)

    def kill_all(self) -> None:
        """End everything at once, with no grace."""
        self._supervisor.kill_all()

    async def stop(self, name: str) -> None:
        """End one process; it stays down until `start`."""
        await self._supervisor.stop_one(name)

    async def start(self, name: str) -> None:
        await self._supervisor.start(name)

    async def restart(self, name: str) -> None:
        await self._supervisor.restart(name)

    async def wait_ready(self, name: str) -> None:
        """Return when the process serves (again)."""
        await self._supervisor.wait_ready(name)

    async def start_extra(
        self, name: str, *, like: str = "tracking", environment: Mapping[str, str] | None = None
    ) -> Mapping[str, str]:
        """Start a further process of a kind on free ports, with data of its own; its addresses."""
        roles = list(service_addresses(like, self.ports))
        addresses = {
            role: f"{LOOPBACK}:{port}" for role, port in zip(roles, free_port_numbers(len(roles)), strict=True)
        }
        self._add(self._service(name, like, addresses, environment or {}), after=())
        await self._supervisor.start(name)
        return addresses

    def state(self) -> Mapping[str, Any]:
        """The document of `stack.json`: pid, state, data folder and every process with its addresses and version."""
        processes = []
        for status in self._supervisor.status():
            spec = self.parts[str(status["name"])]
            processes.append(
                {
                    **status,
                    "addresses": dict(spec.addresses),
                    "version": spec.version,
                    "is_real": spec.is_real,
                    "data": str(spec.data_directory),
                    "log": str(self.home.logs / f"{spec.name}.log"),
                }
            )
        return {
            "state": self._state,
            "pid": self.home.owner(),
            "home": str(self.home.path),
            "started_at": self._started_at,
            "processes": processes,
        }

    def _used_ports(self) -> Mapping[str, int]:
        unused = {
            "activemq": ("stomp", "openwire"),
            "aws-emulator": ("emulator",),
            "lambda-endpoint": ("lambda_endpoint",),
            "config": ("config", "config_ssm", "config_metrics"),
            "tracking": ("tracking", "tracking_http", "tracking_metrics"),
        }
        without = [name for name in DEPENDENCIES if name not in self._names]
        skipped = {port for name in without for port in unused.get(name, (name, f"{name}_metrics"))}
        return {name: port for name, port in self.ports.by_purpose().items() if name not in skipped}

    def _describe(self, name: str) -> PartSpec:
        data, ports = self.home.data(name), self.ports
        match name:
            case "activemq":
                return activemq_part(
                    home=data,
                    data_directory=data,
                    stomp_port=ports.stomp,
                    openwire_port=ports.openwire,
                    cache=jar_cache(),
                    progress=self._progress,
                )
            case "valkey":
                return valkey_part(data_directory=data, port=ports.valkey, progress=self._progress)
            case "aws-emulator":
                return emulator_part(data_directory=data, port=ports.emulator, progress=self._progress)
            case "lambda-endpoint":
                return lambda_endpoint_part(data_directory=data, ports=ports, functions=self._functions)
        return self._service(name, name, service_addresses(name, ports), self._environment.get(name, {}))

    def _service(self, name: str, kind: str, addresses: Mapping[str, str], environment: Mapping[str, str]) -> PartSpec:
        data = self.home.data(name)
        wired = service_environment(kind, ports=self.ports, addresses=addresses, data_directory=data)
        return python_process(
            name,
            MODULES[kind],
            environment={**wired, **environment},
            data_directory=data,
            addresses=addresses,
        )

    def _add(self, spec: PartSpec, *, after: Sequence[str]) -> None:
        self.parts[spec.name] = spec
        self._supervisor.add(spec, after=after)

    def _rotate_logs(self) -> None:
        """Keep the logs of the last run beside those of this one."""
        for log in self.home.logs.glob("*.log"):
            if log.name != "stack.log":  # a detached stack writes it at this moment
                log.replace(log.with_suffix(".log.1"))

    def _record(self, event: ProcessEvent) -> None:
        self._write_state()
        self._on_event(event)

    def _write_state(self) -> None:
        try:
            self.home.write_state(self.state())
        except OSError as error:  # a full disk must not end the supervision of what runs
            self._progress.step(f"stack.json is not up to date: {error}")

    async def _close(self) -> None:
        self._state = "stopping"
        await self._supervisor.stop()
        self._state = "stopped"
        self._write_state()
        self.home.release()


def all_stopped(state: Mapping[str, Any]) -> bool:
    """Whether a document of `stack.json` shows no process that runs."""
    return all(process["state"] == ProcessState.STOPPED for process in state["processes"])
