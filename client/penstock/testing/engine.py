"""The Docker engine of this machine: whether it answers, its images, a network for one suite."""

import os
import platform
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import docker
from docker.errors import APIError, DockerException, ImageNotFound
from penstock.testing import images
from penstock.testing.errors import ImageUnavailableError, PartFailedError
from penstock.testing.mode import VARIABLE, Mode
from penstock.testing.parts import Listening
from testcontainers.core.config import testcontainers_config
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.network import Network

from deploy.local.ports import LOOPBACK

_HOST_FROM_DESKTOP = "host.docker.internal"
_OWN = "penstock/"


def engine_trouble() -> str:
    """Why no engine can be used, in one line; nothing when one answers."""
    try:
        client = DockerClient().client
        try:
            client.ping()
        finally:
            client.close()
    except (DockerException, OSError) as error:
        return " ".join(str(error).split())
    return ""


def engine_version() -> str:
    """The version of the engine that answers."""
    client = DockerClient().client
    try:
        return str(client.version()["Version"])
    finally:
        client.close()


def never_pulls() -> bool:
    """Whether PULL_POLICY=never."""
    return os.environ.get(images.PULL_POLICY) == "never"


def leave_out_reaper() -> None:
    """Switch testcontainers' reaper off where its image must not be pulled."""
    if never_pulls():
        testcontainers_config.ryuk_disabled = True


def require_image(name: str, variable: str, client: docker.DockerClient) -> None:
    """Pull an image that is not on the engine. Raises `ImageUnavailableError`; with PULL_POLICY=never at once.

    Penstock's own images are made from its repository and never asked of a registry, where the name may be anybody's.
    """
    choice = f", name another one in {variable}" if variable else ""
    advice = f"build or load it{choice}, or set {VARIABLE}={Mode.EMBEDDED} to test without Docker"
    try:
        client.images.get(name)
    except ImageNotFound as error:
        if never_pulls() or name.startswith(_OWN):
            raise ImageUnavailableError(f"no image {name} on the engine, and none is pulled: {advice}") from error
        try:
            client.images.pull(name)
        except (APIError, ImageNotFound) as refused:
            raise ImageUnavailableError(
                f"no image {name} on the engine, and none to pull ({refused}): {advice}"
            ) from refused


@dataclass(frozen=True, kw_only=True, slots=True)
class SuiteNetwork:
    """A network of one suite. `gateway` is this machine's address in it."""

    network: Network
    gateway: str

    @property
    def listening(self) -> Listening:
        """Where a server of this process listens for containers: the gateway's address, on Linux one of this machine.

        Docker Desktop runs the engine in a virtual machine and leads a name of its own to this machine's loopback.
        """
        if platform.system() == "Linux":
            return Listening(bind_host=self.gateway, reached_as=self.gateway)
        return Listening(bind_host=LOOPBACK, reached_as=_HOST_FROM_DESKTOP)


@contextmanager
def suite_network(labels: dict[str, str]) -> Iterator[SuiteNetwork]:
    """A bridge network that publishes on 127.0.0.1, gone at the end. Raises `PartFailedError`."""
    options = {"com.docker.network.bridge.host_binding_ipv4": LOOPBACK}
    network = Network(docker_network_kw={"options": options, "labels": labels})
    network.name = f"penstock-testing-{uuid.uuid4().hex[:12]}"
    try:
        network.create()
    except APIError as error:
        raise PartFailedError(f"no network for the suite: {error}") from error
    try:
        yield SuiteNetwork(network=network, gateway=_gateway(network))
    finally:
        network.remove()


def _gateway(network: Network) -> str:
    client: Any = DockerClient().client
    try:
        settings = client.networks.get(network.name).attrs["IPAM"]["Config"]
        return str(settings[0]["Gateway"])
    finally:
        client.close()
