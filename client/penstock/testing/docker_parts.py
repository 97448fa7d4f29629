"""The parts as containers: one network, the aliases of docker-compose.yml, started together, removed together."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from docker.errors import DockerException
from penstock.testing.containers import (
    LABEL,
    READY_SECONDS,
    ActiveMQContainer,
    AwsEmulatorContainer,
    LambdaContainer,
    PartContainer,
    PenstockContainer,
    ValkeyContainer,
)
from penstock.testing.engine import SuiteNetwork, engine_version, suite_network
from penstock.testing.errors import PartFailedError
from penstock.testing.parts import Listening

from deploy.local.stack import DEMO_FUNCTIONS

# Longer than the drain of a service (10 s), as in docker-compose.yml.
_STOP_SECONDS = 20
_ALIASES: Mapping[str, str] = {"aws-emulator": "aws", "lambda-endpoint": "lambda"}


class DockerParts:
    """`Parts` in containers, one each, published on 127.0.0.1."""

    def __init__(
        self,
        names: Sequence[str],
        *,
        environment: Mapping[str, Mapping[str, str]],
        functions: Path | None,
        ready_seconds: float = READY_SECONDS,
    ) -> None:
        self._names = names
        self._environment = environment
        self._functions = functions or DEMO_FUNCTIONS
        self._ready_seconds = ready_seconds
        self._containers: dict[str, PartContainer] = {}
        self._resources = ExitStack()
        self._network: SuiteNetwork

    @property
    def description(self) -> str:
        return f"Docker {engine_version()}, {len(self._containers)} containers"

    @property
    def addresses(self) -> Mapping[str, Mapping[str, str]]:
        return {name: container.addresses for name, container in self._containers.items()}

    @property
    def listening(self) -> Listening:
        return self._network.listening

    def open(self) -> None:
        with ExitStack() as resources:
            self._network = resources.enter_context(suite_network({LABEL: "network"}))
            resources.callback(self._remove)
            with _docker_errors("the containers"):
                # None waits for another: every process looks for the others until it finds them.
                for name in self._names:
                    self._containers[name] = self._describe(name)
                    self._containers[name].launch()
                for container in self._containers.values():
                    container.wait_ready()
            self._resources = resources.pop_all()

    def close(self) -> None:
        self._resources.close()

    def kill(self, part: str) -> None:
        with _docker_errors(part):
            container = self._containers[part].get_wrapped_container()
            container.kill()
            container.wait()

    def stop(self, part: str) -> None:
        with _docker_errors(part):
            self._containers[part].get_wrapped_container().stop(timeout=_STOP_SECONDS)

    def start(self, part: str) -> None:
        with _docker_errors(part):
            self._containers[part].get_wrapped_container().start()
            self._containers[part].wait_ready()

    def logs(self, part: str) -> str:
        with _docker_errors(part):
            return self._containers[part].printed()

    def _describe(self, name: str) -> PartContainer:
        common: dict[str, Any] = {
            "network": self._network.network,
            "network_aliases": [_ALIASES.get(name, name)],
            "name": f"{self._network.network.name}-{name}",
            "ready_seconds": self._ready_seconds,
        }
        match name:
            case "activemq":
                container: PartContainer = ActiveMQContainer(**common)
            case "valkey":
                container = ValkeyContainer(**common)
            case "aws-emulator":
                container = AwsEmulatorContainer(**common)
            case "lambda-endpoint":
                container = LambdaContainer(functions=self._functions, **common)
            case service:
                container = PenstockContainer(service, **common)
        return container.with_envs(**self._environment.get(name, {}))

    def _remove(self) -> None:
        if self._containers:
            with ThreadPoolExecutor(len(self._containers)) as threads:
                list(threads.map(PartContainer.stop, self._containers.values()))


@contextmanager
def _docker_errors(what: str) -> Iterator[None]:
    try:
        yield
    except DockerException as error:
        raise PartFailedError(f"{what}: Docker says {error}") from error
