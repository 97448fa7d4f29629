"""Messages that wait for their next attempt, here or in the broker."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from broker_bridge.broker import RefusedError
from broker_bridge.dedup import MemoryDedup
from broker_bridge.parcel import Parcel
from broker_bridge.retry_policy import ClassPolicy, RetryStrategy
from broker_bridge.settlement import Entry
from broker_bridge.target_specs import TargetSpec
from broker_bridge.targets import (
    ACCEPTED,
    ErrorClass,
    MemoryTarget,
    Origin,
    Outcome,
    Rejected,
    Retry,
)
from broker_bridge.way_back import MemoryBroker
from services.runtime.retry import Backoff
from tests.unit.broker_bridge.builders import NO_BACKOFF, TARGET, frame, message, retry, route
from tests.unit.broker_bridge.pump_rig import AWAY, OTHER, REFUSED, THROTTLED, running


async def test_a_failed_delivery_is_repeated_with_its_attempt_counted() -> None:
    """And acknowledged when it succeeds."""
    async with running(decide=lambda item: ACCEPTED if item.attempt == 3 else THROTTLED) as rig:
        rig.receive(1)
        await rig.settled(1)
        assert [batch[0].attempt for batch in rig.targets[TARGET].batches] == [1, 2, 3]
        assert rig.broker.dead == []
        assert rig.pump.stats.retried == 2


async def test_a_target_that_is_away_or_throttles_costs_no_message_an_attempt() -> None:
    """However long; refusals before and after are counted together."""
    outcomes: list[Outcome] = [REFUSED, *[AWAY, THROTTLED] * 20, REFUSED]
    async with running(decide=lambda _item: outcomes.pop(0) if outcomes else ACCEPTED) as rig:
        rig.receive(1)
        await rig.settled(1)
        assert rig.broker.dead == []
        assert rig.targets[TARGET].delivered[0].attempt == 43


async def test_a_route_may_limit_the_attempts_at_a_target_that_is_away() -> None:
    """With the class in the dead letter; throttles are not counted with them."""
    limited = retry(unavailable=ClassPolicy(backoff=NO_BACKOFF, max_attempts=4))
    outcomes: list[Outcome] = [THROTTLED, AWAY, AWAY, AWAY, AWAY, AWAY]
    async with running(route(retry=limited), decide=lambda _item: outcomes.pop(0)) as rig:
        rig.receive(1)
        await rig.settled(1)
        ((_, letter),) = rig.broker.dead
        assert (letter.error_class, letter.attempts) == (ErrorClass.UNAVAILABLE, 5)


async def test_attempts_excused_before_a_restart_stay_excused() -> None:
    """An outage that outlasts the bridge makes no dead letters either."""
    records = MemoryDedup()
    for _ in range(10):
        await records.claim([message(1).key])
        await records.excuse([message(1).key], ErrorClass.UNAVAILABLE)
    async with running(dedup=records) as rig:
        rig.receive(1)
        await rig.settled(1)
        assert rig.broker.dead == []
        assert rig.targets[TARGET].delivered[0].attempt == 11


@pytest.mark.parametrize("targets", [(TARGET, OTHER), (OTHER, TARGET)], ids=["refusing-first", "away-first"])
async def test_no_message_is_given_up_for_one_target_while_another_is_away(targets: tuple[TargetSpec, ...]) -> None:
    """The dead letter would be replayed to both."""
    away: list[Outcome] = [AWAY] * 10
    both = route(targets=targets)
    async with running(
        both, decide=lambda _item: REFUSED, decide_other=lambda _item: away.pop() if away else ACCEPTED
    ) as rig:
        rig.receive(1)
        await rig.settled(1)
        assert len(rig.targets[OTHER].delivered) == 1
        ((_, letter),) = rig.broker.dead
        assert letter.error_class is ErrorClass.REFUSED


async def test_each_class_has_its_own_waits() -> None:
    """They grow with the failures of that class alone."""
    waits = retry(
        backoff=Backoff(initial=1.0, maximum=8.0, jitter=0.0),
        throttled=ClassPolicy(backoff=Backoff(initial=10.0, maximum=100.0, jitter=0.0)),
    )
    outcomes: list[Outcome] = [REFUSED, THROTTLED, THROTTLED, REFUSED]
    async with running(route(retry=waits), decide=lambda _item: outcomes.pop(0) if outcomes else ACCEPTED) as rig:
        rig.receive(1)
        for number, seconds in enumerate((1.0, 10.0, 20.0, 2.0), start=1):
            await rig.until(lambda number=number: rig.pump.stats.retried == number)  # type: ignore[misc]
            rig.pass_time(seconds - 0.1)
            assert len(rig.targets[TARGET].batches) == number
            rig.pass_time(0.1)
        await rig.settled(1)


SCHEDULED = route(retry=retry(strategy=RetryStrategy.SCHEDULED, backoff=Backoff(initial=4.0, maximum=8.0, jitter=0.0)))


async def test_a_refused_message_may_wait_in_the_broker() -> None:
    """It is in flight no more, and known again when it comes back: its attempts, and who has it already."""
    both = replace(SCHEDULED, targets=(TARGET, OTHER))
    async with running(both, decide_other=lambda item: ACCEPTED if item.attempt == 2 else REFUSED) as rig:
        rig.receive(1)
        await rig.until(lambda: rig.pump.snapshot().in_flight == 0)
        ((entry, seconds),) = rig.broker.postponed
        assert (entry.message.id, seconds, entry.attempt) == ("ID:test-1", 4.0, 1)
        rig.receive(1, ack="again")
        await rig.settled(1)
        assert rig.broker.acknowledged == ["again"]
        assert len(rig.targets[TARGET].batches) == 1
        assert len(rig.targets[OTHER].batches) == 2


async def test_while_a_target_is_away_messages_wait_in_the_bridge() -> None:
    """A copy of each of them in the broker would be a storm."""
    outcomes: list[Outcome] = [AWAY]
    async with running(SCHEDULED, decide=lambda _item: outcomes.pop() if outcomes else ACCEPTED) as rig:
        rig.receive(1)
        await rig.settled(1)
        assert rig.broker.postponed == []


async def test_a_message_the_broker_does_not_take_back_waits_in_the_bridge() -> None:
    """As when it cannot be copied."""
    outcomes: list[Outcome] = [REFUSED]
    async with running(SCHEDULED, decide=lambda _item: outcomes.pop() if outcomes else ACCEPTED) as rig:
        rig.broker.failure = RefusedError("it may be a Map message")
        rig.receive(1)
        await rig.until(lambda: bool(rig.pump._waiting._heap))
        rig.pass_time(4.0)
        await rig.settled(1)


async def test_a_message_that_is_back_before_the_brokers_answer_is_not_forgotten() -> None:
    """Its new ack id is used, after its wait."""

    class Quick(MemoryBroker):
        async def postpone(self, entry: Entry, *, seconds: float, due: int) -> None:
            await super().postpone(entry, seconds=seconds, due=due)
            rig.receive(1, ack="back")

    outcomes: list[Outcome] = [REFUSED]
    async with running(SCHEDULED, broker=Quick(), decide=lambda _i: outcomes.pop() if outcomes else ACCEPTED) as rig:
        rig.receive(1)
        await rig.until(lambda: bool(rig.pump._waiting._heap))
        rig.pass_time(4.0)
        await rig.settled(1)
        assert rig.broker.acknowledged == ["back"]


async def test_a_delayed_copy_that_comes_too_early_waits_in_the_bridge() -> None:
    """As from a broker without a scheduler."""
    async with running(SCHEDULED) as rig:
        told = {"of": "ID:first", "attempts": "2", "first_failed_at": "5", "sent_at": "7", "due": "110000"}
        headers = {f"penstock_retry_{name}": value for name, value in told.items()}
        rig.pump.received([frame(9, body=b"hello", ack="", **headers)])
        await asyncio.sleep(0)
        assert rig.targets[TARGET].batches == []
        rig.pass_time(10.0)
        await rig.settled(1)
        (delivered,) = rig.targets[TARGET].delivered
        assert (delivered.message.id, delivered.message.sent_at, delivered.attempt) == ("ID:first", 7, 3)
        assert delivered.message.properties == {}


async def test_what_failed_together_is_tried_together() -> None:
    """One jitter for a batch keeps it one."""
    waits = retry(unavailable=ClassPolicy(backoff=Backoff(initial=1.0, maximum=8.0)))
    outcomes: list[Outcome] = [AWAY] * 20
    async with running(route(retry=waits), decide=lambda _item: outcomes.pop() if outcomes else ACCEPTED) as rig:
        rig.pump._clock = replace(rig.pump._clock, random=iter([0.1, 0.9] * 10).__next__)
        rig.receive(*range(20))
        await rig.until(lambda: rig.pump.stats.retried == 20)
        rig.pass_time(1.0)
        await rig.settled(20)
        assert [len(batch) for batch in rig.targets[TARGET].batches] == [20, 20]


async def test_no_target_can_put_a_message_off_for_ever() -> None:
    """It would take a place of the prefetch until then."""
    outcomes: list[Outcome] = [Retry(reason="in ten years", error_class=ErrorClass.UNAVAILABLE, after=3e8)]
    async with running(decide=lambda _parcel: outcomes.pop() if outcomes else ACCEPTED) as rig:
        rig.receive(1)
        await rig.until(lambda: rig.pump.stats.retried == 1)
        rig.pass_time(3600)
        await rig.settled(1)


async def test_after_a_failed_batch_each_message_goes_alone() -> None:
    """So that one bad message cannot take the others with it."""

    class AllOrNothing(MemoryTarget):
        async def deliver(self, parcels: Sequence[Parcel], origin: Origin) -> Sequence[Outcome]:
            await super().deliver(parcels, origin)
            bad = any(parcel.message.id == "ID:test-3" for parcel in parcels)
            return [REFUSED if bad else ACCEPTED] * len(parcels)

    async with running() as rig:
        rig.targets[TARGET] = AllOrNothing()
        rig.receive(1, 2, 3, 4)
        await rig.settled(4)
        assert [dead.id for dead, _ in rig.broker.dead] == ["ID:test-3"]
        assert sorted(rig.broker.acknowledged) == ["ack-1", "ack-2", "ack-4"]
        assert [len(batch) for batch in rig.targets[TARGET].batches[1:]] == [1] * 5


async def test_fan_out_repeats_only_what_failed() -> None:
    """A target that took the message is not asked again."""
    both = route(targets=(TARGET, OTHER))
    async with running(both, decide_other=lambda item: ACCEPTED if item.attempt == 2 else THROTTLED) as rig:
        rig.receive(1)
        await rig.settled(1)
        assert len(rig.targets[TARGET].batches) == 1
        assert len(rig.targets[OTHER].batches) == 2


async def test_a_rejection_by_one_target_waits_for_the_others() -> None:
    """The dead letter is written when everybody who can take the message has it."""
    both = route(targets=(TARGET, OTHER))
    async with running(
        both,
        decide=lambda _item: Rejected(reason="never"),
        decide_other=lambda item: ACCEPTED if item.attempt == 2 else THROTTLED,
    ) as rig:
        rig.receive(1)
        await rig.settled(1)
        assert len(rig.targets[TARGET].batches) == 1
        assert len(rig.targets[OTHER].delivered) == 1
        ((_, letter),) = rig.broker.dead
        assert "never" in letter.reason
