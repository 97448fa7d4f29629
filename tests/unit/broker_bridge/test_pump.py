"""The loop of a route: take, filter, deliver, acknowledge; retry what failed, give up what keeps failing."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from math import inf

import pytest
from structlog.testing import capture_logs

from broker_bridge.broker import BrokerError, ConnectionLostError, RefusedError, UnconfirmedError
from broker_bridge.dead_letters import DeadLetter
from broker_bridge.dedup import Busy, Claim, Dedup, MemoryDedup
from broker_bridge.filtering import (
    Destination,
    FilteringUnavailableError,
    Match,
    MemoryFilter,
    MessageFilter,
    Unmatched,
)
from broker_bridge.parcel import Parcel
from broker_bridge.pump import Pump
from broker_bridge.replies import MemoryAnswers
from broker_bridge.retry_policy import ClassPolicy, RetryStrategy
from broker_bridge.routes import Batch, Route
from broker_bridge.settlement import AckBatch, Entry
from broker_bridge.target_specs import GrpcTarget, TargetSpec
from broker_bridge.targets import (
    ACCEPTED,
    Accepted,
    ErrorClass,
    MemoryTarget,
    Origin,
    Outcome,
    Rejected,
    Reply,
    Retry,
    Targets,
)
from broker_bridge.way_back import MemoryBroker
from services.runtime.retry import Backoff
from tests.unit.broker_bridge.builders import NO_BACKOFF, TARGET, ManualClock, frame, message, retry, route

OTHER = GrpcTarget(address="127.0.0.1:2")
THROTTLED = Retry(reason="slow down", error_class=ErrorClass.THROTTLED)
REFUSED = Retry(reason="failed", error_class=ErrorClass.REFUSED)
AWAY = Retry(reason="away", error_class=ErrorClass.UNAVAILABLE)


def everything_to(target: TargetSpec) -> MessageFilter:
    return MemoryFilter(lambda _topic, _parcel: [Destination(name="all", target=target)])


@dataclass(kw_only=True)
class Rig:
    """A running pump with everything around it in memory."""

    pump: Pump
    broker: MemoryBroker
    targets: dict[TargetSpec, MemoryTarget]
    dedup: Dedup
    clock: ManualClock
    answers: MemoryAnswers

    def pass_time(self, seconds: float) -> None:
        """Time passes, and what waited for it goes on."""
        self.clock.seconds += seconds
        self.pump._waiting.release_due()

    def receive(self, *numbers: int, body: bytes = b"hello", **headers: str) -> None:
        self.pump.received([frame(number, body=body, **headers) for number in numbers])

    async def until(self, condition: Callable[[], bool]) -> None:
        """Lets the loop run until something holds; the bound only ends a test that would never end."""
        for _ in range(20_000):
            if condition():
                return
            await asyncio.sleep(0)
        raise AssertionError(f"never held; {self.pump.stats}")

    async def settled(self, count: int) -> None:
        await self.until(lambda: self.pump.stats.settled == count)


class FullBroker(MemoryBroker):
    """Has no room for dead letters until `failure` is None; `tried` holds what was acknowledged at each try."""

    def __init__(self, failure: BrokerError) -> None:
        super().__init__()
        self.failure: BrokerError | None = failure
        self.tried: list[list[str]] = []

    async def dead_letter(self, entry: Entry, letter: DeadLetter) -> None:
        self.tried.append(list(self.acknowledged))
        await super().dead_letter(entry, letter)


@asynccontextmanager
async def running(
    of: Route | None = None,
    *,
    decide: Callable[[Parcel], Outcome] = lambda _parcel: ACCEPTED,
    decide_other: Callable[[Parcel], Outcome] = lambda _parcel: ACCEPTED,
    message_filter: MessageFilter | None = None,
    dedup: Dedup | None = None,
    broker: MemoryBroker | None = None,
) -> AsyncIterator[Rig]:
    places = {TARGET: MemoryTarget(decide), OTHER: MemoryTarget(decide_other)}
    broker, records, clock = broker or MemoryBroker(), dedup or MemoryDedup(), ManualClock()
    answers = MemoryAnswers()
    pump = Pump(
        of or route(),
        broker=broker,
        message_filter=message_filter or everything_to(TARGET),
        targets=Targets(lambda spec: places[spec]),  # type: ignore[index]
        answers=answers,
        dedup=records,
        clock=clock.clock(),
    )
    broker.confirm = pump.confirmed
    pump.opened()
    task = asyncio.ensure_future(pump.run())
    try:
        yield Rig(pump=pump, broker=broker, targets=places, dedup=records, clock=clock, answers=answers)  # type: ignore[arg-type]
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


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
    answer = asyncio.Event()

    class Slow(MemoryTarget):
        async def deliver(self, parcels: Sequence[Parcel], origin: Origin) -> Sequence[Outcome]:
            await answer.wait()
            return await super().deliver(parcels, origin)

    async with running() as rig:
        rig.targets[TARGET] = Slow()
        rig.receive(1)
        for _ in range(100):
            await asyncio.sleep(0)
        assert rig.broker.acknowledged == []
        assert rig.pump.snapshot().in_flight == 1
        answer.set()
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


async def test_an_unknown_topic_is_tried_again_and_then_a_dead_letter() -> None:
    """It is never dropped."""
    unknown = MemoryFilter(lambda _t, _p: Unmatched(reason="no such topic", error_class=ErrorClass.REFUSED))
    async with running(route(targets=(), filter_topic="Orders"), message_filter=unknown) as rig:
        rig.receive(1)
        await rig.settled(1)
        ((dead, letter),) = rig.broker.dead
        assert dead.id == "ID:test-1"
        assert (letter.reason, letter.attempts) == ("no such topic", 3)
        assert rig.pump.stats.retried == 2


async def test_a_failed_delivery_is_repeated_with_its_attempt_counted() -> None:
    """And acknowledged when it succeeds."""
    async with running(decide=lambda item: ACCEPTED if item.attempt == 3 else THROTTLED) as rig:
        rig.receive(1)
        await rig.settled(1)
        assert [batch[0].attempt for batch in rig.targets[TARGET].batches] == [1, 2, 3]
        assert rig.broker.dead == []
        assert rig.pump.stats.retried == 2


async def test_a_message_that_keeps_failing_becomes_a_dead_letter() -> None:
    """With reason, class and attempts; and its records are forgotten, so that it can be replayed."""
    async with running(decide=lambda _item: REFUSED) as rig:
        rig.receive(1)
        await rig.settled(1)
        ((_, letter),) = rig.broker.dead
        assert letter.reason.endswith("failed")
        assert (letter.error_class, letter.attempts, letter.route) == (ErrorClass.REFUSED, 3, "orders")
        assert rig.broker.acknowledged == []
        rig.receive(1)
        await rig.until(lambda: len(rig.targets[TARGET].batches) == 4)
        assert rig.targets[TARGET].batches[3][0].attempt == 1


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


async def test_a_rejected_message_is_given_up_at_once() -> None:
    """Repeating cannot help."""
    async with running(decide=lambda _item: Rejected(reason="never")) as rig:
        rig.receive(1)
        await rig.settled(1)
        ((_, letter),) = rig.broker.dead
        assert letter.attempts == 1
        assert "never" in letter.reason


async def test_poison_never_blocks_good_messages() -> None:
    """Bad bodies are dead letters, the others are delivered."""
    async with running() as rig:
        rig.pump.received([frame(n, body=b"\xff" if n % 2 else b"good") for n in range(1, 41)])
        await rig.settled(40)
        assert len(rig.targets[TARGET].delivered) == 20
        assert len(rig.broker.dead) == 20
        assert {letter.error_class for _, letter in rig.broker.dead} == {ErrorClass.POISON}


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


async def test_a_message_that_never_comes_to_an_end_is_given_up() -> None:
    """A bridge that crashes at it finds the claims of its earlier lives."""
    records = MemoryDedup()
    for _ in range(3):
        await records.claim([message(1).key])
    async with running(dedup=records) as rig:
        rig.receive(1)
        await rig.settled(1)
        ((_, letter),) = rig.broker.dead
        assert letter.error_class is ErrorClass.POISON
        assert letter.attempts == 3
        assert rig.targets[TARGET].batches == []


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


async def test_a_reconnection_during_a_delivery_neither_repeats_it_nor_acks_the_old_delivery() -> None:
    """The broker sends the message again; its new ack id is used when the delivery ends."""
    answer = asyncio.Event()

    class Slow(MemoryTarget):
        async def deliver(self, parcels: Sequence[Parcel], origin: Origin) -> Sequence[Outcome]:
            await answer.wait()
            return await super().deliver(parcels, origin)

    async with running() as rig:
        rig.targets[TARGET] = slow = Slow()
        rig.receive(1, ack="old")
        await rig.until(lambda: bool(rig.pump._ledger.dispatching()))
        rig.pump.opened()
        rig.receive(1, ack="new")
        answer.set()
        await rig.settled(1)
        assert rig.broker.acknowledged == ["new"]
        assert len(slow.delivered) == 1


async def test_a_reconnection_after_a_delivery_drops_the_ack() -> None:
    """Until the broker sends the message again, as a duplicate."""
    answer = asyncio.Event()

    class Slow(MemoryTarget):
        async def deliver(self, parcels: Sequence[Parcel], origin: Origin) -> Sequence[Outcome]:
            await answer.wait()
            return await super().deliver(parcels, origin)

    async with running() as rig:
        rig.targets[TARGET] = slow = Slow()
        rig.receive(1, ack="old")
        await rig.until(lambda: bool(rig.pump._ledger.dispatching()))
        rig.pump.opened()
        answer.set()
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
    answer = asyncio.Event()

    class Slow(MemoryTarget):
        async def deliver(self, parcels: Sequence[Parcel], origin: Origin) -> Sequence[Outcome]:
            await answer.wait()
            return await super().deliver(parcels, origin)

    async with running(route(retry=NINE_SECONDS)) as rig:
        rig.targets[TARGET] = slow = Slow(refused_once(1))
        rig.receive(1, ack="old")
        await rig.until(lambda: bool(rig.pump._ledger.dispatching()))
        rig.pump.opened()
        answer.set()
        await rig.until(lambda: rig.pump.stats.retried == 1)
        rig.receive(1, ack="new")
        rig.pass_time(8.0)
        rig.receive(2)
        await rig.settled(1)
        assert [len(batch) for batch in slow.batches] == [1, 1]
        rig.pass_time(1.1)
        await rig.settled(2)
        assert rig.broker.acknowledged == ["ack-2", "new"]


async def test_a_dead_letter_the_broker_does_not_take_is_written_later_with_its_reason() -> None:
    """Nothing is acknowledged meanwhile."""
    async with running(decide=lambda _item: Rejected(reason="never")) as rig:
        rig.broker.failure = ConnectionLostError("gone")
        rig.receive(1)
        await rig.until(lambda: bool(rig.pump._failures._unburied))
        assert rig.pump.stats.dead_lettered == 0
        rig.broker.failure = None
        rig.pass_time(2.0)
        await rig.settled(1)
        ((_, letter),) = rig.broker.dead
        assert "never" in letter.reason
        assert letter.attempts == 1


async def test_without_a_connection_it_is_told_once_that_a_dead_letter_could_not_be_written() -> None:
    """However long the broker is away: that there is none is told elsewhere."""
    broker = FullBroker(ConnectionLostError("gone"))
    with capture_logs() as told:
        async with running(decide=lambda _item: Rejected(reason="never"), broker=broker) as rig:
            rig.receive(1)
            for _ in range(3):
                broker.tried.clear()
                await rig.until(lambda: bool(broker.tried))
                rig.pass_time(2.0)
    assert [entry["message_id"] for entry in told if "dead letter" in entry["event"]] == ["ID:test-1"]


def never(*numbers: int) -> Callable[[Parcel], Outcome]:
    """Rejects messages of these numbers."""
    ids = {f"ID:test-{number}" for number in numbers}
    return lambda item: Rejected(reason="never") if item.message.id in ids else ACCEPTED


async def test_a_broker_without_room_for_a_dead_letter_is_left_in_peace_for_a_while() -> None:
    """It reads no ACKs while a SEND waits for room: good messages pass meanwhile, and make some."""
    broker = FullBroker(UnconfirmedError("no answer in time"))
    async with running(decide=never(1, 2, 4, 6), broker=broker) as rig:
        rig.receive(1)
        await rig.until(lambda: len(broker.tried) == 1)
        rig.pump.opened()  # the connection has ended over it
        rig.receive(1, 2, 3, 4)
        await rig.settled(1)
        rig.pass_time(59.0)
        rig.receive(5, 6)
        await rig.settled(2)
        assert len(broker.tried) == 1
        broker.failure = None
        rig.pass_time(61.0)
        await rig.settled(6)
        assert sorted(message.id for message, _ in broker.dead) == [f"ID:test-{number}" for number in (1, 2, 4, 6)]


async def test_a_broker_that_refuses_a_dead_letter_is_asked_again_after_a_pause() -> None:
    """Once, not for every message; good ones pass meanwhile."""
    broker = FullBroker(RefusedError("No space left on device"))
    async with running(decide=never(1, 2), broker=broker) as rig:
        rig.receive(1)
        await rig.until(lambda: len(broker.tried) == 1)
        rig.pass_time(4.0)
        rig.receive(2, 3)
        await rig.settled(1)
        assert len(broker.tried) == 1
        broker.failure = None
        rig.pass_time(6.0)
        await rig.settled(3)
        assert sorted(message.id for message, _ in broker.dead) == ["ID:test-1", "ID:test-2"]


async def test_messages_are_acknowledged_before_the_dead_letters_of_their_batch_are_tried_again() -> None:
    """The broker may have no room for those."""
    broker = FullBroker(ConnectionLostError("gone"))
    async with running(decide=never(1), broker=broker) as rig:
        rig.receive(1)
        await rig.until(lambda: len(broker.tried) == 1)
        rig.pump.opened()
        rig.receive(1, 2)
        await rig.until(lambda: len(broker.tried) == 2)
        assert broker.tried[1] == ["ack-2"]


async def test_a_message_that_never_comes_to_an_end_is_given_up_after_its_batch_is_acknowledged() -> None:
    """What was delivered now, and what was before."""
    records = MemoryDedup()
    for _ in range(3):
        await records.claim([message(1).key])
    await records.done([message(2).key])
    broker = FullBroker(ConnectionLostError("gone"))
    async with running(dedup=records, broker=broker) as rig:
        rig.receive(1, 2, 3)
        await rig.until(lambda: len(broker.tried) == 1)
        assert sorted(broker.tried[0]) == ["ack-2", "ack-3"]


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


async def test_drain_finishes_what_runs_and_begins_nothing_new() -> None:
    """What was not begun stays with the broker."""
    answer = asyncio.Event()

    class Slow(MemoryTarget):
        async def deliver(self, parcels: Sequence[Parcel], origin: Origin) -> Sequence[Outcome]:
            await answer.wait()
            return await super().deliver(parcels, origin)

    async with running(route(concurrency=1)) as rig:
        rig.targets[TARGET] = slow = Slow()
        rig.receive(1)
        await rig.until(lambda: bool(rig.pump._ledger.dispatching()))
        rig.receive(2)
        draining = asyncio.ensure_future(rig.pump.drain())
        await asyncio.sleep(0)
        rig.receive(3)
        answer.set()
        await draining
        assert [item.message.id for item in slow.delivered] == ["ID:test-1"]
        assert rig.broker.acknowledged == ["ack-1"]


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
