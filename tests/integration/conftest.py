"""The parts of the embedded stack as session-wide fixtures: real processes on free ports, data below pytest's tmp."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.local.activemq import activemq_part
from deploy.local.emulator import emulator_part
from deploy.local.home import jar_cache
from deploy.local.jms import JmsClient, find_jms_client
from deploy.local.part import PartSpec, SilentProgress
from deploy.local.ports import free_port_numbers, free_ports
from deploy.local.stack import EmbeddedStack
from deploy.local.supervisor import Supervisor
from deploy.local.valkey import valkey_part
from tests.containers.engine import need_docker
from tests.integration import container_parts
from tests.integration.bridge_harness import RunningBridge, bridge_settings, running_bridge
from tests.integration.parts import RunningPart
from tests.integration.target_places import (  # noqa: F401 - fixtures of the places that targets deliver to
    aws_login,
    calls,
    emulator,
    endpoint,
    faulty_aws,
    http_endpoint,
    kinesis_stream,
    service,
    sns_topic,
    sqs_queue,
)

CONTAINERS = ("activemq", "valkey", "aws-emulator")


@pytest.fixture(scope="session", autouse=True)
def _engine() -> None:
    if container_parts.wanted():
        need_docker()


@asynccontextmanager
async def running(describe: Callable[[Path], PartSpec], directory: Path) -> AsyncIterator[RunningPart]:
    """Run what `describe(data_directory)` describes until the end of the block."""
    spec = describe(directory / "data")
    is_container = container_parts.wanted() and spec.name in CONTAINERS
    spec = container_parts.in_container(spec) if is_container else spec
    async with Supervisor(working_directory=directory, log_directory=directory / "logs") as supervisor:
        supervisor.add(spec)
        await supervisor.start()
        part = container_parts.ContainerPart(spec, supervisor) if is_container else RunningPart(spec, supervisor)
        yield part
    if isinstance(part, container_parts.ContainerPart):
        await part.remove_data()


def describe_activemq(data_directory: Path) -> PartSpec:
    stomp, openwire = free_port_numbers(2)
    return activemq_part(
        home=data_directory,
        data_directory=data_directory,
        stomp_port=stomp,
        openwire_port=openwire,
        cache=jar_cache(),
        progress=SilentProgress(),
    )


def describe_valkey(data_directory: Path) -> PartSpec:
    (port,) = free_port_numbers(1)
    return valkey_part(data_directory=data_directory, port=port, progress=SilentProgress())


def describe_emulator(data_directory: Path) -> PartSpec:
    (port,) = free_port_numbers(1)
    return emulator_part(data_directory=data_directory, port=port, progress=SilentProgress())


@pytest.fixture(scope="session")
async def activemq(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningPart]:
    """ActiveMQ: addresses `stomp` and `openwire`, login penstock/penstock. Use queue names of your own."""
    async with running(describe_activemq, tmp_path_factory.mktemp("activemq")) as part:
        yield part


@pytest.fixture(scope="session")
async def valkey(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningPart]:
    """Valkey: address `redis`. Use key prefixes of your own."""
    async with running(describe_valkey, tmp_path_factory.mktemp("valkey")) as part:
        yield part


@pytest.fixture(scope="session")
async def aws_emulator(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningPart]:
    """The AWS emulator: address `http`, region us-east-1, credentials test/test. A restart forgets everything."""
    async with running(describe_emulator, tmp_path_factory.mktemp("aws-emulator")) as part:
        yield part


@pytest.fixture(scope="session")
def jms(activemq: RunningPart) -> JmsClient:
    """A real JMS producer and consumer on the broker, from prebuilt classes to start sooner; its calls block."""
    return replace(find_jms_client(f"tcp://{activemq.addresses['openwire']}"), runs_source=False)


@pytest.fixture
async def bridge(activemq: RunningPart, valkey: RunningPart) -> AsyncIterator[RunningBridge]:
    """A bridge on the broker and Valkey of the session, with what it serves, in this process."""
    async with running_bridge(bridge_settings(activemq, valkey)) as running:
        yield running


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedStack]:
    """The whole embedded stack. Use names of your own; what you kill is started again, what you stop you start."""
    async with EmbeddedStack(home=tmp_path_factory.mktemp("stack"), ports=free_ports()) as running:
        yield running
