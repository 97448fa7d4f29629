"""The stack of `docker-compose.yml` for tests: a project with ports of its own, and the faults a container can have."""

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deploy.local.ports import Ports, free_port_numbers, free_ports
from tests.containers.engine import CommandError, docker

ENV_FILE = "deploy/airgap/offline.env"
_UP_SECONDS = 240
_COMMAND_SECONDS = 300.0
_PAUSE_SECONDS = 0.1
_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
# The variables of docker-compose.yml that are not a listener of `Ports` in capitals.
_PORT_VARIABLES = {"emulator": "AWS_PORT", "lambda_endpoint": "LAMBDA_PORT"}


def eventually(probe: Callable[[], object], what: str, seconds: float = 90.0) -> None:
    """Return once `probe` gives something true. Raises TimeoutError that names `what` and the last answer."""
    end = time.monotonic() + seconds
    answer: object = None
    while time.monotonic() < end:
        answer = probe()
        if answer:
            return
        time.sleep(_PAUSE_SECONDS)
    raise TimeoutError(f"waited {seconds:.0f} s for {what}; the last answer was {answer!r}")


class ComposeStack:
    """A running project. Names are the services of `docker-compose.yml`; what a test breaks, it mends."""

    def __init__(self, project: str) -> None:
        self.project = project
        self.ports: Ports = free_ports()
        (dynamodb,) = free_port_numbers(1)
        ports = {_PORT_VARIABLES.get(name, f"{name.upper()}_PORT"): port for name, port in asdict(self.ports).items()}
        self._environment = {
            **{name.replace("METRICS_PORT_PORT", "METRICS_PORT"): str(port) for name, port in ports.items()},
            "DYNAMODB_PORT": str(dynamodb),
            "COMPOSE_PROJECT_NAME": project,
            "HEALTH_INTERVAL": "3s",
        }

    def compose(self, *arguments: str, seconds: float = _COMMAND_SECONDS) -> str:
        """Run `docker compose` on this project."""
        return docker("compose", "--env-file", ENV_FILE, *arguments, environment=self._environment, seconds=seconds)

    def up(self, *services: str) -> None:
        """Create what is missing and wait until everything is healthy."""
        self.compose("up", "--detach", "--wait", "--wait-timeout", str(_UP_SECONDS), *services)

    def down(self) -> None:
        """Remove the project with its volumes."""
        self.compose("--profile", "demo", "down", "--volumes", "--timeout", "20")

    def container(self, service: str) -> str:
        """The name of a service's container."""
        return f"{self.project}-{service}-1"

    def inspect(self, service: str) -> Any:
        """What the engine knows of the container."""
        return json.loads(docker("inspect", self.container(service)))[0]

    def healthy(self, service: str) -> bool:
        """Whether the engine's own health check says so."""
        return bool(self.inspect(service)["State"]["Health"]["Status"] == "healthy")

    def wait_healthy(self, *services: str) -> None:
        """Return once all of them are."""
        for service in services:
            eventually(lambda name=service: self.healthy(name), f"{service} to be healthy")  # type: ignore[misc]

    def crash(self, service: str) -> None:
        """`kill -9` of the container's process, from outside: the engine's restart policy brings it back."""
        before = self.inspect(service)
        pid, count = before["State"]["Pid"], before["RestartCount"]
        # Of a container that is not running the pid is 0, which would be this test's own process group; of an engine on
        # another machine it is some process of this one.
        if pid <= 0 or before["Id"] not in Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8"):
            raise CommandError(f"pid {pid} of {service} is no process of its container on this machine")
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: self.inspect(service)["RestartCount"] > count, f"{service} to be restarted")

    def restart(self, service: str) -> None:
        """Stop it in its own way and start it again."""
        self.compose("restart", service)

    @contextmanager
    def paused(self, service: str) -> Iterator[None]:
        """Frozen: connections stay open and nobody answers."""
        self.compose("pause", service)
        try:
            yield
        finally:
            self.compose("unpause", service)

    @contextmanager
    def disconnected(self, service: str) -> Iterator[None]:
        """Taken off the network: its name stops resolving, its connections die in silence."""
        network = f"{self.project}_default"
        docker("network", "disconnect", network, self.container(service))
        try:
            yield
        finally:
            docker("network", "connect", "--alias", service, network, self.container(service))

    @contextmanager
    def dropping(self, service: str, other: str) -> Iterator[None]:
        """Every packet between two containers is dropped, in both directions."""
        address = self.address(other)
        rules = [("INPUT", "-s"), ("OUTPUT", "-d")]
        for chain, side in rules:
            self._iptables(service, "-I", chain, side, address, "-j", "DROP")
        try:
            yield
        finally:
            for chain, side in rules:
                self._iptables(service, "-D", chain, side, address, "-j", "DROP")

    def address(self, service: str) -> str:
        """Its address in the project's network."""
        networks = self.inspect(service)["NetworkSettings"]["Networks"]
        return str(networks[f"{self.project}_default"]["IPAddress"])

    def _iptables(self, service: str, *rule: str) -> None:
        pid = str(self.inspect(service)["State"]["Pid"])
        command = ["nsenter", "-t", pid, "-n", "iptables", "-w", *rule]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CommandError(f"{' '.join(command)}: {done.stderr}")

    def metric(self, service: str, name: str, **labels: str) -> float:
        """The value of one Prometheus series of a process; 0 when there is none yet."""
        for series, value in self.metrics(service).items():
            if series.partition("{")[0] == name and all(f'{key}="{text}"' in series for key, text in labels.items()):
                return value
        return 0.0

    def metrics(self, service: str) -> Mapping[str, float]:
        """Every series of a process by its name and labels."""
        port = getattr(self.ports, f"{service}_metrics")
        with _NO_PROXY.open(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
            lines = response.read().decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {series: float(value) for series, _, value in pairs}

    def trouble(self, service: str) -> str:
        """What a process's health metric says is wrong, "not serving" at least; empty when it is well.

        A process that does not answer is in trouble too.
        """
        try:
            series = self.metrics(service)
        except OSError as error:
            return f"no metrics: {error}"
        for name, value in series.items():
            if name.startswith("penstock_health{") and 'service=""' in name:
                detail = name.partition('detail="')[2].partition('",service=')[0]
                return detail or ("" if value else "not serving")
        return "no penstock_health"

    def wait_trouble(self, service: str, *words: str) -> None:
        """Return once the health of a process tells of trouble, with one of `words` in it when some are given."""

        def told() -> bool:
            trouble = self.trouble(service)
            return bool(trouble) and (not words or any(word in trouble for word in words))

        eventually(told, f"the health of {service} to tell of trouble")

    def wait_well(self, *services: str) -> None:
        """Return once the health of each says that nothing is wrong."""
        for service in services:
            eventually(lambda name=service: not self.trouble(name), f"{service} to be well")  # type: ignore[misc]

    def logs(self, service: str) -> Sequence[str]:
        """The lines a container has printed."""
        return self.compose("logs", "--no-color", "--no-log-prefix", service).splitlines()
