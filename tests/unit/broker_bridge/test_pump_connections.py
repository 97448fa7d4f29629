"""What a new connection, a lane or an ACK for many means for the messages in flight."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from math import inf

from broker_bridge.parcel import Parcel
from broker_bridge.routes import Batch
from broker_bridge.settlement import AckBatch
from broker_bridge.targets import (
    ACCEPTED,
    Outcome,
)
from broker_bridge.way_back import MemoryBroker
from services.runtime.retry import Backoff
from tests.unit.broker_bridge.builders import TARGET, frame, message, retry, route
from tests.unit.broker_bridge.pump_rig import OTHER, REFUSED, Slow, running

LANE = route(
    lanes=2,
    concurrency=1,
    batch=Batch(max_messages=1),
    retry=retry(backoff=Backoff(initial=4.0, maximum=8.0, jitter=0.0)),
)


async def test_the_lanes_of_a_route_share_its_bytes() -> None:
    """Each may take its part of `max_in_flight_bytes` ahead."""
    mib = 1024 * 1024
    for lanes, renewed in ((1, False), (2, True)):
        async with running(replace(LANE, lanes=lanes, max_in_flight_bytes=4 * mib)) as rig:
            rig.receive(1, 2, 3, body=b"x" * mib)
            assert bool(rig.pump.renewal()) is renewed


async def test_a_lane_keeps_the_order_of_its_messages_over_failures() -> None:
    """What failed is tried again before anything else is delivered; what is given up makes way."""
    outcomes: dict[str, list[Outcome]] = {"ID:test-2": [REFUSED], "ID:test-3": [REFUSED] * 3}

    def decide(item: Parcel) -> Outcome:
        left = outcomes.get(item.message.id)
        return left.pop() if left else ACCEPTED

    async with running(LANE, decide=decide) as rig:
        rig.receive(1, 2, 3, 4)
        for number in (1, 2, 3):
            await rig.until(lambda number=number: rig.pump.stats.retried == number)  # type: ignore[misc]
            for _ in range(50):
                await asyncio.sleep(0)
            rig.pass_time(8.0)
        await rig.settled(4)
        tried = [batch[0].message.id[-1] for batch in rig.targets[TARGET].batches]
        assert tried == ["1", "2", "2", "3", "3", "3", "4"]
        assert [dead.id for dead, _ in rig.broker.dead] == ["ID:test-3"]


async def test_a_lane_whose_connection_is_lost_begins_anew() -> None:
    """What it waited with comes again, in order."""
    outcomes: list[Outcome] = [REFUSED]
    async with running(LANE, decide=lambda _item: outcomes.pop() if outcomes else ACCEPTED) as rig:
        rig.receive(1, 2)
        await rig.until(lambda: rig.pump.stats.retried == 1)
        rig.pump.opened()
        rig.receive(1, 2)
        await rig.settled(2)
        assert [item.message.id for item in rig.targets[TARGET].delivered] == ["ID:test-1", "ID:test-2"]


async def test_a_message_another_lane_still_delivers_waits() -> None:
    """As after a reconnection that gave its group to this lane; it is not delivered side by side."""
    async with running(LANE) as rig:
        rig.pump._delivering.add(message(1).key)
        rig.receive(1, 2)
        await rig.until(lambda: bool(rig.pump._waiting._heap))
        assert rig.targets[TARGET].batches == []
        rig.pump._delivering.clear()
        rig.pass_time(1.0)
        await rig.settled(2)
        assert [item.message.id for item in rig.targets[TARGET].delivered] == ["ID:test-1", "ID:test-2"]


async def test_a_reconnection_during_a_delivery_neither_repeats_it_nor_acks_the_old_delivery() -> None:
    """The broker sends the message again; its new ack id is used when the delivery ends."""
    async with running() as rig:
        rig.targets[TARGET] = slow = Slow()
        rig.receive(1, ack="old")
        await rig.until(lambda: bool(rig.pump._ledger.dispatching()))
        rig.pump.opened()
        rig.receive(1, ack="new")
        slow.answer.set()
        await rig.settled(1)
        assert rig.broker.acknowledged == ["new"]
        assert len(slow.delivered) == 1


async def test_a_reconnection_after_a_delivery_drops_the_ack() -> None:
    """Until the broker sends the message again, as a duplicate."""
    async with running() as rig:
        rig.targets[TARGET] = slow = Slow()
        rig.receive(1, ack="old")
        await rig.until(lambda: bool(rig.pump._ledger.dispatching()))
        rig.pump.opened()
        slow.answer.set()
        await rig.until(lambda: rig.pump.stats.dropped_acks == 1)
        assert rig.broker.acknowledged == []
        rig.receive(1, ack="new")
        await rig.settled(1)
        assert rig.broker.acknowledged == ["new"]
        assert len(slow.delivered) == 1


NINE_SECONDS = retry(backoff=Backoff(initial=9.0, maximum=9.0, jitter=0.0))


def refused_once(*numbers: int) -> Callable[[Parcel], Outcome]:
    """Refuses the first attempt of these messages."""
    ids = {f"ID:test-{number}" for number in numbers}
    return lambda item: REFUSED if item.message.id in ids and item.attempt == 1 else ACCEPTED


async def test_messages_are_acknowledged_together_up_to_an_open_one() -> None:
    """That those behind it stall is told; a drain does not wait for them."""
    async with running(route(retry=NINE_SECONDS), decide=refused_once(3)) as rig:
        rig.pump.opened(cumulative=True)
        rig.receive(1, 2, 3, 4, 5)
        await rig.settled(2)
        rig.receive(6)
        await rig.until(lambda: rig.pump.stats.delivered == 5)
        assert rig.pump.stalled_seconds() == inf
        await rig.pump.drain()
        assert rig.broker.acknowledged == ["ack-1", "ack-2"]


async def test_a_message_keeps_its_wait_over_a_new_connection() -> None:
    """And what is known of it: a target that took it is not asked again."""
    both = route(targets=(TARGET, OTHER), retry=NINE_SECONDS)
    async with running(both, decide=refused_once(1)) as rig:
        rig.receive(1, ack="old")
        await rig.until(lambda: rig.pump.stats.retried == 1)
        rig.clock.seconds += 5.0
        rig.pump.opened()
        rig.pump.received([frame(1, ack="new"), frame(2)])
        await rig.settled(1)
        assert rig.broker.acknowledged == ["ack-2"]
        rig.pass_time(4.1)
        await rig.settled(2)
        assert rig.broker.acknowledged == ["ack-2", "new"]
        assert [item.message.id for item in rig.targets[OTHER].delivered] == ["ID:test-1", "ID:test-2"]


async def test_a_message_goes_alone_also_after_a_new_connection() -> None:
    """Of a batch that failed as a whole one is to blame, and the broker does not know that."""
    async with running(
        route(retry=NINE_SECONDS), decide=lambda item: ACCEPTED if item.attempt == 2 else REFUSED
    ) as rig:
        rig.receive(1, 2, 3)
        await rig.until(lambda: rig.pump.stats.retried == 3)
        rig.pump.opened()
        rig.receive(1, 2, 3)
        rig.pass_time(9.1)
        await rig.settled(3)
        assert [len(batch) for batch in rig.targets[TARGET].batches] == [3, 1, 1, 1]


async def test_a_message_that_fails_between_two_connections_keeps_its_wait_too() -> None:
    """Nobody holds it then but the broker."""
    async with running(route(retry=NINE_SECONDS)) as rig:
        rig.targets[TARGET] = slow = Slow(refused_once(1))
        rig.receive(1, ack="old")
        await rig.until(lambda: bool(rig.pump._ledger.dispatching()))
        rig.pump.opened()
        slow.answer.set()
        await rig.until(lambda: rig.pump.stats.retried == 1)
        rig.receive(1, ack="new")
        rig.pass_time(8.0)
        rig.receive(2)
        await rig.settled(1)
        assert [len(batch) for batch in slow.batches] == [1, 1]
        rig.pass_time(1.1)
        await rig.settled(2)
        assert rig.broker.acknowledged == ["ack-2", "new"]


async def test_a_drain_does_not_wait_for_a_receipt_of_a_lost_connection() -> None:
    """It never comes; the message does, to the next consumer."""

    class Silent(MemoryBroker):
        def acknowledge(self, batch: AckBatch) -> None:
            self.acknowledged += batch.ack_ids

    async with running(broker=Silent()) as rig:
        rig.receive(1)
        await rig.until(lambda: rig.broker.acknowledged == ["ack-1"])
        draining = asyncio.ensure_future(rig.pump.drain())
        await asyncio.sleep(0)
        rig.pump.opened()
        await rig.until(draining.done)


async def test_what_is_remembered_of_messages_that_never_come_again_is_bounded() -> None:
    """Another bridge has taken them; nothing is kept of their bodies."""
    async with running(route(retry=NINE_SECONDS), decide=lambda _item: REFUSED) as rig:
        rig.receive(*range(1, 12_001))
        await rig.until(lambda: rig.pump.stats.retried == 12_000)
        rig.pump.opened()
        assert len(rig.pump._failures._remembered) == 10_000
        assert not any(hasattr(each, "message") for each in rig.pump._failures._remembered.values())


async def test_of_messages_of_one_id_a_wildcard_takes_one_at_a_time() -> None:
    """The broker could not tell their ACKs apart; the other comes with the next connection."""
    async with running(route(source="queue://orders.>")) as rig:
        for queue in ("a", "b"):
            rig.receive(1, destination=f"/queue/orders.{queue}")
        await rig.settled(1)
        assert "one queue after the other" in rig.pump.renewal()
        rig.pump.opened()
        rig.receive(1, destination="/queue/orders.b")
        await rig.settled(2)
        assert rig.pump.renewal() == ""
        delivered = [parcel.message.destination for parcel in rig.targets[TARGET].delivered]
        assert delivered == ["queue://orders.a", "queue://orders.b"]
