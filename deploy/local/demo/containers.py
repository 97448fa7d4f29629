"""The stage of the stories on the stack of docker compose, for a process inside its network."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from deploy.local.activemq import BROKER_PASSWORD, BROKER_USER
from deploy.local.demo.session import open_session
from deploy.local.demo.stories import Stage
from deploy.local.jms import find_jms_client
from deploy.local.part import Progress
from deploy.local.ports import ContainerAddresses

SECOND_INTAKE = "tracking-2:50053"


@asynccontextmanager
async def open_stage(progress: Progress) -> AsyncIterator[Stage]:
    """Clients of the running containers; the broker's login is BROKER_USER and BROKER_PASSWORD.

    Raises:
        PartError: no Java or no jars for the JMS producer.
    """
    addresses = ContainerAddresses()
    jms = await asyncio.to_thread(
        find_jms_client,
        f"tcp://{addresses.address('openwire')}",
        user=os.environ.get("BROKER_USER", BROKER_USER),
        password=os.environ.get("BROKER_PASSWORD", BROKER_PASSWORD),
        progress=progress,
    )
    async with open_session(addresses, jms) as session:
        yield Stage(session=session, kill=_refuse, second_intake=SECOND_INTAKE)


async def _refuse(name: str) -> None:
    raise PermissionError(f"a container cannot kill {name} beside it")
