"""Which messages are too large to be sent back to the broker, told by the connections that end."""

import asyncio

import pytest

from broker_bridge.broker import ConnectionLostError, RefusedError, UnconfirmedError
from broker_bridge.oversized import LARGE_BYTES, Oversized

LARGE = LARGE_BYTES


def open_connection() -> "asyncio.Future[str]":
    """The end of a connection, which has not come."""
    return asyncio.get_running_loop().create_future()


async def copy(oversized: Oversized, key: str, failure: Exception | None, size: int = LARGE) -> None:
    """A copy on a connection of its own, which ends as `failure` says."""

    async def sent() -> None:
        async with oversized.copying(key, size, open_connection()):
            if failure is not None:
                raise failure

    await asyncio.gather(sent(), return_exceptions=True)


@pytest.mark.parametrize(
    ("endings", "size", "found"),
    [
        ([ConnectionLostError("closed")], LARGE, False),
        ([ConnectionLostError("closed")] * 2, LARGE, True),
        ([ConnectionLostError("closed")] * 9, LARGE - 1, False),
        ([UnconfirmedError("too late")] * 9, LARGE, False),
        ([RefusedError("no")] * 9, LARGE, False),
        ([ConnectionLostError("closed"), None, ConnectionLostError("closed")], LARGE, False),
        ([ConnectionLostError("closed"), UnconfirmedError("too late"), ConnectionLostError("closed")], LARGE, True),
    ],
    ids=["once", "twice", "small", "slow broker", "refused", "taken between", "slow between"],
)
async def test_a_large_message_is_too_large_when_its_copy_ends_two_connections(
    endings: list[Exception | None], size: int, *, found: bool
) -> None:
    """A broker that is slow, or full, says nothing of the message; nor does a small one."""
    oversized = Oversized()
    for ending in endings:
        await copy(oversized, "a", ending, size)
    assert ("a" in oversized) is found
    assert "b" not in oversized


async def test_beside_a_suspect_no_other_copy_runs() -> None:
    """Otherwise the one would be blamed for the other; without a suspect all go at once."""
    oversized = Oversized()
    running = most = 0

    async def copied(key: str) -> None:
        nonlocal running, most
        async with oversized.copying(key, LARGE, open_connection()):
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1

    await asyncio.gather(copied("a"), copied("b"))
    assert most == 2
    await copy(oversized, "a", ConnectionLostError("closed"))
    most = 0
    await asyncio.gather(copied("a"), copied("b"), copied("c"))
    assert most == 1


async def test_a_copy_whose_connection_another_one_ended_is_not_blamed() -> None:
    """It had not begun."""
    oversized = Oversized()
    await copy(oversized, "a", ConnectionLostError("closed"))
    await copy(oversized, "b", ConnectionLostError("closed"))
    ended = open_connection()

    async def sent(key: str) -> None:
        async with oversized.copying(key, LARGE, ended):
            ended.set_result("closed")
            raise ConnectionLostError("closed")

    await asyncio.gather(sent("a"), sent("b"), return_exceptions=True)
    assert "a" in oversized
    assert "b" not in oversized
