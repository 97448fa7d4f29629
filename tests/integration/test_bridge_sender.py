"""Sending to the real broker: several messages are one transaction, and a lost connection is opened anew."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from broker_bridge.activemq import ActiveMq
from broker_bridge.broker import BrokerAddress, Login, RefusedError
from broker_bridge.sender import Sender, Sending
from broker_bridge.visit import Visit
from deploy.local.activemq import BROKER_PASSWORD, BROKER_USER
from tests.integration.parts import RunningPart

LOGIN = Login(BROKER_USER, BROKER_PASSWORD)
# A temporary queue whose connection has ended: the broker answers a SEND with ERROR.
GONE = "/remote-temp-queue/ID:gone-1-1-1:1:1"


@pytest.fixture
def address(activemq: RunningPart) -> BrokerAddress:
    return BrokerAddress("127.0.0.1", activemq.port("stomp"))


@pytest.fixture
async def sender(address: BrokerAddress) -> AsyncIterator[Sender]:
    opened = Sender(ActiveMq(LOGIN), [address])
    yield opened
    await opened.close()


@pytest.fixture
def queue() -> str:
    return f"sender-{uuid4().hex[:8]}"


def sending(destination: str, body: bytes = b"hello") -> Sending:
    return Sending(headers={"destination": destination, "persistent": "true"}, body=body)


async def bodies(address: BrokerAddress, queue: str) -> list[bytes]:
    """What lies in a queue, and stays there."""
    async with Visit(ActiveMq(LOGIN), [address]) as visit:
        return [body async for _, body in visit.browse(f"queue://{queue}")]


async def test_messages_that_are_sent_together_arrive_in_order(
    sender: Sender, address: BrokerAddress, queue: str
) -> None:
    """Also several deliveries at the same time, each its own transaction."""
    await sender.send([sending(f"/queue/{queue}", str(number).encode()) for number in range(50)])
    await sender.send([sending(f"/queue/{queue}", b"last")])
    assert await bodies(address, queue) == [*(str(number).encode() for number in range(50)), b"last"]


async def test_one_refused_message_takes_all_of_its_delivery_back(
    sender: Sender, address: BrokerAddress, queue: str
) -> None:
    """And leaves the connection as it was for the next ones."""
    with pytest.raises(RefusedError):
        await sender.send([sending(f"/queue/{queue}"), sending(GONE), sending(f"/queue/{queue}")])
    assert await bodies(address, queue) == []
    await sender.send([sending(f"/queue/{queue}", b"one"), sending(f"/queue/{queue}", b"two")])
    assert await bodies(address, queue) == [b"one", b"two"]


async def test_after_a_restart_of_the_broker_the_next_delivery_has_a_new_connection(
    activemq: RunningPart, sender: Sender, address: BrokerAddress, queue: str
) -> None:
    """Nobody has to say so."""
    await sender.send([sending(f"/queue/{queue}", b"before")])
    await activemq.kill()
    await activemq.start()
    await sender.send([sending(f"/queue/{queue}", b"after"), sending(f"/queue/{queue}", b"that")])
    assert await bodies(address, queue) == [b"before", b"after", b"that"]
