"""Dedup records in a real Valkey."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from broker_bridge.dedup import Busy, Claimed, DedupUnavailableError, Done, Records
from broker_bridge.redis_store import RedisStore
from deploy.local.ports import free_port_numbers
from tests.contracts.dedup import DedupContract
from tests.integration.parts import RunningPart


def store(valkey: RunningPart, owner: str = "bridge-a") -> RedisStore:
    return RedisStore(f"redis://{valkey.addresses['redis']}/0", owner=owner, keep_seconds=60, timeout=5)


@pytest.fixture
def route() -> str:
    return f"dedup-{uuid4().hex[:8]}"


class TestRedisDedup(DedupContract):
    """The records of a route."""

    @pytest.fixture(autouse=True)
    async def _store(self, valkey: RunningPart) -> AsyncIterator[None]:
        self.store = store(valkey)
        yield
        await self.store.close()

    async def records(self) -> Records:
        return self.store.records(f"contract-{uuid4().hex}")


async def test_a_restarted_bridge_takes_its_claims_over_at_once(valkey: RunningPart, route: str) -> None:
    """And counts the attempt that did not come to an end."""
    for life in (1, 2, 3):
        alive = store(valkey)
        assert list(await alive.records(route).claim(["a"])) == [Claimed(attempt=life)]
        await alive.close()


async def test_another_bridge_waits_for_the_lease(valkey: RunningPart, route: str) -> None:
    """It neither delivers nor counts; what is done it knows at once."""
    ours, theirs = store(valkey, "bridge-a"), store(valkey, "bridge-b")
    first, second = ours.records(route), theirs.records(route)
    await first.claim(["a", "b"])
    (busy,) = await second.claim(["a"])
    assert isinstance(busy, Busy)
    assert 0 < busy.seconds <= 15
    await first.done(["b"])
    assert list(await second.claim(["b"])) == [Done()]
    assert list(await first.claim(["a"])) == [Claimed(attempt=2)]
    await ours.close()
    await theirs.close()


async def test_routes_do_not_share_records(valkey: RunningPart, route: str) -> None:
    """The same message may be delivered by two routes."""
    shared = store(valkey)
    await shared.records(f"{route}-1").done(["a"])
    assert list(await shared.records(f"{route}-2").claim(["a"])) == [Claimed(attempt=1)]
    await shared.close()


async def test_only_the_owner_renews_its_lease(valkey: RunningPart, route: str) -> None:
    """A claim that was taken over belongs to somebody else."""
    old, new = store(valkey), store(valkey)
    await old.records(route).claim(["a"])
    taken_over = new.records(route)
    await taken_over.claim(["a"])
    await old.records(route).renew(["a"])
    assert list(await taken_over.claim(["a"])) == [Claimed(attempt=3)]
    await old.close()
    await new.close()


async def test_a_lease_from_before_the_clock_was_set_back_holds_nobody_up(valkey: RunningPart, route: str) -> None:
    """It would seem to last for as long as the clock was wrong."""
    ours = store(valkey, "bridge-a")
    records = ours.records(route)
    seconds, _ = await ours._client.time()
    key = f"penstock:dedup:{{{route}}}:a"
    await ours._client.set(key, f"bridge-b life 1 {(int(seconds) + 3600) * 1000}")
    assert list(await records.claim(["a"])) == [Claimed(attempt=2)]
    await ours.close()


async def test_an_absent_store_is_an_error_of_its_own(route: str) -> None:
    """Whatever the client library raises."""
    (port,) = free_port_numbers(1)
    absent = RedisStore(f"redis://127.0.0.1:{port}/0", owner="a", keep_seconds=60, timeout=0.5)
    with pytest.raises(DedupUnavailableError, match="does not answer"):
        await absent.records(route).claim(["a"])
    await absent.close()


async def test_a_store_that_refuses_the_password_says_so(valkey: RunningPart, route: str) -> None:
    """Without showing it."""
    address = valkey.addresses["redis"]
    refused = RedisStore(f"redis://user:secret-word@{address}/0", owner="a", keep_seconds=60, timeout=5)
    with pytest.raises(DedupUnavailableError) as caught:
        await refused.records(route).claim(["a"])
    assert "secret-word" not in str(caught.value)
    await refused.close()
