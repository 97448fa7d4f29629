"""The loop of a route: take, filter, deliver, acknowledge."""

import asyncio
from collections.abc import Sequence

from broker_bridge.dedup import Busy, Claim, MemoryDedup
from broker_bridge.filtering import (
    Destination,
    FilteringUnavailableError,
    Match,
    MemoryFilter,
)
from broker_bridge.parcel import Parcel
from broker_bridge.settlement import AckBatch
from broker_bridge.targets import (
    Accepted,
    MemoryTarget,
    Origin,
    Outcome,
    Reply,
)
from broker_bridge.way_back import MemoryBroker
from tests.unit.broker_bridge.builders import TARGET, message, route
from tests.unit.broker_bridge.pump_rig import AWAY, OTHER, Slow, running


async def test_a_message_is_acknowledged_after_its_delivery() -> None:
    """And settled by the receipt."""
    async with running() as rig:
        rig.receive(1)
        await rig.settled(1)
        assert [item.message.id for item in rig.targets[TARGET].delivered] == ["ID:test-1"]
        assert rig.broker.acknowledged == ["ack-1"]
        assert rig.pump.stats.delivered == 1
        assert rig.pump.snapshot().in_flight == 0


async def test_no_ack_before_the_target_has_answered() -> None:
    """However long it takes."""
    async with running() as rig:
        rig.targets[TARGET] = slow = Slow()
        rig.receive(1)
        for _ in range(100):
            await asyncio.sleep(0)
        assert rig.broker.acknowledged == []
        assert rig.pump.snapshot().in_flight == 1
        slow.answer.set()
        await rig.settled(1)


async def test_messages_that_arrive_together_are_delivered_together() -> None:
    """A batch per delivery."""
    async with running() as rig:
        rig.receive(*range(1, 51))
        await rig.settled(50)
        assert [len(batch) for batch in rig.targets[TARGET].batches] == [50]


async def test_a_message_no_subscription_wants_is_settled_as_filtered() -> None:
    """As SNS does."""
    nobody = MemoryFilter(lambda _topic, _parcel: [])
    async with running(route(targets=(), filter_topic="Orders"), message_filter=nobody) as rig:
        rig.receive(1)
        await rig.settled(1)
        assert (rig.pump.stats.filtered, rig.pump.stats.delivered) == (1, 0)
        assert rig.targets[TARGET].delivered == []


async def test_what_a_target_answers_goes_to_the_sender_before_the_message_is_done() -> None:
    """Once for each target, whether or not another one has to be asked again; nobody else gets an answer."""
    order: list[str] = []

    class Noting(MemoryDedup):
        async def done(self, keys: Sequence[str]) -> None:
            order.append(f"done after {len(rig.answers.sent)}")
            await super().done(keys)

    def answering(item: Parcel) -> Outcome:
        return Accepted(reply=Reply(body=f"answer to {item.message.id}"))

    later: list[Outcome] = [AWAY, AWAY]
    both = route(targets=(TARGET, OTHER))
    async with running(
        both, dedup=Noting(), decide=answering, decide_other=lambda item: later.pop() if later else answering(item)
    ) as rig:
        asking = {"reply-to": "/remote-temp-queue/ID:x"}
        rig.receive(1, body=b"hello", **asking)
        rig.receive(2)
        await rig.settled(2)
        assert [(message.id, message.reply_to) for message, _ in rig.answers.sent] == [
            ("ID:test-1", "temp-queue://ID:x")
        ] * 2
        assert order[-1] == "done after 2"
        assert rig.pump.stats.replies == 2


async def test_a_target_that_fails_unexpectedly_makes_no_other_one_take_a_message_twice() -> None:
    """It is asked again, and the message given up when it goes on so; the others have it once."""

    def broken(_item: Parcel) -> Outcome:
        raise ZeroDivisionError("a fault of ours")

    async with running(route(targets=(TARGET, OTHER)), decide_other=broken) as rig:
        rig.receive(1, 2)
        await rig.settled(2)
        assert [item.message.id for item in rig.targets[TARGET].delivered] == ["ID:test-1", "ID:test-2"]
        assert ["a fault of ours" in letter.reason for _, letter in rig.broker.dead] == [True, True]


async def test_answers_that_are_no_replies_are_counted_and_their_messages_settled() -> None:
    """Each of them."""
    async with running(route(), decide=lambda _item: Accepted(unread=("is no text", "is not asked for"))) as rig:
        rig.receive(1, 2)
        await rig.settled(2)
        assert rig.pump.stats.unsent_replies == 4
        assert rig.answers.sent == []


async def test_a_subscription_that_cannot_be_served_does_not_keep_the_others_waiting() -> None:
    """Its reason ends up in the dead letter."""
    mixed = MemoryFilter(
        lambda _t, _p: [
            Destination(name="good", target=TARGET),
            Destination(name="bad", target=None, fault="names no target"),
        ]
    )
    async with running(route(targets=(), filter_topic="Orders"), message_filter=mixed) as rig:
        rig.receive(1)
        await rig.settled(1)
        assert len(rig.targets[TARGET].delivered) == 1
        ((_, letter),) = rig.broker.dead
        assert "names no target" in letter.reason


async def test_while_filtering_is_away_messages_wait_and_lose_no_attempt() -> None:
    """An outage of ours is not the message's fault."""

    class Away:
        calls = 0

        async def match(self, _topic: str, parcels: Sequence[Parcel]) -> Sequence[Match]:
            self.calls += 1
            if self.calls <= 5:
                raise FilteringUnavailableError("away")
            return [[Destination(name="all", target=TARGET)]] * len(parcels)

    async with running(route(targets=(), filter_topic="Orders"), message_filter=Away()) as rig:
        rig.receive(1)
        for _ in range(5):
            await rig.until(lambda: bool(rig.pump._waiting._heap))
            rig.pass_time(2.0)
        await rig.settled(1)
        assert rig.targets[TARGET].delivered[0].attempt == 1
        assert rig.broker.dead == []


async def test_a_repetition_of_a_delivered_message_is_acknowledged_without_delivery() -> None:
    """As after a broker that lost the ACK."""
    records = MemoryDedup()
    await records.done([message(1).key])
    async with running(dedup=records) as rig:
        rig.receive(1)
        await rig.settled(1)
        assert rig.targets[TARGET].delivered == []
        assert rig.broker.acknowledged == ["ack-1"]
        assert rig.pump.stats.duplicates == 1


async def test_done_is_noted_before_the_ack() -> None:
    """Otherwise a crash between the two would deliver the message twice."""
    order: list[str] = []

    class Noting(MemoryDedup):
        async def done(self, keys: Sequence[str]) -> None:
            order.append("done")
            await super().done(keys)

    class Watching(MemoryBroker):
        def acknowledge(self, batch: AckBatch) -> None:
            order.append("ack")
            super().acknowledge(batch)

    async with running(dedup=Noting(), broker=Watching()) as rig:
        rig.receive(1)
        await rig.settled(1)
        assert order == ["done", "ack"]


async def test_what_another_bridge_delivers_waits() -> None:
    """Without being counted as an attempt."""

    class BusyOnce(MemoryDedup):
        asked = 0

        async def claim(self, keys: Sequence[str]) -> Sequence[Claim]:
            self.asked += 1
            return [Busy(seconds=0.0)] * len(keys) if self.asked == 1 else await super().claim(keys)

    async with running(dedup=BusyOnce()) as rig:
        rig.receive(1)
        await rig.settled(1)
        assert rig.targets[TARGET].delivered[0].attempt == 1


async def test_a_fault_of_ours_loses_no_message() -> None:
    """The batch is tried again."""

    class Broken(MemoryTarget):
        calls = 0

        async def deliver(self, parcels: Sequence[Parcel], origin: Origin) -> Sequence[Outcome]:
            self.calls += 1
            if self.calls == 1:
                raise ZeroDivisionError
            return await super().deliver(parcels, origin)

    async with running() as rig:
        rig.targets[TARGET] = broken = Broken()
        rig.receive(1, 2)
        await rig.until(lambda: broken.calls == 1 and rig.pump.snapshot().in_flight == 2)
        await rig.until(lambda: bool(rig.pump._waiting._heap))
        rig.pass_time(2.0)
        await rig.settled(2)
        assert len(broken.delivered) == 2


async def test_drain_finishes_what_runs_and_begins_nothing_new() -> None:
    """What was not begun stays with the broker."""
    async with running(route(concurrency=1)) as rig:
        rig.targets[TARGET] = slow = Slow()
        rig.receive(1)
        await rig.until(lambda: bool(rig.pump._ledger.dispatching()))
        rig.receive(2)
        draining = asyncio.ensure_future(rig.pump.drain())
        await asyncio.sleep(0)
        rig.receive(3)
        slow.answer.set()
        await draining
        assert [item.message.id for item in slow.delivered] == ["ID:test-1"]
        assert rig.broker.acknowledged == ["ack-1"]
