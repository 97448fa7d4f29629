"""The parts as testcontainers: each published on 127.0.0.1 at a port that stays, each ready when its protocol answers.

    with ActiveMQContainer() as broker:
        broker.jms().send("orders", [JmsMessage(text="one")])

The image is the one that the variable of docker-compose.yml names. The engine must be on this machine: ports are
published on its loopback alone.
"""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

from penstock.testing import images
from penstock.testing.engine import leave_out_reaper, require_image
from penstock.testing.readiness import Probe, wait_until_ready
from testcontainers.core.container import DockerContainer

from deploy.local.activemq import BROKER_PASSWORD, BROKER_USER, CONFIGURATION, stomp_answers
from deploy.local.emulator import answers_http
from deploy.local.jms import JmsClient, find_jms_client
from deploy.local.modules import MODULES
from deploy.local.ports import LOOPBACK, ContainerAddresses, free_port_numbers
from deploy.local.services import answers_serving, lambda_endpoint_answers
from deploy.local.stack import DEMO_FUNCTIONS
from deploy.local.valkey import answers_ping
from deploy.local.wiring import EMULATOR_LOGIN, service_addresses, service_environment

LABEL = "penstock.testing"
"""The label of every container and network made here: `docker ps --filter label=penstock.testing`."""
READY_SECONDS = 120.0
"""Longest wait for a container to serve, far above what a loaded machine needs."""
_DATA = Path("/data")
_SCRATCH = "/tmp"  # noqa: S108 - the one folder in memory of a container that is otherwise read-only
_ALL_INTERFACES = "0.0.0.0"  # noqa: S104 - inside the container; it is published on loopback alone


class PartContainer(DockerContainer):
    """A container with named listeners. `start` (or `with`) returns when it serves, `stop` removes it with its data."""

    def __init__(
        self,
        part: str,
        *,
        image: str | images.ImageName,
        listeners: Mapping[str, int],
        ready_seconds: float = READY_SECONDS,
        **kwargs: Any,
    ) -> None:
        """`listeners` names the ports inside; `kwargs` go to testcontainers' `DockerContainer`, or else to Docker."""
        chosen = image.chosen(os.environ) if isinstance(image, images.ImageName) else image
        self._variable = image.variable if isinstance(image, images.ImageName) else ""
        labels = {LABEL: part, **kwargs.pop("labels", {})}
        super().__init__(chosen, labels=labels, **kwargs)
        self.part = part
        self._listeners = dict(listeners)
        # Fixed, so that a container that is started again is found where it was.
        self._host_ports = dict(zip(listeners, free_port_numbers(len(listeners)), strict=True))
        self._ready_seconds = ready_seconds

    @property
    def addresses(self) -> Mapping[str, str]:
        """By listener: `127.0.0.1:port` on this machine; the same after a restart."""
        return {role: f"{LOOPBACK}:{port}" for role, port in self._host_ports.items()}

    def start(self) -> Self:
        """Create the container, start it, return when it serves.

        Raises:
            ImageUnavailableError: the image is not there and must not or cannot be pulled.
            PartFailedError: it ended, or did not serve in time; the end of its log is in the message.
        """
        self.launch()
        self.wait_ready()
        return self

    def launch(self) -> None:
        """Create and start the container without waiting for it to serve. Raises `ImageUnavailableError`."""
        require_image(self.image, self._variable, self.get_docker_client().client)
        leave_out_reaper()
        super().start()

    def wait_ready(self) -> None:
        """Return when it serves. Raises `PartFailedError`."""
        wait_until_ready(
            self.probe(),
            name=self.part,
            ending=self._ending,
            logs=self.printed,
            timeout_seconds=self._ready_seconds,
        )

    def probe(self) -> Probe:
        """One question in the protocol of the part."""
        raise NotImplementedError

    def printed(self) -> str:
        """What the container has written to its standard output and error so far."""
        return bytes(self.get_wrapped_container().logs()).decode(errors="replace")

    def host_port(self, role: str) -> int:
        """The port on 127.0.0.1 behind a listener."""
        return self._host_ports[role]

    def get_container_host_ip(self) -> str:
        """127.0.0.1, whatever testcontainers thinks of the place it runs in."""
        return LOOPBACK

    def get_exposed_port(self, port: int) -> int:
        """The port on 127.0.0.1 behind a port inside."""
        return next(self._host_ports[role] for role, inside in self._listeners.items() if inside == port)

    def _configure(self) -> None:
        # testcontainers' annotation knows ports without an address; Docker's own client takes both.
        bindings: Any = {
            f"{inside}/tcp": (LOOPBACK, self._host_ports[role]) for role, inside in self._listeners.items()
        }
        self.ports = bindings

    def _ending(self) -> str:
        container = self.get_wrapped_container()
        container.reload()
        state = container.attrs["State"]
        return "" if state["Running"] else f"{state['Status']}, exit code {state['ExitCode']}"


class ActiveMQContainer(PartContainer):
    """ActiveMQ Classic with a login, one dead letter queue per queue and the scheduler: listeners `stomp`, `openwire`.

    `configuration` replaces deploy/local/activemq.xml; it is told BROKER_HOST, BROKER_DATA, BROKER_STOMP_PORT,
    BROKER_OPENWIRE_PORT, BROKER_USER and BROKER_PASSWORD by the environment.
    """

    def __init__(
        self,
        image: str | images.ImageName = images.ACTIVEMQ,
        *,
        user: str = BROKER_USER,
        password: str = BROKER_PASSWORD,
        configuration: Path = CONFIGURATION,
        **kwargs: Any,
    ) -> None:
        super().__init__("activemq", image=image, listeners={"stomp": 61613, "openwire": 61616}, **kwargs)
        self.user = user
        self._password = password
        self.with_envs(
            BROKER_HOST=_ALL_INTERFACES,
            BROKER_DATA="/opt/apache-activemq/data",
            BROKER_STOMP_PORT="61613",
            BROKER_OPENWIRE_PORT="61616",
            BROKER_USER=user,
            BROKER_PASSWORD=password,
        )
        self.with_volume_mapping(configuration.resolve(), "/opt/apache-activemq/conf/activemq.xml", "ro")

    def jms(self) -> JmsClient:
        """A JMS producer and consumer on this broker. Raises `JmsError`: no Java or no jars for it."""
        return find_jms_client(f"tcp://{self.addresses['openwire']}", user=self.user, password=self._password)

    def probe(self) -> Probe:
        """STOMP CONNECT with the login: the broker opens its ports before its store."""
        return partial(stomp_answers, self.host_port("stomp"), self.user, self._password)


class ValkeyContainer(PartContainer):
    """Valkey with an append-only file: listener `redis`."""

    def __init__(self, image: str | images.ImageName = images.VALKEY, **kwargs: Any) -> None:
        super().__init__("valkey", image=image, listeners={"redis": 6379}, **kwargs)
        options = ["--appendonly", "yes", "--appendfsync", "everysec", "--save"]
        self.with_command(["valkey-server", *options, "", "--dir", "/data", "--protected-mode", "no"])

    @property
    def url(self) -> str:
        """`redis://127.0.0.1:port/0`."""
        return f"redis://{self.addresses['redis']}/0"

    def probe(self) -> Probe:
        """PING: while it loads its file, Valkey accepts connections and says so."""
        return partial(answers_ping, self.host_port("redis"))


class PenstockContainer(PartContainer):
    """One of the five processes: config, filtering, tracking, persistence or bridge.

    Listeners: `grpc`, `metrics`, and `http` for tracking. It looks for the others under their names in
    docker-compose.yml, in the network it is given (`network=`, `network_aliases=`). `environment` adds variables.
    """

    def __init__(
        self,
        service: str,
        image: str | images.ImageName = images.SERVICES,
        *,
        environment: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Raises ValueError when `service` is none of the five."""
        if service not in MODULES:
            raise ValueError(f"no service {service!r}; there are {', '.join(MODULES)}")
        inside = service_addresses(service, ContainerAddresses())
        ports = {role: int(address.rpartition(":")[2]) for role, address in inside.items()}
        super().__init__(service, image=image, listeners=ports, **_LOCKED_DOWN, **kwargs)
        self.with_tmpfs_mount(_SCRATCH)
        self.with_command([MODULES[service]])
        self.with_envs(**{**container_environment(service), **(environment or {})})

    @property
    def address(self) -> str:
        """`127.0.0.1:port` of its gRPC API."""
        return self.addresses["grpc"]

    def probe(self) -> Probe:
        """grpc.health.v1: SERVING of the process as a whole."""
        return partial(answers_serving, self.address, self.part)


def container_environment(service: str) -> Mapping[str, str]:
    """The variables of a service in a network where the others have their names of docker-compose.yml."""
    addresses = service_addresses(service, ContainerAddresses())
    wired = service_environment(service, ports=ContainerAddresses(), addresses=addresses, data_directory=_DATA)
    prefix = f"PENSTOCK_{service.upper()}_"
    return {**wired, f"{prefix}HOST": _ALL_INTERFACES, f"{prefix}INSECURE": "true", **_BESIDES.get(service, {})}


class AwsEmulatorContainer(PartContainer):
    """The double of SQS, SNS, Kinesis, DynamoDB and S3: listener `http`. It checks no permissions and forgets all."""

    def __init__(self, image: str | images.ImageName = images.AWS, **kwargs: Any) -> None:
        super().__init__("aws-emulator", image=image, listeners={"http": 5000}, **kwargs)

    def probe(self) -> Probe:
        """Its own status page."""
        return partial(answers_http, self.host_port("http"))


class LambdaContainer(PartContainer):
    """The local Lambda: listener `http`. `functions` is a functions.toml; its folder is mounted with it."""

    def __init__(
        self, image: str | images.ImageName = images.TOOLS, *, functions: Path = DEMO_FUNCTIONS, **kwargs: Any
    ) -> None:
        super().__init__("lambda-endpoint", image=image, listeners={"http": 9001}, **_LOCKED_DOWN, **kwargs)
        self.with_tmpfs_mount(_SCRATCH)
        self.with_volume_mapping(functions.resolve().parent, "/functions", "ro")
        place = ["--host=0.0.0.0", "--port=9001", "--data=/data"]
        options = [f"--functions=/functions/{functions.name}", "--retry-delay=1", "--retry-delay=2"]
        self.with_command(["deploy.local.lambda_endpoint", *place, *options])
        emulator = f"http://{ContainerAddresses().address('emulator')}"
        self.with_envs(AWS_ENDPOINT_URL=emulator, **EMULATOR_LOGIN)

    def probe(self) -> Probe:
        """Its own health page."""
        return partial(lambda_endpoint_answers, self.host_port("http"))


_BESIDES: Mapping[str, Mapping[str, str]] = {
    "config": {"PENSTOCK_CONFIG_OPEN_ACCESS": "true"},
    "bridge": {"PENSTOCK_BRIDGE_INSTANCE": "bridge"},
}
# As in docker-compose.yml: what a service may do there it may do here, and no more.
_LOCKED_DOWN: Mapping[str, Any] = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
}
