"""The compose stack, once for all tests of this folder; without a Docker engine they are skipped with the reason."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator

import psutil
import pytest

from deploy.local.demo.session import Session, open_session
from deploy.local.jms import JmsClient, find_jms_client
from deploy.local.ports import ContainerAddresses
from tests.containers.compose import ComposeStack
from tests.containers.engine import docker, need_docker, need_means

PREFIX = "penstock-test-"
"""Of the compose projects of tests; the pid of the test run follows."""


def remove_orphans() -> None:
    """End the projects of test runs that were killed before they could do so themselves."""
    for project in json.loads(docker("compose", "ls", "--all", "--format", "json")):
        pid = project["Name"].removeprefix(PREFIX)
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            docker("compose", "--project-name", project["Name"], "down", "--volumes", "--timeout", "1")


@pytest.fixture(scope="session", autouse=True)
def _engine() -> None:
    need_docker()


@pytest.fixture(scope="session")
def compose(_engine: None) -> Iterator[ComposeStack]:
    """Everything of `docker compose up`, healthy, with volumes of its own; gone at the end."""
    need_means()
    remove_orphans()
    stack = ComposeStack(f"{PREFIX}{os.getpid()}")
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


@pytest.fixture(scope="session")
def jms(compose: ComposeStack) -> JmsClient:
    """A JMS producer on this machine."""
    return find_jms_client(f"tcp://{compose.ports.address('openwire')}")


@pytest.fixture(scope="session")
async def session(compose: ComposeStack, jms: JmsClient) -> AsyncIterator[Session]:
    """Clients of every API, from outside the network."""
    async with open_session(compose.ports, jms, inside=ContainerAddresses()) as clients:
        yield clients


@pytest.fixture(autouse=True)
async def _well_before_and_after(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """A test of the stack begins on one that is well, and must leave one."""
    if "compose" not in request.fixturenames:
        yield
        return
    compose: ComposeStack = request.getfixturevalue("compose")
    services = ("config", "filtering", "tracking", "persistence", "bridge")
    await asyncio.to_thread(compose.wait_well, *services)
    yield
    await asyncio.to_thread(compose.wait_well, *services)
