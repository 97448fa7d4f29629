"""Parameters delete themselves when their time has come, not before."""

import asyncio
from contextlib import suppress

import pytest

from services.config.expiry import Expiry
from services.config.memory_store import MemoryStore
from services.runtime.errors import ResourceExhaustedError
from tests.contracts.parameter_store import current, names, put


class Clock:
    """A wall clock that tests set."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


async def test_a_sweep_deletes_what_is_due(store: MemoryStore, clock: Clock) -> None:
    """It answers when the next one is due."""
    await put(store, "/due", expires_at=100.0)
    await put(store, "/soon", expires_at=107.5)
    assert await Expiry(store, now=clock).sweep() == 7.5
    assert await names(store, "/") == ["/soon"]


async def test_a_parameter_stays_until_its_time(store: MemoryStore, clock: Clock) -> None:
    """A moment before it is there, at its time it goes."""
    await put(store, "/a", expires_at=100.001)
    expiry = Expiry(store, now=clock)
    await expiry.sweep()
    assert await current(store, "/a") is not None
    clock.seconds = 100.001
    await expiry.sweep()
    assert await current(store, "/a") is None


@pytest.mark.parametrize("expires_at", [None, 1_000_000.0], ids=["never", "far away"])
async def test_waits_are_bounded(store: MemoryStore, clock: Clock, expires_at: float | None) -> None:
    """A wall clock that is set forward is noticed."""
    await put(store, "/a", expires_at=expires_at)
    assert await Expiry(store, now=clock).sweep() == 30.0


async def test_a_new_expiry_interrupts_the_wait(store: MemoryStore, clock: Clock) -> None:
    """The task sleeps for long, and yet deletes at once what is due at once."""
    deleted = asyncio.Event()
    task = asyncio.ensure_future(Expiry(store, now=clock).run())
    await asyncio.sleep(0)
    await put(store, "/a", expires_at=99.0)
    store.on_commit(lambda _events: deleted.set())
    await deleted.wait()
    assert await current(store, "/a") is None
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_a_full_disk_delays_the_deletion(clock: Clock) -> None:
    """It is tried again after the pause that the store advises."""

    class FullStore(MemoryStore):
        """Nothing can be written."""

        async def act_on_due(self, now: float) -> int:
            raise ResourceExhaustedError(f"full at {now}", retry_after=5.0)

    full = FullStore()
    await put(full, "/a", expires_at=1.0)
    assert await Expiry(full, now=clock).sweep() == 5.0
