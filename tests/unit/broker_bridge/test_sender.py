"""Sending on a connection apart: what its ends say about the messages that were sent."""

from collections.abc import Sequence

import pytest

from broker_bridge.broker import BrokerAddress, ConnectionLostError, Handler, OversizedError
from broker_bridge.oversized import LARGE_BYTES
from broker_bridge.sender import Sender, Sending
from tests.unit.broker_bridge.fake_broker import FakeBroker, FakeConnection


class EndingBroker(FakeBroker):
    """Ends so many connections at what it is sent on them."""

    def __init__(self, ends: int) -> None:
        super().__init__()
        self.ends = ends

    async def __call__(self, address: BrokerAddress, handler: Handler, *, client_id: str = "") -> FakeConnection:
        connection = await super().__call__(address, handler, client_id=client_id)
        self.ends -= 1
        if self.ends >= 0:
            connection.abort("ended")
        return connection


def bodies(*sizes: int) -> Sequence[Sending]:
    return [Sending(headers={"destination": "/queue/replies"}, body=b"x" * size) for size in sizes]


async def sent(ends: int, *sizes: int) -> int:
    """How many connections it took."""
    broker = EndingBroker(ends)
    sender = Sender(broker, [BrokerAddress("broker", 61613)])
    await sender.send(bodies(*sizes))
    await sender.close()
    return len(broker.connections)


async def test_two_connections_that_end_by_chance_cost_no_large_message() -> None:
    """Only what ends two connections of its own as well is too large."""
    assert [await sent(ends, LARGE_BYTES) for ends in range(3)] == [1, 2, 3]
    with pytest.raises(OversizedError, match=f"sent {LARGE_BYTES} bytes"):
        await sent(3, LARGE_BYTES)


async def test_many_small_messages_are_not_one_large_one() -> None:
    """Each is a frame of its own, and the limit is one of frames."""
    with pytest.raises(ConnectionLostError) as raised:
        await sent(9, *[LARGE_BYTES // 2] * 10)
    assert not isinstance(raised.value, OversizedError)
    with pytest.raises(OversizedError, match=f"sent {LARGE_BYTES} bytes"):
        await sent(9, 1, LARGE_BYTES, 1)
