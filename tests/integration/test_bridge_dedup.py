"""Dedup records in a real Valkey."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker_bridge.dedup import Busy, Claim, Claimed, DedupUnavailableError, Done, MemoryDedup, Records
from broker_bridge.redis_store import RedisStore
from broker_bridge.targets import ErrorClass
from deploy.local.ports import free_port_numbers
from tests.contracts.dedup import DedupContract
from tests.integration.parts import RunningPart


def store(valkey: RunningPart, owner: str = "bridge-a", *, options: str = "") -> RedisStore:
    return RedisStore(f"redis://{valkey.addresses['redis']}/0{options}", owner=owner, keep_seconds=60, timeout=5)


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
    """Neither another bridge nor an earlier life of the same; whoever else asks waits as long as was renewed."""
    ours, restarted, theirs = store(valkey), store(valkey), store(valkey, "bridge-b")
    records, client = ours.records(route), ours._client
    await records.claim(["a"])
    name, field = f"penstock:bridge:{{{route}}}", ":a"
    record = await client.hget(name, field)
    assert isinstance(record, bytes)
    owner, life, attempts, _, *excused = record.decode().split()
    seconds, _ = await client.time()
    await client.hset(name, field, " ".join([owner, life, attempts, f"{(int(seconds) + 5) * 1000}", *excused]))
    for other in (restarted, theirs):
        await other.records(route).renew(["a"])
        (busy,) = await theirs.records(route).claim(["a"])
        assert isinstance(busy, Busy)
        assert busy.seconds <= 5
    await records.renew(["a"])
    (busy,) = await theirs.records(route).claim(["a"])
    assert isinstance(busy, Busy)
    assert busy.seconds > 10
    for each in (ours, restarted, theirs):
        await each.close()


async def test_a_lease_from_before_the_clock_was_set_back_holds_nobody_up(valkey: RunningPart, route: str) -> None:
    """It would seem to last for as long as the clock was wrong."""
    ours = store(valkey, "bridge-a")
    records = ours.records(route)
    seconds, _ = await ours._client.time()
    record = f"bridge-b life 1 {(int(seconds) + 3600) * 1000} 0 0"
    await ours._client.hset(f"penstock:bridge:{{{route}}}", ":a", record)
    assert list(await records.claim(["a"])) == [Claimed(attempt=2)]
    await ours.close()


async def test_messages_of_a_producer_share_hashes_that_end_by_themselves(valkey: RunningPart, route: str) -> None:
    """A hundred messages to a hash, kept for as long after its last change as was asked."""
    ours = store(valkey)
    records, client = ours.records(route), ours._client
    keys = [f"queue://orders|ID:host-41401-1796029445005-1:1:1:1:{number}" for number in range(1, 1001)]

    async def hashes() -> list[bytes]:
        return [name async for name in client.scan_iter(match=f"penstock:bridge:{{{route}}}*", count=1000)]

    await records.claim(keys)
    assert len(await hashes()) == 12
    for name in await hashes():
        await client.pexpire(name, 1000)
    await records.done(keys)
    assert {50 < await client.ttl(name) <= 60 for name in await hashes()} == {True}
    await records.forget(keys)
    assert await hashes() == []
    await ours.close()


async def test_a_long_name_of_the_bridge_makes_no_record_larger(valkey: RunningPart, route: str) -> None:
    """A hash stays compact as long as no value in it has more than 64 bytes, which its host's name may have alone."""
    ours = store(valkey, "penstock-broker-bridge-7d9f8b6c5d-abcde.orders.svc.cluster.local:50054")
    records, client = ours.records(route), ours._client
    await records.claim([f"queue://orders|ID:host-41401-1796029445005-1:1:1:1:{number}" for number in range(100, 200)])
    name = f"penstock:bridge:{{{route}}}:queue://orders|ID:host-41401-1796029445005-1:1:1:1:1"
    assert await client.hlen(name) == 100
    assert await client.object("ENCODING", name) in {b"listpack", b"ziplist"}
    await ours.close()


@pytest.mark.parametrize("options", ["?decode_responses=True", "?protocol=3", "?protocol=2"])
async def test_what_was_done_is_known_however_the_url_has_answers_read(
    valkey: RunningPart, route: str, options: str
) -> None:
    """A record that is not recognised would look like that of a new message."""
    ours = store(valkey, options=options)
    records = ours.records(route)
    await records.done(["a"])
    await records.claim(["b"])
    assert list(await records.claim(["a", "b"])) == [Done(), Claimed(attempt=2)]
    await ours.close()


_IDS = st.one_of(
    st.sampled_from("abcé"),
    st.integers(min_value=1, max_value=1200).map(lambda number: f"queue://orders|ID:host-1-1:1:1:1:{number}"),
    st.text(alphabet="a:1é\u20ac", min_size=1, max_size=4),
)
_CALLS = st.tuples(
    st.sampled_from(["claim", "done", "forget", "renew", "unavailable", "throttled"]),
    st.lists(_IDS, min_size=1, max_size=30, unique=True),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(_CALLS, max_size=12))
def test_records_in_hashes_answer_as_records_in_memory(valkey: RunningPart, calls: list[tuple[str, list[str]]]) -> None:
    """Whatever the ids look like, and however often each is claimed, excused, done or forgotten."""

    async def play() -> None:
        shared = store(valkey)
        try:
            both: tuple[Records, Records] = (shared.records(f"same-{uuid4().hex}"), MemoryDedup())
            for name, keys in calls:
                ours, model = [await _call(records, name, keys) for records in both]
                assert ours == model
        finally:
            await shared.close()

    asyncio.run(play())


async def _call(records: Records, name: str, keys: list[str]) -> list[Claim]:
    match name:
        case "claim":
            return list(await records.claim(keys))
        case "done":
            await records.done(keys)
        case "forget":
            await records.forget(keys)
        case "renew":
            await records.renew(keys)
        case _:
            await records.excuse(keys, ErrorClass[name.upper()])
    return []


async def test_a_full_store_counts_as_away_until_it_has_room(valkey: RunningPart, route: str) -> None:
    """Asked without keys too, since it answers and notes nothing; what it refused leaves no trace."""
    ours = store(valkey)
    records = ours.records(route)
    await records.done(["a"])
    await ours._client.config_set("maxmemory", 1)
    try:
        for refused in (records.claim(["a", "b"]), records.done(["b"]), records.renew([])):
            with pytest.raises(DedupUnavailableError, match="maxmemory"):
                await refused
        assert list(await records.claim(["a"])) == [Done()]
    finally:
        await ours._client.config_set("maxmemory", 0)
    await records.renew([])
    assert list(await records.claim(["a", "b"])) == [Done(), Claimed(attempt=1)]
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
