"""Containers that restart, crash, freeze and lose each other under load: nothing is lost, and health tells of it."""

import asyncio
from contextlib import ExitStack
from uuid import uuid4

import pytest

from deploy.local.demo import orders
from deploy.local.demo.session import Session
from tests.containers.compose import ComposeStack, eventually
from tests.containers.load import Load, under_load

# Every container that holds or moves a message.
CONTAINERS = ("activemq", "valkey", "config", "filtering", "persistence", "tracking", "bridge", "lambda", "aws")


@pytest.fixture
def program() -> str:
    return f"faults-{uuid4().hex[:8]}"


async def assert_nothing_lost(load: Load) -> None:
    """Every confirmed message id has a row, exactly one, and no call failed beyond its repetitions."""
    assert load.failed == []
    assert load.missing == set()
    rows = await load.stored()
    assert len(rows) == len(set(rows))
    for way in ("grpc", "http", "jms"):
        assert any(f"-{way}-" in message_id for message_id in load.confirmed), f"no load by {way}"


async def test_every_container_is_restarted_in_turn_under_load(
    compose: ComposeStack, session: Session, program: str
) -> None:
    """Clients that repeat what is documented see no failure, and nothing they were promised is missing."""
    async with under_load(session, program) as load:
        for service in CONTAINERS:
            await asyncio.to_thread(compose.restart, service)
            await asyncio.to_thread(compose.wait_healthy, service)
    await assert_nothing_lost(load)


async def test_containers_killed_by_9_come_back_and_lose_nothing(
    compose: ComposeStack, session: Session, program: str
) -> None:
    """Store, cache, intake and broker crash one after the other; the restart policy brings each back."""
    async with under_load(session, program) as load:
        for service in ("persistence", "valkey", "tracking", "activemq"):
            await asyncio.to_thread(compose.crash, service)
            await asyncio.to_thread(compose.wait_healthy, service)
    await assert_nothing_lost(load)


# Who cannot reach whom; whose health must tell of it, and a word it says.
PARTITIONS = {
    "control and store": (
        ("filtering", "config", "config"),
        ("bridge", "activemq", "routes"),
        ("tracking", "persistence", "shipping"),
    ),
    "caches and targets": (
        ("tracking", "valkey", "program"),
        ("bridge", "valkey", "dedup"),
        ("bridge", "config", "config"),
    ),
}


@pytest.mark.parametrize("partition", PARTITIONS)
async def test_dropped_packets_between_two_containers_show_in_health_and_lose_nothing(
    compose: ComposeStack, session: Session, program: str, partition: str
) -> None:
    """Several pairs at a time, each seen by another process; told while it lasts, cleared after."""
    async with under_load(session, program) as load:
        with ExitStack() as faults:
            for service, other, _ in PARTITIONS[partition]:
                faults.enter_context(compose.dropping(service, other))
            for service, _, word in PARTITIONS[partition]:
                await asyncio.to_thread(compose.wait_trouble, service, word)
        await asyncio.to_thread(compose.wait_well, *{service for service, _, _ in PARTITIONS[partition]})
    await assert_nothing_lost(load)


async def test_a_target_that_cannot_be_reached_shows_in_the_metrics_of_its_route(
    compose: ComposeStack, session: Session, program: str
) -> None:
    """Bridge and persistence lose each other: messages are retried and wait; afterwards they are delivered."""
    async with under_load(session, program) as load:
        with compose.dropping("bridge", "persistence"):
            await asyncio.to_thread(_wait_metric, compose, "penstock_bridge_oldest_in_flight_seconds", program, 3.0)
        await asyncio.to_thread(compose.wait_well, "bridge")
    await assert_nothing_lost(load)
    assert compose.metric("bridge", "penstock_bridge_in_flight", route=program) == 0


def _wait_metric(compose: ComposeStack, name: str, route: str, least: float) -> None:
    eventually(lambda: compose.metric("bridge", name, route=route) >= least, f"{name} of {route} to reach {least}")


async def test_a_frozen_store_and_a_cache_off_the_network_show_and_lose_nothing(
    compose: ComposeStack, session: Session, program: str
) -> None:
    """`pause` keeps connections open without answers, `network disconnect` takes name and address away."""
    async with under_load(session, program) as load:
        with compose.paused("persistence"), compose.disconnected("valkey"):
            await asyncio.to_thread(compose.wait_trouble, "tracking", "shipping")
            await asyncio.to_thread(compose.wait_trouble, "bridge", "dedup")
        await asyncio.to_thread(compose.wait_well, "tracking", "bridge")
    await assert_nothing_lost(load)


async def test_a_broker_made_anew_on_its_volume_still_has_its_messages(
    compose: ComposeStack, session: Session, program: str
) -> None:
    """The container is removed and created again; what was in its queue is delivered."""
    await asyncio.to_thread(compose.compose, "stop", "bridge")
    load = Load(session=session, program=program)
    await load.by_jms()
    assert load.failed == []
    assert len(load.confirmed) > 0
    await asyncio.to_thread(compose.compose, "rm", "--stop", "--force", "activemq")
    await asyncio.to_thread(compose.up, "activemq", "bridge")
    async with under_load(session, program) as later:
        later.confirmed |= load.confirmed
    assert later.failed == []
    assert later.missing == set()


@pytest.mark.parametrize("other", ["filtering", "lambda", "aws"])
async def test_orders_wait_while_the_bridge_reaches_neither_filtering_nor_a_target(
    compose: ComposeStack, session: Session, other: str
) -> None:
    """The story of the orders comes true although the bridge loses one of its peers in the middle of it."""
    assert (await orders.tell(session)).held
    with compose.dropping("bridge", other):
        telling = asyncio.create_task(orders.tell(session))
        await asyncio.to_thread(_wait_metric, compose, "penstock_bridge_oldest_in_flight_seconds", "orders", 2.0)
    result = await telling
    assert {e.what: e.received for e in result.expectations} == {e.what: e.expected for e in result.expectations}
