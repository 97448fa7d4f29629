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


class Beside:
    """Which copies ran at the same time as each one."""

    def __init__(self, oversized: Oversized) -> None:
        self.seen: dict[str, set[str]] = {}
        self._oversized = oversized
        self._running: set[str] = set()

    async def copied(self, key: str) -> None:
        async with self._oversized.copying(key, LARGE, open_connection()):
            self._running.add(key)
            for _ in range(20):
                for one in self._running:
                    self.seen.setdefault(one, set()).update(self._running - {one})
                await asyncio.sleep(0)
            self._running.remove(key)


@pytest.mark.parametrize("order", ["abcd", "badc", "cdba"])
async def test_beside_a_suspect_no_other_copy_runs(order: str) -> None:
    """Otherwise the one would be blamed for the other. What is not suspected goes at once."""
    oversized = Oversized()
    await asyncio.gather(*(copy(oversized, key, ConnectionLostError("closed")) for key in "ab"))
    beside = Beside(oversized)
    await asyncio.gather(*(beside.copied(key) for key in order))
    assert beside.seen["a"] == beside.seen["b"] == set()
    assert (beside.seen["c"], beside.seen["d"]) == ({"d"}, {"c"})


async def test_a_suspect_that_never_comes_again_keeps_nobody_waiting() -> None:
    """Another bridge may have taken it; nor does the number of suspects grow without end."""
    oversized = Oversized()
    for number in range(2_000):
        await copy(oversized, f"gone-{number}", ConnectionLostError("closed"))
    beside = Beside(oversized)
    await asyncio.gather(beside.copied("a"), beside.copied("b"))
    assert beside.seen == {"a": {"b"}, "b": {"a"}}
    assert len(oversized._suspects) == 1_000


async def test_a_suspect_that_stops_waiting_for_its_turn_lets_the_others_go_on() -> None:
    """As when its route ends."""
    oversized = Oversized()
    await copy(oversized, "a", ConnectionLostError("closed"))
    async with asyncio.timeout(5.0):
        async with oversized.copying("b", LARGE, open_connection()):
            suspect, other = (asyncio.ensure_future(copy(oversized, key, None)) for key in "ac")
            await asyncio.sleep(0)
            suspect.cancel()
            await asyncio.wait([suspect])
        await other
    await copy(oversized, "c", None)


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
